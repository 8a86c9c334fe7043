"""A service that is told to end takes no more, ends in time, and loses nothing it accepted."""

import threading
import time
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from faults import processes
from faults.harness import Service, job_id
from faults.ledger import Ledger
from faults.senders import Senders

ROUNDS = 3
SOAK_ROUNDS = 50
NOT_READY_WITHIN_S = 1.0
GONE_WITHIN_S = 25.0
SENDERS = 8
WAITING = 4

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(3600)]


class Waiting:
    """Clients that post and wait for the verdict, as browsers do, each time on a connection of
    their own."""

    def __init__(self, service: Service, recording: bytes, number: int) -> None:
        self._service = service
        self._recording = recording
        self._ended = threading.Event()
        self.outcomes: Counter[str] = Counter()
        self.promised: list[str] = []  # jobs that were still to be done when they were let go
        self._threads = [threading.Thread(target=self._run) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                answer = self._service.post(self._recording, headers={"Connection": "close"})
                self.outcomes[str(answer.status_code)] += 1
                if answer.status_code == 202:
                    self.promised.append(job_id(answer))
            except httpx.ConnectError:  # nobody listens any more
                self.outcomes["no connection"] += 1
                return
            except httpx.TransportError:
                self.outcomes["broken"] += 1

    def join(self) -> Counter[str]:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        return self.outcomes


def seconds_until_not_ready(service: Service, patience_s: float = 10.0) -> float:
    """How long /health/ready still says 200, asked on new connections."""
    begin = time.monotonic()
    while service.ready():
        assert time.monotonic() - begin < patience_s
    return time.monotonic() - begin


def test_nothing_accepted_is_lost_when_the_service_is_told_to_end(
    serve: Callable[..., Service],
    small_clip: bytes,
    figures: Callable[..., None],
    soak: bool,
) -> None:
    service = serve(MAX_QUEUE=64, MAX_QUEUE_PER_KEY=64)
    assert service.post(small_clip).status_code == 200
    not_ready: list[float] = []
    gone: list[float] = []
    unfinished: list[int] = []
    promised: list[str] = []
    outcomes: Counter[str] = Counter()
    with Ledger(f"sqlite:///{service.data_dir}/jobs.sqlite") as ledger:
        for _ in range(SOAK_ROUNDS if soak else ROUNDS):
            with Senders(service, small_clip, SENDERS) as senders:
                waiting = Waiting(service, small_clip, WAITING)
                while len(ledger.open()) < SENDERS or not ledger.running():
                    time.sleep(0.02)
                family = service.family()
                begin = time.monotonic()
                service.terminate()
                not_ready.append(seconds_until_not_ready(service))
                left = processes.wait_until_gone(family, GONE_WITHIN_S + 5)
                gone.append(time.monotonic() - begin)
                assert not left, f"{[processes.command(pid) for pid in left]}\n{service.log()}"
                senders.give_up()
            outcomes += waiting.join()
            told = senders.ids() + waiting.promised
            promised += told
            unfinished.append(len(ledger.open()))
            service.stop()
            service.start()
            for promise in told:
                service.wait(promise)
        states = Counter(row.state for row in ledger.rows().values())
        kept = ledger.some(promised)
    figures(
        "stops",
        rounds=len(gone),
        slowest_not_ready_s=round(max(not_ready), 2),
        slowest_gone_s=round(max(gone), 1),
        promised=len(promised),
        unfinished_at_the_stops=", ".join(map(str, unfinished)),
        **{f"jobs_{state}": count for state, count in states.items()},
        **{f"waiting_{outcome}": count for outcome, count in outcomes.items()},
    )
    assert max(not_ready) < NOT_READY_WITHIN_S
    assert max(gone) < GONE_WITHIN_S
    assert len(kept) == len(promised) == len(set(promised))
    assert set(states) == {"succeeded"}
    assert set(outcomes) <= {"200", "202", "503", "no connection"}
    service.wait_until_no_media()
