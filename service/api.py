"""POST /score, and the same under the address that the browser front end uses.

A recording is received, kept, and queued as a job; then its sender waits for the job, or asks for
it later (`service.jobs_api`).
"""

import hashlib
import logging
import os
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

from flask import Blueprint, Response, current_app, g, request
from flask.blueprints import BlueprintSetupState

from service import access, deliveries, places, responses, schemas, uploads
from service.addresses import OutgoingRefused, check_url
from service.jobs.intake import Jobs
from service.jobs.records import AdmissionError, Job, KeyReused, NewJob
from service.problems import (
    MAX_FIELDS_BYTES,
    Busy,
    ConsentMissing,
    FileMissing,
    JobCancelled,
    JobExpired,
    Malformed,
    PathRefused,
    RequestError,
    StorageAway,
    StorageFull,
    WebhookRefused,
    WebhooksOff,
    from_library,
    room_is_short,
)
from service.settings import Settings
from syncnet_python.errors import DeadlineExceeded

__all__ = ["MAX_FIELDS_BYTES", "blueprint"]

log = logging.getLogger(__name__)

blueprint = Blueprint("score", __name__)

GRACE_S = 3.0
"""How much later than the deadline the worker's own word for it is waited for."""

JSON = "application/json"
FORM = "multipart/form-data"


@blueprint.record_once
def _make_places(state: BlueprintSetupState) -> None:
    settings: Settings = state.app.extensions["settings"]
    state.app.extensions["places"] = places.for_requests(settings.web_threads)


@blueprint.post("/score")
def score() -> Response:
    return _score(consent_required=False)


@blueprint.post("/api/avsync/score")
def avsync_score() -> Response:
    return _score(consent_required=True)


def _score(*, consent_required: bool) -> Response:
    requests: places.Places = current_app.extensions["places"]
    with ExitStack() as stack:
        try:
            wishes = _Wishes()
            stack.enter_context(requests.taken())
            job, created = _submit(wishes, consent_required=consent_required)
        except (RequestError, AdmissionError) as error:
            deliveries.note_refused(error)
            raise
        deliveries.note_submitted(job)
        answer = _accepted(job) if wishes.respond_async else _awaited(job, wishes)
        if wishes.headers.respond_async:
            answer.headers["Preference-Applied"] = "respond-async"
        if not created:
            answer.headers["Idempotency-Replayed"] = "true"
        return answer


class _Wishes:
    """What a request asks for beside the recording. Raises Malformed."""

    def __init__(self) -> None:
        settings: Settings = current_app.extensions["settings"]
        self.query = schemas.query(request.args)
        self.headers = schemas.headers(request.headers)
        self.respond_async = self.query.respond_async or self.headers.respond_async
        self.waits_until = float(g.arrived) + settings.processing_timeout_seconds  # monotonic

    def fields(self) -> dict[str, object]:
        """Those that the form or the body may name as well."""
        wished = self.query.model_dump(include={"partial", "heatmap"}, exclude_none=True)
        if self.headers.webhook_url is not None:
            wished["webhook_url"] = self.headers.webhook_url
        return wished

    def must_end_by(self) -> float | None:
        """Epoch seconds; None where nobody waits."""
        if self.respond_async:
            return None
        return time.time() + self.waits_until - time.monotonic()

    def job_id(self) -> str:
        """Of the job that the request is about: one of its own without an idempotency key."""
        key = self.headers.idempotency_key
        if key is None:
            return str(uuid.uuid4())
        digest = hashlib.sha256(f"{g.owner}\0{key}".encode()).digest()
        return str(uuid.UUID(bytes=digest[:16], version=4))


def _submit(wishes: _Wishes, *, consent_required: bool) -> tuple[Job, bool]:
    """The job that the request is about, and whether it is new.

    What can be refused without the body is refused before it is read.
    Raises RequestError, AdmissionError.
    """
    jobs: Jobs = current_app.extensions["jobs"]
    settings: Settings = current_app.extensions["settings"]
    if request.mimetype not in (FORM, JSON):
        raise Malformed(f"Send {FORM} or {JSON}.")
    uploads.check_length()
    job_id = wishes.job_id()
    known = jobs.store.get(job_id) if wishes.headers.idempotency_key is not None else None
    if known is None:
        jobs.check(g.owner)
    fields = _fields(wishes, settings)
    if fields.user_consent is False or (consent_required and not fields.user_consent):
        raise ConsentMissing("user_consent must be true.")
    _check_webhook(fields.webhook_url, settings)
    upload, path = None, None
    if isinstance(fields, schemas.PathFields):
        path = _below(settings, fields.video_path)
    else:
        upload = uploads.received("video")
    asked = schemas.canonical(fields) + (upload.sha256.encode() if upload else b"")
    body_sha256 = hashlib.sha256(asked).hexdigest()
    if known is not None:
        if known.body_sha256 != body_sha256:
            raise KeyReused("The idempotency key was used for another request.")
        return known, False
    return jobs.submit(
        NewJob(
            id=job_id,
            owner=g.owner,
            body_sha256=body_sha256,
            session_id=fields.session_id,
            request_id=g.request_id,
            partial=fields.partial,
            heatmap=fields.heatmap,
            media=_kept(jobs, upload) if upload else None,
            video_path=path,
            must_end_by=wishes.must_end_by(),
            webhook_url=fields.webhook_url,
        )
    )


def _fields(wishes: _Wishes, settings: Settings) -> schemas.ScoreFields:
    """What is said about the recording, which is received with it. Raises RequestError."""
    if request.mimetype == FORM:
        uploads.receive_form()
        return schemas.form_fields(request.form, wishes.fields())
    if settings.video_root is None:
        raise PathRefused("Scoring by path is switched off.")
    return schemas.path_fields(uploads.receive_body(MAX_FIELDS_BYTES), wishes.fields())


def _check_webhook(url: str | None, settings: Settings) -> None:
    """Raises WebhooksOff, WebhookRefused."""
    if url is None:
        return
    if settings.webhook_secret is None:
        raise WebhooksOff("The operator has set no WEBHOOK_SECRET.")
    try:
        check_url(url, settings.outgoing_allow)
    except OutgoingRefused as error:
        raise WebhookRefused(str(error)) from error


def _below(settings: Settings, name: str) -> str:
    """The file of that name below VIDEO_ROOT, every link followed, as a name below it.

    Raises PathRefused for what lies outside, whether it exists or not; FileMissing, TooLarge.
    """
    if settings.video_root is None:
        raise PathRefused("Scoring by path is switched off.")
    root = settings.video_root.resolve()
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise PathRefused("video_path lies outside the folder that may be read.")
        readable, size = path.is_file() and os.access(path, os.R_OK), path.stat().st_size
        found = str(path.relative_to(root))
        found.encode()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links, a null byte
        raise FileMissing("video_path names no file.") from error
    if not readable:
        raise FileMissing("video_path names no file.")
    if size > settings.max_video_bytes:
        raise uploads.too_large(settings.max_video_bytes)
    return found


def _kept(jobs: Jobs, upload: uploads.Received) -> str:
    """The key of the recording in the storage. Raises StorageFull, StorageAway."""
    try:
        return jobs.storage.put(Path(upload.path))
    except Exception as error:  # an object store has errors of its own
        if room_is_short(error):
            raise StorageFull("There is no room left to keep the recording.") from error
        log.error("a recording cannot be kept", extra={"kind": type(error).__name__})
        raise StorageAway("The recording cannot be kept at the moment.") from error


def _awaited(job: Job, wishes: _Wishes) -> Response:
    """The answer when the job has ended; what else there is to say when the time is up before.

    Raises RequestError, DeadlineExceeded.
    """
    jobs: Jobs = current_app.extensions["jobs"]
    if not job.ended:
        jobs.watcher.wait(job.id, wishes.waits_until - time.monotonic())
        job = _reread(job)
    if job.state == "running" and wishes.waits_until <= time.monotonic():
        jobs.watcher.wait(job.id, GRACE_S)
        job = _reread(job)
    if not job.ended and (current_app.extensions["draining"]() or _time_left(wishes)):
        jobs.store.wait_no_more(job.id)  # this process ends: another one has the answer later
        return _accepted(job)
    if job.state == "queued":
        if wishes.headers.idempotency_key is not None:
            jobs.store.wait_no_more(job.id)
            raise Busy("Others are served first; the same key finds the job again.")
        if jobs.cancel(job.id):
            raise Busy("Others are served first.")
        job = _reread(job)
    return _answer(job)


def _time_left(wishes: _Wishes) -> bool:
    return time.monotonic() < wishes.waits_until


def _reread(job: Job) -> Job:
    jobs: Jobs = current_app.extensions["jobs"]
    now = jobs.store.get(job.id)
    if now is None:
        raise JobExpired("The job was deleted, or its result has had its time.")
    return now


def _answer(job: Job) -> Response:
    """What came of the job. Raises RequestError, DeadlineExceeded."""
    settings: Settings = current_app.extensions["settings"]
    match job.state:
        case "succeeded":
            body = responses.verdict_body(
                job,
                ttl_seconds=settings.verdict_ttl_seconds,
                request_time_ms=access.elapsed_ms(),
            )
            answer = Response(responses.dump(body), mimetype=JSON)
        case "failed" if job.error is not None:
            answer = from_library(job.error).response()
        case "cancelled":
            raise JobCancelled("The job was cancelled.")
        case "expired":
            raise JobExpired("The job was deleted, or its result has had its time.")
        case _:
            raise DeadlineExceeded("The analysis took longer than it may.")
    delivered = deliveries.recorder()
    answer.call_on_close(lambda: delivered(job))
    return answer


def _accepted(job: Job) -> Response:
    """202: where to ask for the job. Raises JobExpired for one that was deleted."""
    if job.state == "expired":
        raise JobExpired("The job was deleted, or its result has had its time.")
    answer = Response(responses.dump(responses.accepted(job)), status=202, mimetype=JSON)
    answer.headers["Location"] = responses.location(job.id)
    answer.headers["Retry-After"] = "1"
    return answer
