"""Processes, their children and what they hold, as /proc tells (Linux)."""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_PAUSE_S = 0.02


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent dies, so that none of
    them can slip away unseen."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this system has no subreapers")


def children(pid: int) -> list[int]:
    """Process ids of a process's children, on any of its threads; none when it is gone."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, task.read_text().split())
    return found


def descendants(pids: Iterable[int]) -> list[int]:
    """The processes themselves and everything below them, parents first."""
    found: list[int] = []
    waiting = list(pids)
    while waiting:
        pid = waiting.pop(0)
        found.append(pid)
        waiting += [child for child in children(pid) if child not in found]
    return found


def state(pid: int) -> str:
    """One letter, such as R, S, T (stopped) or Z (ended, not yet waited for); X when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "X"
    return stat.rpartition(")")[2].split()[0]


def alive(pid: int) -> bool:
    return state(pid) not in "XZ"


def command(pid: int) -> list[str]:
    """What the process was started with; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def resident_mb(pid: int) -> float:
    """Memory that is in use now, in MiB; what it shares with other processes is counted too."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def peak_mb(pid: int) -> float:
    """The most memory that was ever in use, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def descriptors(pid: int) -> list[str]:
    """Open files and sockets, by what they lead to."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since
            found.append(str(link.readlink()))
    return found


def kill(pids: Iterable[int], with_signal: int = signal.SIGKILL) -> None:
    """Signal those that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, with_signal)


def wait_until_gone(pids: Iterable[int], seconds: float) -> list[int]:
    """Wait, and return those that are left. Children of this process are waited for on the way."""
    until = time.monotonic() + seconds
    left = list(pids)
    while True:
        reap(left)
        left = [pid for pid in left if alive(pid)]
        if not left or time.monotonic() > until:
            return left
        time.sleep(_PAUSE_S)


def reap(pids: Iterable[int]) -> None:
    """Take note of the end of those that are children of this process."""
    for pid in pids:
        if state(pid) == "Z":
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
