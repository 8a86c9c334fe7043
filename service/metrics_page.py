"""GET /metrics: what this machine's processes counted, and what the database knows of them all."""

from collections.abc import Iterator
from typing import Protocol

from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from service import access, metrics
from service.jobs.records import OPEN, WorkerInfo


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
    registry = CollectorRegistry()
    registry.register(QueueCollector(queue))
    return metrics.counted() + generate_latest(registry)


def register(app: Flask, queue: Queue) -> None:
    """Count every request, and answer GET /metrics. After `access.register`."""

    @app.get("/metrics")
    def show() -> Response:
        return Response(page(queue), content_type=CONTENT_TYPE_LATEST)

    @app.after_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else metrics.OTHER
        seconds = access.elapsed_ms() / 1000 if "arrived" in g else 0.0
        metrics.observe_request(route, request.method, response.status_code, seconds)
        return response
