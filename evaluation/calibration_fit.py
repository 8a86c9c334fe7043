"""The statistics of a calibration: capture offset, maps from raw scores, thresholds.

Pure functions of arrays. Raw scores are (n,) float64 in 0-1; `genuine` is (n,) bool. Both sides
always weigh alike, however many recordings each has: a probability is that of a recording that is
as likely genuine as not before anything is known about it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold

from syncnet_python.calibration import Thresholds
from syncnet_python.score_maps import Isotonic, Linear, Platt, ScoreMap

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]
Split = tuple[NDArray[np.int64], NDArray[np.int64]]
Kind = Literal["isotonic", "platt", "linear"]

FOLDS = 5
ORDINARY = 0.9
"""What an ordinary genuine recording comes to where nothing but such recordings is known."""

CHANCE = float(np.log(2))
"""Log loss of who always says one half."""

_FLOOR = 1e-3  # no map is charged with being surer than a few hundred recordings can show
_WORTH = 0.01  # log loss by which a map must beat a coin
_AGREE_FRAMES = 1.0
_AGREE_SHARE = 0.8
_EDGE_FRAMES = 14.0


@dataclass(frozen=True, slots=True)
class CaptureOffset:
    """The offset that a set-up always adds. value: frames, 0 where none is claimed; interval: 95%,
    None where none is claimed, and then `why_not` says why; count: recordings asked."""

    value: float
    interval: tuple[float, float] | None
    count: int
    why_not: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class FittedMap:
    """A map with what it is worth. kind: how it was fitted; cross_fitted: (n,) probability of each
    recording by a map that has not seen its group; log_loss, reliability_error: of these, both
    None without fakes; note: what has to be known about it."""

    map: ScoreMap
    kind: str
    cross_fitted: Floats
    log_loss: float | None = None
    reliability_error: float | None = None
    note: str = ""


def capture_offset(offsets: Sequence[float]) -> CaptureOffset:
    """The constant offset of genuine recordings with a clear one. offsets: frames, sub-frame.

    The median, with the order statistics that hold it in 95% of samples. None is claimed of fewer
    than five, of recordings that disagree, or at the edge of what is searched.
    """
    values = np.sort(np.asarray(offsets, np.float64))
    if len(values) < 5:
        why = f"only {len(values)} genuine recordings have a clear offset; five are needed"
        return CaptureOffset(0.0, None, len(values), why)
    middle = float(np.median(values))
    agree = float((np.abs(values - middle) <= _AGREE_FRAMES).mean())
    if agree < _AGREE_SHARE:
        low, high = np.percentile(values, (10, 90))
        why = (
            f"the offsets differ from recording to recording ({low:+.1f} to {high:+.1f} frames, "
            f"{agree:.0%} within one frame of the median): no constant delay can be told"
        )
        return CaptureOffset(0.0, None, len(values), why)
    if abs(middle) > _EDGE_FRAMES:
        why = f"the offsets lie at the edge of what is searched ({middle:+.1f} frames)"
        return CaptureOffset(0.0, None, len(values), why)
    rank = max(int(binom.ppf(0.025, len(values), 0.5)), 1)
    interval = float(values[rank - 1]), float(values[-rank])
    return CaptureOffset(middle, interval, len(values))


def splits(genuine: Labels, groups: Sequence[str]) -> list[Split] | None:
    """Folds (train, test) that keep groups together, each training on both sides; None where the
    groups are too few for that."""
    names = np.asarray(groups)
    fewest = min(len(np.unique(names[genuine])), len(np.unique(names[~genuine])))
    for folds in range(min(FOLDS, fewest), 1, -1):
        cut = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
        found: list[Split] = list(cut.split(genuine, genuine, names))
        if all(genuine[train].any() and not genuine[train].all() for train, _ in found):
            return found
    return None


def fit_map(
    raw: Floats, genuine: Labels, folds: Sequence[Split], kind: Kind | Literal["auto"] = "auto"
) -> FittedMap:
    """The map of that kind, or with "auto" the better of isotonic and Platt by log loss on folds
    that it was not fitted on.

    Fakes that do not show in this score teach it nothing: then the map is `of_genuine`, so that
    the score still speaks of other kinds of fakes.
    """
    kinds: tuple[Kind, ...] = ("isotonic", "platt") if kind == "auto" else (kind,)
    share = _shares(genuine)
    tried: dict[Kind, tuple[float, Floats]] = {}
    for candidate in kinds:
        said = np.empty(len(raw))
        for train, test in folds:
            fold = _FITS[candidate](raw[train], genuine[train])
            said[test] = _applied(fold, raw[test])
        loss = float(log_loss(genuine, _bounded(said), sample_weight=share, labels=[False, True]))
        tried[candidate] = loss, said
    best = min(tried, key=lambda candidate: tried[candidate][0])
    loss, said = tried[best]
    if loss > CHANCE - _WORTH:
        ordinary = of_genuine(raw[genuine])
        return FittedMap(
            ordinary,
            "linear",
            _applied(ordinary, raw),
            loss,
            note="does not tell these fakes from genuine recordings (log loss "
            f"{loss:.3f}, a coin's is {CHANCE:.3f}): its map rests on the genuine ones alone",
        )
    error = reliability_error(said, genuine)
    return FittedMap(_FITS[best](raw, genuine), best, said, loss, error)


def of_genuine(raw: Floats) -> Linear:
    """What genuine recordings alone can give: an ordinary one comes to ORDINARY, or stays where
    it is if that is higher. How far below a fake would lie, they cannot tell."""
    middle = float(np.median(raw))
    return Linear(reference=_tidy(max(ORDINARY, middle)), scale=1.0, baseline=_tidy(middle))


def thresholds(combined: Floats, genuine: Labels, false_reject: float) -> Thresholds:
    """Let at most this share of genuine recordings miss ALLOW, where so few can tell it.

    With n of them the k-th lowest score, k = floor(share * (n + 1)), is missed by k / (n + 1) of
    those to come (order statistics); under 1 / share the lowest is taken. The threshold lies in
    the middle of the gap below it, and never below the default without need; above the default
    only where fakes show that it helps. The other thresholds keep their defaults unless `real`
    would come above it, or `next` above half of it.
    """
    default = Thresholds()
    ordered = np.sort(combined[genuine])
    kept = float(ordered[max(int(false_reject * (len(ordered) + 1)), 1) - 1])
    below = combined[combined < kept]
    middle = (kept + float(below.max())) / 2 if len(below) else kept
    if genuine.all():
        allow = min(middle, default.allow)
    else:
        allow = middle if kept <= default.allow else max(middle, default.allow)
    allow = _tidy(allow)
    return Thresholds(
        allow=allow, real=min(default.real, allow), next=min(default.next, _tidy(allow / 2))
    )


def reliability_error(said: Floats, genuine: Labels, bins: int = 10) -> float:
    """Mean gap between what was said and what was true in bins of equal width, both sides weighing
    alike. 0-1."""
    share = _shares(genuine)
    at = np.minimum((said * bins).astype(np.int64), bins - 1)
    gap = np.bincount(at, share * (said - genuine), bins)
    return float(np.abs(gap).sum())


def _platt(raw: Floats, genuine: Labels) -> Platt:
    """Platt's sigmoid with his own targets, which keep it from becoming a step: every recording
    counts a little for the other side too."""
    share = _shares(genuine)
    count = np.where(genuine, genuine.sum(), (~genuine).sum())
    doubt = 1 / (count + 2)
    model = LogisticRegression(C=np.inf, max_iter=1000)
    model.fit(
        np.concatenate([raw, raw])[:, None],
        np.concatenate([genuine, ~genuine]),
        sample_weight=np.concatenate([share * (1 - doubt), share * doubt]) * len(raw),
    )
    slope = float(model.coef_[0, 0])
    if slope <= 0:  # fakes score higher: the score says nothing that may be believed
        return Platt(slope=0.0, intercept=0.0)
    return Platt(slope=_tidy(slope), intercept=_tidy(float(model.intercept_[0])))


def _isotonic(raw: Floats, genuine: Labels) -> Isotonic:
    """Isotonic regression that is never surer than the recordings are many."""
    doubt = 1 / (min(int(genuine.sum()), int((~genuine).sum())) + 2)
    model = IsotonicRegression(y_min=doubt, y_max=1 - doubt, out_of_bounds="clip")
    # Scores nearer than a millionth are one knot: no file can tell them apart.
    model.fit(np.round(raw, 6), genuine.astype(np.float64), sample_weight=_shares(genuine))
    knots = np.round(model.X_thresholds_, 6)
    heights = np.maximum.accumulate(np.round(model.y_thresholds_, 6))
    return Isotonic(tuple(knots.tolist()), tuple(heights.tolist()))


def _linear(raw: Floats, genuine: Labels) -> Linear:
    model: Any = LinearRegression().fit(raw[:, None], genuine, sample_weight=_shares(genuine))
    middle = float(np.average(raw, weights=_shares(genuine)))
    return Linear(reference=0.5, scale=_tidy(max(float(model.coef_[0]), 0.0)), baseline=middle)


_FITS: Mapping[Kind, Callable[[Floats, Labels], ScoreMap]] = {
    "isotonic": _isotonic,
    "platt": _platt,
    "linear": _linear,
}


def _shares(genuine: Labels) -> Floats:
    """What each recording weighs: half for each side, 1 in all."""
    shares: Floats = np.empty(len(genuine))
    shares[genuine] = 0.5 / max(genuine.sum(), 1)
    shares[~genuine] = 0.5 / max((~genuine).sum(), 1)
    return shares


def _applied(fitted: ScoreMap, raw: Floats) -> Floats:
    return np.asarray([fitted(float(value)) for value in raw], np.float64)


def _bounded(said: Floats) -> Floats:
    return np.clip(said, _FLOOR, 1 - _FLOOR)


def _tidy(value: float) -> float:
    return round(value, 6)
