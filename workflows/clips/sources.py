"""An operator's recording as it lies in the file: its streams and their packets.

`syncnet_python.media` brings every recording to 25 pictures and 16,000 mono samples a second; what
is written again, cut or moved keeps its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.frame import Frame
from av.packet import Packet
from av.stream import Disposition, Stream

from syncnet_python import containers
from syncnet_python.errors import NoAudio, Undecodable
from syncnet_python.windows import DAY


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
