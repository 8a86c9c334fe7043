"""Pictures and sound on one clock: what is kept of each frame as it arrives, by its own time."""

from collections.abc import Callable

import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from syncnet_python.errors import (
    TooLargeFrame,
    TooLong,
    TooManyFrames,
    TooMuchSound,
    TooSmallFrame,
)
from syncnet_python.frames import KEPT_FORMATS, Look, pack
from syncnet_python.limits import Limits
from syncnet_python.placed_sound import PlacedSound
from syncnet_python.results import FRAME_RATE, SAMPLE_RATE

_EPSILON_S = 1e-6
_LONGEST_LAST_S = 1.0  # that a frame counts when none comes after it

Keep = Callable[[bytes], None]
"""Takes every picture that is kept, packed, in order."""


def check_size(width: int, height: int, limits: Limits) -> None:
    """Raises TooLargeFrame, TooSmallFrame."""
    if width * height > limits.frame_pixels:
        raise TooLargeFrame(f"frames of {width}x{height} pixels are more than this service takes")
    if min(width, height) < limits.frame_side:
        raise TooSmallFrame(f"no face can be found in frames of {width}x{height} pixels")


class FrameClock:
    """Picks, as frames arrive, the one nearest to each step of 1/25 s from the first frame on.

    looks: of every picture handed to `keep`; steps: which of them is shown at each step;
    size: stored width and height of all of them; shape: those of the recording as shown; turns:
    quarter turns counter-clockwise that stand them upright, by the first frame.
    """

    def __init__(self, limits: Limits, keep: Keep) -> None:
        self.looks: list[Look] = []
        self.steps: list[int] = []
        self.size = (0, 0)
        self.shape = (0, 0)
        self.turns = 0
        self.start = 0.0
        self._arrived = 0
        self._shown = 0  # frames that came later than the one before
        self._kept_bytes = 0
        self._limits = limits
        self._keep = keep
        self._last: tuple[float, VideoFrame] | None = None

    def add(self, frame: VideoFrame) -> None:
        """Raises TooLong, TooManyFrames, TooLargeFrame, TooSmallFrame."""
        check_size(frame.width, frame.height, self._limits)
        self._arrived += 1
        if self._arrived > self._limits.frames:
            raise TooManyFrames(f"the recording has more than {self._limits.frames:,} frames")
        if self._last is None:
            self.start = frame.time or 0.0
            self.turns = round(frame.rotation / 90) % 4
            upright = self.turns % 2 == 0
            self.shape = (frame.width, frame.height) if upright else (frame.height, frame.width)
            self._last = (self.start, frame)
            self._shown = 1
            return
        last_time, last = self._last
        time = last_time + self._interval() if frame.pts is None else frame.time
        if time <= last_time:
            return
        if time - self.start > self._limits.duration_s:
            raise TooLong(f"the picture is longer than {self._limits.duration_s:g} seconds")
        self._emit(last, until=(last_time + time) / 2)
        self._last = (time, frame)
        self._shown += 1

    def finish(self) -> None:
        if self._last is not None:
            self._emit(self._last[1], until=self.end - _EPSILON_S)

    @property
    def scale(self) -> float:
        """Pixels of a kept frame to one of the recording, along a side."""
        return self.size[self.turns % 2] / self.shape[0]

    @property
    def end(self) -> float:
        """When the last frame has been shown for as long as the others were on average."""
        shown = min(self._interval(), _LONGEST_LAST_S)
        return (self._last[0] if self._last else self.start) + shown

    @property
    def rate(self) -> float:
        return 1.0 / self._interval()

    def _interval(self) -> float:
        if self._last is None or self._shown < 2:
            return 1.0 / FRAME_RATE
        return (self._last[0] - self.start) / (self._shown - 1)

    def _emit(self, frame: VideoFrame, until: float) -> None:
        """Show the frame at every step before `until`; one that is shown nowhere is not kept."""
        stored = False
        while self.start + len(self.steps) / FRAME_RATE < until:
            if not stored:
                self._store(self._scaled(frame))
                stored = True
            self.steps.append(len(self.looks) - 1)

    def _store(self, frame: VideoFrame) -> None:
        picture, look = pack(frame)
        self._kept_bytes += len(picture)
        if self._kept_bytes > self._limits.pictures:
            raise TooLargeFrame(
                f"so many frames of {frame.width}x{frame.height} pixels are more than this "
                "service takes"
            )
        self._keep(picture)
        # One object for all that look alike: there may be a day of them.
        self.looks.append(self.looks[-1] if self.looks and look == self.looks[-1] else look)

    def _scaled(self, frame: VideoFrame) -> VideoFrame:
        """The frame at the size of the first one kept (a camera may change its size midway), and
        in a format whose memory is known."""
        if self.size == (0, 0):
            pixels, most = frame.width * frame.height, self._limits.kept_pixels
            self.size = (frame.width, frame.height)
            if most is not None and pixels > most:
                scale = (most / pixels) ** 0.5
                width, height = (max(2, round(s * scale / 2) * 2) for s in self.size)
                self.size = (width, height)
        width, height = self.size
        if (frame.width, frame.height) == (width, height) and frame.format.name in KEPT_FORMATS:
            return frame
        return frame.reformat(
            width=width, height=height, format="yuv420p", interpolation=Interpolation.AREA
        )


class SoundClock:
    """Collects the sound as 16 kHz mono, placed by its timestamps as `PlacedSound` says.

    samples: (any,) int16 each, in order; start: presentation time of the first, seconds.
    """

    def __init__(self, limits: Limits) -> None:
        self.samples: list[NDArray[np.int16]] = []
        self._limits = limits
        self._values = 0
        self._placed = PlacedSound(SAMPLE_RATE, "mono", longest_s=limits.duration_s)

    @property
    def start(self) -> float:
        return self._placed.start or 0.0

    def add(self, frame: AudioFrame) -> None:
        """Raises TooLong, TooMuchSound, Undecodable."""
        self._values += frame.samples * frame.layout.nb_channels
        if self._values > self._limits.sound:
            raise TooMuchSound(f"the sound has more than {self._limits.sound:,} values")
        self._keep(self._placed.add(frame))

    def finish(self) -> None:
        self._keep(self._placed.finish())

    def _keep(self, samples: NDArray[np.int16]) -> None:
        if len(samples):
            self.samples.append(samples[:, 0])
