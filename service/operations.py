"""What every route may be asked and may answer, in one table; `service.openapi` writes it out."""

from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel

from service import problems, responses, schemas
from service.problems import AnalyzeProblem, Problem, ProblemBody
from service.request_errors import (
    AddressRefused,
    Busy,
    ConsentMissing,
    DatabaseAway,
    FileMissing,
    JobCancelled,
    JobExpired,
    JobMissing,
    Malformed,
    PathRefused,
    RequestError,
    SessionRefused,
    StorageAway,
    StorageFull,
    StreamMissing,
    StreamsOff,
    StreamsTaken,
    TokenExpired,
    TokensTaken,
    TokenUsedUp,
    TooLarge,
    UploadTooSlow,
    WebhooksOff,
)

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation answers when all is well.

    content: a schema or a model by media type; headers: their meanings by name; next: names of
    the operations that take the `job_id` of the body.
    """

    description: str
    content: dict[str, type[BaseModel] | Schema] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    next: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route. refusals: what it may be refused with, told as `problem`."""

    name: str
    summary: str
    answers: dict[int, Answer]
    refusals: tuple[type[RequestError] | Problem, ...] = ()
    query: type[BaseModel] | None = None
    headers: type[BaseModel] | None = None
    body: dict[str, type[BaseModel]] = field(default_factory=dict)
    problem: type[ProblemBody] = ProblemBody


JSON = "application/json"
FORM = "multipart/form-data"
HTML = "text/html"

_OBJECT: Schema = {"type": "object"}
_TEXT: Schema = {"type": "string"}
_EVENT: Schema = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": _TEXT,
        "event": {"enum": list(get_args(responses.EventKind))},
        "data": {
            **_TEXT,
            "contentMediaType": JSON,
            "contentSchema": {
                "anyOf": [
                    {"$ref": f"#/components/schemas/{name}"}
                    for name in ("ProgressEvent", "VerdictBody", "ProblemBody")
                ]
            },
        },
    },
}
"""One event of a stream, as a browser's EventSource gives it."""

_STREAM_EVENT: Schema = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": _TEXT,
        "event": {"enum": list(get_args(responses.StreamEventKind))},
        "data": {**_TEXT, "contentMediaType": JSON},
    },
}

_REPLAYED = {"Idempotency-Replayed": "`true` where the job was there already."}
_OF_A_JOB = (TokenExpired, JobMissing, JobExpired, DatabaseAway)
_WITH_THE_JOB = ("get_job", "follow_job", "delete_job")
_OF_A_RECORDING: tuple[type[RequestError] | Problem, ...] = (
    Malformed,
    ConsentMissing,
    UploadTooSlow,
    JobCancelled,
    JobExpired,
    TooLarge,
    WebhooksOff,
    AddressRefused,
    Busy,
    DatabaseAway,
    StorageAway,
    StorageFull,
    *problems.of_the_queue(),
    *problems.of_the_analysis(),
)


_OF_A_STREAM: tuple[type[RequestError] | Problem, ...] = (
    Malformed,
    TooLarge,
    UploadTooSlow,
    StreamsOff,
    AddressRefused,
    StreamsTaken,
    Busy,
    DatabaseAway,
)


def _score(name: str, summary: str) -> Operation:
    return Operation(
        name,
        summary,
        query=schemas.ScoreQuery,
        headers=schemas.ScoreHeaders,
        body={FORM: schemas.UploadForm, JSON: schemas.PathFields},
        answers={
            200: Answer(
                "The verdict.", {JSON: responses.VerdictBody}, _REPLAYED, next=_WITH_THE_JOB
            ),
            202: Answer(
                "The job is under way: that was asked for, or the service is about to restart.",
                {JSON: responses.Accepted},
                {
                    "Location": "Where to ask for the job.",
                    "Retry-After": "Seconds to wait before.",
                    "Preference-Applied": "`respond-async` where the header Prefer asked for it.",
                    **_REPLAYED,
                },
                next=_WITH_THE_JOB,
            ),
        },
        refusals=(
            *_OF_A_RECORDING,
            PathRefused,
            FileMissing,
            TokenExpired,
            TokenUsedUp,
            SessionRefused,
        ),
    )


def _analyze(name: str, summary: str) -> Operation:
    """As FCN-SyncNet's own web service has it."""
    return Operation(
        name,
        summary,
        headers=schemas.WaitingHeaders,
        body={FORM: schemas.AnalyzeForm},
        answers={
            200: Answer(
                "Its lip-sync.", {JSON: responses.AnalyzeBody}, _REPLAYED, next=_WITH_THE_JOB
            )
        },
        refusals=_OF_A_RECORDING,
        problem=AnalyzeProblem,
    )


def _look(name: str, summary: str, answer: str, kind: str = JSON) -> Operation:
    """One that takes nothing and always answers."""
    schema = _OBJECT if kind == JSON else _TEXT
    return Operation(name, summary, {200: Answer(answer, {kind: schema})})


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("post", "/score"): _score("score", "Score a recording"),
    ("post", "/api/avsync/score"): _score(
        "score_with_consent", "The same for the browser front end, where consent must be given"
    ),
    ("post", "/api/detect"): _analyze("detect", "Lip-sync for clients of FCN-SyncNet"),
    ("post", "/api/analyze"): _analyze("analyze", "The same under its other address"),
    ("get", "/api/status"): Operation(
        "status",
        "Whether a recording would be analysed, for clients of FCN-SyncNet",
        {200: Answer("Whether it would.", {JSON: responses.StatusBody})},
        problem=AnalyzeProblem,
    ),
    ("post", "/api/analyze-stream"): Operation(
        "analyze_stream",
        "Lip-sync of ten seconds of a stream, for clients of FCN-SyncNet",
        {200: Answer("Its lip-sync.", {JSON: responses.AnalyzeStreamBody})},
        (
            *_OF_A_STREAM,
            *problems.of_streams(),
            *problems.of_the_analysis(),
        ),
        body={JSON: schemas.AnalyzeStreamFields},
        problem=AnalyzeProblem,
    ),
    ("post", "/streams"): Operation(
        "begin_stream",
        "Follow a stream",
        {
            201: Answer(
                "It is followed.",
                {JSON: responses.StreamBody},
                {"Location": "Where to ask for the stream."},
            )
        },
        (*_OF_A_STREAM, problems.of_the_broken_analysis()),
        body={JSON: schemas.StreamFields},
    ),
    ("get", "/streams/{stream_id}"): Operation(
        "get_stream",
        "Ask for a stream",
        {200: Answer("Whether it is followed still.", {JSON: responses.StreamBody})},
        (StreamMissing, DatabaseAway),
    ),
    ("delete", "/streams/{stream_id}"): Operation(
        "delete_stream",
        "Follow a stream no further",
        {204: Answer("It is told to end, or has ended.")},
        (StreamMissing, DatabaseAway),
    ),
    ("get", "/streams/{stream_id}/events"): Operation(
        "follow_stream",
        "Be told what is found out about a stream",
        {
            200: Answer(
                "Server-sent events: `opened`, any number of `window`, `gap`, `discontinuity` and "
                "`alert`, then `ended` or `error`.",
                {"text/event-stream": _STREAM_EVENT},
            )
        },
        (
            Malformed,
            StreamMissing,
            DatabaseAway,
            Busy,
        ),
        headers=schemas.LastEvent,
    ),
    ("post", "/tokens"): Operation(
        "create_token",
        "Make an upload token",
        {201: Answer("The token; it is not told again.", {JSON: responses.TokenBody})},
        (Malformed, TooLarge, UploadTooSlow, TokensTaken, Busy, DatabaseAway),
        body={JSON: schemas.TokenFields},
    ),
    ("get", "/jobs"): Operation(
        "list_jobs",
        "List jobs of before",
        {200: Answer("Those of the key, the newest first.", {JSON: responses.HistoryBody})},
        (Malformed, Busy, DatabaseAway),
        query=schemas.HistoryQuery,
    ),
    ("get", "/jobs/{job_id}"): Operation(
        "get_job",
        "Ask for a job",
        {
            200: Answer(
                "How far it is, and what came of it.",
                {JSON: responses.JobBody},
                {"ETag": "Of this answer.", "Retry-After": "Seconds to wait, while it is open."},
                next=("follow_job", "delete_job"),
            ),
            304: Answer("Nothing has changed since the answer that If-None-Match names."),
        },
        _OF_A_JOB,
    ),
    ("delete", "/jobs/{job_id}"): Operation(
        "delete_job",
        "Cancel and delete a job",
        {204: Answer("It is gone: now, or since an earlier time.")},
        (TokenExpired, JobMissing, DatabaseAway),
    ),
    ("get", "/jobs/{job_id}/events"): Operation(
        "follow_job",
        "Follow a job",
        {
            200: Answer(
                "Server-sent events: any number of `progress`, then `result`, `error` or "
                "`cancelled`. Their data is a ProgressEvent; a VerdictBody with `result`, a "
                "ProblemBody with `error`.",
                {"text/event-stream": _EVENT},
            ),
        },
        (*_OF_A_JOB, Busy),
    ),
    ("get", "/health"): _look("health", "What is there", "What is there, and what is loaded."),
    ("get", "/api/avsync/health"): _look(
        "avsync_health",
        "The same for the browser front end",
        "Status and service, and the same as `python_service`.",
    ),
    ("get", "/health/live"): _look("live", "Whether the process answers", "It does."),
    ("get", "/health/ready"): Operation(
        "ready",
        "Whether a recording sent now would be scored",
        {
            200: Answer("It would.", {JSON: _OBJECT}),
            503: Answer("It would not, for these reasons.", {JSON: _OBJECT}),
        },
    ),
    ("get", "/metrics"): _look(
        "metrics", "Figures for Prometheus", "In its text format.", "text/plain"
    ),
    ("get", "/openapi.json"): _look("openapi", "This document", "OpenAPI 3.1."),
    ("get", "/docs"): _look("docs", "The same for people", "A page.", HTML),
    ("get", "/"): _look("page", "Record, and see the verdict", "A page.", HTML),
    ("get", "/history"): _look("history_page", "Look through what was sent", "A page.", HTML),
    ("get", "/avsync.js"): _look(
        "script", "What pages of one's own embed", "An ES module.", "text/javascript"
    ),
    ("get", "/avsync.d.ts"): _look("script_types", "Its types", "For TypeScript.", "text/plain"),
}
