"""Scores of sync figures."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncnet_python.errors import WeightsMissing
from syncnet_python.scale import SYNCNET_V2, Scale, load, named, score

figures = st.tuples(st.floats(0, 30), st.floats(0, 30), st.integers(-15, 15))


@pytest.mark.parametrize(
    ("confidence", "min_dist", "offset", "expected"),
    [
        (10.021, 5.353, 3, 0.5 / (1 + math.exp(-4.0105)) + 0.3 * 0.9647 + 0.2 * math.exp(-0.3)),
        (2.0, 5.0, 0, 0.25 + 0.3 + 0.2),
        (2.0, 20.0, 10, 0.25 + 0.2 / math.e),
    ],
)
def test_syncnet_v2_follows_the_formula(
    confidence: float, min_dist: float, offset: int, expected: float
) -> None:
    assert score(SYNCNET_V2, confidence, min_dist, offset) == pytest.approx(expected, abs=1e-6)


@given(figures)
def test_scores_lie_between_0_and_1(figures: tuple[float, float, int]) -> None:
    for scale in (SYNCNET_V2, load("syncnet_fcn")):
        assert 0 <= score(scale, *figures) <= 1


@given(figures, st.floats(0, 5), st.floats(0, 5), st.integers(0, 5))
def test_better_figures_never_score_lower(
    figures: tuple[float, float, int], surer: float, closer: float, nearer: int
) -> None:
    confidence, min_dist, offset = figures
    better = score(
        SYNCNET_V2,
        confidence + surer,
        max(0.0, min_dist - closer),
        max(0, abs(offset) - nearer),
    )
    assert better >= score(SYNCNET_V2, confidence, min_dist, offset)


@given(st.floats(-15, 15), st.floats(0, 1))
def test_parts_of_a_frame_count(offset: float, less: float) -> None:
    here, nearer = (score(SYNCNET_V2, 5.0, 7.0, o) for o in (offset, offset * less))
    assert nearer >= here
    assert score(SYNCNET_V2, 5.0, 7.0, -offset) == here


def test_every_sync_network_has_its_scale() -> None:
    assert named("syncnet_v2") is SYNCNET_V2
    assert named("syncnet_fcn") == load("syncnet_fcn")
    with pytest.raises(WeightsMissing):
        named("nonesuch")


def test_the_bundled_scale_reads_its_own_distances() -> None:
    """Unit vectors are 0 to 2 apart; levels ascend."""
    scale = load("syncnet_fcn")
    assert 0 < scale.distance_levels[0] < scale.distance_levels[1] < 2
    assert 0 < scale.confidence_levels[0] < scale.confidence_levels[1] < 2
    assert score(scale, 1.0, 0.2, 0) > 0.9
    assert score(scale, 0.0, 1.4, 8) < 0.2


def test_a_missing_or_broken_scale_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"syncnet_fcn\.json"):
        load("syncnet_fcn", tmp_path)
    (tmp_path / "broken.json").write_text(json.dumps({"scale": {"confidence_mid": 1}}))
    with pytest.raises(WeightsMissing, match=r"broken\.json"):
        load("broken", tmp_path)


def test_a_stored_scale_comes_back(tmp_path: Path) -> None:
    scale = {
        "confidence_mid": 0.1,
        "confidence_width": 0.05,
        "distance_low": 0.7,
        "distance_span": 0.5,
        "confidence_levels": [0.1, 0.2],
        "distance_levels": [0.8, 1.0],
    }
    (tmp_path / "net.json").write_text(json.dumps({"scale": scale}))
    assert load("net", tmp_path) == Scale(0.1, 0.05, 0.7, 0.5, (0.1, 0.2), (0.8, 1.0))
