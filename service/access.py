"""What every request gets: an id, a clock, and one line in the log.

The line holds nothing that the sender chose but the request id, whose characters are checked:
no path, no file name, no session, no metadata, no address.
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
    """To be registered first, so that whatever refuses a request has its id."""

    @app.before_request
    def begin() -> None:
        g.arrived = time.monotonic()
        offered = request.headers.get(HEADER, "")
        g.request_id = offered if is_identifier(offered) else str(uuid.uuid4())

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers[HEADER] = g.request_id
        log.info(
            "request",
            extra={
                "request_id": g.request_id,
                # A method of the sender's own making fits no route, and is not repeated.
                "method": request.method if request.url_rule else "-",
                "route": request.url_rule.rule if request.url_rule else "-",
                "status": response.status_code,
                "ms": elapsed_ms(),
                "owner": g.get("owner", "-"),
            },
        )
        return response
