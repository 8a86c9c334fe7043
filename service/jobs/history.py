"""What was asked before and what came of it: an owner's jobs a page at a time, the newest first.

Of each only what a list shows is read, out of a verdict that may be a hundred times as long.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import sqlalchemy as sa

from service.jobs import tables
from service.jobs.records import Shown, State
from syncnet_python.results import Decision, Risk

SHOWN = get_args(Shown)

IMPLIED: dict[Decision, Risk] = {"ALLOW": "LOW", "BLOCK": "CRITICAL"}
"""The risk level that goes with a decision, by which it is found without looking into verdicts."""

_jobs = tables.jobs.c


class Place(NamedTuple):
    """Where a job stands in its owner's history. created_at: epoch seconds."""

    created_at: float
    id: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs: all of that owner that agree with everything that is not None.

    since, until: epoch seconds between which they came, the second excluded; before: the last one
    of the page before; limit: how many at most.
    """

    owner: str
    session_id: str | None = None
    risk: Risk | None = None
    decision: Decision | None = None
    state: State | None = None
    since: float | None = None
    until: float | None = None
    before: Place | None = None
    limit: int = 20


@dataclass(frozen=True, slots=True)
class Past:
    """A job in a list. What the verdict says is None where there is none; times are epoch
    seconds."""

    id: str
    session_id: str | None
    state: State
    risk: Risk | None
    decision: Decision | None
    combined_score: float | None
    inconclusive: bool | None
    created_at: float
    finished_at: float | None

    @property
    def place(self) -> Place:
        return Place(self.created_at, self.id)


def page(engine: sa.Engine, wanted: Wanted) -> tuple[list[Past], bool]:
    """The first of those jobs, and whether there are more."""
    verdict = _as_json(engine)
    chosen = (
        sa.select(
            _jobs.id,
            _jobs.session_id,
            _jobs.state,
            _jobs.risk,
            verdict["decision"].as_string().label("decision"),
            verdict["combined_score"].as_float().label("combined_score"),
            verdict["inconclusive"].as_boolean().label("inconclusive"),
            _jobs.created_at,
            _jobs.finished_at,
        )
        .where(_jobs.owner == wanted.owner, *_conditions(wanted, verdict))
        .order_by(_jobs.created_at.desc(), _jobs.id.desc())
        .limit(wanted.limit + 1)
    )
    with engine.connect() as connection:
        found = [Past(**row) for row in connection.execute(chosen).mappings()]
    return found[: wanted.limit], len(found) > wanted.limit


def _conditions(wanted: Wanted, verdict: Any) -> Iterator[sa.ColumnElement[bool]]:
    yield _jobs.state == wanted.state if wanted.state else _jobs.state.in_(SHOWN)
    if wanted.session_id is not None:
        yield _jobs.session_id == wanted.session_id
    if wanted.risk is not None:
        yield _jobs.risk == wanted.risk
    if wanted.decision is not None:
        if wanted.decision in IMPLIED:
            yield _jobs.risk == IMPLIED[wanted.decision]
        yield verdict["decision"].as_string() == wanted.decision
    if wanted.since is not None:
        yield _jobs.created_at >= wanted.since
    if wanted.until is not None:
        yield _jobs.created_at < wanted.until
    if wanted.before is not None:
        yield sa.tuple_(_jobs.created_at, _jobs.id) < sa.tuple_(*wanted.before)


def _as_json(engine: sa.Engine) -> Any:
    """The verdict, which is kept as text: SQLite looks into text, Postgres has to be told."""
    if engine.dialect.name == "sqlite":
        return sa.type_coerce(_jobs.verdict, sa.JSON)
    return sa.cast(_jobs.verdict, sa.JSON)
