"""Embeddings -> offset, minimum distance, confidence and the curve they are read from. Pure.

Reference: calc_pdist and evaluate in SyncNetInstance.py of Chung and Zisserman's SyncNet.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from syncnet_python.results import OffsetCurve

MAX_SHIFT = 15
"""Frames of offset tested on either side."""

Padding = Literal["zero", "valid"]
"""What a picture window is compared with where the sound has none: "zero", an embedding of zeros
as in the reference, whose distance is the picture embedding's own length; "valid", nothing."""

_FILTER = 9
_EPSILON = np.float32(1e-6)
"""Added to every difference by the reference's distance function."""


@dataclass(frozen=True, slots=True, eq=False)
class OffsetEstimate:
    """offset_frames: > 0, the audio leads the picture (see `results.SyncResult`);
    min_dist: lowest mean distance (LSE-D); confidence: median less minimum of the curve (LSE-C);
    curve: mean distance by offset; framewise_confidence: (windows,) float64, median of the curve
    less the window's own distance at the chosen offset, median-filtered over 9 windows.
    """

    offset_frames: int
    min_dist: float
    confidence: float
    curve: OffsetCurve
    framewise_confidence: NDArray[np.float64]


def distances(
    visual: NDArray[np.float32],
    audio: NDArray[np.float32],
    *,
    max_shift: int = MAX_SHIFT,
    padding: Padding = "zero",
) -> NDArray[np.float32]:
    """Distance of every picture window to the sound windows around it.

    visual, audio: (windows, features) float32, window for window at the same time.
    Returns (windows, 2 * max_shift + 1) float32. Column j compares picture window i with sound
    window i + j - max_shift, so it stands for offset max_shift - j. With "valid" padding, pairs
    that do not exist are NaN.
    """
    if visual.shape != audio.shape:
        raise ValueError(f"{visual.shape} picture and {audio.shape} sound embeddings do not pair")
    windows = len(visual)
    table = np.full((windows, 2 * max_shift + 1), np.nan, np.float32)
    if padding == "zero":
        table[:] = _lengths(visual + _EPSILON)[:, None]
    for column in range(table.shape[1]):
        later = column - max_shift
        first, last = max(0, -later), min(windows, windows - later)
        if first < last:
            difference = visual[first:last] - audio[first + later : last + later]
            table[first:last, column] = _lengths(difference + _EPSILON)
    return table


def estimate(
    visual: NDArray[np.float32],
    audio: NDArray[np.float32],
    *,
    max_shift: int = MAX_SHIFT,
    padding: Padding = "zero",
) -> OffsetEstimate:
    """Offset and figures of one track; arguments as for `distances`, at least one window."""
    return read(distances(visual, audio, max_shift=max_shift, padding=padding))


def read(table: NDArray[np.float32]) -> OffsetEstimate:
    """Offset and figures from a table of `distances`, (windows >= 1, odd number of shifts).

    Columns are averaged over the pairs that exist. Shifts of a short clip that no pair reaches are
    left out on both sides, so the curve stays symmetric. At a tie the greater offset wins, as in
    the reference.
    """
    if not len(table):
        raise ValueError("there is no window to read an offset from")
    centre = table.shape[1] // 2
    max_shift = _reach(table)
    table = table[:, centre - max_shift : centre + max_shift + 1]
    means = np.asarray(np.nanmean(table, axis=0, dtype=np.float64))
    best = int(np.argmin(means))
    median = float(np.median(means))
    return OffsetEstimate(
        offset_frames=max_shift - best,
        min_dist=float(means[best]),
        confidence=median - float(means[best]),
        curve=OffsetCurve(
            offsets=tuple(range(-max_shift, max_shift + 1)),
            distances=tuple(float(d) for d in means[::-1]),
        ),
        framewise_confidence=_framewise(
            median - table[:, best].astype(np.float64), zero_ended=not np.isnan(table).any()
        ),
    )


def subframe(curve: OffsetCurve) -> float:
    """The offset between the tested ones, frames to a tenth: the lowest point of the parabola
    through the curve's minimum and its two neighbours (never more than half a frame away from the
    minimum; the minimum itself where it has no two neighbours). At a tie the greater offset wins,
    as in `read`.
    """
    distances = np.asarray(curve.distances)
    best = len(distances) - 1 - int(np.argmin(distances[::-1]))
    if best in (0, len(distances) - 1):
        return float(curve.offsets[best])
    before, lowest, after = (float(d) for d in distances[best - 1 : best + 2])
    bend = before - 2 * lowest + after
    between = (before - after) / (2 * bend) if bend > 0 else 0.0
    return round(curve.offsets[best] + between, 1) + 0.0  # never -0.0


def _reach(table: NDArray[np.float32]) -> int:
    """The largest shift for which every column up to it, on either side, holds a number."""
    centre = table.shape[1] // 2
    held = np.asarray(~np.isnan(table).all(axis=0))
    both = held[centre:] & held[centre::-1]
    return int(np.argmin(both)) - 1 if not both.all() else centre


def _framewise(raw: NDArray[np.float64], *, zero_ended: bool) -> NDArray[np.float64]:
    """Median filter over 9 windows. The reference's filter reads zeros beyond the ends; where
    pairs may be missing, the ends repeat the nearest window that has one."""
    if zero_ended:
        return np.asarray(median_filter(raw, size=_FILTER, mode="constant"))
    known = np.flatnonzero(~np.isnan(raw))
    filled = np.interp(np.arange(len(raw)), known, raw[known])
    return np.asarray(median_filter(filled, size=_FILTER, mode="nearest"))


def _lengths(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows)))
