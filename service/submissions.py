"""From a request to its job: what it wishes for, what it brings, and a place in the queue.

What can be refused without the body is refused before it is read.
"""

import hashlib
import logging
import os
import time
import uuid
from functools import partial
from pathlib import Path

from flask import current_app, g, request

from service import schemas, tokens, uploads
from service.addresses import OutgoingRefused, check_url
from service.jobs.intake import Jobs
from service.jobs.records import Job, KeyReused, NewJob
from service.operations import FORM, JSON
from service.problems import room_is_short
from service.request_errors import (
    AddressRefused,
    ConsentMissing,
    FileMissing,
    Malformed,
    PathRefused,
    SessionRefused,
    StorageAway,
    StorageFull,
    WebhooksOff,
)
from service.settings import Settings

log = logging.getLogger(__name__)


class Wishes:
    """What a request asks for beside the recording. Raises Malformed.

    may_leave: whether it may be answered before the recording is scored.
    """

    def __init__(self, *, may_leave: bool = True) -> None:
        settings: Settings = current_app.extensions["settings"]
        self.query = schemas.query(request.args)
        self.headers = schemas.headers(request.headers)
        leaves = self.query.respond_async or self.headers.respond_async
        self.respond_async = may_leave and leaves
        self._patience_s = settings.processing_timeout_seconds
        self.received()

    def received(self) -> None:
        """The recording is there: from now on its sender waits. How long it took to come is the
        line's doing, and bounded by itself (`service.pacing`)."""
        self.waits_until = time.monotonic() + self._patience_s

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

    def job_id(self, jobs: Jobs) -> str:
        """Of the job that the request is about: one of its own without an idempotency key. Each
        upload token has keys of its own."""
        key = self.headers.idempotency_key
        sender = f"{g.owner}/{g.token.id}" if g.token else g.owner
        return str(uuid.uuid4()) if key is None else jobs.store.id_for(sender, key)


def submit(
    wishes: Wishes, form: type[schemas.ScoreFields], *, consent_required: bool
) -> tuple[Job, bool]:
    """The job that the request is about, and whether it is new. form: what its form may say.

    Raises RequestError, AdmissionError.
    """
    jobs: Jobs = current_app.extensions["jobs"]
    if request.mimetype not in (FORM, JSON):
        raise Malformed(f"Send {FORM} or {JSON}.")
    uploads.check_length()
    job_id = wishes.job_id(jobs)
    known = jobs.store.get(job_id) if wishes.headers.idempotency_key is not None else None
    if known is not None:
        return _receive(wishes, form, job_id, known, consent_required=consent_required)
    if g.token:
        tokens.check_left(g.token)
    with jobs.arriving(g.owner):
        return _receive(wishes, form, job_id, None, consent_required=consent_required)


def _receive(
    wishes: Wishes,
    form: type[schemas.ScoreFields],
    job_id: str,
    known: Job | None,
    *,
    consent_required: bool,
) -> tuple[Job, bool]:
    """As `submit`. known: the job of that id, where it is there."""
    jobs: Jobs = current_app.extensions["jobs"]
    settings: Settings = current_app.extensions["settings"]
    keyed = wishes.headers.idempotency_key is not None
    fields = _of_its_session(_fields(wishes, form, settings))
    wishes.received()
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
    if not keyed:
        jobs.looks.repeat(g.owner)  # the queue may have been filled while this one came
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
        ),
        known=keyed,
        also=partial(tokens.spend, g.token) if g.token else None,
    )


def _fields(
    wishes: Wishes, form: type[schemas.ScoreFields], settings: Settings
) -> schemas.ScoreFields:
    """What is said about the recording, which is received with it. Raises RequestError."""
    if request.mimetype == FORM:
        uploads.receive_form()
        return schemas.form_fields(request.form, wishes.fields(), form)
    if settings.video_root is None:
        raise PathRefused("Scoring by path is switched off.")
    if g.token:
        raise PathRefused("An upload token is for uploads.")
    return schemas.path_fields(uploads.receive_body(schemas.MAX_FIELDS_BYTES), wishes.fields())


def _of_its_session(fields: schemas.ScoreFields) -> schemas.ScoreFields:
    """The fields with the session that the sender's upload token is for, where it is for one.
    Raises SessionRefused."""
    session_id = g.token.session_id if g.token else None
    if session_id is None:
        return fields
    if "session_id" in fields.model_fields_set and fields.session_id != session_id:
        raise SessionRefused("session_id is not the one that the upload token was made for.")
    return fields.model_copy(update={"session_id": session_id})


def _check_webhook(url: str | None, settings: Settings) -> None:
    """Raises WebhooksOff, AddressRefused."""
    if url is None:
        return
    if g.token:
        raise WebhooksOff("No webhook_url is taken with an upload token.")
    if settings.webhook_secret is None:
        raise WebhooksOff("The operator has set no WEBHOOK_SECRET.")
    try:
        check_url(url, settings.outgoing_allow)
    except OutgoingRefused as error:
        raise AddressRefused(str(error)) from error


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
