"""Figures for Prometheus, counted over all processes of this machine.

Where the folder PROMETHEUS_MULTIPROC_DIR is set before this module is imported, as
gunicorn_config.py does, every process writes its figures into files there and the one that is
asked adds them up. Elsewhere a process counts for itself.

Labels hold values from fixed sets only: templates of routes, never paths; names of states, stages
and codes. Nothing that a client sends becomes one.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

OTHER = "other"
"""The label of a value that is none of those expected."""

_RESERVED_BYTES = 128 * 1024
"""Of one file: more than twice what every route, status and stage there is takes."""

_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})
_WORD = re.compile(r"[A-Za-z_]{1,40}")
_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120)


def _reserve() -> None:
    """Take the room for this process's files now. They are written through memory, and a process
    that writes where the disk has no room left is killed (SIGBUS)."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        for kind in ("counter", "histogram"):
            with Path(folder, f"{kind}_{os.getpid()}.db").open("ab") as file:
                if not file.tell():
                    file.write(bytes(_RESERVED_BYTES))


_reserve()
_own = CollectorRegistry()
_requests = Counter(
    "syncnet_requests",
    "Requests answered.",
    ("route", "method", "status"),
    registry=_own,
)
_request_seconds = Histogram(
    "syncnet_request_seconds",
    "From the first byte of a request's headers to its answer's headers.",
    ("route",),
    buckets=(0.005, 0.01, 0.025, 0.05, *_SECONDS),
    registry=_own,
)
_uploaded = Counter("syncnet_upload_bytes", "Bytes of recordings received.", registry=_own)
_jobs = Counter(
    "syncnet_jobs",
    "Jobs ended, by end state; succeeded ones by risk level, failed ones by code.",
    ("state", "risk", "code"),
    registry=_own,
)
_job_seconds = Histogram(
    "syncnet_job_seconds",
    "From a job's arrival to its end, waiting included.",
    ("state",),
    buckets=_SECONDS,
    registry=_own,
)
_stage_seconds = Histogram(
    "syncnet_stage_seconds",
    "Time that one stage of an analysis took.",
    ("stage",),
    buckets=(0.01, 0.025, 0.05, *_SECONDS),
    registry=_own,
)


def observe_request(route: str, method: str, status: int, seconds: float) -> None:
    """A request was answered. route: the template, or "other" where no route fits."""
    _requests.labels(route, method if method in _METHODS else OTHER, str(status)).inc()
    _request_seconds.labels(route).observe(seconds)


def observe_upload(size: int) -> None:
    """A recording of `size` bytes was received, whole or in part."""
    _uploaded.inc(size)


def observe_job(
    state: str,
    risk: str | None,
    seconds: float,
    *,
    code: str | None = None,
    stages: Mapping[str, float] | None = None,
) -> None:
    """A job has ended. risk: of a succeeded one; code: of a failed one's error; seconds: since it
    arrived; stages: seconds by name."""
    _jobs.labels(_word(state), _word(risk), _word(code)).inc()
    _job_seconds.labels(_word(state)).observe(seconds)
    for stage, took in (stages or {}).items():
        _stage_seconds.labels(_word(stage)).observe(took)


def counted() -> bytes:
    """What has been counted, in Prometheus' text format."""
    if not os.environ.get(FOLDER_VARIABLE):
        return generate_latest(_own)
    shown = CollectorRegistry()
    MultiProcessCollector(shown)  # type: ignore[no-untyped-call]
    return generate_latest(shown)


def _word(value: str | None) -> str:
    """A label's value: as it is where it is a plain word, empty where there is none."""
    if not value:
        return ""
    return value if _WORD.fullmatch(value) else OTHER
