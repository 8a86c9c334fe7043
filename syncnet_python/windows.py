"""A long recording, window by window: decoded once, in memory that does not grow with it.

Pictures wait in a temporary file as large as one window (`TMPDIR` says where), from which they are
read when they are looked at.
"""

import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from syncnet_python import media
from syncnet_python.clocks import FrameClock, SoundClock
from syncnet_python.errors import Undecodable
from syncnet_python.frames import Frames, Kept
from syncnet_python.limits import Limits
from syncnet_python.media import Recording
from syncnet_python.results import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME, VideoInfo

DAY = Limits(duration_s=24 * 3600.0)
"""For the operator's own files: a day, of whatever size."""

_SLACK_S = 5.0
"""How much later in the file than the picture its sound may come."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a recording. It can be looked at until the one after the next is asked for.

    number: from 0; start_s: seconds from the recording's first picture; recording: the part, its
    `times` on the file's own clock; done: how much of the file has been read, 0-1.
    """

    number: int
    start_s: float
    recording: Recording
    done: float

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.recording.frames) / FRAME_RATE


def windows(path: Path, length_s: float, stride_s: float, limits: Limits = DAY) -> Iterator[Window]:
    """Parts of `length_s`, one every `stride_s`, in order; together they cover the recording, and
    the last may be shorter.

    They begin with the first picture; where its sound is not there, the part is silent. stride_s:
    at most length_s. limits: as for `media.decode`, of the whole recording; `kept_bytes` plays no
    part. Raises what `media.decode` does, in the middle where the file is damaged there.
    """
    if not 0 < stride_s <= length_s:
        raise ValueError("windows follow each other without gaps")
    length, stride = round(length_s * FRAME_RATE), max(1, round(stride_s * FRAME_RATE))
    slack = round(_SLACK_S * FRAME_RATE)
    ring = _Ring(length + stride + slack)
    limits = replace(limits, kept_bytes=1 << 62)
    size = path.stat().st_size
    with (
        path.open("rb") as file,
        media.opened(file, limits, needs_audio=True) as source,
    ):
        picture, sound = FrameClock(limits, ring.append), _Sound(limits)

        def window(number: int, end: int) -> Window:
            first = number * stride
            part = _part(picture, sound, ring, first, end, source.codec)
            return Window(number, first / FRAME_RATE, part, min(1.0, file.tell() / max(1, size)))

        number = 0
        for frame in source.frames:
            if isinstance(frame, VideoFrame):
                picture.add(frame)
            else:
                sound.add(frame)
            end = number * stride + length
            while len(picture.steps) >= end and (
                sound.reaches(picture.start, end) or len(picture.steps) >= end + slack
            ):
                yield window(number, end)
                number, end = number + 1, end + stride
                sound.forget(picture.start, number * stride)
        picture.finish()
        sound.finish()
        if not picture.steps:
            raise Undecodable("no frame of the picture can be decoded")
        if not sound.begun:
            raise Undecodable("nothing of the sound can be decoded")
        last = min(len(picture.steps), sound.steps(picture.start))
        if not last:
            raise Undecodable("picture and sound have no time in common")
        while number * stride < last and (number == 0 or number * stride + length - stride < last):
            yield window(number, min(number * stride + length, last))
            number += 1


def _part(
    picture: FrameClock, sound: "_Sound", ring: "_Ring", first: int, end: int, codec: str
) -> Recording:
    width, height = picture.shape
    return Recording(
        frames=Frames(
            Kept(ring, picture.looks, picture.size, picture.steps[first:end]), picture.turns
        ),
        audio=sound.between(picture.start, first, end),
        times=picture.start + np.arange(first, end) / FRAME_RATE,
        info=VideoInfo(
            duration_s=round((end - first) / FRAME_RATE, 3),
            width=width,
            height=height,
            fps=round(picture.rate, 3),
            codec=codec,
            frames_used=end - first,
        ),
        scale=picture.scale,
    )


class _Sound:
    """The sound that has not been forgotten. Steps are those of the picture, 1/25 s each."""

    def __init__(self, limits: Limits) -> None:
        self._clock = SoundClock(limits)
        self._samples = np.zeros(0, np.int16)
        self._forgotten = 0  # samples
        self.begun = False

    def add(self, frame: AudioFrame) -> None:
        self._clock.add(frame)
        self.begun = True

    def finish(self) -> None:
        self._clock.finish()

    def reaches(self, start: float, end: int) -> bool:
        """Whether all sound before step `end` is there. start: time of the first picture."""
        there = self._forgotten + len(self._taken_in())
        return self.begun and self._position(start, end) <= there

    def steps(self, start: float) -> int:
        """How many steps have at least a sample."""
        samples = self._forgotten + len(self._taken_in()) - self._position(start, 0)
        return max(0, -(-samples // SAMPLES_PER_FRAME))

    def between(self, start: float, first: int, end: int) -> NDArray[np.int16]:
        """Samples of these steps, nought where there are none."""
        found = np.zeros((end - first) * SAMPLES_PER_FRAME, np.int16)
        if self.begun:
            begin, samples = self._position(start, first) - self._forgotten, self._taken_in()
            there = samples[max(0, begin) : max(0, begin + len(found))]
            late = min(max(0, -begin), len(found))
            found[late : late + len(there)] = there
        return found

    def forget(self, start: float, step: int) -> None:
        """What lies before this step is needed no more."""
        over = self._position(start, step) - self._forgotten
        if self.begun and over > 0:
            samples = self._taken_in()
            self._forgotten += min(over, len(samples))
            self._samples = samples[over:].copy()

    def _position(self, start: float, step: int) -> int:
        return round((start - self._clock.start) * SAMPLE_RATE) + step * SAMPLES_PER_FRAME

    def _taken_in(self) -> NDArray[np.int16]:
        if self._clock.samples:
            self._samples = np.concatenate([self._samples, *self._clock.samples])
            self._clock.samples.clear()
        return self._samples


class _Ring(Sequence[bytes]):
    """The last pictures, in a file that has room for so many; all are of one size."""

    def __init__(self, room: int) -> None:
        with tempfile.TemporaryFile() as file:
            self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)  # when nobody reads it any more
        self._room = room
        self._number = 0
        self._bytes = 0

    def append(self, picture: bytes) -> None:
        self._bytes = len(picture)
        os.pwrite(self._file, picture, self._number % self._room * self._bytes)
        self._number += 1

    def __len__(self) -> int:
        return self._number

    @overload
    def __getitem__(self, number: int) -> bytes: ...
    @overload
    def __getitem__(self, number: slice) -> list[bytes]: ...
    def __getitem__(self, number: int | slice) -> bytes | list[bytes]:
        if isinstance(number, slice):
            return [self[n] for n in range(self._number)[number]]
        if not self._number - self._room <= number < self._number:
            raise LookupError("the window that this picture belongs to is over")
        return os.pread(self._file, self._bytes, number % self._room * self._bytes)
