"""The statistics of a calibration, on data whose truth is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import calibration_fit as fit
from evaluation.calibration_fit import Floats, Labels
from syncnet_python.score_maps import Isotonic, Linear, Platt


def overlapping(count: int, seed: int = 0, gap: float = 0.3) -> tuple[Floats, Labels]:
    """Raw scores of `count` genuine recordings and as many fakes, `gap` lower on average."""
    rng = np.random.default_rng(seed)
    raw = np.concatenate([rng.normal(0.65, 0.15, count), rng.normal(0.65 - gap, 0.15, count)])
    return np.clip(raw, 0, 1), np.arange(2 * count) < count


def each_alone(genuine: Labels) -> list[str]:
    return [str(row) for row in range(len(genuine))]


def test_the_capture_offset_is_the_median_whatever_a_few_say() -> None:
    rng = np.random.default_rng(0)
    offsets = [*(5 + rng.normal(0, 0.3, 27)), -12.0, 14.0, 0.0]
    found = fit.capture_offset(offsets)
    assert found.value == pytest.approx(5.0, abs=0.2)
    assert found.interval is not None
    assert found.interval[0] <= found.value <= found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.5
    assert found.count == 30


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = []
    for _ in range(400):
        found = fit.capture_offset(list(rng.normal(3.0, 0.4, 15)))
        assert found.interval is not None
        held.append(found.interval[0] <= 3.0 <= found.interval[1])
    assert np.mean(held) >= 0.93


@pytest.mark.parametrize(
    ("offsets", "why"),
    [
        ([5.0] * 4, "only 4"),
        ([], "only 0"),
        ([-6.0, -3.0, 0.0, 2.0, 4.0, 7.0, 9.0], "differ from recording to recording"),
        ([5.0, 5.1, 4.9, 5.0, 5.2, 0.0, 9.0, -7.0], "differ from recording to recording"),
        ([15.0] * 12, "edge"),
    ],
)
def test_no_capture_offset_is_claimed_of(offsets: list[float], why: str) -> None:
    found = fit.capture_offset(offsets)
    assert (found.value, found.interval) == (0.0, None)
    assert why in found.why_not


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.booleans()),
        min_size=4,
        max_size=40,
    )
)
def test_folds_keep_people_together_and_train_on_both_sides(rows: list[tuple[int, bool]]) -> None:
    groups = [str(person) for person, _ in rows]
    genuine = np.asarray([real for _, real in rows])
    folds = fit.splits(genuine, groups)
    if folds is None:
        return
    names = np.asarray(groups)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(rows)))
    for train, test in folds:
        assert not set(names[train]) & set(names[test])
        assert genuine[train].any()
        assert not genuine[train].all()


def test_one_person_on_a_side_cannot_be_split() -> None:
    genuine = np.asarray([True] * 6 + [False] * 6)
    assert fit.splits(genuine, ["anna"] * 6 + ["bert", "cora"] * 3) is None
    assert fit.splits(genuine, ["anna", "dora"] * 3 + ["bert", "cora"] * 3) is not None


@pytest.mark.parametrize("kind", ["isotonic", "platt", "linear"])
def test_every_kind_of_map_says_what_is_true(kind: fit.Kind) -> None:
    raw, genuine = overlapping(400)
    folds = fit.splits(genuine, each_alone(genuine))
    assert folds is not None
    fitted = fit.fit_map(raw, genuine, folds, kind)
    assert fitted.kind == kind
    assert fitted.log_loss is not None
    assert fitted.log_loss < 0.5
    assert fitted.reliability_error is not None
    assert fitted.reliability_error < 0.12
    assert fitted.map(0.9) > 0.85
    assert fitted.map(0.1) < 0.15
    assert fitted.note == ""


def test_platt_finds_the_sigmoid_that_the_data_come_from() -> None:
    rng = np.random.default_rng(3)
    raw = rng.uniform(0, 1, 2500)
    genuine = rng.uniform(0, 1, 2500) < 1 / (1 + np.exp(-(8 * raw - 4)))
    folds = fit.splits(genuine, each_alone(genuine))
    assert folds is not None
    found = fit.fit_map(raw, genuine, folds, "platt").map
    assert isinstance(found, Platt)
    assert found.slope == pytest.approx(8, rel=0.15)
    assert found.intercept == pytest.approx(-4, rel=0.15)


def test_a_probability_is_that_of_even_odds() -> None:
    """Ten times as many genuine recordings make nobody more genuine."""
    raw, genuine = overlapping(600)
    kept = genuine | (np.arange(len(genuine)) % 10 == 0)
    maps = []
    for rows in (np.ones(len(genuine), bool), kept):
        folds = fit.splits(genuine[rows], each_alone(genuine[rows]))
        assert folds is not None
        maps.append(fit.fit_map(raw[rows], genuine[rows], folds, "platt").map)
    assert maps[0](0.5) == pytest.approx(maps[1](0.5), abs=0.1)


def test_auto_takes_the_kind_of_the_lower_loss() -> None:
    rng = np.random.default_rng(4)
    raw = rng.uniform(0, 1, 1500)
    steps = np.where(raw < 0.3, 0.05, np.where(raw < 0.7, 0.5, 0.95))  # no sigmoid is like that
    genuine = rng.uniform(0, 1, 1500) < steps
    folds = fit.splits(genuine, each_alone(genuine))
    assert folds is not None
    assert isinstance(fit.fit_map(raw, genuine, folds).map, Isotonic)
    few, sides = overlapping(12)
    few_folds = fit.splits(sides, each_alone(sides))
    assert few_folds is not None
    assert isinstance(fit.fit_map(few, sides, few_folds).map, Platt)


def test_the_best_of_recordings_leaves_room_for_doubt() -> None:
    """Seen to the end apart, a dozen recordings do not make a certainty."""
    raw = np.concatenate([np.linspace(0.9, 0.99, 12), np.linspace(0.01, 0.1, 12)])
    genuine = np.arange(24) < 12
    folds = fit.splits(genuine, each_alone(genuine))
    assert folds is not None
    for kind in ("isotonic", "platt"):
        fitted = fit.fit_map(raw, genuine, folds, kind)
        assert 0.85 < fitted.map(1.0) < 0.999
        assert 0.001 < fitted.map(0.0) < 0.15


@pytest.mark.parametrize("gap", [0.0, -0.3])
def test_fakes_that_do_not_show_teach_a_score_nothing(gap: float) -> None:
    raw, genuine = overlapping(60, gap=gap)
    folds = fit.splits(genuine, each_alone(genuine))
    assert folds is not None
    fitted = fit.fit_map(raw, genuine, folds)
    assert fitted.map == fit.of_genuine(raw[genuine])
    assert "does not tell these fakes" in fitted.note


@given(st.lists(st.floats(0, 1), min_size=5, max_size=30))
def test_an_ordinary_genuine_recording_reads_well_and_none_reads_worse(raw: list[float]) -> None:
    fitted = fit.of_genuine(np.asarray(raw))
    assert isinstance(fitted, Linear)
    assert fitted(float(np.median(raw))) >= fit.ORDINARY - 1e-5
    assert all(fitted(score) >= score - 1e-5 for score in raw)


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=5, max_size=60),
    st.lists(st.floats(0, 1), max_size=20),
    st.floats(0.01, 0.4),
)
def test_no_more_genuine_recordings_than_asked_for_miss_allow(
    real: list[float], fake: list[float], rate: float
) -> None:
    scores = np.asarray(real + fake)
    genuine = np.arange(len(scores)) < len(real)
    chosen = fit.thresholds(scores, genuine, rate)
    missed = (scores[genuine] < chosen.allow - 1e-6).mean()
    assert missed <= rate


def test_thresholds_of_recordings_to_come_keep_the_rate() -> None:
    rng = np.random.default_rng(5)
    missed = []
    for _ in range(200):
        known = rng.beta(4, 2, 59)
        chosen = fit.thresholds(known, np.ones(59, bool), 0.1)
        missed.append((rng.beta(4, 2, 500) < chosen.allow).mean())
    assert 0.05 < np.mean(missed) <= 0.105


def test_fakes_show_where_the_threshold_may_be_stricter() -> None:
    real, fake = np.linspace(0.9, 0.99, 40), np.linspace(0.3, 0.86, 40)
    scores, genuine = np.concatenate([real, fake]), np.arange(80) < 40
    alone = fit.thresholds(real, np.ones(40, bool), 0.05)
    assert (alone.allow, alone.real, alone.next) == (0.8, 0.6, 0.4)
    both = fit.thresholds(scores, genuine, 0.05)
    assert 0.86 < both.allow <= 0.91
    apart = fit.thresholds(np.where(genuine, scores, 0.1), genuine, 0.001)
    assert apart.allow == 0.8, "nothing is let through for no need"


def test_low_scores_keep_the_thresholds_in_order() -> None:
    chosen = fit.thresholds(np.linspace(0.3, 0.5, 20), np.ones(20, bool), 0.05)
    assert chosen.allow == pytest.approx(0.3)
    assert chosen.real == chosen.allow
    assert chosen.next == pytest.approx(chosen.allow / 2)


def test_the_reliability_error_is_the_gap_between_said_and_true() -> None:
    genuine = np.asarray([True] * 6 + [False] * 4)
    assert fit.reliability_error(np.full(10, 0.5), genuine) == pytest.approx(0)
    assert fit.reliability_error(np.full(10, 0.9), genuine) == pytest.approx(0.4)
    assert fit.reliability_error(np.where(genuine, 1.0, 0.0), genuine) == pytest.approx(0)
    assert pytest.approx(math.log(2)) == fit.CHANCE
