"""GET /openapi.json: what can be asked and answered, from the models that check and make it.

Written here over pydantic's schemas instead of with flask-openapi3, which validates a request
before its view runs: it would read a whole upload before the queue has been asked for a place, take
`session_id=12` of a form for a number, and answer in its own format. Its models would have to be
given all that stands in `service.operations` by hand.
"""

import json
import re
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema
from pydantic_core import core_schema

import service
from service import keys, problems, responses
from service.operations import FORM, JSON, OPERATIONS, Answer, Operation, Schema
from service.problems import Problem, ProblemBody
from service.request_errors import RequestError
from service.settings import Settings

blueprint = Blueprint("openapi", __name__)

EXAMPLES = Path(__file__).with_name("examples.json")
"""What was sent and answered, by schema; written by `python -m evaluation.examples`."""

References = dict[type[BaseModel], Schema]
"""A reference to each model's schema."""

_UUID: Schema = {"in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}


@blueprint.get("/openapi.json")
def openapi() -> Response:
    settings: Settings = current_app.extensions["settings"]
    return Response(_text(settings.anonymous_allowed), mimetype=JSON)


@cache
def _text(anonymous: bool) -> str:
    return json.dumps(document(anonymous=anonymous), indent=1)


def document(*, anonymous: bool) -> dict[str, Any]:
    """The OpenAPI document. anonymous: whether requests without a key are answered."""
    references, schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in OPERATIONS.items():
        security = _security(path, anonymous)
        described = _operation(operation, references, security)
        for name in re.findall(r"\{(\w+)\}", path):
            described["parameters"].insert(0, {"name": name, **_UUID})
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
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key; where recordings are sent and their jobs asked "
                    "for, an upload token too.",
                },
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


class _WithoutNull(GenerateJsonSchema):
    """Of what is sent as text, in a form, a query or a header: what is not said is left out."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Schema:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Schema:
        described = super().default_schema(schema)
        if described.get("default", ...) is None:
            del described["default"]
        return described


def _schemas() -> tuple[References, dict[str, Schema]]:
    """A reference to every model that the operations name, and what they refer to."""
    asked: dict[type[BaseModel], type[GenerateJsonSchema]] = {}
    answered: set[type[BaseModel]] = {ProblemBody, responses.ProgressEvent}
    for operation in OPERATIONS.values():
        answered.add(operation.problem)
        for kind, model in operation.body.items():
            asked[model] = _WithoutNull if kind == FORM else GenerateJsonSchema
        for answer in operation.answers.values():
            answered |= {model for model in answer.content.values() if isinstance(model, type)}
    references: References = {}
    schemas: dict[str, Schema] = {}

    def add(
        models: Iterable[type[BaseModel]],
        mode: JsonSchemaMode,
        generator: type[GenerateJsonSchema] = GenerateJsonSchema,
    ) -> None:
        made, definitions = models_json_schema(
            [(model, mode) for model in models],
            ref_template="#/components/schemas/{model}",
            schema_generator=generator,
        )
        references.update({model: made[model, mode] for model in models})
        schemas.update(definitions["$defs"])

    for model, generator in asked.items():
        add([model], "validation", generator)
    add(sorted(answered, key=lambda model: model.__name__), "serialization")
    examples = json.loads(EXAMPLES.read_bytes())
    for name in schemas.keys() & examples.keys():
        schemas[name]["examples"] = [examples[name]]
    return references, schemas


def _operation(
    operation: Operation, references: References, security: list[dict[str, list[str]]]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "security": security,
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
    if security:
        refusals.append(_problem(keys.Unauthorized))
    described["responses"] |= _refusals(
        [*refusals, problems.INTERNAL], references[operation.problem]
    )
    return described


def _parameters(model: type[BaseModel] | None, where: str) -> list[Schema]:
    """The fields of a model as parameters."""
    if model is None:
        return []
    properties: dict[str, Schema] = model.model_json_schema(schema_generator=_WithoutNull)[
        "properties"
    ]
    return [
        {"name": name, "in": where, "description": schema.pop("description"), "schema": schema}
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
        described["headers"] = {
            name: {"description": meaning, "schema": {"type": "string"}}
            for name, meaning in answer.headers.items()
        }
    if answer.next:
        described["links"] = {
            name: {"operationId": name, "parameters": {"job_id": "$response.body#/job_id"}}
            for name in answer.next
        }
    return described


def _problem(refusal: type[RequestError] | Problem) -> Problem:
    return refusal if isinstance(refusal, Problem) else problems.from_request(refusal(""))


def _refusals(refusals: Iterable[Problem], body: Schema) -> dict[str, Any]:
    """What may go wrong, by status: every code with its title. body: the schema of them all."""
    described: dict[str, Any] = {}
    in_order = sorted(refusals, key=lambda problem: problem.status)
    for status, group in groupby(in_order, key=lambda problem: problem.status):
        alike = {problem.code: problem for problem in group}
        answer = Answer(
            "; ".join(f"`{code}`: {problem.title}" for code, problem in alike.items()),
            {problems.MEDIA_TYPE: body},
            {"Retry-After": "Seconds to wait before the request is sent again."}
            if any(problem.retry_after_s is not None for problem in alike.values())
            else {},
        )
        described[str(status)] = _answer(answer, {})
    return described


def _security(path: str, anonymous: bool) -> list[dict[str, list[str]]]:
    """How senders may say who they are; nothing where nobody is asked."""
    if path in keys.OPEN_ROUTES:
        return []
    known: list[dict[str, list[str]]] = [{"bearer": []}, {"key": []}]
    return [*known, {}] if anonymous and path not in keys.KEYED_ROUTES else known
