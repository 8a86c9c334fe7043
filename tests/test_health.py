"""Health: what the database says, never waited for, and what follows from it."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy.exc import OperationalError

from service import health
from service.health import Pulse, why_not_ready
from service.jobs.records import WorkerInfo
from service.settings import Settings

ALIVE = WorkerInfo("a", True, ("syncnet_fcn",), 3)
DEAD = WorkerInfo("b", False, ("face_finder",), 9)


def counted(answer: Callable[[], list[WorkerInfo]]) -> tuple[Pulse, list[None]]:
    """A pulse, and one entry for each time that it has read."""
    reads: list[None] = []

    def read() -> list[WorkerInfo]:
        reads.append(None)
        return answer()

    return Pulse(read), reads


def test_the_database_is_read_once_for_all_who_ask_together() -> None:
    pulse, reads = counted(lambda: [ALIVE])
    assert [pulse.workers() for _ in range(200)] == 200 * [[ALIVE]]
    assert len(reads) <= 2


def test_what_was_read_is_not_believed_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    pulse, reads = counted(lambda: [ALIVE])
    pulse.workers()
    monkeypatch.setattr(health, "FRESH_S", 0.0)
    pulse.workers()
    assert len(reads) == 2


def test_a_database_that_hangs_is_asked_by_one_thread_and_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "PATIENCE_S", 0.01)
    monkeypatch.setattr(health, "FRESH_S", 0.0)
    answered = threading.Event()

    def hang() -> list[WorkerInfo]:
        answered.wait()
        return [ALIVE]

    pulse, reads = counted(hang)
    assert [pulse.workers() for _ in range(5)] == 5 * [None]
    assert len(reads) == 1
    answered.set()
    monkeypatch.setattr(health, "PATIENCE_S", 60.0)
    assert pulse.workers() == [ALIVE]


def test_a_database_that_fails_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FRESH_S", 0.0)
    answers: list[list[WorkerInfo] | Exception] = [
        OperationalError("select", {}, Exception("gone")),
        [ALIVE],
    ]

    def read() -> list[WorkerInfo]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    pulse = Pulse(read)
    assert pulse.workers() is None
    assert pulse.workers() == [ALIVE]


@pytest.mark.parametrize(
    ("workers", "draining", "reasons"),
    [
        ([ALIVE, DEAD], False, []),
        ([ALIVE], True, ["draining"]),
        ([DEAD], False, ["no_worker"]),
        ([], True, ["draining", "no_worker"]),
        (None, False, ["database"]),
    ],
)
def test_ready_is_who_would_score_a_recording(
    workers: list[WorkerInfo] | None, draining: bool, reasons: list[str]
) -> None:
    assert why_not_ready(workers, draining=draining) == reasons


def test_only_what_a_living_worker_has_loaded_is_loaded() -> None:
    told = health.report(Settings.model_construct(), [ALIVE, DEAD], None)
    assert (told["status"], told["models_loaded"]) == ("healthy", True)
    loaded = {name for name, row in told["detectors"].items() if row["loaded"]}
    assert loaded == {"syncnet_fcn"}
    for none_alive in ([DEAD], [], None):
        told = health.report(Settings.model_construct(), none_alive, None)
        assert (told["status"], told["models_loaded"]) == ("degraded", False)
