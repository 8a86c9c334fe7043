"""How well a score tells genuine from fake, and how sure that is.

Scores are (n,) float64, higher is more likely genuine; `genuine` is (n,) bool. The curves that are
shown come from scikit-learn, and tests hold the measures to it. A measure that its data do not
determine (an area without any fake) is NaN, and its Figure is None. Groups are what belongs
together: a speaker, a video and its forgery; recordings of one group are no independent evidence,
so intervals are over groups.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import det_curve, roc_curve

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]
Measure = Callable[[Scores, Labels], float]
T = TypeVar("T")

RESAMPLES = 1000
"""Draws of a bootstrap."""

SAME = 1e-9
"""Draws that differ by less differ by rounding alone."""

BINS = 10
Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95% interval (None where the data cannot give one). count: what it is a
    figure of: files, windows, frames."""

    value: float
    low: float | None
    high: float | None
    count: int


def share(rights: Iterable[bool], groups: Sequence[str] | None = None) -> Figure | None:
    """How many are right, with Wilson's interval; None where there is nothing to count.

    With groups, Wilson's interval is taken at the effective sample size: n over the design effect
    of the groups, never less than their number (after Korn & Graubard 1998). Unlike a bootstrap
    it says something where all, or none, are right.
    """
    hits = np.fromiter(rights, np.float64)
    if not len(hits):
        return None
    p = float(hits.mean())
    low, high = wilson(p, _effective_count(hits, groups) if groups is not None else len(hits))
    return Figure(p, low, high, len(hits))


def wilson(p: float, count: float) -> tuple[float, float]:
    """Wilson's 95% interval (1927) of a share p seen on `count` (> 0) independent trials."""
    scale = 1 + Z95**2 / count
    centre = (p + Z95**2 / (2 * count)) / scale
    half = Z95 * np.sqrt(p * (1 - p) / count + Z95**2 / (4 * count**2)) / scale
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _effective_count(hits: Scores, groups: Sequence[str]) -> float:
    n, p = len(hits), hits.mean()
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    number = int(member.max()) + 1
    if p in (0, 1) or number == 1:
        return float(number)
    sums = np.bincount(member, hits - p)
    clustered = number / (number - 1) * float(np.sum(sums**2)) / n**2
    independent = p * (1 - p) / n
    return float(np.clip(n * independent / clustered, number, n)) if clustered else float(n)


def auc(scores: Scores, genuine: Labels) -> float:
    """Area under the ROC curve: chance that a genuine one scores above a fake; ties count half."""
    return discrimination(scores, genuine)[0]


def equal_error_rate(scores: Scores, genuine: Labels) -> float:
    """Where the shares of refused genuine ones and accepted fakes are equal, between thresholds
    by a straight line (the ROC curve's crossing of the other diagonal). 0-1, lower is better."""
    return discrimination(scores, genuine)[1]


def false_reject_rate_at(scores: Scores, genuine: Labels, detection: float = 0.7) -> float:
    """Share of genuine ones refused at the lowest threshold that refuses this share of fakes."""
    return discrimination(scores, genuine, detection)[2]


def discrimination(
    scores: Scores, genuine: Labels, detection: float = 0.7
) -> tuple[float, float, float]:
    """`auc`, `equal_error_rate` and `false_reject_rate_at` by one sorting."""
    if not _both(genuine):
        return float("nan"), float("nan"), float("nan")
    accepted, kept = _curve(scores, genuine)
    gap = accepted - (1 - kept)  # ascending from -1 to 1 along the curve
    after = int(np.argmax(gap >= 0))
    part = -gap[after - 1] / (gap[after] - gap[after - 1])
    equal = accepted[after - 1] + part * (accepted[after] - accepted[after - 1])
    refused = 1 - kept[accepted <= 1 - detection + 1e-12].max()
    return float(np.trapezoid(kept, accepted)), float(equal), float(refused)


def _curve(scores: Scores, genuine: Labels) -> tuple[Scores, Scores]:
    """`sklearn.metrics.roc_curve` with every threshold and without its checks, which a thousand
    bootstrap draws cannot afford: they cost twenty times the sorting."""
    order = np.argsort(-scores)
    ordered, labels = scores[order], genuine[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of every tied run
    kept = np.cumsum(labels)[last]
    accepted = last + 1 - kept
    return np.append(0.0, accepted / accepted[-1]), np.append(0.0, kept / kept[-1])


def balanced_accuracy(scores: Scores, genuine: Labels, threshold: float = 0.5) -> float:
    """Mean of the shares of genuine ones above the threshold and of fakes not above it."""
    if not _both(genuine):
        return float("nan")
    above = scores > threshold
    number = np.count_nonzero(genuine)
    kept = np.count_nonzero(above & genuine) / number
    accepted = (np.count_nonzero(above) - kept * number) / (len(genuine) - number)
    return float((kept + 1 - accepted) / 2)


@dataclass(frozen=True, slots=True)
class Bins:
    """Scores in bins of equal width, of those that hold any. said: mean score; true: share of
    genuine ones; counts: how many."""

    said: tuple[float, ...]
    true: tuple[float, ...]
    counts: tuple[int, ...]


def reliability(scores: Scores, genuine: Labels, bins: int = BINS) -> Bins:
    """Does a score of 0.8 mean that 80% are genuine? scores: 0-1."""
    at = np.minimum((scores * bins).astype(np.int64), bins - 1)
    counts = np.bincount(at, minlength=bins)
    held = counts > 0
    said = np.bincount(at, scores, bins)[held] / counts[held]
    true = np.bincount(at, genuine, bins)[held] / counts[held]
    return Bins(tuple(said.tolist()), tuple(true.tolist()), tuple(counts[held].tolist()))


def calibration_error(scores: Scores, genuine: Labels) -> float:
    """Expected calibration error: mean gap between said and true over 10 bins of equal width,
    weighted by their contents. 0-1; scores: 0-1."""
    if not len(scores):
        return float("nan")
    bins = reliability(scores, genuine)
    gaps = np.abs(np.subtract(bins.said, bins.true))
    return float(np.average(gaps, weights=bins.counts))


def roc(scores: Scores, genuine: Labels) -> tuple[Scores, Scores]:
    """Share of fakes accepted, share of genuine ones accepted; both (k,), ascending."""
    accepted, kept, _ = roc_curve(genuine, scores)
    return accepted, kept


def det(scores: Scores, genuine: Labels) -> tuple[Scores, Scores]:
    """Share of fakes accepted, share of genuine ones refused; both (k,)."""
    accepted, refused, _ = det_curve(genuine, scores)
    return accepted, refused


def with_interval(
    measure: Measure, scores: Scores, labels: Labels, groups: Sequence[str]
) -> Figure | None:
    """A measure with its interval, as `with_intervals` gives it.

    Takes any measure of two parallel arrays: `lambda errors, _: float(np.mean(errors))` as well.
    """
    return with_intervals(lambda s, g: (measure(s, g),), scores, labels, groups)[0]


def with_intervals(
    measures: Callable[[Scores, Labels], Sequence[float]],
    scores: Scores,
    labels: Labels,
    groups: Sequence[str],
    *,
    seed: int = 0,
) -> list[Figure | None]:
    """Several measures of the same data with 95% percentile bootstrap intervals, from RESAMPLES
    draws of whole groups with replacement.

    Draws that leave a measure undetermined are passed over; None where the data themselves do.
    Where all draws agree, as they do where nothing is mistaken, there is no interval: that would
    claim a certainty that few files cannot give.
    """
    values = np.asarray(measures(scores, labels), np.float64)
    members = _members(groups) if len(groups) else []
    drawn = np.empty((RESAMPLES if len(members) > 1 else 0, len(values)))
    alone = np.concatenate(members) if len(members) == len(groups) > 0 else None
    rng = np.random.default_rng(seed)
    for draw in range(len(drawn)):
        chosen = rng.integers(0, len(members), len(members))
        rows = alone[chosen] if alone is not None else np.concatenate([members[i] for i in chosen])
        drawn[draw] = measures(scores[rows], labels[rows])
    return [_figure(value, of, len(scores)) for value, of in zip(values, drawn.T, strict=True)]


def _figure(value: float, drawn: Scores, count: int) -> Figure | None:
    if np.isnan(value):
        return None
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn) or np.ptp(drawn) < SAME:
        return Figure(float(value), None, None, count)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Figure(float(value), float(low), float(high), count)


def mean_with_interval(values: Sequence[float], groups: Sequence[str]) -> Figure | None:
    """The mean of any numbers, as `with_interval` gives it."""
    array = np.asarray(values, np.float64)
    if not len(array):
        return None
    return with_interval(lambda a, _: float(a.mean()), array, np.ones(len(array), bool), groups)


def middle(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return float(np.median(values)) if len(values) else None


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """5th, 50th and 95th percentile; None of nothing."""
    if not len(values):
        return None
    low, middle, high = np.percentile(values, (5, 50, 95))
    return {"p5": float(low), "median": float(middle), "p95": float(high)}


def by_slice(names: Sequence[str], measure: Callable[[NDArray[np.int64]], T]) -> dict[str, T]:
    """What `measure` makes of the rows of every name, in the order of first appearance.

    names: one a row; rows without a name belong to no slice.
    """
    array = np.asarray(names)
    return {name: measure(np.flatnonzero(array == name)) for name in dict.fromkeys(names) if name}


def _both(genuine: Labels) -> bool:
    return bool(genuine.any()) and not bool(genuine.all())


def _members(groups: Sequence[str]) -> list[NDArray[np.int64]]:
    """Rows of every group."""
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(member, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(member[order])) + 1)
