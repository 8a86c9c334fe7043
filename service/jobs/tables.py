"""The database of the service: its tables, and how it is opened. SQLite or Postgres.

The tables of DBOS, which brings every accepted job to its end, lie in the same database, so that a
job and its place in the queue are written in one transaction.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dbos import DBOS
from sqlalchemy import event

metadata = sa.MetaData()

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("body_sha256", sa.String(64), nullable=False),
    sa.Column("session_id", sa.String(128)),
    sa.Column("request_id", sa.String(128)),
    sa.Column("partial", sa.Boolean, nullable=False),
    sa.Column("heatmap", sa.Boolean, nullable=False),
    # Where the recording lies: a key of the storage, or a name below VIDEO_ROOT.
    sa.Column("media", sa.String(64)),
    sa.Column("video_path", sa.Text),
    sa.Column("webhook_url", sa.Text),
    # Epoch seconds, all of them.
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("started_at", sa.Float(53)),
    sa.Column("finished_at", sa.Float(53)),
    sa.Column("delivered_at", sa.Float(53)),
    sa.Column("must_end_by", sa.Float(53)),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("stage", sa.String(32)),
    sa.Column("progress", sa.Float, nullable=False),
    # Counts the beginnings; who began before the last one may no longer write.
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("worker", sa.String(128)),
    sa.Column("verdict", sa.Text),
    sa.Column("risk", sa.String(16)),
    sa.Column("error_kind", sa.String(64)),
    sa.Column("error_message", sa.Text),
    sa.Index("jobs_by_state", "state", "finished_at"),
    # Of a history: all of it, and what it is most often searched for.
    sa.Index("jobs_by_owner", "owner", "created_at", "id"),
    sa.Index("jobs_by_session", "owner", "session_id", "created_at", "id"),
    sa.Index("jobs_by_risk", "owner", "risk", "created_at", "id"),
)

arrivals = sa.Table(
    "arrivals",
    metadata,
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("at", sa.Float(53), nullable=False),
    sa.Index("arrivals_by_owner", "owner", "at"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("beats", sa.Integer, nullable=False),
    sa.Column("seen_at", sa.Float(53), nullable=False),
    sa.Column("loaded", sa.Text, nullable=False),
)

# One row: what makes ids of this installation's jobs unlike those of any other.
installation = sa.Table(
    "installation", metadata, sa.Column("secret", sa.String(64), nullable=False)
)

_LOCK = 7_205_114_318
"""Number of the advisory lock on Postgres; any, as long as nothing else in the database has it."""

_OPENING = _LOCK + 1

_LOOK_S = 0.1

_POSTGRES = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "options": "-c statement_timeout=30000 -c lock_timeout=30000",
}
"""A database that hangs is an error after a while, and not the end of every thread that asks it."""


def open_engine(url: str) -> sa.Engine:
    """The database at that address, with every table made. Raises SQLAlchemyError."""
    sqlite = sa.make_url(url).get_backend_name() == "sqlite"
    engine = sa.create_engine(
        url,
        pool_size=8,
        max_overflow=24,
        pool_pre_ping=True,
        connect_args={} if sqlite else _POSTGRES,
    )
    if sqlite:
        event.listen(engine, "connect", _set_up_sqlite)
    with _opening(engine):
        with writing(engine) as connection:
            metadata.create_all(connection)
            for table in metadata.sorted_tables:  # they may be older than their indexes
                for index in table.indexes:
                    index.create(connection, checkfirst=True)
            if connection.scalar(sa.select(installation.c.secret)) is None:
                connection.execute(installation.insert().values(secret=secrets.token_hex(32)))
        DBOS.migrate(url)
    return engine


@contextmanager
def _opening(engine: sa.Engine) -> Iterator[None]:
    """One process at a time makes the tables: DBOS and SQLite's change to WAL bear no other one
    beside them."""
    if engine.dialect.name != "sqlite":
        # No transaction and no statement may be left open meanwhile: DBOS makes its indexes when
        # all that are have ended.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_OPENING))):
                time.sleep(_LOOK_S)
            try:
                yield
            finally:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(_OPENING)))
        return
    path = Path(engine.url.database or "")
    try:
        # SQLite gives the files that it adds the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise sa.exc.OperationalError(None, None, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        yield
    finally:
        os.close(lock)


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that no other one of this kind runs beside, in whatever process."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        yield connection


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # Writers take their turn at the beginning of a transaction and wait for it, readers never do.
    # NORMAL: what is committed survives the death of any process, though not a power cut.
    connection.isolation_level = "IMMEDIATE"
    for pragma in ("busy_timeout=30000", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")
