"""GET /openapi.json: what can be asked and answered, from the models that check and make it.

Written here over pydantic's schemas instead of with flask-openapi3, which validates a request
before its view runs: it would read a whole upload before the queue has been asked for a place, take
`session_id=12` of a form for a number, and answer in its own format. Its models would have to be
given all that stands here by hand.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from typing import Any

from flask import Blueprint, Response, current_app
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

import service
from service import keys, problems, responses, schemas
from service.problems import Problem, ProblemBody, RequestError
from service.settings import Settings

blueprint = Blueprint("openapi", __name__)

_REF = "#/components/schemas/{model}"

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation answers when all is well. content: a schema or a model by media type;
    headers: their meanings by name."""

    description: str
    content: dict[str, type[BaseModel] | Schema] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route. refusals: what it may be refused with."""

    summary: str
    answers: dict[int, Answer]
    refusals: tuple[type[RequestError] | Problem, ...] = ()
    query: type[BaseModel] | None = None
    headers: type[BaseModel] | None = None
    body: dict[str, type[BaseModel]] = field(default_factory=dict)


_ANYTHING: Schema = {"type": "object"}
_JOB_HEADERS = {"Location": "Where to ask for the job.", "Retry-After": "Seconds to wait before."}
_REPLAYED = {"Idempotency-Replayed": "`true` where the job was there already."}
_OF_A_JOB = (problems.JobMissing, problems.JobExpired, problems.DatabaseAway)

_SCORE = Operation(
    summary="Score a recording",
    query=schemas.ScoreQuery,
    headers=schemas.ScoreHeaders,
    body={"multipart/form-data": schemas.UploadForm, "application/json": schemas.PathFields},
    answers={
        200: Answer("The verdict.", {"application/json": responses.VerdictBody}, _REPLAYED),
        202: Answer(
            "The job is under way: that was asked for, or the service is about to restart.",
            {"application/json": responses.Accepted},
            {
                **_JOB_HEADERS,
                **_REPLAYED,
                "Preference-Applied": "`respond-async` where the header Prefer asked for it.",
            },
        ),
    },
    refusals=(
        problems.Malformed,
        problems.ConsentMissing,
        problems.PathRefused,
        problems.FileMissing,
        problems.UploadTooSlow,
        problems.JobCancelled,
        problems.JobExpired,
        problems.TooLarge,
        problems.WebhooksOff,
        problems.WebhookRefused,
        problems.Busy,
        problems.DatabaseAway,
        problems.StorageAway,
        problems.StorageFull,
        *problems.of_the_queue(),
        *problems.of_the_analysis(),
    ),
)

_HEALTH = Answer("What is there, and what is loaded.", {"application/json": _ANYTHING})

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("post", "/score"): _SCORE,
    ("post", "/api/avsync/score"): _SCORE,
    ("get", "/jobs/{job_id}"): Operation(
        summary="Ask for a job",
        answers={
            200: Answer(
                "How far it is, and what came of it.",
                {"application/json": responses.JobBody},
                {"ETag": "Of this answer.", "Retry-After": "Seconds to wait, while it is open."},
            ),
            304: Answer("Nothing has changed since the answer that If-None-Match names."),
        },
        refusals=_OF_A_JOB,
    ),
    ("delete", "/jobs/{job_id}"): Operation(
        summary="Cancel and delete a job",
        answers={204: Answer("It is gone: now, or since an earlier time.")},
        refusals=(problems.JobMissing, problems.DatabaseAway),
    ),
    ("get", "/jobs/{job_id}/events"): Operation(
        summary="Follow a job",
        answers={
            200: Answer(
                "Server-sent events: any number of `progress`, whose data is a ProgressEvent, then "
                "one `result` (VerdictBody), `error` (ProblemBody) or `cancelled` (ProgressEvent).",
                {"text/event-stream": {"type": "string"}},
            ),
        },
        refusals=(*_OF_A_JOB, problems.Busy),
    ),
    ("get", "/health"): Operation("What is there", {200: _HEALTH}),
    ("get", "/api/avsync/health"): Operation("The same for the browser front end", {200: _HEALTH}),
    ("get", "/health/live"): Operation(
        "Whether the process answers", {200: Answer("It does.", {"application/json": _ANYTHING})}
    ),
    ("get", "/health/ready"): Operation(
        "Whether a recording sent now would be scored",
        {
            200: Answer("It would.", {"application/json": _ANYTHING}),
            503: Answer("It would not, for these reasons.", {"application/json": _ANYTHING}),
        },
    ),
    ("get", "/metrics"): Operation(
        "Figures for Prometheus",
        {200: Answer("In its text format.", {"text/plain": {"type": "string"}})},
    ),
    ("get", "/openapi.json"): Operation(
        "This document", {200: Answer("OpenAPI 3.1.", {"application/json": _ANYTHING})}
    ),
}

_PATH_PARAMETER = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
}


@blueprint.get("/openapi.json")
def openapi() -> Response:
    settings: Settings = current_app.extensions["settings"]
    return Response(_text(settings.anonymous_allowed), mimetype="application/json")


@cache
def _text(anonymous: bool) -> str:
    return json.dumps(document(anonymous=anonymous), indent=1)


def document(*, anonymous: bool) -> dict[str, Any]:
    """The OpenAPI document. anonymous: whether requests without a key are answered."""
    references, schemas_ = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in OPERATIONS.items():
        described = _operation(operation, references, known_to=_security(path, anonymous))
        described["operationId"] = f"{method}_{path.strip('/')}".translate(_PLAIN)
        if "{job_id}" in path:
            described["parameters"].insert(0, _PATH_PARAMETER)
        paths.setdefault(path, {})[method] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "syncnet-service",
            "version": service.__version__,
            "description": "Lip-sync and face-manipulation scoring for recorded video.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas_,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


_PLAIN = str.maketrans({"/": "_", ".": "_", "{": None, "}": None})

References = dict[type[BaseModel], Schema]


def _schemas() -> tuple[References, dict[str, Any]]:
    """A reference to every model that is named here, and what they refer to."""
    asked: set[type[BaseModel]] = set()
    answered: set[type[BaseModel]] = {ProblemBody, responses.ProgressEvent}
    for operation in OPERATIONS.values():
        asked |= set(operation.body.values())
        for answer in operation.answers.values():
            answered |= {model for model in answer.content.values() if isinstance(model, type)}
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((model, "validation") for model in sorted(asked, key=lambda m: m.__name__)),
        *((model, "serialization") for model in sorted(answered, key=lambda m: m.__name__)),
    ]
    references, definitions = models_json_schema(modes, ref_template=_REF)
    by_model = {
        model: ref
        for (model, _mode), ref in references.items()
        if isinstance(model, type) and issubclass(model, BaseModel)
    }
    return by_model, definitions["$defs"]


def _operation(
    operation: Operation, references: References, *, known_to: list[dict[str, list[str]]]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "security": known_to,
        "parameters": [
            *_parameters(operation.query, "query"),
            *_parameters(operation.headers, "header"),
        ],
        "responses": {
            str(status): _answer(answer, references) for status, answer in operation.answers.items()
        },
    }
    if operation.body:
        content = {kind: {"schema": references[model]} for kind, model in operation.body.items()}
        described["requestBody"] = {"required": True, "content": content}
    refusals = [_problem(refusal) for refusal in operation.refusals]
    if known_to:
        refusals.append(_problem(keys.Unauthorized))
    described["responses"] |= _refusals([*refusals, problems.INTERNAL], references)
    return described


def _parameters(model: type[BaseModel] | None, where: str) -> list[dict[str, Any]]:
    """The fields of a model as parameters; left out instead of null."""
    if model is None:
        return []
    properties: dict[str, Schema] = model.model_json_schema()["properties"]
    return [
        {
            "name": name,
            "in": where,
            "description": schema.get("description", ""),
            "schema": next((s for s in schema.get("anyOf", []) if s != {"type": "null"}), None)
            or {"type": schema["type"]},
        }
        for name, schema in properties.items()
    ]


def _answer(answer: Answer, references: References) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    if answer.content:
        described["content"] = {
            kind: {"schema": references[what] if isinstance(what, type) else what}
            for kind, what in answer.content.items()
        }
    if answer.headers:
        described["headers"] = _headers(answer.headers)
    return described


def _headers(meanings: dict[str, str]) -> dict[str, Any]:
    return {
        name: {"description": meaning, "schema": {"type": "string"}}
        for name, meaning in meanings.items()
    }


def _problem(refusal: type[RequestError] | Problem) -> Problem:
    return refusal if isinstance(refusal, Problem) else problems.from_request(refusal(""))


def _refusals(refusals: Iterable[Problem], references: References) -> dict[str, Any]:
    """What may go wrong, by status: every code with its title."""
    described: dict[str, Any] = {}
    in_order = sorted(refusals, key=lambda problem: problem.status)
    for status, group in groupby(in_order, key=lambda problem: problem.status):
        alike = {problem.code: problem for problem in group}
        answer = Answer(
            "; ".join(f"`{code}`: {problem.title}" for code, problem in alike.items()),
            {problems.MEDIA_TYPE: ProblemBody},
            {"Retry-After": "Seconds to wait before the request is sent again."}
            if any(problem.retry_after_s is not None for problem in alike.values())
            else {},
        )
        described[str(status)] = _answer(answer, references)
    return described


def _security(path: str, anonymous: bool) -> list[dict[str, list[str]]]:
    """How senders may say who they are; nothing where nobody is asked."""
    if path in keys.OPEN_ROUTES:
        return []
    known: list[dict[str, list[str]]] = [{"bearer": []}, {"key": []}]
    return [*known, {}] if anonymous else known
