"""Upload tokens: what a page is given instead of a key, good for a few uploads and a short while.

A token is `ut_<id>_<secret>`. What is kept of it is a hash of its secret, made with what is kept of
the key that it was made with: who revokes a key ends its tokens as well.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from service.jobs.records import NewJob
from service.jobs.tables import metadata, writing
from service.request_errors import TokenExpired, TokensTaken, TokenUsedUp

KEPT_S = 3600.0
"""How long after its end it is known of a token that it has expired."""

MAX_KEPT = 20_000
"""Tokens of one owner that may be known at the same time, those that have expired included: however
soon they end, there are not more."""

tokens = sa.Table(
    "upload_tokens",
    metadata,
    sa.Column("id", sa.String(12), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("secret_hmac", sa.String(64), nullable=False),
    sa.Column("session_id", sa.String(128)),
    sa.Column("uploads_left", sa.Integer, nullable=False),
    sa.Column("expires_at", sa.Float(53), nullable=False, index=True),  # epoch seconds
    sa.Index("upload_tokens_by_owner", "owner", "expires_at"),
)

token_jobs = sa.Table(
    "token_jobs",
    metadata,
    sa.Column("job_id", sa.String(36), primary_key=True),
    sa.Column("token_id", sa.String(12), nullable=False, index=True),
)

_TEXT = re.compile(r"ut_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it may be shown: without its secret.

    owner: of the jobs that are sent with it; session_id: that they must have, None for any;
    uploads_left: jobs that may still be sent; expires_at: epoch seconds.
    """

    id: str
    owner: str
    session_id: str | None
    uploads_left: int
    expires_at: float


def create(
    engine: sa.Engine,
    owner: str,
    stamp: str,
    *,
    ttl_s: float,
    uploads: int,
    session_id: str | None = None,
) -> tuple[str, Token]:
    """A new token: its text, which is told this once, and what it is good for. stamp: what is kept
    of the owner's key. Raises TokensTaken where the owner has too many."""
    secret = secrets.token_urlsafe(32)
    now = time.time()
    token = Token(secrets.token_hex(6), owner, session_id, uploads, now + ttl_s)
    kept = tokens.c.expires_at >= now - KEPT_S
    counted = sa.select(sa.func.count()).where(tokens.c.owner == owner, kept)
    values = {name: getattr(token, name) for name in Token.__slots__}
    with writing(engine) as connection:
        if (connection.scalar(counted) or 0) >= MAX_KEPT:
            raise TokensTaken(f"{MAX_KEPT} tokens of yours are good, or were until lately.")
        connection.execute(tokens.insert().values(**values, secret_hmac=_hash(stamp, secret)))
    return f"ut_{token.id}_{secret}", token


def is_one(text: str) -> bool:
    """Whether a text is written as tokens are."""
    return _TEXT.fullmatch(text) is not None


def find(engine: sa.Engine, text: str, stamp_of: Callable[[str], str]) -> Token | None:
    """The token of that text, None where there is none. stamp_of: what is kept of an owner's key
    now; raises where the owner is let in no longer. Raises TokenExpired."""
    parts = _TEXT.fullmatch(text)
    if parts is None:
        return None
    token_id, secret = parts.groups()
    with engine.connect() as connection:
        row = connection.execute(sa.select(tokens).where(tokens.c.id == token_id)).first()
    if row is None or not hmac.compare_digest(_hash(stamp_of(row.owner), secret), row.secret_hmac):
        return None
    if row.expires_at <= time.time():
        raise TokenExpired("The upload token has had its time.")
    return Token(**{name: getattr(row, name) for name in Token.__slots__})


def check_left(token: Token) -> None:
    """Raises TokenUsedUp where no new job may be sent with it."""
    if token.uploads_left < 1:
        raise TokenUsedUp("As many recordings were sent with the upload token as may be.")


def spend(token: Token, connection: sa.Connection, job: NewJob) -> None:
    """Note that a new job was sent with the token, where the job itself is written. Raises
    TokenUsedUp."""
    left = tokens.c.uploads_left
    change = tokens.update().where(tokens.c.id == token.id, left > 0).values(uploads_left=left - 1)
    if not connection.execute(change).rowcount:
        raise TokenUsedUp("Other recordings were sent with the upload token meanwhile.")
    connection.execute(token_jobs.insert().values(job_id=job.id, token_id=token.id))


def give_back(engine: sa.Engine, token: Token, job_id: str) -> None:
    """Take back that the job was sent with the token: the service has given it up."""
    noted = token_jobs.delete().where(
        token_jobs.c.job_id == job_id, token_jobs.c.token_id == token.id
    )
    one_more = tokens.update().where(tokens.c.id == token.id)
    with engine.begin() as connection:
        if connection.execute(noted).rowcount:
            connection.execute(one_more.values(uploads_left=tokens.c.uploads_left + 1))


def sent(engine: sa.Engine, token: Token, job_id: str) -> bool:
    """Whether the job was sent with the token."""
    of_it = sa.select(token_jobs.c.job_id).where(
        token_jobs.c.job_id == job_id, token_jobs.c.token_id == token.id
    )
    with engine.connect() as connection:
        return connection.scalar(of_it) is not None


def expire(engine: sa.Engine) -> int:
    """Forget the tokens that ended KEPT_S ago; how many there were."""
    old = tokens.c.expires_at < time.time() - KEPT_S
    of_old = token_jobs.c.token_id.in_(sa.select(tokens.c.id).where(old))
    with engine.begin() as connection:
        connection.execute(token_jobs.delete().where(of_old))
        return connection.execute(tokens.delete().where(old)).rowcount


def _hash(stamp: str, secret: str) -> str:
    return hmac.digest(stamp.encode(), secret.encode(), hashlib.sha256).hex()
