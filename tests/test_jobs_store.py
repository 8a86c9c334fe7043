"""Jobs in the database: admission, states, one result, and what is left of them. Both databases."""

import dataclasses
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import pytest
import service_doubles as doubles
import sqlalchemy as sa
from faults.postgres import Postgres

from service.jobs import store as store_module
from service.jobs import tables
from service.jobs.records import (
    AdmissionLimits,
    Job,
    JobState,
    KeyReused,
    NewJob,
    QueueFull,
    RateLimited,
    TooManyJobs,
)
from service.jobs.store import JobStore
from service.jobs.workflow import Queue
from service.settings import Settings
from syncnet_python import errors
from syncnet_python.errors import NoFace

MANY = AdmissionLimits(queue=1000, queue_per_owner=1000, per_minute=0)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return Settings.model_construct(data_dir=tmp_path).database
    server: Postgres = request.getfixturevalue("postgres")
    name = f"test_{uuid.uuid4().hex}"
    engine = sa.create_engine(server.sqlalchemy_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"create database {name}")
    engine.dispose()
    return sa.make_url(server.sqlalchemy_url).set(database=name).render_as_string(False)


@pytest.fixture
def store(url: str) -> Iterator[JobStore]:
    engine = tables.open_engine(url)
    yield JobStore(engine)
    engine.dispose()


def new_job(**values: object) -> NewJob:
    fields = {"id": str(uuid.uuid4()), "owner": "anna", "body_sha256": "0" * 64}
    return NewJob(**{**fields, "session_id": "s", "request_id": "r", **values})  # type: ignore[arg-type]


def nothing(_connection: sa.Connection, _job: NewJob) -> None:
    """In place of the queue."""


def admit(store: JobStore, limits: AdmissionLimits = MANY, **values: object) -> Job:
    return store.admit(new_job(**values), limits, nothing)[0]


def begun(store: JobStore, **values: object) -> Job:
    job = store.begin(admit(store, **values).id, "worker")
    assert job is not None
    return job


def test_a_job_is_kept_as_it_was_asked_for(store: JobStore) -> None:
    new = new_job(partial=True, media="key", must_end_by=12.5, webhook_url="https://example.org")
    job, created = store.admit(new, MANY, nothing)
    assert created
    assert job == store.get(new.id)
    assert {f.name: getattr(job, f.name) for f in dataclasses.fields(new)} == dataclasses.asdict(
        new
    )
    assert (job.state, job.progress, job.attempt) == ("queued", 0, 0)
    assert store.states([new.id, "unknown"]) == {new.id: JobState("queued")}


def test_the_same_id_is_the_same_job_and_another_request_is_refused(store: JobStore) -> None:
    new = new_job(media="one")
    job, _ = store.admit(new, MANY, nothing)
    again, created = store.admit(dataclasses.replace(new, media="two"), MANY, nothing)
    assert not created
    assert again == job
    for other in ({"body_sha256": "1" * 64}, {"owner": "berta"}):
        with pytest.raises(KeyReused):
            store.admit(dataclasses.replace(new, **other), MANY, nothing)


def test_what_cannot_be_queued_is_not_kept(store: JobStore) -> None:
    def fails(_connection: sa.Connection, _job: NewJob) -> None:
        raise ZeroDivisionError

    new = new_job()
    with pytest.raises(ZeroDivisionError):
        store.admit(new, MANY, fails)
    assert store.get(new.id) is None


def test_the_queue_takes_a_job_in_the_same_transaction(store: JobStore) -> None:
    queue = Queue(store.engine)
    job, _ = store.admit(new_job(), MANY, queue.enqueue)
    schema = "" if store.engine.dialect.name == "sqlite" else "dbos."
    with store.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            f"select workflow_uuid, queue_partition_key from {schema}workflow_status"
        ).all()
    assert rows == [(job.id, "anna")]


def test_limits_are_exact_however_many_arrive_at_once(store: JobStore) -> None:
    limits = AdmissionLimits(queue=7, queue_per_owner=5, per_minute=0)

    def attempt(owner: str) -> str:
        try:
            admit(store, limits, owner=owner)
        except (QueueFull, TooManyJobs) as refusal:
            return type(refusal).__name__
        return owner

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(attempt, ["anna", "berta"] * 20))
    assert outcomes.count("anna") + outcomes.count("berta") == 7
    assert max(outcomes.count("anna"), outcomes.count("berta")) <= 5
    with pytest.raises(QueueFull):
        store.check("carla", limits)


def test_the_rate_is_counted_for_each_owner(store: JobStore) -> None:
    limits = dataclasses.replace(MANY, per_minute=3)
    for _ in range(3):
        admit(store, limits)
    for refused in (lambda: admit(store, limits), lambda: store.check("anna", limits)):
        with pytest.raises(RateLimited) as caught:
            refused()
        assert 58 <= caught.value.retry_after_s <= 60
    admit(store, limits, owner="berta")


def test_a_job_runs_and_succeeds_once(store: JobStore) -> None:
    job = begun(store)
    assert (job.state, job.attempt) == ("running", 1)
    store.progress(job.id, 1, "decode", 0.05)
    assert store.states([job.id]) == {job.id: JobState("running", "decode", 0.05)}
    assert store.finish(job.id, 1, doubles.VERDICT)
    assert not store.finish(job.id, 1, NoFace("nobody"))
    done = store.get(job.id)
    assert done is not None
    assert (done.state, done.progress, done.verdict, done.error) == (
        "succeeded",
        1.0,
        doubles.VERDICT,
        None,
    )
    assert store.begin(job.id, "worker") is None
    assert store.counts() == {}


def test_an_error_keeps_its_name_and_its_words(store: JobStore) -> None:
    job = begun(store)
    assert store.finish(job.id, 1, NoFace("nobody is in the picture"))
    failed = store.get(job.id)
    assert failed is not None
    assert failed.state == "failed"
    assert type(failed.error) is NoFace
    assert failed.error.message == "nobody is in the picture"


def test_who_was_replaced_may_no_longer_write(store: JobStore) -> None:
    first = begun(store)
    second = store.begin(first.id, "other")
    assert second is not None
    assert second.attempt == 2
    assert second.started_at == first.started_at
    store.progress(first.id, first.attempt, "syncnet", 0.5)
    assert not store.finish(first.id, first.attempt, NoFace("late"))
    assert store.states([first.id]) == {first.id: JobState("running")}
    assert store.finish(first.id, second.attempt, doubles.VERDICT)


@pytest.mark.parametrize("running", [False, True])
def test_a_cancelled_job_has_no_result(store: JobStore, running: bool) -> None:
    job = begun(store) if running else admit(store)
    assert store.cancelled_among([job.id]) == set()
    cancelled = store.cancel(job.id)
    assert cancelled is not None
    assert cancelled.state == "cancelled"
    assert cancelled.session_id is None
    assert store.cancelled_among([job.id]) == {job.id}
    assert store.cancel(job.id) is None
    assert store.begin(job.id, "worker") is None
    assert not store.finish(job.id, job.attempt, doubles.VERDICT)


def test_an_erased_job_leaves_its_place_only(store: JobStore) -> None:
    job = begun(store, media="key", video_path="a", webhook_url="https://example.org")
    store.finish(job.id, 1, doubles.VERDICT)
    erased = store.erase(job.id)
    assert erased is not None
    assert erased.media == "key"
    left = store.get(job.id)
    assert left is not None
    assert left.state == "expired"
    for name in ("session_id", "request_id", "media", "video_path", "webhook_url", "verdict"):
        assert getattr(left, name) is None
    assert store.erase("unknown") is None
    assert store.erase(begun(store).id) is None  # open ones are cancelled first


def test_results_expire_and_open_jobs_do_not(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, held, done = admit(store), begun(store), begun(store)
    store.finish(done.id, 1, doubles.VERDICT)
    assert store.expire(60) == 0
    assert store.expire(-1) == 1
    assert {
        job: state.state for job, state in store.states([waiting.id, held.id, done.id]).items()
    } == {
        waiting.id: "queued",
        held.id: "running",
        done.id: "expired",
    }
    monkeypatch.setattr(store_module, "FORGET_S", 0.0)
    store.expire(-1)
    assert store.get(done.id) is None


def test_what_was_delivered_may_expire_sooner(store: JobStore) -> None:
    told, untold = begun(store), begun(store)
    for job in (told, untold):
        store.finish(job.id, 1, doubles.VERDICT)
    assert store.delivered(told.id)
    assert not store.delivered(told.id)  # only the first time counts
    assert store.expire(60, delivered_before_s=60) == 0
    assert store.expire(60, delivered_before_s=-1) == 1
    assert store.states([told.id])[told.id].state == "expired"
    assert store.states([untold.id])[untold.id].state == "succeeded"


def test_a_job_that_was_lost_has_failed(store: JobStore) -> None:
    job = admit(store)
    assert store.open_since(60) == []
    assert store.open_since(-1) == [job.id]
    assert store.lost(job.id, errors.AnalysisFailed("lost"))
    assert not store.lost(job.id, errors.AnalysisFailed("lost"))
    now = store.get(job.id)
    assert now is not None
    assert (now.state, type(now.error)) == ("failed", errors.AnalysisFailed)


def test_the_id_of_a_key_is_its_owners_and_this_installations(store: JobStore) -> None:
    mine = store.id_for("anna", "1")
    assert store.id_for("anna", "1") == mine
    assert JobStore(store.engine).id_for("anna", "1") == mine
    assert store.id_for("berta", "1") != mine
    with store.engine.begin() as connection:
        connection.execute(tables.installation.update().values(secret="another"))
    assert store.id_for("anna", "1") != mine


def test_recordings_are_known_until_they_are_deleted(store: JobStore) -> None:
    job = begun(store, media="key")
    assert store.media_in_use() == {"key"}
    assert store.uncleaned() == []
    store.finish(job.id, 1, doubles.VERDICT)
    assert [left.id for left in store.uncleaned()] == [job.id]
    assert store.expire(-1) == 0  # its recording first
    store.forget_media(job.id)
    assert store.media_in_use() == set()
    assert store.expire(-1) == 1


def test_workers_are_alive_while_they_are_heard(store: JobStore) -> None:
    store.beat("one", ["b", "a"])
    store.beat("two", [])
    store.beat("one", ["a"])
    seen = {worker.name: worker for worker in store.workers()}
    assert (seen["one"].alive, seen["one"].loaded, seen["one"].beats) == (True, ("a",), 2)
    with store.engine.begin() as connection:
        connection.execute(tables.workers.update().values(seen_at=0.0))
    assert not any(worker.alive for worker in store.workers())
    store.leave("one")
    assert [worker.name for worker in store.workers()] == ["two"]


@pytest.mark.slow
def test_several_processes_may_make_the_same_tables(url: str) -> None:
    script = (
        "import sys; from service.jobs import tables; print(input());"
        "tables.open_engine(sys.argv[1]).dispose()"
    )
    opening = [
        subprocess.Popen([sys.executable, "-c", script, url], stdin=PIPE, stdout=PIPE, text=True)
        for _ in range(6)
    ]
    for process in opening:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in opening:
        process.communicate()
    assert [process.returncode for process in opening] == [0] * 6


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "jobs.sqlite"
    engine = tables.open_engine(f"sqlite:///{path}")
    JobStore(engine).beat("one", [])
    modes = {file.name: file.stat().st_mode & 0o077 for file in tmp_path.iterdir()}
    engine.dispose()
    assert path.name in modes
    assert set(modes.values()) == {0}


def test_opening_a_database_again_changes_nothing(store: JobStore, url: str) -> None:
    job = admit(store)
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(tables.open_engine, [url] * 4))
    assert JobStore(engines[0]).get(job.id) == job
    for engine in engines:
        engine.dispose()
