"""Start the service as a user would, and drive it over HTTP."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
GUNICORN = Path(sys.executable).with_name("gunicorn")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def children(pid: int) -> list[int]:
    """Process ids of a process's children, on any of its threads."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, task.read_text().split())
    return found


class Server:
    """`gunicorn APPLICATION -c gunicorn_config.py` with settings from the environment.

    A context manager: entering waits until it answers, leaving ends it.
    """

    def __init__(self, folder: Path, application: str = "app:app", **settings: object) -> None:
        """folder: for the log and, in data/, for what the service keeps; application: as gunicorn
        takes it, from the checkout or its tests; settings: by name, such as VIDEO_ROOT."""
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.port = free_port()
        self._application = application
        self._environment = {
            **os.environ,
            "PORT": str(self.port),
            "DATA_DIR": str(self.data),
            "PYTHONPATH": str(TESTS),
            **{name: str(value) for name, value in settings.items()},
        }

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [GUNICORN, self._application, "-c", "gunicorn_config.py"],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=120)
        try:
            self._wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _wait(self) -> None:
        """Until it answers; RuntimeError with its log where it ends instead."""
        while self.process.poll() is None:
            try:
                self.client.get("/health")
            except (httpx.NetworkError, httpx.RemoteProtocolError):  # it does not listen yet
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"the server ended at start:\n{self.log.read_text()}")

    def wait_ready(self) -> None:
        """Until a recording would be scored: its worker starts later than it answers."""
        while self.client.get("/health/ready").status_code != 200:
            time.sleep(0.05)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def worker(self) -> int:
        """Process id of the one web process."""
        (pid,) = children(self.process.pid)
        return pid

    def post(
        self,
        content: bytes,
        *,
        url: str = "/score",
        name: str = "recording.webm",
        headers: dict[str, str] | None = None,
        **fields: str,
    ) -> httpx.Response:
        """Upload a recording, with form fields."""
        return self.client.post(url, files={"video": (name, content)}, data=fields, headers=headers)

    def stored(self) -> list[Path]:
        """Recordings that lie anywhere: those that come in, and those of jobs."""
        folders = (self.data / "uploads", self.data / "media")
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]
