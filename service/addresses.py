"""Which addresses of the internet strangers may have this machine request.

Only http and https, without credentials, to ports 80, 443 and from 1024 on, and only hosts that
are reached from everywhere. Nothing here looks a name up: `outgoing` does, and asks `is_public`.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_URL_LENGTH = 2048
"""Characters of an address that a sender may name."""

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")

# What the standard library of some supported Python takes for public, and is not to be reached.
_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # relays of 6to4
        "2001::/32",  # Teredo: an IPv4 address in disguise
        "2002::/16",  # 6to4: likewise
        "3fff::/20",  # documentation
    )
)
_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class OutgoingRefused(Exception):
    """Nothing was, or will be, sent there; trying again changes nothing. The message repeats no
    address: neither the one given nor what it leads to."""

    code: ClassVar[str] = "address_refused"
    advice: ClassVar[str] = (
        "Give an http or https address that everybody on the internet can reach, without "
        "credentials, on port 80, 443 or one from 1024 on. The operator can open private ones "
        "with OUTGOING_ALLOW."
    )


def is_public(address: Address) -> bool:
    """Whether an address belongs to one host of the internet. An IPv4 address inside an IPv6 one
    is judged itself (mapped, NAT64), or refused altogether (Teredo, 6to4)."""
    if any(address in network for network in _NEVER if network.version == address.version):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    if address.scope_id is not None:
        return False
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _UNICAST and address.is_global


def check_allow(entries: Iterable[str]) -> None:
    """Raises ValueError for an entry of OUTGOING_ALLOW that is not `host` or `host:port`."""
    for entry in entries:
        _entry(entry)


def check_url(url: str | httpx.URL, allow: Sequence[str] = ()) -> None:
    """What can be said about an address without looking its name up.

    allow: `host` or `host:port` that may be reached although private, on any or on that port.
    Raises OutgoingRefused.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):  # UnicodeError: half a character
        raise OutgoingRefused("This is no address that can be requested.") from None
    if parsed.scheme not in ("http", "https"):
        raise OutgoingRefused("Only http and https addresses are requested.")
    if parsed.userinfo:
        raise OutgoingRefused("The address contains credentials.")
    host = canonical(parsed.raw_host.decode("ascii"))
    port = {"http": 80, "https": 443}[parsed.scheme] if parsed.port is None else parsed.port
    if not 0 < port < 65536:
        raise OutgoingRefused("There is no such port.")
    address = literal(host)
    if address is None and not _is_name(host):
        raise OutgoingRefused("The address names no host, or one in an unusual form.")
    if allowed(host, port, allow):
        return
    if port < 1024 and port not in (80, 443):
        raise OutgoingRefused("Ports below 1024 other than 80 and 443 are not requested.")
    if address is not None and not is_public(address):
        raise not_public()
    if host == "localhost" or host.endswith(".localhost"):
        raise not_public()


def canonical(host: str) -> str:
    """One text for one host: lower case, no last dot, addresses as they are commonly written."""
    host = host.lower().removesuffix(".")
    address = literal(host)
    return host if address is None else str(address)


def literal(host: str) -> Address | None:
    """A host that is an address, as such; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_name(host: str) -> bool:
    """Whether a host is a name and no number: 2130706433, 0x7f.1 and 0177.0.0.1 are addresses to
    some systems."""
    ends_in_number = _NUMBER.fullmatch(host.rpartition(".")[2]) is not None
    return len(host) <= 253 and _NAME.fullmatch(host) is not None and not ends_in_number


def _entry(text: str) -> tuple[str, int | None]:
    """An entry of OUTGOING_ALLOW as host and port. Raises ValueError."""
    if literal(text) is not None:
        return canonical(text), None
    try:
        parsed = httpx.URL(f"//{text}")
    except httpx.InvalidURL:
        raise ValueError(f"{text!r} is not host or host:port") from None
    host = canonical(parsed.raw_host.decode("ascii"))
    plain = not (parsed.userinfo or parsed.query or parsed.fragment) and parsed.path in ("", "/")
    plain = plain and (parsed.port is None or 0 < parsed.port < 65536)
    if not plain or (literal(host) is None and not _is_name(host)):
        raise ValueError(f"{text!r} is not host or host:port")
    return host, parsed.port


def allowed(host: str, port: int, allow: Sequence[str]) -> bool:
    """Whether the operator lets a host, as `canonical` writes it, be reached whatever it is."""
    return any(name == host and at in (None, port) for name, at in map(_entry, allow))


def not_public() -> OutgoingRefused:
    """What to raise for a host that may not be reached."""
    return OutgoingRefused("The address leads to a host that is not public.")
