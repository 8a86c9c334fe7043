"""Waiting for jobs: one thread looks at all that anybody in this process waits for."""

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from service.jobs.records import JobState
from service.jobs.store import JobStore

log = logging.getLogger(__name__)

LOOK_S = 0.04
"""How often the database is asked while somebody waits."""

KEEP_ALIVE_S = 15.0


class Watcher:
    """Tells of changes of jobs, whichever process makes them. Safe to use from any thread."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._changed = threading.Condition()
        self._wanted: Counter[str] = Counter()
        self._states: dict[str, JobState] = {}
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def wait(self, job_id: str, timeout_s: float) -> JobState | None:
        """The job when it has ended, or as it is when the time is up or the process ends; None
        where it is not known, or not yet."""
        with self._watching(job_id):
            self._changed.wait_for(
                lambda: self._stopping.is_set() or self._ended(job_id), timeout_s
            )
            return self._states.get(job_id)

    def follow(self, job_id: str) -> Iterator[JobState | None]:
        """Every change until the job has ended or the process ends; None when there was none for
        KEEP_ALIVE_S. Ends at once for a job that is not known."""
        told = self._store.states([job_id]).get(job_id)
        while told is not None:
            yield told
            if told.ended:
                return
            while (news := self._change_of(job_id, told)) is None and not self._stopping.is_set():
                yield None
            told = news

    def _change_of(self, job_id: str, before: JobState) -> JobState | None:
        """What the job is when it is no longer that; None when the time is up or on stopping."""
        with self._watching(job_id):
            self._changed.wait_for(
                lambda: self._stopping.is_set() or self._states.get(job_id, before) != before,
                KEEP_ALIVE_S,
            )
            now = self._states.get(job_id)
            return None if now == before else now

    def stop(self) -> None:
        """Let go of everybody who waits, now and from now on."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def _ended(self, job_id: str) -> bool:
        state = self._states.get(job_id)
        return state is not None and state.ended

    @contextmanager
    def _watching(self, job_id: str) -> Iterator[None]:
        with self._changed:
            self._wanted[job_id] += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="watcher", daemon=True)
                self._thread.start()
            try:
                yield
            finally:
                self._wanted[job_id] -= 1
                if not self._wanted[job_id]:
                    del self._wanted[job_id]
                    self._states.pop(job_id, None)

    def _look(self) -> None:
        """Runs while anybody waits."""
        while True:
            with self._changed:
                if not self._wanted:
                    self._thread = None
                    return
                wanted = list(self._wanted)
            try:
                states = self._store.states(wanted)
            except SQLAlchemyError as error:
                log.error("the database cannot be used: %s", type(error).__name__)
                states = {}
            with self._changed:
                seen = {job: state for job, state in states.items() if job in self._wanted}
                if any(self._states.get(job) != state for job, state in seen.items()):
                    self._states |= seen
                    self._changed.notify_all()
            self._stopping.wait(LOOK_S)
            if self._stopping.is_set():
                with self._changed:
                    self._thread = None
                return
