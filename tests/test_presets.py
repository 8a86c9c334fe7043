"""Presets: the figures people know, carried to the scale of the network that answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncnet_python import scale as scales
from syncnet_python.scale import SYNCNET_V2, Scale, score
from workflows.long.presets import PRESETS, Preset, judge, least_confidence

FCN = scales.load("syncnet_fcn")
SCALES = pytest.mark.parametrize("scale", [SYNCNET_V2, FCN], ids=["syncnet_v2", "syncnet_fcn"])
BOUNDED = [preset for preset in PRESETS.values() if preset.confidence is not None]


@pytest.mark.parametrize(
    ("name", "confidence", "offset"),
    [("strict", 6, 2), ("high", 4, 5), ("medium", 2.5, 8), ("relaxed", 1.5, 12)],
)
def test_on_syncnets_own_scale_the_figures_are_those_that_people_know(
    name: str, confidence: float, offset: int
) -> None:
    preset = next(preset for preset in PRESETS.values() if preset.name == name)
    assert least_confidence(preset, SYNCNET_V2) == pytest.approx(confidence)
    assert judge(preset, SYNCNET_V2, offset, confidence).kept
    assert judge(preset, SYNCNET_V2, -offset, confidence + 1).kept
    assert not judge(preset, SYNCNET_V2, offset + 1, confidence).kept
    assert not judge(preset, SYNCNET_V2, -offset - 1, confidence).kept
    assert not judge(preset, SYNCNET_V2, offset, confidence - 0.01).kept


def test_every_missed_bound_is_named() -> None:
    assert judge(PRESETS["strict"], SYNCNET_V2, -7, 3.0).reasons == (
        "confidence 3.000 is below 6.000",
        "offset -7 is beyond 2 frames",
    )
    assert judge(PRESETS["strict"], SYNCNET_V2, 0, 7.0).reasons == ()


@pytest.mark.parametrize("preset", BOUNDED, ids=lambda preset: preset.name)
def test_a_threshold_means_the_same_belief_with_every_network(preset: Preset) -> None:
    def belief(scale: Scale) -> float:
        """The score's part that confidence gives: nothing for distance, all for the offset."""
        least = least_confidence(preset, scale)
        assert least is not None
        return score(scale, least, scale.distance_low + scale.distance_span, 0)

    assert belief(FCN) == pytest.approx(belief(SYNCNET_V2))


def test_the_figures_that_the_documents_state() -> None:
    least = [least_confidence(preset, FCN) for preset in BOUNDED]
    assert least == pytest.approx([0.342, 0.294, 0.258, 0.234], abs=5e-4)


@SCALES
@given(offset=st.integers(-50, 50), confidence=st.floats(0, 20))
def test_what_a_strict_preset_keeps_a_looser_one_keeps(
    scale: Scale, offset: int, confidence: float
) -> None:
    kept = [judge(preset, scale, offset, confidence).kept for preset in PRESETS.values()]
    assert kept == sorted(kept)
    assert judge(PRESETS["none"], scale, offset, confidence).kept
