"""Recordings made worse in named ways: noise, few frames, small faces, coding, turned heads.

A disturbance takes a decoded recording and writes a real file again, so that everything behind it
works as in the service: decoding, face finder, tracking, landmarks, network. Where coding is not
the disturbance, picture and sound are kept without loss. Nothing moves lips against sound.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.clip_writer import Format, write_recording
from evaluation.turning import fit_heads, turn
from syncnet_python import pipeline
from syncnet_python.detectors import FaceDetector
from syncnet_python.errors import NoAudio
from syncnet_python.fcn_embedding import locate
from syncnet_python.landmarks import Landmarker
from syncnet_python.media import Frames, Recording
from syncnet_python.results import FRAME_RATE
from syncnet_python.tracking import Track

NOISE_DB = 10.0
"""Speech over noise, both as mean power over the whole clip."""

VOICES = 6
"""Other people who speak at once in the babble."""

SLOW_FPS = 15
SMALL_FACE = 64.0
"""Pixels of the larger side of the face's box."""

COARSE_CRF = 35
YAW_DEG = 25.0

LOSSLESS = Format("matroska", "libx264", "flac", {"preset": "ultrafast", "qp": "0"})
COARSE = Format("matroska", "libx264", "flac", {"preset": "medium", "crf": str(COARSE_CRF)})

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """What is filmed: pictures (height, width, 3) uint8 BGR and their times in seconds, samples
    (n,) int16 at 16 kHz from time 0 on, and how it is coded."""

    pictures: Sequence[NDArray[np.uint8]]
    times: Sequence[Fraction]
    samples: Samples
    form: Format = LOSSLESS


class Studio:
    """What disturbances need to know of a recording: where its face is, and how others sound.

    voices: group (a speaker) and sound (any,) int16 at 16 kHz of other recordings.
    """

    def __init__(
        self,
        detector: FaceDetector,
        landmarker: Landmarker,
        voices: Sequence[tuple[str, Samples]] = (),
    ) -> None:
        self._detector = detector
        self._landmarker = landmarker
        self.voices = voices

    def face(self, frames: Frames) -> tuple[Track, NDArray[np.float32]]:
        """The longest track and its landmarks. Raises NoFace, TrackTooShort."""
        track = max(pipeline.find_tracks(frames, self._detector), key=len)
        return track, locate(self._landmarker, frames, track)


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """A recording that is to be disturbed; group: its speaker."""

    recording: Recording
    group: str
    studio: Studio

    def __post_init__(self) -> None:
        if not len(self.recording.frames):
            raise ValueError("there is no picture to disturb")

    @property
    def frames(self) -> Frames:
        return self.recording.frames

    @property
    def samples(self) -> Samples:
        return self.recording.audio

    def as_it_was(self) -> Take:
        times = [Fraction(i, FRAME_RATE) for i in range(len(self.frames))]
        return Take(self.frames, times, self.samples)

    def face(self) -> tuple[Track, NDArray[np.float32]]:
        return self.studio.face(self.frames)


Disturb = Callable[[Original, np.random.Generator], Take]


def babble(of: Original, rng: np.random.Generator) -> Take:
    """Six others talk, each as loud as the next, together 10 dB below. Raises NoAudio where the
    studio knows nobody else's voice."""
    others = [sound for group, sound in of.studio.voices if group != of.group and sound.any()]
    if not others:
        raise NoAudio("babble needs recordings of other groups")
    noise = np.zeros(len(of.samples))
    for number in rng.choice(len(others), min(VOICES, len(others)), replace=False):
        voice = others[int(number)].astype(np.float64)
        endless = np.resize(np.roll(voice, -int(rng.integers(len(voice)))), len(noise))
        noise += endless / (_power(endless) ** 0.5 + 1e-9)
    return replace(of.as_it_was(), samples=with_noise(of.samples, noise, NOISE_DB))


def white_noise(of: Original, rng: np.random.Generator) -> Take:
    noise = rng.normal(0, 1, len(of.samples))
    return replace(of.as_it_was(), samples=with_noise(of.samples, noise, NOISE_DB))


def few_frames(of: Original, rng: np.random.Generator) -> Take:
    """A camera of 15 frames a second: each the nearest that was recorded, shown at its own time."""
    count = max(1, int(len(of.frames) * SLOW_FPS / FRAME_RATE))
    times = [Fraction(i, SLOW_FPS) for i in range(count)]
    nearest = [min(round(t * FRAME_RATE), len(of.frames) - 1) for t in times]
    return Take(_Chosen(of.frames, nearest), times, of.samples)


def small_face(of: Original, rng: np.random.Generator) -> Take:
    """Scaled down until the face's box is 64 pixels; a smaller face stays as it is."""
    track, _ = of.face()
    side = float((track.boxes[:, 2:] - track.boxes[:, :2]).mean(axis=0).max())
    scale = min(1.0, SMALL_FACE / side)
    height, width = of.frames.bgr(0).shape[:2]
    size = (max(2, round(width * scale)), max(2, round(height * scale)))

    def shrunk(_: int, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)

    return replace(of.as_it_was(), pictures=_Changed(of.frames, shrunk))


def coarse_coding(of: Original, rng: np.random.Generator) -> Take:
    """H.264 at CRF 35."""
    return replace(of.as_it_was(), form=COARSE)


def turned(yaw_deg: float) -> Disturb:
    """The head turned, by the model of `evaluation.turning`."""

    def disturb(of: Original, rng: np.random.Generator) -> Take:
        track, points = of.face()
        heads = dict(zip(track.frames.tolist(), fit_heads(points), strict=True))

        def turn_it(index: int, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
            return turn(image, heads[index], yaw_deg) if index in heads else image

        return replace(of.as_it_was(), pictures=_Changed(of.frames, turn_it))

    return disturb


CONDITIONS: dict[str, Disturb] = {
    "babble 10 dB": babble,
    "white noise 10 dB": white_noise,
    "15 fps": few_frames,
    "64-pixel face": small_face,
    "H.264 CRF 35": coarse_coding,
    "yaw +25": turned(YAW_DEG),
    "yaw -25": turned(-YAW_DEG),
}
"""The disturbances that the figures are given for, by name."""


def write(
    condition: str, name: str, group: str, recording: Recording, studio: Studio, target: Path
) -> None:
    """A disturbed recording as a Matroska file.

    name: of the recording; with the condition it decides what is drawn at random. group: its
    speaker, who is not heard in the babble. Raises NoFace, TrackTooShort where a face is needed,
    NoAudio where other voices are.
    """
    rng = np.random.default_rng(crc32(f"{condition}/{name}".encode()))
    take = CONDITIONS[condition](Original(recording, group, studio), rng)
    fps = Fraction(SLOW_FPS if condition == "15 fps" else FRAME_RATE)
    write_recording(target, take.form, take.pictures, take.times, take.samples, fps=fps)


def with_noise(samples: Samples, noise: NDArray[np.float64], ratio_db: float) -> Samples:
    """Sound with noise `ratio_db` decibels below it, both (n,). Both are turned down together
    where the sum would clip."""
    gain = (_power(samples) / max(_power(noise), 1e-9)) ** 0.5 * 10 ** (-ratio_db / 20)
    mixed = samples + noise * gain
    loudest = float(np.abs(mixed).max(initial=0.0))
    return np.asarray(np.round(mixed * min(1.0, 32767 / max(loudest, 1.0))), np.int16)


def _power(samples: NDArray[np.integer] | NDArray[np.floating]) -> float:
    return float(np.mean(np.square(samples.astype(np.float64)))) if len(samples) else 0.0


class _Chosen(Sequence[NDArray[np.uint8]]):
    """Frames in another order, made when they are asked for."""

    def __init__(self, frames: Sequence[NDArray[np.uint8]], order: Sequence[int]) -> None:
        self._frames, self._order = frames, order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:  # type: ignore[override]
        return self._frames[self._order[index]]


class _Changed(Sequence[NDArray[np.uint8]]):
    """Frames changed one by one, when they are asked for."""

    def __init__(
        self,
        frames: Sequence[NDArray[np.uint8]],
        change: Callable[[int, NDArray[np.uint8]], NDArray[np.uint8]],
    ) -> None:
        self._frames, self._change = frames, change

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:  # type: ignore[override]
        return self._change(index, self._frames[index])
