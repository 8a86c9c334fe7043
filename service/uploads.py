"""Recordings on their way in: private temporary files that never outlive their request.

Every process keeps its uploads in a folder of its own and holds a lock on it for as long as it
lives, so that what a killed process left behind is known to be stale and is swept at the next
start.
"""

import contextlib
import fcntl
import io
import os
import shutil
import tempfile
import time
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING

from flask import Flask, Request, Response, current_app, g, request
from typing_extensions import Buffer

from service.problems import Malformed, TooLarge

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

READ_ON_S = 5.0
"""Seconds for which a refused upload is still read."""

_EXTENSION = "uploads"
_PREFIX = "syncnet-uploads-"


class UploadStore:
    """One process's folder of uploads, readable by its own user only."""

    def __init__(self, parent: Path, max_bytes: int) -> None:
        """parent: existing folder to make it in; what dead processes left there is removed;
        max_bytes: of one upload."""
        parent = parent.resolve()
        _sweep(parent)
        self.max_bytes = max_bytes
        # Locked before it takes the name that a sweep looks for.
        unnamed = Path(tempfile.mkdtemp(prefix="new-", dir=parent))
        self._lock: int | None = os.open(unnamed, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.folder = unnamed.rename(parent / (_PREFIX + unnamed.name.removeprefix("new-")))

    def create(self) -> "Upload":
        descriptor, name = tempfile.mkstemp(dir=self.folder)
        return Upload(descriptor, Path(name), self.max_bytes)

    def close(self) -> None:
        """Remove the folder and everything in it. May be called again."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class Upload(io.BufferedRandom):
    """A file being received. Its size is checked as it is written; the name that the sender gave
    it plays no part."""

    def __init__(self, descriptor: int, path: Path, max_bytes: int) -> None:
        super().__init__(io.FileIO(descriptor, "w+"))
        self._max_bytes = self._left = max_bytes
        self.path = path

    def write(self, data: Buffer, /) -> int:
        """Raises TooLarge as soon as there is a byte too many."""
        self._left -= memoryview(data).nbytes
        if self._left < 0:
            raise TooLarge(f"The recording has more than {self._max_bytes / 2**20:g} MB.")
        return super().write(data)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # closing writes what is left: the disk may be full
            self.close()


class UploadRequest(Request):
    """A request whose files go to the application's store."""

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        """Called by the form parser for every file when its first byte has arrived."""
        store: UploadStore = current_app.extensions[_EXTENSION]
        upload = store.create()
        g.setdefault("uploads", []).append(upload)
        return upload


def received(field: str) -> Path:
    """Where the one file of that form field lies, complete and closed. Raises Malformed."""
    files = request.files.getlist(field)
    if len(files) != 1:
        raise Malformed(f"{field}: one file is needed, sent as a file and not as text.")
    upload = files[0].stream
    if not isinstance(upload, Upload):
        raise TypeError("the form parser did not use this application's uploads")
    upload.close()
    return upload.path


def register(app: Flask, store: UploadStore) -> None:
    """Receive the application's uploads in `store`, and delete them whatever happens."""
    app.extensions[_EXTENSION] = store
    app.request_class = UploadRequest

    @app.teardown_request
    def discard(_error: BaseException | None) -> None:
        for upload in g.pop("uploads", []):
            upload.discard()

    @app.after_request
    def hear_out(response: Response) -> Response:
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            _read_on(request.environ, 4 * store.max_bytes)
        return response


def _read_on(environ: "WSGIEnvironment", max_bytes: int) -> None:
    """Read what a refused sender is still sending, within bounds.

    Who is cut off in the middle of sending sees a broken connection and never the answer.
    """
    end = time.monotonic() + READ_ON_S
    if environ.get("wsgi.input_terminated"):  # else a read could wait for what never comes
        stream: IO[bytes] = environ["wsgi.input"]
        while max_bytes > 0 and time.monotonic() < end and (data := stream.read(64 * 1024)):
            max_bytes -= len(data)


def _sweep(parent: Path) -> None:
    """Remove the folders of processes that are gone: nobody holds their lock."""
    for folder in parent.glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):  # another user's, in use, or gone meanwhile
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)
