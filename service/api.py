"""POST /score, and the same under the address that the browser front end uses.

A recording is received, kept, and queued as a job; then its sender waits for the job, or asks for
it later (`service.jobs_api`).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from flask import Blueprint, Response, current_app, g
from flask.blueprints import BlueprintSetupState

from service import access, deliveries, places, responses, schemas, tokens
from service.jobs.intake import Jobs
from service.jobs.records import AdmissionError, Job
from service.operations import JSON
from service.problems import from_library
from service.request_errors import Busy, JobCancelled, JobExpired, RequestError
from service.settings import Settings
from service.submissions import Wishes, submit
from syncnet_python.errors import DeadlineExceeded

blueprint = Blueprint("score", __name__)

GRACE_S = 3.0
"""How much later than the deadline the worker's own word for it is waited for."""


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


@dataclass(frozen=True, slots=True)
class Submitted:
    """A recording that was taken on. created: its job is new, and not another request's."""

    wishes: Wishes
    job: Job
    created: bool


@contextmanager
def submitted(
    form: type[schemas.ScoreFields] = schemas.ScoreFields,
    *,
    consent_required: bool = False,
    may_leave: bool = True,
) -> Iterator[Submitted]:
    """Take the request's recording on, and hold its place among those who wait for an answer.

    form: what the form may say; may_leave: whether the sender may wish not to wait.
    Raises RequestError, AdmissionError.
    """
    requests: places.Places = current_app.extensions["places"]
    with ExitStack() as stack:
        try:
            wishes = Wishes(may_leave=may_leave)
            stack.enter_context(requests.taken())
            job, created = submit(wishes, form, consent_required=consent_required)
        except (RequestError, AdmissionError) as error:
            deliveries.note_refused(error)
            raise
        deliveries.note_submitted(job)
        yield Submitted(wishes, job, created)


def _score(*, consent_required: bool) -> Response:
    with submitted(consent_required=consent_required) as sent:
        leaves = sent.wishes.respond_async
        job = sent.job if leaves else awaited(sent.job, sent.wishes)
        answer = _accepted(job) if leaves or not job.ended else answered(job, _verdict)
        if sent.wishes.headers.respond_async:
            answer.headers["Preference-Applied"] = "respond-async"
        if not sent.created:
            answer.headers["Idempotency-Replayed"] = "true"
        return answer


def awaited(job: Job, wishes: Wishes) -> Job:
    """The job when it has ended; still open where this process ends before: another one will have
    the answer.

    Raises RequestError, DeadlineExceeded.
    """
    jobs: Jobs = current_app.extensions["jobs"]
    if not job.ended:
        jobs.watcher.wait(job.id, wishes.waits_until - time.monotonic())
        job = _reread(job)
    time_is_up = wishes.waits_until <= time.monotonic()
    if job.state == "running" and time_is_up:
        jobs.watcher.wait(job.id, GRACE_S)
        job = _reread(job)
    if not job.ended and (current_app.extensions["draining"]() or not time_is_up):
        jobs.store.wait_no_more(job.id)
        return job
    if job.state == "queued":
        if wishes.headers.idempotency_key is not None:
            jobs.store.wait_no_more(job.id)
            raise Busy("Its turn has not come in time; the same key finds the job again.")
        if jobs.cancel(job.id):
            if g.token:
                tokens.give_back(jobs.engine, g.token, job.id)
            raise Busy("Its turn has not come in time.")
        job = _reread(job)
    if not job.ended:
        raise DeadlineExceeded("The analysis took longer than it may.")
    return job


def _reread(job: Job) -> Job:
    """The job as it is now. Raises JobExpired."""
    jobs: Jobs = current_app.extensions["jobs"]
    now = jobs.store.get(job.id)
    if now is None:
        raise JobExpired()
    return now


def answered(job: Job, told: Callable[[Job], Response]) -> Response:
    """What came of a job that has ended. told: the answer where it has succeeded.

    Raises JobCancelled, JobExpired.
    """
    match job.state:
        case "succeeded":
            answer = told(job)
        case "failed" if job.error is not None:
            answer = from_library(job.error).response()
        case "cancelled":
            raise JobCancelled("The job was cancelled.")
        case _:
            raise JobExpired()
    delivered = deliveries.recorder()
    answer.call_on_close(lambda: delivered(job))
    return answer


def _verdict(job: Job) -> Response:
    settings: Settings = current_app.extensions["settings"]
    body = responses.verdict_body(
        job,
        ttl_seconds=settings.verdict_ttl_seconds,
        request_time_ms=access.elapsed_ms(),
    )
    return Response(responses.dump(body), mimetype=JSON)


def _accepted(job: Job) -> Response:
    """202: where to ask for the job. Raises JobCancelled, JobExpired."""
    if job.state == "cancelled":
        raise JobCancelled("The job was cancelled.")
    if job.state == "expired":
        raise JobExpired()
    answer = Response(responses.dump(responses.accepted(job)), status=202, mimetype=JSON)
    answer.headers["Location"] = responses.location(job.id)
    answer.headers["Retry-After"] = "1"
    return answer
