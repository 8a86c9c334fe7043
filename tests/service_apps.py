"""The application without a worker: what would score, the test itself plays."""

import io
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import service_doubles as doubles
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import close, create_app
from service.jobs import tables
from service.jobs.intake import Jobs
from service.jobs.records import Job
from service.settings import Settings
from syncnet_python.errors import SyncNetError
from syncnet_python.results import Verdict


@cache
def _database() -> bytes:
    """An empty one: making its tables takes a third of a second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.sqlite"
        engine = tables.open_engine(f"sqlite:///{path}")
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        engine.dispose()
        return path.read_bytes()


@contextmanager
def application(folder: Path, **settings: Any) -> Iterator[Flask]:
    """One whose jobs wait until the test does something about them, with its data in `folder`."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    (data / "jobs.sqlite").write_bytes(_database())
    given: dict[str, Any] = {"data_dir": data, "local_worker": False, **settings}
    app = create_app(Settings(_env_file=None, **given))
    try:
        yield app
    finally:
        close(app)


def jobs_of(app: Flask) -> Jobs:
    jobs: Jobs = app.extensions["jobs"]
    return jobs


def post(
    client: FlaskClient,
    content: bytes = b"recording",
    *,
    url: str = "/score",
    headers: dict[str, str] | None = None,
    **fields: str,
) -> TestResponse:
    """Upload a recording and wait for the answer."""
    data = {"video": (io.BytesIO(content), "recording.webm"), **fields}
    return client.post(url, data=data, headers=headers)


def post_async(client: FlaskClient, content: bytes = b"recording", **fields: Any) -> str:
    """Upload a recording; the job's id."""
    answer = post(client, content, url="/score?async=1", **fields)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.get_json()["job_id"]
    return job_id


def finish(app: Flask, job_id: str, outcome: Verdict | SyncNetError = doubles.VERDICT) -> None:
    """Do what a worker does: begin the job, end it, delete its recording."""
    jobs = jobs_of(app)
    job = jobs.store.begin(job_id, "the test")
    assert job is not None
    assert jobs.store.finish(job.id, job.attempt, outcome)
    if job.media:
        jobs.storage.delete(job.media)
    jobs.store.forget_media(job.id)


def open_jobs(app: Flask) -> list[Job]:
    """Those that wait or run, by asking the database itself."""
    jobs = jobs_of(app)
    with jobs.engine.connect() as connection:
        ids = connection.exec_driver_sql(
            "SELECT id FROM jobs WHERE state IN ('queued', 'running') ORDER BY created_at"
        )
        found = [jobs.store.get(row.id) for row in ids]
    return [job for job in found if job is not None]


def media_of(app: Flask) -> list[Path]:
    """Recordings that lie anywhere in the data folder."""
    data: Path = app.extensions["settings"].data_dir
    return [
        path for name in ("uploads", "media") for path in (data / name).rglob("*") if path.is_file()
    ]


@contextmanager
def scoring(app: Flask, outcome: Verdict | SyncNetError = doubles.VERDICT) -> Iterator[None]:
    """Meanwhile every job is ended with that outcome as soon as it is there."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.01):
            for job in open_jobs(app):
                finish(app, job.id, outcome)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
