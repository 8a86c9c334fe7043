"""What the database says of the jobs, read beside the service."""

from collections.abc import Collection
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from service.jobs import tables
from service.jobs.records import ENDED, OPEN

_jobs = tables.jobs.c


@dataclass(frozen=True, slots=True)
class Row:
    """A job. Times are epoch seconds; attempt: how often it was begun; worker: by whom last."""

    id: str
    state: str
    attempt: int
    worker: str | None
    created_at: float
    finished_at: float | None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class Ledger:
    """The jobs of a service, by the address of its database as SQLAlchemy writes it."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._engine.dispose()

    def rows(self, *conditions: sa.ColumnElement[bool]) -> dict[str, Row]:
        """The jobs for which all conditions hold, by id."""
        asked = sa.select(
            _jobs.id, _jobs.state, _jobs.attempt, _jobs.worker, _jobs.created_at, _jobs.finished_at
        )
        with self._engine.connect() as connection:
            return {row.id: Row(*row) for row in connection.execute(asked.where(*conditions))}

    def some(self, ids: Collection[str]) -> dict[str, Row]:
        return self.rows(_jobs.id.in_(ids))

    def running(self) -> dict[str, Row]:
        return self.rows(_jobs.state == "running")

    def open(self) -> dict[str, Row]:
        """The jobs that wait or run."""
        return self.rows(_jobs.state.in_(OPEN))
