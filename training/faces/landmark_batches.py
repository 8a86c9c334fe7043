"""Random training crops for the landmark networks, as the runtime would cut them."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from syncnet_python.alignment import apply, fit_similarity, square_crop, warp
from syncnet_python.landmarks import (
    ANCHOR_PLACES,
    ANCHORS,
    BOX_FACTOR,
    MESH_INDICES,
    as_input,
    to_shares,
)
from syncnet_python.networks.face_landmarks import COARSE_SIZE, FINE_SIZE
from training.faces.augment import Degrader
from training.faces.cache import Cache

NEGATIVES = 0.1
"""Share of crops without a face, for the presence score."""


@dataclass(frozen=True, slots=True)
class Batch:
    """coarse, fine: (n, 3, side, side); anchors (n, 11, 2), points (n, P, 2): shares of a side;
    present: (n,) 1 where there is a face; places count only there."""

    coarse: Tensor
    fine: Tensor
    anchors: Tensor
    points: Tensor
    present: Tensor


def mirror_order(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """Which point stands where after a picture is mirrored, over the whole mesh.

    Found from the labels themselves: on the mean upright face, the mirrored place of every point
    is next to exactly one other point, its partner.
    """
    mesh = apply(fit_similarity(points[:, list(ANCHORS)], ANCHOR_PLACES), points).mean(axis=0)
    mirrored = mesh * (-1, 1) + (2 * ANCHOR_PLACES[4, 0], 0)
    distance = np.linalg.norm(mirrored[:, None] - mesh[None], axis=2)
    _, partner = linear_sum_assignment(distance)
    return np.asarray(partner, np.int64)


class LandmarkBatches:
    """Endless batches, drawn with one generator seeded by `seed`."""

    def __init__(
        self, cache: Cache, batch_size: int, seed: tuple[int, ...], *, augment: bool = True
    ) -> None:
        self._cache = cache
        self._batch_size = batch_size
        self._rng = np.random.default_rng(seed)
        self._degrade = Degrader(self._rng)
        self._augment = augment
        self._partner = mirror_order(cache.points[:: max(1, len(cache.points) // 2000)])
        self._with_box = [i for i, row in enumerate(cache.scenes) if row.box is not None]

    def __iter__(self) -> Iterator[Batch]:
        while True:
            order = self._rng.permutation(len(self._cache.faces))
            for start in range(0, len(order) - self._batch_size + 1, self._batch_size):
                yield self._collect(np.sort(order[start : start + self._batch_size]))

    def once(self) -> Iterator[Batch]:
        """Every face once, in order."""
        for start in range(0, len(self._cache.faces), self._batch_size):
            stop = min(start + self._batch_size, len(self._cache.faces))
            yield self._collect(np.arange(start, stop))

    def _collect(self, rows: NDArray[np.int64]) -> Batch:
        n = len(rows)
        coarse = np.empty((n, COARSE_SIZE, COARSE_SIZE, 3), np.uint8)
        fine = np.empty((n, FINE_SIZE, FINE_SIZE, 3), np.uint8)
        anchors = np.zeros((n, len(ANCHORS), 2))
        points = np.zeros((n, len(MESH_INDICES), 2))
        present = np.ones(n)
        for i, row in enumerate(rows):
            if self._augment and self._rng.random() < NEGATIVES:
                fine[i] = self._background()
                coarse[i] = 0
                present[i] = 0
            else:
                coarse[i], fine[i], anchors[i], points[i] = self._face(int(row))
        return Batch(
            as_input(coarse),
            as_input(fine),
            torch.from_numpy(anchors).float(),
            torch.from_numpy(points).float(),
            torch.from_numpy(present).float(),
        )

    def _face(
        self, row: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
        """Coarse crop, fine crop, anchors and points of one face, as in `Batch`."""
        rng = self._rng
        image, mesh = self._cache.faces[row], self._cache.points[row].astype(np.float64)
        angle = 0.0
        if self._augment:
            if rng.random() < 0.5:
                image = np.ascontiguousarray(image[:, ::-1])
                mesh = (mesh * (-1, 1) + (image.shape[1] - 1, 0))[self._partner]
            image = self._degrade(np.asarray(image))
            angle = rng.normal(0, 0.15) if rng.random() < 0.7 else rng.uniform(-0.8, 0.8)
        loose = self._loose(mesh, angle)
        upright = fit_similarity(mesh[None, list(ANCHORS)], self._places())[0]
        inside_loose, inside_fine = apply(np.stack([loose, upright]), np.stack([mesh, mesh]))
        return (
            warp(image, loose, COARSE_SIZE),
            warp(image, upright, FINE_SIZE),
            to_shares(inside_loose[list(ANCHORS)], COARSE_SIZE),
            to_shares(inside_fine[list(MESH_INDICES)], FINE_SIZE),
        )

    def _loose(self, mesh: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
        """The coarse crop of a head turned by `angle`, around a box with a finder's errors."""
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]])
        turned = apply(turn[None], mesh[None])[0]
        low, high = turned.min(axis=0), turned.max(axis=0)
        side = (high - low).max()
        if self._augment:
            drift = np.clip(self._rng.normal(0, 0.06, 2), -0.2, 0.2) * side
            grow = np.exp(np.clip(self._rng.normal(0, 0.1), -0.3, 0.3))
            centre, half = (low + high) / 2 + drift, (high - low) / 2 * grow
            low, high = centre - half, centre + half
        square = square_crop(np.concatenate([low, high])[None], COARSE_SIZE, BOX_FACTOR)[0]
        shift = square[:, :2] @ turn[:, 2:] + square[:, 2:]
        return np.concatenate([square[:, :2] @ turn[:, :2], shift], axis=1)

    def _places(self) -> NDArray[np.float64]:
        """Where the anchors come to lie in the fine crop, with the coarse network's errors."""
        if not self._augment:
            return ANCHOR_PLACES
        rng = self._rng
        wide = 2.5 if rng.random() < 0.1 else 1.0
        angle, scale = rng.normal(0, 0.05 * wide), np.exp(rng.normal(0, 0.05 * wide))
        turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        middle = (FINE_SIZE - 1) / 2
        shift = rng.normal(middle, 2.2 * wide, 2)
        return np.asarray((ANCHOR_PLACES - middle) @ turn + shift, np.float64)

    def _background(self) -> NDArray[np.uint8]:
        """A crop that holds no more than a corner of the labelled face, or no picture at all."""
        rng = self._rng
        if rng.random() < 0.1:
            small = rng.integers(0, 256, (*(rng.integers(1, 20, 2)), 3)).astype(np.uint8)
            size = (FINE_SIZE, FINE_SIZE)
            return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        for _ in range(20):
            number = self._with_box[int(rng.integers(len(self._with_box)))]
            scene = self._cache.scene(number)
            height, width = scene.shape[:2]
            side = rng.uniform(0.15, 0.9) * min(height, width)
            x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
            box = self._cache.box(number)
            common = np.minimum(box[2:], (x + side, y + side)) - np.maximum(box[:2], (x, y))
            if np.prod(np.maximum(common, 0)) < 0.12 * min(side**2, np.prod(box[2:] - box[:2])):
                matrix = square_crop(np.array([[x, y, x + side, y + side]]), FINE_SIZE, 1.0)[0]
                return self._degrade(warp(scene, matrix, FINE_SIZE))
        return np.zeros((FINE_SIZE, FINE_SIZE, 3), np.uint8)
