"""The newest segments of a stream -> windows of so many seconds, one every so many.

Segments of one recording stand one behind the other in one file, which is decoded whole when a
window is complete, and cut. So every window is decoded as a recording is, across the seams of its
segments too, and only as much is held as one window and one segment need.
"""

import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from syncnet_python import media
from syncnet_python.errors import RecordingError
from syncnet_python.limits import Limits
from syncnet_python.media import Recording
from syncnet_python.results import FRAME_RATE, SAMPLES_PER_FRAME
from workflows.stream.arrivals import Arrived, Lost

_LATE_S = 0.25
"""How much earlier than its playlist says a segment may end: sound and picture do not end together,
and the window that ends with the segment is not to wait for the next one."""

_JUMP_S = 0.5
"""A difference between the segments' own clock and the playlist's that is no rounding any more."""

_SHORTEST_S = 2.0
_SLACK_S = 5.0
_MOST_HELD_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """A window's share of the stream. start_s, end_s: seconds of the stream's clock; recording:
    it, or why it cannot be decoded; missing_s: seconds of it whose segments are lost; arrived_s:
    of the newest segment in it, as `Arrived.arrived_s`."""

    start_s: float
    end_s: float
    recording: Recording | RecordingError
    missing_s: float
    arrived_s: float


@dataclass(frozen=True, slots=True)
class _Held:
    """A segment, and where it begins on the stream's clock."""

    start_s: float
    segment: Arrived


class StreamWindows:
    """Fed with what arrives, gives the windows that are complete by then.

    The stream's clock goes by the segments' own times within one recording, and by the playlist's
    durations from one to the next. read: decodes, as `media.read` does; kept_pixels: as in
    `Limits`. Close it, or use it in a `with` block: it has a temporary folder.
    """

    def __init__(
        self, window_s: float, stride_s: float, read: media.Read, kept_pixels: int | None
    ) -> None:
        self._window_s, self._stride_s = window_s, stride_s
        self._read = read
        self._kept_pixels = kept_pixels
        self._folder = tempfile.TemporaryDirectory(prefix="stream-")
        self._held: deque[_Held] = deque()
        self._lost: deque[tuple[float, float]] = deque()  # from, to, on the stream's clock
        self._zero: float | None = None  # the segments' time at which the stream's clock is 0
        self._end_s = 0.0
        self._due_s = window_s
        self._told_s = 0.0  # up to here, everything was in a window

    def __enter__(self) -> "StreamWindows":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._folder.cleanup()

    @property
    def end_s(self) -> float:
        """Where the stream's clock stands: the end of what has come, or was lost."""
        return self._end_s

    def begins_anew(self, arrived: Arrived) -> bool:
        """Whether this segment belongs to another recording than those before it. `finish` is to
        be called then, and `restart`, before it is added."""
        init = self._held[-1].segment.loaded.init if self._held else arrived.loaded.init
        return (arrived.discontinuity or init != arrived.loaded.init) and self._end_s > 0

    def add(self, arrived: Arrived) -> Iterator[Part]:
        """The windows that are complete with this segment."""
        self._held.append(_Held(self._end_s, arrived))
        self._end_s += arrived.duration_s
        while self._bytes() > _MOST_HELD_BYTES and len(self._held) > 1:
            self._held.popleft()
        if self._end_s < self._due_s - _LATE_S - _JUMP_S:
            return
        said_s, recording = self._end_s, self._decoded()
        early = 0 < said_s - self._end_s <= _LATE_S
        reach_s = (said_s if early else self._end_s) + 0.5 / FRAME_RATE
        while self._due_s <= reach_s:
            yield self._part(recording, min(self._due_s, self._end_s))
            self._due_s += self._stride_s
        self._forget()

    def lose(self, lost: Lost) -> None:
        """Segments that do not come."""
        self._lost.append((self._end_s, self._end_s + lost.duration_s))
        self._end_s += lost.duration_s

    def hole(self) -> bool:
        """Whether so much was lost, by now, that what comes is better seen by itself."""
        return sum(end - start for start, end in self._lost) > self._window_s / 2

    def finish(self) -> Iterator[Part]:
        """The window that ends with the last segment, where none did yet: a shorter one where
        there is no more."""
        if not self._held:
            return
        start_s = max(self._held[0].start_s, self._told_s)
        if self._end_s - start_s < _LATE_S or self._end_s - self._held[0].start_s < _SHORTEST_S:
            return
        yield self._part(self._decoded(), self._end_s)

    def restart(self) -> None:
        """What comes is another recording."""
        self._held.clear()
        self._lost.clear()
        self._zero = None
        self._due_s = self._end_s + self._window_s
        self._told_s = self._end_s

    def _decoded(self) -> Recording | RecordingError:
        """All that is held; its times are on the stream's clock, which it sets."""
        held = self._held
        path = Path(self._folder.name) / "segments"
        with path.open("wb") as file:
            file.write(held[0].segment.loaded.init)
            for one in held:
                file.write(one.segment.loaded.data)
        limits = Limits(
            duration_s=self._end_s - held[0].start_s + _SLACK_S, kept_pixels=self._kept_pixels
        )
        try:
            recording = self._read(path, limits)
        except RecordingError as error:
            return error
        first = float(recording.times[0])
        if self._zero is None or abs(first - self._zero - held[0].start_s) > _JUMP_S:
            self._zero = first - held[0].start_s
        recording = replace(recording, times=recording.times - self._zero)
        end_s = float(recording.times[-1]) + 1 / FRAME_RATE
        if abs(end_s - self._end_s) <= 2 * _JUMP_S:  # else its last segment is damaged
            self._end_s = end_s
        return recording

    def _part(self, recording: Recording | RecordingError, end_s: float) -> Part:
        start_s = max(end_s - self._window_s, self._held[0].start_s)
        missing_s = sum(
            max(0.0, min(end, end_s) - max(start, start_s)) for start, end in self._lost
        )
        self._told_s = end_s
        arrived_s = self._held[-1].segment.arrived_s
        if isinstance(recording, Recording):
            cut = cut_between(recording, start_s, end_s)
            start_s, end_s = float(cut.times[0]), float(cut.times[-1]) + 1 / FRAME_RATE
            return Part(start_s, end_s, cut, missing_s, arrived_s)
        return Part(start_s, end_s, recording, missing_s, arrived_s)

    def _forget(self) -> None:
        """Let go of what no later window needs. A segment more is held, because its sound begins
        a moment before or after its picture."""
        needed_s = self._due_s - self._window_s - _LATE_S
        while len(self._held) > 1 and self._held[1].start_s <= needed_s:
            self._held.popleft()
        while self._lost and self._lost[0][1] <= needed_s:
            self._lost.popleft()

    def _bytes(self) -> int:
        return sum(len(one.segment.loaded.data) for one in self._held)


def cut_between(recording: Recording, start_s: float, end_s: float) -> Recording:
    """The part from one time to another, seconds of the recording's `times`, to the nearest frame;
    at least one frame, and no more than there is."""
    begin = float(recording.times[0])
    end = int(np.clip(round((end_s - begin) * FRAME_RATE), 1, len(recording.frames)))
    first = int(np.clip(end - round((end_s - start_s) * FRAME_RATE), 0, end - 1))
    info = replace(
        recording.info,
        duration_s=round((end - first) / FRAME_RATE, 3),
        frames_used=end - first,
    )
    return replace(
        recording,
        frames=recording.frames[first:end],
        audio=recording.audio[first * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME],
        times=recording.times[first:end],
        info=info,
    )
