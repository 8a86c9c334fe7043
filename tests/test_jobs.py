"""Jobs from their submission to their end, in real worker processes; the analysis is the double."""

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import service_doubles as doubles
from faults import processes

from service.jobs import tables
from service.jobs.intake import Jobs, open_jobs
from service.jobs.records import Job, NewJob
from service.jobs.runner import MAX_ATTEMPTS
from service.scoring.scorer import ProcessDied
from service.settings import Settings
from syncnet_python import errors

LONG_S = 60.0
"""Seconds that no test here should ever take."""


class Desk:
    """The jobs of one data folder, and recordings that tell the double what to do."""

    def __init__(self, folder: Path, **settings: object) -> None:
        values = {
            **Settings.model_construct().model_dump(),
            "data_dir": folder / "data",
            **settings,
        }
        self.settings = Settings.model_validate(values)
        self.folder = folder
        self.jobs: Jobs = open_jobs(self.settings, doubles.BUILD)

    def submit(self, words: str, **values: object) -> Job:
        path = self.folder / uuid.uuid4().hex
        path.write_text(words)
        fields = {"owner": "anna", "body_sha256": "0" * 64, "session_id": "s", "request_id": "r"}
        new = NewJob(
            **{**fields, "id": str(uuid.uuid4()), "media": self.jobs.storage.put(path), **values}  # type: ignore[arg-type]
        )
        return self.jobs.submit(new)[0]

    def ended(self, job: Job) -> Job:
        """The job after it has ended and its recording is deleted."""
        state = self.jobs.watcher.wait(job.id, LONG_S)
        assert state is not None
        assert state.ended, state
        while (now := self.jobs.store.get(job.id)) and now.media:
            time.sleep(0.01)
        assert now is not None
        return now

    def media(self) -> list[Path]:
        return [p for p in (self.settings.data_dir / "media").rglob("*") if p.is_file()]


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(**settings: object) -> Desk:
        desks.append(Desk(tmp_path, **settings))
        return desks[-1]

    yield make
    for desk in desks:
        desk.jobs.close()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk()


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds; the test's own timeout ends a wait that never does."""
    while not condition():
        time.sleep(0.01)


@pytest.mark.slow
def test_a_job_is_scored_and_its_recording_deleted(desk: Desk) -> None:
    job = desk.ended(desk.submit("answer"))
    assert job.state == "succeeded"
    assert job.verdict == doubles.VERDICT
    assert (job.attempt, job.progress) == (1, 1.0)
    assert job.started_at is not None
    assert job.finished_at is not None
    assert job.created_at <= job.started_at <= job.finished_at
    assert desk.media() == []


@pytest.mark.slow
def test_what_is_wrong_with_the_recording_is_the_result(desk: Desk) -> None:
    job = desk.ended(desk.submit("raise NoFace nobody there"))
    assert job.state == "failed"
    assert type(job.error) is errors.NoFace
    assert job.error.message == "nobody there"
    assert desk.media() == []


@pytest.mark.slow
def test_progress_is_told_while_it_runs(desk: Desk, tmp_path: Path) -> None:
    marker, go = tmp_path / "held", tmp_path / "go"
    os.mkfifo(go)
    job = desk.submit(f"until {marker} {go}")
    changes = desk.jobs.watcher.follow(job.id)
    seen = []
    for change in changes:
        if change is not None:
            seen.append((change.state, change.stage))
        if ("running", "decode") in seen and not (change and change.ended):
            go.write_text("go")
    assert seen[-1] == ("succeeded", None)
    assert ("running", "decode") in seen


@pytest.mark.alone
@pytest.mark.slow
def test_a_cancelled_job_stops_within_two_seconds_and_leaves_nothing(
    desk: Desk, tmp_path: Path
) -> None:
    marker = tmp_path / "held"
    job = desk.submit(f"hold {marker}")
    wait_until(marker.exists)
    asked = time.monotonic()
    assert desk.jobs.cancel(job.id) is not None
    pid = int(marker.read_text())
    wait_until(lambda: not processes.alive(pid))
    assert time.monotonic() - asked < 2
    assert desk.ended(job).state == "cancelled"
    assert desk.media() == []
    assert desk.ended(desk.submit("answer")).state == "succeeded"


@pytest.mark.slow
def test_who_waits_is_answered_by_the_deadline(desk: Desk, tmp_path: Path) -> None:
    desk.ended(desk.submit("answer"))  # everything is up
    job = desk.ended(desk.submit(f"hold {tmp_path / 'held'}", must_end_by=time.time() + 1))
    assert type(job.error) is errors.DeadlineExceeded
    # Nobody has waited for this one for long: it was kept over an end of the service.
    assert desk.ended(desk.submit("answer", must_end_by=time.time() - 99)).state == "succeeded"
    assert (
        desk.ended(desk.submit("partial", must_end_by=time.time() + 4)).verdict == doubles.PARTIAL
    )


@pytest.mark.slow
@pytest.mark.parametrize("which", ["worker", "scorer"])
def test_a_job_whose_process_is_killed_is_begun_again(
    desk: Desk, tmp_path: Path, which: str
) -> None:
    marker, go = tmp_path / "held", tmp_path / "go"
    os.mkfifo(go)
    job = desk.submit(f"until {marker} {go}")
    wait_until(marker.exists)
    assert desk.jobs.worker is not None
    pid = desk.jobs.worker.pid() if which == "worker" else int(marker.read_text())
    assert pid is not None
    marker.unlink()
    os.kill(pid, signal.SIGKILL)
    wait_until(marker.exists)  # it has been begun again
    go.write_text("go")
    done = desk.ended(job)
    assert done.state == "succeeded"
    assert done.attempt == 2
    assert desk.media() == []


@pytest.mark.slow
def test_a_recording_that_kills_what_scores_it_is_given_up(desk: Desk) -> None:
    job = desk.ended(desk.submit(f"signal {int(signal.SIGSEGV)}"))
    assert type(job.error) is ProcessDied
    assert job.attempt == MAX_ATTEMPTS
    assert desk.media() == []


@pytest.mark.slow
def test_what_was_accepted_before_the_end_is_done_after_the_next_start(
    make_desk: Callable[..., Desk], tmp_path: Path
) -> None:
    first = make_desk(local_worker=False)
    jobs = [first.submit("answer") for _ in range(3)]
    first.jobs.close()
    second = make_desk()
    assert second.jobs.worker is not None
    second.jobs.worker.ensure()
    assert [second.ended(job).state for job in jobs] == ["succeeded"] * 3
    assert second.media() == []


@pytest.mark.slow
def test_what_the_queue_forgot_is_not_open_for_ever(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(local_worker=False)
    desk.jobs.queue.enqueue = lambda *_: None  # type: ignore[method-assign]
    job = desk.submit("answer")
    with desk.jobs.engine.begin() as connection:
        connection.execute(tables.jobs.update().values(created_at=0.0))
    second = make_desk()
    assert second.jobs.worker is not None
    second.jobs.worker.ensure()
    assert type(second.ended(job).error) is errors.AnalysisFailed
    assert second.media() == []


@pytest.mark.slow
def test_a_job_in_the_hands_of_nobody_known_is_begun_again(
    make_desk: Callable[..., Desk], tmp_path: Path
) -> None:
    """Its worker died, and so did who took over from it, in the middle of that."""
    first = make_desk()
    marker, go = tmp_path / "held", tmp_path / "go"
    os.mkfifo(go)
    job = first.submit(f"until {marker} {go}")
    wait_until(marker.exists)
    worker = first.jobs.worker
    assert worker is not None
    pid = worker.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    closing = threading.Thread(target=worker.close)
    closing.start()  # no other is started
    os.kill(pid, signal.SIGKILL)
    closing.join()
    with first.jobs.engine.begin() as connection:
        connection.execute(tables.workers.delete())
    (first.settings.data_dir / "worker.id").unlink()
    marker.unlink()
    second = make_desk()
    assert second.jobs.worker is not None
    second.jobs.worker.ensure()
    wait_until(marker.exists)
    go.write_text("go")
    assert second.ended(job).state == "succeeded"


@pytest.mark.slow
def test_only_one_of_the_web_processes_keeps_the_worker_and_another_succeeds_it(
    make_desk: Callable[..., Desk],
) -> None:
    one, two = make_desk(), make_desk()
    one.ended(one.submit("answer"))
    two.ended(two.submit("answer"))
    assert one.jobs.worker is not None
    assert two.jobs.worker is not None
    assert one.jobs.worker.pid() is not None
    assert two.jobs.worker.pid() is None
    one.jobs.close()
    two.ended(two.submit("answer"))
    assert two.jobs.worker.pid() is not None


@pytest.mark.slow
def test_owners_take_turns(make_desk: Callable[..., Desk], tmp_path: Path) -> None:
    """Who has sent much does not keep others waiting for all of it."""
    desk = make_desk()
    marker, go = tmp_path / "held", tmp_path / "go"
    os.mkfifo(go)
    held = desk.submit(f"until {marker} {go}", owner="anna")
    wait_until(marker.exists)
    many = [desk.submit("answer", owner="anna") for _ in range(12)]
    few = [desk.submit("answer", owner="berta") for _ in range(3)]
    go.write_text("go")
    desk.ended(held)
    ends = [desk.ended(job).finished_at or 0 for job in few]
    assert max(ends) < max(desk.ended(job).finished_at or 0 for job in many)


def test_waiting_ends_when_the_time_is_up_or_the_process_ends(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(local_worker=False)
    job = desk.submit("answer")
    state = desk.jobs.watcher.wait(job.id, 0.2)
    assert state is not None
    assert state.state == "queued"
    assert desk.jobs.watcher.wait("unknown", 0.2) is None
    threading.Timer(0.2, desk.jobs.watcher.stop).start()
    desk.jobs.watcher.wait(job.id, LONG_S)
    assert list(desk.jobs.watcher.follow("unknown")) == []
