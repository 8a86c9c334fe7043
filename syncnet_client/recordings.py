"""Recordings as callers have them: files, paths, bytes, or what the server has already."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias


class Readable(Protocol):
    """An open binary file, or what can be read like one."""

    def read(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class OnServer:
    """A recording that lies on the server. path: below the folder that its operator has set as
    VIDEO_ROOT; where there is none, and for senders with a token, it is refused."""

    path: str


Upload: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | Readable

Source: TypeAlias = Upload | OnServer
"""A recording: the path of its file, its bytes, an open binary file, which is read from where it
stands, or `OnServer`. A file that is named by its path is sent piece by piece, the others lie in
memory."""

Content: TypeAlias = Path | bytes
"""A recording that can be sent again, as often as that may be needed."""


def content(source: Upload) -> Content:
    """Raises OSError where a file cannot be read, TypeError for what is no recording."""
    if isinstance(source, str | os.PathLike):
        return Path(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    read = source.read()
    if not isinstance(read, bytes):
        raise TypeError("the recording must be opened in binary mode: open(path, 'rb')")
    return read
