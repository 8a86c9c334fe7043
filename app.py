"""The WSGI application: wiring only. `gunicorn app:app -c gunicorn_config.py` serves it."""

import atexit
import logging
import tempfile
from pathlib import Path

from flask import Flask
from flask_cors import CORS

from service import access, api, health, problems, uploads
from service.scorer import Scorer
from service.settings import Settings, load


def create_app(settings: Settings | None = None, scorer: Scorer | None = None) -> Flask:
    """An application of its own, to be ended with `close`. Loads no weights.

    settings: read from the environment unless given, which raises SettingsError; scorer: made
    from the settings unless given.
    """
    settings = settings or load()
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    app = Flask("syncnet-service", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["MAX_CONTENT_LENGTH"] = settings.max_video_bytes + api.MAX_FIELDS_BYTES
    # Also bounds the form parser's buffer: up to twice the 64 KiB that it reads at once.
    app.config["MAX_FORM_MEMORY_SIZE"] = 4 * 64 * 1024
    app.config["MAX_FORM_PARTS"] = 20
    app.extensions["settings"] = settings
    app.extensions["scorer"] = scorer or _scorer(settings)
    calibration = settings.calibration
    app.extensions["calibration"] = calibration.info if calibration else None
    folder = settings.temp_dir or Path(tempfile.gettempdir())
    uploads.register(app, uploads.UploadStore(folder, settings.max_video_bytes))
    access.register(app)
    problems.register(app)
    app.register_blueprint(api.blueprint)
    app.register_blueprint(health.blueprint)
    if settings.cors_origins:
        CORS(
            app,
            origins=list(settings.cors_origins),
            methods=["GET", "POST"],
            expose_headers=[access.HEADER, "Retry-After"],
        )
    return app


def close(app: Flask) -> None:
    """End the scoring processes and remove the uploads folder. May be called again."""
    app.extensions["scorer"].close()
    app.extensions["uploads"].close()


def _scorer(settings: Settings) -> Scorer:
    return Scorer(
        settings.model_dump(mode="json"),
        processes=settings.scorer_processes,
        threads=settings.scorer_threads,
        places=settings.scoring_places,
        preload=settings.preload_models,
        log_level=settings.log_level,
    )


app = create_app()
atexit.register(close, app)
