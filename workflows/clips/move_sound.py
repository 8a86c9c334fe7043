"""A copy of a recording whose sound comes earlier or later, and whose picture is untouched.

The picture's packets are copied as they are; the sound is decoded, moved by whole samples and
encoded again.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any, Final, cast

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from syncnet_python.errors import NoVideo, SyncNetError, Undecodable
from syncnet_python.placed_sound import PlacedSound
from syncnet_python.windows import DAY
from workflows.clips.sources import decoded, is_cover, opened, packets, sound_stream
from workflows.clips.writer import best_sample_rate, container_of, sound_codec

_BITS_PER_CHANNEL: Final = 128_000
_USUAL_LAYOUTS: Final = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


class NotWritable(SyncNetError):
    """The copy's container does not take what the recording holds."""

    code = "container"
    advice = "Give --output the recording's own ending, or .mkv, which takes nearly everything."


def move_sound(source: Path, target: Path, by_s: Fraction) -> tuple[str, ...]:
    """Write the copy, whole or not at all, and return what of the source is not in it: all but the
    picture and the sound that are measured.

    by_s: > 0, the sound comes later; a whole number of samples. What it moves away from is silent,
    and what it moves beyond the old sound's beginning or end is left out, so that it lasts as long
    as before. target: one of `clips.SUFFIXES`, AVI only for AVI, which keeps no times.
    Raises ValueError, OSError, NotWritable, and what reading raises: NoVideo, NoAudio, NotAVideo,
    Undecodable, TooLong.
    """
    form, kind = container_of(target), source.suffix.lower()
    if form == "avi" and kind != ".avi":
        raise NotWritable("an AVI file keeps no times, so picture and sound could move")
    partial = target.with_name(f".{target.name}.partial")
    try:
        with opened(source) as inside, partial.open("wb") as file:
            moved = [s for s in inside.streams.video if not is_cover(s)][:1]
            if not moved:
                raise NoVideo("the recording has no picture")
            copy = _Copy(inside, moved[0], target, by_s)
            options = {"max_interleave_delta": "0"}  # both streams side by side, however far apart
            try:
                with av.open(file, "w", format=form, container_options=options) as outside:
                    copy.write(outside)
            except av.error.FFmpegError as error:  # what reading raises, `packets` takes in
                raise NotWritable(f"the copy cannot be written: {error.strerror}") from error
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return copy.left_out


class _Copy:
    """What is copied. left_out: the streams that are not, in words."""

    def __init__(
        self, inside: InputContainer, picture: VideoStream, target: Path, by_s: Fraction
    ) -> None:
        self._inside, self._picture, self._sound = inside, picture, sound_stream(inside)
        kept = {picture.index, self._sound.index}
        self.left_out = tuple(
            f"{stream.type} {stream.index}" for stream in inside.streams if stream.index not in kept
        )
        here = self._sound.codec_context
        self._codec = sound_codec(target)
        lossless = here.name.startswith("pcm_") and target.suffix.lower() in (
            ".avi",
            ".mov",
            ".mkv",
        )
        if lossless:
            self._codec = here.name
        rate = here.sample_rate if lossless else best_sample_rate(target, here.sample_rate)
        self._track = PlacedSound(rate, _layout(here.layout), "flt", longest_s=DAY.duration_s)
        samples = by_s * rate
        if samples.denominator != 1:
            raise ValueError(f"{float(by_s):g} s are no whole samples at {rate} a second")
        self._shift = _Shift(self._track, int(samples))

    def write(self, outside: OutputContainer) -> None:
        try:
            outside.metadata.update(self._inside.metadata)
            picture = outside.add_stream_from_template(self._picture)
            sound = self._add_sound(outside)
            outside.start_encoding()
        except (av.error.FFmpegError, ValueError) as error:
            what = f"{self._picture.codec_context.name} and {self._codec}"
            raise NotWritable(f"a {outside.format.name} file does not take {what}") from error
        count, times = 0, _DecodingTimes()
        for packet in packets(self._inside, self._picture, self._sound):
            if packet.stream.index == self._picture.index:
                for timed in times.add(packet):
                    timed.stream = picture
                    outside.mux(timed)
                continue
            for frame in decoded(packet):
                if isinstance(frame, AudioFrame):
                    count += self._encode(outside, sound, self._track.add(frame), count)
        if self._track.start is None:
            raise Undecodable("nothing of the sound can be decoded")
        count += self._encode(outside, sound, self._track.finish(), count)
        self._put(outside, sound, self._shift.rest(), count)
        outside.mux(sound.encode(None))

    def _add_sound(self, outside: OutputContainer) -> AudioStream:
        stream = cast(
            AudioStream,
            outside.add_stream(self._codec, rate=self._track.rate, layout=self._track.layout),
        )
        if self._codec == "flac" and self._sound.codec_context.format.name.startswith("s32"):
            stream.codec_context.format = "s32"
        elif not self._codec.startswith(("pcm_", "flac")):
            stream.bit_rate = _BITS_PER_CHANNEL * self._track.channels
        return stream

    def _encode(
        self, outside: OutputContainer, stream: AudioStream, samples: NDArray[Any], first: int
    ) -> int:
        return self._put(outside, stream, self._shift.take(samples), first)

    def _put(
        self, outside: OutputContainer, stream: AudioStream, samples: NDArray[Any], first: int
    ) -> int:
        """Encode samples of which the first is number `first`, and return how many there are."""
        for begin in range(0, len(samples), self._track.rate):
            packed = np.ascontiguousarray(samples[begin : begin + self._track.rate])
            frame = AudioFrame.from_ndarray(
                packed.reshape(1, -1), format="flt", layout=self._track.layout
            )
            frame.sample_rate = self._track.rate
            start = round((self._track.start or 0.0) * self._track.rate)
            frame.pts, frame.time_base = start + first + begin, Fraction(1, self._track.rate)
            outside.mux(stream.encode(frame))
        return len(samples)


class _DecodingTimes:
    """Gives packets the decoding times that they lack. Matroska has none, and those of the first
    pictures, which later ones are needed for, do not follow from the others."""

    def __init__(self) -> None:
        self._waiting: list[Packet[Any]] = []
        self._last: int | None = None

    def add(self, packet: "Packet[Any]") -> "list[Packet[Any]]":
        """Packets whose times are known now, in order. The empty one at the end brings the rest."""
        if packet.size:
            self._waiting.append(packet)
        if packet.size and packet.dts is None:
            return []
        known, self._waiting = self._waiting, []
        missing = [waiting for waiting in known if waiting.dts is None]
        if missing:
            times = _between(self._last, packet.dts, len(missing), missing[0].duration or 1)
            for waiting, time in zip(missing, times, strict=True):
                waiting.dts = time
        if known:
            self._last = known[-1].dts
        return known


def _between(last: int | None, following: int | None, count: int, step: int) -> list[int]:
    """So many times, rising, that follow the last one and come before the following one."""
    if last is None:
        first = (following or 0) - count * step
    else:
        if following is not None:
            step = max(1, (following - last) // (count + 1))
        first = last + step
    return [first + number * step for number in range(count)]


class _Shift:
    """Moves sound within its own length. by: samples, > 0 later."""

    def __init__(self, track: PlacedSound, by: int) -> None:
        self._track = track
        self._late, self._early = max(0, by), max(0, -by)
        self._held = track.silence(self._late)
        self._dropped = 0

    def take(self, samples: NDArray[Any]) -> NDArray[Any]:
        """What is heard in the place of `samples`, or of those before."""
        if self._late:
            waiting = np.concatenate([self._held, samples])
            self._held = waiting[len(waiting) - self._late :]
            return waiting[: len(waiting) - self._late]
        dropped = min(self._early - self._dropped, len(samples))
        self._dropped += dropped
        return samples[dropped:]

    def rest(self) -> NDArray[Any]:
        """The silence at the end of sound that comes earlier."""
        return self._track.silence(self._dropped)


def _layout(layout: AudioLayout) -> str:
    """The layout's name; where channels are only counted, as in AVI, the usual one of so many."""
    if layout.name.endswith("channels"):
        return _USUAL_LAYOUTS.get(layout.nb_channels, "stereo")
    return layout.name
