"""Made-up scenes for the face finder: labelled pictures pasted on backgrounds without faces."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syncnet_python.landmarks import as_input
from training.faces.augment import Degrader, Image
from training.faces.cache import Cache, source_of
from training.faces.targets import Box, target

SHAPES = ((192, 192), (192, 192), (160, 224), (160, 256), (224, 160), (256, 160))
"""Rows and columns of scenes; one shape a batch."""

FACES = (0.12, 0.58, 0.2, 0.1)
"""How often a scene holds 0, 1, 2, 3 faces."""

TIGHT_SHARE = 0.4
"""Of the faces, how many come from tight crops (dfdc) rather than whole pictures."""

SMALLEST = 15.0
"""Height in pixels of the smallest face that is taught."""


@dataclass(frozen=True, slots=True)
class Scenes:
    """images: (n, 3, h, w); the others as in `targets.Target`, with n in front."""

    images: Tensor
    heat: Tensor
    counted: Tensor
    boxes: Tensor
    weight: Tensor


class SceneBatches:
    """Endless batches, drawn with one generator seeded by `seed`."""

    def __init__(self, cache: Cache, batch_size: int, seed: tuple[int, ...]) -> None:
        self._cache = cache
        self._batch_size = batch_size
        self._rng = np.random.default_rng(seed)
        self._degrade = Degrader(self._rng)
        labelled = [i for i, row in enumerate(cache.scenes) if row.box is not None]
        tight = [source_of(cache.scenes[i].name) == "dfdc" for i in labelled]
        self._tight = [i for i, t in zip(labelled, tight, strict=True) if t]
        self._whole = [i for i, t in zip(labelled, tight, strict=True) if not t]

    def __iter__(self) -> Iterator[Scenes]:
        while True:
            shape = SHAPES[int(self._rng.integers(len(SHAPES)))]
            scenes = [self._scene(*shape) for _ in range(self._batch_size)]
            targets = [target(boxes, hidden, *shape) for _, boxes, hidden in scenes]
            yield Scenes(
                as_input(np.stack([image for image, _, _ in scenes])),
                *(
                    torch.from_numpy(np.stack([getattr(t, part) for t in targets])).float()
                    for part in ("heat", "counted", "boxes", "weight")
                ),
            )

    def _scene(self, rows: int, columns: int) -> tuple[Image, list[Box], list[Box]]:
        """A picture, the boxes of its faces, and the boxes of those too hidden to count."""
        rng = self._rng
        canvas = self._background(rows, columns)
        for _ in range(int(rng.integers(0, 3))):
            self._paste_nothing(canvas)
        count = int(rng.choice(len(FACES), p=FACES))
        boxes: list[Box] = []
        seen: list[float] = []
        for slot in rng.permutation(count):
            box, covered = self._paste_face(canvas, int(slot), count)
            seen = [s * (1 - share(old, covered)) for s, old in zip(seen, boxes, strict=True)]
            boxes.append(box)
            seen.append(share(box, covered))
        clear = [b for b, s in zip(boxes, seen, strict=True) if s >= 0.6]
        hidden = [b for b, s in zip(boxes, seen, strict=True) if 0.1 < s < 0.6]
        return self._degrade(canvas), clear, hidden

    def _background(self, rows: int, columns: int) -> Image:
        """One colour, noise, a picture too blurred to hold a face, or its part beside the face."""
        rng = self._rng
        kind = rng.random()
        how = cv2.INTER_CUBIC
        if kind < 0.15:
            return np.full((rows, columns, 3), rng.integers(0, 256, 3), np.uint8)
        if kind < 0.35:
            small = rng.integers(0, 256, (*rng.integers(2, 24, 2), 3)).astype(np.uint8)
            how = cv2.INTER_NEAREST if rng.random() < 0.3 else cv2.INTER_CUBIC
        elif kind < 0.6:
            width, height = map(int, rng.integers(2, 6, 2))
            small = _resized(self._cache.scene(self._draw()), width, height)
        else:
            small = self._faceless()
        return _resized(small, columns, rows, how)

    def _faceless(self) -> Image:
        """A picture without a face: real surroundings, fragments of pictures, or drawn shapes."""
        kind = self._rng.random()
        if kind < 0.45:
            return self._surroundings()
        if kind < 0.7:
            return self._shuffled()
        return self._fragment() if kind < 0.85 else self._shapes()

    def _surroundings(self) -> Image:
        """One of the larger parts of a picture left, right, above or below its face."""
        for _ in range(10):
            number = self._whole[int(self._rng.integers(len(self._whole)))]
            scene, (x1, y1, x2, y2) = self._cache.scene(number), self._cache.box(number)
            pad_x, pad_y = 0.15 * (x2 - x1), 0.25 * (y2 - y1)  # ears and hair belong to the face
            left, right = max(0, int(x1 - pad_x)), int(x2 + pad_x)
            top, bottom = max(0, int(y1 - pad_y)), int(y2 + pad_y)
            parts = [scene[:, :left], scene[:, right:], scene[:top], scene[bottom:]]
            sizes = [min(part.shape[:2]) for part in parts]
            best = int(self._rng.choice(np.flatnonzero(np.array(sizes) >= 0.6 * max(sizes))))
            if sizes[best] >= 24:
                return parts[best]
        return self._shapes()

    def _shuffled(self) -> Image:
        """A picture cut into tiles too small for a face, in another order."""
        number = self._draw()
        scene, box = self._cache.scene(number), self._cache.box(number)
        tile = int(np.clip(self._rng.uniform(0.15, 0.4) * (box[2] - box[0]), 8, 80))
        rows, columns = (side // tile for side in scene.shape[:2])
        tiles = scene[: rows * tile, : columns * tile].reshape(rows, tile, columns, tile, 3)
        tiles = tiles.swapaxes(1, 2).reshape(rows * columns, tile, tile, 3)
        tiles = self._rng.permutation(tiles).reshape(rows, columns, tile, tile, 3)
        return tiles.swapaxes(1, 2).reshape(rows * tile, columns * tile, 3)

    def _fragment(self) -> Image:
        """A small part of a picture, enlarged."""
        number = self._draw()
        scene, box = self._cache.scene(number), self._cache.box(number)
        side = int(np.clip(self._rng.uniform(0.15, 0.35) * (box[2] - box[0]), 8, 80))
        y, x = (int(self._rng.integers(0, length - side)) for length in scene.shape[:2])
        return scene[y : y + side, x : x + side]

    def _shapes(self) -> Image:
        """Ellipses, rectangles, lines and letters on noise."""
        rng = self._rng
        small = rng.integers(0, 256, (*rng.integers(1, 64, 2), 3)).astype(np.uint8)
        image = _resized(small, 160, 160, cv2.INTER_CUBIC)
        for _ in range(int(rng.integers(2, 20))):
            x, y, width, height = map(int, rng.integers(4, 160, 4))
            colour = tuple(map(int, rng.integers(0, 256, 3)))
            thick = int(rng.choice([-1, 1, 3]))
            match int(rng.integers(4)):
                case 0:
                    axes = (width // 2, height // 2)
                    cv2.ellipse(image, (x, y), axes, rng.uniform(0, 180), 0, 360, colour, thick)
                case 1:
                    cv2.rectangle(image, (x, y), (width, height), colour, thick)
                case 2:
                    cv2.line(image, (x, y), (width, height), colour, abs(thick))
                case _:
                    letters = "".join(map(chr, rng.integers(65, 123, 8)))
                    cv2.putText(image, letters, (x // 4, y), 0, height / 80, colour, abs(thick))
        return image

    def _paste_nothing(self, canvas: Image) -> None:
        """A rectangle without a face, so that a rectangle's border means nothing."""
        rng = self._rng
        rows, columns = canvas.shape[:2]
        height, width = (int(rng.uniform(0.1, 0.7) * side) for side in (rows, columns))
        x, y = int(rng.integers(0, columns - width)), int(rng.integers(0, rows - height))
        canvas[y : y + height, x : x + width] = _resized(self._faceless(), width, height)

    def _paste_face(self, canvas: Image, slot: int, slots: int) -> tuple[Box, Box]:
        """Paste one labelled picture, its face within the slot-th of several equal columns.

        Returns the face's box and the upright rectangle that the pasted picture covers.
        """
        rng = self._rng
        rows, columns = canvas.shape[:2]
        number = self._draw()
        picture, box = self._cache.scene(number), self._cache.box(number)
        if slots > 1 or rng.random() < 0.3:
            picture, box = self._around(picture, box)
        if rng.random() < 0.5:
            picture = np.ascontiguousarray(picture[:, ::-1])
            last = picture.shape[1] - 1
            box = np.array([last - box[2], box[1], last - box[0], box[3]])
        linear = self._linear(
            box, min(0.95 * rows, np.inf if slots == 1 else 1.3 * columns / slots)
        )
        # the bounding box of the turned ellipse that fills the box
        reach = np.sqrt((linear**2) @ (((box[2:] - box[:2]) / 2) ** 2))
        low, high = columns * slot / slots, columns * (slot + 1) / slots
        centre = np.array(
            [
                self._between(low + 0.75 * reach[0], high - 0.75 * reach[0]),
                self._between(0.75 * reach[1], rows - 0.75 * reach[1]),
            ]
        )
        shift = centre - linear @ (box[:2] + box[2:]) / 2
        matrix = np.concatenate([linear, shift[:, None]], axis=1)
        picture, matrix = _shrunk(picture, matrix)
        cv2.warpAffine(
            picture, matrix, (columns, rows), dst=canvas,
            flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT,
        )  # fmt: skip
        height, width = picture.shape[:2]
        corners = np.array([(0, 0, 1), (width, 0, 1), (0, height, 1), (width, height, 1)])
        reached = np.clip(corners @ matrix.T, 0, (columns, rows))
        covered = np.concatenate([reached.min(axis=0), reached.max(axis=0)])
        return np.concatenate([centre - reach, centre + reach]), covered

    def _linear(self, box: Box, largest: float) -> NDArray[np.float64]:
        """Scale, turn and stretch: half of the faces large, half of any size."""
        rng = self._rng
        if rng.random() < 0.5:
            height = rng.uniform(0.25 * largest, largest)
        else:
            height = np.exp(rng.uniform(np.log(SMALLEST), np.log(max(20.0, largest))))
        stretch, angle = np.exp(rng.normal(0, 0.07)), rng.normal(0, 0.15)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return np.asarray(height / (box[3] - box[1]) * turn @ np.diag([stretch, 1 / stretch]))

    def _between(self, low: float, high: float) -> float:
        """Uniform, or the middle where there is no room."""
        return float(self._rng.uniform(low, high)) if low < high else (low + high) / 2

    def _around(self, picture: Image, box: Box) -> tuple[Image, Box]:
        """The picture cut to the face and a random margin."""
        margin = self._rng.uniform(0.05, 0.8) * (box[2:] - box[:2])
        low = np.maximum(box[:2] - margin, 0).astype(int)
        high = np.minimum(box[2:] + margin, picture.shape[1::-1]).astype(int)
        return picture[low[1] : high[1], low[0] : high[0]], box - np.tile(low, 2)

    def _draw(self) -> int:
        tight = self._tight and (self._rng.random() < TIGHT_SHARE or not self._whole)
        pool = self._tight if tight else self._whole
        return pool[int(self._rng.integers(len(pool)))]


def share(box: Box, area: Box) -> float:
    """The share of a box that lies within an area."""
    common = np.maximum(np.minimum(box[2:], area[2:]) - np.maximum(box[:2], area[:2]), 0)
    return float(np.prod(common) / max(np.prod(box[2:] - box[:2]), 1e-9))


def _shrunk(picture: Image, matrix: NDArray[np.float64]) -> tuple[Image, NDArray[np.float64]]:
    """The picture averaged down by a whole factor if the matrix shrinks it, and the new matrix."""
    factor = int(0.8 / np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if factor < 2:
        return picture, matrix
    height, width = picture.shape[:2]
    columns, rows = max(1, width // factor), max(1, height // factor)
    ratio = np.array([width / columns, height / rows])
    linear, shift = matrix[:, :2] * ratio, matrix[:, 2] + matrix[:, :2] @ ((ratio - 1) / 2)
    return _resized(picture, columns, rows), np.concatenate([linear, shift[:, None]], axis=1)


def _resized(image: Image, width: int, height: int, how: int = cv2.INTER_AREA) -> Image:
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)
