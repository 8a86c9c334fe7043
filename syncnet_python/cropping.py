"""A face track and its frames -> the 224x224 crops that SyncNet was trained on. Pure.

Arithmetic of the reference (crop_video in run_pipeline.py), down to where it truncates, so that
crops are equal pixel by pixel.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

CROP_SIZE = 224
CROP_SCALE = 0.4
"""How much of the box's size is added: to the left and right once, below twice, above never."""

PADDING_VALUE = 110
"""Grey of what lies outside the frame."""

_FILTER = 13
"""Frames of the median filter, about half a second."""


@dataclass(frozen=True, slots=True, eq=False)
class CropPath:
    """Where to cut, frame by frame: (n,) float64 each, in pixels of the frame.

    x, y: centre of the face; size: half its larger side.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    size: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.size)


def smooth(boxes: NDArray[np.float64]) -> CropPath:
    """The path of a track's boxes (n, 4), each coordinate median-filtered over 13 frames.

    The filter reads zeros before the first and after the last frame, as the reference's does. A
    track of six frames or fewer would be mostly zeros and vanish, so its ends are repeated.
    """
    mode: Literal["constant", "nearest"] = "constant" if len(boxes) > _FILTER // 2 else "nearest"
    size = np.maximum(boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]) / 2
    x = (boxes[:, 0] + boxes[:, 2]) / 2
    y = (boxes[:, 1] + boxes[:, 3]) / 2
    return CropPath(*(median_filter(v, size=_FILTER, mode=mode) for v in (x, y, size)))


def crop(
    frame: NDArray[np.uint8], x: float, y: float, size: float, scale: float = CROP_SCALE
) -> NDArray[np.uint8]:
    """Cut one face out of its frame: (224, 224, 3) BGR uint8.

    frame: (height, width, 3) BGR uint8; x, y, size: one step of a `CropPath`, pixels. The region
    spans y - size to y + (1 + 2 scale) size and x +- (1 + scale) size; what lies outside the frame
    is grey.
    """
    below = size * (1 + 2 * scale)
    side = size * (1 + scale)
    # The reference pads the frame by this whole number and truncates in padded coordinates; the
    # same order of operations gives the same rounding.
    pad = int(below)
    top, bottom = int(y + pad - size) - pad, int(y + pad + below) - pad
    left, right = int(x + pad - side) - pad, int(x + pad + side) - pad
    # ... and its padded frame ends there, where rounding takes the sum one pixel further.
    bottom, right = min(bottom, frame.shape[0] + pad), min(right, frame.shape[1] + pad)
    region = _cut(frame, top, max(bottom, top + 1), left, max(right, left + 1))
    resized = cv2.resize(region, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def _cut(
    frame: NDArray[np.uint8], top: int, bottom: int, left: int, right: int
) -> NDArray[np.uint8]:
    """Rows top to bottom and columns left to right, ends exclusive, which may leave the frame."""
    height, width = frame.shape[:2]
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
        return frame[top:bottom, left:right]
    region = np.full((bottom - top, right - left, 3), PADDING_VALUE, np.uint8)
    rows = slice(max(top, 0), max(min(bottom, height), 0))
    columns = slice(max(left, 0), max(min(right, width), 0))
    inside = frame[rows, columns]
    if inside.size:
        down, across = rows.start - top, columns.start - left
        region[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
    return region
