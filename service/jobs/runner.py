"""What a worker does with one job: score its recording, keep what came of it, delete the recording.

Knows nothing of the queue. Whatever is interrupted here may simply be run again.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from service import metrics
from service.jobs.records import Job
from service.jobs.storage import Storage
from service.jobs.store import JobStore
from service.scoring.scorer import Cancelled, ProcessDied, Scorer
from syncnet_python.errors import AnalysisFailed, SyncNetError
from syncnet_python.results import Verdict

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
"""How often a job is begun whose worker or scoring process dies; a recording that kills what
scores it must not do so for ever."""

DATABASE_RETRY_S = 1.0

PROGRESS = {"decode": 0.05, "load": 0.15, "find_faces": 0.25, "syncnet": 0.5, "efficientnet": 0.75}
"""How much of an analysis is done, about, when a stage begins."""

T = TypeVar("T")


class JobRunner:
    """Runs jobs, one in each thread that calls it.

    name: of this worker; places: jobs that are scored at once, the others wait; timeout_s: for a
    job that nobody waits for; video_root: where recordings lie that are scored by path.
    """

    def __init__(
        self,
        name: str,
        store: JobStore,
        storage: Storage,
        scorer: Scorer,
        *,
        places: int,
        timeout_s: float,
        video_root: Path | None,
    ) -> None:
        self._name = name
        self._store = store
        self._storage = storage
        self._scorer = scorer
        self._places = threading.BoundedSemaphore(places)
        self._timeout_s = timeout_s
        self._video_root = video_root
        self._running: set[str] = set()
        self._lock = threading.Lock()

    def run(self, job_id: str) -> Job | None:
        """See the job to its end, and delete its recording; the job as it is then.

        Returns early only when it has been ended by somebody else.
        """
        with self._places, self._noted(job_id):
            while job := self._insist(lambda: self._store.begin(job_id, self._name)):
                try:
                    outcome = self._outcome(job)
                except Cancelled:
                    break
                except ProcessDied as error:
                    if job.attempt < MAX_ATTEMPTS:
                        continue
                    outcome = error
                self._finish(job, outcome)
                break
        self.clean(job_id)
        return self._insist(lambda: self._store.get(job_id))

    def clean(self, job_id: str) -> None:
        """Delete the recording of a job that has ended, or leave it to the next sweep."""
        job = self._insist(lambda: self._store.get(job_id))
        if job is None or not job.ended or not (job.media or job.video_path):
            return
        if job.media is None or self._storage.discard(job.media):
            self._insist(lambda: self._store.forget_media(job_id))

    def running(self) -> set[str]:
        """Ids of the jobs that are in hand now."""
        with self._lock:
            return set(self._running)

    def _outcome(self, job: Job) -> Verdict | SyncNetError:
        """Raises Cancelled, ProcessDied."""
        if job.attempt > MAX_ATTEMPTS:
            return AnalysisFailed("The analysis died each time that it was begun.")
        try:
            with self._recording(job) as path:
                return self._score(job, path)
        except (Cancelled, ProcessDied):
            raise
        except SyncNetError as error:
            return error
        except FileNotFoundError:
            return AnalysisFailed("The recording is no longer there.")
        except Exception as error:  # also those that an object store has of its own
            log.error("job %s broke", job.id, exc_info=True)
            return AnalysisFailed(f"The recording could not be read ({type(error).__name__}).")

    def _score(self, job: Job, path: Path) -> Verdict:
        left_s = 0.0 if job.must_end_by is None else job.must_end_by - time.time()
        if left_s <= 0:  # who waited for it is gone, or says when he returns: it has its own time
            left_s = self._timeout_s

        def on_stage(name: str) -> None:
            with contextlib.suppress(SQLAlchemyError):  # the next stage tells
                self._store.progress(job.id, job.attempt, name, PROGRESS.get(name, 0.0))

        return self._scorer.score(
            path,
            job.id,
            partial=job.partial,
            heatmap=job.heatmap,
            deadline=time.monotonic() + left_s,
            on_stage=on_stage,
        )

    @contextmanager
    def _recording(self, job: Job) -> Iterator[Path]:
        """Raises FileNotFoundError."""
        if job.media is not None:
            with self._storage.local(job.media) as path:
                yield path
        elif job.video_path is not None and self._video_root is not None:
            path = (self._video_root / job.video_path).resolve(strict=True)
            if not path.is_relative_to(self._video_root.resolve()):
                raise FileNotFoundError
            yield path
        else:
            raise FileNotFoundError

    @contextmanager
    def _noted(self, job_id: str) -> Iterator[None]:
        with self._lock:
            self._running.add(job_id)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(job_id)

    def _finish(self, job: Job, outcome: Verdict | SyncNetError) -> None:
        if self._insist(lambda: self._store.finish(job.id, job.attempt, outcome)):
            seconds = time.time() - job.created_at
            if isinstance(outcome, SyncNetError):
                metrics.observe_job("failed", None, seconds, code=outcome.code)
            else:
                stages = {name: ms / 1000 for name, ms in outcome.timings_ms.items()}
                metrics.observe_job("succeeded", outcome.risk_level, seconds, stages=stages)

    def _insist(self, write: Callable[[], T]) -> T:
        """A database that is full or away for a while must not cost a result."""
        while True:
            try:
                return write()
            except SQLAlchemyError as error:
                log.error("the database cannot be used: %s", type(error).__name__)
                time.sleep(DATABASE_RETRY_S)
