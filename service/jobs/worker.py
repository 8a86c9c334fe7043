"""A worker: takes jobs from the queue, has them scored, and takes over those of workers that died.

`syncnet-service worker` on any machine with the same DATABASE_URL and STORAGE_URL, and the local
worker that the web process starts (`service.jobs.local_worker`).
"""

import argparse
import contextlib
import fcntl
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from dbos import DBOS

from service import audit, logs, networks, tokens, webhooks
from service.jobs import tables, workflow
from service.jobs.ended import Ended, message
from service.jobs.runner import JobRunner
from service.jobs.storage import Storage
from service.jobs.store import ALIVE_S, JobStore
from service.scoring.scorer import ENGINE, Scorer
from service.settings import Settings, SettingsError, from_json, load
from service.starting import check_networks
from syncnet_python.errors import AnalysisFailed, WeightsMissing

log = logging.getLogger(__name__)

BEAT_S = 2.0
CANCEL_LOOK_S = 0.5
SWEEP_S = 30.0
DRAIN_S = 12
"""Seconds that the job in hand has when the worker is told to end; then it is left to the next."""

LOST_S = 60.0
"""A job this old that is not in the queue never was, or fell out of it."""

_IN_QUEUE = ("ENQUEUED", "DELAYED", "PENDING")

ORPHAN_S = 600.0
"""A recording that no job knows of is deleted when it is as old as this."""

UNDELIVERED_S = 3600.0
"""How long a result is kept that nobody has fetched, where none is to be kept."""

DELIVERED_S = 10.0
"""How long one is kept there that was fetched: for others who wait for it, and for the sender whose
connection broke."""


def run(settings: Settings, name: str | None = None, *, engine: str = ENGINE) -> NoReturn:
    """Work until SIGTERM or SIGINT, and end the process. Raises SettingsError.

    name: of this worker, unique among those that run and the same after a restart, so that it
    finds its own jobs again; the machine's name and the first free number by default.
    """
    check_networks(settings, scores=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    _run(settings, name, engine, stop)


def _run(settings: Settings, name: str | None, engine: str, stop: threading.Event) -> NoReturn:
    logs.setup(settings.log_level, settings.log_format)
    settings.make_data_dir()
    slot = _take_slot(settings.data_dir, name)
    database = tables.open_engine(settings.database)
    store = JobStore(database)
    storage = Storage(settings.storage, scratch=settings.data_dir / "scratch")
    scorer = Scorer(
        settings.model_dump(mode="json", exclude=set(settings.secrets())),
        build=engine,
        processes=settings.scorer_processes,
        threads=settings.scorer_threads,
        preload=settings.preload_models,
        log_level=settings.log_level,
        log_format=settings.log_format,
    )
    runner = JobRunner(
        slot.name,
        store,
        storage,
        scorer,
        places=settings.scorer_processes,
        timeout_s=settings.processing_timeout_seconds,
        video_root=settings.video_root,
    )
    DBOS(config=workflow.config(database, settings.database, slot.name))
    workflow.register(runner.run, _deliver(settings))
    store.beat(slot.name, ())
    DBOS.launch()
    workflow.register_queues(settings.scorer_processes)
    heart = _Heartbeat(slot.name, store, scorer)
    ended = threading.Event()
    until_stop = [
        _every(BEAT_S, stop, heart.look_after_others),
        _every(SWEEP_S, stop, lambda: sweep(settings, store, storage, runner)),
    ]
    until_end = [
        _every(CANCEL_LOOK_S, ended, lambda: _cancel(store, runner, scorer)),
        _every(BEAT_S, ended, heart.beat),
    ]
    log.info("worker %s takes jobs", slot.name)
    if absent := networks.missing(settings):
        log.warning(
            "MODEL_PROFILE=%s: the weights of %s are not here. %s",
            settings.model_profile,
            ", ".join(absent),
            WeightsMissing.advice,
        )
    stop.wait()
    log.info("worker %s ends", slot.name)
    for thread in until_stop:
        thread.join()
    DBOS.destroy(workflow_completion_timeout_sec=DRAIN_S)
    ended.set()
    for thread in until_end:
        thread.join()
    if runner.running():  # the next worker of this name takes it up, or any when this one is missed
        log.warning("worker %s leaves a job unfinished", slot.name)
    else:
        store.leave(slot.name)
    logging.shutdown()
    os._exit(0)  # without waiting for that job's thread


@dataclass(frozen=True, slots=True)
class _Slot:
    """A worker's name on this machine, its own for as long as the lock is held."""

    name: str
    lock: int


def _take_slot(folder: Path, name: str | None) -> _Slot:
    """Raises SettingsError where a worker of that name runs already."""
    number = 0
    while True:
        wanted = name or f"{socket.gethostname()}-{_mark(folder)}-{number}"
        lock = os.open(folder / f"worker-{wanted}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            if name:
                raise SettingsError(f"A worker named {name} runs on this machine.") from None
            number += 1
            continue
        return _Slot(wanted, lock)


def _mark(folder: Path) -> str:
    """What tells this data folder's workers from those of a machine with the same name."""
    path, draft = folder / "worker.id", folder / f"worker.id.{os.getpid()}"
    draft.write_text(secrets.token_hex(3))
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()
    return path.read_text()


def _deliver(settings: Settings) -> workflow.Deliver | None:
    if settings.webhook_secret is None:
        return None
    secret = settings.webhook_secret.get_secret_value()

    def deliver(url: str, job: Ended) -> None:
        webhooks.deliver(url, secret, message(job), settings.outgoing_allow)

    return deliver


def _every(seconds: float, stop: threading.Event, act: Callable[[], None]) -> threading.Thread:
    """Do something at once and every so many seconds, in a thread of its own, until the end."""

    def go() -> None:
        while True:
            try:
                act()
            except Exception:  # the database away, a disk full: the next round may do better
                log.error("%s failed", getattr(act, "__qualname__", act), exc_info=True)
            if stop.wait(seconds):
                return

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    return thread


def _cancel(store: JobStore, runner: JobRunner, scorer: Scorer) -> None:
    """End the analyses that nobody wants any more."""
    if running := runner.running():
        for job_id in store.cancelled_among(running):
            scorer.cancel(job_id)


class _Heartbeat:
    """Tells that this worker lives, and notices which others no longer do.

    Another one is dead when its count has not changed for as long as ALIVE_S on this machine's
    clock: machines need not agree on the time.
    """

    def __init__(self, name: str, store: JobStore, scorer: Scorer) -> None:
        self._name = name
        self._store = store
        self._scorer = scorer
        self._heard: dict[str, tuple[int, float]] = {}

    def beat(self) -> None:
        self._store.beat(self._name, self._scorer.loaded())

    def look_after_others(self) -> None:
        now = time.monotonic()
        for other in self._store.workers():
            beats, since = self._heard.get(other.name, (-1, now))
            if other.beats != beats:
                self._heard[other.name] = (other.beats, now)
            elif other.name != self._name and now - since > ALIVE_S:
                log.warning("worker %s is dead: its jobs are taken over", other.name)
                DBOS._recover_pending_workflows([other.name])
                self._store.leave(other.name)
                del self._heard[other.name]


def sweep(settings: Settings, store: JobStore, storage: Storage, runner: JobRunner) -> None:
    """Delete what has had its time: results, recordings without a job, entries of the audit log,
    upload tokens, and the traces of old jobs in the queue's own tables. Find the jobs that were
    lost sight of."""
    _find_lost(store)
    for job in store.uncleaned():
        runner.clean(job.id)
    in_use = store.media_in_use()
    for key in storage.keys_older_than(ORPHAN_S):
        if key not in in_use:
            storage.discard(key)
    if settings.retention_seconds:
        store.expire(settings.retention_seconds)
    else:
        store.expire(UNDELIVERED_S, delivered_before_s=DELIVERED_S)
    audit.expire(store.engine, settings.audit_retention_days)
    tokens.expire(store.engine)
    before = (datetime.now(UTC) - timedelta(seconds=ORPHAN_S)).isoformat()
    done = DBOS.list_workflows(
        completed_before=before, limit=1000, load_input=False, load_output=False
    )
    if done:
        DBOS.delete_workflows([status.workflow_id for status in done])


def _find_lost(store: JobStore) -> None:
    """What no living worker has in hand is begun anew; what the queue forgot has failed."""
    known = {worker.name for worker in store.workers()}
    pending = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
    gone = {status.executor_id for status in pending if status.executor_id} - known
    if gone:
        DBOS._recover_pending_workflows(sorted(gone))
    for start in range(0, len(waiting := store.open_since(LOST_S)), 500):
        ids = waiting[start : start + 500]
        statuses = DBOS.list_workflows(workflow_ids=ids, load_input=False, load_output=False)
        alive = {status.workflow_id for status in statuses if status.status in _IN_QUEUE}
        for job_id in set(ids) - alive:
            log.error("job %s was lost", job_id)
            store.lost(job_id, AnalysisFailed("The analysis was lost by the queue."))


def _supervised() -> tuple[Settings, str, threading.Event]:
    """What the process that started this one says in two lines; the event is set when it has closed
    the pipe, which it does in the end whatever becomes of it."""
    settings, engine = sys.stdin.readline(), sys.stdin.readline().strip()
    stop = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=listen, daemon=True).start()
    return from_json(settings), engine, stop


def main() -> None:
    parser = argparse.ArgumentParser(description="Score the recordings that wait in the queue.")
    parser.add_argument("--name", help="of this worker, unique and the same after a restart")
    parser.add_argument("--supervised", action="store_true", help="settings come on stdin")
    arguments = parser.parse_args()
    try:
        if not arguments.supervised:
            run(load(), arguments.name)
        # Ending is for the web process to decide, which a service manager signals as well.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        settings, engine, stop = _supervised()
        _run(settings, arguments.name, engine, stop)
    except SettingsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
