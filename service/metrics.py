"""Figures for Prometheus: GET /metrics, counted over all processes of this machine.

Where the folder PROMETHEUS_MULTIPROC_DIR is set before this module is imported, as
gunicorn_config.py does, every process writes its figures into files there and the one that is
asked adds them up. Elsewhere a process counts for itself.

Labels hold values from fixed sets only: templates of routes, never paths; names of states, stages
and codes. Nothing that a client sends becomes one.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from flask import Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from service import access
from service.jobs.records import OPEN, WorkerInfo

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


class Queue(Protocol):
    """Where jobs and workers are counted: `service.jobs.store.JobStore`."""

    def counts(self) -> dict[str, int]: ...

    def workers(self) -> list[WorkerInfo]: ...


class QueueCollector(Collector):
    """How many jobs are open and how many workers alive, read when it is asked: the database
    knows it of all machines. Of a database that does not answer nothing is told but that."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily("syncnet_database_up", "Whether the database answers.")
        try:
            counts, workers = self._queue.counts(), self._queue.workers()
        except SQLAlchemyError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        jobs = GaugeMetricFamily("syncnet_jobs_open", "Jobs that wait or run.", labels=["state"])
        for state in OPEN:
            jobs.add_metric([state], counts.get(state, 0))
        yield jobs
        alive = GaugeMetricFamily("syncnet_workers_alive", "Workers heard of lately.")
        alive.add_metric([], sum(worker.alive for worker in workers))
        yield alive


def page(queue: Queue) -> bytes:
    """Everything, in Prometheus' text format."""
    if os.environ.get(FOLDER_VARIABLE):
        shown = CollectorRegistry()
        MultiProcessCollector(shown)  # type: ignore[no-untyped-call]
        of_processes = generate_latest(shown)
    else:
        of_processes = generate_latest(_own)
    of_queue = CollectorRegistry()
    of_queue.register(QueueCollector(queue))
    return of_processes + generate_latest(of_queue)


def register(app: Flask, queue: Queue) -> None:
    """Count every request, and answer GET /metrics. After `access.register`."""

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(page(queue), content_type=CONTENT_TYPE_LATEST)

    @app.after_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else OTHER
        seconds = access.elapsed_ms() / 1000 if "arrived" in g else 0.0
        observe_request(route, request.method, response.status_code, seconds)
        return response


def _word(value: str | None) -> str:
    """A label's value: as it is where it is a plain word, empty where there is none."""
    if not value:
        return ""
    return value if _WORD.fullmatch(value) else OTHER
