"""Whether a request is sent again, and when."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from syncnet_client.requests import Request

HONOURED = frozenset({429, 503, 507})
"""Refusals that go by themselves where they come with Retry-After."""

GATEWAY = frozenset({502, 503, 504})
"""What stands before the service answers while the service does not, as at a restart."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How stubborn a client is.

    times: further attempts of one request, 0 for none. backoff_s: seconds before the first of
    them where the connection broke, doubled each time, less up to a half by chance, so that many
    clients do not come back at once. longest_s: a longer pause is never made; where the service
    asks for one (Retry-After), its refusal is raised.
    """

    times: int = 5
    backoff_s: float = 0.5
    longest_s: float = 60.0

    def __post_init__(self) -> None:
        if self.times < 0 or self.backoff_s < 0 or self.longest_s < 0:
            raise ValueError("retries cannot be negative")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. headers: without regard to case; body: empty where it is still to be read."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    def is_a(self, media_type: str) -> bool:
        return self.headers.get("content-type", "").startswith(media_type)

    def refuses(self, request: Request) -> bool:
        """Whether it is a refusal; a request may expect some status that is none in its case,
        where it comes from the service and not from what stands before it."""
        expected = self.status in request.expected and self.is_a("application/json")
        return self.status >= HTTPStatus.BAD_REQUEST and not expected


@dataclass(frozen=True, slots=True)
class Broken:
    """No answer came. reason: for people; sent: the request may have arrived; lasting: it would be
    the same the next time; cause: what httpx raised."""

    reason: str
    sent: bool
    lasting: bool
    cause: Exception


def pause(reply: Answer | Broken, request: Request, attempt: int, rules: Retries) -> float | None:
    """Seconds to wait before the request is sent again; None where it is not.

    attempt: how often it was sent again already.
    """
    if attempt >= rules.times:
        return None
    if isinstance(reply, Broken):
        again = not reply.lasting and (request.repeatable or not reply.sent)
        return backoff(attempt, rules) if again else None
    if not reply.refuses(request):
        return None
    if reply.status in HONOURED and (asked := retry_after(reply.headers)) is not None:
        return asked if asked <= rules.longest_s else None
    # The service says itself what is wrong, and here no time after which it will not be.
    of_the_service = reply.is_a("application/problem+json")
    if reply.status in GATEWAY and not of_the_service and request.repeatable:
        return backoff(attempt, rules)
    return None


def backoff(attempt: int, rules: Retries) -> float:
    """Seconds before the attempt of that number, from 0."""
    doubled = rules.backoff_s * 2.0 ** min(attempt, 64)  # beyond, a float ends some time
    return min(doubled, rules.longest_s) * random.uniform(0.5, 1)  # noqa: S311 - spreads clients


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that an answer asks to wait, said as a number or as a date; None where it does not,
    or not in a way that can be understood."""
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        at = parsedate_to_datetime(said)
    except ValueError:
        return None
    if at.utcoffset() is None:  # -0000: UTC
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())
