"""What runs in a decoding process: decode one file, say what was found, end.

It says READY, waits for an order with two descriptors, the file and where pictures go, gives up
everything else and decodes. It ends when the other side closes the connection or dies.

Each is the copy of a stem, a process that has imported everything and never meets a file: starting
Python and PyAV takes six times as long as all else about a short recording. `isolation.Decoder` has
one.
"""

import contextlib
import io
import json
import mmap
import os
import signal
import socket
import struct
import threading
import time
from dataclasses import asdict
from typing import Any, NoReturn

# PyAV imports these when it first meets a stream; by then, nothing can be opened any more.
import av.subtitles.codeccontext
import av.subtitles.stream  # noqa: F401

from syncnet_python import media, sandbox
from syncnet_python.errors import DecoderOverran, SyncNetError
from syncnet_python.frames import Look
from syncnet_python.limits import PIXELS_4K, Limits
from syncnet_python.results import SAMPLES_PER_FRAME

READY = b"ready\n"

ORDER = struct.Struct("=ci")
COPY, AWAIT, KILL = b"c", b"a", b"k"
"""What a stem is told: COPY, with a connection for the copy; AWAIT or KILL with a process id."""

STATUS = struct.Struct("=i")
"""What it answers: the process id of the copy, or how that ended, negative for a signal."""

DYING_S = 1.0
"""How long a process that has let go of its connection may take to end by itself."""

MAX_ORDER = 4096  # bytes

MEMORY = 350 << 20
"""Bytes that decoding may take, beside some 45 MB that the process has then, where frames have up
to 3840x2160 pixels. One takes 12 to 33 MB, and codecs keep several and one a thread: recordings of
cameras need 170 MB, those of 10 bits or with 4:2:2 colours 320 MB."""


def serve(descriptor: int) -> None:
    """Be a stem until the other side closes the connection. descriptor: this side of it."""
    control = socket.socket(fileno=descriptor)
    with contextlib.suppress(ConnectionError):
        while True:
            message, theirs, _, _ = socket.recv_fds(control, ORDER.size, 1)
            if not message:
                return
            order, pid = ORDER.unpack(message)
            if order == COPY:
                answer = _copy(control, theirs[0])
            else:
                answer = _ended(pid, 0.0 if order == KILL else DYING_S)
            control.sendall(STATUS.pack(answer))


def _copy(control: socket.socket, connection: int) -> int:
    """Process id of a new decoding process."""
    if pid := os.fork():
        os.close(connection)
        return pid
    sandbox.die_with_parent()
    control.close()
    main(connection)
    os._exit(0)


def _ended(pid: int, patience_s: float) -> int:
    """How that copy ended; it is killed where it does not end by itself in that time."""
    until = time.monotonic() + patience_s
    while not (found := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            found = os.waitpid(pid, 0)
            break
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(found[1])


def main(descriptor: int) -> None:
    """Decode one file. descriptor: this side of the connection."""
    connection = socket.socket(fileno=descriptor)
    try:
        connection.sendall(READY)
        message, descriptors, _, _ = socket.recv_fds(connection, MAX_ORDER, 2)
    except ConnectionError:  # who started this process has ended
        return
    if not message:
        return
    order = json.loads(message)
    limits = Limits(**order["limits"])
    file, target = descriptors
    os.dup2(1, 2)  # nowhere: from here on, what is printed may quote the file
    sandbox.enter(
        memory=memory(limits),
        cpu_s=round(limits.decode_s + 1) * media.THREADS,
        file_bytes=limits.pictures + 2 * SAMPLES_PER_FRAME * limits.steps + mmap.PAGESIZE,
    )
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    answer = decode(file, target, limits, needs_audio=order["needs_audio"])
    connection.sendall(json.dumps(answer).encode())
    connection.shutdown(socket.SHUT_WR)
    os._exit(0)


def memory(limits: Limits) -> int:
    """Bytes that decoding may take: more where larger frames are accepted."""
    return round(MEMORY * max(1.0, limits.frame_pixels / PIXELS_4K))


def decode(file: int, target: int, limits: Limits, *, needs_audio: bool) -> dict[str, Any]:
    """Decode a file and write its pictures, then its sound. Returns what `isolation` reads."""

    def keep(picture: bytes) -> None:
        _write(target, picture)

    try:
        with io.FileIO(file) as source:
            decoded = media.decode(source, limits, keep, needs_audio=needs_audio)
        _write(target, decoded.audio.tobytes())
    except SyncNetError as error:
        return refusal(error)
    except (MemoryError, OSError):  # OSError: more is written than may be
        return refusal(DecoderOverran("the recording takes more memory than decoding may"))
    return describe(decoded)


def refusal(error: SyncNetError) -> dict[str, Any]:
    return {"kind": "refused", "error": type(error).__name__, "message": error.message}


def describe(decoded: media.Decoded) -> dict[str, Any]:
    looks: dict[Look, int] = {}
    numbers = [looks.setdefault(look, len(looks)) for look in decoded.looks]
    return {
        "kind": "done",
        "size": decoded.size,
        "turns": decoded.turns,
        "looks": [asdict(look) for look in looks],
        "pictures": numbers,
        "steps": list(decoded.steps),
        "samples": len(decoded.audio),
        "times": decoded.times.tolist(),
        "info": asdict(decoded.info),
        "scale": decoded.scale,
    }


def _write(target: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(target, rest) :]


def _end_with(connection: socket.socket) -> NoReturn:
    """End when the other side is gone; it says nothing more while it is there."""
    with contextlib.suppress(OSError):
        connection.recv(1)
    os._exit(0)
