"""What gunicorn does otherwise for this service: it drains at once, gives no thread to a request
whose head is not there yet, and answers and logs what it refuses itself as the service does.

Named in gunicorn_config.py; nothing else imports it.
"""

import contextlib
import json
import logging
import selectors
import socket
import threading
import time
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Response
from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from gunicorn.http import errors  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from service.headers import ALWAYS, UNLESS_SET
from service.pacing import CLOSE
from service.problems import MEDIA_TYPE, Malformed, from_request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

HEAD_S = 10.0
"""How long the line and the headers of a request may take to arrive."""

MAX_HEAD_BYTES = 32 * 1024
LOOK_S = 0.2
"""How often it is looked whether the rest of a head has arrived."""

LINGER_S = 2.0
"""How long a connection without a request is kept when the process is told to end."""

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
    """A web process. All but `handle` and `handle_request` runs on its main thread.

    Told to end, it takes in who has connected already, refuses everybody else, and lets go of the
    requests that wait for a job: they are answered 202.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Connections that wait for the head of a request, and until when: those that have sent
        # nothing yet, whom the poller watches, those that have sent a part, and those that sent
        # the beginning of a second request with the first, which a thread reads.
        self._silent: dict[Any, float] = {}
        self._partial: dict[Any, float] = {}
        self._read_by_thread: dict[Any, float] = {}

    # Heads of requests.

    def enqueue_req(self, conn: Any) -> None:
        read_ahead = conn.parser is not None and conn.parser.unreader.buf.getvalue()
        if self.cfg.is_ssl or read_ahead:
            super().enqueue_req(conn)
        else:
            self._look(conn, time.monotonic() + HEAD_S)

    def _look(self, conn: Any, until: float) -> None:
        """Give the connection to a thread if the head is there, else wait for more of it."""
        head = _peek(conn.sock)
        if head is None:
            self._silent[conn] = until
            self.poller.register(
                conn.sock, selectors.EVENT_READ, lambda _: self._on_first_bytes(conn)
            )
        elif not head or b"\r\n\r\n" in head:  # nothing: the other side has closed
            conn.data_ready = True
            super().enqueue_req(conn)
        elif len(head) < MAX_HEAD_BYTES:
            self._partial[conn] = until
        else:
            too_long = errors.LimitRequestHeaders("the head is too long")
            self.handle_error(None, conn.sock, conn.client, too_long)
            self._drop(conn)

    def _on_first_bytes(self, conn: Any) -> None:
        self.poller.unregister(conn.sock)
        self._look(conn, self._silent.pop(conn))

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(min(timeout, LOOK_S) if self._partial else timeout)
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
        return super().handle_request(req, conn)

    def murder_pending(self) -> None:
        """Called about once a second: end what takes too long."""
        super().murder_pending()
        now = time.monotonic()
        for conn in [conn for conn, until in self._silent.items() if now > until]:
            self.poller.unregister(conn.sock)
            del self._silent[conn]
            self._drop(conn)
        for conn in [conn for conn, until in self._partial.items() if now > until]:
            del self._partial[conn]
            self._drop(conn)
        for conn, until in self._read_by_thread.copy().items():
            if now > until:
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)  # the thread reads the end and goes on

    def _drop(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()

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
        body = json.dumps(
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
            "Content-Length": str(len(body)),
            "X-Request-ID": request_id,
            **ALWAYS,
            **UNLESS_SET,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with contextlib.suppress(OSError):
            client.sendall(f"HTTP/1.1 {status} {_REASONS[status]}\r\n{head}\r\n{body}".encode())

    # The end.

    def set_accept_enabled(self, enabled: bool) -> None:
        if self.alive:
            super().set_accept_enabled(enabled)
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
        if jobs.worker:
            # Now, beside the last requests: the job in hand is given some seconds as well.
            threading.Thread(target=jobs.worker.close, daemon=True).start()


def announcing(application: "WSGIApplication") -> "WSGIApplication":
    """The application, with `pacing.CLOSE` in the environment of every request."""

    def announce(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        answer = getattr(start_response, "__self__", None)  # gunicorn's, whose method it is
        if answer is not None:
            environ[CLOSE] = answer.force_close
        return application(environ, start_response)

    return announce


def broken_body(_error: Exception) -> Response:
    """The answer to a request whose body is not framed as HTTP has it."""
    return from_request(Malformed("The body is not framed as HTTP has it.")).response()


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
