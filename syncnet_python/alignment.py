"""Pure geometry of face crops: similarity transforms between a frame and a small square crop.

Matrices are (2, 3) float64 (or stacks of them) that map frame pixels to crop pixels, as
`cv2.warpAffine` calls the forward transform; pixel centres lie at integers, x right and y down.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def square_crop(boxes: Floats, size: int, factor: float) -> NDArray[np.float64]:
    """Upright squares around boxes. boxes: (n, 4); factor: square's side over the larger side.

    Returns (n, 2, 3): the square scaled to size x size pixels.
    """
    boxes = np.asarray(boxes, np.float64)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    side = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1) * factor, 1.0)
    scale = size / side
    matrices = np.zeros((len(boxes), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = scale
    matrices[:, :, 2] = (size - 1) / 2 - scale[:, None] * centre
    return matrices


def fit_similarity(points: Floats, template: Floats) -> NDArray[np.float64]:
    """Rotation, scale and shift that bring points closest to a template, in least squares.

    points: (n, k, 2); template: (k, 2) or (n, k, 2). Returns (n, 2, 3) with
    `apply(matrix, points) ~ template`. A similarity of the plane is multiplication by one complex
    number and addition of another, so this is linear regression with complex coefficients; no
    reflection can come out. Points that all coincide are only shifted.
    """
    source = points[..., 0] + 1j * points[..., 1]
    target = np.broadcast_to(template[..., 0] + 1j * template[..., 1], source.shape)
    source_mean, target_mean = source.mean(axis=1), target.mean(axis=1)
    source_rest, target_rest = source - source_mean[:, None], target - target_mean[:, None]
    spread = (np.abs(source_rest) ** 2).sum(axis=1)
    flat = spread < 1e-12
    turn = (source_rest.conj() * target_rest).sum(axis=1) / np.where(flat, 1.0, spread)
    turn = np.where(flat | (np.abs(turn) < 1e-9), 1.0, turn)
    shift = target_mean - turn * source_mean
    matrices = np.empty((len(points), 2, 3))
    matrices[:, 0] = np.stack([turn.real, -turn.imag, shift.real], axis=1)
    matrices[:, 1] = np.stack([turn.imag, turn.real, shift.imag], axis=1)
    return matrices


def apply(matrices: Floats, points: Floats) -> NDArray[np.float64]:
    """Map points (n, k, 2) by matrices (n, 2, 3)."""
    turned = np.asarray(points, np.float64) @ np.swapaxes(matrices[:, :, :2], 1, 2)
    return np.asarray(turned + matrices[:, None, :, 2])


def invert(matrices: Floats) -> NDArray[np.float64]:
    """The inverse transforms, (n, 2, 3) each. Raises LinAlgError for a scale of zero."""
    linear = np.linalg.inv(matrices[:, :, :2])
    shift = -(linear @ matrices[:, :, 2:])
    return np.concatenate([linear, shift], axis=2)


def warp(image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Cut the crop out of an image. matrix: (2, 3). Returns (size, size, 3) uint8.

    Where the crop shrinks the picture by two or more, the part it covers is first averaged down by
    a whole factor: bilinear sampling alone would skip pixels and flicker from frame to frame.
    Beyond the picture its border is repeated.
    """
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    factor = int(1 / scale) if scale > 0 else 1
    if factor < 2:
        return _warp(image, matrix, size)
    height, width = image.shape[:2]
    corners = np.array([[[0, 0], [size, 0], [0, size], [size, size]]], np.float64)
    covered = apply(invert(matrix[None]), corners)[0]
    left, top = np.clip(np.floor(covered.min(axis=0)), 0, (width - factor, height - factor))
    right, bottom = np.ceil(covered.max(axis=0))
    columns = max(1, int(min(right, width) - left) // factor)
    rows = max(1, int(min(bottom, height) - top) // factor)
    x, y = int(left), int(top)
    part = image[y : y + rows * factor, x : x + columns * factor]
    small = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
    centre = (factor - 1) / 2  # of the first small pixel, in pixels of the part
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ (x + centre, y + centre)
    moved[:, :2] *= factor
    return _warp(small.astype(np.uint8, copy=False), moved, size)


def _warp(image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    crop = cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(crop, np.uint8)


def stack(
    images: Sequence[NDArray[np.uint8]], matrices: NDArray[np.float64], size: int
) -> NDArray[np.uint8]:
    """One crop per image: (n, size, size, 3) uint8."""
    crops = np.empty((len(images), size, size, 3), np.uint8)
    for crop, image, matrix in zip(crops, images, matrices, strict=True):
        crop[:] = warp(image, matrix, size)
    return crops
