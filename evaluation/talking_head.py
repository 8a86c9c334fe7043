"""A portrait whose mouth can be moved: photographs in, frames of a talking head out.

The face is the portrait of Eileen Collins by NASA, in the public domain, which scikit-image
carries. Opening the jaw pulls lower lip and chin down, rounding draws the corners in; between the
lips appear the portrait's own teeth, then a dark mouth and a tongue. With `Mouth` absent the
photograph is shown as it is, smiling.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

# Where things are in the portrait (512x512), in its pixels; the lips as columns of points from
# the left corner to the right one.
FACE_CENTRE = (223.0, 125.0)
FACE_HEIGHT = 106.0  # top of the forehead to the tip of the chin
_LIP_X = (201.8, 205, 209, 213, 217.5, 223.2, 229.5, 234.5, 238.5, 242, 245)
_UPPER_OUTER = (139.4, 139.0, 138.9, 138.9, 138.9, 139.6, 139.3, 139.7, 140.0, 140.4, 141.0)
_UPPER_INNER = (139.4, 140.0, 140.7, 141.5, 142.4, 143.0, 142.8, 142.2, 141.7, 141.3, 141.0)
_LOWER_INNER = (139.4, 142.2, 145.5, 147.9, 149.3, 149.9, 149.6, 148.3, 146.2, 143.4, 141.0)
_LOWER_OUTER = (139.4, 145.4, 149.6, 152.3, 153.9, 154.7, 154.2, 152.4, 149.5, 145.8, 141.0)
_MIDDLE, _HALF_WIDTH, _CHEEK = 223.3, 21.6, 46.0
_LIPS_Y = 145.0  # of the lips, closed and level
_NOSE_Y, _CHIN_Y, _COLLAR_Y = 131.5, 177.0, 202.0

_WIDEST_GAP = 17.0  # between the lips at jaw 1
_CHIN_DROP = 10.0
_THROAT = (26.0, 22.0, 44.0)  # BGR
_TONGUE = (72.0, 70.0, 128.0)


@dataclass(frozen=True, slots=True)
class Mouth:
    """jaw: 0 closed lips, 1 wide open; rounding: 0 spread, 1 narrow lips."""

    jaw: float
    rounding: float


@dataclass(frozen=True, slots=True)
class Pose:
    """How the head is held. x, y: pixels to the right and down of the picture's centre;
    turn: degrees, clockwise; height: pixels from the top of the forehead to the chin; mirrored:
    left and right exchanged."""

    x: float
    y: float
    turn: float
    height: float
    mirrored: bool = False


def render(mouth: Mouth | None, pose: Pose, width: int, height: int) -> Image:
    """One frame: (height, width, 3) uint8 BGR."""
    x, y = _portrait_grid(pose, width, height)
    portrait = _portrait()
    if mouth is None:
        return _sample(portrait, x, y)
    rows, columns = _mouth_region(x, y)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return _sample(portrait, x, y)
    inner_x, inner_y = x[rows, columns], y[rows, columns]
    skin_x, skin_y, inside, depth, room = _move_lips(inner_x, inner_y, mouth)
    x[rows, columns], y[rows, columns] = skin_x, skin_y
    frame = _sample(portrait, x, y)
    if inside.any():
        cavity = _cavity(portrait, inner_x, depth, room, mouth)
        skin = frame[rows, columns].astype(np.float32)
        mixed = skin + inside[..., None] * (cavity - skin)
        frame[rows, columns] = np.clip(mixed, 0, 255).astype(np.uint8)
    return frame


@cache
def _portrait() -> Image:
    return np.ascontiguousarray(skimage.data.astronaut()[:, :, ::-1])  # type: ignore[no-untyped-call]


def _sample(image: Image, x: Floats, y: Floats) -> Image:
    sampled = cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, np.uint8)


def _portrait_grid(pose: Pose, width: int, height: int) -> tuple[Floats, Floats]:
    """For every pixel of the frame, the point of the portrait it shows: x and y, (H, W)."""
    scale = FACE_HEIGHT / pose.height
    angle = np.deg2rad(pose.turn)
    across = np.arange(width)[None, :] - (width / 2 + pose.x)
    down = np.arange(height)[:, None] - (height / 2 + pose.y)
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    x = (cosine * across + sine * down) * (-1 if pose.mirrored else 1)
    y = cosine * down - sine * across
    return (x + FACE_CENTRE[0]).astype(np.float32), (y + FACE_CENTRE[1]).astype(np.float32)


def _mouth_region(x: Floats, y: Floats) -> tuple[slice, slice]:
    """The part of the frame that a moving mouth changes."""
    changed = (np.abs(x - _MIDDLE) < _CHEEK) & (y > _NOSE_Y - 8) & (y < _COLLAR_Y)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    if rows.size == 0:
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _move_lips(x: Floats, y: Floats, mouth: Mouth) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Where each point of the moved face was in the portrait, all (h, w) in portrait pixels.

    Returns x and y of the skin; how far the point lies between the lips (0 on skin, 1 inside);
    its depth under the upper lip and its height over the lower lip.
    """
    narrowed = _HALF_WIDTH * (0.90 - 0.32 * mouth.rounding + 0.04 * mouth.jaw)
    aside = x - _MIDDLE
    reach = np.interp(np.abs(aside), (0, narrowed, _CHEEK, 1e6), (0, _HALF_WIDTH, _CHEEK, 1e6))
    drop = _CHIN_DROP * mouth.jaw
    near = _smooth_step((y - _NOSE_Y + 2) / 9) * _smooth_step((_CHIN_Y + drop - y) / 16)
    skin_x = (x + near * (np.sign(aside) * reach - aside)).astype(np.float32)

    upper_outer, upper_inner, lower_inner, lower_outer = (
        np.interp(skin_x, _LIP_X, curve)
        for curve in (_UPPER_OUTER, _UPPER_INNER, _LOWER_INNER, _LOWER_OUTER)
    )
    along = np.clip((skin_x - _MIDDLE) / _HALF_WIDTH, -1.0, 1.0)
    gap = _WIDEST_GAP * mouth.jaw * (1.0 - along**2) ** 0.6
    side = np.clip(np.abs(skin_x - _MIDDLE) / _CHEEK, 0.0, 1.0)
    closed = upper_inner + 0.4 * (lower_inner - upper_inner)
    unsmiling = (0.45 + 0.35 * mouth.rounding) * np.cos(0.5 * np.pi * side) ** 2
    closed = closed + unsmiling * (_LIPS_Y - closed)
    upper = closed - (0.15 + 0.12 * mouth.rounding) * gap
    lower = upper + gap
    fuller = 1.1 + 0.6 * mouth.rounding
    upper_edge = upper - (upper_inner - upper_outer) * fuller
    lower_edge = lower + (lower_outer - lower_inner) * fuller
    chin = np.maximum(_CHIN_Y - 30.0 * side**2, lower_outer + 6.0)
    fallen = np.maximum(chin + drop * np.cos(0.5 * np.pi * side) ** 2, lower_edge + 4.0)

    above = _through(
        y,
        (np.full_like(closed, _NOSE_Y - 8), upper_edge, upper),
        (np.full_like(closed, _NOSE_Y - 8), upper_outer, upper_inner),
    )
    bottom = np.full_like(closed, _COLLAR_Y)
    below = _through(
        y, (lower, lower_edge, fallen, bottom), (lower_inner, lower_outer, chin, bottom)
    )
    skin_y = np.where(y < 0.5 * (upper + lower), above, below)
    depth, room = y - upper, lower - y
    inside = np.clip(np.minimum(depth, room) / 0.8, 0.0, 1.0)
    as_floats = (skin_x, skin_y, inside, depth, room)
    return tuple(a.astype(np.float32) for a in as_floats)  # type: ignore[return-value]


def _through(
    y: Floats, moved: tuple[Floats, ...], original: tuple[Floats, ...]
) -> NDArray[np.floating]:
    """Piecewise linear map of y that sends each height `moved` to its `original`, per pixel;
    the identity beyond the last, the first one's value before the first."""
    result = np.where(y < moved[0], np.minimum(y, original[0]), y)
    for top, bottom, from_top, from_bottom in zip(
        moved[:-1], moved[1:], original[:-1], original[1:], strict=True
    ):
        share = (y - top) / np.maximum(bottom - top, 1e-3)
        result = np.where(
            (y >= top) & (y < bottom), from_top + share * (from_bottom - from_top), result
        )
    return result


def _cavity(portrait: Image, x: Floats, depth: Floats, room: Floats, mouth: Mouth) -> Floats:
    """What is seen between the lips, (h, w, 3) float32 BGR: teeth above, then dark, a tongue."""
    upper, lower = np.interp(x, _LIP_X, _UPPER_INNER), np.interp(x, _LIP_X, _LOWER_INNER)
    hidden = 0.5 + 2.5 * mouth.rounding  # rounded lips cover the teeth
    teeth = _sample(portrait, x, (upper + np.maximum(depth, 0.0) + hidden).astype(np.float32))
    shade = np.clip((lower - upper - hidden - depth - 0.5) / 1.2, 0.0, 1.0)[..., None]
    tongue = np.clip(0.16 * mouth.jaw * (7.0 - room), 0.0, 0.8)[..., None]
    dark = np.asarray(_THROAT, np.float32)
    dark = dark + tongue * (np.asarray(_TONGUE, np.float32) - dark)
    dimmed = 0.55 + 0.4 * np.clip(depth / 4.0, 0.0, 1.0)[..., None]  # in the lip's shadow
    return np.asarray(dark + shade * (teeth * dimmed - dark), np.float32)


def _smooth_step(value: NDArray[np.floating]) -> Floats:
    """0 below 0, 1 above 1, without a corner between."""
    clipped = np.clip(value, 0.0, 1.0).astype(np.float32)
    return np.asarray(clipped * clipped * (3.0 - 2.0 * clipped), np.float32)
