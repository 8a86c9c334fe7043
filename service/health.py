"""Health: what is there and what is loaded, told without loading anything."""

from dataclasses import asdict
from typing import Any

from flask import Blueprint, current_app

import service
from service.scorer import Scorer
from service.settings import Settings
from syncnet_python import profiles, weights
from syncnet_python.results import CalibrationInfo

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
def health() -> dict[str, Any]:
    extensions = current_app.extensions
    return report(extensions["settings"], extensions["scorer"], extensions["calibration"])


@blueprint.get("/api/avsync/health")
def avsync_health() -> dict[str, Any]:
    python_service = health()
    return {
        "status": python_service["status"],
        "service": "avsync",
        "python_service": python_service,
    }


def report(
    settings: Settings, scorer: Scorer, calibration: CalibrationInfo | None
) -> dict[str, Any]:
    """The body of GET /health.

    detectors: every network of the registry by name; available: its file is there, whose hash is
    checked when it is loaded; loaded: in a scoring process. syncnet_available: lip-sync can be
    scored with the model profile that is set. models_loaded: the first request has been.
    calibration: the operator's, as every answer names it; None without one.
    """
    loaded = scorer.loaded()
    detectors = {
        name: {
            "role": row.role,
            "origin": row.origin,
            "available": weights.locate(name, settings.models_dir, settings.weights_paths.get(name))
            is not None,
            "loaded": name in loaded,
        }
        for name, row in weights.registry().items()
    }
    choice = profiles.choose(settings.model_profile, settings.models_dir, settings.weights_paths)
    available = {name for name, detector in detectors.items() if detector["available"]}
    return {
        "status": "healthy",
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
        },
    }
