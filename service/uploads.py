"""Recordings on their way in: private temporary files that never outlive their request.

Every process keeps its uploads in a folder of its own and holds a lock on it for as long as it
lives, so that what a killed process left behind is known to be stale and is swept at the next
start.
"""

import contextlib
import fcntl
import hashlib
import io
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING

from flask import Flask, Request, Response, current_app, g, request
from typing_extensions import Buffer
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from service import metrics, pacing
from service.problems import room_is_short
from service.request_errors import Malformed, StorageFull, TooLarge
from service.schemas import MAX_FIELDS_BYTES, Model, json_fields
from service.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

READ_ON_S = 5.0
"""Seconds for which a refused upload is still read."""

READ_ON_AT_ONCE = 4
"""How many refused uploads a process reads on at once; the others are cut off."""

_EXTENSION = "uploads"
_PREFIX = "syncnet-uploads-"


@dataclass(frozen=True, slots=True)
class Received:
    """A recording that has come in whole. sha256: of it, lower-case hexadecimal."""

    path: Path
    sha256: str


class UploadStore:
    """One process's folder of uploads, readable by its own user only."""

    def __init__(self, parent: Path, settings: Settings) -> None:
        """parent: folder to make it in; what dead processes left there is removed.
        Raises OSError."""
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        parent = parent.resolve()
        _sweep(parent)
        self.max_bytes = settings.max_video_bytes
        self.bytes_per_second = settings.min_upload_bytes_per_second
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
    """A file being received. Its size is checked and its digest taken as it is written; the name
    that the sender gave it plays no part."""

    def __init__(self, descriptor: int, path: Path, max_bytes: int) -> None:
        super().__init__(io.FileIO(descriptor, "w+"))
        self._max_bytes = self._left = max_bytes
        self._digest = hashlib.sha256()
        self.path = path

    def write(self, data: Buffer, /) -> int:
        """Raises TooLarge as soon as there is a byte too many."""
        self._left -= memoryview(data).nbytes
        if self._left < 0:
            raise too_large(self._max_bytes)
        self._digest.update(data)
        return super().write(data)

    @property
    def size(self) -> int:
        """Bytes received."""
        return self._max_bytes - max(0, self._left)

    def sha256(self) -> str:
        """Of what has been written, lower-case hexadecimal."""
        return self._digest.hexdigest()

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # closing writes what is left: the disk may be full
            self.close()


class UploadRequest(Request):
    """A request whose files go to the application's store."""

    def make_form_data_parser(self) -> FormDataParser:
        """One that tells of a form that is broken, instead of taking it for an empty one."""
        parser = super().make_form_data_parser()
        parser.silent = False
        return parser

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        """Called by the form parser for every file when its first byte has arrived."""
        upload = _store().create()
        g.setdefault("uploads", []).append(upload)
        return upload


def too_large(max_bytes: int) -> TooLarge:
    return TooLarge(
        f"The recording has more than {max_bytes / 2**20:g} MB, which MAX_VIDEO_SIZE_MB allows."
    )


def check_length() -> None:
    """Refuse a body that announces to be too large, before any of it is read. Raises TooLarge."""
    limit = request.max_content_length
    if limit is not None and (request.content_length or 0) > limit:
        raise too_large(_store().max_bytes)


def receive_form() -> None:
    """Read the form with its files, as fast as the settings demand.

    Raises Malformed, TooLarge, UploadTooSlow, StorageFull, HTTPException.
    """
    check_length()
    pacing.pace(request.environ, _store().bytes_per_second)
    try:
        with _minding_room():
            _ = request.form
    except RequestEntityTooLarge:
        raise _too_much() from None
    except ValueError as error:
        raise Malformed("The form is cut off, or is no form.") from error


def receive_body(max_bytes: int) -> bytes:
    """The whole body of a request without files. Raises as `receive_form`."""
    request.max_content_length = max_bytes
    pacing.pace(request.environ, _store().bytes_per_second)
    try:
        return request.get_data()
    except RequestEntityTooLarge:
        raise _too_much() from None


def receive_fields(model: type[Model]) -> Model:
    """What the JSON body of a request says. Raises Malformed, TooLarge, UploadTooSlow."""
    if request.mimetype != "application/json":
        raise Malformed("Send application/json.")
    return json_fields(receive_body(MAX_FIELDS_BYTES), model)


def received(field: str) -> Received:
    """The one file of that form field, complete and closed. Raises Malformed, StorageFull."""
    files = request.files.getlist(field)
    if len(files) != 1:
        raise Malformed(f"{field}: one file is needed, sent as a file and not as text.")
    upload = files[0].stream
    if not isinstance(upload, Upload):
        raise TypeError("the form parser did not use this application's uploads")
    with _minding_room():
        upload.close()
    return Received(upload.path, upload.sha256())


@contextmanager
def _minding_room() -> Iterator[None]:
    """Raises StorageFull where what is written has no room."""
    try:
        yield
    except OSError as error:
        if room_is_short(error):
            raise StorageFull("There is no room left to receive the recording.") from error
        raise


def _too_much() -> TooLarge:
    return TooLarge(
        f"At most {_store().max_bytes / 2**20:g} MB (MAX_VIDEO_SIZE_MB) are accepted as a "
        f"recording, and {MAX_FIELDS_BYTES // 1024} KB of fields beside it."
    )


def _store() -> UploadStore:
    store: UploadStore = current_app.extensions[_EXTENSION]
    return store


def register(app: Flask, store: UploadStore) -> None:
    """Receive the application's uploads in `store`, and delete them whatever happens."""
    app.extensions[_EXTENSION] = store
    app.request_class = UploadRequest
    places = threading.BoundedSemaphore(READ_ON_AT_ONCE)

    @app.teardown_request
    def discard(_error: BaseException | None) -> None:
        for upload in g.pop("uploads", []):
            metrics.observe_upload(upload.size)
            upload.discard()

    @app.after_request
    def hear_out(response: Response) -> Response:
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            heard = False
            if places.acquire(blocking=False):
                try:
                    heard = _read_on(request.environ, store.max_bytes)
                finally:
                    places.release()
            if not heard:
                pacing.shut(request.environ)  # else the server would read on before it goes on
        return response


def _read_on(environ: "WSGIEnvironment", max_bytes: int) -> bool:
    """Read what a refused sender is still sending, within bounds; whether that was all of it.

    Who is cut off in the middle of sending sees a broken connection and never the answer.
    """
    if not environ.get("wsgi.input_terminated"):  # a read could wait for what never comes
        return True
    announced = environ.get("CONTENT_LENGTH") or ""
    if announced.isdigit():
        if int(announced) > 4 * max_bytes:
            return False
        left = int(announced)
    else:
        left = max_bytes // 2 + 2**20
    end = time.monotonic() + READ_ON_S
    stream: IO[bytes] = environ["wsgi.input"]
    try:
        with pacing.deadlines.within(pacing.connection_of(environ), READ_ON_S):
            while left >= 0 and time.monotonic() < end:
                data = stream.read(64 * 1024)
                if not data:
                    return True
                left -= len(data)
    except Exception:  # it breaks off: then there is nobody to be heard out
        return False
    return False


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
