"""Everything that this package raises.

    SyncnetError
    ├── ServiceError            the service answered with a problem: code, status, title, …
    │   ├── RequestRefused      something about the request
    │   │   ├── Unauthorized    no key or token, or a wrong one, or an expired one
    │   │   ├── Forbidden       known, but not allowed
    │   │   └── NotFound        no such job, stream or file, or none of yours
    │   ├── RecordingRefused    something about the recording; `advice` says how to record again
    │   ├── AnalysisTimedOut    the service gave up: the analysis or the upload took too long
    │   ├── JobGone             cancelled, deleted, or its result is no longer kept
    │   ├── TooManyRequests     too much of yours at once or in a minute
    │   └── ServiceFailed       the service broke; nothing is known about the recording
    │       └── Unavailable     it cannot score at the moment
    ├── ConnectionFailed        no answer, after all further attempts
    ├── StreamFailed            the stream cannot be followed, or not any further
    ├── WaitTimeout             no answer in the time that the caller gave
    ├── UnexpectedAnswer        what answered does not speak as syncnet-service does
    └── NotGenuine              a webhook that was not signed with these secrets, or not now

Programs should look at the class or at `code`; the texts are for people and may change.
"""

from syncnet_client.answers import Problem
from syncnet_client.streams import Failure


class SyncnetError(Exception):
    """Base of all errors of this package."""


class ServiceError(SyncnetError):
    """The service answered with a problem, or a job ended in one.

    problem: all that was said; retry_after: seconds after which the same request may be answered,
    None where it never will be as it is, or the service did not say.
    """

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(problem, retry_after)
        self.problem = problem
        self.retry_after = retry_after

    @property
    def code(self) -> str:
        """What happened, as a word that does not change."""
        return self.problem.code

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def title(self) -> str:
        return self.problem.title

    @property
    def detail(self) -> str:
        return self.problem.detail

    @property
    def advice(self) -> str:
        """What to do about it."""
        return self.problem.advice

    @property
    def request_id(self) -> str | None:
        """What to name to the operator: it is in the service's log."""
        return self.problem.request_id

    def __str__(self) -> str:
        said = " ".join(filter(None, [self.detail or self.title, self.advice]))
        request = f" [request {self.request_id}]" if self.request_id else ""
        return f"{self.code} ({self.status}): {said}{request}"


class RequestRefused(ServiceError):
    """Something about the request, not the recording, is not accepted."""


class Unauthorized(RequestRefused):
    """The key or token is missing, wrong or expired."""


class Forbidden(RequestRefused):
    """What was asked is not allowed: no consent, a token that is used up, …"""


class NotFound(RequestRefused):
    """There is no such job, stream or file, or none of the sender's."""


class RecordingRefused(ServiceError):
    """The recording cannot be scored: no face, no sound, too long, no video at all, …"""


class AnalysisTimedOut(ServiceError):
    """The service gave up: the analysis took longer than it may, or the upload was too slow."""


class JobGone(ServiceError):
    """The job was cancelled or deleted, or its result is no longer kept."""


class TooManyRequests(ServiceError):
    """Too many recordings or tokens of yours at once, or in a minute."""


class ServiceFailed(ServiceError):
    """The service broke; nothing is known about the recording."""


class Unavailable(ServiceFailed):
    """The service cannot score at the moment."""


class ConnectionFailed(SyncnetError):
    """No answer came, after all further attempts. `__cause__` is what httpx said last."""


class StreamFailed(SyncnetError):
    """The stream cannot be followed, or not any further. code: what happened, as a word that does
    not change; message, advice: for people."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    @property
    def code(self) -> str:
        return self.failure.code

    @property
    def message(self) -> str:
        return self.failure.message

    @property
    def advice(self) -> str:
        """What to do about it."""
        return self.failure.advice

    def __str__(self) -> str:
        return f"{self.code}: {self.message} {self.advice}".rstrip()


class WaitTimeout(SyncnetError, TimeoutError):
    """No answer came in the time that the caller gave. The job, if there is one, goes on.

    job_id: of the job, where it is known: `wait` waits on; idempotency_key: with which the same
    recording can be sent again and finds its job; both None where there is none.
    """

    def __init__(
        self, message: str, job_id: str | None = None, idempotency_key: str | None = None
    ) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.idempotency_key = idempotency_key


class UnexpectedAnswer(SyncnetError):
    """What answered does not speak as syncnet-service does; the address may be another one's."""


class NotGenuine(SyncnetError, ValueError):
    """A webhook was not signed with these secrets, or not now. The message says why."""


_OF_THE_REQUEST = {"idempotency_key_reused", "webhooks_off", "address_refused"}
"""Codes with a status that otherwise speaks of the recording."""

_BY_STATUS: dict[int, type[ServiceError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: AnalysisTimedOut,
    409: JobGone,
    410: JobGone,
    413: RecordingRefused,
    415: RecordingRefused,
    422: RecordingRefused,
    429: TooManyRequests,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    507: Unavailable,
}


def service_error(problem: Problem, retry_after: float | None = None) -> ServiceError:
    """The problem as an exception of its kind."""
    if problem.code in _OF_THE_REQUEST:
        return RequestRefused(problem, retry_after)
    other = ServiceFailed if problem.status >= 500 else RequestRefused
    return _BY_STATUS.get(problem.status, other)(problem, retry_after)
