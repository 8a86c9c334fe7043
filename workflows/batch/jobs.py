"""The files of a batch as durable jobs, scored by every worker of the same database.

This process scores nothing. It puts a copy of each file into the storage as room comes in the
queue, beside whatever the service takes on, and fetches the outcomes. A job's id follows from the
batch and its file, so that a later run finds the jobs of an earlier one.
"""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import logging
import shutil
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from service.audit import OPERATOR
from service.jobs.intake import Jobs, open_jobs
from service.jobs.records import AdmissionError, AdmissionLimits, Job, NewJob
from service.settings import Settings, SettingsError
from syncnet_python.errors import AnalysisFailed
from syncnet_python.results import Verdict
from workflows.batch.results import Outcome, Results
from workflows.batch.running import Order, Plan

LOOK_S = 0.25
"""How often the database is asked for news."""

ROOM_S = 0.5
"""How long a full queue is left alone."""

NOTICE_S = 10.0
"""How often it is seen whether a worker is alive, where nothing else happens."""

_COPY = ".sending"

log = logging.getLogger(__name__)

T = TypeVar("T")


class JobLost(AnalysisFailed):
    """Somebody ended a job of the batch, or its result was deleted before it was fetched."""

    code = "job_lost"
    advice = "Run the batch again: the file is sent anew."


def plan(*, at_once: int, partial: bool) -> Plan:
    """What the outcomes depend on, as far as it is not the workers' own."""
    return Plan("jobs", {"jobs": True, "partial": partial}, {"jobs_at_once": at_once})


def score(
    orders: Sequence[Order],
    settings: Settings,
    results: Results,
    *,
    at_once: int,
    partial: bool = False,
    said: Callable[[str], None] = log.warning,
) -> Generator[Outcome, None, None]:
    """A `workflows.batch.running.Score`. Closing it leaves the jobs that were sent to the workers.

    results: of the batch, whose id the jobs' ids follow from; at_once: jobs that may wait or run;
    partial: measure what can be measured of recordings that are not whole; said: is told what
    people should know meanwhile.
    Raises SettingsError where the database or the storage cannot be used; OSError where a file
    cannot be put into the storage.
    """
    if not orders:
        return
    with contextlib.closing(_opened(settings, at_once)) as jobs:
        if settings.database_url and not settings.storage_url:
            said(
                "STORAGE_URL is not set: only workers that share this DATA_DIR can read what is "
                "sent to them."
            )
        sender = _Sender(jobs, results, partial=partial, said=said)
        waiting, sent = deque(orders), dict[str, Order]()
        watch = _Watch(jobs, said)
        while waiting or sent:
            busy = False
            if waiting and len(sent) < at_once:
                busy = yield from _send(sender, waiting, sent)
            states = sender.insist(lambda: jobs.store.states(tuple(sent)))
            for job_id, order in list(sent.items()):
                if job_id not in states or states[job_id].ended:
                    del sent[job_id]
                    busy = True
                    yield sender.fetched(order, job_id)
            if not busy:
                watch.look()
                time.sleep(LOOK_S)


def _send(
    sender: "_Sender", waiting: deque[Order], sent: dict[str, Order]
) -> Generator[Outcome, None, bool]:
    """Send the first file that waits; whether it waits no longer. The outcome where it cannot be
    read."""
    if sender.full():
        return False
    order = waiting[0]
    try:
        source = _opened_file(order.item.path)
    except OSError as error:
        waiting.popleft()
        yield Outcome(order.item, order.key, error)
        return True
    with source:
        job = sender.send(order, source)
    if job is None:
        return False
    waiting.popleft()
    sent[job.id] = job.order
    return True


@dataclasses.dataclass(frozen=True, slots=True)
class _Sent:
    """A job in the database. order: with the attempt that it is."""

    id: str
    order: Order


class _Sender:
    """Puts files into the queue, and fetches what came of them."""

    def __init__(
        self, jobs: Jobs, results: Results, *, partial: bool, said: Callable[[str], None]
    ) -> None:
        self._jobs = jobs
        self._batch = results.id
        self._copy = results.folder / _COPY
        self._copy.unlink(missing_ok=True)  # of a run that was killed
        self._partial = partial
        self._said = said
        self._full_until = 0.0

    def full(self) -> bool:
        """Whether there was no room just now."""
        return time.monotonic() < self._full_until

    def send(self, order: Order, source: BinaryIO) -> _Sent | None:
        """The file's job, which may be there from an earlier run; None where there is no room.

        source: the file, open. Raises OSError, or what an object store raises, where the storage
        cannot be used.
        """
        while True:
            job_id = self.insist(functools.partial(self._id, order))
            job = self.insist(functools.partial(self._jobs.store.get, job_id))
            if job is None:
                return _Sent(job_id, order) if self._submitted(order, job_id, source) else None
            if job.state not in ("cancelled", "expired"):
                return _Sent(job_id, order)
            order = dataclasses.replace(order, attempt=order.attempt + 1)

    def _id(self, order: Order) -> str:
        return self._jobs.store.id_for(OPERATOR, f"{self._batch}/{order.key}/{order.attempt}")

    def fetched(self, order: Order, job_id: str) -> Outcome:
        """What came of a job that has ended."""
        job = self.insist(lambda: self._jobs.store.get(job_id))
        result = _result(job)
        seconds = None
        if job and job.started_at is not None and job.finished_at is not None:
            seconds = job.finished_at - job.started_at
        if job and self.insist(lambda: self._jobs.store.delivered(job_id)):
            verdict = job.verdict
            self._jobs.trail.record(
                "job.delivered",
                owner=OPERATOR,
                job_id=job_id,
                outcome=verdict.decision if verdict else getattr(result, "code", None),
                risk=verdict.risk_level if verdict else None,
            )
        return Outcome(order.item, order.key, result, seconds, job_id, order.attempt)

    def insist(self, ask: Callable[[], T]) -> T:
        """A database that is away for a while must not end a batch of hours."""
        told = False
        while True:
            try:
                return ask()
            except SQLAlchemyError as error:
                if not told:
                    self._said(f"The database cannot be used ({type(error).__name__}): waiting.")
                told = True
                time.sleep(1.0)

    def _submitted(self, order: Order, job_id: str, source: BinaryIO) -> bool:
        """Whether there was room, and a database to say so."""
        try:
            self._jobs.store.check(OPERATOR, self._jobs.limits)
            new = NewJob(
                id=job_id,
                owner=OPERATOR,
                body_sha256=hashlib.sha256(order.key.encode()).hexdigest(),
                session_id=f"batch-{self._batch}",
                request_id=job_id,
                partial=self._partial,
                media=self._kept(source),
            )
            self._jobs.submit(new, known=True)
        except (AdmissionError, SQLAlchemyError) as error:
            if isinstance(error, SQLAlchemyError):
                log.warning("a job could not be submitted: %s", type(error).__name__)
            self._full_until = time.monotonic() + ROOM_S
            return False
        self._jobs.trail.record(
            "job.submitted", owner=OPERATOR, job_id=job_id, request_id=job_id, outcome="accepted"
        )
        return True

    def _kept(self, source: BinaryIO) -> str:
        """The key of a copy in the storage, which takes over the file that it is given."""
        source.seek(0)
        try:
            with self._copy.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
            return self._jobs.storage.put(self._copy)
        finally:
            self._copy.unlink(missing_ok=True)


class _Watch:
    """Says so when nobody is there to do the work."""

    def __init__(self, jobs: Jobs, said: Callable[[str], None]) -> None:
        self._jobs = jobs
        self._said = said
        self._next = 0.0
        self._alone = False

    def look(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + NOTICE_S
        with contextlib.suppress(SQLAlchemyError):
            alone = not any(worker.alive for worker in self._jobs.store.workers())
            if alone and not self._alone:
                self._said(
                    "No worker is alive: start `syncnet-service worker` with the same DATA_DIR, "
                    "DATABASE_URL and STORAGE_URL. Waiting."
                )
            self._alone = alone


def _opened(settings: Settings, at_once: int) -> Jobs:
    """The jobs of the settings, with no worker of this process's own. Raises SettingsError."""
    try:
        jobs = open_jobs(settings.model_copy(update={"local_worker": False}))
    except SQLAlchemyError as error:
        raise SettingsError(
            "settings: DATABASE_URL, DATA_DIR: the database cannot be used "
            f"({type(error).__name__})"
        ) from error
    except ValueError as error:
        raise SettingsError(f"settings: STORAGE_URL: {error}") from error
    limits = AdmissionLimits(settings.max_queue, at_once, per_minute=0)
    return dataclasses.replace(jobs, limits=limits)


def _opened_file(path: Path) -> BinaryIO:
    """Raises OSError."""
    if not path.is_file():  # a pipe would never end
        raise FileNotFoundError(errno.ENOENT, "no such file")
    return path.open("rb")


def _result(job: Job | None) -> Verdict | Exception:
    if job is not None and job.state in ("succeeded", "failed"):
        outcome = job.verdict or job.error
        if outcome is not None:
            return outcome
    return JobLost("the job was ended by somebody else, or its result is deleted")
