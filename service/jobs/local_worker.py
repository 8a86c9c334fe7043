"""The worker of this machine: one process, started and replaced by one of the web processes."""

import contextlib
import fcntl
import logging
import os
import subprocess
import sys
import threading
import time

from service.scoring.scorer import ENGINE
from service.settings import Settings, as_json

log = logging.getLogger(__name__)

QUICK_S = 2.0
"""A worker that ends sooner than this is started again after a pause, longer each time."""

MAX_PAUSE_S = 10.0
END_S = 20.0
"""How long a worker may take to end when it is told to."""


class LocalWorker:
    """Keeps one worker running on this machine, whichever of the web processes it belongs to.

    They compete for a lock on the data folder. Who holds it starts the worker and replaces it when
    it dies; when the holder itself dies, its worker ends and another process takes its place.
    engine: "module:function", see `service.scoring.scorer.Scorer`.
    """

    def __init__(self, settings: Settings, engine: str = ENGINE) -> None:
        self._settings = settings
        self._engine = engine
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._process: subprocess.Popen[str] | None = None

    def ensure(self) -> None:
        """Start the worker unless that has been done."""
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._supervise, daemon=True)
                self._thread.start()

    def pid(self) -> int | None:
        """Process id of the worker, if this process holds one that runs."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def close(self) -> None:
        """End the worker, the job in hand being finished if that is soon. May be called again."""
        with self._lock:
            self._closing.set()
            process = self._process
        if process is None:
            return
        if process.stdin:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _supervise(self) -> None:
        lock = os.open(self._settings.data_dir / "worker.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # waits until no other web process holds it
            self._keep_running()
        finally:
            os.close(lock)

    def _keep_running(self) -> None:
        pause_s = 0.0
        while not self._closing.wait(pause_s) and (process := self._start()):
            begun = time.monotonic()
            status = process.wait()
            if process.stdin:
                with contextlib.suppress(OSError):
                    process.stdin.close()
            if self._closing.is_set():
                return
            log.error("the worker ended with status %d and is started again", status)
            lived_s = time.monotonic() - begun
            pause_s = min(MAX_PAUSE_S, 2 * pause_s or 0.5) if lived_s < QUICK_S else 0.0

    def _start(self) -> subprocess.Popen[str] | None:
        """The worker; None where the web process is ending."""
        with self._lock:
            if self._closing.is_set():
                return None
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "service.jobs.worker", "--supervised"],
                stdin=subprocess.PIPE,
                text=True,
                env=environment,
                start_new_session=True,  # Ctrl-C in a terminal is for the web process to handle
            )
            with contextlib.suppress(OSError):  # it died meanwhile, as its status tells
                if process.stdin:
                    process.stdin.write(f"{as_json(self._settings)}\n{self._engine}\n")
                    process.stdin.flush()
            return process
