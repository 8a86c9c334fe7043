"""Senders that are too slow: their connection is shut before they have held a thread for long.

A server thread that reads a body sleeps in the kernel until as much has arrived as it asked for.
What wakes it when that takes too long is another thread, which shuts the reading half of the
socket; the answer can still be written to the other half.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from service.request_errors import Malformed, UploadTooSlow

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

CLOSE = "syncnet.close"
"""Where `service.web_server` puts, in a request's environment, what makes its answer the last one
of the connection."""

WINDOW_S = 10.0
"""Seconds over which the speed of an upload is measured."""

FREE_S = 60.0
SPEED_UP = 64
"""An upload that lasts longer than FREE_S must have been so many times as fast as the slowest that
is borne, on the whole: nobody is to hold a place for hours."""


class Deadlines:
    """Shuts the sockets whose reader is overdue. Safe to use from any thread."""

    def __init__(self) -> None:
        self._earlier = threading.Condition()
        self._readings: dict[_Reading, None] = {}
        self._looks_at: float | None = None

    @contextmanager
    def within(self, connection: socket.socket | None, seconds: float) -> Iterator["_Reading"]:
        """Whatever is read of that connection in the meantime has so many seconds to arrive.

        connection: None where the server does not tell: then nothing is shut.
        """
        reading = _Reading(connection, time.monotonic() + seconds)
        with self._earlier:
            self._readings[reading] = None
            if self._looks_at is None:
                self._looks_at = reading.end
                threading.Thread(target=self._look, name="pacing", daemon=True).start()
            elif reading.end < self._looks_at:
                self._earlier.notify()
        try:
            yield reading
        finally:
            with self._earlier:
                self._readings.pop(reading, None)

    def _look(self) -> None:
        """Runs while anything is read; wakes when the first reading of all would be overdue."""
        with self._earlier:
            while self._readings:
                now = time.monotonic()
                for reading in [one for one in self._readings if one.end <= now]:
                    reading.shut()
                    del self._readings[reading]
                self._looks_at = min((one.end for one in self._readings), default=now)
                self._earlier.wait(self._looks_at - now)
            self._looks_at = None


class _Reading:
    """One read of a connection, and whether it took too long."""

    def __init__(self, connection: socket.socket | None, end: float) -> None:
        self._connection = connection
        self.end = end
        self._overdue = False

    def is_overdue(self) -> bool:
        return self._overdue

    def shut(self) -> None:
        self._overdue = True
        _shut(self._connection)


deadlines = Deadlines()
"""Of this process."""


class PacedInput:
    """The body of a request as it comes in, refused when it comes in too slowly.

    It is read in pieces of as many bytes as have to arrive in WINDOW_S: a piece that takes longer
    is proof of a window that was too slow, and no window is that takes twice as long unnoticed.
    On the whole it may take FREE_S, or as long as what has come takes at SPEED_UP times that speed.
    """

    def __init__(self, environ: "WSGIEnvironment", bytes_per_second: int) -> None:
        self._environ = environ
        self._stream: IO[bytes] = environ["wsgi.input"]
        self._connection = connection_of(environ)
        self._piece = max(1, int(bytes_per_second * WINDOW_S))
        self._rate = bytes_per_second
        self._begun = time.monotonic()
        self._received = 0

    def read(self, size: int = -1) -> bytes:
        """At most a piece of it, b"" at its end. Raises UploadTooSlow; Malformed where it breaks
        off, after which nothing that comes over the connection can be told for a request."""
        size = self._piece if size < 0 else min(size, self._piece)
        broke_off: Exception | None = None
        data = b""
        lasted = time.monotonic() - self._begun
        left = max(FREE_S, self._received / (SPEED_UP * self._rate)) - lasted
        with deadlines.within(self._connection, min(WINDOW_S, left)) as reading:
            try:
                data = self._stream.read(size)
            except Exception as error:  # each server has its own for this
                broke_off = error
        if reading.is_overdue():
            least = self._rate if left > WINDOW_S else SPEED_UP * self._rate
            raise UploadTooSlow(f"Fewer than {least} bytes a second have arrived.")
        self._received += len(data)
        if broke_off is not None:
            shut(self._environ)
            raise Malformed("The body of the request broke off.") from broke_off
        return data


def pace(environ: "WSGIEnvironment", bytes_per_second: int) -> None:
    """Have the body of a request read at that speed at least; 0 for any."""
    if bytes_per_second:
        environ["wsgi.input"] = PacedInput(environ, bytes_per_second)


def shut(environ: "WSGIEnvironment") -> None:
    """Read no more of the connection that a request comes over. The answer says so, which has not
    begun yet, where the server lets it."""
    if announce := environ.get(CLOSE):
        announce()
    _shut(connection_of(environ))


def connection_of(environ: "WSGIEnvironment") -> socket.socket | None:
    """The connection that a request comes over, as the server tells it."""
    found = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return found if isinstance(found, socket.socket) else None


def _shut(connection: socket.socket | None) -> None:
    if connection is not None:
        with contextlib.suppress(OSError):  # the sender has gone
            connection.shutdown(socket.SHUT_RD)
