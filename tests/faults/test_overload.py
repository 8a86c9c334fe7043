"""More than the queue holds is refused at once, and costs those that were accepted nothing."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import pytest

from faults.harness import Service
from faults.latency import Sampler

QUEUE = 8
SENDERS = 50
SALVOS = 5
SOAK_SALVOS = 50
REFUSED_WITHIN_MS = 200.0
HEALTH_P99_MS = 100.0

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1800)]


@dataclass(frozen=True, slots=True)
class Answer:
    """milliseconds: from the last byte sent to the first byte received."""

    status: int
    headers: dict[str, str]
    milliseconds: float


def request_bytes(service: Service, recording: bytes) -> bytes:
    """POST /score with the recording, as it goes over the wire."""
    request = httpx.Request(
        "POST", f"{service.url}/score", files={"video": ("video.webm", recording)}
    )
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    head = "\r\n".join(["POST /score HTTP/1.1", *lines, "Connection: close", "", ""])
    return head.encode() + request.read()


def salvo(service: Service, request: bytes, number: int) -> list[Answer]:
    """Send the same request on so many connections at once."""
    barrier = threading.Barrier(number, timeout=30)
    answers: list[Answer] = []

    def send() -> None:
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
            barrier.wait()
            connection.sendall(request)
            begin = time.perf_counter()
            received = connection.recv(65536)
            took = time.perf_counter() - begin
            while b"\r\n\r\n" not in received:
                received += connection.recv(65536)
            lines = received.partition(b"\r\n\r\n")[0].decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:])
            while connection.recv(65536):
                pass
        answers.append(Answer(int(lines[0].split()[1]), headers, took * 1000))

    threads = [threading.Thread(target=send) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_what_the_queue_does_not_hold_is_refused_at_once(
    serve: Callable[..., Service],
    small_clip: bytes,
    figures: Callable[..., None],
    soak: bool,
) -> None:
    service = serve(MAX_QUEUE=QUEUE)
    assert service.post(small_clip).status_code == 200
    request = request_bytes(service, small_clip)
    with Sampler(f"{service.url}/health") as health:
        number = SOAK_SALVOS if soak else SALVOS
        salvos = [salvo(service, request, SENDERS) for _ in range(number)]
    answers = [answer for one in salvos for answer in one]
    statuses = Counter(answer.status for answer in answers)
    refused = sorted(a.milliseconds for a in answers if a.status != 200)
    figures(
        "refusals",
        posts=len(answers),
        accepted=statuses[200],
        refused=len(refused),
        refused_median_ms=round(refused[len(refused) // 2], 1),
        refused_slowest_ms=round(refused[-1], 1),
        health_samples=health.count,
        health_p50_ms=health.p50_ms,
        health_p99_ms=health.p99_ms,
        health_slowest_ms=health.max_ms,
    )
    assert set(statuses) <= {200, 429, 503}
    assert all(int(a.headers["retry-after"]) > 0 for a in answers if a.status != 200)
    for one in salvos:  # every salvo fills the queue, and none much more than that
        assert len(one) == SENDERS
        assert QUEUE <= sum(answer.status == 200 for answer in one) < 2 * QUEUE
    assert refused[-1] < REFUSED_WITHIN_MS
    assert health.p99_ms < HEALTH_P99_MS
    assert not health.wrong
    service.wait_until_no_media()
