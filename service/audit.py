"""Who asked what, and what was answered: one row for each, without the recording or its names.

Sessions, file names, paths and metadata are never written here; of the sender only the id of its
API key, of the answer only the risk level and the decision.
"""

import contextlib
import json
import logging
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal, Required, TypedDict, Unpack

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from service.jobs.tables import metadata

log = logging.getLogger(__name__)

Action = Literal[
    "job.submitted",
    "job.delivered",
    "job.deleted",
    "key.created",
    "key.revoked",
    "stream.begun",
    "stream.deleted",
    "token.created",
]

MAX_WAITING = 1000
"""Rows that wait to be written, at most."""

OPERATOR = "operator"
"""The owner of what is done at the command line."""

table = sa.Table(
    "audit",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float(53), nullable=False, index=True),  # epoch seconds
    sa.Column("request_id", sa.String(128)),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("job_id", sa.String(64)),
    sa.Column("outcome", sa.String(64)),
    sa.Column("risk", sa.String(16)),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row. at: in UTC; job_id: of a key or a token, its id; outcome: "accepted" or the code of
    the refusal for a job submitted, the decision or the code of the error for a result delivered;
    risk: the risk level of that result."""

    at: datetime
    owner: str
    action: str
    request_id: str | None = None
    job_id: str | None = None
    outcome: str | None = None
    risk: str | None = None

    def json(self) -> str:
        """One line of JSON."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({**fields, "at": self.at.isoformat(timespec="milliseconds")})


class Fields(TypedDict, total=False):
    """What is known of it, as in `Entry`."""

    owner: Required[str]
    request_id: str | None
    job_id: str | None
    outcome: str | None
    risk: str | None


def record(engine: sa.Engine, action: Action, **fields: Unpack[Fields]) -> None:
    """Write one row, for now. Where that fails it is logged, and the request goes on: what was
    asked is done already."""
    _write(engine, [_now(action, fields)])


class Trail:
    """Writes rows in the background, as many at once as there are: nobody's answer waits for it,
    and a crowd's rows cost little more than one. Safe to use from any thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._rows: queue.Queue[Entry] = queue.Queue(MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def record(self, action: Action, **fields: Unpack[Fields]) -> None:
        """One row, for now; at once where too many wait."""
        row = _now(action, fields)
        try:
            self._rows.put_nowait(row)
        except queue.Full:
            _write(self._engine, [row])
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Return when all is written."""
        self._rows.join()

    def _work(self) -> None:
        while True:
            rows = [self._rows.get()]
            with contextlib.suppress(queue.Empty):
                while len(rows) < MAX_WAITING:
                    rows.append(self._rows.get_nowait())
            try:
                _write(self._engine, rows)
            finally:
                for _ in rows:
                    self._rows.task_done()


def read(engine: sa.Engine, since: datetime | None = None) -> Iterator[Entry]:
    """The rows, oldest first. since: with a time zone; None for all of them."""
    wanted = sa.select(table).order_by(table.c.at, table.c.number)
    if since is not None:
        wanted = wanted.where(table.c.at >= since.timestamp())
    with engine.connect() as connection:
        for row in connection.execute(wanted.execution_options(yield_per=1000)):
            fields = {name: getattr(row, name) for name in Entry.__slots__}
            yield Entry(**fields | {"at": datetime.fromtimestamp(row.at, UTC)})


def _now(action: Action, fields: Fields) -> Entry:
    return Entry(at=datetime.now(UTC), action=action, **fields)


def _write(engine: sa.Engine, rows: list[Entry]) -> None:
    try:
        with engine.begin() as connection:
            values = [{**asdict(row), "at": row.at.timestamp()} for row in rows]
            connection.execute(table.insert(), values)
    except SQLAlchemyError as error:
        for row in rows:  # every field of it: the log is where it is kept then
            extra = {**asdict(row), "at": row.at.timestamp(), "kind": type(error).__name__}
            log.error("an audit row could not be written", extra=extra)


def expire(engine: sa.Engine, days: int) -> int:
    """Delete the rows older than that many days; how many there were."""
    old = table.delete().where(table.c.at < time.time() - days * 86400)
    with engine.begin() as connection:
        return connection.execute(old).rowcount
