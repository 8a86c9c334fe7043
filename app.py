"""The WSGI application: wiring only. `gunicorn app:app -c gunicorn_config.py` serves it."""

import atexit
from typing import TYPE_CHECKING

from flask import Flask
from flask_cors import CORS

from service import (
    access,
    api,
    fcn_api,
    headers,
    health,
    history_api,
    jobs_api,
    keys,
    logs,
    metrics_page,
    openapi,
    problems,
    schemas,
    streams_api,
    tokens_api,
    uploads,
)
from service.jobs.intake import open_jobs
from service.page import views
from service.scoring.scorer import ENGINE
from service.settings import Settings, load

if TYPE_CHECKING:
    app: Flask


def create_app(settings: Settings | None = None, *, engine: str = ENGINE) -> Flask:
    """An application of its own, to be ended with `close`. Loads no weights.

    settings: read from the environment unless given; engine: "module:function" that makes what
    scores, see `service.scoring.scorer.Scorer`.
    Raises SettingsError; OSError or SQLAlchemyError where nothing can be kept.
    """
    settings = settings or load()
    logs.setup(settings.log_level, settings.log_format)
    app = Flask("syncnet-service", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["MAX_CONTENT_LENGTH"] = settings.max_video_bytes + schemas.MAX_FIELDS_BYTES
    # Also bounds the form parser's buffer: up to twice the 64 KiB that it reads at once.
    app.config["MAX_FORM_MEMORY_SIZE"] = 4 * 64 * 1024
    app.config["MAX_FORM_PARTS"] = 20
    jobs = open_jobs(settings, engine)
    keys.check_start(settings, jobs.engine)
    calibration = settings.calibration
    app.extensions["settings"] = settings
    app.extensions["jobs"] = jobs
    app.extensions["calibration"] = calibration.info if calibration else None
    app.extensions["draining"] = lambda: False  # the server knows better: see gunicorn_config.py
    uploads.register(app, uploads.UploadStore(settings.data_dir / "uploads", settings))
    access.register(app)
    keys.register(app, keys.Doorkeeper(settings, jobs.engine))
    headers.register(app)
    metrics_page.register(app, jobs.store)
    problems.register(app)
    interface = (api, fcn_api, jobs_api, history_api, tokens_api, streams_api, health, openapi)
    for module in (*interface, views):
        app.register_blueprint(module.blueprint)
    if settings.cors_origins:
        CORS(
            app,
            origins=list(settings.cors_origins),
            methods=["GET", "POST", "DELETE"],
            expose_headers=[
                *(access.HEADER, "ETag", "Location", "Retry-After"),
                *("Idempotency-Replayed", "Preference-Applied"),
            ],
        )
    return app


def close(app: Flask) -> None:
    """End the local worker and remove the uploads folder. May be called again."""
    app.extensions["supervisor"].close()
    app.extensions["jobs"].close()
    app.extensions["uploads"].close()


def __getattr__(name: str) -> Flask:
    """`app` is made when it is first asked for: importing this module writes nothing."""
    if name != "app":
        raise AttributeError(name)
    made = globals()["app"] = create_app()
    atexit.register(close, made)
    return made
