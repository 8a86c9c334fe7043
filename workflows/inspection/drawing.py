"""Boxes, lips, words and charts on BGR pictures, by OpenCV. Everything draws in place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from syncnet_python.landmarks import MESH_INDICES

Image = NDArray[np.uint8]
Ink = tuple[int, int, int]
"""Blue, green, red, each 0-255."""

WHITE, BLACK, GREY, PALE = (255, 255, 255), (30, 30, 30), (110, 110, 110), (225, 225, 225)
BLUE, GREEN, RED, ORANGE = (180, 105, 30), (70, 150, 40), (50, 50, 205), (20, 130, 235)
SKY = (245, 225, 205)

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_EDGE = 4  # pixels between words and the picture's sides, where their rim lies
_SHIFT = 4  # OpenCV's fixed-point bits, so that curves do not step from pixel to pixel

# fmt: off
_OUTER_LIP = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39,
              40, 185)
_INNER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80,
              191)
# fmt: on
_CONTOURS = [[MESH_INDICES.index(i) for i in ring] for ring in (_OUTER_LIP, _INNER_LIP)]


def shade(share: float) -> Ink:
    """From red (0 and less, or NaN) to green (1 and more)."""
    green = round(255 * min(max(share, 0.0), 1.0)) if share == share else 0
    return 0, green, 255 - green


def box(image: Image, sides: ArrayLike, ink: Ink) -> None:
    """sides: x1, y1, x2, y2 in pixels."""
    x1, y1, x2, y2 = (int(side) for side in np.asarray(sides, np.float64))
    cv2.rectangle(image, (x1, y1), (x2, y2), ink, _stroke(image), cv2.LINE_AA)


def lips(image: Image, points: NDArray[np.floating], ink: Ink = (255, 255, 0)) -> None:
    """The outer and inner line of the lips. points: a row of `landmarks.MESH_INDICES`, (P, 2)."""
    rings = [_fixed(points[ring]) for ring in _CONTOURS]
    cv2.polylines(image, rings, True, ink, max(1, _stroke(image) - 1), cv2.LINE_AA, _SHIFT)


def words(
    image: Image,
    text: str,
    at: tuple[float, float],
    ink: Ink,
    *,
    height: float = 12.0,
    align: float = 0.0,
    rim: Ink | None = None,
) -> None:
    """One line of text, moved into the picture where it would leave it, and smaller where it is
    longer than the picture is wide.

    at: its baseline; align: which part of its length lies there, 0 the left end to 1 the right;
    height: of a capital letter, pixels; rim: around every letter, for words on what is not plain.
    Characters that the font has not become question marks.
    """
    text = text.encode("ascii", "replace").decode()
    rows, columns = image.shape[:2]
    scale = height / 21.0  # of the font's own capitals
    widest = cv2.getTextSize(text, _FONT, scale, max(1, round(scale * 1.8)))[0][0]
    scale *= min(1.0, (columns - 2 * _EDGE) / max(1, widest))
    thickness = max(1, round(scale * 1.8))
    (width, _), below = cv2.getTextSize(text, _FONT, scale, thickness)
    x = max(_EDGE, min(round(at[0] - align * width), columns - width - _EDGE))
    y = min(max(round(at[1]), math.ceil(height) + _EDGE), rows - below)
    if rim:
        cv2.putText(image, text, (x, y), _FONT, scale, rim, thickness + 3, cv2.LINE_AA)
    cv2.putText(image, text, (x, y), _FONT, scale, ink, thickness, cv2.LINE_AA)


def fitted(image: Image, width: int, height: int) -> Image:
    """The picture as large as fits into width x height pixels, its shape kept."""
    scale = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=way), np.uint8)


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers between low and high, at most `most`, a step of 1, 2 or 5 times a power of
    ten apart. low < high."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    for step in (power * factor for factor in (1, 2, 5, 10, 20)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [number * step + 0.0 for number in range(first, last + 1)]
    raise AssertionError("a step of twice the next power of ten always fits")


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """Axes on a picture. left, top, right, bottom: the plot, pixels; x, y: the range of each axis,
    the lower end first."""

    image: Image
    left: int
    top: int
    right: int
    bottom: int
    x: tuple[float, float]
    y: tuple[float, float]

    def place(self, xs: ArrayLike, ys: ArrayLike) -> NDArray[np.float64]:
        """Where values lie in the picture: (n, 2) pixels, kept within the plot."""
        across = (np.asarray(xs, np.float64) - self.x[0]) / (self.x[1] - self.x[0])
        up = (np.asarray(ys, np.float64) - self.y[0]) / (self.y[1] - self.y[0])
        return np.stack(
            [
                self.left + np.clip(across, 0, 1) * (self.right - self.left),
                self.bottom - np.clip(up, 0, 1) * (self.bottom - self.top),
            ],
            axis=-1,
        )

    def line(self, xs: ArrayLike, ys: ArrayLike, ink: Ink, thickness: int = 2) -> None:
        """Through all points; where a value is NaN the line is broken."""
        for part in _whole(np.asarray(xs, np.float64), np.asarray(ys, np.float64)):
            at = _fixed(self.place(*part))
            cv2.polylines(self.image, [at], False, ink, thickness, cv2.LINE_AA, _SHIFT)

    def band(self, xs: ArrayLike, low: ArrayLike, high: ArrayLike, ink: Ink) -> None:
        """Between two lines, broken as they are; a moment alone gets a bar."""
        values = [np.asarray(v, np.float64) for v in (xs, low, high)]
        for at, under, over in _whole(*values):
            bottom, top = self.place(at, under), self.place(at, over)
            if len(at) == 1:
                (x, y1), (_, y2) = bottom[0], top[0]
                cv2.rectangle(self.image, (int(x) - 3, int(y2)), (int(x) + 3, int(y1)), ink, -1)
            else:
                edge = _fixed(np.concatenate([bottom, top[::-1]]))
                cv2.fillPoly(self.image, [edge], ink, cv2.LINE_AA, _SHIFT)

    def dots(self, xs: ArrayLike, ys: ArrayLike, inks: Sequence[Ink], radius: int = 4) -> None:
        """A dot at each point, each with its ink; none where a value is NaN."""
        for (x, y), ink in zip(self.place(xs, ys), inks, strict=True):
            if not math.isnan(x + y):
                cv2.circle(self.image, (round(x), round(y)), radius, ink, -1, cv2.LINE_AA)

    def upright(self, x: float, ink: Ink) -> None:
        across = round(float(self.place(x, self.y[0])[0]))
        cv2.line(self.image, (across, self.top), (across, self.bottom), ink)

    def level(self, y: float, ink: Ink) -> None:
        up = round(float(self.place(self.x[0], y)[1]))
        cv2.line(self.image, (self.left, up), (self.right, up), ink)

    def note(self, text: str, x: float, y: float, ink: Ink, *, align: float = 0.0) -> None:
        """Words a little above a point."""
        across, up = self.place(x, y)
        at = (float(across), float(up) - 8)
        words(self.image, text, at, ink, height=10, align=align, rim=WHITE)

    def name(self, text: str, y: float, ink: Ink, *, lower: float = 0.5) -> None:
        """Draw a level and say beside the plot what it is. lower: which part of the word's height
        lies below the level."""
        self.level(y, ink)
        up = float(self.place(self.x[1], y)[1])
        words(self.image, text, (self.right + 6, up + lower * 9), ink, height=9)


def chart(
    image: Image,
    area: tuple[int, int, int, int],
    title: str,
    labels: tuple[str, str],
    x: tuple[float, float],
    y: tuple[float, float],
) -> Chart:
    """Draw empty axes with a grid. area: left, top, right, bottom of all of it, words included;
    labels: of the x axis, and of the y axis, which stands behind the title. On the right there is
    room for a `Chart.name`."""
    x, y = _spread(x), _spread(y)
    left, top, right, bottom = area
    axes = Chart(image, left + 56, top + 30, right - 66, bottom - 42, x, y)
    words(image, title, (axes.left, top + 16), BLACK, height=11)
    words(image, labels[1], (axes.right, top + 16), GREY, height=9, align=1.0)
    words(image, labels[0], (axes.right, bottom - 6), GREY, height=9, align=1.0)
    for value in ticks(*x):
        axes.upright(value, PALE)
        at = (float(axes.place(value, y[0])[0]), axes.bottom + 17)
        words(image, f"{value:g}", at, GREY, height=9, align=0.5)
    for value in ticks(*y, most=6):
        axes.level(value, PALE)
        beside = (axes.left - 8, float(axes.place(x[0], value)[1]) + 4)
        words(image, f"{round(value, 9):g}", beside, GREY, height=9, align=1.0)
    cv2.rectangle(image, (axes.left, axes.top), (axes.right, axes.bottom), GREY, 1)
    return axes


def _spread(ends: tuple[float, float]) -> tuple[float, float]:
    """A range that has a length."""
    low, high = ends
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _whole(*values: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], ...]]:
    """The stretches in which none of the values is NaN."""
    known = ~np.isnan(np.stack(values)).any(axis=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    pairs = edges.reshape(-1, 2)
    return [tuple(value[first:end] for value in values) for first, end in pairs]


def _fixed(points: NDArray[np.floating]) -> NDArray[np.int32]:
    return np.asarray(np.round(np.asarray(points, np.float64) * (1 << _SHIFT)), np.int32)


def _stroke(image: Image) -> int:
    """A line that is as easy to see in a large picture as in a small one, pixels."""
    return max(2, round(float(min(image.shape[:2])) / 240))
