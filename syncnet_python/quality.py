"""How good a recording is: light, focus and size of the face, noise in the sound. Pure."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from syncnet_python.results import SAMPLES_PER_FRAME, Quality

_FACE_PIXELS = 112

SILENT_BELOW_DBFS = -60.0
"""Sound whose loudest fiftieth stays under this level holds no speech."""


def measure(
    crops: Sequence[NDArray[np.uint8]], boxes: NDArray[np.float64], audio: NDArray[np.int16]
) -> Quality:
    """Quality of one face's recording.

    crops: at least one BGR face crop, any size; boxes: (n, 4) the face's boxes in pixels;
    audio: (samples,) int16 mono at 16 kHz, may be empty.
    """
    greys = [cv2.cvtColor(_scaled(crop), cv2.COLOR_BGR2GRAY) for crop in crops]
    sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    return Quality(
        brightness=round(float(np.mean([grey.mean() for grey in greys])), 1),
        sharpness=round(float(np.median([cv2.Laplacian(g, cv2.CV_32F).var() for g in greys])), 1),
        face_size=round(float(np.median(sides)), 1),
        snr_db=None if is_silent(audio) else round(signal_to_noise(frame_levels(audio)), 1),
    )


def frame_levels(audio: NDArray[np.int16]) -> NDArray[np.float64]:
    """Level of each 40 ms of sound in decibels relative to full scale, shape (frames,)."""
    whole = len(audio) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME
    frames = audio[:whole].reshape(-1, SAMPLES_PER_FRAME).astype(np.float64) / 32768
    return np.asarray(10 * np.log10(np.mean(frames**2, axis=1) + 1e-10))


def signal_to_noise(levels: NDArray[np.float64]) -> float:
    """Decibels from the quietest tenth of the frames to the loudest."""
    return float(np.percentile(levels, 90) - np.percentile(levels, 10))


def is_silent(audio: NDArray[np.int16]) -> bool:
    """Whether there is nothing to hear: even the loudest fiftieth is below -60 dBFS."""
    levels = frame_levels(audio)
    return len(levels) == 0 or float(np.percentile(levels, 98)) < SILENT_BELOW_DBFS


def _scaled(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = (_FACE_PIXELS, _FACE_PIXELS)
    return np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)
