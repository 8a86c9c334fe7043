"""A server on loopback that sends HLS as tests want it sent, and what it was asked for."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from service.outgoing import Reader, reader

Answer = bytes | int | Callable[["Handler"], None]
"""A body, a status without one, or what is to be done."""


@dataclass
class Site:
    """answers: by path; asked: every path, in order; ending: set when the test is over."""

    port: int
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    @property
    def entry(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/live.m3u8") -> str:
        return f"http://{self.entry}{path}"

    def client(self) -> Reader:
        """Reaches this site and no other private address."""
        return reader([self.entry])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        self.site.asked.append(self.path)
        answer = self.site.answers.get(self.path, 404)
        if isinstance(answer, int):
            self.reply(b"", answer)
        elif isinstance(answer, bytes):
            self.serve(answer)
        else:
            answer(self)

    do_POST = do_GET  # noqa: N815 - as the base class has it

    def serve(self, whole: bytes) -> None:
        """All of it, or the part that is asked for."""
        asked = self.headers.get("Range")
        if asked is None:
            self.reply(whole)
            return
        first, last = (int(n) for n in asked.removeprefix("bytes=").split("-"))
        self.reply(whole[first : last + 1], 206, Content_Range=f"bytes {first}-{last}/{len(whole)}")

    def reply(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what some of these tests are about."""


@contextmanager
def site(**answers: Answer) -> Iterator[Site]:
    """A running server."""
    handler = type("TestHandler", (Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    here = Site(server.server_address[1], dict(answers))
    handler.site = here  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield here
    finally:
        here.ending.set()
        server.shutdown()
        thread.join()
        server.server_close()


def playlist(
    entries: Sequence[str], *, ended: bool, first: int = 0, target: float = 2, head: str = ""
) -> bytes:
    """A media playlist. entries: of each segment all its lines; head: further tags before them."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", f"#EXT-X-TARGETDURATION:{target:g}"]
    lines += [f"#EXT-X-MEDIA-SEQUENCE:{first}", *filter(None, [head]), *entries]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else [])]).encode() + b"\n"


def growing(entries: Sequence[str], *, shown: int, window: int = 3, target: float = 1) -> Answer:
    """A live playlist: the first answer ends with `shown` entries, every further one with one more,
    until it has them all. It shows the last `window` of them."""
    lock, count = threading.Lock(), shown

    def answer(handler: Handler) -> None:
        nonlocal count
        with lock:
            end = min(count, len(entries))
            count += 1
        first = max(0, end - window)
        over = count > len(entries) + 1
        handler.reply(playlist(entries[first:end], ended=over, first=first, target=target))

    return answer


def drip(handler: Handler) -> None:
    """A body that never ends, a byte at a time."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.site.ending.wait(0.02):
        handler.wfile.write(b".")


def after(seconds: float, body: bytes) -> Answer:
    """The body, late."""

    def answer(handler: Handler) -> None:
        until = time.monotonic() + seconds
        handler.site.ending.wait(until - time.monotonic())
        handler.serve(body)

    return answer
