"""/api/detect, /api/analyze and their like: the web service of FCN-SyncNet, for its clients.

Views over the same jobs as POST /score, and the same streams as POST /streams. What its clients
read is named as they know it; the offset keeps this service's sign, by which they too say "delay
the sound" above nought.
"""

from flask import Blueprint, Response, current_app, request

import service
from service import access, api, problems, responses, schemas, streams_api, uploads
from service.health import Pulse, report
from service.jobs.intake import Jobs
from service.jobs.records import Job
from service.operations import FORM, JSON
from service.problems import Problem
from service.request_errors import Busy, Malformed
from service.settings import Settings
from service.streams.messages import Wanted
from syncnet_python.results import Missing

blueprint = Blueprint("fcn", __name__)

MAX_NAME = 255
"""Characters of a file's name that are repeated."""


@blueprint.post("/api/detect")
@blueprint.post("/api/analyze")
def analyze() -> Response:
    """Lip-sync of a recording; the answer of the original, once the analysis has ended."""
    if request.mimetype != FORM:
        raise Malformed(f"Send {FORM}.")
    with api.submitted(schemas.AnalyzeFields, may_leave=False) as sent:
        job = api.awaited(sent.job, sent.wishes)
        if not job.ended:
            _give_up(job, keyed=sent.wishes.headers.idempotency_key is not None)
        answer = api.answered(job, _measured)
        if not sent.created:
            answer.headers["Idempotency-Replayed"] = "true"
        return answer


@blueprint.post("/api/analyze-stream")
def analyze_stream() -> Response:
    """The first window of a stream that has figures; then it is followed no further."""
    settings: Settings = current_app.extensions["settings"]
    with current_app.extensions["places"].taken():
        fields = uploads.receive_fields(schemas.AnalyzeStreamFields)
        stream = streams_api.followed(Wanted(url=fields.url))
        try:
            window = streams_api.first_window(stream, settings.processing_timeout_seconds)
        finally:
            streams_api.stop(stream)
    calibration = settings.calibration
    body = responses.analyze_stream_body(
        window,
        url=fields.url,
        capture_offset=calibration.capture_offset if calibration else 0.0,
        processing_time=access.elapsed_ms() / 1000,
        settings=responses.AnalyzeSettings.model_validate(fields, from_attributes=True),
    )
    return Response(responses.dump(body), mimetype=JSON)


@blueprint.get("/api/status")
def status() -> Response:
    """Whether a recording would be analysed, in the word that the original's page shows."""
    extensions = current_app.extensions
    pulse: Pulse = extensions["pulse"]
    health = report(extensions["settings"], pulse.workers(), extensions["calibration"])
    available: bool = health["syncnet_available"]
    word: responses.StatusWord = "Model Ready" if available else "No Pretrained Model"
    if available and health["status"] != "healthy":
        word = "No Worker"
    body = responses.StatusBody(
        status=word, pretrained_available=available, version=service.__version__
    )
    return Response(responses.dump(body), mimetype=JSON)


@blueprint.after_request
def _in_their_words(response: Response) -> Response:
    """A problem as these clients read it: not a success, and `error` a sentence for people."""
    if response.mimetype == problems.MEDIA_TYPE:
        said = response.get_json()
        body = problems.AnalyzeProblem(**{**said, "error": said["detail"]})
        response.set_data(body.model_dump_json())
    return response


def _measured(job: Job) -> Response:
    """The answer of a job that has succeeded; a problem where its lip-sync is missing."""
    if job.verdict is None:
        raise ValueError("the job has no verdict")
    if job.verdict.syncnet is None:
        missing = next(part for part in job.verdict.missing if part.part == "syncnet")
        return _problem(missing).response()
    fields = schemas.form_fields(request.form, {}, schemas.AnalyzeFields)
    name = (request.files["video"].filename or "")[:MAX_NAME]
    body = responses.analyze_body(
        job,
        video_name=name.encode("utf-8", "replace").decode(),
        settings=responses.AnalyzeSettings.model_validate(fields, from_attributes=True),
    )
    return Response(responses.dump(body), mimetype=JSON)


def _problem(missing: Missing) -> Problem:
    """Why there is no lip-sync, as the same error would be told of the whole analysis."""
    return problems.told(missing.code, missing.message, missing.advice)


def _give_up(job: Job, *, keyed: bool) -> None:
    """This process ends, and these clients cannot ask for a job. keyed: the sender can find it
    again by sending the same once more.

    Raises Busy.
    """
    jobs: Jobs = current_app.extensions["jobs"]
    if not keyed:
        jobs.cancel(job.id)
    raise Busy("The service is about to restart.")
