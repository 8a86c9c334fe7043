"""Jobs in the database. A change of state is one conditional update, so that a job has one result.

Safe to use from any thread and any process.
"""

import dataclasses
import hashlib
import hmac
import json
import math
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from service.jobs import tables
from service.jobs.records import (
    ENDED,
    OPEN,
    AdmissionLimits,
    Job,
    JobState,
    KeyReused,
    NewJob,
    QueueFull,
    RateLimited,
    TooManyJobs,
    WorkerInfo,
)
from service.scoring.channel import Failed, describe, restore
from syncnet_python.errors import SyncNetError
from syncnet_python.results import Verdict

ALIVE_S = 15.0
"""A worker that has not been heard of for this long counts as dead."""

RATE_WINDOW_S = 60.0

FORGET_S = 30 * 86400.0
"""How long it is known of an erased job that it was there."""

Enqueue = Callable[[sa.Connection, NewJob], None]
"""Writes what a new job brings along, in the transaction that makes it."""

_jobs = tables.jobs.c
_VERDICT: TypeAdapter[Verdict] = TypeAdapter(Verdict)
_PLAIN = [field.name for field in dataclasses.fields(Job) if field.name in _jobs]
_PLAIN.remove("verdict")


class JobStore:
    """The jobs, and the workers that have been seen, in one database."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def admit(self, new: NewJob, limits: AdmissionLimits, enqueue: Enqueue) -> tuple[Job, bool]:
        """The job of that id, and whether it was made now; `enqueue` puts it in the queue in the
        same transaction. Raises AdmissionError.

        Limits are exact over all processes: they are counted where nothing else is admitted.
        """
        with tables.writing(self.engine) as connection:
            now = time.time()  # it may have waited for its turn
            if there := connection.execute(_select().where(_jobs.id == new.id)).first():
                if there.body_sha256 != new.body_sha256 or there.owner != new.owner:
                    raise KeyReused("The idempotency key was used for another request.")
                return _job(there), False
            _check_queue(connection, new.owner, limits)
            _check_rate(connection, new.owner, limits.per_minute, now)
            values = {
                **dataclasses.asdict(new),
                "created_at": now,
                "state": "queued",
                "progress": 0.0,
                "attempt": 0,
            }
            connection.execute(tables.jobs.insert().values(values))
            enqueue(connection, new)
            made = connection.execute(_select().where(_jobs.id == new.id)).one()
        return _job(made), True

    def id_for(self, owner: str, key: str) -> str:
        """The id of that owner's job with that idempotency key: always the same here, and not to
        be guessed by who knows the key."""
        with self.engine.connect() as connection:
            secret = connection.scalar(sa.select(tables.installation.c.secret)) or ""
        digest = hmac.digest(secret.encode(), f"{owner}\0{key}".encode(), hashlib.sha256)
        return str(uuid.UUID(bytes=digest[:16], version=4))

    def check(self, owner: str, limits: AdmissionLimits) -> int:
        """For how many jobs there is room now, where one of that owner would be admitted; counts
        nothing. Raises AdmissionError."""
        with self.engine.connect() as connection:
            room = _check_queue(connection, owner, limits)
            _rate_left(connection, owner, limits.per_minute, time.time())
        return room

    def get(self, job_id: str) -> Job | None:
        with self.engine.connect() as connection:
            row = connection.execute(_select().where(_jobs.id == job_id)).first()
        return _job(row) if row else None

    def states(self, ids: Collection[str]) -> dict[str, JobState]:
        """How far those jobs are, in one look; unknown ids are left out."""
        wanted = sa.select(_jobs.id, _jobs.state, _jobs.stage, _jobs.progress)
        with self.engine.connect() as connection:
            rows = connection.execute(wanted.where(_jobs.id.in_(ids))).all()
        return {row.id: JobState(row.state, row.stage, row.progress) for row in rows}

    def counts(self) -> dict[str, int]:
        """How many jobs are open, by state; states that none is in are left out."""
        counted = sa.select(_jobs.state, sa.func.count()).where(_jobs.state.in_(OPEN))
        counted = counted.group_by(_jobs.state)
        with self.engine.connect() as connection:
            return dict(connection.execute(counted).all())

    def begin(self, job_id: str, worker: str) -> Job | None:
        """Take up a job, for the first time or again; None where it has ended meanwhile."""
        update = _update(
            job_id,
            OPEN,
            state="running",
            stage=None,
            progress=0.0,
            attempt=_jobs.attempt + 1,
            worker=worker,
            started_at=sa.func.coalesce(_jobs.started_at, time.time()),
        ).returning(tables.jobs)
        with self.engine.begin() as connection:
            row = connection.execute(update).first()
        return _job(row) if row else None

    def progress(self, job_id: str, attempt: int, stage: str, progress: float) -> None:
        """Say how far that attempt is; of no effect when it is no longer the last one."""
        self._change(job_id, ("running",), _jobs.attempt == attempt, stage=stage, progress=progress)

    def finish(self, job_id: str, attempt: int, outcome: Verdict | SyncNetError) -> bool:
        """Write what came of that attempt; False where the job has ended or begun anew since."""
        changed: dict[str, Any]
        if isinstance(outcome, SyncNetError):
            changed = _failed(outcome)
        else:
            changed = {
                "state": "succeeded",
                "verdict": _VERDICT.dump_json(outcome).decode(),
                "risk": outcome.risk_level,
            }
        return self._change(
            job_id,
            ("running",),
            _jobs.attempt == attempt,
            **changed,
            stage=None,
            progress=1.0,
            finished_at=time.time(),
        )

    def cancel(self, job_id: str) -> Job | None:
        """End a job without a result; what it is then, or None where it has ended or there is
        none. The caller deletes the media."""
        update = _update(
            job_id, OPEN, state="cancelled", session_id=None, stage=None, finished_at=time.time()
        ).returning(tables.jobs)
        with self.engine.begin() as connection:
            row = connection.execute(update).first()
        return _job(row) if row else None

    def lost(self, job_id: str, error: SyncNetError) -> bool:
        """End an open job that nothing will ever run."""
        return self._change(job_id, OPEN, **_failed(error), stage=None, finished_at=time.time())

    def delivered(self, job_id: str) -> bool:
        """Its owner has been told the end of a job; whether for the first time."""
        return self._change(job_id, ENDED, _jobs.delivered_at.is_(None), delivered_at=time.time())

    def wait_no_more(self, job_id: str) -> None:
        """Nobody waits for the answer any longer: it may be worked out in its own time."""
        self._change(job_id, OPEN, must_end_by=None)

    def cancelled_among(self, ids: Collection[str]) -> set[str]:
        """Those of these jobs that were cancelled, or erased altogether."""
        gone = sa.select(_jobs.id).where(
            _jobs.id.in_(ids), _jobs.state.in_(("cancelled", "expired"))
        )
        with self.engine.connect() as connection:
            return set(connection.scalars(gone))

    def forget_media(self, job_id: str) -> None:
        """The recording of a job that has ended is deleted."""
        self._change(job_id, ENDED, media=None, video_path=None)

    def erase(self, job_id: str) -> Job | None:
        """Leave nothing of a job that has ended but that it was there; what it was, or None where
        it is open or there is none. The caller deletes the media."""
        with tables.writing(self.engine) as connection:
            wanted = _select().where(_jobs.id == job_id, _jobs.state.in_(ENDED))
            row = connection.execute(wanted).first()
            if row:
                connection.execute(_erased(_jobs.id == job_id))
        return _job(row) if row else None

    def expire(self, older_than_s: float, delivered_before_s: float | None = None) -> int:
        """Erase the jobs that ended longer ago, or that were delivered so long ago, and forget
        altogether those erased long ago; how many were erased."""
        now = time.time()
        over = _jobs.finished_at < now - older_than_s
        if delivered_before_s is not None:
            over |= _jobs.delivered_at < now - delivered_before_s
        cleaned = _jobs.state.in_(("succeeded", "failed", "cancelled")) & _jobs.media.is_(None)
        old = _jobs.created_at < now - older_than_s - FORGET_S
        with self.engine.begin() as connection:
            erased = connection.execute(_erased(cleaned, over))
            connection.execute(tables.jobs.delete().where(_jobs.state == "expired", old))
        return erased.rowcount

    def open_since(self, seconds: float) -> list[str]:
        """Ids of the jobs that arrived longer ago and have not ended."""
        wanted = sa.select(_jobs.id).where(
            _jobs.state.in_(OPEN), _jobs.created_at < time.time() - seconds
        )
        with self.engine.connect() as connection:
            return list(connection.scalars(wanted))

    def uncleaned(self) -> list[Job]:
        """Jobs that have ended and whose recording may still be there."""
        left = _select().where(_jobs.state.in_(ENDED), _jobs.media.is_not(None))
        with self.engine.connect() as connection:
            return [_job(row) for row in connection.execute(left)]

    def media_in_use(self) -> set[str]:
        """Keys of the recordings that a job still needs."""
        with self.engine.connect() as connection:
            wanted = sa.select(_jobs.media).where(_jobs.media.is_not(None))
            return {key for key in connection.scalars(wanted) if key}

    def beat(self, worker: str, loaded: Iterable[str]) -> None:
        """A worker says that it lives, and which networks it has loaded."""
        row = tables.workers.c
        values = {"seen_at": time.time(), "loaded": json.dumps(sorted(loaded))}
        with self.engine.begin() as connection:
            known = connection.execute(
                tables.workers.update()
                .where(row.name == worker)
                .values(**values, beats=row.beats + 1)
            )
            if not known.rowcount:
                connection.execute(tables.workers.insert().values(name=worker, beats=1, **values))

    def leave(self, worker: str) -> None:
        """A worker says that it has ended."""
        with self.engine.begin() as connection:
            connection.execute(tables.workers.delete().where(tables.workers.c.name == worker))

    def workers(self) -> list[WorkerInfo]:
        now = time.time()
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(tables.workers)).all()
        return [
            WorkerInfo(
                row.name, now - row.seen_at < ALIVE_S, tuple(json.loads(row.loaded)), row.beats
            )
            for row in rows
        ]

    def _change(
        self,
        job_id: str,
        states: Collection[str],
        *conditions: sa.ColumnElement[bool],
        **values: Any,
    ) -> bool:
        """Update the job if it is in one of the states; whether it was."""
        with self.engine.begin() as connection:
            update = _update(job_id, states, *conditions, **values)
            return connection.execute(update).rowcount > 0


def _select() -> sa.Select[Any]:
    return sa.select(tables.jobs)


def _update(
    job_id: str, states: Collection[str], *conditions: sa.ColumnElement[bool], **values: Any
) -> sa.Update:
    found = tables.jobs.update().where(_jobs.id == job_id, _jobs.state.in_(states), *conditions)
    return found.values(values)


def _failed(error: SyncNetError) -> dict[str, Any]:
    told = describe(error)
    return {"state": "failed", "error_kind": told.error, "error_message": told.message}


def _erased(*conditions: sa.ColumnElement[bool]) -> sa.Update:
    emptied = dict.fromkeys(
        (
            "session_id",
            "request_id",
            "media",
            "video_path",
            "webhook_url",
            "stage",
            "verdict",
            "risk",
            "error_kind",
            "error_message",
        )
    )
    return tables.jobs.update().where(*conditions).values(**emptied, state="expired")


def _job(row: sa.Row[Any]) -> Job:
    verdict = None if row.verdict is None else _VERDICT.validate_json(row.verdict)
    error = None
    if row.error_kind is not None:
        error = restore(Failed(error=row.error_kind, message=row.error_message))
    plain = {name: getattr(row, name) for name in _PLAIN}
    return Job(**plain, verdict=verdict, error=error)


def _check_queue(connection: sa.Connection, owner: str, limits: AdmissionLimits) -> int:
    counted = sa.select(
        sa.func.count(), sa.func.count().filter(_jobs.owner == owner).label("own")
    ).where(_jobs.state.in_(OPEN))
    everyone, own = connection.execute(counted).one()
    if everyone >= limits.queue:
        raise QueueFull("As many recordings wait to be analysed as may.")
    if own >= limits.queue_per_owner:
        raise TooManyJobs("As many recordings of yours wait to be analysed as may.")
    return limits.queue - everyone


def _rate_left(connection: sa.Connection, owner: str, per_minute: int, now: float) -> None:
    if not per_minute:
        return
    at = tables.arrivals.c.at
    lately = sa.select(at).where(tables.arrivals.c.owner == owner, at > now - RATE_WINDOW_S)
    oldest_counted = lately.order_by(at.desc()).offset(per_minute - 1).limit(1)
    if oldest := connection.scalar(oldest_counted):
        raise RateLimited(
            f"{per_minute} recordings a minute are accepted.",
            math.ceil(oldest + RATE_WINDOW_S - now),
        )


def _check_rate(connection: sa.Connection, owner: str, per_minute: int, now: float) -> None:
    """As `_rate_left`, and count this arrival."""
    _rate_left(connection, owner, per_minute, now)
    if per_minute:
        connection.execute(
            tables.arrivals.delete().where(tables.arrivals.c.at <= now - RATE_WINDOW_S)
        )
        connection.execute(tables.arrivals.insert().values(owner=owner, at=now))
