"""Files that a sender might make to break a decoder, each small enough to be accepted."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

DAY_S = 24 * 3600


def huge_frames(path: Path) -> None:
    """Frames of 8192x8192 pixels, of one colour."""
    with av.open(str(path), "w", format="matroska") as container:
        stream = _video(container, "libx264", (8192, 8192), Fraction(25), preset="ultrafast")
        container.add_stream("flac", rate=48_000)
        container.mux(_encoded(stream, 3))


def hidden_huge_frames(path: Path) -> None:
    """Frames of 8192x8192 pixels whose container says that they have 64x64."""
    with av.open("/dev/null", "w", format="null") as nowhere:
        huge = _video(nowhere, "mjpeg", (8192, 8192), Fraction(25))
        first = bytes(_encoded(huge, 1)[0])
    with av.open(str(path), "w", format="avi") as container:
        stream = _video(container, "mjpeg", (64, 64), Fraction(25))
        sound = container.add_stream("pcm_s16le", rate=48_000)
        for number in range(4):
            container.mux(_packet(stream, first, Fraction(number, 25), key=True))
            container.mux(_packet(sound, bytes(3840), Fraction(number, 25), key=True))


def many_references(path: Path) -> None:
    """Frames of 3840x2160 pixels in 4:4:4, 25 MB each, of which the decoder has to keep 16."""
    with av.open(str(path), "w", format="matroska") as container:
        options = {"preset": "ultrafast", "x264-params": "ref=16"}
        stream = _video(container, "libx264", (3840, 2160), Fraction(25), **options)
        stream.pix_fmt = "yuv444p"
        sound = container.add_stream("flac", rate=8000, layout="mono")
        container.mux(_encoded(stream, 40))
        silent = _silence(sound, 4608)
        for number in range(3):
            container.mux(_packet(sound, silent, Fraction(4608 * number, 8000), key=True))


def many_frames(path: Path) -> None:
    """200,000 frames in 20 seconds: one, and then the wish, of one byte, to show it again."""
    with av.open(str(path), "w", format="webm") as container:
        stream = _video(container, "libvpx-vp9", (64, 64), Fraction(10_000))
        stream.time_base = Fraction(1, 10_000)
        container.add_stream("libopus", rate=48_000)
        first = bytes(_encoded(stream, 1)[0])
        for number in range(200_000):
            data = b"\x88" if number else first
            container.mux(_packet(stream, data, Fraction(number, 10_000), key=not number))


def endless_silence(path: Path) -> None:
    """A second of picture, and a header and packets for 24 hours of silence."""
    samples, rate = 4608, 8000
    with av.open(str(path), "w", format="matroska") as container:
        video = _video(container, "libx264", (160, 120), Fraction(25), preset="ultrafast")
        sound = container.add_stream("flac", rate=rate, layout="mono")
        container.mux(_encoded(video, 25))
        silent = _silence(sound, samples)
        step = Fraction(samples, rate)
        for number in range(int(DAY_S / step)):
            container.mux(_packet(sound, silent, number * step, key=True))


def late_sound(path: Path) -> None:
    """A second of picture and two packets of sound, 24 hours apart."""
    with av.open(str(path), "w", format="matroska") as container:
        video = _video(container, "libx264", (160, 120), Fraction(25), preset="ultrafast")
        sound = container.add_stream("flac", rate=8000, layout="mono")
        container.mux(_encoded(video, 25))
        silent = _silence(sound, 4608)
        for time in (0, DAY_S):
            container.mux(_packet(sound, silent, Fraction(time), key=True))


def one_pixel(path: Path) -> None:
    """Frames of 1x1 pixel."""
    with av.open(str(path), "w", format="webm") as container:
        video = _video(container, "libvpx", (1, 1), Fraction(25))
        sound = container.add_stream("libopus", rate=48_000, layout="mono")
        container.mux(_encoded(video, 50))
        for number in range(100):
            container.mux(_packet(sound, b"\xf8\xff\xfe", Fraction(number, 50), key=True))


def many_sounds(path: Path) -> None:
    """100 streams of sound."""
    with av.open(str(path), "w", format="matroska") as container:
        video = _video(container, "libx264", (160, 120), Fraction(25), preset="ultrafast")
        sounds = [container.add_stream("pcm_s16le", rate=48_000) for _ in range(100)]
        container.mux(_encoded(video, 25))
        for number in range(25):
            for sound in sounds:
                packet = _packet(sound, bytes(3840), Fraction(number, 25), key=True)
                container.mux(packet)


def _video(
    container: OutputContainer, codec: str, size: tuple[int, int], rate: Fraction, **options: str
) -> VideoStream:
    stream = cast(VideoStream, container.add_stream(codec, rate=rate, options=options))
    stream.width, stream.height = size
    stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    stream.codec_context.time_base = 1 / rate
    return stream


def _encoded(stream: VideoStream, count: int) -> "list[Packet[Stream]]":
    """Frames of one colour."""
    packets: list[Packet[Stream]] = []
    for number in range(count):
        frame = av.VideoFrame(stream.width, stream.height, stream.pix_fmt or "")
        for plane in frame.planes:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts, frame.time_base = number, stream.codec_context.time_base
        packets += stream.encode(frame)
    return [*packets, *stream.encode(None)]


def _silence(stream: AudioStream, samples: int) -> bytes:
    """One packet of it."""
    frame = av.AudioFrame.from_ndarray(np.zeros((1, samples), np.int16), "s16", "mono")
    frame.sample_rate, frame.pts = stream.rate, 0
    frame.time_base = Fraction(1, stream.rate)
    return bytes([*stream.encode(frame), *stream.encode(None)][0])


def _packet(stream: Stream, data: bytes, time: Fraction, *, key: bool) -> "Packet[Stream]":
    base = Fraction(1, 10_000)
    packet = Packet(data)
    packet.stream, packet.time_base = stream, base
    packet.pts = packet.dts = round(time / base)
    packet.is_keyframe = key
    return packet


BOMBS: dict[str, tuple[Callable[[Path], None], str]] = {
    "8192x8192": (huge_frames, "too_large_frame"),
    "8192x8192 behind 64x64": (hidden_huge_frames, "too_large_frame"),
    "16 references": (many_references, "decoder_overran"),
    "200,000 frames": (many_frames, "too_many_frames"),
    "24 hours of silence": (endless_silence, "too_long"),
    "sound after 24 hours": (late_sound, "too_long"),
    "1x1": (one_pixel, "too_small_frame"),
    "100 sounds": (many_sounds, "too_many_streams"),
}
"""What makes each, and the code of the error that it is answered with."""
