"""Both clients under one interface, and servers for their tests: the service with doubles in it,
one that fails as it is told to, one that receives webhooks.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import service_doubles as doubles
from flask import Flask

from service import responses
from service.jobs import records
from service.streams.supervisor import Supervisor
from syncnet_client import AsyncClient, Client, Retries

KINDS = ("blocking", "asyncio")
UNKNOWN = "00000000-0000-4000-8000-000000000000"
AT_ONCE = Retries(times=3, backoff_s=0)

Opener = Callable[..., Any]
"""`opened(url, …)`: a client."""


def make_app() -> Flask:
    """The application with doubles in place of the analysis and of what follows streams, set up
    from the environment."""
    app = doubles.make_app()
    app.extensions["supervisor"] = Supervisor(
        app.extensions["settings"], app.extensions["stream_store"], "stream_doubles"
    )
    return app


class Waited:
    """An AsyncClient that is used as a Client is."""

    def __init__(self, client: AsyncClient, runner: "asyncio.Runner") -> None:
        self._client = client
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*args: Any, **given: Any) -> Any:
            made = method(*args, **given)
            return self._each(made) if hasattr(made, "__anext__") else self._runner.run(made)

        return call

    def _each(self, items: Any) -> Iterator[Any]:
        end = object()

        async def one() -> Any:
            return await anext(items, end)

        try:
            while (item := self._runner.run(one())) is not end:
                yield item
        finally:
            self._runner.run(items.aclose())


@contextmanager
def opening(kind: str) -> Iterator[Opener]:
    """What opens clients of that kind, which are closed at the end."""
    with ExitStack() as stack:
        if kind == "blocking":
            yield lambda url, **given: stack.enter_context(Client(url, **given))
            return
        runner = stack.enter_context(asyncio.Runner())

        def open_one(url: str, **given: Any) -> Waited:
            client = AsyncClient(url, **given)
            stack.callback(lambda: runner.run(client.aclose()))
            return Waited(client, runner)

        yield open_one


def verdict_told() -> dict[str, Any]:
    """A verdict as the service tells it."""
    job = records.Job(
        "succeeded",
        id=UNKNOWN,
        session_id="visit",
        request_id="request",
        created_at=1.0,
        finished_at=2.0,
        verdict=doubles.VERDICT,
    )
    body: dict[str, Any] = json.loads(responses.dump(responses.verdict_body(job, ttl_seconds=300)))
    return body


@dataclass
class Held:
    """A recording whose analysis lasts until it is let go."""

    content: bytes
    pipe: Path
    gone: bool = False

    def let_go(self) -> None:
        """May be repeated."""
        if not self.gone:
            self.gone = True
            with self.pipe.open("w"):  # waits for the analysis to open the other end
                pass


@contextmanager
def running(handler: type[BaseHTTPRequestHandler]) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who is cut off
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Hook:
    """A receiver of webhooks, and what has arrived."""

    port: int
    arrived: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def first(self) -> tuple[dict[str, str], bytes]:
        with self.changed:
            assert self.changed.wait_for(lambda: self.arrived, timeout=60)
            return self.arrived.pop()


@contextmanager
def receiving() -> Iterator[Hook]:
    """A receiver that runs."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with here.changed:
                here.arrived.append((dict(self.headers.items()), body))
                here.changed.notify_all()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with running(Receiver) as server:
        here = Hook(server.server_port)
        yield here


@dataclass
class Seen:
    """One request that arrived. headers: names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Reply = Callable[["Rude"], None]


class Rude(BaseHTTPRequestHandler):
    """Gives one reply of the script to each request, the last of them again and again."""

    protocol_version = "HTTP/1.1"
    script: "Script"

    def do_GET(self) -> None:
        length = 0 if self.script.unread else int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.script.lock:
            self.script.seen.append(Seen(self.command, self.path, headers, body))
            replies = self.script.replies
            reply = replies.pop(0) if len(replies) > 1 else replies[0]
        reply(self)

    do_POST = do_DELETE = do_GET  # noqa: N815 - as the base class has it

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Script:
    """What a server is to reply, and what it was asked. unread: bodies are left to the replies;
    ending: set when the test is over."""

    url: str
    replies: list[Reply] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    unread: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    ending: threading.Event = field(default_factory=threading.Event)


@contextmanager
def failing() -> Iterator[Script]:
    """A server that follows a script."""
    handler = type("Scripted", (Rude,), {})
    with running(handler) as server:
        script = Script(f"http://127.0.0.1:{server.server_port}")
        handler.script = script  # type: ignore[attr-defined]
        try:
            yield script
        finally:
            script.ending.set()


def cut(handler: Rude) -> None:
    """The connection ends without an answer."""
    handler.close_connection = True


def hang(handler: Rude) -> None:
    """There is never an answer."""
    handler.script.ending.wait()
    handler.close_connection = True


def said(value: Any, status: int = 200, **headers: str) -> Reply:
    body = json.dumps(value).encode()
    return lambda handler: handler.answer(
        status, body, **{"Content_Type": "application/json", **headers}
    )


def torn(value: Any) -> Reply:
    """An answer that breaks off in the middle."""
    body = json.dumps(value).encode()

    def reply(handler: Rude) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.close_connection = True

    return reply


def refused(status: int, code: str, wait: str | None = None) -> Reply:
    problem = {"code": code, "status": status, "title": "No", "detail": "As said.", "advice": "Go."}
    headers = {"Content_Type": "application/problem+json"}
    if wait is not None:
        headers["Retry_After"] = wait
    return said(problem, status, **headers)


def page(status: int, **headers: str) -> Reply:
    """What a proxy answers."""
    return lambda handler: handler.answer(
        status, b"<html>Sorry</html>", Content_Type="text/html", **headers
    )


def job_told(state: str, **given: Any) -> dict[str, Any]:
    job = {
        "job_id": UNKNOWN,
        "state": state,
        "stage": None,
        "progress": 0,
        "created": "2026-11-21T10:00:00Z",
        "started": None,
        "finished": None,
        "result": None,
        "error": None,
        "links": {"self": f"/jobs/{UNKNOWN}", "events": f"/jobs/{UNKNOWN}/events"},
    }
    return job | given


def streamed(*pieces: bytes, broken: bool = False) -> Reply:
    """Server-sent events, in pieces. broken: the connection ends before the answer does."""

    def reply(handler: Rude) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in pieces:
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            handler.wfile.flush()
        if broken:
            handler.close_connection = True
        else:
            handler.wfile.write(b"0\r\n\r\n")

    return reply


def event(kind: str, data: Any, end: str = "\n", number: int = 1) -> bytes:
    return f"id: {number}{end}event: {kind}{end}data: {json.dumps(data)}{end}{end}".encode()


def progress(state: str, stage: str | None = None, done: float = 0.0) -> dict[str, Any]:
    return {"state": state, "stage": stage, "progress": done}


RETRY = b"retry: 0\n\n"
