"""An operator's recording as it lies in the file: its packets, and its sound without gaps.

`syncnet_python.media` brings every recording to 25 pictures and 16,000 mono samples a second; what
is written again, cut or moved keeps its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.frame import Frame
from av.packet import Packet
from av.stream import Disposition, Stream
from numpy.typing import NDArray

from syncnet_python import containers
from syncnet_python.errors import NoAudio, Undecodable
from syncnet_python.windows import DAY

# A gap in the sound shorter than this is timestamp rounding, as in `clocks.SoundClock`.
_GAP_S: Final = 0.05


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """The container of a file that `media.read` takes, whatever streams it holds.

    Raises OSError, NotAVideo, Undecodable; what the demuxer does while this lasts is Undecodable.
    """
    with path.open("rb") as file:
        try:
            with containers.opened(file, DAY.frame_pixels) as container:
                yield container
        except av.error.FFmpegError as error:
            raise Undecodable(f"the recording cannot be decoded: {error.strerror}") from error


def is_cover(stream: Stream) -> bool:
    """Whether this is a picture beside the recording, not the recording's."""
    return Disposition.attached_pic in stream.disposition


def sound_stream(container: InputContainer) -> AudioStream:
    """The sound that is measured. Raises NoAudio, Undecodable."""
    if not container.streams.audio:
        raise NoAudio("the recording has no sound")
    stream = container.streams.audio[0]
    if not containers.readable(stream.codec_context):
        raise Undecodable("the sound's codec is not one that this service reads")
    return stream


def packets(container: InputContainer, *streams: Stream) -> "Iterator[Packet[Any]]":
    """All packets of these streams in file order, and an empty one of each at the end; a file that
    ends early ends here."""
    found = container.demux(*streams) if streams else iter(())
    while True:
        try:
            packet = next(found, None)
        except av.error.FFmpegError:
            return
        if packet is None:
            return
        yield packet


def decoded(packet: "Packet[Any]") -> list[Frame]:
    """What a packet holds; of a damaged one nothing."""
    try:
        return [frame for frame in packet.decode() if isinstance(frame, Frame)]
    except av.error.FFmpegError:
        return []


class Sound:
    """A stream of sound, frame by frame, as samples that follow each other without gaps: silence
    where its timestamps leave one. At their own rate nothing is resampled.

    start: presentation time of the first sample in seconds, None before there is one.
    layout: FFmpeg's name for the channels; form: of a sample, "s16" int16 or "flt" float32 in ±1.
    """

    def __init__(self, rate: int, layout: str, form: Literal["s16", "flt"] = "s16") -> None:
        self.rate, self.layout, self.form = rate, layout, form
        self.channels = AudioLayout(layout).nb_channels
        self.start: float | None = None
        self._type = np.int16 if form == "s16" else np.float32
        self._heard_s = 0.0
        self._resampler = self._fresh()
        self._seen: tuple[str, str, int] | None = None

    def add(self, frame: AudioFrame) -> NDArray[Any]:
        """Samples that have become known, (n, channels). Raises Undecodable."""
        if frame.sample_rate <= 0:
            raise Undecodable("the sound has no sample rate")
        pieces: list[NDArray[Any]] = []
        if self.start is None:
            self.start = frame.time or 0.0
        elif frame.time is not None:
            gap = frame.time - self.start - self._heard_s
            if gap > _GAP_S:
                pieces += self._finished()
                pieces.append(self.silence(round(gap * self.rate)))
                self._heard_s += gap
        self._heard_s += frame.samples / frame.sample_rate
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._seen not in (None, form):  # a stream may change its channels or rate midway
            pieces += self._finished()
        self._seen = form
        pieces += map(self._samples, self._resampler.resample(frame))
        return np.concatenate([self.silence(0), *pieces])

    def finish(self) -> NDArray[Any]:
        """The samples that were still in the resampler, (n, channels)."""
        return np.concatenate([self.silence(0), *(self._finished() if self._seen else ())])

    def silence(self, length: int) -> NDArray[Any]:
        return np.zeros((length, self.channels), self._type)

    def _finished(self) -> list[NDArray[Any]]:
        rest = [self._samples(piece) for piece in self._resampler.resample(None)]
        self._resampler = self._fresh()
        return rest

    def _fresh(self) -> AudioResampler:
        return AudioResampler(format=self.form, layout=self.layout, rate=self.rate)

    def _samples(self, frame: AudioFrame) -> NDArray[Any]:
        return frame.to_ndarray().reshape(-1, self.channels)
