"""Telling a receiver of an event, by Standard Webhooks 1.0.

A delivery is signed with HMAC-SHA256 over `id.timestamp.body`, and its id stays the same however
often it is tried, so that a receiver can tell a repetition from another event.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from pydantic import JsonValue

from service import outgoing
from service.addresses import MAX_URL_LENGTH
from service.outgoing import OutgoingRefused, Resolver, resolve

TIMEOUT_S = 10.0
"""Seconds that a delivery may take from looking the name up to the answer's status."""

_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)


@dataclass(frozen=True, slots=True)
class Message:
    """What is told of one event, the same at every attempt. body: JSON."""

    id: str
    body: bytes


class DeliveryFailed(Exception):
    """The receiver could not be reached or did not accept; it may later. The message names no
    address."""


class ReceiverGone(OutgoingRefused):
    """The receiver answered 410: it wants no deliveries at this address any more."""

    code = "receiver_gone"
    advice = "Send the next recordings without this webhook address, or with another."


class NotGenuine(ValueError):
    """What arrived was not signed with this secret, or not now. The message says why."""


def check_secret(text: str) -> None:
    """Raises ValueError unless the text is `whsec_` and 24 to 64 bytes in base64. The message
    does not repeat it."""
    _key(text)


def check_url(url: str, allow: Sequence[str] = ()) -> None:
    """Whether a receiver may be at this address, as far as can be said without looking its name
    up. Raises OutgoingRefused."""
    if len(url) > MAX_URL_LENGTH:
        raise OutgoingRefused(f"The address has more than {MAX_URL_LENGTH} characters.")
    outgoing.check_url(url, allow)


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The header webhook-signature of a message. timestamp: epoch seconds of this attempt."""
    return f"v1,{_signature(secret, message_id, str(timestamp), body)}"


def verify(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    tolerance_s: float = 300,
    now: float | None = None,
) -> None:
    """Whether a message came from who knows the secret, and lately. For receivers.

    headers: of the request, in whatever case; body: exactly as received; tolerance_s: how far the
    message's time may lie from `now` (epoch seconds, the present by default) either way. Raises
    NotGenuine.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp, signatures = (
            given[f"webhook-{part}"] for part in ("id", "timestamp", "signature")
        )
    except KeyError as error:
        raise NotGenuine(f"the header {error.args[0]} is missing") from None
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise NotGenuine("webhook-timestamp is no time")
    if abs((time.time() if now is None else now) - int(timestamp)) > tolerance_s:
        raise NotGenuine("the message is too old, or from the future")
    expected = f"v1,{_signature(secret, message_id, timestamp, body)}".encode()
    # Several signatures may be given while a secret is being replaced.
    if not any(hmac.compare_digest(expected, s.encode()) for s in signatures.split(" ")):
        raise NotGenuine("no signature is right")


def message(event: str, at: float, data: Mapping[str, JsonValue], *, identity: str) -> Message:
    """What to tell of an event. event: its type, such as `job.succeeded`; at: when it happened,
    epoch seconds; identity: what no other event has, hashed to the id."""
    timestamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    payload = {"type": event, "timestamp": timestamp.replace("+00:00", "Z"), "data": data}
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return Message(f"msg_{digest[:32]}", json.dumps(payload, separators=(",", ":")).encode())


def deliver(
    url: str,
    secret: str,
    message: Message,
    allow: Sequence[str] = (),
    *,
    resolve: Resolver = resolve,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """One attempt to tell the receiver at `url`. Any 2xx within the time is success; what the
    answer says is not read.

    Raises DeliveryFailed where another attempt may succeed (any other status, redirects too, or no
    answer), ReceiverGone for 410, and OutgoingRefused where the address may not be reached.
    """
    check_url(url, allow)
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secret, message.id, timestamp, message.body),
    }
    client = outgoing.client(allow, total_s=timeout_s, resolve=resolve, timeout=timeout_s)
    try:
        with client, client.stream("POST", url, content=message.body, headers=headers) as answer:
            status = answer.status_code
    except httpx.TimeoutException:
        raise DeliveryFailed("the receiver did not answer in time") from None
    except httpx.HTTPError:
        raise DeliveryFailed("the receiver could not be reached") from None
    if status == httpx.codes.GONE:
        raise ReceiverGone("The receiver wants no further deliveries.")
    if not httpx.codes.is_success(status):
        raise DeliveryFailed(f"the receiver answered {status}")


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        key = b""
    if not secret.startswith(_PREFIX) or len(key) not in _KEY_BYTES:
        raise ValueError(f"a webhook secret is {_PREFIX} and 24 to 64 bytes in base64") from None
    return key


def _signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """In base64. The id and the time are signed as they stand in their headers."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(_key(secret), signed, "sha256")).decode()
