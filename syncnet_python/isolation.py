"""Decode strangers' files in a process that sees one file and can do nothing else.

A crash, a bomb or a hang of that process is a named error about the recording.
"""

import contextlib
import errno
import fcntl
import json
import logging
import mmap
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from syncnet_python import decoding_answers
from syncnet_python.decoding_process import READY
from syncnet_python.errors import (
    AnalysisFailed,
    DecoderCrashed,
    DecoderOverran,
    DecodeTimedOut,
    NotAVideo,
    RecordingError,
)
from syncnet_python.limits import Limits
from syncnet_python.media import Recording

_ROOT = str(Path(__file__).resolve().parent.parent)
PROGRAM = (
    f"import sys; sys.path.append({_ROOT!r}); "
    "from syncnet_python import decoding_process; decoding_process.main(int(sys.argv[1]))"
)
"""What a decoding process runs; its argument is the number of a descriptor."""

# One heap for all threads' frames, kept between frames instead of given back and asked for anew; a
# second one would reserve address space, which counts, for what little is in it.
_FRUGAL = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}

_MAX_ANSWER = 8 * 1024 * 1024

log = logging.getLogger(__name__)


class Decoder:
    """`media.read` for strangers' files: the same recordings, pixel for pixel.

    One spare process is always started and waiting; every process decodes one file. Safe to use
    from any thread. Processes end with this one, however that ends.
    root: a folder that others write to; a file below it is decoded only if it is there still when
    it is opened, whatever links have been made on the way meanwhile. program: Python source that a
    decoding process runs.
    """

    def __init__(self, program: str = PROGRAM, *, root: Path | None = None) -> None:
        self._program = program
        self._root = root.resolve() if root else None
        self._lock = threading.Lock()
        self._spares: deque[_Child] = deque()
        self._closed = False
        self._finalizer = weakref.finalize(self, _end_all, self._spares)
        self._start_spare()

    def read(
        self, path: Path, limits: Limits | None = None, *, needs_audio: bool = True
    ) -> Recording:
        """Decode a file; see `media.read`.

        Raises what that raises, NotAVideo for what is no regular file, DecoderCrashed,
        DecoderOverran, and DecodeTimedOut when the file takes longer than `limits.decode_s`;
        AnalysisFailed where no process can be started.
        """
        limits = limits or Limits()
        with _opened(path, self._root, limits.file_bytes) as file, _Memory() as memory:
            order = json.dumps({"limits": asdict(limits), "needs_audio": needs_audio})
            deadline = time.monotonic() + limits.decode_s
            try:
                with self._ordered(order.encode(), file, memory.descriptor, deadline) as child:
                    answer = child.answer(deadline)
            except TimeoutError:
                raise DecodeTimedOut(
                    f"the recording was not decoded within {limits.decode_s:g} seconds"
                ) from None
            finally:
                self._start_spare()  # not before, or both would want the processor
            # The process has ended: what it wrote stays as it is.
            return decoding_answers.recording(answer, memory.mapped(), limits)

    def close(self) -> None:
        """End the spare process. The decoder cannot be used afterwards."""
        with self._lock:
            self._closed = True
        self._finalizer()

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start_spare(self) -> None:
        with self._lock:
            if not self._closed and not self._spares:
                try:
                    self._spares.append(_Child(self._program))
                except OSError as error:  # the next file tries again
                    log.error("no spare decoding process: %s", type(error).__name__)

    def _ordered(self, order: bytes, file: int, target: int, deadline: float) -> "_Child":
        """A process that has its order: the spare, or a new one where that has died meanwhile.
        Raises TimeoutError, AnalysisFailed."""
        while True:
            with self._lock:
                if self._closed:
                    raise AnalysisFailed("the decoder is closed")
                spare = self._spares.pop() if self._spares else None
            try:
                child = spare or _Child(self._program)
            except OSError as error:
                raise AnalysisFailed("no decoding process can be started") from error
            try:
                child.take(order, file, target, deadline)
                return child
            except TimeoutError:
                child.end()
                raise
            except OSError as error:
                child.end()
                if spare is None:
                    raise AnalysisFailed("no decoding process can be started") from error


class _Child:
    """One decoding process and this side of the connection to it."""

    def __init__(self, program: str) -> None:
        self._connection, theirs = socket.socketpair()
        # Where the loader of an unusual Python finds its libraries is all that it may know.
        environment = {k: v for k, v in os.environ.items() if k == "LD_LIBRARY_PATH"}
        with theirs, contextlib.ExitStack() as unstarted:
            unstarted.callback(self._connection.close)
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, our own program
                [sys.executable, "-I", "-c", program, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                cwd="/",
                env={**environment, **_FRUGAL},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
            unstarted.pop_all()

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def take(self, order: bytes, file: int, target: int, deadline: float) -> None:
        """Raises OSError where the process is dead or does not start; TimeoutError."""
        self._wait_until(deadline)
        if self._connection.recv(len(READY), socket.MSG_WAITALL) != READY:
            raise ConnectionResetError("the decoding process ended before it was ready")
        socket.send_fds(self._connection, [order], [file, target])

    def answer(self, deadline: float) -> bytes:
        """Everything that it says until it ends.

        Raises TimeoutError, DecoderOverran, DecoderCrashed.
        """
        pieces, length = [], 0
        try:
            while True:
                self._wait_until(deadline)
                piece = self._connection.recv(1 << 16)
                if not piece:
                    break
                pieces.append(piece)
                length += len(piece)
                if length > _MAX_ANSWER:
                    raise DecoderCrashed("the decoder did not stop talking about this file")
        except ConnectionError:
            pieces.clear()
        if not pieces:
            raise self._death()
        return b"".join(pieces)

    def end(self) -> None:
        """Kill the process, whatever it does, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def _wait_until(self, deadline: float) -> None:
        self._connection.settimeout(max(deadline - time.monotonic(), 1e-3))

    def _death(self) -> RecordingError:
        """Why it ended without an answer."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._process.wait(timeout=1) == -signal.SIGXCPU:
                return DecoderOverran("the recording takes more processor time than decoding may")
        return DecoderCrashed("the decoder died of the recording")


def _end_all(children: deque[_Child]) -> None:
    while children:
        children.pop().end()


class _Memory:
    """Memory that a process fills and this one reads, without copying it."""

    def __enter__(self) -> "_Memory":
        self.descriptor = os.memfd_create("pictures", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        # A page that disappears while it is read would end this process.
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def mapped(self) -> memoryview:
        """All of it; stays mapped for as long as the view or a slice of it is there."""
        length = os.fstat(self.descriptor).st_size
        if not length:
            return memoryview(b"")
        return memoryview(mmap.mmap(self.descriptor, length, access=mmap.ACCESS_READ))


@contextlib.contextmanager
def _opened(path: Path, root: Path | None, most_bytes: int | None) -> Iterator[int]:
    """A descriptor of a regular file; pipes and devices, which never end, are refused, and links,
    which lead elsewhere. What is checked is what was opened: a name may stand for another file at
    any moment. Raises NotAVideo, DecoderOverran, OSError."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _not_regular() from error
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _not_regular()
        if root and path.is_relative_to(root) and not _place(descriptor).is_relative_to(root):
            raise NotAVideo("the file is no longer where it was")
        if most_bytes is not None and found.st_size > most_bytes:
            raise DecoderOverran(f"the file has more than {most_bytes:,} bytes")
        yield descriptor
    finally:
        os.close(descriptor)


def _place(descriptor: int) -> Path:
    """Where an open file lies, without links."""
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def _not_regular() -> NotAVideo:
    return NotAVideo("the file is not a regular file")
