"""How gunicorn serves the application: `gunicorn app:app -c gunicorn_config.py`.

Everything an operator may choose is in `service.settings`; a wrong value ends here, in one line.
"""

import contextlib
import gc
import os
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from service import logs
from service.settings import SettingsError, load_or_exit
from service.starting import announcement, check_networks

_settings = load_or_exit()
logs.setup(_settings.log_level, _settings.log_format)

# Set before anything imports prometheus_client, here or in a process that is started from here.
_metrics = _settings.metrics_dir
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics)

bind = _settings.bind
workers = _settings.web_concurrency
worker_class = "service.web_server.DrainingWorker"
logger_class = "service.web_server.Log"
threads = _settings.web_threads

_MAX_DESCRIPTORS = 65536
_OTHER_DESCRIPTORS = 128
"""What a web process opens beside its connections and one file for each thread: the database
above all."""


def _raise_descriptor_limit() -> int:
    """Descriptors that this process, and all that it starts, may have open from now on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    with contextlib.suppress(OSError, ValueError):  # the system has a limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


# Whoever connects, there are descriptors left for what is done with it.
worker_connections = max(
    threads, min(1000, _raise_descriptor_limit() - _OTHER_DESCRIPTORS - threads)
)
loglevel = _settings.log_level

# A connection that nothing comes in on costs no thread.
keepalive = 15
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190

# Every request ends by its own deadline; this clock is for a process that hangs as a whole.
timeout = 30

# Told to end, a web process has 15 seconds for the requests in hand; the local worker ends
# beside them. After 20 seconds what is left is killed.
graceful_timeout = 20
_GRACE_OF_REQUESTS_S = 15

# The sign of life of each web process: in memory, where a slow disk cannot hold it up.
if Path("/dev/shm").is_dir():  # noqa: S108
    worker_tmp_dir = "/dev/shm"  # noqa: S108

# `service.access` writes the line of each request, without paths and addresses.
accesslog = None

# No file in the home folder that nobody asked for.
control_socket_disable = True


def on_starting(server: Any) -> None:
    """Refuse to start, in one line, where networks that are set are not there, or there should be a
    key and is none; count from nought."""
    try:
        check_networks(_settings, scores=_settings.local_worker)
    except SettingsError as error:
        sys.exit(str(error))
    if not _settings.anonymous_allowed and _settings.api_key is None:
        _check_keys()
    _metrics.mkdir(mode=0o700, parents=True, exist_ok=True)
    counting = _counting(int(path.name) for path in Path("/proc").glob("[0-9]*"))
    for path in _metrics.glob("*.db"):
        if path.stem.rpartition("_")[2] not in counting:
            path.unlink(missing_ok=True)


def _counting(pids: Iterable[int]) -> set[str]:
    """Those of the processes that write into the metrics folder: `syncnet-service worker` runs on
    when this service is started anew."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if f" {_metrics}/" in Path(f"/proc/{pid}/maps").read_text(errors="replace"):
                found.add(str(pid))
    return found


def _check_keys() -> None:
    from service import keys
    from service.jobs import tables

    _settings.make_data_dir()
    engine = tables.open_engine(_settings.database)
    try:
        keys.check_start(_settings, engine)
    except SettingsError as error:
        sys.exit(str(error))
    finally:
        engine.dispose()  # a connection must not be shared with the processes that come


def post_worker_init(worker: Any) -> None:
    """The application is loaded: let it know when its process is told to end, and score."""
    from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]

    from service.web_server import announcing, broken_body

    worker.cfg.set("graceful_timeout", _GRACE_OF_REQUESTS_S)  # in this process only
    application = worker.wsgi
    application.wsgi_app = announcing(application.wsgi_app)
    application.register_error_handler(ParseException, broken_body)
    application.extensions["draining"] = lambda: not worker.alive
    if local_worker := application.extensions["jobs"].worker:
        local_worker.ensure()
    # What was loaded stays: to go through all of it in search of garbage would take a tenth of a
    # second, in which nobody is answered.
    gc.collect()
    gc.freeze()
    if worker.age == 1:  # the first process of this service, not one that replaces another
        _tell_people(worker.sockets)


def _tell_people(listeners: Iterable[Any]) -> None:
    """In a terminal only: what else reads standard error expects JSON."""
    addresses = [str(listener) for listener in listeners]
    if sys.stderr.isatty() and addresses[0].startswith("http"):  # a Unix socket has no page
        print(announcement(addresses[0]), file=sys.stderr, flush=True)


def worker_exit(server: Any, worker: Any) -> None:
    """A web process has answered its last request: end the local worker, if it is its own."""
    application = getattr(worker, "wsgi", None)
    if application is not None:
        from app import close

        close(application)
