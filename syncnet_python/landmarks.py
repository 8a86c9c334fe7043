"""Face landmarks: points of the mesh that mediapipe defines, found by the bundled networks.

Two passes: on a loose square around the detection the coarse network finds a few anchors; they
turn the face upright and to a standard size; on that crop the fine network places every point.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syncnet_python import weights
from syncnet_python.alignment import apply, fit_similarity, invert, square_crop, stack
from syncnet_python.networks.face_landmarks import COARSE_SIZE, FINE_SIZE, FaceLandmarks
from syncnet_python.networks.folding import fold_batch_norms
from syncnet_python.networks.precision import Precision, inference_dtype

# fmt: off
_LIPS = (
    0, 13, 14, 17, 37, 39, 40, 61, 78, 80, 81, 82, 84, 87, 88, 91, 95, 146, 178, 181, 185, 191,
    267, 269, 270, 291, 308, 310, 311, 312, 314, 317, 318, 321, 324, 375, 402, 405, 409, 415,
)
_RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173)
_LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398)
_BROWS = (
    46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 276, 283, 282, 295, 285, 300, 293, 334, 296, 336,
)
_NOSE = (1, 2, 4, 5, 6, 168, 195, 197, 19, 94, 97, 98, 326, 327, 48, 278)
_OVAL = (
    10, 297, 284, 389, 454, 361, 397, 379, 400, 152, 176, 150, 172, 132, 234, 162, 54, 67,
)
# fmt: on

MESH_INDICES: tuple[int, ...] = (*_LIPS, *_RIGHT_EYE, *_LEFT_EYE, *_BROWS, *_NOSE, *_OVAL)
"""Which of the mesh's 478 points `locate` returns, in its order. Right and left are the person's
own. The first 40 are the points of FACEMESH_LIPS, sorted."""

LIPS = slice(0, 40)

ANCHORS: tuple[int, ...] = (33, 133, 362, 263, 1, 61, 291, 152, 10, 234, 454)
"""Mesh points the coarse network finds: eye corners, nose tip, mouth corners, chin, forehead,
cheeks."""

ANCHOR_PLACES: NDArray[np.float64] = np.array(
    [
        (31.6, 38.8), (46.5, 39.8), (65.5, 39.8), (80.4, 38.8), (56.0, 61.8), (42.3, 77.8),
        (69.7, 77.8), (56.0, 103.0), (56.0, 9.0), (17.8, 49.6), (94.2, 49.6),
    ]
)  # fmt: skip
"""Where the anchors of a face seen from the front lie in the fine crop, pixels: the mean over
talking faces, made symmetric. The face then fills 94 of its 112 rows."""

BOX_FACTOR = 1.3
"""Side of the coarse crop over the larger side of the detection's box."""


def eye_distance(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Distance between the eyes' centres, each the mean of its two corners.

    points: (n, len(MESH_INDICES), 2). Returns (n,) in the same unit.
    """
    corners = [MESH_INDICES.index(i) for i in (33, 133, 362, 263)]
    outer_r, inner_r, inner_l, outer_l = (points[:, i].astype(np.float64) for i in corners)
    between = (outer_r + inner_r - inner_l - outer_l) / 2
    return np.asarray(np.hypot(between[:, 0], between[:, 1]))


@dataclass(frozen=True, slots=True)
class Landmarks:
    """points: (n, len(MESH_INDICES), 2) float32, pixels of the frame; presence: (n,) float32,
    probability 0-1 that the crop shows a face at all."""

    points: NDArray[np.float32]
    presence: NDArray[np.float32]


class Landmarker:
    """The landmark networks with their weights, ready to use on the CPU.

    precision: of the maps that points are read from; "auto" takes bfloat16 where the processor
    multiplies it natively, which moves points by hundredths of a pixel of the crop. Raises
    WeightsCorrupt for other parameters.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        *,
        precision: Precision = "float32",
        batch_size: int = 64,
    ) -> None:
        network = FaceLandmarks()
        with weights.fitting("face_landmarks"):
            network.load_state_dict(state)
        folded = fold_batch_norms(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._coarse, self._fine = folded.coarse, folded.fine
        self._dtype = inference_dtype(torch.device("cpu"), precision)
        self._fine.to(self._dtype).presence.float()
        self._batch_size = batch_size

    @classmethod
    def bundled(cls, models_dir: Path | None = None) -> "Landmarker":
        """With the weights of this project. Raises WeightsMissing, WeightsCorrupt."""
        state, _ = weights.load("face_landmarks", models_dir)
        return cls(state)

    def locate(
        self, frames: Sequence[NDArray[np.uint8]], boxes: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Points of one face per frame: `examine(...).points`."""
        return self.examine(frames, boxes).points

    def examine(
        self, frames: Sequence[NDArray[np.uint8]], boxes: NDArray[np.floating]
    ) -> Landmarks:
        """Points of one face per frame, and whether there was a face.

        frames: n BGR uint8 images, of any sizes (the same image may stand in several places);
        boxes: (n, 4) x1, y1, x2, y2 pixels, tight around forehead, cheeks and chin as
        `detectors.bundled` gives them.
        """
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        if len(frames) != len(boxes):
            raise ValueError(f"{len(frames)} frames but {len(boxes)} boxes")
        parts = [
            self._batch(frames[i : i + self._batch_size], boxes[i : i + self._batch_size])
            for i in range(0, len(frames), self._batch_size)
        ]
        if not parts:
            none = np.zeros(0, np.float32)
            return Landmarks(none.reshape(0, len(MESH_INDICES), 2), none)
        points, presence = zip(*parts, strict=True)
        return Landmarks(np.concatenate(points).astype(np.float32), np.concatenate(presence))

    def _batch(
        self, frames: Sequence[NDArray[np.uint8]], boxes: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        loose = square_crop(boxes, COARSE_SIZE, BOX_FACTOR)
        with torch.inference_mode():
            shares = self._coarse(as_input(stack(frames, loose, COARSE_SIZE))).numpy()
            anchors = apply(invert(loose), to_pixels(shares, COARSE_SIZE))
            upright = fit_similarity(anchors, ANCHOR_PLACES)
            crops = as_input(stack(frames, upright, FINE_SIZE)).to(self._dtype)
            shares, logits = self._fine.read(*(each.float() for each in self._fine.maps(crops)))
        points = apply(invert(upright), to_pixels(shares.numpy(), FINE_SIZE))
        return points, torch.sigmoid(logits).numpy()


def as_input(crops: NDArray[np.uint8]) -> Tensor:
    """(n, h, w, 3) uint8 -> (n, 3, h, w) float32 in -1..1, channels last in memory."""
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def to_pixels(shares: NDArray[np.floating], size: int) -> NDArray[np.float64]:
    """Shares of a crop's side, 0 at its centre -> its pixels."""
    return np.asarray(shares, np.float64) * size + (size - 1) / 2


def to_shares(pixels: NDArray[np.floating], size: int) -> NDArray[np.float64]:
    """The inverse of `to_pixels`."""
    return (np.asarray(pixels, np.float64) - (size - 1) / 2) / size
