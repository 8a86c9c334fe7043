"""What is drawn over each frame: boxes, lips, confidences, and a line with the running offset."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncnet_python.results import FRAME_RATE, OffsetMoment
from syncnet_python.scale import Scale
from syncnet_python.tracking import Track
from workflows.inspection import drawing
from workflows.inspection.drawing import BLACK, WHITE, Image

_NEAR_S = 1.0
"""A moment speaks for the second before and after it."""


@dataclass(frozen=True, slots=True, eq=False)
class FollowedFace:
    """track: in pixels of the recording; confidences: (n,) a value a frame, NaN where unknown;
    points: (n, P, 2) of `landmarks.MESH_INDICES` in pixels of the recording, None where nobody
    looked for them."""

    track: Track
    confidences: NDArray[np.float64]
    points: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """width: of the recording, pixels; faces: all that were followed; chosen: which of them
    speaks; moments: of its offset; start_s: presentation time of frame 0; scale: of the network."""

    width: int
    faces: Sequence[FollowedFace]
    chosen: int
    moments: Sequence[OffsetMoment]
    start_s: float
    scale: Scale

    def draw(self, picture: Image, frame: int, *, line: bool = True) -> None:
        """In place. picture: frame `frame` at any size; line: the one at the bottom too."""
        factor = picture.shape[1] / self.width
        height = max(8.0, min(picture.shape[:2]) / 45)
        speaking = float("nan")
        for number, face in enumerate(self.faces):
            index = frame - int(face.track.frames[0])
            if not 0 <= index < len(face.track):
                continue
            sides, sure = face.track.boxes[index] * factor, float(face.confidences[index])
            drawing.box(picture, sides, drawing.shade(sure / self.scale.confidence_levels[1]))
            if face.points is not None:
                drawing.lips(picture, face.points[index] * factor)
            said = "not measured" if np.isnan(sure) else f"{sure:.3f}"
            said += " speaks" if number == self.chosen and len(self.faces) > 1 else ""
            above = (sides[0], sides[1] - height / 2)
            drawing.words(picture, said, above, WHITE, height=height, rim=BLACK)
            if number == self.chosen:
                speaking = sure
        if line:
            _bottom_line(picture, self._running(frame, speaking), height)

    def _running(self, frame: int, confidence: float) -> str:
        """Time, offset and confidence around this frame."""
        time = frame / FRAME_RATE
        apart, moment = min(
            ((abs(m.time_s - self.start_s - time), m) for m in self.moments),
            key=lambda pair: pair[0],
            default=(_NEAR_S, None),
        )
        said = f"{time:7.2f} s   offset "
        if moment is None or moment.offset is None or apart >= _NEAR_S:
            said += "unknown"
        else:
            said += f"{moment.offset:+.1f} frames ({moment.low:+.1f} to {moment.high:+.1f})"
        return said if np.isnan(confidence) else f"{said}   confidence {confidence:.3f}"


def _bottom_line(picture: Image, text: str, height: float) -> None:
    rows = round(2.2 * height)
    strip = picture[-rows:]
    strip[:] = strip // 3
    drawing.words(picture, text, (8, picture.shape[0] - 0.6 * height), WHITE, height=height)
