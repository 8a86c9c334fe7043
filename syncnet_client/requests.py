"""What is asked of the service, as plain values: nothing here sends anything."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypedDict
from urllib.parse import quote

from syncnet_client.answers import Decision, Job, Risk, State
from syncnet_client.recordings import Content, OnServer, Source, content
from syncnet_client.streams import Stream

EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Request:
    """One request. path: from the service's own address; fields: of its body, which is a form
    where a recording is sent with them, else JSON; repeatable: whether it may be sent again where
    it is not known if it arrived; streamed: the answer is read as it comes; expected: statuses
    that are no refusals though they look like it."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] | None = None
    recording: Content | None = field(default=None, repr=False)
    repeatable: bool = True
    streamed: bool = False
    expected: tuple[int, ...] = ()

    def with_header(self, name: str, value: str) -> "Request":
        return replace(self, headers={**self.headers, name: value})


class Wishes(TypedDict, total=False):
    """What can be said about a recording beside the recording itself. All of it may be left out.

    session_id: 1-128 characters of `A-Z a-z 0-9 . _ -`, repeated in the verdict.
    consent: whether the person recorded agrees; False is always refused.
    partial: answer with what can be measured where the rest cannot.
    heatmap: draw what in the most suspicious frame looks touched.
    metadata: a JSON object of at most 8 KiB, checked and not kept.
    webhook_url: an address that is called when the job has ended.
    idempotency_key: 1-255 printable ASCII characters. A random one is used where it is absent;
    who names one can send the same recording again, in another process too, and finds its job.
    """

    session_id: str | None
    consent: bool | None
    partial: bool
    heatmap: bool
    metadata: Mapping[str, Any] | None
    webhook_url: str | None
    idempotency_key: str | None


class Filters(TypedDict, total=False):
    """Which jobs are listed. All of it may be left out.

    session_id: of this session; since, until: when the job was created, with a time zone.
    """

    session_id: str | None
    risk: Risk | None
    decision: Decision | None
    state: State | None
    since: datetime | None
    until: datetime | None


class StreamWishes(TypedDict, total=False):
    """How a stream is followed; the service has a default for each.

    window_s: seconds that one answer looks at, 2-30; stride_s: from one answer to the next, from
    0.5; buffer_s: that may wait to be scored, up to 120; band_frames: offset, whichever way, up to
    which all is well; alert_after: windows in a row outside, or inside again, for an alert.
    """

    window_s: float | None
    stride_s: float | None
    buffer_s: float | None
    band_frames: float | None
    alert_after: int | None


def score(
    source: Source,
    *,
    session_id: str | None = None,
    consent: bool | None = None,
    partial: bool = False,
    heatmap: bool = False,
    metadata: Mapping[str, Any] | None = None,
    webhook_url: str | None = None,
    idempotency_key: str | None = None,
) -> Request:
    """Send a recording, and wait for the verdict. The wishes are those of `Wishes`.

    Raises OSError, TypeError for a source that is no recording; ValueError for a key that no
    header can hold.
    """
    fields = _given(
        video_path=source.path if isinstance(source, OnServer) else None,
        session_id=session_id,
        user_consent=consent,
        partial=partial or None,
        heatmap=heatmap or None,
        metadata=None if metadata is None else dict(metadata),
        webhook_url=webhook_url,
    )
    key = str(uuid.uuid4()) if idempotency_key is None else printable("the key", idempotency_key)
    return Request(
        "POST",
        "/score",
        headers={"Idempotency-Key": key},
        fields=fields,
        recording=None if isinstance(source, OnServer) else content(source),
    )


def leaving(request: Request) -> Request:
    """The same, answered before the recording is scored."""
    return request.with_header("Prefer", "respond-async")


def key_of(request: Request) -> str:
    return request.headers["Idempotency-Key"]


def id_of(job: Job | str) -> str:
    return job.job_id if isinstance(job, Job) else job


def job(job: Job | str, etag: str | None = None) -> Request:
    """Ask for a job. etag: of the last answer; the next one is 304 while nothing has changed."""
    asked = Request("GET", _under("/jobs", id_of(job)))
    return asked if etag is None else asked.with_header("If-None-Match", etag)


def events(job: Job | str) -> Request:
    """Follow a job."""
    return _following(_under("/jobs", id_of(job)))


def delete(job: Job | str) -> Request:
    """Cancel a job and delete all that is kept of it."""
    return Request("DELETE", _under("/jobs", id_of(job)))


def jobs(
    cursor: str | None,
    page_size: int,
    *,
    session_id: str | None = None,
    risk: Risk | None = None,
    decision: Decision | None = None,
    state: State | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Request:
    """One page of the jobs. cursor: where it begins, None for the first; the filters are those of
    `Filters`. Raises ValueError for a time without a zone."""
    query = _given(
        session_id=session_id,
        risk=risk,
        decision=decision,
        state=state,
        since=_moment(since),
        until=_moment(until),
        limit=str(page_size),
        cursor=cursor,
    )
    return Request("GET", "/jobs", query=query)


def create_token(ttl_seconds: int, uploads: int, session_id: str | None) -> Request:
    """Make a token. Not repeatable: one that was made unnoticed would stay until it expires."""
    fields = _given(ttl_seconds=ttl_seconds, uploads=uploads, session_id=session_id)
    return Request("POST", "/tokens", fields=fields, repeatable=False)


def begin_stream(
    url: str,
    *,
    window_s: float | None = None,
    stride_s: float | None = None,
    buffer_s: float | None = None,
    band_frames: float | None = None,
    alert_after: int | None = None,
) -> Request:
    """Have a stream followed. Not repeatable: one that was begun unnoticed takes a place until
    the service finds that nobody asks for it."""
    fields = _given(
        url=url,
        window_s=window_s,
        stride_s=stride_s,
        buffer_s=buffer_s,
        band_frames=band_frames,
        alert_after=alert_after,
    )
    return Request("POST", "/streams", fields=fields, repeatable=False)


def stream(stream: Stream | str) -> Request:
    """Ask for a stream."""
    return Request("GET", _stream(stream))


def stream_events(stream: Stream | str, after: str) -> Request:
    """Be told about a stream. after: id of the last event that was told, empty for none."""
    asked = _following(_stream(stream))
    return asked.with_header("Last-Event-ID", after) if after else asked


def end_stream(stream: Stream | str) -> Request:
    """Have a stream followed no further."""
    return Request("DELETE", _stream(stream))


def health() -> Request:
    return Request("GET", "/health")


def ready() -> Request:
    return Request("GET", "/health/ready", expected=(503,))


def printable(what: str, text: str) -> str:
    """The text, which a header can hold. Raises ValueError, without repeating it."""
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError(f"{what} must be printable ASCII characters")
    return text


def _given(**values: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _following(path: str) -> Request:
    return Request("GET", f"{path}/events", headers={"Accept": EVENT_STREAM}, streamed=True)


def _stream(stream: Stream | str) -> str:
    return _under("/streams", stream.stream_id if isinstance(stream, Stream) else stream)


def _under(path: str, name: str) -> str:
    """Raises ValueError for what would lead elsewhere."""
    if name.strip(".") == "":
        raise ValueError("that is no id")
    return f"{path}/{quote(name, safe='')}"


def _moment(at: datetime | None) -> str | None:
    if at is None:
        return None
    if at.utcoffset() is None:
        raise ValueError("a time needs its zone: datetime.now(UTC)")
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
