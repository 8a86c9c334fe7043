"""What happens once an answer has been sent: it is noted who got what.

Writing to the database is left until then, so that nobody's answer waits for it.
"""

from collections.abc import Callable

from flask import Response, after_this_request, current_app, g

from service import audit
from service.jobs.intake import Jobs
from service.jobs.records import AdmissionError, Job
from service.problems import RequestError, code_of


def note_submitted(job: Job) -> None:
    """A recording was accepted."""
    _note("job.submitted", job.id, "accepted")


def note_refused(error: RequestError | AdmissionError) -> None:
    """A recording was not accepted."""
    _note("job.submitted", None, code_of(error))


def note_deleted(job_id: str) -> None:
    _note("job.deleted", job_id, None)


def recorder() -> Callable[[Job], None]:
    """What to call when a job's end has been told to its owner, after the request as well."""
    jobs: Jobs = current_app.extensions["jobs"]
    owner, request_id = g.owner, g.request_id

    def delivered(job: Job) -> None:
        outcome = job.verdict.decision if job.verdict else job.error.code if job.error else None
        if jobs.store.delivered(job.id) and outcome:  # the first time
            audit.record(
                jobs.engine,
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
    owner, request_id = g.owner, g.request_id

    @after_this_request
    def noting(response: Response) -> Response:
        def write() -> None:
            audit.record(
                jobs.engine,
                action,
                owner=owner,
                request_id=request_id,
                job_id=job_id,
                outcome=outcome,
            )

        response.call_on_close(write)
        return response
