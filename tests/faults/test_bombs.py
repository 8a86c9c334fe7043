"""Small files that grow when they are decoded: refused in time, with a bounded decoder."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faults import processes
from faults.harness import Role, Service
from faults.hostile_files import BOMBS

pytestmark = [pytest.mark.slow, pytest.mark.alone]

ROLES: tuple[Role, ...] = ("web", "worker", "scorer")
LONGEST_S = 5.0
MOST_MB = 400
_POLL_S = 0.005


class Watch:
    """The most memory that any decoding process of a service has had, looked at from outside."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._peaks_kb: dict[int, int] = {}

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def peak_mb(self) -> float:
        return max(self._peaks_kb.values()) / 1024

    def _look(self) -> None:
        stems = self._service.pids("decoder")
        while not self._ended.wait(_POLL_S):
            for pid in processes.descendants(stems):
                self._peaks_kb[pid] = max(self._peaks_kb.get(pid, 0), peak_kb(pid))
            if not all(map(processes.alive, stems)):
                stems = self._service.pids("decoder")


def peak_kb(pid: int) -> int:
    """The kernel's own account of a process's largest resident memory; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(
    service: Service, small_clip: bytes, figures: Callable[..., None], tmp_path: Path, name: str
) -> None:
    make, code = BOMBS[name]
    path = tmp_path / "bomb"
    make(path)
    service.post(small_clip)  # so that every process is there
    before = {role: service.pids(role) for role in ROLES}
    with Watch(service) as watch:
        begin = time.monotonic()
        answer = service.post(path)
        took = time.monotonic() - begin
    figures(
        name,
        code=answer.json()["code"],
        file_mb=round(path.stat().st_size / 1e6, 2),
        took_s=round(took, 2),
        decoder_peak_mb=round(watch.peak_mb),
    )
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert took < LONGEST_S
    assert watch.peak_mb < MOST_MB
    assert {role: service.pids(role) for role in before} == before
    assert service.post(small_clip).status_code == 200
