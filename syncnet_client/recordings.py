"""Recordings as callers have them: files, paths or bytes."""

import os
from pathlib import Path
from typing import Protocol, TypeAlias


class Readable(Protocol):
    """An open binary file, or what can be read like one."""

    def read(self) -> bytes: ...


Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | Readable
"""A recording: the path of its file, its bytes, or an open binary file, which is read from where
it stands. A file that is named by its path is sent piece by piece, the others lie in memory."""

Content: TypeAlias = Path | bytes
"""A recording that can be sent again, as often as that may be needed."""


def content(source: Source) -> Content:
    """Raises OSError where a file cannot be read, TypeError for what is no recording."""
    if isinstance(source, str | os.PathLike):
        return Path(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    read = source.read()
    if not isinstance(read, bytes):
        raise TypeError("the recording must be opened in binary mode: open(path, 'rb')")
    return read
