"""Jobs after they were accepted: what is told of them, to whom, and that they go when asked to."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import service_apps as apps
import service_doubles as doubles
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from service import audit, keys
from syncnet_python import errors

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    with apps.application(
        tmp_path_factory.mktemp("app"), web_threads=16, rate_limit_per_minute=0
    ) as app:
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(autouse=True)
def no_job_is_left_open(app: Flask) -> Iterator[None]:
    yield
    for job in apps.open_jobs(app):
        apps.jobs_of(app).cancel(job.id)
    assert apps.media_of(app) == []


def problem_of(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    problem: dict[str, Any] = json.loads(answer.text)
    assert (problem["status"], problem["code"]) == (status, code)
    return problem


def events_of(answer: TestResponse) -> list[tuple[str, str, dict[str, Any]]]:
    """Id, name and data of every event, until the stream ends."""
    found = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if "event" in lines:
            found.append((lines["id"], lines["event"], json.loads(lines["data"])))
    return found


# Asking


def test_a_job_is_told_from_its_first_moment_to_its_last(app: Flask, client: FlaskClient) -> None:
    before = datetime.now(UTC)
    answer = apps.post(client, headers={"Prefer": "respond-async"}, session_id="visit")
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "respond-async"
    job_id = answer.get_json()["job_id"]
    url = answer.headers["Location"]
    links = {"self": f"/jobs/{job_id}", "events": f"/jobs/{job_id}/events"}
    assert answer.get_json() == {"job_id": job_id, "state": "queued", "links": links}
    assert url == links["self"]

    told = client.get(url)
    assert told.headers["Retry-After"] == "1"
    body = told.get_json()
    assert (body["state"], body["stage"], body["progress"]) == ("queued", None, 0)
    assert body["started"] is body["finished"] is body["result"] is body["error"] is None
    created = datetime.fromisoformat(body["created"])
    assert created.utcoffset() is not None
    assert abs((created - before).total_seconds()) < 60

    store = apps.jobs_of(app).store
    job = store.begin(job_id, "the test")
    assert job is not None
    store.progress(job_id, job.attempt, "find_faces", 0.25)
    body = client.get(url).get_json()
    assert (body["state"], body["stage"], body["progress"]) == ("running", "find_faces", 0.25)
    assert body["started"] >= body["created"]

    apps.finish(app, job_id)
    told = client.get(url)
    assert "Retry-After" not in told.headers
    body = told.get_json()
    assert (body["state"], body["progress"], body["error"]) == ("succeeded", 1, None)
    assert body["finished"] >= body["started"]
    result = body["result"]
    assert result["combined_score"] == result["score"] == doubles.VERDICT.combined_score
    assert (result["session_id"], result["job_id"]) == ("visit", job_id)


def test_what_has_not_changed_is_not_sent_again(app: Flask, client: FlaskClient) -> None:
    job_id = apps.post_async(client)
    first = client.get(f"/jobs/{job_id}")
    known = {"If-None-Match": first.headers["ETag"]}
    again = client.get(f"/jobs/{job_id}", headers=known)
    assert (again.status_code, again.data) == (304, b"")
    apps.finish(app, job_id)
    assert client.get(f"/jobs/{job_id}", headers=known).status_code == 200


@pytest.mark.parametrize("kind", [errors.NoFace, errors.DeadlineExceeded, errors.WeightsMissing])
def test_a_failed_job_holds_the_problem_that_a_waiting_sender_gets(
    app: Flask, client: FlaskClient, kind: type[errors.SyncNetError]
) -> None:
    job_id = apps.post_async(client, headers={"Idempotency-Key": kind.code})
    apps.finish(app, job_id, kind("as said"))
    body = client.get(f"/jobs/{job_id}").get_json()
    assert (body["state"], body["result"]) == ("failed", None)
    held = body["error"]
    direct = apps.post(client, headers={"Idempotency-Key": kind.code})
    got = problem_of(direct, held["status"], kind.code)
    assert direct.headers["Idempotency-Replayed"] == "true"
    own = {"instance", "request_id"}
    assert {k: v for k, v in held.items() if k not in own} == {
        k: v for k, v in got.items() if k not in own
    }


def test_nobody_else_knows_of_a_job(tmp_path: Path) -> None:
    with apps.application(tmp_path) as app:
        engine, client = apps.jobs_of(app).engine, app.test_client()
        mine, theirs = (
            {"Authorization": f"Bearer {keys.create(engine, name)[0]}"}
            for name in ("mine", "theirs")
        )
        job_id = apps.post_async(client, headers=mine)
        for method, path in (("GET", ""), ("GET", "/events"), ("DELETE", "")):
            for headers in (theirs, {}):
                answer, unknown = (
                    client.open(f"/jobs/{one}{path}", method=method, headers=headers)
                    for one in (job_id, UNKNOWN)
                )
                said = problem_of(answer, 404, "no_such_job")["detail"]
                assert said == problem_of(unknown, 404, "no_such_job")["detail"]
        assert client.get(f"/jobs/{job_id}", headers=mine).status_code == 200
        assert client.delete(f"/jobs/{job_id}", headers=mine).status_code == 204


@given(st.text(min_size=1, max_size=60).filter(lambda text: "/" not in text and "?" not in text))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_no_id_breaks_anything(client: FlaskClient, job_id: str) -> None:
    for path in ("", "/events"):
        answer = client.get(f"/jobs/{job_id}{path}")
        assert answer.status_code in (404, 308), (job_id, answer.text)


# Following


def test_events_tell_every_change_and_end_with_the_result(app: Flask, client: FlaskClient) -> None:
    job_id = apps.post_async(client)
    store = apps.jobs_of(app).store
    with client.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": "none\u00e9"}) as answer:
        assert answer.mimetype == "text/event-stream"
        assert answer.headers["X-Accel-Buffering"] == "no"
        told = iter(answer.response)
        assert next(told) == b"retry: 2000\n\n"
        assert b'"queued"' in next(told)
        job = store.begin(job_id, "the test")
        assert job is not None
        store.progress(job_id, job.attempt, "decode", 0.05)
        seen = b""
        while b'"decode"' not in seen:
            seen += next(told)
        assert store.finish(job_id, job.attempt, doubles.VERDICT)
        (last,) = list(told)
    number, name, data = last.decode().splitlines()[:3]
    assert int(number.removeprefix("id: ")) >= 3
    assert name == "event: result"
    assert json.loads(data.removeprefix("data: "))["decision"] == "ALLOW"
    media = store.get(job_id)
    assert media is not None
    assert media.media is not None
    apps.jobs_of(app).storage.delete(media.media)
    store.forget_media(job_id)


def test_events_of_a_job_that_has_ended_are_one(app: Flask, client: FlaskClient) -> None:
    succeeded, failed, cancelled = (apps.post_async(client) for _ in range(3))
    apps.finish(app, succeeded)
    apps.finish(app, failed, errors.NoFace("as said"))
    apps.jobs_of(app).cancel(cancelled)
    ((_, name, data),) = events_of(client.get(f"/jobs/{succeeded}/events"))
    assert (name, data["job_id"]) == ("result", succeeded)
    ((_, name, data),) = events_of(client.get(f"/jobs/{failed}/events"))
    assert (name, data["code"], data["detail"]) == ("error", "no_face", "as said")
    for path in ("", "/events"):
        problem_of(client.get(f"/jobs/{cancelled}{path}"), 410, "expired")


def test_events_of_a_job_that_is_deleted_end(app: Flask, client: FlaskClient) -> None:
    job_id = apps.post_async(client)
    with client.get(f"/jobs/{job_id}/events") as answer:
        told = iter(answer.response)
        next(told)
        next(told)
        assert app.test_client().delete(f"/jobs/{job_id}").status_code == 204
        (last,) = list(told)
    assert b"event: cancelled" in last


def test_so_many_streams_at_once_and_no_more(app: Flask, client: FlaskClient) -> None:
    """Four of sixteen threads; what was closed makes room, told to the end or not."""
    job_id = apps.post_async(client)
    url = f"/jobs/{job_id}/events"
    for _ in range(3):
        streams = [app.test_client().get(url) for _ in range(4)]
        answer = client.get(url)
        assert int(answer.headers["Retry-After"]) > 0
        problem_of(answer, 503, "busy")
        next(iter(streams[0].response))
        for stream in streams:
            stream.close()


# Deleting


@pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
def test_a_deleted_job_leaves_nothing_but_that_it_was_there(
    app: Flask, client: FlaskClient, state: str
) -> None:
    job_id = apps.post_async(client, session_id="private")
    jobs = apps.jobs_of(app)
    if state == "running":
        jobs.store.begin(job_id, "the test")
    if state == "succeeded":
        apps.finish(app, job_id)
    for _ in range(2):
        answer = client.delete(f"/jobs/{job_id}")
        assert (answer.status_code, answer.data) == (204, b"")
        problem_of(client.get(f"/jobs/{job_id}"), 410, "expired")
        problem_of(client.get(f"/jobs/{job_id}/events"), 410, "expired")
    assert apps.media_of(app) == []
    assert jobs.store.cancelled_among([job_id]) == {job_id}  # whoever runs it stops
    kept = jobs.store.get(job_id)
    assert kept is not None
    assert kept.session_id is kept.verdict is kept.media is kept.request_id is None


def test_who_waits_for_a_job_that_is_deleted_is_told(tmp_path: Path) -> None:
    with apps.application(tmp_path) as app:
        jobs = apps.jobs_of(app)
        key = {"Idempotency-Key": "k"}
        job_id = apps.post_async(app.test_client(), headers=key)
        apps.finish(app, job_id)
        jobs.erase(job_id)
        problem_of(apps.post(app.test_client(), headers=key), 410, "expired")
        cancelled = apps.post_async(app.test_client(), headers={"Idempotency-Key": "other"})
        jobs.cancel(cancelled)
        for path in ("/score", "/score?async=1"):
            answer = apps.post(app.test_client(), url=path, headers={"Idempotency-Key": "other"})
            problem_of(answer, 409, "cancelled")


# Keeping


def test_what_is_not_kept_is_swept_up_once_it_was_delivered(tmp_path: Path) -> None:
    with apps.application(tmp_path, retention_seconds=0) as app:
        client = app.test_client()
        with apps.scoring(app), apps.post(client, session_id="private") as answer:
            waited = answer.get_json()["job_id"]
        polled, followed = (apps.post_async(client) for _ in range(2))
        apps.finish(app, polled)
        apps.finish(app, followed, errors.NoFace("x"))
        assert client.head(f"/jobs/{polled}").status_code == 200  # nothing was delivered
        untold = apps.post_async(client)
        apps.finish(app, untold)
        with client.get(f"/jobs/{polled}") as answer:
            assert answer.get_json()["result"]["job_id"] == polled
        with client.get(f"/jobs/{followed}/events") as answer:
            assert events_of(answer)[-1][1] == "error"
        store = apps.jobs_of(app).store
        assert store.expire(60, delivered_before_s=60) == 0  # others may ask for it
        store.expire(60, delivered_before_s=0)
        for job_id in (waited, polled, followed):
            problem_of(client.get(f"/jobs/{job_id}"), 410, "expired")
            kept = apps.jobs_of(app).store.get(job_id)
            assert kept is not None
            assert kept.session_id is kept.verdict is kept.error is None
        assert client.get(f"/jobs/{untold}").status_code == 200


def test_the_audit_log_knows_who_asked_and_what_was_answered(tmp_path: Path) -> None:
    with apps.application(tmp_path, max_queue=1) as app:
        client = app.test_client()
        with apps.post(client, url="/score?async=1", headers={"X-Request-ID": "first"}) as answer:
            job_id = answer.get_json()["job_id"]
        with apps.post(client, headers={"X-Request-ID": "second"}) as answer:
            problem_of(answer, 503, "queue_full")
        apps.finish(app, job_id)
        for request_id in ("third", "again"):
            client.get(f"/jobs/{job_id}", headers={"X-Request-ID": request_id}).close()
        client.delete(f"/jobs/{job_id}", headers={"X-Request-ID": "fourth"}).close()
        apps.jobs_of(app).trail.flush()
        rows = [
            (row.request_id, row.action, row.job_id, row.outcome, row.risk)
            for row in audit.read(apps.jobs_of(app).engine)
        ]
    assert rows == [
        ("first", "job.submitted", job_id, "accepted", None),
        ("second", "job.submitted", None, "queue_full", None),
        ("third", "job.delivered", job_id, "ALLOW", "LOW"),
        ("fourth", "job.deleted", job_id, None, None),
    ]
