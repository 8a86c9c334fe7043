"""What every request gets: an id, a clock, one line in the log, and headers on its answer.

The line holds nothing that the sender chose but the request id, whose characters are checked:
no path, no file name, no session, no metadata.
"""

import logging
import time
import uuid

from flask import Flask, Response, g, request

from service.schemas import is_identifier

log = logging.getLogger(__name__)

HEADER = "X-Request-ID"


def elapsed_ms() -> int:
    """Milliseconds since the request arrived."""
    arrived: float = g.arrived
    return round((time.monotonic() - arrived) * 1000)


def register(app: Flask) -> None:
    @app.before_request
    def begin() -> None:
        g.arrived = time.monotonic()
        offered = request.headers.get(HEADER, "")
        g.request_id = offered if is_identifier(offered) else str(uuid.uuid4())

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers[HEADER] = g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        log.info(
            "request_id=%s method=%s route=%s status=%d ms=%d",
            g.request_id,
            request.method if request.url_rule else "-",
            request.url_rule or "-",
            response.status_code,
            elapsed_ms(),
        )
        return response
