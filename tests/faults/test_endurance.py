"""A thousand recordings later the service holds no more than after the hundredth."""

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from faults import processes
from faults.harness import Role, Service

SCORES = 1000
WARM = 100
FULL_EVERY = 10
"""In the short form every tenth recording is scored in full; the others end in a named error
after decoding and looking for faces."""
MAY_GROW_MIB = 30.0
CLIENTS = 2
POOL_DESCRIPTORS = 2 * 8 + 1
"""Eight connections are kept, each with the database and its log; the log's index is shared."""
ROLES: tuple[Role, ...] = ("web", "worker", "scorer")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(4 * 3600)]


def holdings(service: Service) -> dict[str, tuple[float, int]]:
    """Memory in MiB and open descriptors of each process, by role, when nothing is going on.

    Descriptors are the least of some looks: a connection that is just being closed is no leak.
    Those of the database are bounded by its pool, and not counted: one more connection is kept
    whenever more threads than before happen to want one at the same moment.
    """
    database = f"{service.data_dir.resolve()}/jobs.sqlite"
    held: dict[str, tuple[float, int]] = {}
    for role in ROLES:
        (pid,) = service.pids(role)
        looks = []
        for _ in range(20):
            there = processes.descriptors(pid)
            of_database = sum(name.startswith(database) for name in there)
            assert of_database <= POOL_DESCRIPTORS
            looks.append(len(there) - of_database)
            time.sleep(0.1)
        held[role] = (processes.resident_mb(pid), min(looks))
    return held


def send(service: Service, recordings: list[bytes]) -> Counter[int]:
    """Post them in order from a few clients, and count the answers by status."""
    left: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    for recording in recordings:
        left.put(recording)
    statuses: Counter[int] = Counter()

    def post() -> None:
        while True:
            try:
                recording = left.get_nowait()
            except queue.Empty:
                return
            statuses[service.post(recording).status_code] += 1

    clients = [threading.Thread(target=post) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return statuses


def test_a_thousand_scores_leave_nothing_behind(
    serve: Callable[..., Service],
    small_clip: bytes,
    brief_clip: bytes,
    figures: Callable[..., None],
    soak: bool,
) -> None:
    service = serve()
    recordings = [
        small_clip if soak or i % FULL_EVERY == 0 else brief_clip for i in range(1, SCORES + 1)
    ]
    begin = time.monotonic()
    statuses = send(service, recordings[:WARM])
    pids = {role: service.pids(role) for role in ROLES}
    before = holdings(service)
    statuses += send(service, recordings[WARM:])
    took = time.monotonic() - begin
    after = holdings(service)
    grown = {role: round(after[role][0] - before[role][0], 1) for role in ROLES}
    together = round(sum(grown.values()), 1)
    figures(
        "scores",
        posts=statuses.total(),
        scored_in_full=statuses[200],
        seconds=round(took),
        **{f"{role}_mib": round(before[role][0], 1) for role in ROLES},
        **{f"{role}_grown_mib": grown[role] for role in ROLES},
        grown_together_mib=together,
        **{f"{role}_descriptors": f"{before[role][1]} then {after[role][1]}" for role in ROLES},
    )
    full = sum(recording is small_clip for recording in recordings)
    assert statuses == Counter({200: full, 422: SCORES - full} if full < SCORES else {200: SCORES})
    assert {role: service.pids(role) for role in ROLES} == pids  # nothing was started anew
    assert max([together, *grown.values()]) < MAY_GROW_MIB
    assert {role: held for role, (_, held) in after.items()} == {
        role: held for role, (_, held) in before.items()
    }
    service.wait_until_no_media()
