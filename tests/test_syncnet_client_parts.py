"""The Python client's parts that need no network: answers, errors, events, webhooks, packaging."""

import ast
import base64
import json
import pickle
import re
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from email.message import Message
from functools import cache
from pathlib import Path
from shutil import copytree
from typing import Any, get_args, get_type_hints

import httpx
import pytest
from client_doubles import (
    job_told,
    verdict_told,
)
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

import syncnet_client
from service import webhooks as service_webhooks
from service.openapi import document
from syncnet_client import (
    AnalysisTimedOut,
    AsyncClient,
    Client,
    Job,
    JobGone,
    NotGenuine,
    Problem,
    Progress,
    RecordingRefused,
    RequestRefused,
    Retries,
    ServiceError,
    ServiceFailed,
    Stream,
    StreamFailed,
    Unauthorized,
    UnexpectedAnswer,
    Verdict,
    WaitTimeout,
    webhooks,
)
from syncnet_client.answers import JobPage, Token
from syncnet_client.errors import service_error
from syncnet_client.parsing import build, parse
from syncnet_client.retries import backoff, retry_after
from syncnet_client.sse import Parser, ServerEvent
from syncnet_client.streams import EVENTS, Failure
from workflows.stream import events as stream_events

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "syncnet_client"

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    return verdict_told()


# Arguments


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("127.0.0.1:5000", {}),
        ("ftp://127.0.0.1", {}),
        ("http://", {}),
        ("http://127.0.0.1:port", {}),
        ("http://user:password@127.0.0.1:99999", {}),
        ("http://user:password@127.0.0.1", {}),
        ("http://127.0.0.1/?x=1", {}),
        ("http://127.0.0.1", {"key": "sk_x", "token": "ut_x"}),
        ("http://127.0.0.1", {"key": ""}),
        ("http://127.0.0.1", {"key": "sk_\r\nX-Evil: 1"}),
        ("http://127.0.0.1", {"token": "ut_ü"}),
    ],
)
def test_an_address_or_a_key_of_another_form_is_refused(
    kind: type[Client] | type[AsyncClient], url: str, given: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match=r"base_url|key|token") as caught:
        kind(url, **given)  # type: ignore[arg-type]
    assert not any(secret in str(caught.value) for secret in ("password", "Evil", "ut_ü"))


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, dict[str, Any]]:
        return {
            name: {n: h for n, h in get_type_hints(member).items() if n != "return"}
            for name, member in vars(kind).items()
            if callable(member) and not name.startswith("_")
        }

    blocking, asynchronous = methods(Client), methods(AsyncClient)
    blocking["aclose"] = blocking.pop("close")
    assert blocking == asynchronous
    for kind in (Client, AsyncClient):
        assert all(getattr(kind, name).__doc__ for name in methods(kind))


# Answers


@cache
def schemas() -> dict[str, dict[str, Any]]:
    described: dict[str, dict[str, Any]] = document(anonymous=True)["components"]["schemas"]
    return described


def inner(schema: dict[str, Any]) -> list[str]:
    """Names of the schemas that a property refers to, however deep inside it."""
    found = [schema["$ref"].rpartition("/")[2]] if "$ref" in schema else []
    for one in [*schema.get("anyOf", []), *schema.get("prefixItems", [])]:
        found += inner(one)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            found += inner(schema[name])
    return found


def dataclasses_in(hint: Any) -> list[type]:
    if is_dataclass(hint) and isinstance(hint, type):
        return [hint]
    return [one for argument in get_args(hint) for one in dataclasses_in(argument)]


OLDER_NAMES = {"ProblemBody": {"error", "message"}}
"""Copies of other fields, which the client leaves out."""

UNDESCRIBED = {("StreamBody", "window")}
"""Objects that the document says no more of."""


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (Verdict, "VerdictBody"),
        (Job, "JobBody"),
        (Progress, "ProgressEvent"),
        (Problem, "ProblemBody"),
        (Token, "TokenBody"),
        (JobPage, "HistoryBody"),
        (Stream, "StreamBody"),
    ],
)
def test_answers_have_the_fields_that_the_service_describes(kind: type, schema: str) -> None:
    """By its OpenAPI document, through all that the answer holds; and its examples, which are real
    answers, are understood."""
    pending, compared = [(kind, schema)], set()
    while pending:
        ours, theirs = pending.pop()
        if (ours, theirs) in compared:
            continue
        compared.add((ours, theirs))
        described = schemas()[theirs]["properties"]
        hints = get_type_hints(ours)
        names = {one.name for one in fields(ours)} - {"raw"}
        assert names == set(described) - OLDER_NAMES.get(theirs, set()), (ours, theirs)
        for name in names:
            if (theirs, name) in UNDESCRIBED:
                continue
            nested = dataclasses_in(hints[name])
            # Links are a plain mapping here.
            referred = [one for one in inner(described[name]) if one != "Links"]
            assert len(nested) == len(referred), (ours, name)
            pending += zip(nested, referred, strict=True)
    assert len(compared) >= (16 if kind is Verdict else 1)
    assert schemas()[schema]["examples"]
    for example in schemas()[schema]["examples"]:
        assert isinstance(build(kind, example), kind)


def test_events_of_streams_have_the_fields_that_the_service_tells() -> None:
    """By the dataclasses that it makes them of; their window is also that of a stream."""
    pending = [(EVENTS[name], kind) for kind, name in stream_events.NAMES.items()]
    assert len(pending) == len(EVENTS)
    compared = set()
    while pending:
        ours, theirs = pending.pop()
        compared.add(theirs)
        hints, their_hints = get_type_hints(ours), get_type_hints(theirs)
        assert list(hints) == list(their_hints), ours
        for name in hints:
            nested, referred = dataclasses_in(hints[name]), dataclasses_in(their_hints[name])
            assert len(nested) == len(referred), (ours, name)
            pending += zip(nested, referred, strict=True)
    assert compared == {*stream_events.NAMES, stream_events.Failure}


def test_what_a_newer_service_adds_is_borne_and_kept(told: dict[str, Any]) -> None:
    names_of_things = {"weights", "models", "timings_ms"}  # what is in there are no fields

    def grown(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            added = {name: grown(one, name) for name, one in value.items()}
            return added if name in names_of_things else added | {"added": 1}
        return [grown(one) for one in value] if isinstance(value, list) else value

    plain, newer = build(Verdict, told), build(Verdict, grown(told) | {"decision": "ASK"})
    assert str(newer.decision) == "ASK"
    assert newer.raw["added"] == newer.raw["syncnet"]["curve"]["added"] == 1
    assert replace(newer, decision=plain.decision) == plain


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("combined_score",), True),
        (("is_likely_real",), 1),
        (("ttl_ms",), True),
        (("reason_codes",), "LOW"),
        (("reason_codes",), [1]),
        (("syncnet", "offset_frames"), 1.5),
        (("syncnet", "curve"), []),
        (("syncnet", "tracks", 0, "mean_box"), [1, 2, 3]),
        (("models",), []),
        (("video", "codec"), None),
    ],
)
def test_what_is_of_another_kind_is_named(
    told: dict[str, Any], path: tuple[str | int, ...], value: Any
) -> None:
    body = json.loads(json.dumps(told))
    place: Any = body
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    named = ".".join(["Verdict", *map(str, path)]).replace(".0", "[0]")
    with pytest.raises(UnexpectedAnswer, match=re.escape(named)):
        build(Verdict, body)


def test_answers_cross_processes(told: dict[str, Any]) -> None:
    for answer in (build(Verdict, told), build(Job, job_told("succeeded", result=told))):
        copy = pickle.loads(pickle.dumps(answer))
        assert copy == answer
        assert copy.raw == answer.raw


def test_a_time_that_is_none_is_named() -> None:
    for created in (7, "yesterday"):
        with pytest.raises(UnexpectedAnswer, match=r"Job\.created"):
            build(Job, job_told("queued", created=created))


def test_whole_numbers_are_numbers() -> None:
    assert repr(parse(Progress, '{"state": "running", "stage": null, "progress": 1}')) == (
        "Progress(state='running', stage=None, progress=1.0)"
    )


# Errors, pauses, events


def test_errors_cross_processes() -> None:
    error = service_error(Problem("no_face", 422, detail="nobody", request_id="r"), 3.0)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.problem, copy.retry_after) == (RecordingRefused, error.problem, 3.0)
    assert str(copy) == str(error) == "no_face (422): nobody [request r]"
    failed = StreamFailed(Failure("stream_unavailable", "404", "Look."))
    assert str(pickle.loads(pickle.dumps(failed))) == str(failed) == "stream_unavailable: 404 Look."
    late = pickle.loads(pickle.dumps(WaitTimeout("late", "job", "key")))
    assert (str(late), late.job_id, late.idempotency_key) == ("late", "job", "key")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("malformed_request", 400, RequestRefused),
        ("token_expired", 401, Unauthorized),
        ("method_not_allowed", 405, RequestRefused),
        ("upload_too_slow", 408, AnalysisTimedOut),
        ("cancelled", 409, JobGone),
        ("too_large", 413, RecordingRefused),
        ("unsupported_media", 415, RecordingRefused),
        ("webhooks_off", 422, RequestRefused),
        ("internal", 500, ServiceFailed),
        ("http_599", 599, ServiceFailed),
    ],
)
def test_the_kind_of_a_problem(code: str, status: int, kind: type[ServiceError]) -> None:
    assert type(service_error(Problem(code, status))) is kind


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 17 ", 17),
        ("Sat, 21 Nov 2026 10:00:30 GMT", 30),
        ("Sat, 21 Nov 2026 10:00:30 -0000", 30),
        ("Sat, 21 Nov 2026 09:00:00 GMT", 0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
    ],
)
def test_when_to_come_back_is_said_in_two_ways(text: str, seconds: float | None) -> None:
    now = datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert retry_after({"retry-after": text}, now) == seconds
    assert retry_after({}) is None


@given(st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [+-]?\w+", fullmatch=True))
def test_nothing_that_is_said_of_when_to_come_back_breaks_anything(text: str) -> None:
    seconds = retry_after({"retry-after": text})
    assert seconds is None or seconds >= 0


@given(
    attempt=st.integers(0, 5000),
    backoff_s=st.floats(0.001, 10) | st.just(0.0),
    longest_s=st.floats(0, 100),
)
def test_pauses_grow_and_stay_within_bounds(
    attempt: int, backoff_s: float, longest_s: float
) -> None:
    rules = Retries(times=3, backoff_s=backoff_s, longest_s=longest_s)
    longest = min(backoff_s * 2.0 ** min(attempt, 100), longest_s)
    assert longest / 2 <= backoff(attempt, rules) <= longest


@given(
    pieces=st.lists(st.integers(1, 30)),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    data=st.lists(st.text().filter(lambda text: not re.search(r"[\r\n]", text)), min_size=1),
)
def test_events_are_the_same_however_they_are_cut(
    pieces: list[int], end: bytes, data: list[str]
) -> None:
    lines = [": said to keep it open", "event: news", *(f"data: {one}" for one in data), "", ""]
    text = end.join([*(line.encode() for line in lines * 2), b"data: never ended"])
    parser, found, start = Parser(), [], 0
    for length in [*pieces, len(text)]:
        found += parser.feed(text[start : start + length])
        start += length
    assert found == [ServerEvent("news", "\n".join(data))] * 2


def test_a_pause_between_connections_is_read() -> None:
    parser = Parser()
    assert parser.feed(b"retry: 250\nretry: soon\ndata:a\n\ndata\n\n") == [
        ServerEvent("message", "a"),
        ServerEvent("message", ""),
    ]
    assert parser.retry_s == 0.25


def test_the_id_of_an_event_is_that_of_the_last_one_that_is_whole() -> None:
    parser = Parser("3")
    assert parser.feed(b"id: 4\ndata: a\n") == []
    assert (parser.last_id, parser.heard) == ("3", False)
    assert parser.feed(b"\n") == [ServerEvent("message", "a")]
    assert (parser.last_id, parser.heard) == ("4", True)
    parser.feed(b"data: no id\n\nid: 5\0\n\nid: 6\n")
    assert parser.last_id == "4"
    silent = Parser()
    silent.feed(b"retry: 1\n\n")
    assert not silent.heard
    silent.feed(b": keep-alive\n\n")
    assert silent.heard


# Webhooks

MESSAGE = b'{"type":"job.failed","timestamp":"2023-11-14T22:13:20.250Z","data":{"job_id":"7"}}'
SENT = 1_700_000_000


def headers_of(body: bytes = MESSAGE, secret: str = SECRET, sent: int = SENT) -> dict[str, str]:
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(sent),
        "Webhook-Signature": service_webhooks.sign(secret, "msg_1", sent, body),
    }


def test_a_genuine_message_is_told() -> None:
    delivery = webhooks.verify(headers_of(), MESSAGE, SECRET, now=SENT)
    assert (delivery.id, delivery.sent) == ("msg_1", SENT)
    assert (delivery.event.type, delivery.event.job_id) == ("job.failed", "7")
    assert delivery.event.timestamp == datetime(2023, 11, 14, 22, 13, 20, 250_000, UTC)
    signed = headers_of()
    signed["Webhook-Signature"] = f"v1a,xyz nonsense  {signed['Webhook-Signature']}"
    assert webhooks.verify(signed, MESSAGE, (OTHER_SECRET, SECRET), now=SENT) == delivery


def test_headers_are_taken_as_frameworks_have_them() -> None:
    message = Message()
    for name, value in headers_of().items():
        message[name] = value
    for headers in (message, Headers(headers_of()), httpx.Headers(headers_of())):
        assert webhooks.verify(headers, MESSAGE, SECRET, now=SENT).id == "msg_1"


def test_the_published_example_is_genuine() -> None:
    """The one that the libraries of Standard Webhooks are tested with; it is no event."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    with pytest.raises(UnexpectedAnswer, match=r"Event\.type"):
        webhooks.verify(headers, b'{"test": 2432232314}', secret, now=1614265330)
    with pytest.raises(NotGenuine):
        webhooks.verify(headers, b'{"test": 2432232315}', secret, now=1614265330)


@given(place=st.integers(0, len(MESSAGE) - 1), change=st.integers(1, 255))
def test_any_changed_byte_is_noticed(place: int, change: int) -> None:
    changed = bytearray(MESSAGE)
    changed[place] ^= change
    with pytest.raises(NotGenuine, match="signature"):
        webhooks.verify(headers_of(), bytes(changed), SECRET, now=SENT)


def test_what_is_not_genuine_says_why() -> None:
    for name, value, why in (
        ("Webhook-Id", "msg_2", "no signature"),
        ("Webhook-Timestamp", str(SENT + 1), "no signature"),
        ("Webhook-Timestamp", "now", "no time"),
        ("Webhook-Timestamp", str(SENT - 301), "too old"),
        ("Webhook-Timestamp", str(SENT + 301), "future"),
        ("Webhook-Signature", "", "no signature"),
        ("Webhook-Signature", "v1,ü", "no signature"),
        ("Webhook-Signature", "v1,\udc80", "no signature"),
        ("Webhook-Id", "\ud800", "no signature"),
    ):
        with pytest.raises(NotGenuine, match=why):
            webhooks.verify(headers_of() | {name: value}, MESSAGE, SECRET, now=SENT)
    for missing in headers_of():
        headers = {name: value for name, value in headers_of().items() if name != missing}
        with pytest.raises(NotGenuine, match=missing.lower()):
            webhooks.verify(headers, MESSAGE, SECRET, now=SENT)
    with pytest.raises(NotGenuine, match="old"):
        webhooks.verify(headers_of(), MESSAGE, SECRET)
    with pytest.raises(NotGenuine, match="signature"):
        webhooks.verify(headers_of(), MESSAGE, [], now=SENT)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", SECRET.removeprefix("whsec_"), SECRET + "\n", "ü"]
)
def test_a_secret_of_another_form_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes") as caught:
        webhooks.verify(headers_of(), MESSAGE, secret, now=SENT)
    assert not isinstance(caught.value, NotGenuine)
    assert len(secret) < 10 or secret not in str(caught.value)


# The package


def test_it_needs_httpx_and_nothing_else() -> None:
    tops = set()
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                tops |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                tops.add(node.module.split(".")[0])
    assert tops - sys.stdlib_module_names == {"httpx", "syncnet_client"}


def test_its_core_does_no_io() -> None:
    pure = ("answers", "errors", "parsing", "plans", "requests", "retries", "sse", "streams")
    for name in pure:
        tree = ast.parse((PACKAGE / f"{name}.py").read_text())
        names = {getattr(node, "module", None) for node in ast.walk(tree)}
        names |= {
            alias.name
            for node in ast.walk(tree)
            for alias in getattr(node, "names", [])
            if isinstance(alias, ast.alias)
        }
        assert not names & {"httpx", "asyncio", "socket", "ssl", "os"}, name


@pytest.mark.slow
def test_it_can_be_published_by_itself(tmp_path: Path) -> None:
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    assert project["version"] == syncnet_client.__version__
    copytree(PACKAGE, tmp_path / "source", ignore=lambda *_: ["__pycache__"])
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps"]
    subprocess.run(
        [*wheel, "--no-build-isolation", "--wheel-dir", str(tmp_path), str(tmp_path / "source")],
        check=True,
    )
    (built,) = tmp_path.glob("syncnet_client-*.whl")
    with zipfile.ZipFile(built) as files:
        held = {name for name in files.namelist() if name.startswith("syncnet_client/")}
        (named,) = (name for name in files.namelist() if name.endswith("/METADATA"))
        metadata = files.read(named).decode()
    modules = {f"syncnet_client/{path.name}" for path in PACKAGE.glob("*.py")}
    assert held == modules | {"syncnet_client/py.typed"}
    assert re.findall(r"^Requires-Dist: (\w+)", metadata, re.MULTILINE) == ["httpx"]
