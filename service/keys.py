"""API keys: made once, kept as hashes, and the identity of whoever sends a request.

A key is `sk_<id>_<secret>`. The secret is 256 random bits, so a plain SHA-256 of it is all that has
to be kept: there is nothing to guess, which is what slow hashes of passwords are for.
"""

import hashlib
import hmac
import logging
import re
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

import sqlalchemy as sa
from flask import Flask, Response, g, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.datastructures import Headers

from service import tokens
from service.jobs.tables import metadata
from service.request_errors import DatabaseAway, RequestError
from service.settings import Settings, SettingsError
from service.tokens import Token

log = logging.getLogger(__name__)

ANONYMOUS = "anonymous"
ENVIRONMENT = "environment"
"""The owner of what is asked with the key that the setting API_KEY holds."""

CHALLENGE = 'Bearer realm="syncnet-service"'

OPEN_ROUTES = frozenset(
    {
        *("/health", "/health/live", "/health/ready", "/api/avsync/health", "/api/status"),
        *("/openapi.json", "/docs"),
        *("/", "/history", "/static/<path:name>", "/avsync.js", "/avsync.d.ts"),
    }
)
"""Answered to anybody: what a load balancer asks, the description of this interface, and pages,
which hold nothing but texts and programs."""

KEYED_ROUTES = frozenset({"/jobs"})
"""Answered to a key only: senders without one cannot be told apart, and are told nothing of each
other."""

TOKEN_ROUTES = frozenset({"/score", "/api/avsync/score", "/jobs/<job_id>", "/jobs/<job_id>/events"})
"""Where an upload token is taken in place of a key."""

FRESH_S = 5.0
"""How long the keys that were read are believed: revoking one takes this long to be felt."""

MISS_FRESH_S = 1.0
"""The same for a key that was not among them, which may have been made since, and the pause after
the database did not answer."""

PATIENCE_S = 1.0
"""How long a request waits for the database to tell the keys, or to note that one was used."""

table = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(12), primary_key=True),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("secret_sha256", sa.String(64), nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),  # epoch seconds, as revoked_at
    sa.Column("last_used", sa.String(10)),  # a day, YYYY-MM-DD in UTC
    sa.Column("revoked_at", sa.Float(53)),
)

_KEY = re.compile(r"sk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class Unauthorized(RequestError):
    """The request has no key where one is needed, or one that is not valid."""

    status = 401
    code = "unauthorized"
    title = "A valid API key is needed"
    advice = "Send a key as `Authorization: Bearer <key>` or `X-API-Key: <key>`."


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as it may be shown: without its secret. Days are in UTC."""

    id: str
    name: str
    created_at: datetime
    last_used: date | None
    revoked_at: datetime | None


def create(engine: sa.Engine, name: str) -> tuple[str, str]:
    """A new key: its text, which is told this once, and its id. Raises SettingsError for a name
    that is empty, longer than 128 characters or not printable."""
    if not 0 < len(name) <= 128 or not name.isprintable():
        raise SettingsError("keys: a name has 1 to 128 printable characters")
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    values = {
        "id": key_id,
        "name": name,
        "secret_sha256": _sha256(secret),
        "created_at": time.time(),
    }
    with engine.begin() as connection:
        connection.execute(table.insert().values(values))
    return f"sk_{key_id}_{secret}", key_id


def list_all(engine: sa.Engine) -> list[KeyInfo]:
    """Every key, oldest first, the revoked ones included."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(table).order_by(table.c.created_at)).all()
    return [
        KeyInfo(
            id=row.id,
            name=row.name,
            created_at=_moment(row.created_at),
            last_used=date.fromisoformat(row.last_used) if row.last_used else None,
            revoked_at=_moment(row.revoked_at) if row.revoked_at else None,
        )
        for row in rows
    ]


def revoke(engine: sa.Engine, key_id: str) -> bool:
    """Make a key invalid for good; False where there is none of that id that was valid."""
    change = (
        table.update()
        .where(table.c.id == key_id, table.c.revoked_at.is_(None))
        .values(revoked_at=time.time())
    )
    with engine.begin() as connection:
        return connection.execute(change).rowcount == 1


def check_start(settings: Settings, engine: sa.Engine) -> None:
    """Raises SettingsError where others than this machine could reach the service, nobody is let
    in without a key, and there is no key."""
    if settings.anonymous_allowed or settings.api_key is not None or _read(engine):
        return
    raise SettingsError(
        f"settings: HOST={settings.host} can be reached by others and there is no API key: make "
        "one with `syncnet-service keys create NAME`, set API_KEY, or set ALLOW_ANONYMOUS=true "
        "to answer anybody"
    )


class Doorkeeper:
    """Tells who sends a request. Safe to use from any thread."""

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        self._engine = engine
        self._valid = _ValidKeys(engine)
        self._anonymous_allowed = settings.anonymous_allowed
        given = settings.api_key.get_secret_value() if settings.api_key else None
        self._environment = _sha256(given) if given else None
        self._noted: dict[str, str] = {}  # the last day each key was seen to be used

    def identify(self, headers: Headers) -> str:
        """The owner that a request's headers prove: the key's id, or "anonymous".

        Raises Unauthorized without a key where one is needed, and with a wrong one anywhere: a
        sender who believes to be known is not to find out later that it was taken for nobody.
        Raises DatabaseAway where the database does not answer and a key is none of those it told
        before.
        """
        offered = _offered(headers)
        if offered is None:
            if not self._anonymous_allowed:
                raise Unauthorized("The request has no API key.")
            return ANONYMOUS
        if self._environment and hmac.compare_digest(_sha256(offered), self._environment):
            return ENVIRONMENT
        parts = _KEY.fullmatch(offered)
        if parts is None:
            raise Unauthorized("The API key is not valid.")
        key_id, secret = parts.groups()
        kept = self._valid.hash_of(key_id)
        if kept is None or not hmac.compare_digest(_sha256(secret), kept):
            raise Unauthorized("The API key is not valid.")
        self._note_use(key_id)
        return key_id

    def token(self, headers: Headers) -> Token | None:
        """The upload token that a request's headers hold, None where they hold something else.

        Raises Unauthorized where it is not valid, TokenExpired; SQLAlchemyError or DatabaseAway
        where the database does not answer.
        """
        offered = _offered(headers)
        if offered is None or not tokens.is_one(offered):
            return None
        token = tokens.find(self._engine, offered, self.stamp)
        if token is None:
            raise Unauthorized("The upload token is not valid.")
        return token

    def stamp(self, owner: str) -> str:
        """What is kept of the key of that owner, who is let in now: the same until the key is
        another one. Raises Unauthorized where he is not let in, DatabaseAway as `identify`."""
        if owner == ANONYMOUS:
            kept = "" if self._anonymous_allowed else None
        elif owner == ENVIRONMENT:
            kept = self._environment
        else:
            kept = self._valid.hash_of(owner)
        if kept is None:
            raise Unauthorized("The key that the upload token was made with is not valid.")
        return kept

    def _note_use(self, key_id: str) -> None:
        """Once a day and process: when a key was last used need not be known better."""
        today = datetime.now(UTC).date().isoformat()
        if self._noted.get(key_id) == today:
            return
        self._noted[key_id] = today
        noting = threading.Thread(target=self._note, args=(key_id, today), daemon=True)
        noting.start()
        noting.join(PATIENCE_S)

    def _note(self, key_id: str, today: str) -> None:
        earlier = sa.or_(table.c.last_used.is_(None), table.c.last_used < today)
        change = table.update().where(table.c.id == key_id, earlier).values(last_used=today)
        try:
            with self._engine.begin() as connection:
                connection.execute(change)
        except SQLAlchemyError as error:
            log.error(
                "it could not be noted that a key was used", extra={"kind": type(error).__name__}
            )


class _ValidKeys:
    """The valid keys, as the database last told them. Safe to use from any thread.

    One thread reads for all who ask. While the database does not answer, what it told before goes
    on to count.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._hashes: Mapping[str, str] = {}  # by id
        self._asked_at = float("-inf")
        self._reading = threading.Thread()
        self._answered = True

    def hash_of(self, key_id: str) -> str | None:
        """The hash of a valid key's secret; None where there is no such key. Waits for PATIENCE_S
        at most. Raises DatabaseAway."""
        with self._lock:
            age = time.monotonic() - self._asked_at
            fresh_s = FRESH_S if self._answered and key_id in self._hashes else MISS_FRESH_S
            if age > fresh_s and not self._reading.is_alive():
                # What changes while it is read is read again in time.
                self._asked_at, age = time.monotonic(), 0.0
                self._reading = threading.Thread(target=self._read, daemon=True)
                self._reading.start()
            reading = self._reading
        if reading.is_alive():
            reading.join(max(0.0, PATIENCE_S - age))
        kept = self._hashes.get(key_id)
        if kept is None and (reading.is_alive() or not self._answered):
            raise DatabaseAway("The database does not tell the keys.")
        return kept

    def _read(self) -> None:
        try:
            self._hashes = _read(self._engine)
        except Exception as error:
            if self._answered:
                log.error("the keys cannot be read", extra={"kind": type(error).__name__})
            self._answered = False
        else:
            self._answered = True


def register(app: Flask, doorkeeper: Doorkeeper) -> None:
    """Let every request but those of OPEN_ROUTES prove who sends it; g.owner is who, g.token the
    upload token that proves it, None where a key does.

    After `access.register`, so that a refusal has a request id. A browser's preflight (OPTIONS)
    never has a key and is told nothing but which methods there are.
    """

    app.extensions["doorkeeper"] = doorkeeper

    @app.before_request
    def identify() -> None:
        g.owner, g.token = ANONYMOUS, None
        rule = request.url_rule.rule if request.url_rule else None
        if request.method == "OPTIONS" or rule in OPEN_ROUTES:
            return
        if rule in TOKEN_ROUTES:
            g.token = doorkeeper.token(request.headers)
        g.owner = g.token.owner if g.token else doorkeeper.identify(request.headers)
        if rule in KEYED_ROUTES and g.owner == ANONYMOUS:
            raise Unauthorized("The request has no API key.")

    @app.after_request
    def challenge(response: Response) -> Response:
        if response.status_code == Unauthorized.status:
            response.headers["WWW-Authenticate"] = CHALLENGE
        return response


def _offered(headers: Headers) -> str | None:
    """The key that the headers hold, None without one. Raises Unauthorized for another scheme."""
    if authorization := headers.get("Authorization"):
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("The Authorization header is not of the scheme Bearer.")
        return key.strip()
    return headers.get("X-API-Key")


def _read(engine: sa.Engine) -> dict[str, str]:
    """The hashes of the valid keys by id."""
    valid = sa.select(table.c.id, table.c.secret_sha256).where(table.c.revoked_at.is_(None))
    with engine.connect() as connection:
        return dict(connection.execute(valid).all())


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _moment(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
