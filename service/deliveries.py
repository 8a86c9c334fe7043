"""What is noted of requests: who asked, and who got what."""

from collections.abc import Callable

from flask import current_app, g

from service import audit
from service.jobs.intake import Jobs
from service.jobs.records import AdmissionError, Job
from service.problems import code_of
from service.request_errors import RequestError


def note_submitted(job: Job) -> None:
    """A recording was accepted."""
    _note("job.submitted", job.id, "accepted")


def note_refused(error: RequestError | AdmissionError) -> None:
    """A recording was not accepted."""
    _note("job.submitted", None, code_of(error))


def note_deleted(job_id: str) -> None:
    _note("job.deleted", job_id, None)


def note_stream(stream_id: str) -> None:
    """A stream is followed."""
    _note("stream.begun", stream_id, "accepted")


def note_stream_refused(error: RequestError) -> None:
    _note("stream.begun", None, code_of(error))


def note_stream_deleted(stream_id: str) -> None:
    _note("stream.deleted", stream_id, None)


def note_token(token_id: str) -> None:
    """An upload token was made."""
    _note("token.created", token_id, "accepted")


def recorder() -> Callable[[Job], None]:
    """What to call when a job's end has been told to its owner, after the request as well."""
    jobs: Jobs = current_app.extensions["jobs"]
    owner, request_id = g.owner, g.request_id

    def delivered(job: Job) -> None:
        outcome = job.verdict.decision if job.verdict else job.error.code if job.error else None
        if jobs.store.delivered(job.id) and outcome:  # the first time
            jobs.trail.record(
                "job.delivered",
                owner=owner,
                request_id=request_id,
                job_id=job.id,
                outcome=outcome,
                risk=job.verdict.risk_level if job.verdict else None,
            )

    return delivered


def _note(action: audit.Action, job_id: str | None, outcome: str | None) -> None:
    jobs: Jobs = current_app.extensions["jobs"]
    jobs.trail.record(
        action, owner=g.owner, request_id=g.request_id, job_id=job_id, outcome=outcome
    )
