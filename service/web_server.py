"""What gunicorn does otherwise for this service: it drains at once, gives no thread to a request
whose head is not there yet, and answers and logs what it refuses itself as the service does.

Named in gunicorn_config.py; nothing else imports it.
"""

import contextlib
import errno
import json
import logging
import selectors
import socket
import struct
import threading
import time
import uuid
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Response
from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from gunicorn.http import body, errors  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from service.headers import ALWAYS, UNLESS_SET
from service.pacing import CLOSE
from service.problems import MEDIA_TYPE, from_request
from service.request_errors import Malformed

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

HEAD_S = 10.0
"""How long the line and the headers of a request may take to arrive."""

MAX_HEAD_BYTES = 32 * 1024
LOOK_S = 0.2
"""How often it is looked whether the rest of a head has arrived."""

MAX_PARTIAL = 128
"""Heads of which a part has arrived, at most; looking at them costs time, so the oldest goes."""

LINGER_S = 2.0
"""How long a connection without a request is kept when the process is told to end, and one that
was answered for the last time until the other side closes it."""

TAKE_S = 5
"""How long a thread waits for the other side to take a piece of its answer."""

PAUSE_S = 0.5
"""How long nobody is accepted where the process has no descriptor left."""

_REASONS = {
    400: "Bad Request",
    414: "URI Too Long",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
}


class Log(Logger):  # type: ignore[misc]
    """Passes gunicorn's records to the handlers of `service.logs`, which know what to leave out."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            logger.handlers.clear()
            logger.propagate = True


class DrainingWorker(ThreadWorker):  # type: ignore[misc]
    """A web process. All but `handle` and what it calls runs on its main thread, which never waits
    for a sender.

    Told to end, it takes in who has connected already, refuses everybody else, and lets go of the
    requests that wait for a job: they are answered 202.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Connections that wait for the head of a request, and until when: those whom the poller
        # watches for more, those that have sent more of it, and with TLS those that a thread reads.
        self._silent: dict[Any, float] = {}
        self._partial: dict[Any, float] = {}
        self._read_by_thread: dict[Any, float] = {}
        # Those that were answered for the last time, and until when their end is waited for.
        self._lingering: dict[Any, float] = {}
        self._looks_at = 0.0
        self._accepts_at = 0.0

    # Connections.

    def accept(self, listener: Any) -> None:
        if self.nr_conns + 1 >= self.worker_connections:
            self._make_room()
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            log.error("nobody can be accepted", extra={"kind": errno.errorcode[error.errno]})
            self._accepts_at = time.monotonic() + PAUSE_S
            super().set_accept_enabled(False)
            self._make_room()

    def finish_request(self, conn: Any, fs: Any) -> None:
        answered = not fs.cancelled() and fs.exception() is None
        if answered and fs.result():
            super().finish_request(conn, fs)
        else:
            self._linger(conn)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        return keepalive and not _unread(conn.parser.mesg)

    def _linger(self, conn: Any) -> None:
        """Close a connection once the other side has. What still comes is thrown away: closing
        over it would be a reset, which may overtake the answer."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._throw_away, conn))
        except (OSError, ValueError, KeyError):  # it is closed
            self._drop(conn)
        else:
            self._lingering[conn] = time.monotonic() + LINGER_S

    def _throw_away(self, conn: Any, _: Any) -> None:
        if conn not in self._lingering:  # it was dropped since the poller looked
            return
        try:
            ended = not conn.sock.recv(64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            self._drop(conn)

    def _drop(self, conn: Any) -> None:
        watched = self._silent.pop(conn, None) or self._lingering.pop(conn, None)
        if watched is not None:
            self.poller.unregister(conn.sock)
        self._partial.pop(conn, None)
        self.nr_conns -= 1
        conn.close()

    def _make_room(self) -> None:
        """Who has asked for nothing yet, or was answered, goes before anybody is kept out."""
        self._drop_oldest(self._silent | self._partial | self._lingering)

    def _drop_oldest(self, waiting: dict[Any, float]) -> None:
        if waiting:
            self._drop(min(waiting, key=waiting.__getitem__))

    # Heads of requests.

    def enqueue_req(self, conn: Any) -> None:
        if conn.parser is None:
            limit = struct.pack("ll", TAKE_S, 0)
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        if self.cfg.is_ssl:
            super().enqueue_req(conn)
        else:
            conn.sock.setblocking(False)
            self._look(conn, time.monotonic() + HEAD_S)

    def _look(self, conn: Any, until: float) -> None:
        """Give the connection to a thread if the head is there, else wait for more of it."""
        ahead = conn.parser.unreader.buf.getvalue() if conn.parser else b""  # read with a body
        more = _peek(conn.sock)
        if b"\r\n\r\n" in ahead + (more or b"") or more == b"":  # nothing: it has been closed
            conn.data_ready = True
            super().enqueue_req(conn)
        elif more is None:
            self._silent[conn] = until
            self.poller.register(
                conn.sock, selectors.EVENT_READ, lambda _: self._on_more_bytes(conn)
            )
        elif len(ahead) + len(more) < MAX_HEAD_BYTES:
            self._partial[conn] = until
            if len(self._partial) > MAX_PARTIAL:
                self._drop_oldest(self._partial)
        else:
            too_long = errors.LimitRequestHeaders("the head is too long")
            self.handle_error(None, conn.sock, conn.client, too_long)
            self._linger(conn)

    def _on_more_bytes(self, conn: Any) -> None:
        until = self._silent.pop(conn, None)
        if until is not None:  # else it was dropped since the poller looked
            self.poller.unregister(conn.sock)
            self._look(conn, until)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(min(timeout, LOOK_S) if self._partial else timeout)
        now = time.monotonic()
        if now < self._looks_at:
            return
        self._looks_at = now + LOOK_S
        for conn, until in self._partial.copy().items():
            del self._partial[conn]
            self._look(conn, until)

    def handle(self, conn: Any) -> Any:
        self._read_by_thread[conn] = time.monotonic() + HEAD_S
        try:
            return super().handle(conn)
        finally:
            self._read_by_thread.pop(conn, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        self._read_by_thread.pop(conn, None)
        try:
            return super().handle_request(req, conn)
        except BlockingIOError:
            raise BrokenPipeError(errno.EPIPE, "the answer is not taken") from None

    def murder_pending(self) -> None:
        """Called about once a second: end what takes too long."""
        super().murder_pending()
        now = time.monotonic()
        for waiting in (self._silent, self._partial, self._lingering):
            for conn in [conn for conn, until in waiting.items() if now > until]:
                self._drop(conn)
        for conn, until in self._read_by_thread.copy().items():
            if now > until:
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)  # the thread reads the end and goes on

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what is no HTTP as every other problem, without a word of what was sent."""
        status = _status(exc)
        if status is None:
            super().handle_error(req, client, addr, exc)
            return
        request_id = str(uuid.uuid4())
        log.warning(
            "no request",
            extra={"request_id": request_id, "status": status, "kind": type(exc).__name__},
        )
        content = json.dumps(
            {
                "type": f"urn:syncnet-service:problem:{Malformed.code}",
                "title": Malformed.title,
                "status": status,
                "detail": f"{_REASONS[status]}.",
                "instance": f"urn:syncnet-service:request:{request_id}",
                "code": Malformed.code,
                "request_id": request_id,
                "advice": Malformed.advice,
                "error": Malformed.code,
                "message": f"{_REASONS[status]}.",
            }
        )
        headers = {
            "Connection": "close",
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(len(content)),
            "X-Request-ID": request_id,
            **ALWAYS,
            **UNLESS_SET,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with contextlib.suppress(OSError):
            client.sendall(f"HTTP/1.1 {status} {_REASONS[status]}\r\n{head}\r\n{content}".encode())

    # The end.

    def set_accept_enabled(self, enabled: bool) -> None:
        if self.alive:
            super().set_accept_enabled(enabled and time.monotonic() >= self._accepts_at)
            return
        if self._accepting:
            self._take_in_backlog()
        super().set_accept_enabled(False)
        for listener in self.sockets:
            listener.close()  # else who connects now would wait until the process is gone
        soon = time.monotonic() + LINGER_S
        self._silent = {conn: min(until, soon) for conn, until in self._silent.items()}
        self._let_go()

    def is_parent_alive(self) -> bool:
        if not super().is_parent_alive():
            self.alive = False
        return bool(self.alive)

    def _take_in_backlog(self) -> None:
        for listener in self.sockets:
            while self.nr_conns < self.worker_connections:
                before = self.nr_conns
                self.accept(listener)
                if self.nr_conns == before:
                    break

    def _let_go(self) -> None:
        jobs = self.wsgi.extensions["jobs"]
        jobs.watcher.stop()
        streams = self.wsgi.extensions["supervisor"]
        threading.Thread(target=streams.close, daemon=True).start()
        if jobs.worker:
            # Now, beside the last requests: the job in hand is given some seconds as well.
            threading.Thread(target=jobs.worker.close, daemon=True).start()


def announcing(application: "WSGIApplication") -> "WSGIApplication":
    """The application, with `pacing.CLOSE` in the environment of every request.

    An answer that leaves something of the request's body unread is the last one of its connection,
    and says so: nobody waits for the rest to be thrown away.
    """

    def announce(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        answer = getattr(start_response, "__self__", None)  # gunicorn's, whose method it is
        if answer is None:
            return application(environ, start_response)
        environ[CLOSE] = answer.force_close

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            if _unread(answer.req):
                answer.force_close()
            return start_response(status, headers, *error)

        return application(environ, start)

    return announce


def broken_body(_error: Exception) -> Response:
    """The answer to a request whose body is not framed as HTTP has it."""
    return from_request(Malformed("The body is not framed as HTTP has it.")).response()


def _unread(request: Any) -> bool:
    """Whether something of a request's body is still to come, or what comes cannot be told."""
    match request.body.reader:
        case body.LengthReader(length=left):
            unread = left > 0
        case body.ChunkedReader(parser=parser):
            unread = parser is not None
        case _:
            unread = True
    return unread or bool(request.body.failed)


def _peek(connection: socket.socket) -> bytes | None:
    """What has arrived, left where it is; None where nothing has, nothing where it is closed."""
    try:
        return connection.recv(MAX_HEAD_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _status(error: Exception) -> int | None:
    """How a request that gunicorn cannot read is answered; None where it is not the sender's."""
    match error:
        case errors.InvalidResponseHeader() | errors.InvalidResponseHeaderName():
            return None
        case errors.LimitRequestLine():
            return 414
        case errors.LimitRequestHeaders():
            return 431
        case errors.ExpectationFailed():
            return 417
        case errors.ParseException():
            return 400
    return None
