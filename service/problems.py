"""Errors to answers: the one place that turns what went wrong into problem+json (RFC 9457).

The errors of the library (`syncnet_python.errors`), those of the queue (`service.jobs.records`) and
those of a request (`service.request_errors`) end here; views raise them and never format them.
"""

import errno
import logging
import sqlite3
import traceback
from dataclasses import dataclass
from typing import Literal

from flask import Flask, Response, g, jsonify
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection
from werkzeug.exceptions import HTTPException

from service.addresses import OutgoingRefused
from service.jobs import records
from service.request_errors import (
    RETRY_AFTER_S,
    DatabaseAway,
    Malformed,
    RequestError,
    StorageFull,
    TooLarge,
)
from service.scoring.scorer import Busy as ScorerBusy
from syncnet_python import errors

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

# The first class that an error is an instance of decides; those of _ROOTS take in what has no row.
_LIBRARY: tuple[tuple[type[errors.SyncNetError], int, str], ...] = (
    (errors.NotAVideo, 415, "The file is no video"),
    (errors.Undecodable, 422, "The recording cannot be decoded"),
    (errors.NoVideo, 422, "The recording has no picture"),
    (errors.NoAudio, 422, "The recording has no sound"),
    (errors.SilentAudio, 422, "The recording is silent"),
    (errors.NoFace, 422, "No face was found"),
    (errors.TrackTooShort, 422, "The face was not in view for long enough"),
    (errors.TooLong, 422, "The recording is too long"),
    (errors.TooLargeFrame, 422, "The picture is too large"),
    (errors.TooSmallFrame, 422, "The picture is too small"),
    (errors.TooManyFrames, 422, "The recording has too many pictures"),
    (errors.TooMuchSound, 422, "The recording has too much sound"),
    (errors.TooManyStreams, 422, "The recording has too many streams"),
    (errors.DecodeTimedOut, 422, "Decoding took too long"),
    (errors.DecoderOverran, 422, "Decoding needs too much"),
    (errors.DecoderCrashed, 422, "The recording breaks the decoder"),
    (errors.RecordingError, 422, "The recording cannot be scored"),
    (errors.WeightsMissing, 503, "Model weights are missing"),
    (errors.WeightsCorrupt, 503, "Model weights are damaged"),
    (errors.ModelError, 503, "A model cannot be used"),
    (errors.CalibrationUnusable, 503, "The calibration cannot be used"),
    (errors.CalibrationMismatch, 503, "The calibration belongs to other models"),
    (errors.CalibrationError, 503, "The calibration failed"),
    (ScorerBusy, 503, "The service is busy"),
    (errors.DeadlineExceeded, 408, "The analysis took too long"),
    (errors.AnalysisFailed, 500, "The analysis broke"),
    (errors.SyncNetError, 500, "The analysis failed"),
)

_ROOTS = (errors.RecordingError, errors.CalibrationError, errors.SyncNetError)
"""Raised by nobody themselves."""

# Likewise of the queue: status, code, title and advice.
_ADMISSION = {
    records.QueueFull: (
        503,
        "queue_full",
        "The queue is full",
        "Send the same request again when Retry-After says.",
    ),
    records.TooManyJobs: (
        429,
        "too_many_jobs",
        "Too many recordings at once",
        "Wait for the answers to those sent before.",
    ),
    records.RateLimited: (
        429,
        "rate_limited",
        "Too many recordings a minute",
        "Send the same request again when Retry-After says.",
    ),
    records.KeyReused: (
        422,
        "idempotency_key_reused",
        "The idempotency key belongs to another request",
        "Use a new Idempotency-Key for every recording.",
    ),
}

# Likewise of streams, by the codes of `workflows.stream.playlists`: status and title.
_STREAMS = {
    "stream_unavailable": (422, "The stream cannot be read"),
    "not_a_playlist": (422, "The address is no HLS playlist"),
    "stream_unsupported": (422, "The stream is of a kind that is not followed"),
    "stream_ended": (422, "The stream ended too early"),
    OutgoingRefused.code: (422, "That address is not called"),
}

# What the framework itself refuses, by status: code and advice.
_HTTP = {
    404: ("not_found", "The routes are listed in docs/http.md."),
    405: ("method_not_allowed", "The Allow header names the methods of this route."),
    413: (TooLarge.code, TooLarge.advice),
}


class ProblemBody(BaseModel):
    """What went wrong (RFC 9457). `error` and `message` repeat `code` and `detail`."""

    type: str = Field(pattern=r"^urn:syncnet-service:problem:[a-z_]+$")
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str | None
    advice: str
    error: str
    message: str


class AnalyzeProblem(ProblemBody):
    """The same for the clients of FCN-SyncNet, which show `error` to people: it is `detail`."""

    success: Literal[False] = False


@dataclass(frozen=True, slots=True)
class Problem:
    """One answer about one thing that went wrong; the fields of RFC 9457 and advice."""

    status: int
    code: str
    title: str
    detail: str
    advice: str
    retry_after_s: int | None = None

    def body(self, request_id: str | None) -> ProblemBody:
        """The body also has the older keys: `error` is the code and `message` the detail."""
        return ProblemBody(
            type=f"urn:syncnet-service:problem:{self.code}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            instance=f"urn:syncnet-service:request:{request_id}",
            code=self.code,
            request_id=request_id,
            advice=self.advice,
            error=self.code,
            message=self.detail,
        )

    def response(self) -> Response:
        answer = jsonify(self.body(g.get("request_id")).model_dump())
        answer.status_code = self.status
        answer.mimetype = MEDIA_TYPE
        if self.retry_after_s is not None:
            answer.headers["Retry-After"] = str(self.retry_after_s)
        return answer


def from_library(error: errors.SyncNetError) -> Problem:
    status, title = next((s, t) for kind, s, t in _LIBRARY if isinstance(error, kind))
    retry_after_s = RETRY_AFTER_S if isinstance(error, ScorerBusy) else None
    return Problem(status, error.code, title, error.message, error.advice, retry_after_s)


def from_admission(error: records.AdmissionError) -> Problem:
    status, code, title, advice = _ADMISSION[type(error)]
    retry_after_s = None if isinstance(error, records.KeyReused) else error.retry_after_s
    return Problem(status, code, title, str(error), advice, retry_after_s)


def from_request(error: RequestError) -> Problem:
    return Problem(
        error.status, error.code, error.title, str(error), error.advice, error.retry_after_s
    )


def of_the_analysis() -> list[Problem]:
    """One of every kind that an analysis may end in, without what it would say."""
    return [
        Problem(status, kind.code, title, "", kind.advice)
        for kind, status, title in _LIBRARY
        if kind not in _ROOTS
    ]


def of_the_queue() -> list[Problem]:
    """One of every kind that the queue may refuse a recording with, likewise."""
    return [from_admission(kind("")) for kind in _ADMISSION]


INTERNAL = Problem(
    500, "internal", "The service broke", "The request could not be answered.", "Try again."
)


def of_streams() -> list[Problem]:
    """One of every kind that following a stream may end in, likewise."""
    return [Problem(status, code, title, "", "") for code, (status, title) in _STREAMS.items()]


def of_the_broken_analysis() -> Problem:
    return from_library(errors.AnalysisFailed(""))


def told(code: str, message: str, advice: str) -> Problem:
    """What an analysis or a stream ended in, of which only this is known."""
    if code in _STREAMS:
        status, title = _STREAMS[code]
    else:
        known = next((p for p in of_the_analysis() if p.code == code), INTERNAL)
        status, title, code = known.status, known.title, known.code
    return Problem(status, code, title, message, advice)


class StreamBroken(Exception):
    """A stream, or a window of one, has no figures for a reason that it gave itself."""

    def __init__(self, code: str, message: str, advice: str) -> None:
        super().__init__(message)
        self.problem = told(code, message, advice)


def code_of(error: RequestError | records.AdmissionError) -> str:
    """The stable code that the error is answered with."""
    return error.code if isinstance(error, RequestError) else from_admission(error).code


def room_is_short(error: BaseException) -> bool:
    """Whether an error says that the disk, or one's share of it, is full."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    # Postgres: class 53100, disk_full.
    if getattr(error, "sqlstate", None) == "53100":
        return True
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    code, advice = _HTTP.get(status, (Malformed.code, Malformed.advice))
    answer = Problem(status, code, error.name, error.description or error.name, advice).response()
    for name, value in error.get_headers():
        if name.lower() != "content-type":
            answer.headers[name] = value
    return answer


def _unexpected(error: Exception) -> Response:
    if room_is_short(error):
        return from_request(StorageFull("The disk is full.")).response()
    # The exception's own text may quote what the sender wrote: left out of the log.
    log.error(
        "a request broke",
        extra={
            "request_id": g.get("request_id"),
            "kind": type(error).__name__,
            "where": "".join(traceback.format_tb(error.__traceback__)),
        },
    )
    if isinstance(error, DBAPIError | NoConnection):
        return from_request(DatabaseAway("The database does not answer.")).response()
    return INTERNAL.response()


def register(app: Flask) -> None:
    """Answer every error of the application with problem+json."""
    app.register_error_handler(errors.SyncNetError, lambda e: from_library(e).response())
    app.register_error_handler(records.AdmissionError, lambda e: from_admission(e).response())
    app.register_error_handler(RequestError, lambda e: from_request(e).response())
    app.register_error_handler(StreamBroken, lambda e: e.problem.response())
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
