"""Where recordings come in: kept, admitted and queued; and where they are given up."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa

from service.audit import Trail
from service.jobs import tables
from service.jobs.local_worker import LocalWorker
from service.jobs.records import AdmissionError, AdmissionLimits, Job, KeyReused, NewJob, QueueFull
from service.jobs.storage import Storage
from service.jobs.store import Enqueue, JobStore
from service.jobs.watcher import Watcher
from service.jobs.workflow import Queue
from service.scoring.scorer import ENGINE
from service.settings import Settings

REMEMBERED_S = 0.1
"""For so long what was found is believed: a crowd is refused at the cost of one."""

DOOR_S = 0.1
"""How long a recording is kept waiting for those that came before it."""


class Looks:
    """Whether there was room just now, for everybody and for each owner. Safe to use from any
    thread."""

    def __init__(self) -> None:
        self._last: dict[str | None, tuple[float, AdmissionError | None]] = {}
        self._lock = threading.Lock()

    def repeat(self, owner: str) -> bool:
        """Whether it was looked for that owner. Raises AdmissionError where he was refused, or
        everybody was."""
        found = self._fresh(time.monotonic())
        for whose in (None, owner):
            if whose in found and (error := found[whose][1]):
                raise type(error)(str(error), error.retry_after_s)
        return owner in found

    @contextmanager
    def noted(self, owner: str) -> Iterator[None]:
        """Note the refusal that what is done here ends with."""
        try:
            yield
        except KeyReused:
            raise
        except AdmissionError as error:
            self.note(None if isinstance(error, QueueFull) else owner, error)
            raise

    def taken_on(self) -> None:
        """There is less room than when it was looked."""
        with self._lock:
            self._last = {w: look for w, look in self._last.items() if look[1] is not None}

    def note(self, whose: str | None, found: AdmissionError | None = None) -> None:
        """That owner, or everybody, was refused; None: was not."""
        now = time.monotonic()
        with self._lock:
            self._last = {**self._fresh(now), whose: (now, found)}

    def _fresh(self, now: float) -> dict[str | None, tuple[float, AdmissionError | None]]:
        return {w: look for w, look in self._last.items() if now - look[0] < REMEMBERED_S}


class Door:
    """Lets in as many recordings as there is room for. The others wait for a moment: if those
    before them take the last of it, they need not be received. Safe to use from any thread."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._inside = 0
        self._changed = threading.Condition()

    def seen(self, room: int) -> None:
        """There is room for so many."""
        with self._changed:
            self._room = room
            self._changed.notify_all()

    def taken_on(self) -> None:
        """One of them has taken its room."""
        with self._changed:
            self._room -= 1

    @contextmanager
    def passed(self) -> Iterator[bool]:
        """While a recording is received; whether it had to wait."""
        with self._changed:
            waits = self._full()
            if waits:
                self._changed.wait_for(lambda: not self._full(), DOOR_S)
            self._inside += 1
        try:
            yield waits
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify()

    def _full(self) -> bool:
        return self._inside >= max(1, self._room)


@dataclass(frozen=True)
class Jobs:
    """The jobs as a web process sees them. Made by `open_jobs`, ended by `close`."""

    engine: sa.Engine
    store: JobStore
    storage: Storage
    watcher: Watcher
    worker: LocalWorker | None
    limits: AdmissionLimits
    queue: Queue = field(repr=False)
    trail: Trail = field(repr=False)
    door: Door = field(repr=False)
    looks: Looks = field(default_factory=Looks, repr=False)
    # The database takes one writer at a time; who waits for it there sleeps in growing steps.
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _looking: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def submit(
        self, new: NewJob, *, known: bool = False, also: Enqueue | None = None
    ) -> tuple[Job, bool]:
        """Take a job on; the job, and whether it is new. Its recording is in the storage; it is
        deleted where it is not needed. known: it may be there already, and then needs no room;
        also: what else is written with a new job, or raises and so refuses it.
        Raises AdmissionError."""

        def enqueue(connection: sa.Connection, job: NewJob) -> None:
            if also:
                also(connection, job)
            self.queue.enqueue(connection, job)

        try:
            with self._turn, self.looks.noted(new.owner):
                if not known:
                    self.looks.repeat(new.owner)
                job, created = self.store.admit(new, self.limits, enqueue)
        except BaseException:
            self._discard(new.media)
            raise
        if not created:
            self._discard(new.media)
            return job, created
        self.looks.taken_on()
        self.door.taken_on()
        if self.worker:
            self.worker.ensure()
        return job, created

    @contextmanager
    def arriving(self, owner: str) -> Iterator[None]:
        """While a recording of that owner is received and submitted. Raises AdmissionError where
        it would not be taken on."""
        self._check(owner)
        with self.door.passed() as waited:
            if waited:
                self._check(owner)
            yield

    def _check(self, owner: str) -> None:
        """Whether that owner's next job would be taken on, as far as was seen in the last
        REMEMBERED_S. Raises AdmissionError."""
        with self._looking:
            if not self.looks.repeat(owner):
                with self.looks.noted(owner):
                    self.door.seen(self.store.check(owner, self.limits))
                self.looks.note(owner)

    def cancel(self, job_id: str) -> Job | None:
        """End a job that is still open, and delete its recording; None where it is not."""
        job = self.store.cancel(job_id)
        if job:
            self._discard(job.media)
        return job

    def erase(self, job_id: str) -> Job | None:
        """Delete what is kept of a job that has ended; what it was, None where there is none."""
        job = self.store.erase(job_id)
        if job:
            self._discard(job.media)
        return job

    def close(self) -> None:
        """Let go of who waits, end the local worker, close the database. May be called again."""
        self.watcher.stop()
        if self.worker:
            self.worker.close()
        self.trail.flush()
        self.queue.close()
        self.engine.dispose()

    def _discard(self, media: str | None) -> None:
        if media is not None:
            self.storage.discard(media)


def open_jobs(settings: Settings, engine: str = ENGINE) -> Jobs:
    """The jobs that the settings name. engine: as `LocalWorker` takes it.

    Raises OSError, SQLAlchemyError.
    """
    settings.make_data_dir()
    database = tables.open_engine(settings.database)
    store = JobStore(database)
    return Jobs(
        engine=database,
        store=store,
        storage=Storage(settings.storage, scratch=settings.data_dir / "scratch"),
        watcher=Watcher(store),
        worker=LocalWorker(settings, engine) if settings.local_worker else None,
        limits=AdmissionLimits(
            settings.max_queue, settings.max_queue_per_key, settings.rate_limit_per_minute
        ),
        queue=Queue(database),
        trail=Trail(database),
        door=Door(settings.max_queue),
    )
