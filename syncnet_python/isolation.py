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
import struct
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
from syncnet_python.decoding_process import AWAIT, COPY, DYING_S, KILL, ORDER, READY, STATUS
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
    "from syncnet_python import decoding_process; decoding_process.serve(int(sys.argv[1]))"
)
"""What the stem of the decoding processes runs; its argument is the number of a descriptor."""

# One heap for all threads' frames, kept between frames instead of given back and asked for anew; a
# second one would reserve address space, which counts, for what little is in it.
_FRUGAL = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}

_STEM_S = DYING_S + 4.0
"""How long a stem may take to say how a process has ended."""

_MAX_ANSWER = 8 * 1024 * 1024

log = logging.getLogger(__name__)


class Decoder:
    """`media.read` for strangers' files: the same recordings, pixel for pixel.

    Every file is decoded by a process of its own, the copy of a stem that is always waiting. Safe
    to use from any thread. Processes end with this one, however that ends.
    root: a folder that others write to; a file below it is decoded only if it is there still when
    it is opened, whatever links have been made on the way meanwhile. program: Python source that
    the stem runs.
    """

    def __init__(self, program: str = PROGRAM, *, root: Path | None = None) -> None:
        self._program = program
        self._root = root.resolve() if root else None
        self._lock = threading.Lock()
        self._stems: deque[_Stem] = deque()  # one, or none
        self._closed = False
        self._finalizer = weakref.finalize(self, _end_all, self._stems)
        self._prepare()

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
                self._prepare()
            # The process has ended: what it wrote stays as it is.
            return decoding_answers.recording(answer, memory.mapped(), limits)

    def close(self) -> None:
        """End all its processes. The decoder cannot be used afterwards."""
        with self._lock:
            self._closed = True
        self._finalizer()

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self) -> None:
        """See that there is a stem for the next file, which tries again where there is none."""
        with contextlib.suppress(AnalysisFailed):  # closed meanwhile
            try:
                self._stem()
            except OSError as error:
                log.error("no decoding process: %s", type(error).__name__)

    def _stem(self) -> "_Stem":
        """The one that is there, or a new one where that has died. Raises OSError,
        AnalysisFailed."""
        with self._lock:
            if self._closed:
                raise AnalysisFailed("the decoder is closed")
            if self._stems and not self._stems[0].alive():
                self._stems.pop().end()
            if not self._stems:
                self._stems.append(_Stem(self._program))
            return self._stems[0]

    def _ordered(self, order: bytes, file: int, target: int, deadline: float) -> "_Child":
        """A process that has its order. Raises TimeoutError, AnalysisFailed."""
        tries = 2  # the stem may have died since it was last asked
        while True:
            tries -= 1
            child = None
            try:
                child = _Child(self._stem(), deadline)
                child.take(order, file, target, deadline)
                return child
            except OSError as error:
                if child:
                    child.end()
                if isinstance(error, TimeoutError):
                    raise
                if not tries:
                    raise AnalysisFailed("no decoding process can be started") from error


class _Stem:
    """The process whose copies decode, and this side of the connection to it. Safe to use from
    any thread."""

    def __init__(self, program: str) -> None:
        self._lock = threading.Lock()
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

    def alive(self) -> bool:
        return self._process.poll() is None

    def copy(self, connection: int, deadline: float) -> int:
        """Process id of a new copy, which has the other side of that connection. Raises OSError,
        TimeoutError."""
        return self._ask(COPY, 0, deadline - time.monotonic(), connection)

    def ended(self, pid: int, *, kill: bool) -> int:
        """How a copy has ended, negative for a signal. kill: at once; else it has DYING_S. Once
        for each. Raises OSError where the stem has died, and its copies with it."""
        return self._ask(KILL if kill else AWAIT, pid, _STEM_S)

    def end(self) -> None:
        """Kill it, which kills its copies, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def _ask(self, order: bytes, pid: int, patience_s: float, *connection: int) -> int:
        with self._lock:
            try:
                self._connection.settimeout(max(patience_s, 1e-3))
                socket.send_fds(self._connection, [ORDER.pack(order, pid)], connection)
                answer = self._connection.recv(STATUS.size, socket.MSG_WAITALL)
                return int(STATUS.unpack(answer)[0])
            except (OSError, struct.error) as error:  # it is dead, or of no use any more
                self._process.kill()
                self._process.wait()
                if isinstance(error, TimeoutError):
                    raise
                raise ConnectionResetError("the stem of the decoders has died") from error


class _Child:
    """One decoding process and this side of the connection to it. Raises OSError, TimeoutError."""

    def __init__(self, stem: _Stem, deadline: float) -> None:
        self._stem = stem
        self._ended = False
        self._connection, theirs = socket.socketpair()
        with theirs:
            try:
                self.pid = stem.copy(theirs.fileno(), deadline)
            except OSError:
                self._connection.close()
                raise

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
        if not self._ended:
            with contextlib.suppress(OSError):  # then it is gone as well
                self._stem.ended(self.pid, kill=True)
        self._connection.close()

    def _wait_until(self, deadline: float) -> None:
        self._connection.settimeout(max(deadline - time.monotonic(), 1e-3))

    def _death(self) -> RecordingError:
        """Why it ended without an answer."""
        with contextlib.suppress(OSError):
            self._ended = True
            if self._stem.ended(self.pid, kill=False) == -signal.SIGXCPU:
                return DecoderOverran("the recording takes more processor time than decoding may")
        return DecoderCrashed("the decoder died of the recording")


def _end_all(stems: deque[_Stem]) -> None:
    while stems:
        stems.pop().end()


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
