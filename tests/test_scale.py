"""Scores of sync figures."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncnet_python.errors import WeightsMissing
from syncnet_python.results import OffsetCurve
from syncnet_python.scale import SYNCNET_V2, Scale, as_recorded, load, named, score

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


SHIFTS = tuple(range(-15, 16))


@dataclass(frozen=True)
class Found:
    offset_frames: int
    confidence: float
    min_dist: float
    curve: OffsetCurve


def valley(offset: int) -> Found:
    """A clear match at one offset: a curve that is flat but for three frames around it."""
    away = np.abs(np.array(SHIFTS) - offset)
    distances = 1.3 - 0.5 * np.clip(1 - away / 4, 0, 1)
    curve = OffsetCurve(SHIFTS, tuple(distances.tolist()))
    return Found(offset, 0.5, 0.8, curve)


STRICT = Scale(0.25, 0.05, 0.95, 0.25, (0.2, 0.3), (0.9, 1.0), slack=2)
LENIENT = replace(STRICT, slack=None)


def test_without_slack_the_match_counts_wherever_it_is() -> None:
    for offset in (0, 4, 12):
        found = valley(offset)
        expected = score(LENIENT, found.confidence, found.min_dist, offset)
        assert as_recorded(LENIENT, found) == expected


@pytest.mark.parametrize("offset", [-2, -1, 0, 1, 2])
def test_what_lies_within_the_slack_is_not_held_against_it(offset: int) -> None:
    found = valley(offset)
    assert as_recorded(STRICT, found) == as_recorded(LENIENT, found)


@pytest.mark.parametrize("offset", [-15, -8, -6, 6, 8, 15])
def test_a_match_that_lies_elsewhere_is_none(offset: int) -> None:
    assert as_recorded(STRICT, valley(offset)) < 0.25
    assert as_recorded(LENIENT, valley(offset)) > 0.75


@given(st.integers(-12, 12), st.integers(-3, 3))
def test_a_lag_that_is_known_costs_nothing(lag: int, rest: int) -> None:
    """What the set-up explains moves the place where the match is looked for."""
    explained = as_recorded(STRICT, valley(lag + rest), left=rest)
    assert explained == pytest.approx(as_recorded(STRICT, valley(rest)), abs=1e-9)
