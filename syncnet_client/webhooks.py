"""For receivers of what the service delivers when a job has ended (Standard Webhooks 1.0).

    from syncnet_client import NotGenuine
    from syncnet_client.webhooks import verify

    try:
        delivery = verify(request.headers, request.get_data(), os.environ["WEBHOOK_SECRET"])
    except NotGenuine:
        abort(401)

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hmac
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from syncnet_client.errors import NotGenuine
from syncnet_client.parsing import parse

TOLERANCE_S = 300.0

_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)


class Headers(Protocol):
    """A mapping, or what frameworks have in place of one."""

    def items(self) -> Iterable[tuple[str, str]]: ...


@dataclass(frozen=True, slots=True)
class Event:
    """What has happened. type: `job.succeeded`, `job.failed` or `job.cancelled`; of a stream that
    `syncnet-service stream` follows, `stream.out_of_sync` or `stream.in_sync`; timestamp: when;
    data: what else is told of it; raw: the whole message."""

    type: str
    timestamp: datetime
    data: Mapping[str, Any]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def job_id(self) -> str:
        """The job that it happened to: `client.job` or `client.wait` has the rest. Empty where it
        happened to none."""
        return str(self.data.get("job_id", ""))


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that is genuine. id: the same at every attempt, so that who remembers it can tell
    a repetition; sent: epoch seconds of this attempt."""

    id: str
    sent: int
    event: Event


def verify(
    headers: Headers,
    body: bytes,
    secrets: str | Iterable[str],
    *,
    tolerance_s: float = TOLERANCE_S,
    now: float | None = None,
) -> Delivery:
    """The message, once it is certain that it comes from who knows a secret, and lately.

    headers: of the request, in whatever case; body: exactly as it arrived, before anything parsed
    it; secrets: the service's WEBHOOK_SECRET, or several while it is being replaced; tolerance_s:
    how far the message's time may lie from `now` (epoch seconds, the present by default) either
    way. Raises NotGenuine; ValueError for what is no secret; UnexpectedAnswer where the message is
    genuine and no event.
    """
    keys = [_key(one) for one in ([secrets] if isinstance(secrets, str) else secrets)]
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, sent, signatures = (
            given[f"webhook-{part}"] for part in ("id", "timestamp", "signature")
        )
    except KeyError as error:
        raise NotGenuine(f"the header {error.args[0]} is missing") from None
    if not re.fullmatch(r"[0-9]{1,12}", sent):
        raise NotGenuine("webhook-timestamp is no time")
    if abs((time.time() if now is None else now) - int(sent)) > tolerance_s:
        raise NotGenuine("the message is too old, or from the future")
    signed = _bytes(f"{message_id}.{sent}.") + body
    expected = [b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys]
    offered = map(_bytes, signatures.split(" "))
    if not any(hmac.compare_digest(ours, theirs) for theirs in offered for ours in expected):
        raise NotGenuine("no signature is right")
    return Delivery(message_id, int(sent), parse(Event, body))


def _bytes(text: str) -> bytes:
    """Of a header, whatever a stranger put into it and however a framework decoded that."""
    return text.encode(errors="surrogatepass")


def _key(secret: str) -> bytes:
    """The bytes that a secret stands for. Raises ValueError, without repeating it."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        key = b""
    if not secret.startswith(_PREFIX) or len(key) not in _KEY_BYTES:
        raise ValueError(f"a webhook secret is {_PREFIX} and 24 to 64 bytes in base64") from None
    return key
