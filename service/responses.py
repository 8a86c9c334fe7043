"""Answers, as the models that make them and that describe them in /openapi.json."""

import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, Field, create_model

from service.jobs.history import Past
from service.jobs.records import Job, Shown
from service.problems import ProblemBody, from_library
from service.streams.records import Stream
from service.tokens import Token
from syncnet_python.calibration import corrected_offset
from syncnet_python.results import FRAME_RATE, Decision, Doubt, Risk, TrackResult, Verdict


class Figures(BaseModel):
    """What was measured of one face; as in `syncnet`."""

    offset_frames: int
    confidence: float | None
    min_dist: float | None
    chosen: bool


class Debug(BaseModel):
    """Every face that could be measured."""

    num_results: int
    all_results: list[Figures]


class _Flat(BaseModel):
    """What is answered beside the verdict: flat copies for the browser client, and the request."""

    score: float | None = Field(description="The combined score.")
    offset_frames: int | None
    lag_ms: int | None
    confidence: float | None
    min_dist: float | None
    session_id: str
    request_id: str
    job_id: str
    ttl_ms: int = Field(description="Epoch milliseconds until which it may be relied on.")
    processing_time_ms: int = Field(description="The analysis, waiting for it included.")
    request_time_ms: int = Field(description="From the arrival of the request that was scored.")
    debug: Debug


# The caller's name for the recording is here the job's id.
_OF_THE_VERDICT: dict[str, Any] = {
    name: (kind, ...) for name, kind in get_type_hints(Verdict).items() if name != "reference"
}
_BESIDE: dict[str, Any] = {name: (f.annotation, f) for name, f in _Flat.model_fields.items()}

VerdictBody: type[BaseModel] = create_model(
    "VerdictBody",
    __doc__="A verdict with all that it rests on. Scores are 0-1, higher is more likely genuine.",
    **_OF_THE_VERDICT,
    **_BESIDE,
)
"""The verdict's own fields under their own names, and what stands beside them."""


class Links(BaseModel):
    """Where to find more about the job, from the root of the service."""

    this: str = Field(alias="self")
    events: str


class Accepted(BaseModel):
    """The recording will be scored; nobody waits for the answer."""

    job_id: str
    state: Shown
    links: Links


class JobBody(BaseModel):
    """How far a job is, and what came of it: a result, an error, or neither."""

    job_id: str
    state: Shown
    stage: str | None = Field(description="What is done now; null before and after.")
    progress: float = Field(ge=0, le=1)
    created: datetime
    started: datetime | None
    finished: datetime | None
    result: VerdictBody | None  # type: ignore[valid-type]  # made above
    error: ProblemBody | None
    links: Links


EventKind = Literal["progress", "result", "error", "cancelled"]
"""Any number of `progress`, then one of the others, whatever came of the job."""


class ProgressEvent(BaseModel):
    """The data of an event `progress`, or `cancelled`."""

    state: str
    stage: str | None
    progress: float


class AnalyzeSettings(BaseModel):
    """What the request said, in frames, brought within bounds; it changes nothing."""

    window_size: int
    stride: int
    buffer_size: int


class AnalyzeBody(BaseModel):
    """Lip-sync of a recording, as FCN-SyncNet's own web service answers it, and where the rest is.

    offset_frames > 0: the sound leads the picture, and has to be delayed.
    """

    success: Literal[True] = True
    video_name: str = Field(description="What the sender called the file.")
    offset_frames: int = Field(description="Less what the operator's set-up always adds.")
    offset_seconds: float
    confidence: float
    raw_offset: int = Field(description="Frames, as measured.")
    processing_time: float = Field(description="Seconds: the analysis, waiting for it included.")
    settings: AnalyzeSettings
    doubts: list[Doubt] = Field(description="Why these figures say nothing; empty where they do.")
    job_id: str = Field(description="Of the job, whose whole verdict GET /jobs/{id} tells.")
    request_id: str


class TokenBody(BaseModel):
    """An upload token, told this once."""

    token: str = Field(description="To be sent as `Authorization: Bearer <token>`.")
    expires_at: datetime
    uploads: int = Field(description="Recordings that may be sent with it.")
    session_id: str | None = Field(description="Of all that is sent with it; null for any.")


class PastJob(BaseModel):
    """A job in the history. What the verdict says is null where there is none (yet)."""

    job_id: str
    session_id: str
    state: Shown
    risk_level: Risk | None
    decision: Decision | None
    combined_score: float | None
    inconclusive: bool | None
    created: datetime
    finished: datetime | None
    links: Links


class HistoryBody(BaseModel):
    """Jobs of before, the newest first."""

    jobs: list[PastJob]
    next: str | None = Field(description="The `cursor` of the page after this; null on the last.")


StatusWord = Literal["Model Ready", "No Worker", "No Pretrained Model"]


class AnalyzeStreamBody(BaseModel):
    """Lip-sync of ten seconds of a stream, as FCN-SyncNet's own web service answers it."""

    success: Literal[True] = True
    video_name: str = Field(description="The last part of the address's path.")
    source_url: str
    offset_frames: int = Field(description="Less what the operator's set-up always adds.")
    offset_seconds: float
    confidence: float
    raw_offset: int = Field(description="Frames, as measured.")
    processing_time: float = Field(description="Seconds from the request to the answer.")
    settings: AnalyzeSettings
    doubts: list[Doubt] = Field(description="Why these figures say nothing; empty where they do.")


class StreamBody(BaseModel):
    """A stream that is followed, or was until a few minutes ago."""

    stream_id: str
    state: Literal["running", "ended"]
    created: datetime
    window: dict[str, Any] | None = Field(description="The last one; as in its event.")
    links: Links


StreamEventKind = Literal["opened", "window", "gap", "discontinuity", "alert", "ended", "error"]


class StatusBody(BaseModel):
    """Whether a recording would be analysed."""

    status: StatusWord
    pretrained_available: bool = Field(description="Whether the networks of lip-sync are here.")
    version: str


def verdict_body(job: Job, *, ttl_seconds: int, request_time_ms: int | None = None) -> BaseModel:
    """The verdict of a job that has succeeded, and flat copies for the browser client.

    ttl_seconds: how long it may be relied on, from when it was found; request_time_ms: from the
    arrival of the request, where it is still open.
    """
    verdict = job.verdict
    if verdict is None or job.finished_at is None:
        raise ValueError("the job has no verdict")
    sync = verdict.syncnet
    results = [_figures(t) for t in sync.tracks if t.offset_frames is not None] if sync else []
    processing_time_ms = round((job.finished_at - job.created_at) * 1000)
    own = {
        field.name: getattr(verdict, field.name)
        for field in dataclasses.fields(verdict)
        if field.name != "reference"
    }
    return VerdictBody.model_construct(
        **own,
        score=verdict.combined_score,
        offset_frames=sync.offset_frames if sync else None,
        lag_ms=sync.lag_ms if sync else None,
        confidence=sync.confidence if sync else None,
        min_dist=sync.min_dist if sync else None,
        session_id=job.session_id,
        request_id=job.request_id,
        job_id=job.id,
        ttl_ms=int((job.finished_at + ttl_seconds) * 1000),
        processing_time_ms=processing_time_ms,
        request_time_ms=processing_time_ms if request_time_ms is None else request_time_ms,
        debug=Debug(num_results=len(results), all_results=results),
    )


def _figures(track: TrackResult) -> Figures:
    return Figures.model_validate(track, from_attributes=True)


def analyze_body(job: Job, *, video_name: str, settings: AnalyzeSettings) -> AnalyzeBody:
    """The lip-sync part of a verdict. Raises ValueError where there is none."""
    verdict = job.verdict
    if verdict is None or verdict.syncnet is None or job.finished_at is None:
        raise ValueError("the job has no lip-sync")
    sync = verdict.syncnet
    offset = sync.offset_frames
    if verdict.calibration is not None:
        offset = corrected_offset(sync.subframe_offset, verdict.calibration.capture_offset)
    return AnalyzeBody.model_construct(
        video_name=video_name,
        offset_frames=offset,
        offset_seconds=offset / FRAME_RATE,
        confidence=sync.confidence,
        raw_offset=sync.offset_frames,
        processing_time=round(job.finished_at - job.created_at, 3),
        settings=settings,
        doubts=list(sync.doubts),
        job_id=job.id,
        request_id=job.request_id,
    )


def job_body(job: Job, *, ttl_seconds: int) -> JobBody:
    """Everything about a job that has not expired."""
    return JobBody.model_construct(
        job_id=job.id,
        state=job.state,
        stage=job.stage,
        progress=round(job.progress, 3),
        created=_moment(job.created_at),
        started=None if job.started_at is None else _moment(job.started_at),
        finished=None if job.finished_at is None else _moment(job.finished_at),
        result=None if job.verdict is None else verdict_body(job, ttl_seconds=ttl_seconds),
        error=None if job.error is None else from_library(job.error).body(job.request_id),
        links=links(job.id),
    )


def token_body(text: str, token: Token) -> TokenBody:
    """A token that has just been made. text: it itself."""
    return TokenBody.model_construct(
        token=text,
        expires_at=_moment(token.expires_at),
        uploads=token.uploads_left,
        session_id=token.session_id,
    )


def history_body(found: Iterable[Past], *, following: str | None) -> HistoryBody:
    """A page of jobs. following: the cursor of the one after it."""
    jobs = [
        PastJob.model_construct(
            job_id=job.id,
            session_id=job.session_id,
            state=job.state,
            risk_level=job.risk,
            decision=job.decision,
            combined_score=job.combined_score,
            inconclusive=job.inconclusive,
            created=_moment(job.created_at),
            finished=None if job.finished_at is None else _moment(job.finished_at),
            links=links(job.id),
        )
        for job in found
    ]
    return HistoryBody.model_construct(jobs=jobs, next=following)


def accepted(job: Job) -> Accepted:
    """That a job is under way, or has ended already."""
    return Accepted.model_construct(job_id=job.id, state=job.state, links=links(job.id))


def links(job_id: str) -> Links:
    return Links.model_validate({"self": location(job_id), "events": f"{location(job_id)}/events"})


def analyze_stream_body(
    window: dict[str, Any],
    *,
    url: str,
    capture_offset: float,
    processing_time: float,
    settings: AnalyzeSettings,
) -> AnalyzeStreamBody:
    """Of a window that has figures, as its event tells it. capture_offset: the operator's."""
    raw: int = window["offset_frames"]
    offset = corrected_offset(float(raw), capture_offset)
    return AnalyzeStreamBody.model_construct(
        video_name=PurePosixPath(url.split("?")[0].split("#")[0]).name[:50],
        source_url=url,
        offset_frames=offset,
        offset_seconds=offset / FRAME_RATE,
        confidence=window["confidence"],
        raw_offset=raw,
        processing_time=processing_time,
        settings=settings,
        doubts=window["doubts"],
    )


def stream_body(stream: Stream, window: dict[str, Any] | None) -> StreamBody:
    at = stream_location(stream.id)
    return StreamBody.model_construct(
        stream_id=stream.id,
        state="ended" if stream.ended else "running",
        created=_moment(stream.created_at),
        window=window,
        links=Links.model_validate({"self": at, "events": f"{at}/events"}),
    )


def stream_location(stream_id: str) -> str:
    return f"/streams/{stream_id}"


def location(job_id: str) -> str:
    return f"/jobs/{job_id}"


def dump(body: BaseModel) -> str:
    """A body as JSON."""
    return body.model_dump_json(by_alias=True)


def _moment(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(round(epoch_s, 3), UTC)
