"""POST /streams and what belongs to it: a live stream is followed, and its owner told of it.

Each stream is followed by a process of its own (`service.streams`), started by the web process that
was asked for it; any web process tells of it.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, current_app, g, request
from flask.blueprints import BlueprintSetupState

from service import deliveries, responses, schemas, server_sent, uploads
from service.addresses import OutgoingRefused, check_url
from service.jobs.intake import Jobs
from service.jobs.watcher import KEEP_ALIVE_S
from service.operations import JSON
from service.problems import StreamBroken
from service.request_errors import (
    AddressRefused,
    Busy,
    RequestError,
    StreamMissing,
    StreamsOff,
    StreamsTaken,
)
from service.settings import Settings
from service.streams import messages
from service.streams.messages import Wanted
from service.streams.records import Event, Stream, StreamsFull
from service.streams.store import StreamStore
from service.streams.supervisor import Supervisor
from syncnet_python.errors import DeadlineExceeded

blueprint = Blueprint("streams", __name__)

LOOK_S = 0.15
"""How often the database is asked for new events of a stream."""

_TOO_SHORT = {
    "code": "stream_ended",
    "message": "The stream ended before there was a window.",
    "advice": "Give the address of a stream of ten seconds or more.",
}

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@blueprint.record_once
def _open(state: BlueprintSetupState) -> None:
    extensions = state.app.extensions
    settings: Settings = extensions["settings"]
    jobs: Jobs = extensions["jobs"]
    extensions["stream_store"] = store = StreamStore(jobs.engine, settings.max_streams)
    extensions["supervisor"] = Supervisor(settings, store)


@blueprint.post("/streams")
def begin() -> Response:
    with current_app.extensions["places"].taken():
        fields = uploads.receive_fields(schemas.StreamFields)
        stream = followed(_wanted(fields))
    answer = Response(
        responses.dump(responses.stream_body(stream, None)), status=201, mimetype=JSON
    )
    answer.headers["Location"] = responses.stream_location(stream.id)
    return answer


@blueprint.get("/streams/<stream_id>")
def show(stream_id: str) -> Response:
    stream = _own(stream_id)
    found = [data for _, kind, data in _store().events(stream_id) if kind == "window"]
    window: dict[str, Any] | None = json.loads(found[-1]) if found else None
    return Response(responses.dump(responses.stream_body(stream, window)), mimetype=JSON)


@blueprint.get("/streams/<stream_id>/events")
def events(stream_id: str) -> Response:
    """Every event that is kept and every one that comes, as server-sent events."""
    after = schemas.last_event(request.headers)
    stream = _own(stream_id)
    coming = _coming(_store(), current_app.extensions["supervisor"], stream.id, after)
    return server_sent.answer(_told(coming))


@blueprint.delete("/streams/<stream_id>")
def delete(stream_id: str) -> Response:
    """Follow the stream no further. May be repeated."""
    stream = _own(stream_id)
    if not stream.ended:
        _store().stop(stream_id)
        deliveries.note_stream_deleted(stream_id)
    return Response(status=204)


def followed(wanted: Wanted) -> Stream:
    """A stream of this request's owner, which is followed from now on.

    Raises StreamsOff, AddressRefused, StreamsTaken, AnalysisFailed.
    """
    try:
        stream = _begun(wanted)
    except RequestError as error:
        deliveries.note_stream_refused(error)
        raise
    deliveries.note_stream(stream.id)
    return stream


def first_window(stream: Stream, timeout_s: float) -> dict[str, Any]:
    """The first window that has figures, as its event tells it.

    Raises StreamBroken where it ends without one, DeadlineExceeded, Busy where this process ends.
    """
    supervisor: Supervisor = current_app.extensions["supervisor"]
    until = time.monotonic() + timeout_s
    why = _TOO_SHORT
    for event in _coming(_store(), supervisor, stream.id, 0):
        said: dict[str, Any] = {} if event is None else json.loads(event[2])
        match event:
            case (_, "window", _) if said["error"] is None:
                return said
            case (_, "window", _):
                why = said["error"]
            case (_, "error", _):
                raise StreamBroken(**said)
        if time.monotonic() > until:
            raise DeadlineExceeded("The stream gave no answer in time.")
    if supervisor.closing.is_set():
        raise Busy("The service is about to restart.")
    raise StreamBroken(**why)


def stop(stream: Stream) -> None:
    """Follow it no further; its place is free when this returns."""
    supervisor: Supervisor = current_app.extensions["supervisor"]
    _store().stop(stream.id)
    supervisor.end(stream.id)


def _begun(wanted: Wanted) -> Stream:
    settings: Settings = current_app.extensions["settings"]
    supervisor: Supervisor = current_app.extensions["supervisor"]
    if settings.max_streams == 0:
        raise StreamsOff("The operator has set MAX_STREAMS to 0.")
    try:
        check_url(wanted.url, settings.outgoing_allow)
    except OutgoingRefused as error:
        raise AddressRefused(str(error)) from error
    stream_id = str(uuid.uuid4())
    try:
        _store().begin(stream_id, g.owner)
    except StreamsFull as error:
        raise StreamsTaken(str(error)) from error
    try:
        supervisor.start(stream_id, wanted)
    except BaseException:
        _store().end(stream_id)
        raise
    return _own(stream_id)


def _wanted(fields: schemas.StreamFields) -> Wanted:
    """A stride longer than a window and a buffer shorter than one are brought to its length."""
    said = fields.model_dump()
    said["stride_s"] = min(fields.stride_s, fields.window_s)
    said["buffer_s"] = max(fields.buffer_s, fields.window_s)
    return Wanted(**said)


def _own(stream_id: str) -> Stream:
    """The sender's stream of that id. Raises StreamMissing."""
    stream = _store().get(stream_id) if _ID.fullmatch(stream_id) else None
    if stream is None or stream.owner != g.owner:
        raise StreamMissing("You have no stream of that id.")
    return _store().get(stream_id, asked=True) or stream


def _store() -> StreamStore:
    store: StreamStore = current_app.extensions["stream_store"]
    return store


def _told(coming: Iterator[Event | None]) -> Iterator[str]:
    """The same events as they are sent."""
    told_at = time.monotonic()
    for event in coming:
        if event is not None:
            yield server_sent.event(*event)
        elif time.monotonic() - told_at > KEEP_ALIVE_S:
            yield server_sent.KEEP_ALIVE
        else:
            continue
        told_at = time.monotonic()


def _coming(
    store: StreamStore, supervisor: Supervisor, stream_id: str, after: int
) -> Iterator[Event | None]:
    """Every event with a higher number as it comes, None where none has for a moment; until the
    last one, or until this process ends. Meanwhile the stream is wanted."""
    asked_at = time.monotonic()
    while True:
        asked = time.monotonic() - asked_at > KEEP_ALIVE_S
        asked_at = time.monotonic() if asked else asked_at
        stream = store.get(stream_id, asked=asked)
        news = store.events(stream_id, after)
        for event in news:
            yield event
            after = event[0]
            if event[1] in messages.LAST:
                return
        if stream is None or stream.ended or supervisor.closing.wait(LOOK_S):
            return
        if not news:
            yield None
