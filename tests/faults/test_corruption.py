"""Damaged recordings: whatever is cut off or flipped, there is an answer and nobody dies of it."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from evaluation.samples import talking_clip
from faults.harness import Role, Service

pytestmark = pytest.mark.slow

CONTAINERS = {
    "webm": "webm-vp8-opus",
    "mp4": "mp4-h264-aac",
    "avi": "avi-mpeg4-pcm",
    "mpeg": "mpeg",
}
TRUNCATIONS, FLIPS = 125, 750  # of each container
PROCESSES = 4
"""More than there are cores: each waits for its next decoder to start, which takes most of the
time, while another one works."""
CLIENTS = 2 * PROCESSES
ROLES: tuple[Role, ...] = ("web", "worker", "scorer")
LONGEST_S = 10.0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(
        tmp_path_factory.mktemp("service"),
        SCORER_PROCESSES=PROCESSES,
        SCORER_THREADS=1,
        PRELOAD_MODELS="true",
    ) as service:
        yield service


@pytest.fixture(scope="module", params=CONTAINERS)
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A third of a second, too small for a face, so that decoding is what takes the time."""
    path = tmp_path_factory.mktemp("clips") / "clip"
    spec: dict[str, Any] = {"seconds": 0.32, "size": (64, 48)}
    talking_clip(path, container=CONTAINERS[request.param], sample_rate=16_000, **spec)
    return path.read_bytes()


def truncated(clip: bytes, draw: random.Random) -> bytes:
    return clip[: draw.randrange(1, len(clip))]


def flipped(clip: bytes, draw: random.Random) -> bytes:
    """One byte is another. Half of them are among the first, where the headers are."""
    damaged = bytearray(clip)
    reach = draw.choice([min(1024, len(clip)), len(clip)])
    damaged[draw.randrange(reach)] ^= draw.randrange(1, 256)
    return bytes(damaged)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("damage", "count"), [(truncated, TRUNCATIONS), (flipped, FLIPS)], ids=["cut", "flipped"]
)
def test_damaged_recordings_are_answered(
    service: Service,
    soak: bool,
    figures: Callable[..., None],
    request: pytest.FixtureRequest,
    clip: bytes,
    damage: Callable[[bytes, random.Random], bytes],
    count: int,
) -> None:
    service.post(clip)  # so that every process is there
    before = {role: service.pids(role) for role in ROLES}
    draw = random.Random(request.node.name)
    files = [damage(clip, draw) for _ in range(count * (10 if soak else 1))]

    def send(data: bytes) -> tuple[int, str, float]:
        begin = time.monotonic()
        answer = service.post(data)
        return answer.status_code, answer.json().get("code", ""), time.monotonic() - begin

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(send, files))
    statuses = Counter(status for status, _, _ in answers)
    slowest = max(took for _, _, took in answers)
    figures(
        request.node.callspec.id,
        sent=len(answers),
        slowest_s=round(slowest, 2),
        server_errors=sum(n for status, n in statuses.items() if status >= 500),
        codes=str(dict(Counter(code for _, code, _ in answers).most_common())),
    )
    assert set(statuses) <= {200, 415, 422}
    assert slowest < LONGEST_S
    assert {role: service.pids(role) for role in before} == before
