"""POST /score, and the same under the address that the browser front end uses."""

import time
from pathlib import Path
from typing import Any

from flask import Blueprint, current_app, g, request

from service import access, responses, schemas
from service.problems import ConsentMissing, FileMissing, Malformed, PathRefused, TooLarge
from service.scorer import Scorer
from service.settings import Settings
from service.uploads import received

blueprint = Blueprint("score", __name__)

MAX_FIELDS_BYTES = 64 * 1024
"""What a request may hold beside the recording, in bytes."""


@blueprint.post("/score")
def score() -> dict[str, Any]:
    return _score(consent_required=False)


@blueprint.post("/api/avsync/score")
def avsync_score() -> dict[str, Any]:
    return _score(consent_required=True)


def _score(*, consent_required: bool) -> dict[str, Any]:
    settings: Settings = current_app.extensions["settings"]
    scorer: Scorer = current_app.extensions["scorer"]
    fields = _fields(settings)
    if fields.user_consent is False or (consent_required and not fields.user_consent):
        raise ConsentMissing("user_consent must be true.")
    path = _recording(fields, settings)
    started = time.monotonic()
    verdict = scorer.score(
        path,
        g.request_id,
        partial=fields.partial,
        heatmap=fields.heatmap,
        deadline=started + settings.processing_timeout_seconds,
    )
    return responses.verdict_body(
        verdict,
        session_id=fields.session_id,
        request_id=g.request_id,
        ttl_seconds=settings.verdict_ttl_seconds,
        processing_time_ms=round((time.monotonic() - started) * 1000),
        request_time_ms=access.elapsed_ms(),
    )


def _fields(settings: Settings) -> schemas.ScoreFields:
    """What is said about the recording. Raises RequestError."""
    if request.mimetype == "multipart/form-data":
        return schemas.form_fields(request.form, request.args)
    if request.mimetype != "application/json":
        raise Malformed("Send multipart/form-data or application/json.")
    if settings.video_root is None:
        raise PathRefused("Scoring by path is switched off.")
    request.max_content_length = MAX_FIELDS_BYTES
    return schemas.path_fields(request.get_data())


def _recording(fields: schemas.ScoreFields, settings: Settings) -> Path:
    """Where the recording lies. Raises RequestError."""
    if isinstance(fields, schemas.PathFields) and settings.video_root is not None:
        return _below(settings.video_root, fields.video_path, settings.max_video_bytes)
    return received("video")


def _below(root: Path, name: str, max_bytes: int) -> Path:
    """The file of that name under root, every link followed.

    Raises PathRefused for what lies outside, whether it exists or not; FileMissing, TooLarge.
    """
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()):
            raise PathRefused("video_path lies outside the folder that may be read.")
        is_file, size = path.is_file(), path.stat().st_size
    except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links, a null byte
        raise FileMissing("video_path names no file.") from error
    if not is_file:
        raise FileMissing("video_path names no file.")
    if size > max_bytes:
        raise TooLarge(f"The recording has more than {max_bytes / 2**20:g} MB.")
    return path
