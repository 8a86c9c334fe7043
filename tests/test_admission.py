"""What is taken on and what is not: limits, idempotency keys, webhooks, and who has to wait."""

import errno
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import service_apps as apps
import service_doubles as doubles
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service import keys, uploads
from service.jobs import intake
from service.jobs.intake import Jobs
from service.jobs.records import Job, NewJob
from syncnet_python import errors

SECRET = "whsec_" + "A" * 32


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    with apps.application(
        tmp_path, max_queue=3, max_queue_per_key=2, processing_timeout_seconds=100
    ) as app:
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def problem_of(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    problem: dict[str, Any] = json.loads(answer.text)
    assert (problem["status"], problem["code"]) == (status, code)
    return problem


class Unread:
    """A body of which nothing may be read."""

    def read(self, size: int = -1) -> bytes:
        raise AssertionError("the body was read")


def post_unread(
    client: FlaskClient, headers: dict[str, str] | None = None, length: int = 5000
) -> TestResponse:
    """POST a recording that must be refused before it is received."""
    return client.post(
        "/score",
        content_type="multipart/form-data; boundary=b",
        headers=headers,
        environ_overrides={"wsgi.input": Unread(), "CONTENT_LENGTH": str(length)},
    )


# Limits


def test_a_full_queue_refuses_without_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with apps.application(tmp_path, max_queue=2, max_queue_per_key=5) as app:
        client = app.test_client()
        for _ in range(2):
            apps.post_async(client)
        kept = apps.media_of(app)
        answer = post_unread(client)
        problem_of(answer, 503, "queue_full")
        assert int(answer.headers["Retry-After"]) > 0
        assert (len(apps.open_jobs(app)), apps.media_of(app)) == (2, kept)
        apps.finish(app, apps.open_jobs(app)[0].id)
        monkeypatch.setattr(intake, "REMEMBERED_S", 0.0)
        apps.post_async(client)


def test_one_sender_may_not_fill_the_queue(app: Flask, client: FlaskClient) -> None:
    engine = apps.jobs_of(app).engine
    mine, theirs = ({"X-API-Key": keys.create(engine, name)[0]} for name in ("mine", "theirs"))
    for _ in range(2):
        apps.post_async(client, headers=mine)
    answer = post_unread(client, mine)
    problem_of(answer, 429, "too_many_jobs")
    assert int(answer.headers["Retry-After"]) > 0
    apps.post_async(client, headers=theirs)


def test_so_many_recordings_a_minute(tmp_path: Path) -> None:
    with apps.application(tmp_path, rate_limit_per_minute=2) as app:
        client = app.test_client()
        for _ in range(2):
            apps.finish(app, apps.post_async(client))
        answer = post_unread(client)
        problem_of(answer, 429, "rate_limited")
        assert 50 <= int(answer.headers["Retry-After"]) <= 60


def test_what_is_refused_at_the_last_moment_leaves_no_recording(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check before the body is read may be out of date when it has been."""
    for _ in range(2):
        apps.post_async(client)
    kept = apps.media_of(app)
    monkeypatch.setattr(type(apps.jobs_of(app)), "_check", lambda *_: None)
    problem_of(apps.post(client), 429, "too_many_jobs")
    assert apps.media_of(app) == kept


def test_only_so_many_requests_hold_a_thread(tmp_path: Path) -> None:
    """Half of eight threads; the others find one at once."""
    with apps.application(tmp_path, web_threads=8) as app, ThreadPoolExecutor() as pool:
        waiting = [pool.submit(apps.post, app.test_client()) for _ in range(4)]
        while len(apps.open_jobs(app)) < 4:
            assert not any(one.done() for one in waiting)
            time.sleep(0.01)
        answer = post_unread(app.test_client())
        problem_of(answer, 503, "busy")
        assert int(answer.headers["Retry-After"]) > 0
        assert app.test_client().get("/health").status_code == 200
        with apps.scoring(app):
            assert [one.result().status_code for one in waiting] == [200] * 4
        with apps.scoring(app):
            assert apps.post(app.test_client()).status_code == 200


def test_an_announced_length_is_enough_to_be_refused(tmp_path: Path) -> None:
    with apps.application(tmp_path, max_video_size_mb=1) as app:
        answer = post_unread(app.test_client(), length=2**21)
        detail = problem_of(answer, 413, "too_large")["detail"]
        assert "1 MB" in detail
        assert "MAX_VIDEO_SIZE_MB" in detail


# The deadline


def test_who_waits_in_vain_is_told_so_and_the_job_is_given_up(tmp_path: Path) -> None:
    with apps.application(tmp_path, processing_timeout_seconds=0.3) as app:
        answer = apps.post(app.test_client())
        problem_of(answer, 503, "busy")
        assert int(answer.headers["Retry-After"]) > 0
        assert apps.open_jobs(app) == apps.media_of(app) == []


class Slow(io.BytesIO):
    """A body that takes a while to come."""

    def read(self, size: int | None = -1) -> bytes:
        time.sleep(0.1)
        return super().read(size)


def test_waiting_begins_when_the_recording_is_there(tmp_path: Path) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="video"; filename="x"\r\n\r\n'
        + bytes(100_000)
        + b"\r\n--b--\r\n"
    )
    with apps.application(tmp_path, processing_timeout_seconds=0.3) as app, apps.scoring(app):
        answer = app.test_client().post(
            "/score",
            content_type="multipart/form-data; boundary=b",
            input_stream=Slow(body),
            content_length=len(body),
        )
        assert answer.status_code == 200, answer.text
        assert answer.get_json()["request_time_ms"] > 300


def test_with_a_key_the_job_is_kept_for_the_next_time(tmp_path: Path) -> None:
    with apps.application(tmp_path, processing_timeout_seconds=0.3) as app:
        key = {"Idempotency-Key": "k"}
        problem_of(apps.post(app.test_client(), headers=key), 503, "busy")
        (job,) = apps.open_jobs(app)
        assert job.must_end_by is None
        apps.finish(app, job.id)
        answer = apps.post(app.test_client(), headers=key)
        assert (answer.status_code, answer.get_json()["job_id"]) == (200, job.id)


def test_a_worker_that_does_not_end_in_time_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.GRACE_S", 0.1)
    with apps.application(tmp_path, processing_timeout_seconds=0.5) as app:
        submit = Jobs.submit

        def submit_and_begin(jobs: Jobs, new: NewJob, **given: Any) -> tuple[Job, bool]:
            """A worker takes it up before its sender begins to wait, however slow the machine."""
            job, created = submit(jobs, new, **given)
            assert jobs.store.begin(job.id, "the test") is not None
            return job, created

        monkeypatch.setattr(Jobs, "submit", submit_and_begin)
        problem_of(apps.post(app.test_client()), 408, "timeout")
        (job,) = apps.open_jobs(app)
        assert (job.state, job.must_end_by is not None) == ("running", True)


def test_a_process_that_ends_lets_go_of_who_waits(app: Flask) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(apps.post, app.test_client())
        while not (found := apps.open_jobs(app)):
            assert not waiting.done()
            time.sleep(0.01)
        apps.jobs_of(app).watcher.stop()
        answer = waiting.result()
        assert answer.status_code == 202
        assert answer.headers["Location"] == f"/jobs/{found[0].id}"
        late = apps.post(app.test_client())
        assert late.status_code == 202
    assert [job.must_end_by for job in apps.open_jobs(app)] == [None, None]


# Idempotency keys


def test_the_same_request_is_the_same_job(app: Flask, client: FlaskClient) -> None:
    key = {"Idempotency-Key": "one of mine"}
    first = apps.post(client, url="/score?async=1", headers=key, metadata='{"a": 1, "b": 2}')
    assert "Idempotency-Replayed" not in first.headers
    job_id = first.get_json()["job_id"]
    wished = {**key, "Prefer": "respond-async"}
    again = apps.post(client, headers=wished, metadata='{"b": 2, "a": 1}')
    assert again.status_code == 202
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.get_json()["job_id"] == job_id
    apps.finish(app, job_id)
    answers = [apps.post(client, headers=key, metadata='{"a": 1, "b": 2}') for _ in range(2)]
    for answer in answers:
        assert answer.status_code == 200
        assert answer.headers["Idempotency-Replayed"] == "true"
    bodies = [answer.get_json() for answer in answers]
    for body in bodies:
        del body["request_time_ms"]
    assert bodies[0] == bodies[1]
    assert bodies[0]["job_id"] == job_id
    assert apps.media_of(app) == []


@pytest.mark.parametrize(
    "other",
    [
        {"content": b"another recording"},
        {"session_id": "x"},
        {"partial": "true"},
        {"url": "/score?async=1&heatmap=1"},
        {"metadata": '{"a": 1}'},
    ],
)
def test_another_request_with_the_same_key_is_refused(
    app: Flask, client: FlaskClient, other: dict[str, Any]
) -> None:
    key = {"Idempotency-Key": "k"}
    apps.post_async(client, headers=key)
    problem_of(apps.post(client, headers=key, **other), 422, "idempotency_key_reused")
    assert len(apps.open_jobs(app)) == len(apps.media_of(app)) == 1


def test_a_key_is_its_owners(app: Flask, client: FlaskClient) -> None:
    engine = apps.jobs_of(app).engine
    senders = [{"X-API-Key": keys.create(engine, name)[0]} for name in ("a", "b")]
    ids = {apps.post_async(client, headers={**s, "Idempotency-Key": "k"}) for s in senders}
    assert len(ids) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "schl\u00fcssel", "\x7f"])
def test_a_key_is_plain_text(app: Flask, client: FlaskClient, key: str) -> None:
    answer = apps.post(client, headers={"Idempotency-Key": key})
    assert "Idempotency-Key" in problem_of(answer, 400, "malformed_request")["detail"]
    assert apps.media_of(app) == []


def test_a_known_key_finds_its_job_though_the_queue_is_full(tmp_path: Path) -> None:
    with apps.application(tmp_path, max_queue=1) as app:
        key = {"Idempotency-Key": "k"}
        job_id = apps.post_async(app.test_client(), headers=key)
        assert apps.post_async(app.test_client(), headers=key) == job_id
        problem_of(post_unread(app.test_client()), 503, "queue_full")


def test_many_at_once_with_one_key_are_one_job(app: Flask) -> None:
    def send(_number: int) -> TestResponse:
        return apps.post(app.test_client(), headers={"Idempotency-Key": "k"})

    with apps.scoring(app), ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(send, range(12)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.get_json()["job_id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert apps.media_of(app) == []


# Webhooks


def test_webhooks_are_refused_where_none_are_sent(app: Flask, client: FlaskClient) -> None:
    answer = apps.post(client, webhook_url="https://example.org/hook")
    assert "WEBHOOK_SECRET" in problem_of(answer, 422, "webhooks_off")["detail"]
    assert apps.media_of(app) == []


@pytest.mark.parametrize("where", ["field", "header"])
def test_a_webhook_is_kept_with_the_job(tmp_path: Path, where: str) -> None:
    url = "https://example.org/hook?x=1"
    with apps.application(tmp_path, webhook_secret=SECRET) as app:
        if where == "field":
            apps.post_async(app.test_client(), webhook_url=url)
        else:
            apps.post_async(app.test_client(), headers={"Webhook-Url": url})
        (job,) = apps.open_jobs(app)
        assert job.webhook_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/",
        "http://[::1]/",
        "http://10.1.2.3/",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "https://user:secret@example.org/",
        "//example.org",
        "no address",
    ],
)
def test_a_webhook_to_where_nobody_should_call_is_refused(tmp_path: Path, url: str) -> None:
    with apps.application(tmp_path, webhook_secret=SECRET) as app:
        answer = apps.post(app.test_client(), webhook_url=url)
        assert url not in problem_of(answer, 422, "address_refused")["detail"]
        assert apps.open_jobs(app) == apps.media_of(app) == []


# What cannot be kept


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_so_wherever_it_is_met(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*_: object, **__: object) -> Any:
        raise OSError(number, "full")

    for target, name in ((uploads.Upload, "write"), (apps.jobs_of(app).storage, "put")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, full)
            answer = apps.post(client, b"x" * 100_000)
        problem_of(answer, 507, "storage_full")
        assert int(answer.headers["Retry-After"]) > 0
        assert apps.open_jobs(app) == apps.media_of(app) == []
    apps.post_async(client)


def test_a_storage_that_is_away_is_said_so(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_path: Path) -> str:
        raise RuntimeError("private: s3.internal does not answer")

    monkeypatch.setattr(apps.jobs_of(app).storage, "put", away)
    answer = apps.post(client)
    assert "private" not in problem_of(answer, 503, "storage_unavailable")["detail"]
    assert apps.open_jobs(app) == apps.media_of(app) == []


def test_the_answer_waits_for_the_job_and_says_how_long(app: Flask, client: FlaskClient) -> None:
    with apps.scoring(app):
        body = apps.post(client).get_json()
    assert body["combined_score"] == doubles.VERDICT.combined_score
    assert 0 <= body["processing_time_ms"] <= body["request_time_ms"]
    with apps.scoring(app, errors.NoFace("as said")):
        assert problem_of(apps.post(client), 422, "no_face")["detail"] == "as said"
