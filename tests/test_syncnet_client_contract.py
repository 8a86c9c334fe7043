"""Both Python clients against the service's OpenAPI document: what there is to ask they can ask,
what they ask is in it, and both ask the same.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import httpx
import jsonschema_rs
import pytest
import stream_doubles
from client_doubles import KINDS, UNKNOWN, event, job_told, opening, progress, verdict_told

from service.openapi import document
from syncnet_client import Client, OnServer

ELSEWHERE = {
    "score_with_consent": "score, with the wish `consent`",
    "avsync_health": "health, under the name that the browser front end asks for",
    "live": "for orchestrators: health answers as soon, and says more",
    "status": "for clients of FCN-SyncNet, as the three below",
    "detect": "score has its figures and more",
    "analyze": "likewise",
    "analyze_stream": "begin_stream and stream_events have its figures and more",
    "openapi": "for programs that make clients",
}
"""Operations that have no method in the clients, and where what they do is to be had."""

PAGES = {"text/html", "text/javascript", "text/plain"}
"""What is answered to browsers, and to Prometheus."""

SAID_OTHERWISE = {
    ("score", "async"): "the header Prefer",
    ("score", "partial"): "the field of that name",
    ("score", "heatmap"): "the field of that name",
    ("score", "Webhook-Url"): "the field webhook_url",
}
"""Parameters that are not sent, and what is sent in their stead."""

OF_HTTP = {
    *("host", "accept", "accept-encoding", "connection", "user-agent"),
    *("authorization", "content-type", "content-length", "if-none-match"),
}
"""Headers that mean the same everywhere."""

CURSOR = "c" * 32
EVERYTHING: dict[str, Any] = {
    "session_id": "visit-17",
    "consent": True,
    "partial": True,
    "heatmap": True,
    "metadata": {"kiosk": 7},
    "webhook_url": "https://example.org/hook",
    "idempotency_key": "a key",
}
STREAM = {
    "stream_id": UNKNOWN,
    "state": "running",
    "created": "2026-11-21T10:00:00Z",
    "window": stream_doubles.WINDOW,
    "links": {},
}
FILTERS: dict[str, Any] = {
    "session_id": "visit-17",
    "risk": "LOW",
    "decision": "ALLOW",
    "state": "succeeded",
    "since": datetime(2026, 11, 20, tzinfo=UTC),
    "until": datetime(2026, 11, 21, tzinfo=UTC),
}

CALLS: dict[str, Callable[[Any], Any]] = {
    "score": lambda client: client.score(b"x", **EVERYTHING),
    "submit": lambda client: client.submit(OnServer("clips/recording.webm"), **EVERYTHING),
    "job": lambda client: client.job(UNKNOWN),
    "wait": lambda client: client.wait(UNKNOWN),
    "events": lambda client: list(client.events(UNKNOWN)),
    "jobs": lambda client: list(client.jobs(page_size=7, **FILTERS)),
    "delete": lambda client: client.delete(UNKNOWN),
    "create_token": lambda client: client.create_token(
        ttl_seconds=60, uploads=2, session_id="visit-17"
    ),
    "begin_stream": lambda client: client.begin_stream(
        "https://example.org/live.m3u8",
        window_s=4.0,
        stride_s=1.0,
        buffer_s=20.0,
        band_frames=2.0,
        alert_after=2,
    ),
    "stream": lambda client: client.stream(UNKNOWN),
    "stream_events": lambda client: list(client.stream_events(UNKNOWN)),
    "end_stream": lambda client: client.end_stream(UNKNOWN),
    "health": lambda client: client.health(),
    "ready": lambda client: client.ready(),
}
"""Every method, with all that it can be told."""


@cache
def described() -> dict[str, Any]:
    return document(anonymous=False)


def operations() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every operation, by name."""
    return {
        operation["operationId"]: (method.upper(), path, operation)
        for path, methods in described()["paths"].items()
        for method, operation in methods.items()
    }


def is_page(operation: dict[str, Any]) -> bool:
    answered = {
        kind
        for status, answer in operation["responses"].items()
        if status.startswith("2")
        for kind in answer.get("content", {})
    }
    return bool(answered) and answered <= PAGES


def operations_of_clients() -> set[str]:
    named = operations().items()
    return {name for name, (*_, operation) in named if not is_page(operation)} - set(ELSEWHERE)


def asked_by(request: httpx.Request) -> str:
    """The name of the operation that a request is."""
    path = request.url.path.replace(UNKNOWN, "{id}")
    (found,) = (
        name
        for name, (method, template, _) in operations().items()
        if (method, re.sub(r"\{\w+\}", "{id}", template)) == (request.method, path)
    )
    return found


def fields_of(request: httpx.Request) -> dict[str, Any] | None:
    """The names of the body's fields, with their values where it is JSON."""
    if request.headers.get("content-type") == "application/json":
        fields: dict[str, Any] = json.loads(request.content)
        return fields
    names = re.findall(rb'; name="(\w+)"', request.content)
    return {name.decode(): None for name in names} or None


def answers() -> dict[str, list[httpx.Response]]:
    """What is answered, one after the other, by operation."""
    page: dict[str, Any] = {"jobs": [], "next": None}
    schemas = described()["components"]["schemas"]
    (token,) = schemas["TokenBody"]["examples"]
    told, ended = verdict_told(), stream_doubles.ENDED

    def events(*pieces: bytes) -> httpx.Response:
        content = b"retry: 0\n\n" + b"".join(pieces)
        return httpx.Response(200, content=content, headers={"Content-Type": "text/event-stream"})

    def job(state: str, **given: Any) -> httpx.Response:
        headers = {"ETag": '"1"', "Retry-After": "0"}
        return httpx.Response(200, json=job_told(state, **given), headers=headers)

    done = job("succeeded", result=told)
    health = {"status": "healthy", "version": "1", "syncnet_available": True}
    return {
        "score": [httpx.Response(200, json=told), httpx.Response(202, json=job_told("queued"))],
        "get_job": [done, job("running"), done],
        "follow_job": [
            events(event("progress", progress("running"))),
            events(event("result", told)),
        ],
        "list_jobs": [
            httpx.Response(200, json=page | {"next": CURSOR}),
            httpx.Response(200, json=page),
        ],
        "delete_job": [httpx.Response(204)],
        "create_token": [httpx.Response(201, json=token)],
        "begin_stream": [httpx.Response(201, json=STREAM)],
        "get_stream": [httpx.Response(200, json=STREAM)],
        "follow_stream": [
            events(event("discontinuity", {"at_s": 1})),
            events(event("ended", ended)),
        ],
        "delete_stream": [httpx.Response(204)],
        "health": [
            httpx.Response(
                200,
                json=health
                | {"models_loaded": True, "detectors": {}, "calibration": None, "config": {}},
            )
        ],
        "ready": [httpx.Response(503, json={"status": "not_ready", "reasons": ["no_worker"]})],
    }


@cache
def sent(kind: str) -> tuple[httpx.Request, ...]:
    """All that a client sends when everything is asked of it."""
    script, requests = answers(), []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return script[asked_by(request)].pop(0)

    transport = httpx.MockTransport(answer)
    http: Any = {"blocking": httpx.Client, "asyncio": httpx.AsyncClient}[kind](transport=transport)
    with opening(kind) as opened:
        client = opened("http://service.example", key="sk_x", http=http)
        for call in CALLS.values():
            call(client)
    assert not any(script.values()), "an answer that nobody asked for"
    return tuple(requests)


def test_every_method_is_called() -> None:
    methods = {name for name in vars(Client) if not name.startswith("_")}
    assert set(CALLS) == methods - {"close"}


def test_every_operation_has_a_method() -> None:
    assert {asked_by(request) for request in sent("blocking")} == operations_of_clients()
    assert set(ELSEWHERE) <= set(operations()), "an exception that is none any more"


def test_both_clients_send_the_same() -> None:
    def essence(request: httpx.Request) -> tuple[Any, ...]:
        headers = {**request.headers}
        kind = headers.pop("content-type", "").partition(";")[0]
        return request.method, request.url, headers, kind, fields_of(request)

    blocking, asynchronous = ([essence(request) for request in sent(kind)] for kind in KINDS)
    assert blocking == asynchronous


def test_what_is_sent_is_described() -> None:
    for request in sent("blocking"):
        name = asked_by(request)
        *_, operation = operations()[name]
        known = {(one["in"], one["name"].lower()) for one in operation["parameters"]}
        assert {("query", key) for key in request.url.params} <= known, name
        headers = {("header", key) for key in request.headers.keys() - OF_HTTP}
        assert headers <= known, name
        fields = fields_of(request)
        assert (fields is not None) == ("requestBody" in operation), name
        if fields is not None:
            kind = request.headers["content-type"].partition(";")[0]
            schema = operation["requestBody"]["content"][kind]["schema"]
            components = {"components": described()["components"]}
            properties = components["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            assert fields.keys() <= properties["properties"].keys(), name
            if kind == "application/json":
                jsonschema_rs.validate(schema | components, fields)


@pytest.mark.parametrize("name", sorted(operations_of_clients()))
def test_all_that_is_described_can_be_sent(name: str) -> None:
    requests = [request for request in sent("blocking") if asked_by(request) == name]
    *_, operation = operations()[name]
    said = {key for request in requests for key in (*request.url.params, *request.headers)}
    for parameter in operation["parameters"]:
        if parameter["in"] != "path" and (name, parameter["name"]) not in SAID_OTHERWISE:
            assert parameter["name"].lower() in said, parameter
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        schema = described()["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
        told = [fields_of(r) or {} for r in requests if r.headers["content-type"].startswith(kind)]
        assert {field for fields in told for field in fields} == set(schema["properties"]), kind
