"""Face detectors: one protocol, one file per implementation.

`assembly.DETECTORS` looks them up by the registry name of their weights; the contract test runs
over all of them.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class FaceDetector(Protocol):
    """Finds faces in frames of one size."""

    name: str

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Faces of each frame.

        frames: BGR uint8 (height, width, 3), all of one size.
        Returns, per frame, (n, 5) float32: x1, y1, x2, y2 in pixels of that frame and the
        confidence 0-1, best first; n may be 0.
        """
        ...
