"""Which files are opened, by whomever: what the kernel tells through inotify."""

import ctypes
import errno
import os
import select
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

_OPEN_OR_READ = 0x20 | 0x01
_EVENT = struct.Struct("iIII")


class Watch:
    """Collects the names under some folders that are opened or read while it is entered.

    A folder's own files are told of, not those of folders in it. OSError where the kernel cannot.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = folders

    def __enter__(self) -> Self:
        libc = ctypes.CDLL(None, use_errno=True)
        self._notices = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._notices < 0:
            raise OSError(ctypes.get_errno(), "inotify is not available")
        self._watched: dict[int, Path] = {}
        for folder in self._folders:
            number = libc.inotify_add_watch(self._notices, bytes(folder), _OPEN_OR_READ)
            if number < 0:
                os.close(self._notices)
                raise OSError(ctypes.get_errno(), "the folder cannot be watched")
            self._watched[number] = folder
        return self

    def opened(self) -> set[Path]:
        """What has been opened since the last time that this was asked."""
        found: set[Path] = set()
        while select.select([self._notices], [], [], 0)[0]:
            try:
                data = os.read(self._notices, 1 << 16)
            except OSError as error:
                if error.errno == errno.EAGAIN:
                    break
                raise
            while data:
                number, _, _, length = _EVENT.unpack_from(data)
                name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
                data = data[_EVENT.size + length :]
                found.add(self._watched[number] / os.fsdecode(name))
        return found

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._notices)
