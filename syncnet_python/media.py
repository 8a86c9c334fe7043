"""Decode a recording once: frames at 25 a second, mono audio at 16 kHz, both on one clock.

Headers of browser recordings lie (no duration, variable frame rate, start offsets), so everything
here follows presentation timestamps. PyAV's errors are translated here and nowhere else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from syncnet_python.errors import (
    NoAudio,
    NotAVideo,
    NoVideo,
    TooLargeFrame,
    TooLong,
    Undecodable,
)
from syncnet_python.results import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME, VideoInfo

# A gap in the sound shorter than this is timestamp rounding; a longer one is real and is filled.
_GAP_S = 0.05
_EPSILON_S = 1e-6

_TS_PACKET = 188  # bytes; each begins with 0x47
_LONGEST_LAST_S = 1.0  # that a frame counts when none comes after it
_KEPT_FORMATS = {"yuv420p", "yuvj420p", "nv12"}  # 1.5 bytes a pixel


@dataclass(frozen=True, slots=True)
class Limits:
    """What a recording may hold.

    duration_s: seconds of picture or sound; frame_pixels: width x height of a frame as stored;
    kept_pixels: larger frames are scaled down to about this many pixels before they are kept
    (None keeps them as they are, which the published figures need).
    """

    duration_s: float = 30.0
    frame_pixels: int = 3840 * 2160
    kept_pixels: int | None = 640 * 480


class Frames(Sequence[NDArray[np.uint8]]):
    """Frames at 25 a second, kept at 1.5 bytes a pixel and converted when asked for."""

    def __init__(self, frames: Sequence[VideoFrame]) -> None:
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice) -> "Frames": ...
    def __getitem__(self, index: int | slice) -> "NDArray[np.uint8] | Frames":
        if isinstance(index, slice):
            return Frames(self._frames[index])
        return self.bgr(index)

    def bgr(self, index: int) -> NDArray[np.uint8]:
        """Frame `index` as shown (rotation applied): (height, width, 3) uint8 BGR."""
        frame = self._frames[index]
        image = frame.to_ndarray(format="bgr24")
        return np.ascontiguousarray(np.rot90(image, frame.rotation // 90)).astype(
            np.uint8, copy=False
        )


@dataclass(frozen=True, slots=True)
class Recording:
    """Picture and sound that start at the same instant.

    audio: (samples,) int16 mono at 16 kHz, empty where the file has none; times: (len(frames),)
    float64, presentation time of every frame in seconds of the file's own clock; scale: pixels of
    `frames` to one of the recording, along a side, 1 unless large frames were scaled down.
    """

    frames: Frames
    audio: NDArray[np.int16]
    times: NDArray[np.float64]
    info: VideoInfo
    scale: float = 1.0


def demuxer_of(path: Path) -> str:
    """FFmpeg's name for the container, told from its first bytes alone.

    Only these containers are ever opened, and each by its own demuxer: playlists, concat scripts
    and session descriptions, which name other files and addresses, are refused unread.
    Raises NotAVideo.
    """
    with path.open("rb") as file:
        head = file.read(_TS_PACKET + 1)
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head.startswith(b"\x00\x00\x01\xba"):
        return "mpeg"
    if head.startswith(b"\x00\x00\x01\xb3"):
        return "mpegvideo"
    if head[::_TS_PACKET] == b"\x47\x47":
        return "mpegts"
    raise NotAVideo("the file is not a video recording that this service reads")


def read(path: Path, limits: Limits | None = None, *, needs_audio: bool = True) -> Recording:
    """Decode a file in one pass.

    Frames are the nearest in time to each step of 1/25 s; the audio starts with the first frame,
    whatever the streams' own start times are. Only the time that both streams share is kept.
    needs_audio: whether a recording without sound is refused.
    Raises NotAVideo, Undecodable, NoVideo, NoAudio, TooLong, TooLargeFrame.
    """
    limits = limits or Limits()
    demuxer = demuxer_of(path)
    try:
        with av.open(
            str(path.resolve()),
            format=demuxer,
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",  # titles in any old encoding are no reason to refuse
        ) as container:
            return _decode(container, limits, needs_audio)
    except av.error.FFmpegError as error:
        raise Undecodable(f"the recording cannot be decoded: {error.strerror}") from error


def _decode(container: InputContainer, limits: Limits, needs_audio: bool) -> Recording:
    pictures = [s for s in container.streams.video if Disposition.attached_pic not in s.disposition]
    if not pictures:
        raise NoVideo("the recording has no picture")
    if needs_audio and not container.streams.audio:
        raise NoAudio("the recording has no sound")
    video = pictures[0]
    if video.codec_context is None:
        raise Undecodable("the picture's codec is not known here")
    if video.codec_context.width * video.codec_context.height > limits.frame_pixels:
        raise TooLargeFrame(_too_large(video.codec_context.width, video.codec_context.height))
    video.thread_type = "AUTO"

    picture, sound = _FrameClock(limits), _SoundClock(limits)
    for frame in _decoded(container, (video, *container.streams.audio[:1])):
        if isinstance(frame, VideoFrame):
            picture.add(frame)
        else:
            sound.add(frame)
    picture.finish()
    sound.finish()
    if not picture.frames:
        raise Undecodable("no frame of the picture can be decoded")
    if needs_audio and not sound.samples:
        raise Undecodable("nothing of the sound can be decoded")
    return _joined(picture, sound, video.codec_context.name)


def _decoded(
    container: InputContainer, streams: tuple[av.stream.Stream, ...]
) -> Iterator[VideoFrame | AudioFrame]:
    """Frames of both streams in file order. A damaged packet costs what it carries, not the rest;
    a file that ends early ends the iteration."""
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            continue
        for frame in frames:
            if isinstance(frame, VideoFrame | AudioFrame):
                yield frame


def _too_large(width: int, height: int) -> str:
    return f"frames of {width}x{height} pixels are more than this service takes"


class _FrameClock:
    """Picks, as frames arrive, the one nearest to each step of 1/25 s from the first frame on."""

    def __init__(self, limits: Limits) -> None:
        self.frames: list[VideoFrame] = []
        self.start = 0.0
        self.arrived = 0
        self.shape = (0, 0)
        self._limits = limits
        self._last: tuple[float, VideoFrame] | None = None
        self._kept_size: tuple[int, int] | None = None

    def add(self, frame: VideoFrame) -> None:
        if frame.width * frame.height > self._limits.frame_pixels:
            raise TooLargeFrame(_too_large(frame.width, frame.height))
        if self._last is None:
            self.start = frame.time or 0.0
            upright = frame.rotation % 180 == 0
            self.shape = (frame.width, frame.height) if upright else (frame.height, frame.width)
            self._last = (self.start, frame)
            self.arrived = 1
            return
        last_time, last = self._last
        time = last_time + self._interval() if frame.pts is None else frame.time
        if time <= last_time:
            return
        if time - self.start > self._limits.duration_s:
            raise TooLong(f"the picture is longer than {self._limits.duration_s:g} seconds")
        self._emit(last, until=(last_time + time) / 2)
        self._last = (time, frame)
        self.arrived += 1

    def finish(self) -> None:
        if self._last is not None:
            self._emit(self._last[1], until=self.end - _EPSILON_S)

    @property
    def scale(self) -> float:
        """Pixels of a kept frame to one of the recording, along a side."""
        frame = self.frames[0]
        upright = frame.rotation % 180 == 0
        return (frame.width if upright else frame.height) / self.shape[0]

    @property
    def end(self) -> float:
        """When the last frame has been shown for as long as the others were on average."""
        shown = min(self._interval(), _LONGEST_LAST_S)
        return (self._last[0] if self._last else self.start) + shown

    @property
    def rate(self) -> float:
        return 1.0 / self._interval()

    def _interval(self) -> float:
        if self._last is None or self.arrived < 2:
            return 1.0 / FRAME_RATE
        return (self._last[0] - self.start) / (self.arrived - 1)

    def _emit(self, frame: VideoFrame, until: float) -> None:
        kept: VideoFrame | None = None
        while self.start + len(self.frames) / FRAME_RATE < until:
            kept = kept or self._scaled(frame)
            self.frames.append(kept)

    def _scaled(self, frame: VideoFrame) -> VideoFrame:
        """The frame at the size of the first one kept (a camera may change its size midway), and
        in a format whose memory is known."""
        if self._kept_size is None:
            pixels, most = frame.width * frame.height, self._limits.kept_pixels
            self._kept_size = (frame.width, frame.height)
            if most is not None and pixels > most:
                scale = (most / pixels) ** 0.5
                width, height = (max(2, round(s * scale / 2) * 2) for s in self._kept_size)
                self._kept_size = (width, height)
        width, height = self._kept_size
        if (frame.width, frame.height) == (width, height) and frame.format.name in _KEPT_FORMATS:
            return frame
        return frame.reformat(
            width=width, height=height, format="yuv420p", interpolation=Interpolation.AREA
        )


class _SoundClock:
    """Collects the sound as 16 kHz mono, silence where its timestamps leave a gap."""

    def __init__(self, limits: Limits) -> None:
        self.samples: list[NDArray[np.int16]] = []
        self.start = 0.0
        self._limits = limits
        self._heard_s = 0.0
        self._resampler = _to_16_khz_mono()
        self._form: tuple[str, str, int] | None = None

    def add(self, frame: AudioFrame) -> None:
        time = frame.time
        if not self._heard_s:
            self.start = time or 0.0
        elif time is not None and (gap := time - self.start - self._heard_s) > _GAP_S:
            self._check(gap)
            self.samples.append(np.zeros(round(gap * SAMPLE_RATE), np.int16))
            self._heard_s += gap
        self._heard_s += frame.samples / frame.sample_rate
        self._check(0.0)
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._form not in (None, form):  # a stream may change its channels or rate midway
            self.finish()
            self._resampler = _to_16_khz_mono()
        self._form = form
        for piece in self._resampler.resample(frame):
            self.samples.append(piece.to_ndarray()[0])

    def finish(self) -> None:
        if self._heard_s:
            for piece in self._resampler.resample(None):
                self.samples.append(piece.to_ndarray()[0])

    def _check(self, more: float) -> None:
        if self._heard_s + more > self._limits.duration_s + 1:
            raise TooLong(f"the sound is longer than {self._limits.duration_s:g} seconds")


def _to_16_khz_mono() -> AudioResampler:
    return AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)


def _joined(picture: _FrameClock, sound: _SoundClock, codec: str) -> Recording:
    """Cut both streams to the time they share, on the picture's 25 Hz grid."""
    first, shared, audio = 0, len(picture.frames), np.zeros(0, np.int16)
    if sound.samples:
        late = max(0.0, sound.start - picture.start)
        first = int(np.ceil(late * FRAME_RATE - _EPSILON_S))
        early = picture.start + first / FRAME_RATE - sound.start
        audio = np.concatenate(sound.samples)[round(early * SAMPLE_RATE) :]
        shared = min(len(picture.frames) - first, -(-len(audio) // SAMPLES_PER_FRAME))
    if shared < 1:
        raise Undecodable("picture and sound have no time in common")
    width, height = picture.shape
    return Recording(
        frames=Frames(picture.frames[first : first + shared]),
        audio=audio[: shared * SAMPLES_PER_FRAME],
        scale=picture.scale,
        times=picture.start + (first + np.arange(shared)) / FRAME_RATE,
        info=VideoInfo(
            duration_s=round(shared / FRAME_RATE, 3),
            width=width,
            height=height,
            fps=round(picture.rate, 3),
            codec=codec,
            frames_used=shared,
        ),
    )
