"""Between this package's plain values and httpx's; nothing here sends anything."""

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any

import httpx

from syncnet_client.plans import Send
from syncnet_client.requests import printable
from syncnet_client.retries import Answer, Broken

VERSION = "0.1.0"
"""Of this client; as in pyproject.toml."""

USER_AGENT = f"syncnet-client/{VERSION}"

FILE_NAME = "recording"
"""What every recording is called: the service looks at none, and a name can tell of people."""

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the service is, and what to say to be let in."""

    base: str
    headers: dict[str, str] = field(repr=False)


def address(base_url: str, key: str | None, token: str | None) -> Address:
    """Raises ValueError for what is no address of a service, and for two ways in at once. The
    messages repeat neither key nor token."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:  # which may repeat a password
        raise ValueError("base_url is no address") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("base_url must be http://… or https://…")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("base_url must have no user, query or fragment")
    headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
    if key is not None and token is not None:
        raise ValueError("give a key or a token, not both")
    for what, secret in (("the key", key), ("the token", token)):
        if secret is not None:
            headers["Authorization"] = f"Bearer {printable(what, secret)}"
    return Address(str(url).rstrip("/"), headers)


@contextmanager
def prepared(step: Send, to: Address) -> Iterator[dict[str, Any]]:
    """What `build_request` of an httpx client takes; a recording that is a file is open meanwhile.

    Raises OSError where it cannot be read.
    """
    request = step.request
    given: dict[str, Any] = {
        "method": request.method,
        "url": to.base + request.path,
        "params": request.query or None,
        "headers": {**to.headers, **request.headers},
        "timeout": step.timeout_s,
    }
    with ExitStack() as stack:
        if request.recording is not None:
            what = request.recording
            file = stack.enter_context(what.open("rb") if isinstance(what, Path) else BytesIO(what))
            body = _Timely(file, time.monotonic() + step.left_s)
            given["files"] = {"video": (FILE_NAME, body, "application/octet-stream")}
            given["data"] = {n: _text(value) for n, value in (request.fields or {}).items()}
        elif request.fields is not None:
            given["json"] = request.fields
        yield given


class _Timely:
    """A file that can be read until then, so that a slow line does not outlast the caller's
    patience: httpx has a limit for each piece alone."""

    def __init__(self, file: BufferedIOBase, end: float) -> None:
        self._file = file
        self._end = end

    def read(self, size: int = -1) -> bytes:
        if time.monotonic() > self._end:
            raise httpx.WriteTimeout("The recording could not be sent in time.")
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _text(value: Any) -> str:
    """A field as a form has it."""
    return value if isinstance(value, str) else json.dumps(value)


def stays_open(step: Send, response: httpx.Response) -> bool:
    """Whether the rest of an answer is read as it comes; a refusal never is."""
    return step.request.streamed and response.is_success


def answer(response: httpx.Response) -> Answer:
    """With its body, where that has been read."""
    body = response.content if response.is_closed else b""
    return Answer(response.status_code, response.headers, body)


def broken(error: httpx.RequestError) -> Broken:
    """No answer, in plain words."""
    sent = not isinstance(error, _NEVER_SENT)
    if isinstance(error, httpx.TimeoutException):
        reason = "The service does not answer in time." if sent else "The service does not answer."
    elif sent:
        reason = "The connection to the service broke."
    else:
        reason = "The service cannot be reached."
    lasting = isinstance(error, httpx.LocalProtocolError) or _distrusted(error)
    return Broken(reason, sent, lasting, error)


def _distrusted(error: BaseException | None) -> bool:
    """Whether the service's certificate was refused, which further attempts do not change."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
