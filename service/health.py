"""Health: what is there, what is loaded and whether recordings are taken. Loads nothing.

What the database knows is read at most every half second, whoever asks, and never waited for longer
than a second.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from dataclasses import asdict
from typing import Any

from flask import Blueprint, current_app
from flask.blueprints import BlueprintSetupState
from sqlalchemy.exc import SQLAlchemyError

import service
from service import networks
from service.jobs.intake import Jobs
from service.jobs.records import WorkerInfo
from service.settings import Settings
from syncnet_python import weights
from syncnet_python.results import CalibrationInfo

blueprint = Blueprint("health", __name__)

FRESH_S = 0.5
PATIENCE_S = 1.0

Workers = list[WorkerInfo] | None
"""The workers that have been seen; None where the database does not tell."""


class Pulse:
    """What the database last said of the workers. Safe to use from any thread.

    One thread reads for all who ask, so that a database that hangs holds nobody else up.
    """

    def __init__(self, read: Callable[[], list[WorkerInfo]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._answer: Future[list[WorkerInfo]] | None = None
        self._asked_at = 0.0

    def workers(self) -> Workers:
        """The workers, as they were at most FRESH_S ago."""
        with self._lock:
            old = time.monotonic() - self._asked_at > FRESH_S
            if self._answer is None or (self._answer.done() and old):
                self._answer = Future()
                self._asked_at = time.monotonic()
                reading = threading.Thread(target=self._ask, args=(self._answer,), daemon=True)
                reading.start()
            answer = self._answer
        try:
            return answer.result(PATIENCE_S)
        except (TooLate, SQLAlchemyError):
            return None

    def _ask(self, answer: "Future[list[WorkerInfo]]") -> None:
        try:
            answer.set_result(self._read())
        except Exception as error:
            answer.set_exception(error)


@blueprint.get("/health")
def health() -> dict[str, Any]:
    extensions = current_app.extensions
    pulse: Pulse = extensions["pulse"]
    return report(extensions["settings"], pulse.workers(), extensions["calibration"])


@blueprint.get("/api/avsync/health")
def avsync_health() -> dict[str, Any]:
    python_service = health()
    return {
        "status": python_service["status"],
        "service": "avsync",
        "python_service": python_service,
    }


@blueprint.get("/health/live")
def live() -> dict[str, Any]:
    """The process answers; nothing else is looked at."""
    return {"status": "alive"}


@blueprint.get("/health/ready")
def ready() -> tuple[dict[str, Any], int]:
    """Whether a recording sent now would be scored; 503 with the reasons where it would not."""
    extensions = current_app.extensions
    pulse: Pulse = extensions["pulse"]
    settings: Settings = extensions["settings"]
    reasons = why_not_ready(
        pulse.workers(),
        draining=extensions["draining"](),
        # Workers on other machines have weights of their own.
        weights_there=not settings.local_worker or networks.can_score(settings),
    )
    if reasons:
        return {"status": "not_ready", "reasons": reasons}, 503
    return {"status": "ready", "reasons": []}, 200


@blueprint.record_once
def _listen(state: BlueprintSetupState) -> None:
    jobs: Jobs = state.app.extensions["jobs"]
    state.app.extensions["pulse"] = Pulse(jobs.store.workers)


def why_not_ready(workers: Workers, *, draining: bool, weights_there: bool) -> list[str]:
    """draining: the process is told to end; database: it does not answer; no_worker: none is
    alive; weights: too few of the networks that the settings choose are here to measure
    anything."""
    reasons = ["draining"] if draining else []
    if workers is None:
        reasons.append("database")
    elif not any(worker.alive for worker in workers):
        reasons.append("no_worker")
    if not weights_there:
        reasons.append("weights")
    return reasons


def report(
    settings: Settings, workers: Workers, calibration: CalibrationInfo | None
) -> dict[str, Any]:
    """The body of GET /health.

    status: "degraded" where no worker is known to be alive, else "healthy". detectors: every
    network of the registry by name; available: its file is here, whose hash is checked when it is
    loaded; loaded: by a worker. syncnet_available: lip-sync can be scored with the model profile
    that is set. models_loaded: the first recording has been. calibration: the operator's, as every
    answer names it; None without one.
    """
    alive = [worker for worker in workers or [] if worker.alive]
    loaded = {name for worker in alive for name in worker.loaded}
    detectors = {
        name: {
            "role": row.role,
            "origin": row.origin,
            "available": networks.here(settings, name),
            "loaded": name in loaded,
        }
        for name, row in weights.registry().items()
    }
    choice = networks.chosen(settings)
    available = {name for name, detector in detectors.items() if detector["available"]}
    return {
        "status": "healthy" if alive else "degraded",
        "service": "syncnet-service",
        "version": service.__version__,
        "detectors": detectors,
        "syncnet_available": available.issuperset(choice.for_sync),
        "models_loaded": bool(loaded),
        "calibration": asdict(calibration) if calibration else None,
        "config": {
            "max_video_size_mb": settings.max_video_size_mb,
            "processing_timeout": settings.processing_timeout_seconds,
            "max_duration_s": settings.max_duration_seconds,
            "retention_seconds": settings.retention_seconds,
        },
    }
