"""Who asked what, and what was answered: one row for each, without the recording or its names.

Sessions, file names, paths and metadata are never written here; of the sender only the id of its
API key, of the answer only the risk level and the decision.
"""

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from service.jobs.tables import metadata

log = logging.getLogger(__name__)

Action = Literal["job.submitted", "job.delivered", "job.deleted", "key.created", "key.revoked"]

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
    """One row. at: in UTC; job_id: of a key, the key's id; outcome: "accepted" or the code of the
    refusal for a job submitted, the decision or the code of the error for a result delivered;
    risk: the risk level of that result."""

    at: datetime
    request_id: str | None
    owner: str
    action: str
    job_id: str | None
    outcome: str | None
    risk: str | None

    def json(self) -> str:
        """One line of JSON."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({**fields, "at": self.at.isoformat(timespec="milliseconds")})


def record(
    engine: sa.Engine,
    action: Action,
    *,
    owner: str,
    request_id: str | None = None,
    job_id: str | None = None,
    outcome: str | None = None,
    risk: str | None = None,
) -> None:
    """Write one row, for now. Where that fails it is logged, and the request goes on: what was
    asked is done already."""
    values = {
        "at": time.time(),
        "request_id": request_id,
        "owner": owner,
        "action": action,
        "job_id": job_id,
        "outcome": outcome,
        "risk": risk,
    }
    try:
        with engine.begin() as connection:
            connection.execute(table.insert().values(values))
    except SQLAlchemyError as error:
        # Every field of the row: the log is where it is kept then.
        log.error(
            "an audit row could not be written",
            extra={**values, "kind": type(error).__name__},
        )


def read(engine: sa.Engine, since: datetime | None = None) -> Iterator[Entry]:
    """The rows, oldest first. since: with a time zone; None for all of them."""
    wanted = sa.select(table).order_by(table.c.at, table.c.number)
    if since is not None:
        wanted = wanted.where(table.c.at >= since.timestamp())
    with engine.connect() as connection:
        for row in connection.execute(wanted.execution_options(yield_per=1000)):
            yield Entry(
                at=datetime.fromtimestamp(row.at, UTC),
                request_id=row.request_id,
                owner=row.owner,
                action=row.action,
                job_id=row.job_id,
                outcome=row.outcome,
                risk=row.risk,
            )


def expire(engine: sa.Engine, days: int) -> int:
    """Delete the rows older than that many days; how many there were."""
    old = table.delete().where(table.c.at < time.time() - days * 86400)
    with engine.begin() as connection:
        return connection.execute(old).rowcount
