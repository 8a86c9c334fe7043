"""Why a request is not answered, whatever the recording in it: raised by views and what they call,
turned into answers by `service.problems`.
"""

from typing import ClassVar

from service.addresses import OutgoingRefused

RETRY_AFTER_S = 5


class RequestError(Exception):
    """Something about the request, not the recording. The message says what.

    retry_after_s: when the same request may be answered, None where it never will be as it is.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]
    advice: ClassVar[str]
    retry_after_s: ClassVar[int | None] = None


class Malformed(RequestError):
    status = 400
    code = "malformed_request"
    title = "The request is malformed"
    advice = "Compare the request with docs/http.md."


class TokenExpired(RequestError):
    status = 401
    code = "token_expired"
    title = "The upload token has expired"
    advice = "Get a new token, which POST /tokens makes with a key."


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


class TokenUsedUp(RequestError):
    status = 403
    code = "token_used_up"
    title = "The upload token is used up"
    advice = "Get a new token, which POST /tokens makes with a key."


class SessionRefused(RequestError):
    status = 403
    code = "session_refused"
    title = "The upload token is for another session"
    advice = "Leave session_id out, or get a token for that session."


class FileMissing(RequestError):
    status = 404
    code = "no_such_file"
    title = "There is no such file"
    advice = "Check video_path; it is taken from the folder that VIDEO_ROOT sets."


class JobMissing(RequestError):
    status = 404
    code = "no_such_job"
    title = "There is no such job"
    advice = "Check the id, and send the API key that the recording was sent with."


class UploadTooSlow(RequestError):
    status = 408
    code = "upload_too_slow"
    title = "The upload is too slow"
    advice = "Send a shorter recording, or send it over a faster connection."


class JobCancelled(RequestError):
    status = 409
    code = "cancelled"
    title = "The job was cancelled"
    advice = "Send the recording again, with another Idempotency-Key where one was sent."


class JobExpired(RequestError):
    status = 410
    code = "expired"
    title = "The result is no longer kept"
    advice = "Send the recording again, with another Idempotency-Key where one was sent."

    def __init__(
        self, detail: str = "The job was deleted, or its result has had its time."
    ) -> None:
        super().__init__(detail)


class TooLarge(RequestError):
    status = 413
    code = "too_large"
    title = "The recording is too large"
    advice = "Send a shorter recording, or one of a lower resolution."


class WebhooksOff(RequestError):
    status = 422
    code = "webhooks_off"
    title = "No webhooks are sent"
    advice = (
        "Ask for the job's state instead. Webhooks need a WEBHOOK_SECRET, which the operator "
        "sets, and a key in place of an upload token."
    )


class AddressRefused(RequestError):
    status = 422
    code = OutgoingRefused.code
    title = "That address is not called"
    advice = OutgoingRefused.advice


class StreamMissing(RequestError):
    status = 404
    code = "no_such_stream"
    title = "There is no such stream"
    advice = "Check the id, and send the API key that the stream was begun with."


class StreamsOff(RequestError):
    status = 403
    code = "streams_off"
    title = "No streams are followed"
    advice = "Upload recordings, or have the operator set MAX_STREAMS."


class TokensTaken(RequestError):
    status = 429
    code = "too_many_tokens"
    title = "Too many upload tokens at once"
    advice = "Make tokens with a smaller ttl_seconds, or with more uploads each."
    retry_after_s = 60


class Busy(RequestError):
    status = 503
    code = "busy"
    title = "The service is busy"
    advice = "Send the same request again in a few seconds."
    retry_after_s = RETRY_AFTER_S


class StreamsTaken(RequestError):
    status = 503
    code = "streams_full"
    title = "Too many streams at once"
    advice = "End one that is followed, or try again later."
    retry_after_s = 30


class DatabaseAway(RequestError):
    status = 503
    code = "database_unavailable"
    title = "The jobs cannot be reached"
    advice = "Try again in a few seconds; if it lasts, the operator has to see to the database."
    retry_after_s = RETRY_AFTER_S


class StorageAway(RequestError):
    status = 503
    code = "storage_unavailable"
    title = "The recording cannot be kept"
    advice = "Try again in a few seconds; if it lasts, the operator has to see to the storage."
    retry_after_s = RETRY_AFTER_S


class StorageFull(RequestError):
    status = 507
    code = "storage_full"
    title = "There is no room for the recording"
    advice = "Try again later; the operator has to make room."
    retry_after_s = 30
