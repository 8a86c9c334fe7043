"""Server-sent events out of the bytes of a stream, as the WHATWG standard reads them.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import re
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event. kind: its name, `message` where it has none; data: its lines."""

    kind: str
    data: str


class Parser:
    """The events of one connection. What follows the last complete event is never told.

    retry_s: seconds to wait before it is opened again, where the server said so; last_id: of the
    last event that had an id; heard: there was an event, or a comment, which keeps it open.
    """

    def __init__(self, last_id: str = "") -> None:
        self.retry_s: float | None = None
        self.last_id = self._id = last_id
        self.heard = False
        self._rest = b""
        self._after_return = False
        self._kind = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The events that these further bytes complete."""
        if self._after_return:  # it ended a line, perhaps by the first half of \r\n
            chunk = chunk.removeprefix(b"\n")
        self._after_return = chunk.endswith(b"\r")
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        events = []
        for line in lines:
            if line:
                self._take(line.decode(errors="replace"))
                continue
            self.last_id = self._id
            if self._data:
                self.heard = True
                events.append(ServerEvent(self._kind or "message", "\n".join(self._data)))
            self._kind, self._data = "", []
        return events

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.heard = True
        elif name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_s = float(value) / 1000
