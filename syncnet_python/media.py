"""Decode a recording once: frames at 25 a second, mono audio at 16 kHz, both on one clock.

Headers of browser recordings lie (no duration, variable frame rate, start offsets), so everything
here follows presentation timestamps. PyAV's errors are translated here and nowhere else.

`read` decodes in this process, for the operator's own files. Strangers' files are decoded by
`isolation.Decoder`, in a process that can do nothing else; both run `decode`.
"""

import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.codec import CodecContext
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from syncnet_python import containers
from syncnet_python.clocks import FrameClock, Keep, SoundClock, check_size
from syncnet_python.errors import DecoderOverran, NoAudio, NoVideo, TooManyStreams, Undecodable
from syncnet_python.frames import Frames, Kept, Look
from syncnet_python.limits import Limits
from syncnet_python.results import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME, VideoInfo

__all__ = ["Decoded", "Frames", "Limits", "Read", "Recording", "decode", "opened", "read"]

_EPSILON_S = 1e-6

# Each thread holds a frame more, of up to 33 MB, so their number is not left to the machine.
THREADS = min(3, os.cpu_count() or 1)


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


@dataclass(frozen=True, slots=True)
class Decoded:
    """A recording less its pictures, which were handed on while it was decoded.

    looks: of each picture; size: stored width and height of all; turns: quarter turns
    counter-clockwise that stand them upright; steps: which picture is shown at each 1/25 s; the
    other fields as in `Recording`.
    """

    looks: Sequence[Look]
    size: tuple[int, int]
    turns: int
    steps: Sequence[int]
    audio: NDArray[np.int16]
    times: NDArray[np.float64]
    info: VideoInfo
    scale: float

    def with_pictures(self, pictures: Sequence[bytes | memoryview]) -> Recording:
        kept = Kept(pictures, self.looks, self.size, self.steps)
        return Recording(Frames(kept, self.turns), self.audio, self.times, self.info, self.scale)


@dataclass(frozen=True, slots=True)
class Source:
    """An open recording. frames: of picture and sound, in file order; codec: FFmpeg's name of the
    picture's."""

    frames: Iterator[VideoFrame | AudioFrame]
    codec: str


class Read(Protocol):
    """Decodes a file, as `read` does."""

    def __call__(
        self, path: Path, limits: Limits | None = None, *, needs_audio: bool = True
    ) -> Recording: ...


def read(path: Path, limits: Limits | None = None, *, needs_audio: bool = True) -> Recording:
    """Decode a file in this process; `limits.decode_s` is not watched. See `decode`."""
    pictures: list[bytes | memoryview] = []
    with path.open("rb") as file:
        decoded = decode(file, limits or Limits(), pictures.append, needs_audio=needs_audio)
    return decoded.with_pictures(pictures)


def decode(file: BinaryIO, limits: Limits, keep: Keep, *, needs_audio: bool) -> Decoded:
    """Decode a file in one pass.

    Frames are the nearest in time to each step of 1/25 s; the audio starts with the first frame,
    whatever the streams' own start times are. Only the time that both streams share is kept.
    file: stands at its start; keep: takes every picture in turn; needs_audio: whether a recording
    without sound is refused.
    Raises NotAVideo, Undecodable, NoVideo, NoAudio, TooLong, TooLargeFrame, TooSmallFrame,
    TooManyFrames, TooMuchSound, TooManyStreams, DecoderOverran.
    """
    picture, sound = FrameClock(limits, keep), SoundClock(limits)
    with opened(file, limits, needs_audio=needs_audio) as source:
        for frame in source.frames:
            if isinstance(frame, VideoFrame):
                picture.add(frame)
            else:
                sound.add(frame)
        picture.finish()
        sound.finish()
    if not picture.steps:
        raise Undecodable("no frame of the picture can be decoded")
    if needs_audio and not sound.samples:
        raise Undecodable("nothing of the sound can be decoded")
    return _joined(picture, sound, source.codec)


@contextmanager
def opened(file: BinaryIO, limits: Limits, *, needs_audio: bool) -> Iterator[Source]:
    """What is in a file, as it is decoded; arguments as for `decode`. Whatever the decoder does
    while this lasts becomes an error of the library.

    Raises NotAVideo, Undecodable, NoVideo, NoAudio, TooLargeFrame, TooSmallFrame, TooManyStreams,
    DecoderOverran.
    """
    try:
        with containers.opened(file, limits.frame_pixels) as container:
            yield _source(container, limits, needs_audio)
    except MemoryError as error:
        raise DecoderOverran("the recording takes more memory than decoding may") from error
    except av.error.FFmpegError as error:
        raise Undecodable(f"the recording cannot be decoded: {error.strerror}") from error


def _source(container: InputContainer, limits: Limits, needs_audio: bool) -> Source:
    if len(container.streams) > limits.streams:
        raise TooManyStreams(f"the file holds {len(container.streams)} streams")
    pictures = [s for s in container.streams.video if Disposition.attached_pic not in s.disposition]
    sounds = container.streams.audio[:1]
    if not pictures:
        raise NoVideo("the recording has no picture")
    if needs_audio and not sounds:
        raise NoAudio("the recording has no sound")
    video = pictures[0]
    if not containers.readable(video.codec_context):
        raise Undecodable("the picture's codec is not one that this service reads")
    if sounds and not containers.readable(sounds[0].codec_context):
        if needs_audio:
            raise Undecodable("the sound's codec is not one that this service reads")
        sounds = ()
    if video.codec_context.width:
        check_size(video.codec_context.width, video.codec_context.height, limits)
    video.thread_type = "AUTO"
    video.codec_context.thread_count = THREADS
    return Source(_decoded(container, (video, *sounds)), video.codec_context.name)


def _decoded(
    container: InputContainer, streams: tuple[Stream, ...]
) -> Iterator[VideoFrame | AudioFrame]:
    """Frames of both streams in file order. A damaged packet costs what it carries, not the rest;
    a file that ends early ends the iteration. Raises MemoryError."""
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets, None)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except MemoryError:
            raise
        except av.error.FFmpegError:
            _check_room(packet.stream.codec_context)
            continue
        for frame in frames:
            if isinstance(frame, VideoFrame | AudioFrame):
                yield frame


def _check_room(codec: CodecContext) -> None:
    """A frame that there was no memory for is a damaged one to some codecs, and would be missing
    unnoticed. Raises MemoryError where there is no room for two more."""
    if isinstance(codec, VideoCodecContext) and codec.format is not None:
        bits = codec.width * codec.height * codec.format.padded_bits_per_pixel
        try:
            mmap.mmap(-1, 2 * bits // 8 + mmap.PAGESIZE).close()
        except OSError as error:
            raise MemoryError from error


def _joined(picture: FrameClock, sound: SoundClock, codec: str) -> Decoded:
    """Cut both streams to the time they share, on the picture's 25 Hz grid."""
    first, shared, audio = 0, len(picture.steps), np.zeros(0, np.int16)
    if sound.samples:
        late = max(0.0, sound.start - picture.start)
        first = int(np.ceil(late * FRAME_RATE - _EPSILON_S))
        early = picture.start + first / FRAME_RATE - sound.start
        audio = np.concatenate(sound.samples)[round(early * SAMPLE_RATE) :]
        shared = min(len(picture.steps) - first, -(-len(audio) // SAMPLES_PER_FRAME))
    if shared < 1:
        raise Undecodable("picture and sound have no time in common")
    width, height = picture.shape
    return Decoded(
        looks=picture.looks,
        size=picture.size,
        turns=picture.turns,
        steps=picture.steps[first : first + shared],
        audio=audio[: shared * SAMPLES_PER_FRAME],
        times=picture.start + (first + np.arange(shared)) / FRAME_RATE,
        scale=picture.scale,
        info=VideoInfo(
            duration_s=round(shared / FRAME_RATE, 3),
            width=width,
            height=height,
            fps=round(picture.rate, 3),
            codec=codec,
            frames_used=shared,
        ),
    )
