"""The Python client, blocking and asynchronous by the same tests, against the real service."""

import base64
import io
import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import service_doubles as doubles
import stream_doubles
from client_doubles import KINDS, UNKNOWN, Held, Hook, Opener, opening, receiving
from serving import Server

from service import webhooks as service_webhooks
from syncnet_client import (
    AnalysisTimedOut,
    Ended,
    Forbidden,
    Job,
    JobGone,
    NotFound,
    NotGenuine,
    OnServer,
    Opened,
    Progress,
    RecordingRefused,
    RequestRefused,
    ServiceError,
    ServiceFailed,
    Source,
    Stream,
    StreamFailed,
    Unauthorized,
    Unavailable,
    Verdict,
    Window,
    webhooks,
)
from syncnet_client.answers import Health, Token

ROOT = Path(__file__).resolve().parents[1]
STREAMS = "http://streams.example"
KEY = "a-key-of-sixteen-characters-or-more"
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()

pytestmark = pytest.mark.slow  # as a whole: every process that runs a part needs a service


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest) -> Iterator[Opener]:
    """`opened(url, …)`: a client of either kind, closed after the test."""
    with opening(request.param) as opener:
        yield opener


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with receiving() as hook:
        yield hook


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, hook: Hook) -> Iterator[str]:
    """The address of a service whose networks and streams are doubles."""
    recording = tmp_path_factory.mktemp("videos") / "clips" / "recording.webm"
    recording.parent.mkdir()
    recording.write_bytes(b"answer")
    with Server(
        tmp_path_factory.mktemp("service"),
        "client_doubles:make_app()",
        API_KEY=KEY,
        MAX_STREAMS=8,
        VIDEO_ROOT=recording.parents[1],
        ALLOW_ANONYMOUS="true",
        RATE_LIMIT_PER_MINUTE=0,
        WEBHOOK_SECRET=SECRET,
        OUTGOING_ALLOW=f"127.0.0.1:{hook.port}",
    ) as server:
        server.wait_ready()
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture
def held(tmp_path: Path) -> Held:
    pipe = tmp_path / "go"
    os.mkfifo(pipe)
    return Held(f"until {tmp_path / 'begun'} {pipe}\n".encode(), pipe)


def sources(folder: Path) -> Iterator[Source]:
    path = folder / "recording.webm"
    path.write_bytes(b"answer\n")
    yield from (path, str(path), b"answer\n", bytearray(b"answer\n"), memoryview(b"answer\n"))
    yield io.BytesIO(b"answer\n")
    with path.open("rb") as file:
        yield file


def test_a_recording_is_scored_however_it_is_given(
    service: str, opened: Opener, tmp_path: Path
) -> None:
    client = opened(service, key=KEY)
    for number, source in enumerate(sources(tmp_path)):
        verdict = client.score(source, session_id=f"visit-{number}")
        assert isinstance(verdict, Verdict)
        assert verdict.session_id == f"visit-{number}"
        assert (verdict.decision, verdict.risk_level) == ("ALLOW", "LOW")
        assert verdict.combined_score == verdict.score == doubles.VERDICT.combined_score


def test_a_verdict_is_what_the_service_found(service: str, opened: Opener) -> None:
    """Field by field, through every nested part."""
    verdict = opened(service).score(b"answer")

    def same(ours: Any, theirs: Any) -> None:
        if is_dataclass(theirs):
            for one in fields(theirs):
                if one.name != "reference":
                    same(getattr(ours, one.name), getattr(theirs, one.name))
        elif isinstance(theirs, tuple):
            assert len(ours) == len(theirs)
            for mine, other in zip(ours, theirs, strict=True):
                same(mine, other)
        elif isinstance(theirs, Mapping):
            assert set(ours) == set(theirs)
            for name in theirs:
                same(ours[name], theirs[name])
        else:
            assert ours == theirs

    same(verdict, doubles.VERDICT)
    assert verdict.raw["debug"]["num_results"] == verdict.debug.num_results == 1
    with pytest.raises(AttributeError):
        verdict.decision = "BLOCK"


def test_wishes_reach_the_service(service: str, opened: Opener) -> None:
    client = opened(service)
    drawn = client.score(b"map 40", heatmap=True, consent=True, metadata={"kiosk": 7})
    assert drawn.efficientnet is not None
    assert drawn.efficientnet.heatmap is not None
    assert drawn.efficientnet.heatmap.picture() == base64.b64decode("A" * 40)
    plain = client.score(b"map 40")
    assert plain.efficientnet is not None
    assert plain.efficientnet.heatmap is None
    for partial in (True, False):
        with pytest.raises(RecordingRefused, match=f"partial={partial}"):
            client.score(b"no word that is known", partial=partial)
    with pytest.raises(Forbidden) as refused:
        client.score(b"answer", consent=False)
    assert refused.value.code == "no_consent"
    with pytest.raises(RequestRefused) as malformed:
        client.score(b"answer", session_id="no session")
    assert malformed.value.code == "malformed_request"
    assert "session_id" in malformed.value.detail
    with pytest.raises(TypeError, match="sesion_id"):
        client.score(b"answer", sesion_id="misspelt")


def test_a_recording_on_the_server_is_scored_where_it_lies(service: str, opened: Opener) -> None:
    client = opened(service, key=KEY)
    source = OnServer("clips/recording.webm")
    verdict = client.score(source, session_id="visit-4", consent=True, metadata={"kiosk": 7})
    assert (verdict.session_id, verdict.decision) == ("visit-4", "ALLOW")
    job = client.submit(source, idempotency_key=f"a key: {uuid.uuid4()}", partial=True)
    assert client.wait(job).decision == "ALLOW"
    with pytest.raises(NotFound) as missing:
        client.score(OnServer("clips/none.webm"))
    assert missing.value.code == "no_such_file"
    visitor = opened(service, token=client.create_token().token)
    for asked, path in ((client, "../data/jobs.sqlite"), (visitor, source.path)):
        with pytest.raises(Forbidden) as refused:
            asked.score(OnServer(path))
        assert refused.value.code == "path_refused"


def test_a_refused_recording_says_what_and_what_to_do(service: str, opened: Opener) -> None:
    client = opened(service)
    job = client.submit(b"raise NoFace nobody is there")
    ways: list[Callable[[], Any]] = [
        lambda: client.score(b"raise NoFace nobody is there"),
        lambda: client.wait(job),
        lambda: list(client.events(job)),
    ]
    for way in ways:
        with pytest.raises(RecordingRefused) as caught:
            way()
        error = caught.value
        assert (error.code, error.status, error.detail) == ("no_face", 422, "nobody is there")
        assert error.title
        assert error.advice
        assert error.request_id
        assert error.retry_after is None
        assert all(part in str(error) for part in ("no_face", error.advice, error.request_id))
    failed = client.job(job)
    assert (failed.state, failed.result) == ("failed", None)
    assert failed.error is not None
    assert failed.error.code == "no_face"


@pytest.mark.parametrize(
    ("word", "kind", "code"),
    [
        (b"raise DeadlineExceeded late", AnalysisTimedOut, "timeout"),
        (b"raise WeightsMissing none", Unavailable, "weights_missing"),
        (b"break it", ServiceFailed, "analysis_failed"),
        (b"raise TooLong an hour", RecordingRefused, "too_long"),
    ],
)
def test_each_failure_has_its_kind(
    service: str, opened: Opener, word: bytes, kind: type[ServiceError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        opened(service).score(word)
    assert type(caught.value) is kind
    assert caught.value.code == code


def test_a_job_is_waited_for_and_told_of(service: str, opened: Opener, held: Held) -> None:
    client = opened(service, key=KEY)
    job = client.submit(held.content, session_id="visit")
    assert isinstance(job, Job)
    assert job.links["self"] == f"/jobs/{job.job_id}"
    seen: list[Job] = []

    def on_progress(now: Job) -> None:
        seen.append(now)
        if now.stage == "decode":
            held.let_go()

    verdict = client.wait(job, on_progress=on_progress)
    assert (verdict.job_id, verdict.session_id) == (job.job_id, "visit")
    assert [(one.state, one.stage) for one in seen][-2:] == [
        ("running", "decode"),
        ("succeeded", None),
    ]
    assert seen[-1].result == verdict
    last = client.job(job.job_id)
    assert last.created <= last.started <= last.finished
    assert last.created.utcoffset() == timedelta(0)
    assert client.wait(job.job_id) == verdict


def test_score_tells_of_progress_where_it_is_asked_to(
    service: str, opened: Opener, held: Held
) -> None:
    stages: list[str | None] = []

    def on_progress(now: Job) -> None:
        stages.append(now.stage)
        if now.stage == "decode":
            held.let_go()

    verdict = opened(service).score(held.content, on_progress=on_progress)
    assert verdict.decision == "ALLOW"
    assert stages[-2:] == ["decode", None]


def test_events_tell_every_change_and_then_the_verdict(
    service: str, opened: Opener, held: Held
) -> None:
    client = opened(service)
    job = client.submit(held.content)
    told = []
    for event in client.events(job):
        told.append(event)
        if isinstance(event, Progress) and event.stage == "decode":
            held.let_go()
    *changes, verdict = told
    assert isinstance(verdict, Verdict)
    assert verdict.job_id == job.job_id
    assert all(isinstance(change, Progress) for change in changes)
    assert len(set(changes)) == len(changes)
    assert changes[-1].state == "running"
    assert list(client.events(job.job_id)) == [verdict]


def test_a_deleted_job_is_gone(service: str, opened: Opener, held: Held) -> None:
    client = opened(service)
    job = client.submit(held.content)
    following = client.events(job)
    assert isinstance(next(following), Progress)
    client.delete(job)
    with pytest.raises(JobGone) as cancelled:
        list(following)
    assert cancelled.value.code == "cancelled"
    client.delete(job)
    for asked in (client.job, client.wait, lambda one: list(client.events(one))):
        with pytest.raises(JobGone) as gone:
            asked(job)
        assert gone.value.code == "expired"
    for asked in (client.job, client.wait, client.delete):
        with pytest.raises(NotFound) as unknown:
            asked(UNKNOWN)
        assert unknown.value.code == "no_such_job"


def test_events_may_be_left(service: str, opened: Opener, held: Held) -> None:
    client = opened(service)
    job = client.submit(held.content)
    following = client.events(job)
    assert isinstance(next(following), Progress)
    following.close()
    with pytest.raises(StopIteration):
        next(following)
    client.delete(job)


def test_the_same_key_is_the_same_job(service: str, opened: Opener) -> None:
    client = opened(service, key=KEY)
    key = f"a key of its own: {uuid.uuid4()}"
    verdict = client.score(b"answer", idempotency_key=key)
    assert client.score(b"answer", idempotency_key=key).job_id == verdict.job_id
    assert client.submit(b"answer", idempotency_key=key).job_id == verdict.job_id
    assert client.score(b"answer").job_id != verdict.job_id
    with pytest.raises(RequestRefused) as reused:
        client.score(b"answer, and more", idempotency_key=key)
    assert reused.value.code == "idempotency_key_reused"


def test_a_wrong_key_is_refused(service: str, opened: Opener) -> None:
    with pytest.raises(Unauthorized) as caught:
        opened(service, key="sk_wrong").score(b"answer")
    assert caught.value.code == "unauthorized"


def test_a_token_is_good_for_what_it_was_made_for(service: str, opened: Opener) -> None:
    before = datetime.now(UTC)
    owner = opened(service, key=KEY)
    token = owner.create_token(ttl_seconds=60, uploads=1, session_id="visit-3")
    assert isinstance(token, Token)
    assert token.token not in repr(token)
    assert (token.uploads, token.session_id) == (1, "visit-3")
    assert abs(token.expires_at - before - timedelta(seconds=60)) < timedelta(seconds=30)
    visitor = opened(service, token=token.token)
    verdict = visitor.score(b"answer")
    assert verdict.session_id == "visit-3"
    kept = visitor.job(verdict.job_id).result
    assert kept == replace(verdict, request_time_ms=verdict.processing_time_ms)
    with pytest.raises(Forbidden) as used_up:
        visitor.score(b"answer")
    assert used_up.value.code == "token_used_up"
    with pytest.raises(Unauthorized):
        visitor.create_token()
    with pytest.raises(RequestRefused):
        owner.create_token(ttl_seconds=1)


def test_jobs_are_listed_page_by_page(service: str, opened: Opener) -> None:
    client = opened(service, key=KEY)
    session = f"listed-{uuid.uuid4()}"
    instant = timedelta(milliseconds=1)  # times are told to the millisecond
    before = datetime.now(UTC) - instant
    sent = [client.score(b"answer", session_id=session).job_id for _ in range(5)]
    with pytest.raises(RecordingRefused):
        client.score(b"raise NoFace nobody", session_id=session)
    found = list(client.jobs(session_id=session, page_size=2))
    assert [one.job_id for one in found[1:]] == sent[::-1]
    assert (found[0].state, found[0].decision, found[0].combined_score) == ("failed", None, None)
    assert (found[1].state, found[1].decision, found[1].risk_level) == ("succeeded", "ALLOW", "LOW")
    assert found[1].links["self"] == f"/jobs/{found[1].job_id}"
    assert found[1].created >= before
    listed = [one.job_id for one in found]

    def ids(**filters: Any) -> list[str]:
        return [one.job_id for one in client.jobs(session_id=session, **filters)]

    assert ids(state="failed") == listed[:1]
    assert ids(risk="LOW", decision="ALLOW", state="succeeded") == listed[1:]
    assert ids(since=before) == listed
    assert ids(until=before) == []
    between = {"since": found[2].created - instant, "until": found[0].created - instant}
    assert ids(**between) == listed[1:3]
    assert next(iter(client.jobs(page_size=1))).job_id == listed[0]
    with pytest.raises(RequestRefused):
        list(client.jobs(page_size=0))
    with pytest.raises(TypeError):
        list(client.jobs(sesion_id="misspelt"))
    with pytest.raises(Unauthorized):
        list(opened(service).jobs())


def test_health_says_what_is_there(service: str, opened: Opener) -> None:
    health = opened(service).health()
    assert isinstance(health, Health)
    assert health.raw["service"] == "syncnet-service"
    assert health.version == health.raw["version"]
    assert health.detectors["syncnet_fcn"].available
    assert health.config["max_video_size_mb"] == 10


def test_it_is_ready(service: str, opened: Opener) -> None:
    ready = opened(service).ready()
    assert ready
    assert ready.reasons == ()


def test_it_says_why_it_is_not_ready(opened: Opener, tmp_path: Path) -> None:
    with Server(tmp_path, "client_doubles:make_app()", LOCAL_WORKER="false") as idle:
        ready = opened(f"http://127.0.0.1:{idle.port}").ready()
    assert not ready
    assert ready.reasons == ("no_worker",)


def test_a_stream_is_followed_to_its_end(service: str, opened: Opener) -> None:
    client = opened(service, key=KEY)
    stream = client.begin_stream(f"{STREAMS}/windows-3")
    assert isinstance(stream, Stream)
    assert stream.links["self"] == f"/streams/{stream.stream_id}"
    first, *windows, last = client.stream_events(stream)
    assert first == Opened(live=True, width=640, height=480)
    told: dict[str, Any] = stream_doubles.WINDOW | {"doubts": ()}
    assert windows == [Window(**(told | {"number": number})) for number in range(3)]
    assert last == Ended(reason="complete", message="", windows=1, end_s=10.0)
    assert list(client.stream_events(stream.stream_id)) == [first, *windows, last]
    while (now := client.stream(stream)).state == "running":
        time.sleep(0.01)
    assert now.window == windows[-1]
    assert now.created == stream.created
    for asked in (client.stream, client.end_stream, lambda one: list(client.stream_events(one))):
        with pytest.raises(NotFound) as unknown:
            asked(UNKNOWN)
        assert unknown.value.code == "no_such_stream"


def test_a_stream_is_ended_by_who_began_it(service: str, opened: Opener) -> None:
    client = opened(service, key=KEY)
    stream = client.begin_stream(f"{STREAMS}/hold")
    with pytest.raises(NotFound):
        opened(service).end_stream(stream)
    following = client.stream_events(stream)
    assert isinstance(next(following), Opened)
    assert isinstance(next(following), Window)
    client.end_stream(stream)
    assert [event.reason for event in following] == ["stopped"]
    client.end_stream(stream.stream_id)


def test_how_a_stream_is_followed_and_why_it_cannot_be(service: str, opened: Opener) -> None:
    client = opened(service)
    wanted = {
        "window_s": 4.0,
        "stride_s": 1.0,
        "buffer_s": 8.0,
        "band_frames": 5.0,
        "alert_after": 2,
    }
    with pytest.raises(StreamFailed) as told:
        list(client.stream_events(client.begin_stream(f"{STREAMS}/wanted", **wanted)))
    assert json.loads(told.value.message) == {"url": f"{STREAMS}/wanted", **wanted}
    with pytest.raises(StreamFailed, match=r"^stream_unavailable: 404 Look\.$") as away:
        list(client.stream_events(client.begin_stream(f"{STREAMS}/away")))
    assert (away.value.code, away.value.advice) == ("stream_unavailable", "Look.")
    with pytest.raises(RequestRefused) as refused:
        client.begin_stream("ftp://streams.example/x")
    assert refused.value.code == "address_refused"
    with pytest.raises(TypeError, match="windows_s"):
        client.begin_stream(f"{STREAMS}/x", windows_s=4)


def test_a_delivery_of_the_service_is_genuine(service: str, opened: Opener, hook: Hook) -> None:
    url = f"http://127.0.0.1:{hook.port}/hook"
    job = opened(service).submit(b"answer", webhook_url=url)
    headers, body = hook.first()
    delivery = webhooks.verify(headers, body, [OTHER_SECRET, SECRET])
    assert (delivery.event.type, delivery.event.job_id) == ("job.succeeded", job.job_id)
    assert delivery.id == {name.lower(): text for name, text in headers.items()}["webhook-id"]
    with pytest.raises(NotGenuine):
        webhooks.verify(headers, body, OTHER_SECRET)


def test_health_has_the_fields_that_the_service_answers(service: str) -> None:
    body = httpx.get(f"{service}/health").json()
    assert {one.name for one in fields(Health)} - {"raw"} == set(body) - {"service"}


# The pages

PAGES = (ROOT / "syncnet_client" / "README.md", ROOT / "docs" / "client.md")
ADDRESS = "http://127.0.0.1:5000"
STREAM = "https://example.org/live.m3u8"
"""Those that stand in the examples."""

EXAMPLE = re.compile(r"<!-- example: ([\w-]+) -->\n```python\n(.*?)```", re.DOTALL)
EXAMPLES = {
    f"{page.name}-{name}": code
    for page in PAGES
    for name, code in EXAMPLE.findall(page.read_text())
}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_examples_run(
    service: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = EXAMPLES[name]
    assert ADDRESS in code or "verify" in code
    (tmp_path / "recording.webm").write_bytes(b"answer")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNCNET_KEY", KEY)
    code = code.replace(ADDRESS, service).replace(STREAM, f"{STREAMS}/windows-2")
    exec(compile(code, name, "exec"), {"__name__": name})


MISUSES = """
from syncnet_client import Client

client = Client("http://127.0.0.1:5000")
client.jobs(risk="low")
client.score(b"x", sesion_id="visit-17")
client.score("x").decision = "BLOCK"
"""


def test_the_examples_pass_a_strict_type_check_and_misuses_do_not(tmp_path: Path) -> None:
    """As mypy sees the package from outside."""
    for name, code in {**EXAMPLES, "misuses.py-all": MISUSES}.items():
        (tmp_path / re.sub(r"\W", "_", name)).with_suffix(".py").write_text(code)
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache", "."],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert re.findall(r"^(\w+)\.py:\d+: error: .*\[([\w-]+)\]$", found.stdout, re.MULTILINE) == [
        ("misuses_py_all", "arg-type"),
        ("misuses_py_all", "call-arg"),
        ("misuses_py_all", "misc"),
    ], found.stdout


def test_a_receiver_answers_what_is_genuine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    made: dict[str, Any] = {"__name__": "receiver"}
    exec(compile(EXAMPLES["client.md-webhooks"], "client.md", "exec"), made)
    now = int(time.time())
    body = b'{"type": "job.failed", "timestamp": "2026-11-21T10:00:00Z", "data": {"job_id": "7"}}'
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": service_webhooks.sign(SECRET, "msg_1", now, body),
    }
    client = made["app"].test_client()
    assert client.post("/hook", data=body, headers=headers).status_code == 204
    assert client.post("/hook", data=body + b" ", headers=headers).status_code == 401


def test_every_page_has_examples() -> None:
    assert {name.rpartition("-")[0] for name in EXAMPLES} == {page.name for page in PAGES}
