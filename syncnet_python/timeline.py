"""How the offset runs through a recording: one moment a second, and where it jumps. Pure.

Both read a table of `offset.distances`. A network's distances are brought to one unit by its
`scale.Scale`: a sum of distances over windows, divided by the confidence's width, stands for a
negative log-likelihood up to a factor that was fitted on recordings of known offset.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from syncnet_python import offset
from syncnet_python.results import FRAME_RATE, OffsetChange, OffsetCurve, OffsetMoment
from syncnet_python.scale import Scale

NEIGHBOURHOOD = FRAME_RATE
"""Windows on either side of a moment that speak for it."""

SHORTEST_PART = FRAME_RATE
"""Windows between two changes, at least."""

SMALLEST_CHANGE = 3
"""Frames. Less is drift, or the difference between two takes of one camera."""

WIDEST_BAND = 4.0
"""Frames. A moment whose band is wider holds too little to say."""

_NATS_PER_WIDTH = 0.084
"""Log-likelihood of one window whose distance is lower by one width of the confidence. Below what
a window alone would earn, because neighbouring windows share most of what they see."""

_OWN_BIAS = 0.4
"""Frames (standard deviation) by which the offset that a face shows differs from its true one."""

_EVIDENCE = 6.0
"""Nats by which two offsets must explain a recording better than one. Recordings of good speech
without a splice stay below it in 99%."""

_FINE = 0.1

Floats = NDArray[np.float64]


def moments(
    table: NDArray[np.float32], times: NDArray[np.floating], scale: Scale
) -> tuple[OffsetMoment, ...]:
    """One moment a second, each from the windows of the second before and after it.

    table: of `offset.distances`, (windows, shifts); times: (windows,) seconds, ascending, the
    middle of each window; scale: of the network. A moment has no offset where its windows match
    less than chance and belief balance at (`scale.confidence_mid`), or where its 95% band would be
    wider than 4 frames. The band holds the likelihood of the curve and how far faces are off.
    """
    rows = _comparable(table)
    return tuple(
        _moment(rows[first:end].mean(axis=0), end - first, time, scale)
        for time, first, end in _neighbourhoods(times)
    )


def changes(
    table: NDArray[np.float32], times: NDArray[np.floating], scale: Scale
) -> tuple[OffsetChange, ...]:
    """Where the offset jumps, in time order; arguments as for `moments`.

    Binary segmentation (Scott and Knott 1974): the split into two offsets that explains the
    distances best is kept where it beats the best single offset, drift of two frames allowed, by
    more than a penalty; then each part is split again. Parts that match nothing are not split.
    """
    rows = _comparable(table)
    splits = sorted(_splits(rows, 0, scale))
    ends = [0, *splits, len(rows)]
    offsets = [
        offset.subframe(_curve(rows[first:end].mean(axis=0))) for first, end in pairwise(ends)
    ]
    return tuple(
        OffsetChange(round(float(times[split]), 2), before, after)
        for split, (before, after) in zip(splits, pairwise(offsets), strict=True)
    )


def _comparable(table: NDArray[np.float32]) -> Floats:
    """The table by ascending offset. Pairs that do not exist say nothing: they get their window's
    median, also where the table holds the length of the picture's embedding for them."""
    windows, shifts = table.shape
    later = np.arange(windows)[:, None] + np.arange(shifts)[None] - shifts // 2
    rows = np.where((later >= 0) & (later < windows), table, np.nan).astype(np.float64)[:, ::-1]
    return np.where(np.isnan(rows), np.nanmedian(rows, axis=1, keepdims=True), rows)


def _neighbourhoods(times: NDArray[np.floating]) -> Iterator[tuple[float, int, int]]:
    """(seconds, first window, end) of every moment; what is left of a second counts from half on,
    and the first always."""
    for first in range(0, max(1, len(times) - FRAME_RATE // 2), FRAME_RATE):
        middle = min(first + FRAME_RATE // 2, len(times) - 1)
        if len(times):
            start, end = max(0, middle - NEIGHBOURHOOD), middle + NEIGHBOURHOOD + 1
            yield round(float(times[middle]), 2), start, min(len(times), end)


def _moment(means: Floats, windows: int, time: float, scale: Scale) -> OffsetMoment:
    confidence = float(np.median(means) - means.min())
    middle = offset.subframe(_curve(means))
    low, high = _band(means, windows * _NATS_PER_WIDTH / scale.confidence_width)
    if confidence < scale.confidence_mid or high - low > WIDEST_BAND:
        return OffsetMoment(time, None, None, None, round(confidence, 4))
    return OffsetMoment(time, middle, min(low, middle), max(high, middle), round(confidence, 4))


def _band(means: Floats, nats: float) -> tuple[float, float]:
    """The middle 95% of the offset's probability; nats: log-likelihood a unit of mean distance."""
    reach = len(means) // 2
    fine = np.arange(-reach, reach + _FINE / 2, _FINE)
    distances = CubicSpline(np.arange(-reach, reach + 1), means)(fine)
    likelihood = np.exp(-nats * (distances - distances.min()))
    share = np.cumsum(gaussian_filter1d(likelihood, _OWN_BIAS / _FINE, mode="nearest"))
    low, high = np.searchsorted(share / share[-1], (0.025, 0.975))
    return round(float(fine[low]), 1) + 0.0, round(float(fine[high]), 1) + 0.0  # never -0.0


def _splits(rows: Floats, first: int, scale: Scale) -> list[int]:
    """Window indices, counted from `first`, at which a new offset begins."""
    windows, shifts = rows.shape
    if windows < 2 * SHORTEST_PART:
        return []
    sums = np.concatenate([np.zeros((1, shifts)), np.cumsum(rows, axis=0)])
    candidates = np.arange(SHORTEST_PART, windows - SHORTEST_PART + 1)
    left, right = sums[candidates], sums[-1] - sums[candidates]
    numbers = np.arange(shifts)
    apart = np.abs(numbers[:, None] - numbers[None]) >= SMALLEST_CHANGE
    pairs = left[:, :, None] + right[:, None, :]
    one = float(pairs[:, ~apart].min())
    pairs[:, ~apart] = np.inf
    _, before, after = (int(i) for i in np.unravel_index(pairs.argmin(), pairs.shape))
    cost = pairs[:, before, after]
    nats = _NATS_PER_WIDTH / scale.confidence_width
    matched = (np.median(rows, axis=1).sum() - cost.min()) / windows
    least = scale.confidence_mid - scale.confidence_width
    if (one - cost.min()) * nats < _EVIDENCE or matched < least:
        return []
    share = np.cumsum(np.exp(-nats * (cost - cost.min())))
    split = int(candidates[np.searchsorted(share, share[-1] / 2)])
    return [
        *_splits(rows[:split], first, scale),
        first + split,
        *_splits(rows[split:], first + split, scale),
    ]


def _curve(means: Floats) -> OffsetCurve:
    reach = len(means) // 2
    return OffsetCurve(tuple(range(-reach, reach + 1)), tuple(float(d) for d in means))
