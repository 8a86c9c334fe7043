"""Requests to addresses that strangers name, without lending them this machine's place in the
network.

A name is looked up once, every address it has is checked, and the connection goes to an address
that was checked: a name server that answers differently the second time gains nothing. Redirects
are not followed, and the body of an answer is not read. Proxies of the environment are ignored:
they would do the looking up. The whole request has one time limit, however slowly its answer
trickles.
"""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
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
    "OutgoingRefused",
    "check_allow",
    "check_url",
    "client",
    "resolve",
]

USER_AGENT = "syncnet-service"

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
    if taken := options.keys() & _OWN:
        raise TypeError(f"not to be chosen here: {', '.join(sorted(taken))}")
    headers = httpx.Headers({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
    headers.update(options.pop("headers", None))
    transport = _Transport(tuple(allow), total_s, resolve, verify)
    defaults: dict[str, Any] = {"timeout": httpx.Timeout(10.0, connect=5.0)}
    return httpx.Client(
        transport=transport, trust_env=False, headers=headers, **(defaults | options)
    )


class _Transport(httpx.HTTPTransport):
    """Checks every request that leaves, and takes nothing of its answer but the head."""

    def __init__(
        self,
        allow: tuple[str, ...],
        total_s: float,
        resolve: Resolver,
        verify: ssl.SSLContext | bool,
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
        self._total_s = total_s

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        check_url(request.url, self._allow)
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
