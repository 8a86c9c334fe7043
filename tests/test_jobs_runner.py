"""One job in the hands of a worker, when what it needs breaks in ways of its own."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import service_doubles as doubles

from service.jobs import tables
from service.jobs.records import AdmissionLimits, Job, NewJob
from service.jobs.runner import JobRunner
from service.jobs.storage import Storage
from service.jobs.store import JobStore
from syncnet_python.errors import AnalysisFailed


class EndpointGone(Exception):
    """An object store's own error, which is no OSError."""


class Shelf(Storage):
    """A storage that fails as it is told to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken: set[str] = set()
        self.deleted: list[str] = []

    @contextmanager
    def local(self, _key: str) -> Iterator[Path]:
        if "local" in self.broken:
            raise EndpointGone
        yield self.path

    def delete(self, key: str) -> None:
        if "delete" in self.broken:
            raise EndpointGone
        self.deleted.append(key)


class Scoring:
    """A scorer that answers at once, after telling one stage."""

    def score(self, *_: Any, on_stage: Any, **__: Any) -> Any:
        on_stage("decode")
        return doubles.VERDICT


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    engine = tables.open_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    yield JobStore(engine)
    engine.dispose()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture
def runner(store: JobStore, shelf: Shelf) -> JobRunner:
    return JobRunner(
        "one",
        store,
        shelf,
        Scoring(),  # type: ignore[arg-type]
        places=1,
        timeout_s=10,
        video_root=None,
    )


def admitted(store: JobStore) -> Job:
    new = NewJob(str(uuid.uuid4()), "anna", "0" * 64, "s", "r", media="key")
    return store.admit(new, AdmissionLimits(9, 9, 0), lambda *_: None)[0]


def test_an_error_of_the_storages_own_is_the_result(
    store: JobStore, shelf: Shelf, runner: JobRunner
) -> None:
    shelf.broken = {"local"}
    job = runner.run(admitted(store).id)
    assert job is not None
    assert (job.state, type(job.error)) == ("failed", AnalysisFailed)
    assert job.error is not None
    assert "EndpointGone" in job.error.message
    assert shelf.deleted == ["key"]
    assert runner.running() == set()


def test_what_cannot_be_deleted_costs_no_result_and_is_left_to_the_sweep(
    store: JobStore, shelf: Shelf, runner: JobRunner
) -> None:
    shelf.broken = {"delete"}
    job = runner.run(admitted(store).id)
    assert job is not None
    assert (job.state, job.media) == ("succeeded", "key")
    assert [left.id for left in store.uncleaned()] == [job.id]
    shelf.broken = set()
    runner.clean(job.id)
    assert store.uncleaned() == []
    assert shelf.deleted == ["key"]


def test_a_job_that_has_ended_is_not_begun(
    store: JobStore, shelf: Shelf, runner: JobRunner
) -> None:
    job = admitted(store)
    store.cancel(job.id)
    now = runner.run(job.id)
    assert now is not None
    assert (now.state, now.attempt, now.media) == ("cancelled", 0, None)
    assert shelf.deleted == ["key"]
