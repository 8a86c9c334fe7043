"""Uploads that drip, and uploads that never end, keep nobody else waiting."""

import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType
from typing import Self

import pytest

from faults.harness import Service
from faults.latency import Sampler

UPLOADS = 50
BYTES_A_SECOND = 10
SECONDS = 20.0
SOAK_SECONDS = 600.0
HEALTH_P99_MS = 500.0
REFUSED_WITHIN_S = 2.0
HEARD_OUT_WITHIN_S = 6.0
"""Of a body that is little too large some more is read, so that the sender hears the answer."""
MEBIBYTE = 1024 * 1024

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(3600)]

HEAD = (
    "POST /score HTTP/1.1\r\n"
    "Host: 127.0.0.1\r\n"
    "Content-Type: multipart/form-data; boundary=drip\r\n"
    "{length}\r\n\r\n"
)
PART = (
    "--drip\r\n"
    'Content-Disposition: form-data; name="video"; filename="video.webm"\r\n'
    "Content-Type: video/webm\r\n\r\n"
)


class Drips:
    """So many uploads that send a few bytes a second, until the block ends. One that is broken
    off is begun again."""

    def __init__(self, port: int, number: int) -> None:
        self._port = port
        self._number = number
        self._ended = Event()
        self._thread = Thread(target=self._run, name="drips")
        self.begun = 0
        self.answers: Counter[str] = Counter()  # what was said to those that were broken off
        self.broken_off_after_s: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with selectors.DefaultSelector() as uploads:
            try:
                for _ in range(self._number):
                    self._begin(uploads)
                while not self._ended.wait(1.0):
                    for key in list(uploads.get_map().values()):
                        self._drip(uploads, key)
            finally:
                for key in list(uploads.get_map().values()):
                    self._socket(key).close()

    def _begin(self, uploads: selectors.BaseSelector) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        connection.sendall((HEAD.format(length="Content-Length: 500000") + PART).encode())
        uploads.register(connection, selectors.EVENT_READ, time.monotonic())
        self.begun += 1

    def _drip(self, uploads: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        connection = self._socket(key)
        answered = key.fileobj in [ready.fileobj for ready, _ in uploads.select(0)]
        try:
            if not answered:
                connection.sendall(bytes(BYTES_A_SECOND))
                return
            answer = connection.recv(65536).decode()
        except ConnectionError:
            answer = ""
        self.answers[answer.split(" ")[1] if answer else "closed"] += 1
        self.broken_off_after_s.append(time.monotonic() - key.data)
        uploads.unregister(connection)
        connection.close()
        self._begin(uploads)

    @staticmethod
    def _socket(key: selectors.SelectorKey) -> socket.socket:
        assert isinstance(key.fileobj, socket.socket)
        return key.fileobj


@pytest.mark.parametrize("least_rate", [1024, 0], ids=["broken_off", "borne"])
def test_dripping_uploads_keep_nobody_waiting(
    serve: Callable[..., Service],
    small_clip: bytes,
    figures: Callable[..., None],
    soak: bool,
    least_rate: int,
) -> None:
    service = serve(MIN_UPLOAD_BYTES_PER_SECOND=least_rate)
    assert service.post(small_clip).status_code == 200
    until = time.monotonic() + (SOAK_SECONDS if soak else SECONDS)
    scores: list[float] = []
    with (
        Drips(service.port, UPLOADS) as drips,
        Sampler(f"{service.url}/health") as health,
    ):
        while time.monotonic() < until:
            begin = time.monotonic()
            assert service.post(small_clip).status_code == 200
            scores.append(time.monotonic() - begin)
            time.sleep(1.0)  # the rate at which others send
    figures(
        "broken off" if least_rate else "borne",
        uploads=drips.begun,
        **{f"answered_{answer}": count for answer, count in drips.answers.items()},
        broken_off_after_s=round(max(drips.broken_off_after_s, default=0.0), 1),
        health_samples=health.count,
        health_p50_ms=health.p50_ms,
        health_p99_ms=health.p99_ms,
        health_slowest_ms=health.max_ms,
        scores_meanwhile=len(scores),
        slowest_score_s=round(max(scores), 2),
    )
    assert health.p99_ms < HEALTH_P99_MS
    assert not health.wrong
    if least_rate:
        assert set(drips.answers) == {"408"}
        assert drips.begun > UPLOADS
    else:
        assert not drips.answers
    service.wait_until_no_media()


@pytest.mark.parametrize(
    ("announced_mib", "within_s"), [(1024, REFUSED_WITHIN_S), (11, HEARD_OUT_WITHIN_S)]
)
def test_too_large_a_body_is_refused_before_it_is_sent(
    service: Service, figures: Callable[..., None], announced_mib: int, within_s: float
) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        begin = time.monotonic()
        length = f"Content-Length: {announced_mib * MEBIBYTE}"
        connection.sendall((HEAD.format(length=length) + PART).encode())
        answer = connection.recv(65536)
        took = time.monotonic() - begin
    figures(f"{announced_mib} MiB announced", limit_mib=10, refused_after_s=round(took, 3))
    assert answer.startswith(b"HTTP/1.1 413 "), answer
    assert took < within_s


def test_a_body_without_a_length_is_refused_once_it_is_too_large(
    service: Service, figures: Callable[..., None]
) -> None:
    """What the system holds between the two ends is sent besides: a few mebibytes on loopback."""
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    sent = 0
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection,
        selectors.DefaultSelector() as either,
    ):
        either.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
        part = f"{len(PART):x}\r\n{PART}\r\n"
        connection.sendall((HEAD.format(length="Transfer-Encoding: chunked") + part).encode())
        begin = time.monotonic()
        while sent < 256 * MEBIBYTE:
            ((_, events),) = either.select(30)
            if events & selectors.EVENT_READ:
                break
            connection.sendall(chunk)
            sent += 0x10000
        answer = connection.recv(65536)
        took = time.monotonic() - begin
    figures(
        "without a length",
        limit_mib=10,
        sent_mib=round(sent / MEBIBYTE, 1),
        refused_after_s=round(took, 3),
    )
    assert answer.startswith(b"HTTP/1.1 413 "), answer
    assert sent < 32 * MEBIBYTE
    service.wait_until_no_media()
