"""Pictures and samples into a file: the containers and codecs that are written."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

CodecNames = Literal[
    "auto", "h264+aac", "h264+flac", "h264+pcm", "mpeg4+pcm", "mjpeg+pcm", "vp9+opus"
]


@dataclass(frozen=True, slots=True)
class _Codecs:
    """By FFmpeg's names. pixels: the format that the encoder is given."""

    video: str
    audio: str
    options: dict[str, str] = field(default_factory=dict)
    pixels: str = "yuv420p"


_X264: Final = {"preset": "veryfast", "crf": "18"}
_CODECS: Final[dict[CodecNames, _Codecs]] = {
    "h264+aac": _Codecs("libx264", "aac", _X264),
    "h264+flac": _Codecs("libx264", "flac", _X264),
    "h264+pcm": _Codecs("libx264", "pcm_s16le", _X264),
    "mpeg4+pcm": _Codecs("mpeg4", "pcm_s16le", {"qmin": "2", "qmax": "4"}),
    "mjpeg+pcm": _Codecs("mjpeg", "pcm_s16le", {"qmin": "2", "qmax": "3"}, "yuvj420p"),
    "vp9+opus": _Codecs(
        "libvpx-vp9", "libopus", {"deadline": "realtime", "cpu-used": "7", "crf": "24"}
    ),
}
_CONTAINERS: Final[dict[str, tuple[str, tuple[CodecNames, ...]]]] = {
    ".mp4": ("mp4", ("h264+aac",)),
    ".mov": ("mov", ("h264+aac", "h264+pcm")),
    ".mkv": ("matroska", ("h264+flac", "h264+aac", "h264+pcm", "vp9+opus")),
    ".webm": ("webm", ("vp9+opus",)),
    ".avi": ("avi", ("mpeg4+pcm", "mjpeg+pcm")),
}
SUFFIXES: Final = tuple(_CONTAINERS)
"""Of the files that can be written; the first codecs of each are those of "auto"."""

_RATES: Final = {
    "aac": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000),
    "libopus": (8000, 12000, 16000, 24000, 48000),
}
_CLOCK: Final = 90_000  # ticks a second: whole ones for all usual frame rates
_BITS_PER_CHANNEL: Final = 96_000
_EPSILON: Final = 1e-6
_SOUND_CHUNK_S: Final = Fraction(1, 25)


def container_of(path: Path) -> str:
    """FFmpeg's name of the container that a file's suffix stands for. Raises ValueError."""
    if path.suffix.lower() not in _CONTAINERS:
        raise ValueError(f"{path.name} must end in one of {', '.join(SUFFIXES)}")
    return _CONTAINERS[path.suffix.lower()][0]


def sound_codec(path: Path, codecs: CodecNames = "auto") -> str:
    """FFmpeg's name of the codec that a file's sound is written in. Raises ValueError."""
    return _chosen(path, codecs).audio


def best_sample_rate(path: Path, rate: int, codecs: CodecNames = "auto") -> int:
    """The nearest rate, not below `rate` where there is one, that the file's sound codec holds."""
    rates = _RATES.get(_chosen(path, codecs).audio, (rate,))
    return min((r for r in rates if r >= rate), default=max(rates))


def _chosen(path: Path, codecs: CodecNames) -> _Codecs:
    """Raises ValueError where the container cannot hold these codecs, or is not known."""
    container_of(path)
    _, possible = _CONTAINERS[path.suffix.lower()]
    name = possible[0] if codecs == "auto" else codecs
    if name not in possible:
        raise ValueError(f"a {path.suffix} file cannot hold {codecs}")
    return _CODECS[name]


class ClipWriter:
    """Writes a recording within a `with` block, and whole: it lies under another name beside
    `path` until the block ends, and is removed where that ends in an error.

    size: width and height of the pictures; the last column or row goes where it is odd, because
    chroma is halved. rate: pictures a second, nominal, as times may vary; except in AVI, whose
    pictures are only counted: there each is shown from the nearest multiple of 1 / rate that is
    free, and left out where that is a whole picture away. sample_rate: one that the codec holds
    (`best_sample_rate`), or None for no sound. channels: 1 or 2. codecs: the first that `path`'s
    suffix knows; see `SUFFIXES`.
    Feed pictures and sound side by side: what one is ahead of the other waits in memory.
    Raises ValueError for what does not fit together, OSError.
    """

    def __init__(
        self,
        path: Path,
        *,
        size: tuple[int, int],
        rate: Fraction = Fraction(25),
        sample_rate: int | None = 16_000,
        channels: int = 1,
        codecs: CodecNames = "auto",
    ) -> None:
        self._codecs = _chosen(path, codecs)
        width, height = size
        if min(width, height) < 2:
            raise ValueError("pictures are at least two pixels wide and high")
        if channels not in (1, 2):
            raise ValueError("sound has one channel or two")
        if sample_rate not in (*_RATES.get(self._codecs.audio, (sample_rate,)), None):
            raise ValueError(f"{self._codecs.audio} cannot hold {sample_rate} samples a second")
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._size = (width // 2 * 2, height // 2 * 2)
        self._rate, self._sample_rate, self._channels = rate, sample_rate, channels
        self._samples = 0
        self._last = -1  # the last picture's time, in ticks

    def __enter__(self) -> Self:
        form = _CONTAINERS[self._path.suffix.lower()][0]
        self._file = self._partial.open("wb")
        try:
            self._container: OutputContainer = av.open(
                self._file,
                "w",
                format=form,
                # wait for both streams however far they are apart, so that they lie side by side
                container_options={"max_interleave_delta": "0"},
            )
            self._video = self._add_video(counted=form == "avi")
            self._audio = self._add_audio() if self._sample_rate else None
        except BaseException:
            self._file.close()
            self._partial.unlink()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                if self._last < 0:
                    raise ValueError("a recording has at least one picture")
                self._container.mux(self._video.encode(None))
                if self._audio:
                    self._container.mux(self._audio.encode(None))
                self._container.close()
                self._file.close()
                self._partial.replace(self._path)
        finally:
            if not self._file.closed:
                self._container.close()
                self._file.close()
            self._partial.unlink(missing_ok=True)

    def picture(self, image: NDArray[np.uint8], time_s: float) -> None:
        """Show `image`, (height, width, 3) uint8 BGR, from `time_s` on, seconds from 0; later than
        the one before."""
        self.frame(VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24"), time_s)

    def frame(self, frame: VideoFrame, time_s: float) -> None:
        """As `picture`, of a decoded frame of any format, which keeps its colours."""
        width, height = self._size
        if (frame.width // 2 * 2, frame.height // 2 * 2) != self._size:
            raise ValueError(f"a picture of {frame.width}x{frame.height} is not {width}x{height}")
        ticks = round(time_s / self._base)
        if ticks <= self._last:
            if not self._counted:
                raise ValueError(f"a picture at {time_s:g} s is not later than the one before")
            ticks = self._last + 1
            if ticks - time_s / self._base >= 1 - _EPSILON:
                return
        fitting = frame.reformat(format=self._codecs.pixels)
        if (frame.width, frame.height) != self._size:
            fitting = _trimmed(fitting, self._size, self._codecs.pixels)
        fitting.pts, fitting.time_base = ticks, self._base
        fitting.pict_type = 0  # the encoder's own choice, not what the frame was in its own file
        self._container.mux(self._video.encode(fitting))
        self._last = ticks

    def sound(self, samples: NDArray[np.int16]) -> None:
        """What is heard next, from time 0 on: (n,) or (n, channels) int16."""
        if self._audio is None or self._sample_rate is None:
            raise ValueError("this recording has no sound")
        columns = samples.reshape(-1, 1) if samples.ndim == 1 else samples
        if columns.shape[1] != self._channels or columns.dtype != np.int16:
            raise ValueError(f"samples are int16, in {self._channels} columns")
        length = int(self._sample_rate * _SOUND_CHUNK_S)
        for begin in range(0, len(columns), length):
            packed = np.ascontiguousarray(columns[begin : begin + length]).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=self._layout)
            frame.sample_rate = self._sample_rate
            frame.pts, frame.time_base = self._samples, Fraction(1, self._sample_rate)
            self._container.mux(self._audio.encode(frame))
            self._samples += frame.samples

    @property
    def _layout(self) -> str:
        return "mono" if self._channels == 1 else "stereo"

    def _add_video(self, *, counted: bool) -> VideoStream:
        stream = cast(
            VideoStream,
            self._container.add_stream(
                self._codecs.video, rate=self._rate, options=self._codecs.options
            ),
        )
        stream.width, stream.height = self._size
        stream.pix_fmt = self._codecs.pixels
        stream.bit_rate = 0 if self._codecs.video.startswith("libvpx") else 8_000_000
        self._counted = counted
        self._base = 1 / self._rate if counted else Fraction(1, _CLOCK)
        stream.codec_context.time_base = self._base
        return stream

    def _add_audio(self) -> AudioStream:
        codec = self._codecs.audio
        stream = cast(
            AudioStream,
            self._container.add_stream(codec, rate=self._sample_rate, layout=self._layout),
        )
        if not codec.startswith("pcm"):
            stream.bit_rate = _BITS_PER_CHANNEL * self._channels
        return stream


def _trimmed(frame: VideoFrame, size: tuple[int, int], pixels: str) -> VideoFrame:
    """Less the last column or row."""
    width, height = size
    image = frame.to_ndarray(format="bgr24")[:height, :width].astype(np.uint8, copy=False)
    trimmed = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
    return trimmed.reformat(format=pixels)
