"""Cuts: where one camera shot ends and the next begins, so that no track runs across."""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect.detectors import ContentDetector

THRESHOLD = 27.0
"""Mean change of hue, saturation and value (each 0-255) between two frames that makes a cut."""

_WORKING_SIDE = 256


class SceneSplitter:
    """Fed frame by frame, knows the scenes so far; keeps one small frame, whatever the length.

    The content detector of PySceneDetect with the reference's settings: frames are scaled down to
    256 pixels on their larger side, and cuts that leave scenes under 15 frames are merged.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self._detector = ContentDetector(threshold=threshold)
        self._cuts: list[int] = []
        self._count = 0

    def feed(self, frame: NDArray[np.uint8]) -> None:
        """The next frame: (height, width, 3) BGR uint8, of the same size as the others."""
        self._cuts += self._detector.process_frame(self._count, shrunk(frame))
        self._count += 1

    def scenes(self) -> list[tuple[int, int]]:
        """Every scene as (start, end), frames counted from 0, end exclusive; together they cover
        all frames fed. Empty when no frame was fed."""
        edges = [0, *self._cuts, self._count]
        return [(start, end) for start, end in pairwise(edges) if start < end]


def shrunk(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame at the size that cuts are looked for in; a smaller one is left as it is."""
    height, width = frame.shape[:2]
    factor = max(height, width) / _WORKING_SIDE
    if factor <= 1:
        return frame
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR), np.uint8)
