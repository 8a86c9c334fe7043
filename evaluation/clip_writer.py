"""Frames and samples into a file, by PyAV: the containers and codecs that people send.

`live=True` writes as a browser's MediaRecorder does: to a pipe that cannot be rewound, so that
neither duration nor index is in the file.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from heapq import merge
from math import gcd, inf
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from syncnet_python.results import SAMPLE_RATE

Timed = tuple[Fraction, NDArray[np.uint8]]
"""Presentation time in seconds and the picture, (H, W, 3) uint8 BGR."""

Encoded = tuple[float, "list[Packet[Any]]"]
"""Time in seconds of what went into the encoder, and the packets that came out."""


@dataclass(frozen=True, slots=True)
class Format:
    """A container with its two codecs, by FFmpeg's names."""

    container: str
    video: str
    audio: str
    options: dict[str, str] = field(default_factory=dict)
    exact_times: bool = True  # False: pictures are only counted, times cannot vary
    display_matrix: bool = False


_FAST_VP8 = {"deadline": "realtime", "cpu-used": "-8"}  # > 0 would follow the machine's load
_FAST_VP9 = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1"}
_FAST_X264 = {"preset": "veryfast", "crf": "20"}

FormatName = Literal[
    "webm-vp8-opus",
    "webm-vp9-opus",
    "mp4-h264-aac",
    "mov-h264-aac",
    "mkv-h264-flac",
    "avi-mpeg4-pcm",
    "mpeg",
]

FORMATS: dict[FormatName, Format] = {
    "webm-vp8-opus": Format("webm", "libvpx", "libopus", _FAST_VP8),
    "webm-vp9-opus": Format("webm", "libvpx-vp9", "libopus", _FAST_VP9),
    "mp4-h264-aac": Format("mp4", "libx264", "aac", _FAST_X264, display_matrix=True),
    "mov-h264-aac": Format("mov", "libx264", "aac", _FAST_X264, display_matrix=True),
    "mkv-h264-flac": Format("matroska", "libx264", "flac", _FAST_X264),
    "avi-mpeg4-pcm": Format("avi", "mpeg4", "pcm_s16le", exact_times=False),
    "mpeg": Format("mpeg", "mpeg1video", "mp2", exact_times=False),
}

_AUDIO_CHUNK_S = Fraction(1, 25)


@dataclass(frozen=True, slots=True)
class Sound:
    """samples: (n, channels) int16; start: presentation time of the first, seconds."""

    samples: NDArray[np.int16]
    rate: int
    start: Fraction


class _Pipe:
    """A file that can only be written onwards, like a recording that is being uploaded."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write


def write_clip(
    path: Path,
    name: FormatName | Format,
    frames: Iterable[Timed] | None,
    sound: Sound | None,
    *,
    size: tuple[int, int],
    fps: Fraction,
    rotation: int = 0,
    live: bool = False,
) -> None:
    """Encode `frames` (in order) and `sound`; None leaves that stream out.

    size: width and height of the frames; fps: nominal, exact where all times are multiples of
    1 / fps; rotation: counter-clockwise degrees that a player turns the frames by.
    """
    form = name if isinstance(name, Format) else FORMATS[name]
    with path.open("wb") as file:
        target = _Pipe(file) if live else file
        options = {"live": "1"} if live else {}
        with av.open(target, "w", format=form.container, container_options=options) as container:
            tracks: list[Iterator[Encoded]] = []
            if frames is not None:
                video = _add_video(container, form, size, fps, rotation)
                tracks.append(_encode_frames(video, frames))
            if sound is not None:
                tracks.append(_encode_sound(_add_audio(container, form, sound), sound))
            # in the order of their times, as a recorder meets them
            for _, packets in merge(*tracks, key=itemgetter(0)):
                container.mux(packets)


def write_recording(
    path: Path,
    name: FormatName | Format,
    pictures: Sequence[NDArray[np.uint8]],
    times: Iterable[Fraction],
    samples: NDArray[np.int16],
    *,
    fps: Fraction,
) -> None:
    """Encode pictures of one size, (H, W, 3) uint8 BGR, each with its time, and mono sound at
    16 kHz, (n,), from time 0 on. The last row or column goes where their number is odd, because
    chroma is halved. fps: as for `write_clip`.
    """
    height, width = (side // 2 * 2 for side in pictures[0].shape[:2])
    even = (np.ascontiguousarray(picture[:height, :width]) for picture in pictures)
    frames, sound = zip(times, even, strict=True), Sound(samples[:, None], SAMPLE_RATE, Fraction(0))
    write_clip(path, name, frames, sound, size=(width, height), fps=fps)


def _add_video(
    container: OutputContainer, form: Format, size: tuple[int, int], fps: Fraction, rotation: int
) -> VideoStream:
    stream = cast(VideoStream, container.add_stream(form.video, rate=fps, options=form.options))
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.bit_rate = 1_500_000
    stream.codec_context.time_base = 1 / fps
    if form.exact_times:
        fine = fps.numerator * 1000 // gcd(fps.numerator, 1000)  # holds both 1 / fps and 1 ms
        stream.codec_context.time_base = Fraction(1, fine)
    if rotation:
        stream.set_display_rotation(rotation)
    return stream


def _add_audio(container: OutputContainer, form: Format, sound: Sound) -> AudioStream:
    layout = _layout(sound)
    stream = cast(AudioStream, container.add_stream(form.audio, rate=sound.rate, layout=layout))
    if form.audio != "pcm_s16le":
        stream.bit_rate = 96_000
    return stream


def _encode_frames(stream: VideoStream, frames: Iterable[Timed]) -> Iterator[Encoded]:
    base = stream.codec_context.time_base
    for time, image in frames:
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        frame.pts, frame.time_base = round(time / base), base
        yield float(time), stream.encode(frame)
    yield inf, stream.encode(None)


def _encode_sound(stream: AudioStream, sound: Sound) -> Iterator[Encoded]:
    length = int(sound.rate * _AUDIO_CHUNK_S)
    first = round(sound.start * sound.rate)
    for start in range(0, len(sound.samples), length):
        packed = np.ascontiguousarray(sound.samples[start : start + length]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=_layout(sound))
        frame.sample_rate = sound.rate
        frame.pts, frame.time_base = first + start, Fraction(1, sound.rate)
        yield (first + start) / sound.rate, stream.encode(frame)
    yield inf, stream.encode(None)


def _layout(sound: Sound) -> str:
    return "mono" if sound.samples.shape[1] == 1 else "stereo"
