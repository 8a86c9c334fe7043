"""Batches as durable jobs: fed as room comes, found again, scored by workers elsewhere."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import service_doubles as doubles
from faults.harness import Service
from faults.postgres import Postgres
from test_batch import put, rows, table, wait_until
from typer.testing import CliRunner, Result

import cli
from evaluation.samples import talking_clip
from service import audit
from service.jobs.intake import Jobs, open_jobs
from service.jobs.records import Job, NewJob
from service.settings import Settings
from syncnet_python.errors import DeadlineExceeded, NoFace, SyncNetError
from syncnet_python.results import Verdict
from workflows.batch import jobs as batch_jobs
from workflows.batch import running as batch
from workflows.batch.inputs import find
from workflows.batch.results import SUMMARY, Results
from workflows.batch.running import Order, Plan

ROOT = Path(__file__).resolve().parent.parent
PLAN = Plan("jobs", {"jobs": True}, {})


@pytest.fixture(autouse=True)
def only_default_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)  # away from any .env


Answer = Callable[[Job, bytes], Verdict | SyncNetError | None]


class Desk:
    """Runs batches over a database and a storage of its own, and plays the worker."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.clips, self.out, self.data = folder / "clips", folder / "out", folder / "data"
        given: dict[str, Any] = {"data_dir": self.data, "local_worker": False, **settings}
        self.settings = Settings(_env_file=None, **given)
        self.jobs: Jobs = open_jobs(self.settings)
        self.said: list[str] = []
        self.most_open = 0

    def run(self, *, at_once: int = 4, **options: Any) -> dict[str, Any]:
        def score(orders: Sequence[Order], results: Results) -> Any:
            return batch_jobs.score(
                orders, self.settings, results, at_once=at_once, said=self.said.append
            )

        with Results(self.out) as results:
            found = find([str(self.clips)])
            return batch.run(found, results, PLAN, score, lambda *_: None, **options)

    def ids(self, *states: str) -> list[str]:
        marks = ", ".join(f"'{state}'" for state in states)
        with self.jobs.engine.connect() as connection:
            query = f"SELECT id FROM jobs WHERE state IN ({marks}) ORDER BY created_at"
            return [row.id for row in connection.exec_driver_sql(query)]

    @contextmanager
    def worker(self, answer: Answer) -> Iterator[None]:
        """Meanwhile every job is ended as `answer` says; None leaves it running."""
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(0.01):
                self.most_open = max(self.most_open, len(self.ids("queued", "running")))
                for job_id in self.ids("queued"):
                    self.end(job_id, answer)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def end(self, job_id: str, answer: Answer) -> None:
        job = self.jobs.store.begin(job_id, "the test")
        assert job is not None
        assert job.media is not None
        with self.jobs.storage.local(job.media) as path:
            content = path.read_bytes()
        result = answer(job, content)
        if result is not None:
            assert self.jobs.store.finish(job.id, job.attempt, result)
            self.jobs.storage.delete(job.media)
            self.jobs.store.forget_media(job.id)


def scored(job: Job, content: bytes) -> Verdict | SyncNetError:
    return NoFace("nobody") if content.startswith(b"nobody") else doubles.VERDICT


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(**settings: Any) -> Desk:
        desks.append(Desk(tmp_path, **settings))
        return desks[-1]

    yield make
    for desk in desks:
        desk.jobs.close()


def test_a_batch_larger_than_the_queue_is_fed_as_room_comes(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(max_queue=3)
    others = [
        NewJob(f"other-{n}", "anna", "0" * 64, "s", "r", media=desk.jobs.storage.put(path))
        for n, path in enumerate([put(desk.data / "upload")])
    ]
    desk.jobs.submit(others[0])
    for number in range(7):
        put(desk.clips / f"{number}.mp4", "nobody" if number == 3 else "clip")
    with desk.worker(lambda job, content: scored(job, content) if job.owner != "anna" else None):
        summary = desk.run(at_once=2)
    assert summary["files"]["scored"] == 6
    assert summary["failures"] == {"no_face": 1}
    assert desk.most_open <= 3
    assert {path.read_text() for path in desk.clips.iterdir()} == {"clip", "nobody"}
    assert len(list((desk.data / "media").iterdir())) == 1
    assert len(table(desk.out)) == 7


def test_what_is_done_and_asked_is_in_the_audit_log(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    put(desk.clips / "1.mp4")
    with desk.worker(scored):
        desk.run()
    found = [(row.owner, row.action, row.outcome) for row in audit.read(desk.jobs.engine)]
    assert found == [
        ("operator", "job.submitted", "accepted"),
        ("operator", "job.delivered", "ALLOW"),
    ]


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Callable[[Desk], None]:
    """Runs a batch and stops it, as Ctrl-C does, when it has sent what it may."""

    def run(desk: Desk) -> None:
        def interrupt(_: float) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(batch_jobs.time, "sleep", interrupt)
            with pytest.raises(KeyboardInterrupt):
                desk.run()

    return run


def test_a_second_run_finds_the_jobs_of_the_first(
    make_desk: Callable[..., Desk], stopped: Callable[[Desk], None]
) -> None:
    desk = make_desk()
    for number in range(3):
        put(desk.clips / f"{number}.mp4")
    stopped(desk)
    sent = desk.ids("queued")
    assert len(sent) == 3
    assert json.loads((desk.out / SUMMARY).read_text())["files"]["not_done"] == 3
    with desk.worker(scored):
        wait_until(lambda: len(desk.ids("succeeded")) == 3)
    assert desk.run()["files"]["scored"] == 3
    assert sorted(row["job"] for row in rows(desk.out)) == sorted(sent)
    assert desk.ids("queued") == []


def test_a_job_that_somebody_ended_is_sent_anew(
    make_desk: Callable[..., Desk], stopped: Callable[[Desk], None]
) -> None:
    desk = make_desk()
    put(desk.clips / "1.mp4")
    stopped(desk)
    (cancelled,) = desk.ids("queued")
    desk.jobs.cancel(cancelled)
    with desk.worker(scored):
        assert desk.run()["files"]["scored"] == 1
    (row,) = rows(desk.out)
    assert row["job"] != cancelled
    assert row["attempt"] == 1


def test_a_job_that_is_ended_meanwhile_is_a_failure_and_the_next_run_sends_it_anew(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk()
    put(desk.clips / "1.mp4")

    def cancel(job: Job, content: bytes) -> None:
        desk.jobs.cancel(job.id)

    with desk.worker(cancel):
        assert desk.run()["failures"] == {"job_lost": 1}
    with desk.worker(scored):
        assert desk.run()["files"]["scored"] == 1


def test_what_failed_by_no_fault_of_the_recording_is_tried_again_as_another_job(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk()
    put(desk.clips / "1.mp4", "nobody")
    put(desk.clips / "2.mp4")
    with desk.worker(
        lambda job, content: (
            DeadlineExceeded("slow") if content == b"answer" else scored(job, content)
        )
    ):
        assert desk.run()["failures"] == {"no_face": 1, "timeout": 1}
    with desk.worker(scored):
        summary = desk.run()
    assert summary["throughput"]["files"] == 1
    assert summary["failures"] == {"no_face": 1}
    assert len(desk.ids("succeeded", "failed")) == 3


def test_again_sends_every_file_anew(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    put(desk.clips / "1.mp4")
    with desk.worker(scored):
        desk.run()
        assert desk.run()["throughput"]["files"] == 0
        assert desk.run(again=True)["throughput"]["files"] == 1
    assert len(desk.ids("succeeded")) == 2
    assert len(rows(desk.out)) == 1


def test_nobody_there_to_do_the_work_is_said(
    make_desk: Callable[..., Desk], stopped: Callable[[Desk], None]
) -> None:
    desk = make_desk()
    put(desk.clips / "1.mp4")
    stopped(desk)
    assert any("No worker is alive" in said for said in desk.said)


def test_a_database_that_cannot_be_used_is_a_settings_error(tmp_path: Path) -> None:
    put(tmp_path / "clips/1.mp4")
    put(tmp_path / "data/jobs.sqlite", "no database " * 100)
    said = run("clips", "--output-dir", "out", "--jobs")
    assert said.exit_code == 2
    assert "the database cannot be used" in said.stderr


def test_jobs_of_a_batch_need_no_flask() -> None:
    asked = "import sys, workflows.batch.jobs, workflows.batch.workers; "
    asked += "sys.exit(bool({'flask', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", asked], cwd=ROOT).returncode == 0


# With real workers.


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["batch", *map(str, arguments)])


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people who speak, and no video at all."""
    folder = tmp_path_factory.mktemp("clips")
    small = {"seconds": 2.0, "size": (320, 240), "container": "mp4-h264-aac"}
    talking_clip(folder / "a.mp4", **small, offset_frames=4)
    talking_clip(folder / "b.mp4", **small, seed=1)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


@contextmanager
def worker(folder: Path, **settings: object) -> Iterator[None]:
    """`syncnet-service worker` with these settings, ended with the block."""
    given = {"MODEL_PROFILE": "bundled", "SCORER_THREADS": 1, "LOG_LEVEL": "error", **settings}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment |= {name: str(value) for name, value in given.items()}
    command = [sys.executable, "-m", "cli", "worker"]
    process = subprocess.Popen(command, cwd=folder, env=environment)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def check(clips: Path, out: Path) -> None:
    """Runs the batch twice beside a worker."""
    first = run(clips, "--output-dir", out, "--jobs", "--json")
    summary = json.loads(first.stdout)
    assert summary["mode"] == "jobs"
    assert summary["failures"] == {"unsupported_media": 1}
    assert [row["offset_frames"] for row in table(out)] == ["4", "0", ""]
    before = sorted(row["job"] for row in rows(out))
    (out / "results.jsonl").unlink()
    second = json.loads(run(clips, "--output-dir", out, "--jobs", "--json").stdout)
    assert second["files"] == summary["files"]
    assert sorted(row["job"] for row in rows(out)) == before
    assert sorted(path.name for path in clips.iterdir()) == ["a.mp4", "b.mp4", "broken.mp4"]


@pytest.mark.slow
def test_a_worker_of_the_same_data_folder_scores_the_batch(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    with worker(tmp_path, DATA_DIR=tmp_path / "data"):
        check(clips, tmp_path / "out")
    assert list((tmp_path / "data/media").iterdir()) == []


@pytest.mark.slow
def test_a_running_service_answers_beside_a_batch(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which would fill its queue, were it let."""
    for number in range(6):
        copy = tmp_path / "many" / f"{number}.mp4"
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((clips / "a.mp4").read_bytes())
    with Service(tmp_path, SCORER_THREADS=1, MAX_QUEUE=4) as service:
        monkeypatch.setenv("DATA_DIR", str(service.data_dir))
        monkeypatch.setenv("MAX_QUEUE", "4")
        with ThreadPoolExecutor() as pool:
            batch = pool.submit(run, tmp_path / "many", "--output-dir", "out", "--jobs", "--json")
            wait_until((tmp_path / "out" / ".batch").exists)
            answers = [service.post(clips / "b.mp4").status_code for _ in range(3)]
            summary = json.loads(batch.result().stdout)
    assert answers == [200, 200, 200]
    assert summary["files"]["scored"] == 6


@pytest.mark.slow
def test_workers_on_postgres_score_the_batch(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Postgres() as postgres:
        shared = {"DATABASE_URL": postgres.url, "STORAGE_URL": tmp_path / "store"}
        for name, value in {**shared, "DATA_DIR": tmp_path / "mine"}.items():
            monkeypatch.setenv(name, str(value))
        with worker(tmp_path, **shared, DATA_DIR=tmp_path / "theirs"):
            check(clips, tmp_path / "out")
    assert list((tmp_path / "store").iterdir()) == []
