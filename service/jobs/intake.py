"""Where recordings come in: kept, admitted and queued; and where they are given up."""

import logging
from dataclasses import dataclass, field

import sqlalchemy as sa

from service.jobs import tables
from service.jobs.local_worker import LocalWorker
from service.jobs.records import AdmissionLimits, Job, NewJob
from service.jobs.storage import Storage
from service.jobs.store import JobStore
from service.jobs.watcher import Watcher
from service.jobs.workflow import Queue
from service.scoring.scorer import ENGINE
from service.settings import Settings

log = logging.getLogger(__name__)


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

    def submit(self, new: NewJob) -> tuple[Job, bool]:
        """Take a job on; the job, and whether it is new. Its recording is in the storage; it is
        deleted where it is not needed. Raises AdmissionError."""
        try:
            job, created = self.store.admit(new, self.limits, self.queue.enqueue)
        except BaseException:
            self._discard(new.media)
            raise
        if not created:
            self._discard(new.media)
        elif self.worker:
            self.worker.ensure()
        return job, created

    def check(self, owner: str) -> None:
        """Whether that owner's next job would be taken on now. Raises AdmissionError."""
        self.store.check(owner, self.limits)

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
        self.queue.close()
        self.engine.dispose()

    def _discard(self, media: str | None) -> None:
        if media is not None:
            try:
                self.storage.delete(media)
            except Exception as error:  # an object store has its own; swept up later
                log.error("a recording cannot be deleted: %s", type(error).__name__)


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
    )
