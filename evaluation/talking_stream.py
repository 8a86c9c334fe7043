"""Sample clips as HLS segments of known truth: MPEG-TS, or fragments of MP4 with their beginning.

Every segment begins with a key frame, and times run on from one to the next.
"""

import io
import struct
import tempfile
from bisect import bisect
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet

from evaluation.clip_writer import Format, write_clip
from evaluation.samples import ClipSpec, clip_frames, clip_sound

_BEGINS_S = 10
"""Time of the first picture. Of times below 0, which encoders begin with, each muxer would make
its own."""


@dataclass(frozen=True, slots=True)
class TalkingStream:
    """segments: whole files of MPEG-TS, or fragments that make a file behind init; durations:
    seconds of each, by its pictures."""

    init: bytes
    segments: tuple[bytes, ...]
    durations: tuple[float, ...]


class _Written(io.RawIOBase):
    """What a muxer has written that cannot go back."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self.pieces.append(bytes(piece))
        return len(self.pieces[-1])

    def whole(self) -> bytes:
        return b"".join(self.pieces)


def talking_stream(segment_s: float = 2.0, *, fmp4: bool = False, **fields: Any) -> TalkingStream:
    """`ClipSpec(**fields)` in segments of so many seconds, the last one shorter."""
    spec = ClipSpec(**{**fields, "fps": Fraction(fields.get("fps", 25))})
    every = str(round(segment_s * spec.fps))
    options = {"preset": "veryfast", "crf": "23", "g": every, "keyint_min": every}
    form = Format("mp4", "libx264", "aac", {**options, "sc_threshold": "0"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "whole.mp4"
        write_clip(path, form, clip_frames(spec), clip_sound(spec), size=spec.size, fps=spec.fps)
        with av.open(str(path)) as whole:
            return _fragments(whole) if fmp4 else _transport_streams(whole)


def _transport_streams(whole: InputContainer) -> TalkingStream:
    parts, durations = _parts(whole)
    segments = []
    for part in parts:
        written = _Written()
        with av.open(written, "w", format="mpegts") as target:
            to = {s.index: target.add_stream_from_template(s) for s in whole.streams}
            for packet in part:
                packet.stream = to[packet.stream.index]
                target.mux(packet)
        segments.append(written.whole())
    return TalkingStream(b"", tuple(segments), durations)


def _fragments(whole: InputContainer) -> TalkingStream:
    parts, durations = _parts(whole)
    written = _Written()
    flags = {"movflags": "frag_keyframe+delay_moov+default_base_moof"}
    with av.open(written, "w", format="mp4", options=flags) as target:
        to = {s.index: target.add_stream_from_template(s) for s in whole.streams}
        for packet in (packet for part in parts for packet in part):
            packet.stream = to[packet.stream.index]
            target.mux(packet)
    beginning, *fragments = _boxes_from(written.whole(), b"moof")
    return TalkingStream(beginning, tuple(fragments), durations)


def _parts(whole: InputContainer) -> "tuple[list[list[Packet[Any]]], tuple[float, ...]]":
    """Packets of each segment, and its seconds: one begins with every key frame."""
    packets = [packet for packet in whole.demux() if packet.dts is not None]
    for packet in packets:
        later = round(_BEGINS_S / (packet.time_base or Fraction(1)))
        packet.pts, packet.dts = (packet.pts or 0) + later, (packet.dts or 0) + later
    pictures = [packet for packet in packets if packet.stream.type == "video"]
    starts = [_seconds(packet) for packet in pictures if packet.is_keyframe]
    end = max(_seconds(packet) for packet in pictures) + _frame_s(whole)
    parts: list[list[Packet[Any]]] = [[] for _ in starts]
    number = 0
    for packet in pictures:
        number += packet.is_keyframe
        parts[number - 1].append(packet)
    for packet in packets:
        if packet.stream.type == "audio":
            parts[max(0, bisect(starts, _seconds(packet)) - 1)].append(packet)
    for part in parts:
        part.sort(key=lambda packet: Fraction(packet.dts or 0) * (packet.time_base or 1))
    return parts, tuple(float(b - a) for a, b in pairwise([*starts, end]))


def _seconds(packet: "Packet[Any]") -> Fraction:
    return Fraction(packet.pts or 0) * (packet.time_base or Fraction(1))


def _frame_s(whole: InputContainer) -> Fraction:
    return 1 / (whole.streams.video[0].average_rate or Fraction(25))


def _boxes_from(file: bytes, name: bytes) -> list[bytes]:
    """An MP4 file cut before every box of this name; its index, which comes last, is left out."""
    pieces, place = [bytearray()], 0
    while place < len(file):
        length, kind = struct.unpack_from(">I4s", file, place)
        if kind == name:
            pieces.append(bytearray())
        if kind != b"mfra":
            pieces[-1] += file[place : place + length]
        place += length
    return [bytes(piece) for piece in pieces]
