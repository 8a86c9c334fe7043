"""What a file holds, measured: packets are counted, headers are not believed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from av.audio.codeccontext import AudioCodecContext
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from workflows.clips.sources import decoded, is_cover, opened, packets

Kind = Literal["picture", "sound"]


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One picture or sound. start_s: presentation time of the first frame; duration_s: from there
    to the end of the last; bit_rate: bits a second, of the packets. width, height: as stored;
    fps: the mean; rotation: counter-clockwise degrees that stand the pictures upright, a multiple
    of 90. None where it does not apply or cannot be told."""

    kind: Kind
    codec: str
    start_s: float | None
    duration_s: float | None
    bit_rate: int | None
    packets: int
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    rotation: int | None = None
    sample_rate: int | None = None
    channels: int | None = None


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """container: FFmpeg's name; duration_s: from the first frame of any stream to the end of the
    last, None of a file without pictures and sound; size_bytes: of the file."""

    container: str
    duration_s: float | None
    size_bytes: int
    streams: tuple[StreamInfo, ...]

    def first(self, kind: Kind) -> StreamInfo | None:
        """The stream of this kind that is measured."""
        return next((stream for stream in self.streams if stream.kind == kind), None)


def info(path: Path) -> MediaInfo:
    """Read all packets of a file and decode one frame of each stream.

    Raises OSError, NotAVideo, Undecodable.
    """
    with opened(path) as container:
        wanted = [s for s in (*container.streams.video, *container.streams.audio)
                  if not is_cover(s)]  # fmt: skip
        counts = {stream.index: _Count(stream) for stream in wanted}
        for packet in packets(container, *wanted):
            counts[packet.stream.index].add(packet)
        for count in counts.values():
            count.finish()
        measured = [count for count in counts.values() if count.timed]
        first = min((count.start for count in measured), default=0.0)
        last = max((count.end for count in measured), default=0.0)
        return MediaInfo(
            container=container.format.name,
            duration_s=round(last - first, 6) if measured else None,
            size_bytes=path.stat().st_size,
            streams=tuple(counts[index].described() for index in sorted(counts)),
        )


class _Count:
    """Counts the packets of a stream. start, end: seconds, of use once `timed`."""

    def __init__(self, stream: Stream) -> None:
        self.start = self.end = 0.0
        self._stream = stream
        self._rotation = 0
        self._begun = False  # whether the first frame has been decoded: only it tells the start
        self._packets = self._bytes = 0
        self._times: list[float] = []  # of the earliest and the latest packet
        self._until = 0.0

    @property
    def timed(self) -> bool:
        return self._begun and bool(self._times)

    def add(self, packet: "Packet[Any]") -> None:
        if not packet.size:
            return
        self._packets += 1
        self._bytes += packet.size
        if not self._begun:
            self._begin(packet)
        if packet.pts is not None and packet.time_base is not None:
            time = float(packet.pts * packet.time_base)
            self._times = [min([time, *self._times]), max([time, *self._times])]
            self._until = max(self._until, time + float((packet.duration or 0) * packet.time_base))

    def _begin(self, packet: "Packet[Any]") -> None:
        for frame in decoded(packet)[:1]:  # none of a damaged one, or of a codec not read here
            if frame.time is not None:
                self.start, self._begun = frame.time, True
            if isinstance(frame, VideoFrame):
                self._rotation = round(frame.rotation / 90) % 4 * 90

    def finish(self) -> None:
        if self._times:
            shown = 1 / self._fps if self._stream.type == "video" and self._fps else 0.0
            self.end = max(self._until, self._times[-1] + shown)

    @property
    def _fps(self) -> float | None:
        span = self._times[-1] - self._times[0] if self._times else 0.0
        return (self._packets - 1) / span if span > 0 else None

    def described(self) -> StreamInfo:
        codec = self._stream.codec_context
        lasts = self.end - self.start if self.timed else 0.0
        common = StreamInfo(
            kind="picture" if self._stream.type == "video" else "sound",
            codec=codec.name if codec else "unknown",
            start_s=round(self.start, 6) if self.timed else None,
            duration_s=round(lasts, 6) if self.timed else None,
            bit_rate=round(8 * self._bytes / lasts) if lasts > 0 else None,
            packets=self._packets,
        )
        if isinstance(codec, VideoCodecContext):
            return replace(
                common,
                width=codec.width,
                height=codec.height,
                fps=round(self._fps, 3) if self._fps else None,
                rotation=self._rotation,
            )
        if isinstance(codec, AudioCodecContext):
            return replace(common, sample_rate=codec.sample_rate, channels=codec.layout.nb_channels)
        return common
