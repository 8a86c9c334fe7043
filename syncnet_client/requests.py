"""What is asked of the service, as plain values: nothing here sends anything."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypedDict
from urllib.parse import quote

from syncnet_client.recordings import Content, Source, content

EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Request:
    """One request. path: from the service's own address; form: sent with the recording, as
    multipart/form-data; json: a body; repeatable: whether it may be sent again where it is not
    known if it arrived; streamed: the answer is read as it comes."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    recording: Content | None = field(default=None, repr=False)
    json: Mapping[str, Any] | None = None
    repeatable: bool = True
    streamed: bool = False

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

    session_id: of this session; risk: LOW, MEDIUM, HIGH or CRITICAL; decision: ALLOW, NEXT or
    BLOCK; state: such as `succeeded`; since, until: when the job was created, with a time zone.
    """

    session_id: str | None
    risk: str | None
    decision: str | None
    state: str | None
    since: datetime | None
    until: datetime | None


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
    form = {
        "session_id": session_id,
        "user_consent": None if consent is None else _word(consent),
        "partial": _word(partial) if partial else None,
        "heatmap": _word(heatmap) if heatmap else None,
        "metadata": None if metadata is None else json.dumps(metadata),
        "webhook_url": webhook_url,
    }
    key = str(uuid.uuid4()) if idempotency_key is None else printable("the key", idempotency_key)
    return Request(
        "POST",
        "/score",
        headers={"Idempotency-Key": key},
        form={name: value for name, value in form.items() if value is not None},
        recording=content(source),
    )


def leaving(request: Request) -> Request:
    """The same, answered before the recording is scored."""
    return request.with_header("Prefer", "respond-async")


def key_of(request: Request) -> str:
    return request.headers["Idempotency-Key"]


def job(job_id: str, etag: str | None = None) -> Request:
    """Ask for a job. etag: of the last answer; the next one is 304 while nothing has changed."""
    asked = Request("GET", _job_path(job_id))
    return asked if etag is None else asked.with_header("If-None-Match", etag)


def events(job_id: str) -> Request:
    """Follow a job."""
    headers = {"Accept": EVENT_STREAM}
    return Request("GET", f"{_job_path(job_id)}/events", headers=headers, streamed=True)


def delete(job_id: str) -> Request:
    """Cancel a job and delete all that is kept of it."""
    return Request("DELETE", _job_path(job_id))


def jobs(
    cursor: str | None,
    page_size: int,
    *,
    session_id: str | None = None,
    risk: str | None = None,
    decision: str | None = None,
    state: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Request:
    """One page of the jobs. cursor: where it begins, None for the first; the filters are those of
    `Filters`. Raises ValueError for a time without a zone."""
    query = {
        "session_id": session_id,
        "risk": risk,
        "decision": decision,
        "state": state,
        "since": _moment(since),
        "until": _moment(until),
        "limit": str(page_size),
        "cursor": cursor,
    }
    given = {name: value for name, value in query.items() if value is not None}
    return Request("GET", "/jobs", query=given)


def create_token(ttl_seconds: int, uploads: int, session_id: str | None) -> Request:
    """Make a token. Not repeatable: one that was made unnoticed would stay until it expires."""
    wished = {"ttl_seconds": ttl_seconds, "uploads": uploads}
    if session_id is not None:
        return Request(
            "POST", "/tokens", json={**wished, "session_id": session_id}, repeatable=False
        )
    return Request("POST", "/tokens", json=wished, repeatable=False)


def health() -> Request:
    return Request("GET", "/health")


def printable(what: str, text: str) -> str:
    """The text, which a header can hold. Raises ValueError, without repeating it."""
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError(f"{what} must be printable ASCII characters")
    return text


def _job_path(job_id: str) -> str:
    if not job_id or job_id.strip(".") == "":
        raise ValueError("a job has an id")
    return f"/jobs/{quote(job_id, safe='')}"


def _word(value: bool) -> str:
    return "true" if value else "false"


def _moment(at: datetime | None) -> str | None:
    if at is None:
        return None
    if at.utcoffset() is None:
        raise ValueError("a time needs its zone: datetime.now(UTC)")
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
