"""Streams as they are kept, so that every web process can tell of them: one row each, and one for
each of their last events."""

import time

import sqlalchemy as sa

from service.jobs.tables import metadata, writing
from service.streams.records import Event, Stream, StreamsFull

LOST_S = 15.0
"""Of a stream that has not been heard of for so long, the process is gone."""

UNWANTED_S = 300.0
"""A stream that nobody has asked for in this time is not followed any further."""

KEPT_S = 600.0
"""How long after its end a stream can be asked for."""

MAX_EVENTS = 500
"""Events of a stream that are kept, the last ones."""

# DBOS has a table of streams of its own.
streams = sa.Table(
    "live_streams",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    # Epoch seconds, all of them.
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("seen_at", sa.Float(53), nullable=False),
    sa.Column("asked_at", sa.Float(53), nullable=False),
    sa.Column("ended_at", sa.Float(53)),
    sa.Column("stopped", sa.Boolean, nullable=False),
)

stream_events = sa.Table(
    "live_stream_events",
    metadata,
    sa.Column("stream_id", sa.String(36), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)


class StreamStore:
    """The streams of all web processes. Safe to use from any thread; raises SQLAlchemyError."""

    def __init__(self, engine: sa.Engine, most: int) -> None:
        """most: streams that may be followed at once, by whomever."""
        self._engine = engine
        self._most = most

    def begin(self, stream_id: str, owner: str) -> None:
        """Take a stream on, and forget those that have had their time. Raises StreamsFull."""
        now = time.time()
        with writing(self._engine) as connection:
            self._forget(connection, now)
            followed = connection.scalar(
                sa.select(sa.func.count()).select_from(streams).where(_open(now))
            )
            if (followed or 0) >= self._most:
                raise StreamsFull(f"{self._most} are followed, and no more may be.")
            connection.execute(
                streams.insert().values(
                    id=stream_id,
                    owner=owner,
                    created_at=now,
                    seen_at=now,
                    asked_at=now,
                    stopped=False,
                )
            )

    def get(self, stream_id: str, *, asked: bool = False) -> Stream | None:
        """asked: by its owner, so that it is wanted still."""
        now = time.time()
        if asked:
            with self._engine.begin() as connection:
                connection.execute(_one(stream_id).values(asked_at=now))
        with self._engine.connect() as connection:
            row = connection.execute(
                sa.select(streams, _open(now).label("open")).where(streams.c.id == stream_id)
            ).one_or_none()
        return None if row is None else Stream(row.id, row.owner, row.created_at, not row.open)

    def add(self, stream_id: str, number: int, kind: str, data: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(
                stream_events.insert().values(
                    stream_id=stream_id, number=number, kind=kind, data=data
                )
            )
            connection.execute(
                stream_events.delete().where(
                    stream_events.c.stream_id == stream_id,
                    stream_events.c.number <= number - MAX_EVENTS,
                )
            )

    def events(self, stream_id: str, after: int = 0) -> list[Event]:
        """Those with a higher number, in order."""
        wanted = (
            sa.select(stream_events.c.number, stream_events.c.kind, stream_events.c.data)
            .where(stream_events.c.stream_id == stream_id, stream_events.c.number > after)
            .order_by(stream_events.c.number)
        )
        with self._engine.connect() as connection:
            return [(row.number, row.kind, row.data) for row in connection.execute(wanted)]

    def beat(self, stream_id: str) -> bool:
        """It is followed; whether it is to be any further."""
        now = time.time()
        wanted = sa.and_(sa.not_(streams.c.stopped), streams.c.asked_at > now - UNWANTED_S)
        with self._engine.begin() as connection:
            found = connection.execute(_one(stream_id).where(wanted).values(seen_at=now))
            return found.rowcount == 1

    def end(self, stream_id: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(_one(stream_id).values(ended_at=time.time()))

    def stop(self, stream_id: str) -> None:
        """Whoever follows it is to end."""
        with self._engine.begin() as connection:
            connection.execute(_one(stream_id).values(stopped=True))

    def _forget(self, connection: sa.Connection, now: float) -> None:
        old = sa.select(streams.c.id).where(
            sa.func.coalesce(streams.c.ended_at, streams.c.seen_at) < now - KEPT_S
        )
        connection.execute(stream_events.delete().where(stream_events.c.stream_id.in_(old)))
        connection.execute(streams.delete().where(streams.c.id.in_(old)))


def _open(now: float) -> sa.ColumnElement[bool]:
    return sa.and_(streams.c.ended_at.is_(None), streams.c.seen_at > now - LOST_S)


def _one(stream_id: str) -> sa.Update:
    return streams.update().where(streams.c.id == stream_id)
