"""Face points to what the sync network looks at: lip shapes and mouth crops.

Pure functions of arrays. Both inputs are taken in the frame of the eyes: rotated so that the line
between the eyes is level, and divided by the distance between the eyes, so that a turned head, a
far face and a large recording look alike. The eyes are smoothed over time first, because their
noise would move the whole mouth.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from syncnet_python.alignment import warp

EYE_CORNERS = (33, 133, 362, 263)
"""mediapipe's mesh indices of the eye corners: outer and inner of the eye on the left of the
picture, inner and outer of the other."""

NUM_LIPS = 40

CROP_SIZE = 48
"""Pixels of a mouth crop's side."""

CROP_SPAN = 0.975
"""Eye distances that a mouth crop's side covers."""

_CENTRE_POINTS = (0, 3, 7, 25)  # of the 40: upper lip's middle, lower lip's middle, both corners
_EYE_SIGMA = 1.5  # frames; the head moves more slowly than landmark noise
_CENTRE_SIGMA = 4.0  # frames; slower than speech, so that the jaw moves inside a steady crop
_SMALLEST_EYE_DISTANCE = 1.0  # pixels

Floats = NDArray[np.float64]


def lip_shapes(lips: NDArray[np.floating], eyes: NDArray[np.floating]) -> NDArray[np.float32]:
    """Lip points in the frame of the eyes: (frames, 40, 2) float32.

    lips: (frames, 40, 2) pixels; eyes: (frames, 4, 2) pixels, in the order of `EYE_CORNERS`.
    Origin midway between the eyes, unit the eye distance, x along the line of the eyes, y down.
    """
    middle, axis, distance = _eye_frame(eyes)
    relative = np.asarray(lips, np.float64) - middle[:, None]
    x = relative @ axis[:, :, None]
    y = relative @ _quarter_turn(axis)[:, :, None]
    return (np.concatenate([x, y], axis=2) / distance[:, None, None]).astype(np.float32)


def crop_transforms(
    lips: NDArray[np.floating],
    eyes: NDArray[np.floating],
    size: int = CROP_SIZE,
    span: float = CROP_SPAN,
) -> Floats:
    """Affine transforms from frame pixels to mouth crops: (frames, 2, 3) float64.

    lips, eyes: as in `lip_shapes`; size: pixels of the crop's side; span: eye distances it covers.
    The crop is centred on the mouth's slow position and levelled with the eyes.
    """
    middle, axis, distance = _eye_frame(eyes)
    across, down = axis, _quarter_turn(axis)
    mouth = np.asarray(lips, np.float64)[:, _CENTRE_POINTS].mean(axis=1) - middle
    in_eyes = np.stack([(mouth * across).sum(1), (mouth * down).sum(1)], axis=1)
    steady = _smooth(in_eyes / distance[:, None], _CENTRE_SIGMA) * distance[:, None]
    centre = middle + steady[:, :1] * across + steady[:, 1:] * down
    scale = size / (span * distance)
    rotation = np.stack([across, down], axis=1) * scale[:, None, None]
    shift = (size - 1) / 2 - (rotation @ centre[:, :, None])[:, :, 0]
    return np.concatenate([rotation, shift[:, :, None]], axis=2)


def crop(frame: NDArray[np.uint8], transform: Floats, size: int = CROP_SIZE) -> NDArray[np.uint8]:
    """One mouth crop, grey: (size, size) uint8.

    frame: (height, width, 3) uint8 BGR; transform: (2, 3) from `crop_transforms` for this size.
    """
    return np.asarray(cv2.cvtColor(warp(frame, transform, size), cv2.COLOR_BGR2GRAY), np.uint8)


def _eye_frame(eyes: NDArray[np.floating]) -> tuple[Floats, Floats, Floats]:
    """Smoothed over time: the eyes' midpoint (frames, 2), the unit vector from the left to the
    right of the picture (frames, 2), the distance between the eyes in pixels (frames,)."""
    steady = _smooth(np.asarray(eyes, np.float64), _EYE_SIGMA)
    left, right = steady[:, :2].mean(axis=1), steady[:, 2:].mean(axis=1)
    line = right - left
    length = np.hypot(line[:, 0], line[:, 1])
    distance = np.maximum(length, _SMALLEST_EYE_DISTANCE)
    level = np.array([1.0, 0.0])
    axis = np.where(length[:, None] > 0, line / np.maximum(length, 1e-9)[:, None], level)
    return (left + right) / 2, axis, distance


def _quarter_turn(axis: Floats) -> Floats:
    """The axes that point down the face where `axis` (frames, 2) points across it."""
    return np.stack([-axis[:, 1], axis[:, 0]], axis=1)


def _smooth(values: Floats, sigma: float) -> Floats:
    return np.asarray(gaussian_filter1d(values, sigma, axis=0, mode="nearest"))
