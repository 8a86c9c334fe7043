"""Which frames and face crops the classifier sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from syncnet_python import media, pipeline
from syncnet_python.assembly import Networks
from syncnet_python.face_crops import face_crop
from syncnet_python.tracking import Track

CROP_PIXELS = 224


@dataclass(frozen=True, slots=True)
class FaceCrops:
    """Crops of one face in time order.

    images: BGR uint8 (224, 224, 3) each; indices: which frames at 25 a second they are from.
    """

    images: tuple[NDArray[np.uint8], ...]
    indices: tuple[int, ...]


class FrameExtractor:
    """Chooses at most `max_frames` frames: spread over the whole track, or its first ones."""

    def __init__(self, max_frames: int = 20, uniform_sampling: bool = True) -> None:
        if max_frames < 1:
            raise ValueError(f"max_frames must be at least 1, not {max_frames}")
        self.max_frames = max_frames
        self.uniform_sampling = uniform_sampling

    def choose(self, count: int) -> NDArray[np.int64]:
        """Positions of the chosen frames among `count`, ascending, without repeats."""
        taken = min(count, self.max_frames)
        if not self.uniform_sampling:
            return np.arange(taken)
        # The middles of equal parts: neither the first nor the last frame, which are the ones
        # most often spoiled by a camera that is still adjusting or a hand that reaches for it.
        return np.floor((np.arange(taken) + 0.5) * count / taken).astype(np.int64)

    def face_crops(self, frames: media.Frames, track: Track) -> FaceCrops:
        """Crops of a tracked face."""
        chosen = self.choose(len(track.frames))
        indices = tuple(int(i) for i in track.frames[chosen])
        boxes = track.boxes[chosen]
        images = tuple(
            face_crop(frames.bgr(i), box, CROP_PIXELS)
            for i, box in zip(indices, boxes, strict=True)
        )
        return FaceCrops(images, indices)

    def extract_frames(self, path: Path | str) -> list[Image.Image]:
        """RGB crops of the longest-seen face of a recording, found with the bundled finder.

        Raises RecordingError and ModelError.
        """
        recording = media.read(Path(path), needs_audio=False)
        detector = Networks("bundled").face_detector()
        tracks = pipeline.find_tracks(recording.frames, detector)
        longest = max(tracks, key=lambda track: len(track.frames))
        crops: Sequence[NDArray[np.uint8]] = self.face_crops(recording.frames, longest).images
        return [Image.fromarray(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)) for crop in crops]
