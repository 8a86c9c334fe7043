"""Photo composites: a part of one person's face put into another's.

What retouchers do by hand: eyes, nose, mouth or lower face of a donor, fitted by landmarks,
coloured to match, and blended over the seam. All functions are pure.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.self_blended import Image, Mask, blend

_LEFT_EYE = (143, 70, 105, 107, 168, 6, 117)
_RIGHT_EYE = (372, 300, 334, 336, 168, 6, 346)
PARTS = (
    _LEFT_EYE,
    _RIGHT_EYE,
    (*_LEFT_EYE, *_RIGHT_EYE),
    (168, 129, 358, 98, 327, 2),
    (164, 57, 287, 61, 291, 18),
    (2, 50, 280, 172, 397, 152),
)
"""Outlines by mediapipe's mesh indices: each eye with its brow, both, nose, mouth, lower face."""

_SMALLEST_CLONE = 8  # pixels; Poisson blending needs room around the region


def compose(
    face: Image,
    points: NDArray[np.float32],
    donor: Image,
    donor_points: NDArray[np.float32],
    rng: np.random.Generator,
) -> tuple[Image, Mask]:
    """`face` with a random part of `donor` in it, and where, (side, side) float32 in 0-1.

    face, donor: square BGR of one size; points: (468, 2) landmarks as fractions of the side.
    """
    side = face.shape[0]
    part = list(PARTS[rng.integers(len(PARTS))])
    fitted = _fit(donor, donor_points[part] * side, points[part] * side)
    mask = np.zeros((side, side), np.float32)
    hull = cv2.convexHull(np.round(points[part] * side).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 1.0)
    grown = cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=int(rng.integers(0, side // 32)))
    mask = np.asarray(grown, np.float32)
    if rng.random() < 0.8:
        fitted = _recoloured(fitted, face, mask)
    if rng.random() < 0.4:
        cloned = _cloned(fitted, face, mask)
        if cloned is not None:
            return cloned, mask
    soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.004, 0.025) * side), np.float32)
    return blend(face, fitted, soft), mask


def _fit(donor: Image, source: NDArray[np.float32], target: NDArray[np.float32]) -> Image:
    """The donor turned, scaled and moved so that its points (n, 2) fall on the target's."""
    matrix: Any = cv2.estimateAffinePartial2D(source, target, method=cv2.LMEDS)[0]
    if matrix is None:  # the points lie on one another
        matrix = np.eye(2, 3)
    side = donor.shape[0]
    return np.asarray(
        cv2.warpAffine(donor, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _recoloured(image: Image, like: Image, mask: Mask) -> Image:
    """Mean and spread of each Lab channel inside the mask as in `like`."""
    inside = mask > 0.5
    if not inside.any():
        return image
    lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB).astype(np.float32)
    wanted = cv2.cvtColor(like, cv2.COLOR_BGR2LAB)[inside].astype(np.float32)
    own = lab[inside]
    ratio = np.clip(wanted.std(0) / np.maximum(own.std(0), 1.0), 0.6, 1.6)
    lab = (lab - own.mean(0)) * ratio + wanted.mean(0)
    return np.asarray(
        cv2.cvtColor(np.clip(lab, 0, 255).astype(np.uint8), cv2.COLOR_LAB2BGR), np.uint8
    )


def _cloned(source: Image, target: Image, mask: Mask) -> Image | None:
    """Poisson blending (Pérez 2003); None where the region is too small or meets the edge."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) < _SMALLEST_CLONE or len(columns) < _SMALLEST_CLONE:
        return None
    side = mask.shape[0]
    if min(rows[0], columns[0]) < 2 or max(rows[-1], columns[-1]) > side - 3:
        return None
    centre = (int(columns[0] + columns[-1]) // 2, int(rows[0] + rows[-1]) // 2)
    stencil = np.asarray(mask * 255, np.uint8)
    return np.asarray(
        cv2.seamlessClone(source, target, stencil, centre, cv2.NORMAL_CLONE), np.uint8
    )
