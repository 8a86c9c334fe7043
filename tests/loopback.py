"""A server on loopback that behaves as badly as servers do, and what it serves."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from syncnet_python.weights import WeightsEntry

CONTENT = np.random.default_rng(0).bytes(700_001)


@dataclass
class Behaviour:
    """What the server does. break_after: bytes sent of each of the first `breaks` answers."""

    content: bytes = CONTENT
    ranges: bool = True
    status: int = 200
    break_after: int = 0
    breaks: int = 0
    length: bool = True
    redirect: bool = False
    shift: int = 0  # answer a range from another byte than asked for
    requests: list[str | None] = field(default_factory=list)  # the Range header of every request
    sent: int = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        behaviour: Behaviour = self.server.behaviour  # type: ignore[attr-defined]
        if behaviour.redirect and self.path != "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        asked = self.headers.get("Range")
        behaviour.requests.append(asked)
        if behaviour.status != 200:
            self.send_error(behaviour.status)
            return
        body, start = behaviour.content, 0
        if asked and behaviour.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-")) + behaviour.shift
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if behaviour.length:
            self.send_header("Content-Length", str(len(body) - start))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        rest = body[start:]
        if len(behaviour.requests) <= behaviour.breaks:
            rest = rest[: behaviour.break_after]
            self.close_connection = True
        self.wfile.write(rest)
        behaviour.sent += len(rest)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve() -> Iterator[tuple[Behaviour, str]]:
    """A running server's behaviour, to be changed as the test likes, and a file's address."""
    behaviour = Behaviour()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    http.behaviour = behaviour  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield behaviour, f"http://127.0.0.1:{http.server_port}/weights.pth"
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def entry(url: str | None, content: bytes = CONTENT, **fields: Any) -> WeightsEntry:
    given: dict[str, Any] = {
        "name": "net",
        "role": "sync",
        "origin": "published",
        "layout": "syncnet",
        "filename": "weights.pth",
        "version": "1",
        "licence": "none",
        "url": url,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return WeightsEntry(**(given | fields))
