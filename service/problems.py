"""Errors to answers: the one place that turns what went wrong into problem+json (RFC 9457).

The errors of the library (`syncnet_python.errors`) and those of a request itself, below, end here;
views raise them and never format them.
"""

import logging
import traceback
from dataclasses import dataclass
from typing import ClassVar

from flask import Flask, Response, g, jsonify
from werkzeug.exceptions import HTTPException

from service.scorer import Busy
from syncnet_python import errors

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class RequestError(Exception):
    """Something about the request, not the recording. The message says what."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]
    advice: ClassVar[str]


class Malformed(RequestError):
    status = 400
    code = "malformed_request"
    title = "The request is malformed"
    advice = "Compare the request with docs/http.md."


class ConsentMissing(RequestError):
    status = 403
    code = "no_consent"
    title = "No consent to the analysis"
    advice = "Ask the person recorded, then send user_consent=true."


class PathRefused(RequestError):
    status = 403
    code = "path_refused"
    title = "The file may not be read"
    advice = "Upload the recording, or name a file inside the folder that VIDEO_ROOT sets."


class FileMissing(RequestError):
    status = 404
    code = "no_such_file"
    title = "There is no such file"
    advice = "Check video_path; it is taken from the folder that VIDEO_ROOT sets."


class TooLarge(RequestError):
    status = 413
    code = "too_large"
    title = "The recording is too large"
    advice = "Send a shorter recording, or one of a lower resolution."


# The first class that an error is an instance of decides.
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
    (errors.RecordingError, 422, "The recording cannot be scored"),
    (errors.WeightsMissing, 503, "Model weights are missing"),
    (errors.WeightsCorrupt, 503, "Model weights are damaged"),
    (errors.ModelError, 503, "A model cannot be used"),
    (errors.CalibrationUnusable, 503, "The calibration cannot be used"),
    (errors.CalibrationMismatch, 503, "The calibration belongs to other models"),
    (errors.TooFewRecordings, 503, "There are too few recordings to calibrate with"),
    (errors.CalibrationError, 503, "The calibration failed"),
    (Busy, 503, "The service is busy"),
    (errors.DeadlineExceeded, 408, "The analysis took too long"),
    (errors.AnalysisFailed, 500, "The analysis broke"),
    (errors.SyncNetError, 500, "The analysis failed"),
)

# What the framework itself refuses, by status: code and advice.
_HTTP = {
    404: ("not_found", "The routes are listed in docs/http.md."),
    405: ("method_not_allowed", "The Allow header names the methods of this route."),
}

RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """One answer about one thing that went wrong; the fields of RFC 9457 and advice."""

    status: int
    code: str
    title: str
    detail: str
    advice: str

    def response(self) -> Response:
        """The body also has the older keys: `error` is the code and `message` the detail."""
        request_id = g.get("request_id")
        answer = jsonify(
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
        answer.status_code = self.status
        answer.mimetype = MEDIA_TYPE
        return answer


def from_library(error: errors.SyncNetError) -> Problem:
    status, title = next((s, t) for kind, s, t in _LIBRARY if isinstance(error, kind))
    return Problem(status, error.code, title, error.message, error.advice)


def _library_error(error: errors.SyncNetError) -> Response:
    answer = from_library(error).response()
    if isinstance(error, Busy):
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def _request_error(error: RequestError) -> Response:
    return Problem(error.status, error.code, error.title, str(error), error.advice).response()


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status == TooLarge.status:
        return _request_error(TooLarge("The request has more bytes than are accepted."))
    code, advice = _HTTP.get(status, (Malformed.code, Malformed.advice))
    answer = Problem(status, code, error.name, error.description or error.name, advice).response()
    for name, value in error.get_headers():
        if name.lower() != "content-type":
            answer.headers[name] = value
    return answer


def _unexpected(error: Exception) -> Response:
    # The exception's own text may quote what the sender wrote: left out of the log.
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("request %s broke with %s:\n%s", g.get("request_id"), type(error).__name__, where)
    return Problem(
        500, "internal", "The service broke", "The request could not be answered.", "Try again."
    ).response()


def register(app: Flask) -> None:
    """Answer every error of the application with problem+json."""
    app.register_error_handler(errors.SyncNetError, _library_error)
    app.register_error_handler(RequestError, _request_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
