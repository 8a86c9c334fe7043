"""A tracked face and its sound to the bundled sync network's embeddings."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syncnet_python import mouth, weights
from syncnet_python.audio_features import log_mel
from syncnet_python.landmarks import LIPS, MESH_INDICES, Landmarker
from syncnet_python.media import Frames
from syncnet_python.networks.folding import fold_batch_norms
from syncnet_python.networks.syncnet_fcn import EMBEDDING_DIM, SyncNetFCN, brightness
from syncnet_python.results import SAMPLES_PER_FRAME, ModelInfo
from syncnet_python.tracking import Track

EYES = tuple(MESH_INDICES.index(corner) for corner in mouth.EYE_CORNERS)
"""Rows of the landmarks that are the eye corners, in `mouth.EYE_CORNERS`' order."""

_CHUNK = 64
"""Frames held as pixels at a time; everything kept longer is small."""


class FcnEmbedder:
    """The bundled sync network with its weights, ready to use on the CPU.

    Raises WeightsCorrupt for other parameters.
    """

    def __init__(self, state: Mapping[str, Tensor], landmarker: Landmarker) -> None:
        network = SyncNetFCN()
        with weights.fitting("syncnet_fcn"):
            network.load_state_dict(state)
        self._network = fold_batch_norms(network)
        self._landmarker = landmarker

    @classmethod
    def bundled(
        cls, landmarker: Landmarker | None = None, models_dir: Path | None = None
    ) -> tuple["FcnEmbedder", ModelInfo]:
        """With the weights of this project. Raises WeightsMissing, WeightsCorrupt."""
        state, info = weights.load("syncnet_fcn", models_dir)
        return cls(state, landmarker or Landmarker.bundled(models_dir)), info

    def visual(
        self, frames: Frames, track: Track, points: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """What the lips do: (n, 128) float32 unit vectors, one a track frame.

        points: from `locate`, where they are at hand already.
        """
        points = locate(self._landmarker, frames, track) if points is None else points
        lips, eyes = points[:, LIPS], points[:, EYES]
        transforms = mouth.crop_transforms(lips, eyes)
        crops = np.empty((len(transforms), mouth.CROP_SIZE, mouth.CROP_SIZE), np.uint8)
        for crop, index, transform in zip(crops, track.frames, transforms, strict=True):
            crop[:] = mouth.crop(frames.bgr(int(index)), transform)
        return self.embed_mouths(mouth.lip_shapes(lips, eyes), crops)

    @torch.inference_mode()
    def embed_mouths(
        self, shapes: NDArray[np.float32], crops: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """As `visual`, from `mouth.lip_shapes` (n, 40, 2) and mouth crops (n, 48, 48) uint8."""
        mouths = torch.from_numpy(crops)[None]
        mean, deviation = brightness(mouths)
        looks = [
            self._network.looks(mouths[:, part], mean[:, part], deviation[:, part])
            for part in _chunks(len(crops))
        ]
        shapes_in = torch.from_numpy(shapes)[None]
        return _array(self._network.visual_from_looks(shapes_in, torch.cat(looks, dim=1)))

    @torch.inference_mode()
    def audio(self, samples: NDArray[np.int16], num_frames: int) -> NDArray[np.float32]:
        """What is heard: (num_frames, 128) float32 unit vectors, one each 1/25 s.

        samples: (any,) int16 mono at 16 kHz that start with the first frame; silence is added, or
        the end left off, to make them num_frames long.
        """
        wanted = num_frames * SAMPLES_PER_FRAME
        heard = np.pad(samples[:wanted], (0, max(0, wanted - len(samples))))
        mels = torch.from_numpy(log_mel(heard, num_frames))[None]
        return _array(self._network.audio(mels))


def locate(landmarker: Landmarker, frames: Frames, track: Track) -> NDArray[np.float32]:
    """Landmarks of a tracked face: (n, points, 2) float32 pixels, one row a track frame.

    frames: of the whole recording; track: n frames of it.
    """
    parts = [
        landmarker.locate([frames.bgr(int(i)) for i in track.frames[part]], track.boxes[part])
        for part in _chunks(len(track.frames))
    ]
    return np.concatenate(parts)


def _chunks(count: int) -> list[slice]:
    return [slice(first, first + _CHUNK) for first in range(0, count, _CHUNK)]


def _array(embeddings: Tensor) -> NDArray[np.float32]:
    return np.asarray(embeddings[0].numpy(), np.float32).reshape(-1, EMBEDDING_DIM)
