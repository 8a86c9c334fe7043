"""Faces turned to the side: a picture of a head, painted on an ellipsoid and turned with it. Pure.

The model: the visible half of the head is an ellipsoid with circular cross-sections, upright in
the frame of the eyes, as wide as the face's outline. Turning it about its upright axis moves every
point of a cross-section around the circle. What was hidden behind the outline comes into view as a
stretched copy of the outline; nose and lips, which stand out from the ellipsoid, move as if they
lay on it, and hide nothing. So the far corner of the mouth is foreshortened as in a real turn, but
remains in view a little longer than it would.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from syncnet_python.landmarks import MESH_INDICES

_OUTER_EYES = (33, 263)
_SIDES = (234, 454)  # of the face's outline, before the ears
_TOP, _CHIN = 10, 152
_WIDER = 1.05  # the head's outline over the mesh's
_HIGHER = 1.35
_FARTHEST = np.radians(84.0)  # from the front; beyond it the outline is stretched
_STEADY = 3.0  # frames that the head is averaged over, so that landmark noise shakes nothing

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """An ellipsoid in a frame. centre: (2,) pixels; across: (2,) unit vector from the left to the
    right of the picture along the eyes; radius, height: half its width and height, pixels."""

    centre: NDArray[np.float64]
    across: NDArray[np.float64]
    radius: float
    height: float


def fit_heads(points: Floats) -> list[Head]:
    """One head a frame from landmarks (frames, len(MESH_INDICES), 2), steadied over time."""
    where = {index: place for place, index in enumerate(MESH_INDICES)}
    steady = gaussian_filter1d(np.asarray(points, np.float64), _STEADY, axis=0, mode="nearest")
    left, right = (steady[:, where[i]] for i in _SIDES)
    line = steady[:, where[_OUTER_EYES[1]]] - steady[:, where[_OUTER_EYES[0]]]
    across = line / np.maximum(np.linalg.norm(line, axis=1, keepdims=True), 1e-9)
    down = np.stack([-across[:, 1], across[:, 0]], axis=1)
    top, chin = steady[:, where[_TOP]], steady[:, where[_CHIN]]
    middle = _along((top + chin) / 2, down) * down + _along((left + right) / 2, across) * across
    radius = _WIDER * np.abs(_along(right - left, across))[:, 0] / 2
    height = _HIGHER * np.abs(_along(chin - top, down))[:, 0] / 2
    return [
        Head(c, a, float(max(r, 1.0)), float(max(h, 1.0)))
        for c, a, r, h in zip(middle, across, radius, height, strict=True)
    ]


def turn_points(points: Floats, head: Head, yaw_deg: float) -> NDArray[np.float64]:
    """Where points (n, 2) of the picture are once the head is turned; yaw_deg > 0 moves the nose
    to the picture's right. Points beside the head stay."""
    x, y = _on_head(np.asarray(points, np.float64), head)
    reach = np.sqrt(np.clip(1 - y**2, 0, 1))
    inside = np.abs(x) < reach
    angle = np.arcsin(np.clip(x / np.where(inside, reach, 1.0), -1, 1)) + np.radians(yaw_deg)
    turned = np.where(inside, reach * np.sin(np.clip(angle, -np.pi / 2, np.pi / 2)), x)
    return _in_picture(turned, y, head)


def turn(image: NDArray[np.uint8], head: Head, yaw_deg: float) -> NDArray[np.uint8]:
    """The picture (height, width, 3) with the head turned; yaw_deg as in `turn_points`."""
    rows, columns = image.shape[:2]
    reach = np.hypot(head.radius, head.height)
    x1, y1 = np.clip(np.floor(head.centre - reach), 0, (columns, rows)).astype(int)
    x2, y2 = np.clip(np.ceil(head.centre + reach) + 1, 0, (columns, rows)).astype(int)
    if x1 >= x2 or y1 >= y2:
        return image
    grid = np.stack(np.meshgrid(np.arange(x1, x2), np.arange(y1, y2)), axis=2)
    x, y = _on_head(grid.reshape(-1, 2).astype(np.float64), head)
    reach_here = np.sqrt(np.clip(1 - y**2, 0, 1))
    inside = np.abs(x) < reach_here
    angle = np.arcsin(np.clip(x / np.where(inside, reach_here, 1.0), -1, 1)) - np.radians(yaw_deg)
    source = np.where(inside, reach_here * np.sin(np.clip(angle, -_FARTHEST, _FARTHEST)), x)
    places = _in_picture(source, y, head).reshape(*grid.shape).astype(np.float32)
    turned = image.copy()
    across, down = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    turned[y1:y2, x1:x2] = cv2.remap(
        image, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return turned


def _along(vectors: NDArray[np.float64], axis: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((vectors * axis).sum(axis=1, keepdims=True))


def _on_head(
    points: NDArray[np.float64], head: Head
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixels (n, 2) to shares of the ellipsoid's half width and half height."""
    relative = points - head.centre
    down = np.array([-head.across[1], head.across[0]])
    return relative @ head.across / head.radius, relative @ down / head.height


def _in_picture(x: NDArray[np.float64], y: NDArray[np.float64], head: Head) -> NDArray[np.float64]:
    down = np.array([-head.across[1], head.across[0]])
    return np.asarray(
        head.centre + (x * head.radius)[:, None] * head.across + (y * head.height)[:, None] * down
    )
