"""Server-sent events: an answer that goes on while there is something to tell."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack

from flask import Response, current_app
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)

RECONNECT_MS = 2000
"""How long a browser is told to wait before it asks again for events that broke off."""

KEEP_ALIVE = ": keep-alive\n\n"
"""Says nothing; lets both ends and all between them know that the connection lives."""


def event(number: int, kind: str, data: str) -> str:
    """One event. data: a line of JSON."""
    return f"id: {number}\nevent: {kind}\ndata: {data}\n\n"


def answer(events: Iterator[str]) -> Response:
    """The events as they come; the request has its places until they end. Raises Busy."""
    with ExitStack() as stack:
        for name in ("streams", "places"):
            stack.enter_context(current_app.extensions[name].taken())
        response = Response(_whole(events), mimetype="text/event-stream")
        response.call_on_close(stack.pop_all().close)
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _whole(events: Iterator[str]) -> Iterator[str]:
    yield f"retry: {RECONNECT_MS}\n\n"
    try:
        yield from events
    except SQLAlchemyError as error:  # the browser asks again
        log.error("events broke off", extra={"kind": type(error).__name__})
