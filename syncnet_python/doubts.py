"""Why the figures of a recording may say nothing: what is heard, how face and lips move. Pure.

These rules only speak where lips and voice do not match anyway (see `pipeline.measure_sync`):
a match is better evidence than they are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from syncnet_python import speech
from syncnet_python.landmarks import LIPS, MESH_INDICES
from syncnet_python.results import Doubt

LEAST_SPEECH = 0.9
"""Probability of speech, of the second most like it, under which nobody is heard to speak."""

MELODIC = 0.15
"""Share of steady pitch, in a changing sound, above which what is no speech is music."""

FARTHEST_TURN = 35.0
"""Degrees that a face may be turned to the side; lip-sync is measured up to 25."""

LEAST_LIP_MOTION = 0.0075
"""Eye distances that the gap between the lips varies in speech, at least. Of the recordings of
speech at hand only some of a second's length vary less."""

LEAST_LIFE = 0.001
LEAST_LIFE_OF_MOTION = 0.06
"""How far points of a living face move against one another, in eye distances and as a share of
the whole head's motion; a picture that is held in a hand moves, but as one."""

_NOSE_REACH = 0.64
"""How far the tip of the nose stands before the eyes, in eye distances: the median of faces whose
turn is known from a mesh with depth."""

_STEADY = 1.5  # frames; slower than the noise of landmarks, faster than lips and lids
_SLOW = 8.0  # frames; slower than speech, faster than how a picture tilts in a hand

_INNER_LIPS = ((13, 14), (312, 317), (82, 87))  # upper and lower, mesh indices
_EYES = ((33, 133), (362, 263))  # corners: left, right of the picture
_NOSE = 1

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Face:
    """turn_deg: median angle to the side, > 0 where the nose points to the picture's right;
    lip_motion: standard deviation of the gap between the lips, changes slower than speech left
    out; life: how far eyes, brows, nose and outline move against one another; head_motion: how
    far the whole face moves. The last three in eye distances."""

    turn_deg: float
    lip_motion: float
    life: float
    head_motion: float


def find(audio: NDArray[np.int16], points: NDArray[np.floating]) -> tuple[Doubt, ...]:
    """What speaks against comparing this sound with these lips; empty where nothing does.

    audio: (samples,) int16 mono at 16 kHz; points: (frames, len(MESH_INDICES), 2) pixels, of
    `Landmarker.locate`. Both at least one long.
    """
    sound, face = speech.describe(audio), describe(points)
    found: list[Doubt] = []
    if sound.speech < LEAST_SPEECH:
        found.append("MUSIC" if sound.melodic > MELODIC else "NO_SPEECH")
    if face.lip_motion < LEAST_LIP_MOTION:
        still = face.life < max(LEAST_LIFE, LEAST_LIFE_OF_MOTION * face.head_motion)
        found.append("STILL_PICTURE" if still else "MOUTH_STILL")
    if abs(face.turn_deg) > FARTHEST_TURN:
        found.append("FACE_TURNED")
    return tuple(found)


def describe(points: NDArray[np.floating]) -> Face:
    """How a face is turned and how it moves; points: as for `find`."""
    places = np.asarray(points, np.float64)
    left, right = (_middle(places, corners) for corners in _EYES)
    line = right - left
    distance = np.maximum(np.hypot(line[:, 0], line[:, 1]), 1.0)
    aside = ((places[:, _row(_NOSE)] - (left + right) / 2) * line).sum(axis=1) / distance**2
    unit = float(np.median(distance))
    own, whole = _motions(places)
    gap = np.mean(
        [own[:, _row(low), 1] - own[:, _row(high), 1] for high, low in _INNER_LIPS], axis=0
    )
    return Face(
        turn_deg=round(float(np.degrees(np.arctan(np.median(aside) / _NOSE_REACH))), 1),
        lip_motion=float((gap - _smooth(gap, _SLOW)).std()) / unit,
        life=float(own[:, LIPS.stop :].std(axis=0).mean()) / unit,
        head_motion=float(whole.std(axis=0).mean()) / unit,
    )


def _motions(places: Floats) -> tuple[Floats, Floats]:
    """The points' own paths and those of the whole face, (frames, points, 2) pixels, smoothed.

    The whole face's motion is the affine map of the median face that fits each frame best; their
    own is what is left, as it would be on the median face. Next to nothing is left of a
    photograph, however it is moved.
    """
    face = np.median(places, axis=0)
    grid = np.column_stack([face, np.ones(len(face))])
    maps = np.linalg.pinv(grid) @ places
    own = (places - grid @ maps) @ np.linalg.pinv(maps[:, :2])
    return _smooth(own, _STEADY), _smooth(grid @ maps, _STEADY)


def _smooth(paths: Floats, sigma: float) -> Floats:
    return np.asarray(gaussian_filter1d(paths, sigma, axis=0, mode="nearest"))


def _middle(places: Floats, corners: tuple[int, int]) -> Floats:
    return np.asarray((places[:, _row(corners[0])] + places[:, _row(corners[1])]) / 2)


def _row(index: int) -> int:
    """Where the landmarks have a point of the mesh."""
    return MESH_INDICES.index(index)
