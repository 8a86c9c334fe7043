"""The database of the service: its tables, and how it is opened. SQLite or Postgres.

The tables of DBOS, which brings every accepted job to its end, lie in the same database, so that a
job and its place in the queue are written in one transaction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
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
    sa.Index("jobs_by_owner", "owner", "created_at"),
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

_LOCK = 7_205_114_318
"""Number of the advisory lock on Postgres; any, as long as nothing else in the database has it."""


def open_engine(url: str) -> sa.Engine:
    """The database at that address, with every table made. Raises SQLAlchemyError."""
    engine = sa.create_engine(url, pool_size=8, max_overflow=24, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    with writing(engine) as connection:
        metadata.create_all(connection)
    DBOS.migrate(url)
    return engine


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
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")
