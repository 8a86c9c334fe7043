"""A scoring worker that is killed at any moment costs no job."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from faults import processes
from faults.harness import Role, Service
from faults.ledger import Ledger, Row
from faults.senders import Senders

KILLS = int(os.environ.get("FAULT_ROUNDS", "60"))
SOAK_KILLS = 10 * KILLS
RESUMED_WITHIN_S = 30.0
SPREAD_S = 2.0
"""A kill comes this long at most after the work has gone on: time enough to load the networks
and to score."""
SEED = 5
PAUSE_S = 0.05

pytestmark = [pytest.mark.slow, pytest.mark.timeout(4 * 3600)]


def victim(service: Service, role: Role) -> int:
    """The process of that role, waited for where it is just being started."""
    until = time.monotonic() + RESUMED_WITHIN_S
    while not (pids := service.pids(role)):
        assert time.monotonic() < until, f"no {role} came back\n{service.log()}"
        time.sleep(PAUSE_S)
    return pids[0]


def seconds_until_resumed(ledger: Ledger, interrupted: dict[str, Row], since: float) -> float:
    """How long it took from `since` (of `time.monotonic`) until each of the jobs had ended or
    was begun anew. AssertionError when it takes too long."""
    left = dict(interrupted)
    while left:
        took = time.monotonic() - since
        assert took < RESUMED_WITHIN_S, f"not resumed: {left}"
        for job_id, now in ledger.some(left).items():
            if now.ended or now.attempt > left[job_id].attempt:
                del left[job_id]
        time.sleep(PAUSE_S)
    return time.monotonic() - since


def test_every_job_survives_kills_at_random_moments(
    serve: Callable[..., Service],
    small_clip: bytes,
    figures: Callable[..., None],
    soak: bool,
) -> None:
    chance = random.Random(SEED)
    service = serve()
    assert service.post(small_clip).status_code == 200
    killed: Counter[str] = Counter()
    resumed: list[float] = []
    stages: Counter[str] = Counter()
    with Ledger(f"sqlite:///{service.data_dir}/jobs.sqlite") as ledger:
        with Senders(service, small_clip) as senders:
            for _ in range(SOAK_KILLS if soak else KILLS):
                role: Role = chance.choice(["worker", "scorer"])
                time.sleep(chance.uniform(0, SPREAD_S))
                pid = victim(service, role)
                interrupted = ledger.running()
                begin = time.monotonic()
                processes.kill([pid])
                killed[role] += 1
                stages["running" if interrupted else "idle"] += 1
                resumed.append(seconds_until_resumed(ledger, interrupted, begin))
        states = Counter(row.state for row in ledger.some(senders.ids()).values())
        attempts = max(row.attempt for row in ledger.some(senders.ids()).values())
    codes = Counter(p.job["error"]["code"] for p in senders.promises if p.job["state"] == "failed")
    figures(
        "kills",
        kills=sum(killed.values()),
        of_workers=killed["worker"],
        of_scorers=killed["scorer"],
        in_the_middle_of_a_job=stages["running"],
        jobs=len(senders.promises),
        succeeded=states["succeeded"],
        failed=", ".join(f"{count} {code}" for code, count in codes.items()) or 0,
        most_attempts=attempts,
        slowest_resumption_s=round(max(resumed), 1),
    )
    assert not senders.refused
    assert not senders.broken
    assert states.total() == len(senders.promises) == len(set(senders.ids()))
    assert set(states) <= {"succeeded", "failed"}
    assert stages["running"] > len(resumed) / 2  # the moments were well chosen
    for promise in senders.promises:  # the one result that was first told is the one that stays
        assert service.job(promise.id).json() == promise.job
    service.wait_until_no_media()
