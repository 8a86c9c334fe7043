"""Jobs after they were accepted: asked for, followed, deleted. Only their owner can."""

import hashlib
import re
from collections.abc import Iterator
from http import HTTPStatus

from flask import Blueprint, Response, current_app, g, request
from flask.blueprints import BlueprintSetupState
from pydantic import BaseModel

from service import deliveries, places, responses, server_sent, tokens
from service.jobs.intake import Jobs
from service.jobs.records import Job, JobState
from service.problems import from_library, from_request
from service.request_errors import JobExpired, JobMissing
from service.settings import Settings

blueprint = Blueprint("jobs", __name__)

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@blueprint.record_once
def _make_places(state: BlueprintSetupState) -> None:
    settings: Settings = state.app.extensions["settings"]
    state.app.extensions["streams"] = places.for_streams(settings.web_threads)


@blueprint.get("/jobs/<job_id>")
def show(job_id: str) -> Response:
    """The job as it is; from the second time on only what is new, by ETag."""
    settings: Settings = current_app.extensions["settings"]
    job = _kept(job_id)
    body = responses.dump(responses.job_body(job, ttl_seconds=settings.verdict_ttl_seconds))
    answer = Response(body, mimetype="application/json")
    answer.set_etag(hashlib.sha256(body.encode()).hexdigest()[:32])
    if not job.ended:
        answer.headers["Retry-After"] = "1"
    answer.make_conditional(request)
    if job.ended and answer.status_code == HTTPStatus.OK and request.method == "GET":
        delivered = deliveries.recorder()
        answer.call_on_close(lambda: delivered(job))
    return answer


@blueprint.get("/jobs/<job_id>/events")
def events(job_id: str) -> Response:
    """Every change until the job has ended, as server-sent events."""
    return server_sent.answer(_events(_kept(job_id)))


@blueprint.delete("/jobs/<job_id>")
def delete(job_id: str) -> Response:
    """Cancel the job if it is open, and delete all that is kept of it. May be repeated."""
    jobs: Jobs = current_app.extensions["jobs"]
    if _own(job_id).state != "expired":
        if jobs.cancel(job_id) is None:
            jobs.erase(job_id)
        deliveries.note_deleted(job_id)
    return Response(status=204)


def _own(job_id: str) -> Job:
    """The sender's job of that id; with an upload token, one that was sent with it. Raises
    JobMissing."""
    jobs: Jobs = current_app.extensions["jobs"]
    job = jobs.store.get(job_id) if _ID.fullmatch(job_id) else None
    if (
        job is None
        or job.owner != g.owner
        or not (g.token is None or tokens.sent(jobs.engine, g.token, job_id))
    ):
        raise JobMissing("You have no job of that id.")
    return job


def _kept(job_id: str) -> Job:
    """The same, unless it was deleted or cancelled. Raises JobMissing, JobExpired."""
    job = _own(job_id)
    if job.state == "cancelled":
        raise JobExpired("The job was cancelled.")
    if job.state == "expired":
        raise JobExpired()
    return job


def _events(job: Job) -> Iterator[str]:
    """What is told of the job. Everything that belongs to the request is taken along before it has
    been answered."""
    jobs: Jobs = current_app.extensions["jobs"]
    settings: Settings = current_app.extensions["settings"]
    request_id: str = g.request_id
    delivered = deliveries.recorder()

    def end(state: JobState, number: int) -> Iterator[str]:
        now = jobs.store.get(job.id)
        if now is not None and now.verdict is not None:
            body = responses.verdict_body(now, ttl_seconds=settings.verdict_ttl_seconds)
            yield _event(number, "result", body)
        elif now is not None and now.error is not None:
            yield _event(number, "error", from_library(now.error).body(now.request_id))
        elif now is not None and now.state == "cancelled":
            yield _event(number, "cancelled", _progress(now))
        else:
            yield _event(number, "error", from_request(JobExpired()).body(request_id))
            return
        delivered(now)

    def told() -> Iterator[str]:
        for number, state in enumerate(jobs.watcher.follow(job.id), 1):
            if state is None:
                yield server_sent.KEEP_ALIVE
            elif state.ended:
                yield from end(state, number)
            else:
                yield _event(number, "progress", _progress(state))

    return told()


def _progress(state: JobState) -> responses.ProgressEvent:
    return responses.ProgressEvent(
        state=state.state, stage=state.stage, progress=round(state.progress, 3)
    )


def _event(number: int, kind: responses.EventKind, data: BaseModel) -> str:
    return server_sent.event(number, kind, responses.dump(data))
