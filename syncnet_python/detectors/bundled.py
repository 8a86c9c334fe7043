"""The face finder that comes with the project."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syncnet_python import weights
from syncnet_python.networks.face_finder import MULTIPLE, FaceFinder, decode
from syncnet_python.networks.folding import fold_batch_norms

AREA = 192 * 192
"""Pixels of the network's input, whatever the shape of the frames."""


class BundledFaceDetector:
    """`FaceDetector` on the bundled weights.

    Boxes are tight around forehead, cheeks and chin, and reach beyond the frame where the face
    does.
    """

    name = "face_finder"

    def __init__(
        self,
        state: Mapping[str, Tensor],
        *,
        min_confidence: float = 0.6,
        max_overlap: float = 0.3,
        batch_size: int = 32,
    ) -> None:
        """min_confidence: boxes below it are dropped; max_overlap: intersection over union above
        which two boxes are one face; batch_size: frames that pass the network together.
        Raises WeightsCorrupt for other parameters."""
        network = FaceFinder()
        with weights.fitting("face_finder"):
            network.load_state_dict(state)
        self._network = fold_batch_norms(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._min_confidence = min_confidence
        self._max_overlap = max_overlap
        self._batch_size = batch_size

    @classmethod
    def bundled(cls, models_dir: Path | None = None) -> "BundledFaceDetector":
        """With the weights of this project. Raises WeightsMissing, WeightsCorrupt."""
        state, _ = weights.load("face_finder", models_dir)
        return cls(state)

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Faces of each frame, as `FaceDetector.detect` says."""
        faces: list[NDArray[np.float32]] = []
        for start in range(0, len(frames), self._batch_size):
            faces.extend(self._batch(frames[start : start + self._batch_size]))
        return faces

    def _batch(self, frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        height, width = frames[0].shape[:2]
        rows, columns = input_shape(height, width)
        images = np.empty((len(frames), rows, columns, 3), np.uint8)
        for image, frame in zip(images, frames, strict=True):
            cv2.resize(frame, (columns, rows), dst=image, interpolation=cv2.INTER_AREA)
        with torch.inference_mode():
            inputs = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
            output = self._network(inputs)
            confidence = torch.sigmoid(output[:, 0]).flatten(1).numpy()
            boxes = decode(output).flatten(1, 2).numpy()
        stretch = np.array([width / columns, height / rows] * 2, np.float32)
        boxes = (boxes + 0.5) * stretch - 0.5
        return [
            merge(box[sure], score[sure], self._max_overlap)
            for box, score, sure in zip(
                boxes, confidence, confidence >= self._min_confidence, strict=True
            )
        ]


def input_shape(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the network's input: about AREA pixels, nearly the frame's shape."""
    scale = (AREA / (height * width)) ** 0.5
    rows, columns = (max(1, round(side * scale / MULTIPLE)) for side in (height, width))
    return rows * MULTIPLE, columns * MULTIPLE


def merge(
    boxes: NDArray[np.float32], confidence: NDArray[np.float32], max_overlap: float
) -> NDArray[np.float32]:
    """Non-maximum suppression that averages instead of throwing away.

    boxes: (n, 4); confidence: (n,). Every group of boxes that overlap the surest one by more than
    max_overlap becomes their mean weighted by confidence, which is steadier from frame to frame
    than the surest box alone (BlazeFace, Bazarevsky et al. 2019); its confidence is the surest.
    Returns (m, 5), best first.
    """
    order = np.argsort(-confidence, kind="stable")
    faces = []
    while order.size:
        near = overlap(boxes[order[0]], boxes[order]) > max_overlap
        near[0] = True
        group, order = order[near], order[~near]
        mean = np.average(boxes[group], axis=0, weights=confidence[group])
        faces.append([*mean, confidence[group[0]]])
    return np.asarray(faces, np.float32).reshape(-1, 5)


def overlap(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Intersection over union of one box (4,) with each of (n, 4); 0 for empty boxes."""
    inner = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    common = np.prod(np.maximum(inner, 0), axis=1)
    union = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - common
    return np.asarray(common / np.maximum(union, 1e-9))
