"""A classical face swap: another person's photograph bent onto a face, mouth left alone.

Triangles between landmarks are mapped one by one (piecewise affine), coloured to match and blended
over a soft seam, as FaceSwap of FaceForensics++ (Rössler 2019) does in essence. Lips and teeth stay
the filmed person's, so voice and lips still match. Pure functions.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from syncnet_python.landmarks import LIPS

Floats = NDArray[np.floating]
_INSIDE = 1e-6
_SEAM = 0.06  # of the face's width
_MOUTH_MARGIN = 0.12  # of the face's width; skin around the lips moves with them


def swap(
    image: NDArray[np.uint8], points: Floats, donor: NDArray[np.uint8], donor_points: Floats
) -> NDArray[np.uint8]:
    """`image` with the donor's face in it. Both BGR; points: (n, 2) pixels each, as
    `Landmarker.locate` gives them."""
    x1, y1 = np.maximum(np.floor(points.min(0)).astype(int), 0)
    x2, y2 = np.minimum(np.ceil(points.max(0)).astype(int) + 1, image.shape[1::-1])
    if x2 - x1 < 8 or y2 - y1 < 8:
        return image
    part = image[y1:y2, x1:x2]
    corner = np.array([x1, y1])
    bent, face = _bend(donor, donor_points, points - corner, (int(x2 - x1), int(y2 - y1)))
    if not face.any():  # a corner of its box is all that the image shows
        return image
    width = float(x2 - x1)
    weight = face * (1 - _mouth(points[LIPS] - corner, face.shape, _MOUTH_MARGIN * width))
    inner = cv2.erode(weight, np.ones((3, 3)), iterations=max(1, round(_SEAM * width)))
    soft = cv2.GaussianBlur(inner, (0, 0), _SEAM * width / 2)[..., None]
    swapped = image.copy()
    swapped[y1:y2, x1:x2] = np.round(part * (1 - soft) + _recoloured(bent, part, face > 0) * soft)
    return swapped


def _bend(
    donor: NDArray[np.uint8], source: Floats, target: Floats, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The donor with its points moved to `target`, of size (width, height), and where it is."""
    triangles = Delaunay(target)
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    places = np.stack([columns.ravel(), rows.ravel()], axis=1)
    inside = triangles.find_simplex(places, tol=_INSIDE)
    transform = triangles.transform[inside]
    first = np.einsum("nij,nj->ni", transform[:, :2], places - transform[:, 2])
    share = np.concatenate([first, 1 - first.sum(1, keepdims=True)], axis=1)
    origin = np.einsum("nk,nkd->nd", share, source[triangles.simplices[inside]])
    origin = np.where(np.isfinite(origin), origin, -1.0).astype(np.float32)
    x, y = (origin[:, axis].reshape(size[::-1]) for axis in (0, 1))
    bent = cv2.remap(donor, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(bent, np.uint8), (inside >= 0).reshape(size[::-1]).astype(np.float32)


def _mouth(lips: Floats, shape: tuple[int, ...], margin: float) -> NDArray[np.float32]:
    """1 over the lips and `margin` pixels around them."""
    mask = np.zeros(shape[:2], np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(lips).astype(np.int32)), 1.0)
    return np.asarray(cv2.dilate(mask, np.ones((3, 3)), iterations=max(1, round(margin))))


def _recoloured(
    image: NDArray[np.uint8], like: NDArray[np.uint8], inside: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Mean and spread of each colour inside the mask as in `like`."""
    own, wanted = image[inside].astype(np.float64), like[inside].astype(np.float64)
    ratio = np.clip(wanted.std(0) / np.maximum(own.std(0), 1.0), 0.6, 1.6)
    return np.asarray(np.clip((image - own.mean(0)) * ratio + wanted.mean(0), 0, 255))
