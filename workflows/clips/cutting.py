"""Exact ranges of a recording as recordings of their own.

A stream copy can begin only where a key frame lies, which moves picture against sound. Here both
are decoded and encoded again, and samples are counted.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from syncnet_python import media
from syncnet_python.errors import NoVideo
from syncnet_python.placed_sound import PlacedSound
from syncnet_python.results import FRAME_RATE, SAMPLE_RATE
from syncnet_python.windows import DAY
from workflows.clips.media_info import MediaInfo, info
from workflows.clips.writer import ClipWriter, best_sample_rate

_SLACK_S: Final = 10.0
"""How much later in the file than the other one stream may come."""

_USUAL_RATES: Final = tuple(
    Fraction(rate, per)
    for rate in (24, 25, 30, 48, 50, 60)
    for rate, per in ((rate, 1), (rate * 1000, 1001))
)
_ROUNDING: Final = 3e-4
_EPSILON_S: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Part:
    """A range in seconds from the recording's first picture, end exclusive, and the file it goes
    to, whose suffix names the container: one of `clip_writer.SUFFIXES`."""

    start_s: float
    end_s: float
    target: Path


def cut(source: Path, target: Path, start_s: float, end_s: float) -> None:
    """Write the range from start_s to end_s, seconds from the first picture, end exclusive.

    What is seen and heard at a moment stays together: pictures keep their times, and the first is
    the one nearest to start_s; samples are counted, at their own rate where the target's codec
    holds it. Sound that the source does not have is silence. The file is decoded from its beginning
    on, so of several ranges use `cut_all`.
    Raises ValueError for a range without a picture or an unknown suffix, OSError, and what
    `media.opened` does.
    """
    for _ in cut_all(source, [Part(start_s, end_s, target)]):
        pass


def cut_all(source: Path, parts: Sequence[Part]) -> Iterator[Part]:
    """As `cut`, of several ranges in the order of their starts, which may overlap; the file is
    decoded once. Yields every part when it is whole; only parts that share a moment, or lie a few
    seconds apart, are open at one time. Raises as `cut`.
    """
    waiting = deque(parts)
    if any(part.end_s <= part.start_s or part.start_s < 0 for part in parts):
        raise ValueError("a range begins at 0 or later and ends after it begins")
    if any(after.start_s < before.start_s for before, after in pairwise(parts)):
        raise ValueError("ranges come in the order of their starts")
    if not parts:
        return
    shape = _Shape.of(info(source), parts[0].target)
    with ExitStack() as unfinished, source.open("rb") as file:
        begun: list[_Writing] = []
        unfinished.callback(_abandon, begun)
        decoded = media.opened(file, DAY, needs_audio=shape.sample_rate is not None)
        latest: _Seen | None = None
        for event in _events(unfinished.enter_context(decoded).frames, shape):
            while waiting and waiting[0].start_s < event.end_s + _EPSILON_S:
                begun.append(_Writing(waiting.popleft(), shape, latest))
            for writing in begun.copy():
                writing.take(event)
                if writing.over:
                    begun.remove(writing)
                    yield writing.close()
            if isinstance(event, _Seen):
                latest = event
            if not begun and not waiting:
                return
        while begun:
            yield begun.pop(0).close()
    if waiting:
        raise ValueError(f"the recording has no picture at {waiting[0].start_s:g} s")


def _abandon(begun: "list[_Writing]") -> None:
    for writing in begun:
        writing.abandon()


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the parts have in common. size: upright, and that of the first picture; pictures_end_s:
    when the last picture is over, seconds from the first."""

    size: tuple[int, int]
    rate: Fraction
    pictures_end_s: float
    sample_rate: int | None
    channels: int

    @classmethod
    def of(cls, about: MediaInfo, target: Path) -> "_Shape":
        picture, sound = about.first("picture"), about.first("sound")
        if picture is None or picture.width is None or picture.height is None:
            raise NoVideo("the recording has no picture")
        size = (picture.width, picture.height)
        rate = sound.sample_rate if sound else None
        return cls(
            size=size[::-1] if picture.rotation in (90, 270) else size,
            rate=_as_fraction(picture.fps or FRAME_RATE),
            pictures_end_s=picture.duration_s or 0.0,
            sample_rate=best_sample_rate(target, rate) if rate else None,
            channels=min(2, (sound.channels if sound else None) or 1),
        )


def _as_fraction(fps: float) -> Fraction:
    """The usual rate that this is, but for rounded timestamps, or another that fits 16 bits."""
    for usual in _USUAL_RATES:
        if abs(fps / usual - 1) < _ROUNDING:
            return usual
    return Fraction(fps).limit_denominator(max(1, min(1000, int(65_535 / fps))))


@dataclass(frozen=True, slots=True)
class _Seen:
    """A picture. end_s: when it is shown, seconds from the first."""

    frame: VideoFrame
    end_s: float


@dataclass(frozen=True, slots=True)
class _Heard:
    """Samples, (n, channels), of which the first is number `first` from the first picture on."""

    samples: NDArray[np.int16]
    first: int
    end_s: float


def _events(frames: Iterable[VideoFrame | AudioFrame], shape: _Shape) -> Iterator[_Seen | _Heard]:
    """Both streams on one clock, in file order. Sound waits until the first picture is there."""
    layout = "mono" if shape.channels == 1 else "stereo"
    rate = shape.sample_rate or SAMPLE_RATE
    sound = PlacedSound(rate, layout, longest_s=DAY.duration_s)
    start: float | None = None  # of the picture
    last, count = 0.0, 0
    early: list[NDArray[np.int16]] = []

    def heard(samples: NDArray[np.int16], start: float) -> Iterator[_Heard]:
        nonlocal count
        if len(samples):
            first = round(((sound.start or 0.0) - start) * sound.rate) + count
            count += len(samples)
            yield _Heard(samples, first, (first + len(samples)) / sound.rate)

    for frame in frames:
        if isinstance(frame, AudioFrame):
            early.append(sound.add(frame))
        else:
            time = (last + 1 / float(shape.rate)) if frame.time is None else frame.time
            if start is None:
                start = time
            elif time <= last:
                continue
            last = time
            yield _Seen(frame, time - start)
        if start is not None:
            for samples in early:
                yield from heard(samples, start)
            early.clear()
    if start is not None:
        yield from heard(sound.finish(), start)


class _Writing:
    """A part that has been begun. before: the last picture that came before it."""

    def __init__(self, part: Part, shape: _Shape, before: _Seen | None) -> None:
        self._part, self._shape, self._before = part, shape, before
        rate = shape.sample_rate or 0
        self._first, self._end = round(part.start_s * rate), round(part.end_s * rate)
        self._written = 0  # samples
        self._begun = False  # whether a picture has been written
        self._seen_s = self._heard_s = 0.0
        self._exit = ExitStack()
        self._writer = self._exit.enter_context(
            ClipWriter(
                part.target,
                size=shape.size,
                rate=shape.rate,
                sample_rate=shape.sample_rate,
                channels=shape.channels,
            )
        )

    @property
    def over(self) -> bool:
        """Whether both streams have come to the end, or one so far beyond it that the other must
        have stopped."""
        heard_s = self._heard_s if self._shape.sample_rate else self._seen_s
        end_s = self._part.end_s - _EPSILON_S
        return min(self._seen_s, heard_s) >= end_s or max(self._seen_s, heard_s) > end_s + _SLACK_S

    def take(self, event: _Seen | _Heard) -> None:
        if isinstance(event, _Heard):
            self._hear(event)
        else:
            self._see(event)

    def close(self) -> Part:
        """What is missing is silent, or the picture before."""
        if not self._begun:
            if self._before is None or self._part.start_s >= self._shape.pictures_end_s:
                self.abandon()
                raise ValueError(f"the recording has no picture at {self._part.start_s:g} s")
            self._show(self._before, 0.0)
        if self._shape.sample_rate:
            ends = min(self._part.end_s, max(self._seen_s, self._shape.pictures_end_s))
            self._silence(round(ends * self._shape.sample_rate))
        self._exit.close()
        return self._part

    def abandon(self) -> None:
        """Leave nothing behind."""
        error = InterruptedError()
        self._exit.__exit__(InterruptedError, error, None)

    def _see(self, seen: _Seen) -> None:
        self._seen_s = seen.end_s
        after = seen.end_s - self._part.start_s
        if after < -_EPSILON_S:
            self._before = seen
        elif seen.end_s < self._part.end_s - _EPSILON_S:
            before = self._part.start_s - self._before.end_s if self._before else after + 1
            if self._begun:
                self._show(seen, after)
            elif self._before and before < after:
                self._show(self._before, 0.0)
                self._show(seen, after)
            else:
                self._show(seen, 0.0)

    def _show(self, seen: _Seen, time_s: float) -> None:
        self._writer.frame(_upright(seen.frame, self._shape.size), time_s)
        self._begun = True

    def _hear(self, heard: _Heard) -> None:
        self._heard_s = heard.end_s
        begin = max(heard.first, self._first)
        end = min(heard.first + len(heard.samples), self._end)
        if end > begin:
            self._silence(begin)
            self._sound(heard.samples[begin - heard.first : end - heard.first])

    def _silence(self, until: int) -> None:
        """Up to this sample of the recording."""
        missing = until - self._first - self._written
        if missing > 0:
            self._sound(np.zeros((missing, self._shape.channels), np.int16))

    def _sound(self, samples: NDArray[np.int16]) -> None:
        self._writer.sound(samples)
        self._written += len(samples)


def _upright(frame: VideoFrame, size: tuple[int, int]) -> VideoFrame:
    """The frame as a player shows it, at the size of the first one."""
    turns = round(frame.rotation / 90) % 4
    if turns:
        image = np.rot90(frame.to_ndarray(format="bgr24"), turns).astype(np.uint8, copy=False)
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
    if (frame.width, frame.height) != size:
        return frame.reformat(width=size[0], height=size[1], interpolation=Interpolation.AREA)
    return frame
