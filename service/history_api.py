"""GET /jobs: what the owner of a key has asked before, a page at a time."""

import math
import struct
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime

from flask import Blueprint, Response, current_app, g, request

from service import responses, schemas
from service.jobs import history
from service.jobs.history import Place, Wanted
from service.jobs.intake import Jobs
from service.operations import JSON
from service.request_errors import Malformed

blueprint = Blueprint("history", __name__)

_PLACE = struct.Struct(">d16s")


@blueprint.get("/jobs")
def show() -> Response:
    jobs: Jobs = current_app.extensions["jobs"]
    asked = schemas.history(request.args)
    wanted = Wanted(
        owner=g.owner,
        session_id=asked.session_id,
        risk=asked.risk,
        decision=asked.decision,
        state=asked.state,
        since=_epoch_s(asked.since),
        until=_epoch_s(asked.until),
        before=place_of(asked.cursor) if asked.cursor else None,
        limit=asked.limit,
    )
    with current_app.extensions["places"].taken():  # a search may take a while
        found, more = history.page(jobs.engine, wanted)
    body = responses.history_body(found, following=cursor_of(found[-1].place) if more else None)
    return Response(responses.dump(body), mimetype=JSON)


def cursor_of(place: Place) -> str:
    """That place in 32 characters that mean something to this service only."""
    return urlsafe_b64encode(_PLACE.pack(place.created_at, uuid.UUID(place.id).bytes)).decode()


def place_of(cursor: str) -> Place:
    """What `cursor_of` wrote; some place for other 32 characters of its kind. Raises Malformed for
    those that name no time."""
    created_at, job_id = _PLACE.unpack(urlsafe_b64decode(cursor))
    if not math.isfinite(created_at):
        raise Malformed("cursor: must be what another answer named as next")
    return Place(created_at, str(uuid.UUID(bytes=job_id)))


def _epoch_s(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
