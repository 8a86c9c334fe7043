"""A machine that dies for good leaves its jobs to the others."""

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from faults import processes
from faults.harness import Service, clean_environment, orphans, start
from faults.ledger import Ledger, Row
from faults.postgres import Postgres
from faults.senders import Senders

TAKEN_OVER_WITHIN_S = 30.0
ROUNDS = 3
SOAK_ROUNDS = 40
START_S = 60.0
STOP_S = 30.0
INTO_A_JOB_S = 0.4
PAUSE_S = 0.02
SENDERS = 4
SEED = 6

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


class Machine:
    """A worker with a data folder and a name of its own."""

    def __init__(self, folder: Path, database_url: str, storage: Path) -> None:
        folder.mkdir()
        self.name = folder.name
        self._log = folder / "worker.log"
        environment = clean_environment(
            folder,
            DATA_DIR=folder / "data",
            DATABASE_URL=database_url,
            STORAGE_URL=storage,
            MODEL_PROFILE="bundled",
            SCORER_THREADS=1,
        )
        command = [sys.executable, "-m", "service.jobs.worker", "--name", self.name]
        self._process = start(command, environment, self._log)

    def fail(self) -> None:
        """Everything on it ends at once."""
        family = processes.descendants([self._process.pid])
        processes.kill(family)
        self._process.wait(STOP_S)
        assert not processes.wait_until_gone([*family, *orphans()], STOP_S)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.fail()
            raise
        assert not processes.wait_until_gone(orphans(), STOP_S), self.log()

    def log(self) -> str:
        return self._log.read_text(errors="replace")


def jobs_of(ledger: Ledger, machine: Machine) -> dict[str, Row]:
    """What it has in hand."""
    return {id: row for id, row in ledger.running().items() if row.worker == machine.name}


def wait_until_busy(ledger: Ledger, machine: Machine) -> None:
    until = time.monotonic() + START_S
    while not jobs_of(ledger, machine):
        assert time.monotonic() < until, machine.log()
        time.sleep(PAUSE_S)


def seconds_until_taken_over(ledger: Ledger, orphaned: dict[str, Row]) -> float:
    """How long it takes until each of the jobs was begun by another machine."""
    begin = time.monotonic()
    left = dict(orphaned)
    while left:
        assert time.monotonic() - begin < TAKEN_OVER_WITHIN_S, f"not taken over: {left}"
        for job_id, now in ledger.some(left).items():
            if now.worker != left[job_id].worker:
                del left[job_id]
        time.sleep(PAUSE_S)
    return time.monotonic() - begin


def test_the_jobs_of_a_machine_that_dies_are_done_by_the_others(
    tmp_path: Path,
    serve: Callable[..., Service],
    small_clip: bytes,
    figures: Callable[..., None],
    soak: bool,
) -> None:
    chance = random.Random(SEED)
    storage = tmp_path / "storage"
    storage.mkdir()
    orphaned = 0
    taken_over: list[float] = []
    with Postgres() as postgres, Ledger(postgres.sqlalchemy_url) as ledger:
        survivor = Machine(tmp_path / "survivor", postgres.url, storage)
        service = serve(DATABASE_URL=postgres.url, STORAGE_URL=storage, LOCAL_WORKER="false")
        with Senders(service, small_clip, SENDERS) as senders:
            for number in range(SOAK_ROUNDS if soak else ROUNDS):
                doomed = Machine(tmp_path / f"doomed{number}", postgres.url, storage)
                wait_until_busy(ledger, survivor)
                wait_until_busy(ledger, doomed)
                time.sleep(chance.uniform(0, INTO_A_JOB_S))
                doomed.fail()
                left = jobs_of(ledger, doomed)
                orphaned += len(left)
                taken_over.append(seconds_until_taken_over(ledger, left))
        kept = ledger.some(senders.ids())
        states = Counter(row.state for row in kept.values())
        shares = Counter(row.worker or "" for row in kept.values())
        survivor.stop()
        service.stop()
    figures(
        "machines",
        killed=len(taken_over),
        jobs=len(senders.promises),
        succeeded=states["succeeded"],
        orphaned=orphaned,
        slowest_takeover_s=round(max(taken_over), 1),
        done_by_the_survivor=shares[survivor.name],
    )
    assert orphaned
    assert not senders.refused
    assert not senders.broken
    assert len(kept) == len(senders.promises) == len(set(senders.ids()))
    assert set(states) == {"succeeded"}
    assert all(promise.job["state"] == "succeeded" for promise in senders.promises)
    assert [path for path in storage.rglob("*") if path.is_file()] == []
