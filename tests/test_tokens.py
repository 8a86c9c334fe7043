"""Upload tokens: what they let in, how often and how long, and where they are no key at all."""

import io
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import service_apps as apps
import service_doubles as doubles
import sqlalchemy as sa
from faults.postgres import Postgres
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.datastructures import Headers
from werkzeug.test import TestResponse

from service import audit, keys, tokens
from service.jobs import intake, tables
from service.jobs.records import AdmissionLimits, NewJob
from service.jobs.store import JobStore
from service.request_errors import TokenUsedUp
from syncnet_python.errors import NoFace

OTHERS = {"Authorization": f"Bearer ut_{'0' * 12}_{'A' * 43}"}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    with apps.application(tmp_path, allow_anonymous=False, api_key="the key of the house") as app:
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def key(app: Flask) -> dict[str, str]:
    """The headers of a front end."""
    return bearer(keys.create(apps.jobs_of(app).engine, "front end")[0])


@pytest.fixture
def make(client: FlaskClient, key: dict[str, str]) -> Callable[..., dict[str, str]]:
    """The headers of a page with a new token."""
    return lambda **fields: bearer(created(client, key, **fields)["token"])


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def created(client: FlaskClient, key: dict[str, str], **fields: Any) -> dict[str, Any]:
    answer = client.post("/tokens", json=fields, headers=key)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.get_json()
    return body


def code_of(answer: TestResponse) -> tuple[int, str]:
    assert answer.mimetype == "application/problem+json", answer.text
    return answer.status_code, answer.get_json()["code"]


def aged(app: Flask, seconds: float) -> None:
    """Let so much of every token's time go by."""
    with apps.jobs_of(app).engine.begin() as connection:
        ends = tokens.tokens.c.expires_at
        connection.execute(tokens.tokens.update().values(expires_at=ends - seconds))


# Making them


def test_a_token_is_told_once_with_what_it_is_good_for(
    app: Flask, client: FlaskClient, key: dict[str, str]
) -> None:
    before = datetime.now(UTC)
    answer = client.post(
        "/tokens", json={"ttl_seconds": 60, "uploads": 3, "session_id": "visit"}, headers=key
    )
    body = answer.get_json()
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    prefix, shown, secret = body["token"].split("_", 2)
    assert (prefix, len(shown), len(secret)) == ("ut", 12, 43)
    assert (body["uploads"], body["session_id"]) == (3, "visit")
    left = datetime.fromisoformat(body["expires_at"]) - before
    assert timedelta(seconds=59) < left < timedelta(seconds=120)
    apps.jobs_of(app).engine.dispose()
    data: Path = app.extensions["settings"].data_dir
    kept = b"".join(path.read_bytes() for path in data.glob("jobs.sqlite*"))
    assert shown.encode() in kept
    assert secret.encode() not in kept


def test_what_is_not_said_is_one_upload_in_a_quarter_of_an_hour(
    client: FlaskClient, key: dict[str, str]
) -> None:
    body = created(client, key)
    assert (body["uploads"], body["session_id"]) == (1, None)
    left = datetime.fromisoformat(body["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"ttl_seconds": 59}, "ttl_seconds"),
        ({"ttl_seconds": 86401}, "ttl_seconds"),
        ({"ttl_seconds": "soon"}, "ttl_seconds"),
        ({"uploads": 0}, "uploads"),
        ({"uploads": 101}, "uploads"),
        ({"session_id": "a visit"}, "session_id"),
        ({"session_id": ""}, "session_id"),
    ],
)
def test_what_it_cannot_be_good_for_is_named(
    client: FlaskClient, key: dict[str, str], fields: dict[str, Any], named: str
) -> None:
    answer = client.post("/tokens", json=fields, headers=key)
    assert code_of(answer) == (400, "malformed_request")
    assert answer.get_json()["detail"].startswith(f"{named}: ")


def test_it_is_asked_for_in_json(client: FlaskClient, key: dict[str, str]) -> None:
    answer = client.post("/tokens", data={"uploads": "1"}, headers=key)
    assert code_of(answer) == (400, "malformed_request")


def test_only_a_key_makes_one_where_a_key_is_needed(
    client: FlaskClient, make: Callable[..., dict[str, str]]
) -> None:
    for headers in ({}, OTHERS, make()):
        assert code_of(client.post("/tokens", json={}, headers=headers)) == (401, "unauthorized")
    created(client, bearer("the key of the house"))


def test_whoever_is_answered_without_a_key_may_make_one(tmp_path: Path) -> None:
    with apps.application(tmp_path) as app:
        client = app.test_client()
        token = bearer(created(client, {})["token"])
        job_id = apps.post_async(client, headers=token)
        assert client.get(f"/jobs/{job_id}", headers=token).status_code == 200


def test_there_are_so_many_at_once_and_no_more(
    app: Flask, client: FlaskClient, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of those that end soon: they are known for a while after."""
    monkeypatch.setattr(tokens, "MAX_KEPT", 2)
    created(client, key, ttl_seconds=60)
    created(client, key)
    for _ in range(2):
        answer = client.post("/tokens", json={}, headers=key)
        assert code_of(answer) == (429, "too_many_tokens")
        assert int(answer.headers["Retry-After"]) > 0
        created(client, bearer("the key of the house"))
        aged(app, 61)
    aged(app, tokens.KEPT_S)
    created(client, key)


# What they let in


@pytest.mark.parametrize("url", ["/score", "/api/avsync/score"])
def test_a_recording_is_sent_and_its_job_asked_for(
    app: Flask,
    client: FlaskClient,
    key: dict[str, str],
    make: Callable[..., dict[str, str]],
    url: str,
) -> None:
    token = make()
    with apps.scoring(app):
        answer = apps.post(client, url=url, headers=token, user_consent="true")
    assert answer.status_code == 200, answer.text
    job_id = answer.get_json()["job_id"]
    for headers in (token, key):
        assert client.get(f"/jobs/{job_id}", headers=headers).get_json()["state"] == "succeeded"
    assert "event: result" in client.get(f"/jobs/{job_id}/events", headers=token).text
    assert client.delete(f"/jobs/{job_id}", headers=token).status_code == 204
    assert code_of(client.get(f"/jobs/{job_id}", headers=key)) == (410, "expired")


def test_its_jobs_are_in_the_history_of_the_key(
    client: FlaskClient, key: dict[str, str], make: Callable[..., dict[str, str]]
) -> None:
    job_id = apps.post_async(client, headers=make())
    (job,) = client.get("/jobs", headers=key).get_json()["jobs"]
    assert job["job_id"] == job_id


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/jobs"),
        ("POST", "/tokens"),
        ("POST", "/api/detect"),
        ("POST", "/api/analyze"),
        ("POST", "/api/analyze-stream"),
        ("POST", "/streams"),
        ("GET", "/streams/00000000-0000-4000-8000-000000000000"),
        ("GET", "/metrics"),
        ("GET", "/no/such/route"),
    ],
)
def test_everywhere_else_it_is_no_key(
    client: FlaskClient, make: Callable[..., dict[str, str]], method: str, path: str
) -> None:
    answer = client.open(path, method=method, headers=make())
    assert code_of(answer) == (401, "unauthorized")


def test_jobs_that_were_sent_otherwise_are_none_of_it(
    client: FlaskClient, key: dict[str, str], make: Callable[..., dict[str, str]]
) -> None:
    by_key = apps.post_async(client, headers=key)
    by_another = apps.post_async(client, headers=make())
    token = make()
    for job_id in (by_key, by_another):
        for method, path in (("GET", ""), ("GET", "/events"), ("DELETE", "")):
            answer = client.open(f"/jobs/{job_id}{path}", method=method, headers=token)
            assert code_of(answer) == (404, "no_such_job")


def test_it_sends_uploads_only(tmp_path: Path) -> None:
    (tmp_path / "clip.webm").write_bytes(b"recording")
    with apps.application(tmp_path, video_root=tmp_path) as app:
        client = app.test_client()
        token = bearer(created(client, {})["token"])
        by_path = {"video_path": "clip.webm"}
        answer = client.post("/score?async=1", json=by_path, headers=token)
        assert code_of(answer) == (403, "path_refused")
        assert client.post("/score?async=1", json=by_path).status_code == 202


@pytest.mark.parametrize("by_header", [True, False])
def test_it_calls_no_address(tmp_path: Path, by_header: bool) -> None:
    """Strangers hold it; and what is delivered bears the operator's signature."""
    address = "https://hook.example/"
    fields: dict[str, Any] = {} if by_header else {"webhook_url": address}
    headers = {"Webhook-Url": address} if by_header else {}
    secret = "whsec_" + "A" * 32
    with apps.application(tmp_path, webhook_secret=secret) as app:
        client = app.test_client()
        token = bearer(created(client, {})["token"])
        answer = apps.post(client, headers=token | headers, **fields)
        assert code_of(answer) == (422, "webhooks_off")
        apps.post_async(client, headers=headers, **fields)
        apps.post_async(client, headers=token)


def test_a_token_that_is_none_is_refused(client: FlaskClient, key: dict[str, str]) -> None:
    text = created(client, key)["token"]
    other = created(client, key)["token"]
    mixed = text[:16] + other[16:]
    for headers in (OTHERS, bearer(mixed), bearer(text[:-1]), bearer("ut_")):
        answer = apps.post(client, headers=headers)
        assert code_of(answer) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


# How often


def test_used_up_it_sends_nothing_new(
    client: FlaskClient, make: Callable[..., dict[str, str]]
) -> None:
    token = make(uploads=2)
    for _ in range(2):
        job_id = apps.post_async(client, headers=token)
    assert code_of(apps.post(client, headers=token)) == (403, "token_used_up")
    assert client.get(f"/jobs/{job_id}", headers=token).status_code == 200


def test_used_up_it_is_refused_before_the_recording_is_read(
    client: FlaskClient, make: Callable[..., dict[str, str]]
) -> None:
    token = make()
    apps.post_async(client, headers=token)
    unread = io.BytesIO(b"no form at all")
    answer = client.post(
        "/score", input_stream=unread, content_type="multipart/form-data; boundary=x", headers=token
    )
    assert code_of(answer) == (403, "token_used_up")
    assert unread.tell() == 0


def test_what_is_sent_again_costs_nothing(
    client: FlaskClient, make: Callable[..., dict[str, str]]
) -> None:
    token = make() | {"Idempotency-Key": "the same"}
    first = apps.post_async(client, headers=token)
    again = apps.post(client, url="/score?async=1", headers=token)
    assert again.get_json()["job_id"] == first
    assert again.headers["Idempotency-Replayed"] == "true"
    other = apps.post(client, b"another recording", headers=token)
    assert code_of(other) == (422, "idempotency_key_reused")
    new = apps.post(client, headers=token | {"Idempotency-Key": "another"})
    assert code_of(new) == (403, "token_used_up")


def test_idempotency_keys_of_one_token_are_not_those_of_another(
    client: FlaskClient, key: dict[str, str], make: Callable[..., dict[str, str]]
) -> None:
    same = {"Idempotency-Key": "1"}
    jobs = {apps.post_async(client, headers=headers | same) for headers in (make(), make(), key)}
    assert len(jobs) == 3


def test_however_many_are_sent_at_once_so_many_are_taken(
    app: Flask, make: Callable[..., dict[str, str]]
) -> None:
    token = make(uploads=3)
    together = threading.Barrier(8)

    def send(_: int) -> int:
        together.wait()
        return apps.post(app.test_client(), url="/score?async=1", headers=token).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(send, range(8)))
    assert statuses == [202] * 3 + [403] * 5
    assert len(apps.open_jobs(app)) == 3
    assert len(apps.media_of(app)) == 3, "recordings of refused ones are not kept"


def test_a_recording_that_was_not_taken_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "REMEMBERED_S", 0.0)
    with apps.application(tmp_path, max_queue=1) as app:
        client = app.test_client()
        token = bearer(created(client, {})["token"])
        waiting = apps.post_async(client)
        assert code_of(apps.post(client, headers=token)) == (503, "queue_full")
        apps.finish(app, waiting)
        without_consent = apps.post(client, headers=token, url="/api/avsync/score")
        assert code_of(without_consent) == (403, "no_consent")
        apps.finish(app, apps.post_async(client, headers=token), NoFace("nobody"))
        assert code_of(apps.post(client, headers=token)) == (403, "token_used_up")


def test_what_the_service_gives_up_itself_costs_nothing(tmp_path: Path) -> None:
    """With an idempotency key the job goes on, and has its upload."""
    with apps.application(tmp_path, processing_timeout_seconds=0.05) as app:
        client = app.test_client()
        token = bearer(created(client, {})["token"])
        for _ in range(2):
            assert code_of(apps.post(client, headers=token)) == (503, "busy")
        keyed = token | {"Idempotency-Key": "mine"}
        assert code_of(apps.post(client, headers=keyed)) == (503, "busy")
        assert code_of(apps.post(client, headers=token)) == (403, "token_used_up")
        again = apps.post(client, url="/score?async=1", headers=keyed)
        assert again.headers["Idempotency-Replayed"] == "true"


def test_what_the_page_gives_up_has_been_sent(
    client: FlaskClient, make: Callable[..., dict[str, str]]
) -> None:
    token = make()
    job_id = apps.post_async(client, headers=token)
    assert client.delete(f"/jobs/{job_id}", headers=token).status_code == 204
    assert code_of(apps.post(client, headers=token)) == (403, "token_used_up")


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def test_the_last_upload_is_spent_once_whichever_processes_race_for_it(
    tmp_path: Path, kind: str
) -> None:
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
        if kind == "postgres":
            url = stack.enter_context(Postgres()).sqlalchemy_url
        engines = [tables.open_engine(url) for _ in range(4)]
        for engine in engines:
            stack.callback(engine.dispose)
        _, token = tokens.create(engines[0], "owner", "stamp", ttl_s=60, uploads=2)
        together = threading.Barrier(len(engines))

        def send(engine: sa.Engine) -> bool:
            together.wait()
            new = NewJob(str(uuid.uuid4()), "owner", "0" * 64, "s", "r")
            limits = AdmissionLimits(queue=100, queue_per_owner=100, per_minute=100)
            try:
                JobStore(engine).admit(new, limits, partial(tokens.spend, token))
            except TokenUsedUp:
                return False
            assert tokens.sent(engine, token, new.id)
            return True

        with ThreadPoolExecutor(len(engines)) as pool:
            assert sorted(pool.map(send, engines)) == [False, False, True, True]
        assert len(JobStore(engines[0]).open_since(-1)) == 2


# How long


def test_when_its_time_is_over_it_lets_in_nobody(
    app: Flask, client: FlaskClient, make: Callable[..., dict[str, str]]
) -> None:
    token = make(ttl_seconds=60, uploads=2)
    job_id = apps.post_async(client, headers=token)
    aged(app, 61)
    for answer in (apps.post(client, headers=token), client.get(f"/jobs/{job_id}", headers=token)):
        assert code_of(answer) == (401, "token_expired")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    text = token["Authorization"]
    forged = {"Authorization": text[:-1] + ("A" if text[-1] != "A" else "B")}
    assert code_of(apps.post(client, headers=forged)) == (401, "unauthorized")


def test_it_ends_with_its_key(
    app: Flask,
    client: FlaskClient,
    key: dict[str, str],
    make: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token = make()
    apps.post_async(client, headers=token)
    monkeypatch.setattr(keys, "FRESH_S", 0.0)
    assert keys.revoke(apps.jobs_of(app).engine, key["Authorization"].split("_")[1])
    assert code_of(apps.post(client, headers=token)) == (401, "unauthorized")


def test_it_ends_when_the_key_of_the_environment_is_another_one(tmp_path: Path) -> None:
    with apps.application(tmp_path, api_key="the first key of all") as app:
        settings, engine = app.extensions["settings"], apps.jobs_of(app).engine
        text = created(app.test_client(), bearer("the first key of all"))["token"]
        sent = Headers(bearer(text))
        token = keys.Doorkeeper(settings, engine).token(sent)
        assert token is not None
        assert token.owner == keys.ENVIRONMENT
        other = settings.model_copy(update={"api_key": SecretStr("the second key of all")})
        with pytest.raises(keys.Unauthorized):
            keys.Doorkeeper(other, engine).token(sent)


def test_long_after_its_end_it_is_forgotten_with_what_was_sent(
    app: Flask, client: FlaskClient, make: Callable[..., dict[str, str]]
) -> None:
    engine = apps.jobs_of(app).engine
    old, new = make(uploads=2), make(ttl_seconds=86400)
    for token in (old, old, new):
        apps.post_async(client, headers=token)
    aged(app, 901)
    assert tokens.expire(engine) == 0
    assert code_of(apps.post(client, headers=old)) == (401, "token_expired")
    aged(app, tokens.KEPT_S)
    assert tokens.expire(engine) == 1
    with engine.connect() as connection:
        counted = sa.select(sa.func.count()).select_from(tokens.token_jobs)
        assert connection.scalar(counted) == 1
    assert code_of(apps.post(client, headers=old)) == (401, "unauthorized")


# Whose session


def test_everything_that_is_sent_is_of_its_session(
    app: Flask, client: FlaskClient, make: Callable[..., dict[str, str]]
) -> None:
    token = make(uploads=2, session_id="visit-17")
    said = apps.post_async(client, headers=token, session_id="visit-17")
    unsaid = apps.post_async(client, headers=token)
    for job_id in (said, unsaid):
        job = apps.jobs_of(app).store.get(job_id)
        assert job is not None
        assert job.session_id == "visit-17"


def test_another_session_is_refused_and_costs_nothing(
    client: FlaskClient, make: Callable[..., dict[str, str]]
) -> None:
    token = make(session_id="visit-17")
    answer = apps.post(client, headers=token, session_id="visit-18")
    assert code_of(answer) == (403, "session_refused")
    apps.post_async(client, headers=token)


def test_without_a_session_any_is_taken(
    app: Flask, client: FlaskClient, make: Callable[..., dict[str, str]]
) -> None:
    job = apps.jobs_of(app).store.get(apps.post_async(client, headers=make(), session_id="mine"))
    assert job is not None
    assert job.session_id == "mine"


# What is noted, and from where it may be sent


def test_the_audit_log_knows_who_made_it_and_who_sent_with_it(
    app: Flask, client: FlaskClient, key: dict[str, str], make: Callable[..., dict[str, str]]
) -> None:
    token = make()
    job_id = apps.post_async(client, headers=token)
    apps.post(client, headers=token)
    apps.jobs_of(app).trail.flush()
    _, token_id, secret = token["Authorization"].split("_", 2)
    owner = key["Authorization"].split("_")[1]
    rows = list(audit.read(apps.jobs_of(app).engine))
    assert [(row.owner, row.action, row.job_id, row.outcome) for row in rows] == [
        (owner, "token.created", token_id, "accepted"),
        (owner, "job.submitted", job_id, "accepted"),
        (owner, "job.submitted", None, "token_used_up"),
    ]
    assert secret not in "".join(row.json() for row in rows)


SENT = ("Authorization", "Idempotency-Key", "Prefer", "Last-Event-ID", "Content-Type")
READ = ("Location", "Retry-After", "ETag", "Idempotency-Replayed", "Preference-Applied")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/tokens"),
        ("POST", "/score"),
        ("POST", "/api/avsync/score"),
        ("GET", "/jobs/00000000-0000-4000-8000-000000000000"),
        ("GET", "/jobs/00000000-0000-4000-8000-000000000000/events"),
        ("DELETE", "/jobs/00000000-0000-4000-8000-000000000000"),
    ],
)
def test_pages_of_an_origin_that_is_named_may_send_it(
    tmp_path: Path, method: str, path: str
) -> None:
    origin = "https://app.example.org"
    asked = {
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ", ".join(SENT).lower(),
    }
    keyed = {"allow_anonymous": False, "api_key": "the key of the house"}
    with apps.application(tmp_path, cors_origins=(origin,), **keyed) as app:
        client = app.test_client()
        preflight = client.options(path, headers={"Origin": origin, **asked})
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Allow-Origin"] == origin
        assert method in preflight.headers["Access-Control-Allow-Methods"]
        allowed = preflight.headers["Access-Control-Allow-Headers"].lower()
        assert {name.lower() for name in SENT} <= set(allowed.split(", "))
        refused = client.open(path, method=method, headers={"Origin": origin, **OTHERS})
        assert code_of(refused) == (401, "unauthorized")
        assert refused.headers["Access-Control-Allow-Origin"] == origin
        assert set(READ) <= set(refused.headers["Access-Control-Expose-Headers"].split(", "))
        stranger = client.options(path, headers={"Origin": "https://example.com", **asked})
        assert "Access-Control-Allow-Origin" not in stranger.headers


def test_a_page_of_another_origin_goes_the_whole_way(tmp_path: Path) -> None:
    origin = {"Origin": "https://app.example.org"}
    with apps.application(tmp_path, cors_origins=tuple(origin.values())) as app:
        client = app.test_client()
        token = bearer(created(client, origin)["token"]) | origin
        answer = apps.post(
            client, headers=token | {"Prefer": "respond-async", "Idempotency-Key": "k"}
        )
        apps.finish(app, answer.get_json()["job_id"], doubles.VERDICT)
        followed = client.get(
            f"{answer.headers['Location']}/events", headers=token | {"Last-Event-ID": "0"}
        )
        assert "event: result" in followed.text
        for told in (answer, followed):
            assert told.headers["Access-Control-Allow-Origin"] == origin["Origin"]
