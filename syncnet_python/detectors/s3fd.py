"""The reference face detector: S3FD with the published weights and the reference's settings."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syncnet_python.detectors import s3fd_boxes
from syncnet_python.networks import s3fd

MEAN_BGR = (104.0, 117.0, 123.0)
"""Mean pixel of the images the network was trained on, 0-255."""

SCALE = 0.25
"""Factor of the reference on frames before they are searched."""

_CANDIDATES = 5000
_LIMIT = 750
_INNER_OVERLAP = 0.3
_OUTER_OVERLAP = 0.1
_BATCH = 4
_SMALLEST_INPUT = 34
"""Pixels on the smaller side, below which the network's last pooling has nothing to pool."""


class S3FDDetector:
    """`FaceDetector` of the published LSE-D and LSE-C figures (detect_faces of the reference).

    state: parameters of sfd_face.pth. scale: factor on frames before they are searched; the
    reference's 0.25 finds faces from about 60 pixels of the original frame on.
    min_confidence: 0-1, detections must exceed it. Raises WeightsCorrupt for other parameters.
    """

    name = "s3fd"

    def __init__(
        self,
        state: Mapping[str, Tensor],
        device: str = "cpu",
        *,
        scale: float = SCALE,
        min_confidence: float = 0.9,
    ) -> None:
        self._device = torch.device(device)
        network = s3fd.build(state).to(self._device)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._scale = scale
        self._min_confidence = min_confidence

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Per frame (n, 5) float32: x1, y1, x2, y2 in pixels of the frame, which the box may
        leave, and the confidence 0-1; best first. See `FaceDetector`."""
        found: list[NDArray[np.float32]] = []
        for first in range(0, len(frames), _BATCH):
            found += self._detect_batch(list(frames[first : first + _BATCH]))
        return found

    def _detect_batch(self, frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        scale = max(self._scale, _SMALLEST_INPUT / min(frames[0].shape[:2]))
        inputs = np.stack([network_input(frame, scale) for frame in frames])
        with torch.inference_mode():
            images = torch.from_numpy(inputs).to(self._device, memory_format=torch.channels_last)
            offsets, scores, maps = self._network(images)
        priors = s3fd_boxes.priors((inputs.shape[2], inputs.shape[3]), maps)
        height, width = frames[0].shape[:2]
        return [
            self._faces(s3fd_boxes.decode(offset, priors), score[:, 1], width, height)
            for offset, score in zip(offsets.cpu().numpy(), scores.cpu().numpy(), strict=True)
        ]

    def _faces(
        self, boxes: NDArray[np.float32], scores: NDArray[np.float32], width: int, height: int
    ) -> NDArray[np.float32]:
        faces = s3fd_boxes.select(
            boxes,
            scores,
            min_score=self._min_confidence,
            overlap=_INNER_OVERLAP,
            candidates=_CANDIDATES,
            limit=_LIMIT,
        )
        faces[:, :4] *= np.array([width, height, width, height], np.float32)
        # The reference suppresses once more, over detections of all scales it searched. With one
        # scale this strikes out what the first pass let through between the two overlaps.
        return faces[s3fd_boxes.suppress(faces[:, :4], faces[:, 4], _OUTER_OVERLAP, _LIMIT)]


def network_input(frame: NDArray[np.uint8], scale: float) -> NDArray[np.float32]:
    """(h, w, 3) BGR uint8 -> (3, h * scale, w * scale) float32 RGB less the training mean."""
    small = cv2.resize(frame, (0, 0), fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    centred = small.astype(np.float32) - np.array(MEAN_BGR, np.float32)
    return np.ascontiguousarray(centred[:, :, ::-1].transpose(2, 0, 1))
