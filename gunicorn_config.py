"""How gunicorn serves the application: `gunicorn app:app -c gunicorn_config.py`.

Everything an operator may choose is in `service.settings`; a wrong value ends here, in one line.
"""

from typing import Any

from service.settings import load_or_exit

_settings = load_or_exit()

bind = _settings.bind
workers = _settings.web_concurrency
worker_class = "gthread"
threads = _settings.web_threads
loglevel = _settings.log_level

# The deadline of the analysis ends a request; gunicorn's own clocks only end what hangs.
timeout = int(_settings.processing_timeout_seconds) + 30
graceful_timeout = int(_settings.processing_timeout_seconds) + 5

# `service.access` writes the line of each request, without paths and addresses.
accesslog = None

# No file in the home folder that nobody asked for.
control_socket_disable = True


def worker_exit(server: Any, worker: Any) -> None:
    """End the scoring processes of a web process that has answered its last request."""
    application = getattr(worker, "wsgi", None)
    if application is not None:
        from app import close

        close(application)
