"""Sound placed by its timestamps: silence where they leave a gap, nothing twice where they go back.

Files that were joined without new timestamps go back at the join, streams that stalled leave gaps,
and either moves all later sound against the picture unless it is placed anew.
"""

from collections.abc import Iterable
from math import inf
from typing import Any, Final, Literal

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from syncnet_python.errors import TooLong, Undecodable

TOLERANCE_S: Final = 0.05
"""Sound whose timestamp is no further than this from the end of what is there follows on: so far
rounding and a recorder's hesitation carry timestamps, and what is moved is heard to be."""

_SPARE_S: Final = 1.0  # by which sound may be longer than it may be


class PlacedSound:
    """A stream of sound, frame by frame, as samples that follow each other. Every sample lies
    within `TOLERANCE_S` of its timestamp, and exactly there after a gap or an overlap.

    Of frames that lie before the end of what is there only the rest is taken, however far back
    they lie, as `clocks.FrameClock` takes no such pictures: where a second file begins anew at 0,
    both streams go on at one moment. A timestamp that is missing or does not advance says nothing,
    and its frame follows the one before; only the first that goes back is believed. At their own
    rate samples are not resampled.

    rate: samples a second; layout: FFmpeg's name for the channels; form: of a sample, "s16" int16
    or "flt" float32 in ±1; longest_s: seconds from the first sample on.
    start: presentation time of the first sample in seconds, None before there is one.
    """

    def __init__(
        self,
        rate: int,
        layout: str,
        form: Literal["s16", "flt"] = "s16",
        *,
        longest_s: float = inf,
    ) -> None:
        self.rate, self.layout, self.form = rate, layout, form
        self.channels = AudioLayout(layout).nb_channels
        self.start: float | None = None
        self._longest_s = longest_s
        self._type = np.int16 if form == "s16" else np.float32
        self._resampler = self._fresh()
        self._seen: tuple[str, str, int] | None = None
        self._count = 0  # samples that have been handed out
        self._surplus = 0  # samples that come next and are left out
        self._moved = False  # the next frame that is taken goes to its exact place
        self._end = 0.0  # presentation time at which what is there ends
        self._due = 0.0  # the same of the last frame, taken or not
        self._stamp: float | None = None
        self._advancing = True

    def add(self, frame: AudioFrame) -> NDArray[Any]:
        """Samples that have become known, (n, channels). Raises TooLong, Undecodable."""
        if frame.sample_rate <= 0:
            raise Undecodable("the sound has no sample rate")
        if not frame.samples:
            return self.silence(0)
        lasts = frame.samples / frame.sample_rate
        begin = self._time_of(frame)
        self._due = begin + lasts
        if self.start is None:
            self.start = self._end = begin
        overlap = self._end - begin
        if abs(overlap) > TOLERANCE_S:
            self._moved = True
        if self._moved and overlap >= lasts:
            return self.silence(0)
        pieces: list[NDArray[Any]] = []
        if self._moved:
            self._check(begin)
            pieces += self._finished()
            pieces.append(self._up_to(begin))
            self._end, self._moved = begin, False
        self._end += lasts
        self._check(self._end)
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._seen not in (None, form):  # a stream may change its channels or rate midway
            pieces += self._finished()
        self._seen = form
        pieces += self._taken(self._resampler.resample(frame))
        return np.concatenate([self.silence(0), *pieces])

    def finish(self) -> NDArray[Any]:
        """The samples that were still in the resampler, (n, channels)."""
        return np.concatenate([self.silence(0), *(self._finished() if self._seen else ())])

    def silence(self, length: int) -> NDArray[Any]:
        return np.zeros((length, self.channels), self._type)

    def _time_of(self, frame: AudioFrame) -> float:
        stamp, before = frame.time, self._stamp
        if stamp is None:
            return self._due
        self._stamp = stamp
        if before is None or stamp > before:
            self._advancing = True
            return stamp
        believed = stamp < before and self._advancing
        self._advancing = False
        return stamp if believed else self._due

    def _up_to(self, time: float) -> NDArray[Any]:
        """Silence until then; where more is there already, so much of what comes is left out."""
        missing = round((time - (self.start or 0.0)) * self.rate) - self._count
        self._surplus = max(0, -missing)
        self._count += max(0, missing)
        return self.silence(max(0, missing))

    def _check(self, time: float) -> None:
        if time - (self.start or 0.0) > self._longest_s + _SPARE_S:
            raise TooLong(f"the sound is longer than {self._longest_s:g} seconds")

    def _finished(self) -> list[NDArray[Any]]:
        rest = self._taken(self._resampler.resample(None)) if self._seen else []
        self._resampler = self._fresh()
        return rest

    def _fresh(self) -> AudioResampler:
        return AudioResampler(format=self.form, layout=self.layout, rate=self.rate)

    def _taken(self, frames: Iterable[AudioFrame]) -> list[NDArray[Any]]:
        found = []
        for frame in frames:
            samples = frame.to_ndarray().reshape(-1, self.channels)
            left_out = min(self._surplus, len(samples))
            self._surplus -= left_out
            self._count += len(samples) - left_out
            found.append(samples[left_out:])
        return found
