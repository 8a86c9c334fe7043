"""The measures against scikit-learn, their definitions and their invariances."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from evaluation import statistics
from evaluation.statistics import Figure, Labels, Scores

CASES = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=60).filter(
    lambda rows: len({label for _, label in rows}) == 2
)


def split(rows: list[tuple[int, bool]]) -> tuple[Scores, Labels]:
    """Scores 0-1 with many ties, and labels of both kinds."""
    return np.array([value / 20 for value, _ in rows]), np.array([label for _, label in rows])


@given(CASES)
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    scores, genuine = split(rows)
    pairs = [np.sign(a - b) for a in scores[genuine] for b in scores[~genuine]]
    assert statistics.auc(scores, genuine) == pytest.approx((1 + np.mean(pairs)) / 2)
    assert statistics.auc(scores, genuine) == pytest.approx(roc_auc_score(genuine, scores))


@given(CASES)
def test_auc_keeps_under_monotone_maps_and_turns_with_the_labels(
    rows: list[tuple[int, bool]],
) -> None:
    scores, genuine = split(rows)
    area = statistics.auc(scores, genuine)
    assert statistics.auc(np.exp(3 * scores), genuine) == pytest.approx(area)
    assert statistics.auc(scores, ~genuine) == pytest.approx(1 - area)
    assert statistics.auc(-scores, genuine) == pytest.approx(1 - area)


@given(CASES)
def test_equal_error_rate_lies_where_the_errors_cross(rows: list[tuple[int, bool]]) -> None:
    scores, genuine = split(rows)
    rate = statistics.equal_error_rate(scores, genuine)
    assert 0 <= rate <= 1
    accepted, kept, _ = roc_curve(genuine, scores, drop_intermediate=False)
    at = np.interp(rate, *np.maximum.accumulate([accepted, kept], axis=1))
    refused = 1 - kept
    assert refused[refused <= accepted].max(initial=0) <= rate + 1e-9
    assert rate <= refused[refused >= accepted].min() + 1e-9
    assert at >= 1 - rate - 1e-9
    assert statistics.equal_error_rate(np.exp(scores), genuine) == pytest.approx(rate)
    assert statistics.equal_error_rate(-scores, ~genuine) == pytest.approx(rate)


def test_equal_error_rate_of_known_cases() -> None:
    genuine = np.array([True] * 4 + [False] * 4)
    apart = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1])
    assert statistics.equal_error_rate(apart, genuine) == pytest.approx(0)
    assert statistics.equal_error_rate(1 - apart, genuine) == pytest.approx(1)
    assert statistics.equal_error_rate(np.full(8, 0.5), genuine) == pytest.approx(0.5)
    one_wrong = np.array([0.9, 0.8, 0.7, 0.25, 0.75, 0.3, 0.2, 0.1])
    assert statistics.equal_error_rate(one_wrong, genuine) == pytest.approx(0.25)


def refused_and_accepted(scores: Scores, genuine: Labels, threshold: float) -> tuple[float, float]:
    """Shares of genuine ones that are not above the threshold, and of fakes that are."""
    above = scores > threshold
    return float(1 - above[genuine].mean()), float(above[~genuine].mean())


@given(CASES, st.integers(-1, 21))
def test_rates_at_a_threshold(rows: list[tuple[int, bool]], step: int) -> None:
    scores, genuine = split(rows)
    threshold = step / 20
    refused, accepted = refused_and_accepted(scores, genuine, threshold)
    balanced = statistics.balanced_accuracy(scores, genuine, threshold)
    assert balanced == pytest.approx(1 - (refused + accepted) / 2)
    assert balanced == pytest.approx(balanced_accuracy_score(genuine, scores > threshold))


@given(CASES, st.floats(0, 1))
def test_false_rejects_at_a_detection_rate(rows: list[tuple[int, bool]], detection: float) -> None:
    scores, genuine = split(rows)
    found = statistics.false_reject_rate_at(scores, genuine, detection)
    rates = [refused_and_accepted(scores, genuine, threshold) for threshold in (-1.0, *scores)]
    possible = [refused for refused, accepted in rates if accepted <= 1 - detection + 1e-12]
    assert found == pytest.approx(min(possible))


@given(CASES)
def test_bins_agree_with_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    scores, genuine = split(rows)
    bins = statistics.reliability(scores, genuine, bins=3)  # no tied score lies on an edge
    true, said = calibration_curve(genuine, scores, n_bins=3)
    assert np.allclose(bins.said, said)
    assert np.allclose(bins.true, true)
    assert sum(bins.counts) == len(rows)


def test_calibration_error_is_the_gap_between_said_and_true() -> None:
    genuine = np.array([True] * 6 + [False] * 4)
    assert statistics.calibration_error(np.full(10, 0.6), genuine) == pytest.approx(0)
    assert statistics.calibration_error(np.full(10, 1.0), genuine) == pytest.approx(0.4)


@given(CASES)
def test_calibration_error_lies_between_nothing_and_all(rows: list[tuple[int, bool]]) -> None:
    scores, genuine = split(rows)
    error = statistics.calibration_error(scores, genuine)
    assert 0 <= error <= 1
    assert error >= abs(scores.mean() - genuine.mean()) - 1e-9, "bins hide no overall bias"


@pytest.mark.parametrize(
    "measure",
    [
        statistics.auc,
        statistics.equal_error_rate,
        statistics.balanced_accuracy,
        statistics.false_reject_rate_at,
    ],
)
def test_one_label_alone_determines_nothing(measure: statistics.Measure) -> None:
    scores, genuine = np.array([0.2, 0.8]), np.array([True, True])
    assert math.isnan(measure(scores, genuine))
    assert statistics.with_interval(measure, scores, genuine, ["a", "b"]) is None


def test_shares_of_known_cases() -> None:
    # Newcombe 1998, table I: Wilson's score interval without continuity correction
    found = statistics.share([True] * 81 + [False] * 182)
    assert found is not None
    assert (found.value, found.count) == (pytest.approx(81 / 263), 263)
    assert (found.low, found.high) == (
        pytest.approx(0.2553, abs=1e-4),
        pytest.approx(0.3662, abs=1e-4),
    )
    none = statistics.share([False] * 29)
    assert none is not None
    assert none.low == 0
    assert none.high == pytest.approx(0.1170, abs=1e-4)
    assert statistics.share([]) is None


@given(st.lists(st.booleans(), min_size=1, max_size=80))
def test_a_share_lies_in_its_interval(rights: list[bool]) -> None:
    found = statistics.share(rights)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value <= found.high + 1e-12 <= 1 + 1e-9


@given(st.lists(st.booleans(), min_size=2, max_size=20), st.integers(2, 6))
def test_copies_in_a_group_are_no_further_evidence(rights: list[bool], copies: int) -> None:
    once = statistics.share(rights, [str(i) for i in range(len(rights))])
    copied = [right for right in rights for _ in range(copies)]
    groups = [str(i) for i in range(len(rights)) for _ in range(copies)]
    again = statistics.share(copied, groups)
    assert once is not None
    assert again is not None
    assert again.value == pytest.approx(once.value)
    assert again.low == pytest.approx(once.low, abs=0.02)
    assert again.high == pytest.approx(once.high, abs=0.02)


def test_interval_holds_the_value_and_narrows_with_groups() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (50, 800):
        genuine = np.arange(2 * count) % 2 == 0
        scores = 1 / (1 + np.exp(-(rng.normal(0, 1, 2 * count) + genuine)))
        groups = [str(i // 2) for i in range(2 * count)]
        figure = statistics.with_interval(statistics.auc, scores, genuine, groups)
        assert figure is not None
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low < figure.value < figure.high
        widths.append(figure.high - figure.low)
    assert widths[1] < widths[0] / 2


@pytest.mark.slow
def test_interval_covers_the_truth_about_as_often_as_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    genuine = np.arange(80) % 2 == 0
    groups = [str(i) for i in range(80)]
    truth = 0.760250  # Phi(1 / sqrt 2): normal scores one deviation apart
    covered = 0
    monkeypatch.setattr(statistics, "RESAMPLES", 200)
    for _ in range(100):
        scores = rng.normal(0, 1, 80) + genuine
        figure = statistics.with_interval(statistics.auc, scores, genuine, groups)
        assert figure is not None
        assert figure.low is not None
        assert figure.high is not None
        covered += figure.low <= truth <= figure.high
    assert 85 <= covered <= 100


def test_interval_draws_whole_groups() -> None:
    rng = np.random.default_rng(1)
    genuine = np.arange(80) % 2 == 0
    scores = rng.random(80) * 0.5 + genuine * 0.2
    groups = [str(i) for i in range(80)]
    once = statistics.with_interval(statistics.auc, scores, genuine, groups)
    copied = statistics.with_interval(
        statistics.auc,
        np.repeat(scores, 10),
        np.repeat(genuine, 10),
        np.repeat(groups, 10).tolist(),
    )
    assert once is not None
    assert copied is not None
    assert copied.low == pytest.approx(once.low, abs=0.02)
    assert copied.high == pytest.approx(once.high, abs=0.02)


def test_one_group_alone_gives_no_interval() -> None:
    figure = statistics.with_interval(
        statistics.auc, np.array([0.9, 0.1]), np.array([True, False]), ["same", "same"]
    )
    assert figure == Figure(1.0, None, None, 2)
    assert statistics.mean_with_interval([], []) is None


def test_draws_that_all_agree_are_no_certainty() -> None:
    scores, genuine = np.array([0.9, 0.8, 0.2, 0.1]), np.array([True, True, False, False])
    figure = statistics.with_interval(statistics.auc, scores, genuine, list("abcd"))
    assert figure == Figure(1.0, None, None, 4)


def test_means_and_medians_of_plain_lists() -> None:
    mean = statistics.mean_with_interval([1.0, 2.0, 3.0, 4.0], ["a", "b", "c", "d"])
    assert mean is not None
    assert mean.value == 2.5
    assert statistics.middle([]) is None
    assert statistics.middle([3, 1, 2]) == 2
    assert statistics.spread([]) is None
    assert statistics.spread([1, 2, 3]) == {"p5": 1.1, "median": 2.0, "p95": 2.9}


def test_slices_are_named_in_order_and_the_nameless_left_out() -> None:
    found = statistics.by_slice(["b", "", "a", "b"], lambda rows: rows.tolist())
    assert found == {"b": [0, 3], "a": [2]}
    assert list(found) == ["b", "a"]
