"""Clips whose truth is known because we made them: a portrait that speaks with our own voice.

`talking_clip(path, offset_frames=5)` writes a recording whose sound leads its picture by five
frames; other fields of `ClipSpec` give it another voice, a second face, a phone's rotation or a
browser's irregular clock. The same fields always give the same frames and samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import gcd
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray
from scipy.signal import resample_poly

from evaluation.clip_writer import FORMATS, FormatName, Sound, write_clip
from evaluation.talking_head import Mouth, Pose, render
from evaluation.voice import SAMPLE_RATE, Utterance, speak

_MARGIN_S = 2.0  # spoken before and after the clip, so that a shifted clip has sound throughout
_ANOTHER = 1_000_003  # added to the seed for the voice of a dubbed clip
_CLOSED = Mouth(0.02, 0.15)
_TEXTURES = 8


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """What to record. Times in seconds, sizes in pixels.

    offset_frames: frames of 1/25 s, sign as `results.SyncResult.offset_frames`: > 0, the sound
        leads the picture. |offset_frames| <= 50.
    container: a key of `clip_writer.FORMATS`. live: neither duration nor index in the file.
    variable_frame_rate: intervals jitter by milliseconds, and some pictures are dropped.
    start_offset_s: the picture starts that much after the sound (< 0: before it); what is heard
        and seen at any presentation time stays the same.
    rotation: 0, 90, 180 or 270: counter-clockwise degrees by which a player must turn the stored
        frames. `size` is the picture as shown.
    dubbed: the sound is another speaker's words. silent: digital silence. still: a photograph
        that does not speak, with a voice. no_face: no person in the picture.
    faces: 1, or 2 side by side; `speaker` (0 left, 1 right) says which one has the voice, and
        `listener` whether the other keeps the mouth closed or moves it to other words.
    face_height: forehead to chin, as a share of the picture's height.
    brightness: factor on the picture; blur: Gaussian deviation, pixels; hiss: root mean square
        of noise added to the sound, of 32767.
    """

    seconds: float = 4.0
    seed: int = 0
    offset_frames: int = 0
    container: FormatName = "webm-vp8-opus"
    live: bool = False
    fps: Fraction = Fraction(25)
    variable_frame_rate: bool = False
    start_offset_s: float = 0.0
    size: tuple[int, int] = (640, 480)
    rotation: int = 0
    sample_rate: int = 48_000
    channels: int = 1
    dubbed: bool = False
    silent: bool = False
    no_audio: bool = False
    no_video: bool = False
    still: bool = False
    no_face: bool = False
    faces: int = 1
    speaker: int = 0
    listener: Literal["still", "moving"] = "still"
    face_height: float = 0.42
    brightness: float = 1.0
    blur: float = 0.0
    hiss: float = 0.0

    def __post_init__(self) -> None:
        form = FORMATS[self.container]
        wrong = {
            "offset_frames is at most 50": abs(self.offset_frames) > 50,
            "faces is 1 or 2": self.faces not in (1, 2),
            "speaker is one of the faces": not 0 <= self.speaker < self.faces,
            "channels is 1 or 2": self.channels not in (1, 2),
            "rotation is a quarter turn": self.rotation not in (0, 90, 180, 270),
            f"{self.container} holds no rotation": bool(self.rotation) and not form.display_matrix,
            f"{self.container} needs a constant frame rate": self.variable_frame_rate
            and not form.exact_times,
            "only WebM and Matroska can be written live": self.live
            and form.container not in ("webm", "matroska"),
        }
        for rule, broken in wrong.items():
            if broken:
                raise ValueError(rule)


BROWSER: dict[str, Any] = {
    "container": "webm-vp8-opus",
    "live": True,
    "fps": Fraction(30),
    "variable_frame_rate": True,
    "start_offset_s": 0.08,
}
"""Fields of a clip as a browser's MediaRecorder writes it."""

DEMO: dict[str, dict[str, Any]] = {
    "in_sync.webm": {**BROWSER, "seed": 1},
    "dubbed.webm": {**BROWSER, "seed": 1, "dubbed": True},
}
"""The clips of `make demo`, by file name."""


def talking_clip(path: Path | str, **fields: Any) -> ClipSpec:
    """Record `ClipSpec(**fields)` to `path` and return the spec. ValueError: contradictory
    fields; `av.FFmpegError`: a rate that the codec cannot hold (44.1 kHz in Opus, 15 frames a
    second in MPEG-1)."""
    spec = ClipSpec(**{**fields, "fps": Fraction(fields.get("fps", 25))})
    width, height = spec.size
    write_clip(
        Path(path),
        spec.container,
        None if spec.no_video else _stored(spec),
        None if spec.no_audio else clip_sound(spec),
        size=(height, width) if spec.rotation in (90, 270) else (width, height),
        fps=spec.fps,
        rotation=spec.rotation,
        live=spec.live,
    )
    return spec


def clip_voice(spec: ClipSpec) -> Utterance:
    """Who is seen speaking. Time 0 of the clip is `_MARGIN_S` into the utterance."""
    return _utterance(spec.seconds, spec.seed)


def clip_mouth(spec: ClipSpec, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """The truth: jaw opening and lip rounding, (2, n), 0-1, of the speaking face at `times`."""
    return np.stack(clip_voice(spec).mouth(times + _MARGIN_S))


def clip_times(spec: ClipSpec) -> list[Fraction]:
    """Presentation time of every picture, seconds from the start of the clip."""
    start = Fraction(max(spec.start_offset_s, 0.0)).limit_denominator(1000)
    count = int((Fraction(spec.seconds).limit_denominator(1000) - start) * spec.fps)
    if not spec.variable_frame_rate:
        first = -(-start // (1 / spec.fps))
        return [(first + i) / spec.fps for i in range(count)]
    rng = np.random.default_rng([spec.seed, 1])
    steps = rng.choice([1, 2, 3], size=count, p=[0.86, 0.10, 0.04])
    nominal = np.concatenate([[0], np.cumsum(steps)]) / float(spec.fps)
    jitter = rng.uniform(0.0, 0.25 / float(spec.fps), nominal.size)
    times = float(start) + nominal + jitter
    return [Fraction(round(t * 1000), 1000) for t in times[times < spec.seconds]]


def clip_frames(spec: ClipSpec) -> Iterator[tuple[Fraction, NDArray[np.uint8]]]:
    """Every picture as shown, (height, width, 3) uint8 BGR, with its presentation time."""
    times = clip_times(spec)
    seconds = np.asarray([float(t) for t in times])
    spoken = other = clip_mouth(spec, seconds)
    if spec.faces == 2:
        other = clip_mouth(replace(spec, seed=spec.seed + 2 * _ANOTHER), seconds)
    camera = _Camera(spec)
    for time, second, speaking, listening in zip(times, seconds, spoken.T, other.T, strict=True):
        mouths: list[Mouth | None] = [None if spec.still else Mouth(*speaking)]
        if spec.faces == 2:
            moving = Mouth(*listening) if spec.listener == "moving" else _CLOSED
            mouths.insert(1 - spec.speaker, moving)
        yield time, camera.shot(float(second), mouths)


def clip_sound(spec: ClipSpec) -> Sound:
    """What is heard, from the sound's start to the clip's end."""
    voice = clip_voice(spec)
    if spec.dubbed:
        voice = _utterance(spec.seconds, spec.seed + _ANOTHER)
    start = Fraction(max(-spec.start_offset_s, 0.0)).limit_denominator(1000)
    begin = round((float(start) + _MARGIN_S + spec.offset_frames / 25) * SAMPLE_RATE)
    length = round((spec.seconds - float(start)) * SAMPLE_RATE)
    samples = voice.audio[begin : begin + length].astype(np.float64)
    if spec.silent:
        samples = np.zeros_like(samples)
    if spec.hiss:
        samples = samples + np.random.default_rng([spec.seed, 2]).normal(
            0.0, spec.hiss, samples.size
        )
    if spec.sample_rate != SAMPLE_RATE:
        common = gcd(spec.sample_rate, SAMPLE_RATE)
        samples = resample_poly(samples, spec.sample_rate // common, SAMPLE_RATE // common)
    gains = np.array([1.0, 0.7])[: spec.channels]  # in stereo the speaker sits to the left
    rounded = np.clip(np.round(samples[:, None] * gains), -32768, 32767).astype(np.int16)
    return Sound(rounded, spec.sample_rate, start)


@lru_cache(maxsize=4)
def _utterance(seconds: float, seed: int) -> Utterance:
    """What is said in and about so many seconds of clip; picture and sound both need it."""
    return speak(seconds + 2 * _MARGIN_S, seed)


class _Camera:
    """Holds what stays the same from picture to picture: how the heads sway, the sensor's noise."""

    def __init__(self, spec: ClipSpec) -> None:
        self.spec = spec
        rng = np.random.default_rng([spec.seed, 3])
        self.rates = rng.uniform(0.15, 0.45, (2, 4))  # hertz, of each face's x, y, turn, height
        self.phases = rng.uniform(0.0, 2 * np.pi, (2, 4))
        width, height = spec.size
        self.textures = rng.normal(0.0, 2.2, (_TEXTURES, height, width, 3)).astype(np.int8)
        self.taken = 0

    def shot(self, second: float, mouths: list[Mouth | None]) -> NDArray[np.uint8]:
        spec = self.spec
        width, height = spec.size
        if spec.no_face:
            scenery = skimage.data.coffee()[:, :, ::-1]  # type: ignore[no-untyped-call]
            picture = cv2.resize(scenery, (width, height), interpolation=cv2.INTER_AREA)
        else:
            edges = np.linspace(0, width, len(mouths) + 1).round().astype(int)
            picture = np.hstack(
                [
                    render(
                        mouth, self._pose(second, face), int(edges[face + 1] - edges[face]), height
                    )
                    for face, mouth in enumerate(mouths)
                ]
            )
        if spec.blur:
            picture = cv2.GaussianBlur(picture, (0, 0), spec.blur)
        texture = self.textures[self.taken % _TEXTURES]
        self.taken += 1
        exposed = picture.astype(np.float32) * np.float32(spec.brightness) + texture
        return np.asarray(np.clip(exposed, 0, 255), np.uint8)

    def _pose(self, second: float, face: int) -> Pose:
        """Nobody holds quite still."""
        tall = self.spec.face_height * self.spec.size[1]
        x, y, turn, near = np.sin(2 * np.pi * self.rates[face] * second + self.phases[face])
        return Pose(
            x=0.03 * tall * x,
            y=0.02 * tall * y,
            turn=1.5 * turn,
            height=tall * (1 + 0.01 * near),
            mirrored=face == 1,
        )


def _stored(spec: ClipSpec) -> Iterator[tuple[Fraction, NDArray[np.uint8]]]:
    """The pictures as they lie in the file, before a player turns them."""
    for time, picture in clip_frames(spec):
        yield time, np.ascontiguousarray(np.rot90(picture, -spec.rotation // 90))
