"""Requests to addresses that strangers name, without lending them this machine's place in the
network.

A name is looked up once, every address it has is checked, and the connection goes to an address
that was checked: a name server that answers differently the second time gains nothing. Proxies of
the environment are ignored: they would do the looking up. The whole request has one time limit,
however slowly its answer trickles.

A `client` follows no redirects and reads no bodies. What must be read is read by `fetch`, with a
`reader`: up to a size, and over a few redirects, each checked as if it had been asked for.
"""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from service.addresses import (
    OutgoingRefused,
    allowed,
    canonical,
    check_allow,
    check_url,
    is_public,
    literal,
    not_public,
)

__all__ = [
    "Fetched",
    "OutgoingRefused",
    "Reader",
    "TooLarge",
    "check_allow",
    "check_url",
    "client",
    "fetch",
    "reader",
    "resolve",
]

USER_AGENT = "syncnet-service"

MOST_REDIRECTS = 4

Resolver = Callable[[str, int], Sequence[str]]
"""Addresses of a host as text. Raises OSError where it has none."""

_OWN = frozenset(
    {"transport", "mounts", "proxy", "trust_env", "cert", "http1", "http2", "limits"}
    | {"follow_redirects", "max_redirects"}
)

_ends_at: ContextVar[float] = ContextVar("ends_at")
"""When the request that this thread works on must be over, on the monotonic clock."""


def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host as the system knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def client(
    allow: Sequence[str] = (),
    *,
    total_s: float = 30.0,
    resolve: Resolver = resolve,
    verify: ssl.SSLContext | bool = True,
    **options: Any,
) -> httpx.Client:
    """An HTTP client that only reaches what `check_url` and the addresses behind a name allow.

    total_s: of one request from looking its name up to the headers of its answer, afterwards
    httpx.TimeoutException; verify: as for httpx, and SSL_CERT_FILE is honoured; options: further
    ones of httpx.Client. Answers have a status and headers, and always an empty body.

    Requests raise OutgoingRefused where the address may not be reached, and httpx.HTTPError for
    everything else that can go wrong.
    """
    transport = _HeadTransport(tuple(allow), resolve, verify, total_s)
    return httpx.Client(transport=transport, **_given(options))


class Reader(httpx.Client):
    """An HTTP client for `fetch` and nothing else: it sends no request outside of that."""


def reader(
    allow: Sequence[str] = (),
    *,
    resolve: Resolver = resolve,
    verify: ssl.SSLContext | bool = True,
    **options: Any,
) -> Reader:
    """What `fetch` reads with. Arguments as for `client`; the time is `fetch`'s own."""
    return Reader(transport=_Transport(tuple(allow), resolve, verify), **_given(options))


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer. url: where it came from, after all redirects; body: whole where the status is
    200 or 206, else empty."""

    url: str
    status: int
    headers: httpx.Headers
    body: bytes


class TooLarge(Exception):
    """The answer has more bytes than are wanted. What came of it is thrown away."""


def fetch(
    reader: Reader,
    url: str,
    *,
    most_bytes: int,
    total_s: float = 30.0,
    part: tuple[int, int] | None = None,
    redirects: int = MOST_REDIRECTS,
) -> Fetched:
    """The body of what is at `url`, or the status that says why there is none.

    most_bytes: of the body as sent, nothing is unpacked; total_s: of everything, from looking the
    first name up to the last byte of the body, afterwards httpx.TimeoutException; part: first byte
    and number of bytes, where not all is wanted; redirects: followed at most, each checked like
    `url` itself.

    Raises OutgoingRefused where one of the addresses may not be reached, TooLarge, and
    httpx.HTTPError for everything else that can go wrong, answers that are packed or are not the
    part that was asked for among them.
    """
    try:
        httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        raise OutgoingRefused("This is no address that can be requested.") from None
    headers = {}
    if part is not None:
        first, length = part
        headers["Range"] = f"bytes={first}-{first + length - 1}"
        most_bytes = min(most_bytes, length)
    token = _ends_at.set(time.monotonic() + total_s)
    try:
        for _ in range(redirects + 1):
            with reader.stream("GET", url, headers=headers) as answer:
                reader.cookies.clear()
                if answer.next_request is None:
                    return Fetched(
                        url, answer.status_code, answer.headers, _body(answer, part, most_bytes)
                    )
                url = str(answer.next_request.url)
        raise httpx.TooManyRedirects(f"more than {redirects} redirects")
    finally:
        _ends_at.reset(token)


def _body(answer: httpx.Response, part: tuple[int, int] | None, most_bytes: int) -> bytes:
    """Of a success, all of it. Raises TooLarge, httpx.HTTPError."""
    if answer.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        return b""
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise httpx.DecodingError("the answer is packed, which was not asked for")
    if part is not None and not _is_part(answer, part):
        raise httpx.RemoteProtocolError("the answer is not the part that was asked for")
    announced = answer.headers.get("Content-Length", "")
    pieces, length = [], int(announced) if announced.isdecimal() else 0
    if length <= most_bytes:
        length = 0
        for piece in answer.iter_raw():
            pieces.append(piece)
            length += len(piece)
            if length > most_bytes:
                break
    if length > most_bytes:
        raise TooLarge(f"the answer has more than {most_bytes:,} bytes")
    return b"".join(pieces)


def _is_part(answer: httpx.Response, part: tuple[int, int]) -> bool:
    said = answer.headers.get("Content-Range", "").lower().partition("/")[0]
    whole = f"bytes {part[0]}-{part[0] + part[1] - 1}"
    return answer.status_code == httpx.codes.PARTIAL_CONTENT and said == whole


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """What every client here has, with the caller's own options. Raises TypeError."""
    if taken := options.keys() & _OWN:
        raise TypeError(f"not to be chosen here: {', '.join(sorted(taken))}")
    headers = httpx.Headers({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
    headers.update(options.pop("headers", None))
    timeout = httpx.Timeout(10.0, connect=5.0)
    return {"trust_env": False, "timeout": timeout, **options, "headers": headers}


class _Transport(httpx.HTTPTransport):
    """Checks every request that leaves; the time that it may take is set by who asks."""

    def __init__(
        self, allow: tuple[str, ...], resolve: Resolver, verify: ssl.SSLContext | bool
    ) -> None:
        check_allow(allow)
        context = httpx.create_ssl_context(verify) if isinstance(verify, bool) else verify
        super().__init__(verify=context)
        # httpx has no argument for a network of one's own; its pool is the one place to put it.
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=20,
            max_keepalive_connections=5,
            keepalive_expiry=5.0,
            network_backend=_Network(allow, resolve),
        )
        self._allow = allow

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        check_url(request.url, self._allow)
        if _ends_at.get(None) is None:
            raise TypeError("bodies are read by `fetch`, which knows how much and how long")
        return super().handle_request(request)


class _HeadTransport(_Transport):
    """Takes nothing of an answer but the head."""

    def __init__(
        self,
        allow: tuple[str, ...],
        resolve: Resolver,
        verify: ssl.SSLContext | bool,
        total_s: float,
    ) -> None:
        super().__init__(allow, resolve, verify)
        self._total_s = total_s

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        token = _ends_at.set(time.monotonic() + self._total_s)
        try:
            response = super().handle_request(request)
        finally:
            _ends_at.reset(token)
        response.close()
        return httpx.Response(response.status_code, headers=response.headers)


class _Network(httpcore.SyncBackend):
    """Looks names up once, checks what comes of it, and connects to exactly that."""

    def __init__(self, allow: Sequence[str], resolve: Resolver) -> None:
        self._allow = allow
        self._resolve = resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._addresses(host, port, timeout)
        failure: httpcore.ConnectError | httpcore.ConnectTimeout
        failure = httpcore.ConnectError("the host has no address")
        for address in addresses:
            left = _left(timeout, httpcore.ConnectTimeout)
            try:
                stream = super().connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream)
        raise failure

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        raise OutgoingRefused("Only addresses of the internet are requested.")

    def _addresses(self, host: str, port: int, timeout: float | None) -> list[str]:
        """All addresses of a host. Raises OutgoingRefused if a single one may not be reached."""
        if literal(host) is not None:
            found: Sequence[str] = [host]
        else:
            left = _left(timeout, httpcore.ConnectTimeout)
            found = _looked_up(lambda: self._resolve(host, port), left)
        if not allowed(canonical(host), port, self._allow):
            for text in found:
                address = literal(text)
                if address is None or not is_public(address):
                    raise not_public()
        return list(found)


class _Stream(httpcore.NetworkStream):
    """A connection whose reads and writes end when the whole request must."""

    _PIECE = 16 * 1024

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), self._PIECE):
            piece = buffer[start : start + self._PIECE]
            self._stream.write(piece, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(timeout: float | None, late: type[httpcore.TimeoutException]) -> float:
    """Seconds that the next step may take. Raises `late` where the request's time is over."""
    left = _ends_at.get() - time.monotonic()
    if left <= 0:
        raise late("the time for the whole request is over")
    return left if timeout is None else min(left, timeout)


def _looked_up(look_up: Callable[[], Sequence[str]], seconds: float) -> Sequence[str]:
    """In a thread of its own, because a system call that looks a name up cannot be interrupted."""
    answer: queue.SimpleQueue[Sequence[str] | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            answer.put(look_up())
        except Exception as error:
            answer.put(error)

    threading.Thread(target=work, name="look-up", daemon=True).start()
    try:
        found = answer.get(timeout=seconds)
    except queue.Empty:
        raise httpcore.ConnectTimeout("the name was not looked up in time") from None
    if isinstance(found, OSError | UnicodeError):
        raise httpcore.ConnectError("the name cannot be looked up") from found
    if isinstance(found, Exception):
        raise found
    return found
