"""Where recordings lie until their job has ended: a folder, or any object store fsspec knows.

A recording is known by a random key and nothing else: no name, type or sender is kept beside it.
"""

import contextlib
import fcntl
import logging
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from errno import ENOENT, EXDEV
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import fsspec  # type: ignore[import-untyped]

log = logging.getLogger(__name__)

_KEY = re.compile(r"[0-9a-f]{32}")
_COPY = "syncnet-media-"


class Storage:
    """Recordings by key. May be used by several threads, processes and machines at once.

    A full disk is an OSError with errno ENOSPC, whichever method meets it.
    """

    def __init__(self, url: str, scratch: Path | None = None) -> None:
        """url: a folder (a path, or file://), made where it is missing, or an object store such
        as s3://bucket/folder; scratch: folder for private copies of what lies in an object store,
        made where it is missing; the system's temporary folder by default. Copies that killed
        processes left in it are removed.

        Raises ValueError for an address that no installed package can open; an object store is
        not contacted yet.
        """
        self._place = _open(url, scratch)

    def put(self, path: Path) -> str:
        """Take a file over and return its key. The file is gone from `path` afterwards; where
        this fails it is still there, and nothing is kept."""
        key = uuid4().hex
        self._place.put(path, key)
        return key

    def local(self, key: str) -> AbstractContextManager[Path]:
        """The recording as a file of this machine, for as long as the context lasts: the file
        itself in a folder, else a private copy. To be read only. Raises FileNotFoundError where
        there is none (any more)."""
        return self._place.local(_checked(key))

    def delete(self, key: str) -> None:
        """Remove a recording; it may be gone already."""
        self._place.delete(_checked(key))

    def discard(self, key: str) -> bool:
        """Delete a recording that nobody needs; False, and logged, where that fails: it is left to
        the next sweep."""
        try:
            self.delete(key)
        except Exception as error:  # an object store has errors of its own
            log.error("a recording cannot be deleted: %s", type(error).__name__)
            return False
        return True

    def keys_older_than(self, seconds: float) -> list[str]:
        """Keys of what was put in more than so many seconds ago. Other files are passed over."""
        before = time.time() - seconds
        return sorted(k for k, at in self._place.times() if _KEY.fullmatch(k) and at < before)


class _Place(Protocol):
    """What a kind of storage has to do. Keys are checked before they come here."""

    def put(self, path: Path, key: str) -> None: ...
    def local(self, key: str) -> AbstractContextManager[Path]: ...
    def delete(self, key: str) -> None: ...
    def times(self) -> Iterator[tuple[str, float]]: ...  # names and when they were put, epoch s


class _Folder:
    """A folder of files that only their owner can read."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if stat.S_IMODE(folder.stat().st_mode) != 0o700:
            folder.chmod(0o700)
        self._folder = folder

    def put(self, path: Path, key: str) -> None:
        target = self._folder / key
        path.chmod(0o600)
        try:
            path.rename(target)
        except OSError as error:
            if error.errno != EXDEV:
                raise
            self._copy(path, target)
        os.utime(target)  # its age counts from now on, not from when the upload began

    def _copy(self, path: Path, target: Path) -> None:
        """Over from another file system. Nobody knows the key of a half-written file: it needs no
        name of its own, and after a crash it is swept like any other."""
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as copy, path.open("rb") as source:
                shutil.copyfileobj(source, copy, 1 << 20)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        path.unlink()

    @contextlib.contextmanager
    def local(self, key: str) -> Iterator[Path]:
        path = self._folder / key
        if path.is_symlink() or not path.is_file():
            raise _missing()
        yield path

    def delete(self, key: str) -> None:
        (self._folder / key).unlink(missing_ok=True)

    def times(self) -> Iterator[tuple[str, float]]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    yield entry.name, entry.stat(follow_symlinks=False).st_mtime


class _ObjectStore:
    """A folder of an object store, through fsspec."""

    def __init__(self, files: Any, root: str, scratch: Path) -> None:
        self._files = files
        self._root = root.rstrip("/")
        self._scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(scratch)

    def put(self, path: Path, key: str) -> None:
        target = f"{self._root}/{key}"
        try:
            self._files.put_file(str(path), target)
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is the one to tell
                self._files.rm_file(target)
            raise
        path.unlink()

    @contextlib.contextmanager
    def local(self, key: str) -> Iterator[Path]:
        with _private_file(self._scratch) as path:
            try:
                self._files.get_file(f"{self._root}/{key}", str(path))
            except FileNotFoundError:
                raise _missing() from None
            yield path

    def delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(f"{self._root}/{key}")

    def times(self) -> Iterator[tuple[str, float]]:
        self._files.invalidate_cache()
        try:
            found = self._files.ls(self._root, detail=False)
        except FileNotFoundError:  # nothing was ever put there
            return
        for path in found:
            name = str(path).rsplit("/", 1)[-1]
            if _KEY.fullmatch(name):
                with contextlib.suppress(FileNotFoundError):
                    yield name, _epoch(self._files.modified(path))


def _open(url: str, scratch: Path | None) -> _Place:
    if "://" not in url:
        return _Folder(Path(url))
    if "::" in url:  # fsspec's chains would keep copies where nothing deletes them
        raise ValueError("a storage address may not be a chain of several")
    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        scheme = url.partition("://")[0]
        raise ValueError(f"nothing that is installed opens {scheme}:// addresses") from error
    if getattr(files, "local_file", False):
        return _Folder(Path(root))
    return _ObjectStore(files, root, scratch or Path(tempfile.gettempdir()))


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError("this is no key of a recording")
    return key


def _missing() -> FileNotFoundError:
    return FileNotFoundError(ENOENT, "the recording is no longer there")


def _epoch(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@contextlib.contextmanager
def _private_file(folder: Path) -> Iterator[Path]:
    """An empty file that is removed afterwards, and by `_sweep` where this process is killed: it
    is locked for as long as it is in use, and locked before it takes the name swept for."""
    descriptor, name = tempfile.mkstemp(prefix="new-", dir=folder)
    path = Path(name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        path = path.rename(folder / (_COPY + path.name.removeprefix("new-")))
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left: files that nobody has locked. Others may write to the
    folder, so a name may be that of anything."""
    for path in folder.glob(f"{_COPY}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)
