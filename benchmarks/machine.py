"""What a figure was measured on. Figures of two machines are never compared without it."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Processor, cores, memory, system and the versions that decide the speed."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "av", "opencv-python-headless")},
    }


def peak_mb(pid: int) -> float:
    """Highest resident memory, in MB, of a process so far (Linux)."""
    return _status(pid)["VmHWM"] / 1024


def children(pid: int) -> list[int]:
    """Direct and further children of a process (Linux)."""
    # Each thread of a process lists the children it started itself.
    listings = Path(f"/proc/{pid}/task").glob("*/children")
    direct = [int(child) for listing in listings for child in listing.read_text().split()]
    return direct + [grandchild for child in direct for grandchild in children(child)]


def _status(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {
        key: int(value.split()[0])
        for key, _, value in (line.partition(":") for line in lines)
        if key.startswith("Vm")
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "?")
