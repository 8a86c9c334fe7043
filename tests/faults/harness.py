"""The service as a user starts it, with its processes in reach.

`Service` is a real gunicorn on loopback with the real engine and the bundled networks, in a data
folder of its own. It is driven over HTTP, and its processes are found from the outside, in /proc.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx
from serving import ROOT, free_port

from faults import processes

START_S = 90.0
"""How long a start may take: on two busy cores the interpreters alone take seconds."""
STOP_S = 30.0
POLL_S = 0.05

ENDED = ("succeeded", "failed", "cancelled")

Role = Literal["web", "worker", "scorer", "decoder"]

_PROGRAMS = {
    "worker": "service.jobs.worker",
    "scorer": "service.scoring.process",
    "decoder": "decoding_process",
}

_ours: set[int] = set()  # started here on purpose, so no orphans


def clean_environment(folder: Path, **settings: object) -> dict[str, str]:
    """What a service is started with: nothing of this process's environment but where programs
    lie, then the settings by name."""
    kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
    return {
        **kept,
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        **{name: str(value) for name, value in settings.items()},
    }


def start(
    command: Sequence[str], environment: dict[str, str], log: Path, **options: Any
) -> "subprocess.Popen[bytes]":
    """A process of our own, in the checkout, that appends what it says to `log`."""
    processes.adopt_orphans()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            **options,
        )
    _ours.add(process.pid)
    return process


def orphans() -> list[int]:
    """Processes whose parents ended before them, and everything below them."""
    strays = [pid for pid in processes.children(os.getpid()) if pid not in _ours]
    processes.reap(strays)
    return processes.descendants(pid for pid in strays if processes.alive(pid))


class Service:
    """`python -m gunicorn app:app -c gunicorn_config.py` with settings from the environment.

    A context manager: entering waits until it is ready, leaving ends it and raises AssertionError
    where a process was left behind. Every limit is the default one, but that there is no rate
    limit; settings by name, such as MAX_QUEUE=8, change that.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        """folder: for the data and the log, both kept over restarts."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        given: dict[str, object] = {
            "HOST": "127.0.0.1",
            "PORT": self.port,
            "DATA_DIR": folder / "data",
            "MODEL_PROFILE": "bundled",
            "RATE_LIMIT_PER_MINUTE": 0,
            **settings,
        }
        self.data_dir = Path(str(given["DATA_DIR"]))
        self._environment = clean_environment(folder, **given)
        self._log = folder / "service.log"
        self._before: set[int] = set()
        self._master: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=self.url, timeout=120)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self.client.close()

    # Its life.

    def start(self) -> None:
        """Start it, and wait until it is ready. RuntimeError with the log where it does not."""
        self._before = set(processes.children(os.getpid()))
        command = [sys.executable, "-m", "gunicorn", "app:app", "-c", "gunicorn_config.py"]
        self._master = start(command, self._environment, self._log)
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def wait_ready(self, seconds: float = START_S) -> None:
        """Wait for a 200 from /health/ready."""
        until = time.monotonic() + seconds
        while not self.ready():
            if self._master is None or self._master.poll() is not None:
                raise RuntimeError(f"the service ended at start:\n{self.log()}")
            if time.monotonic() > until:
                raise RuntimeError(f"the service is not ready after {seconds:g} s:\n{self.log()}")
            time.sleep(POLL_S)

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> float:
        """End it as a service manager does, and return the seconds until its last process was
        gone. AssertionError where one is left after `STOP_S`; it is killed then."""
        if self._master is None:
            return 0.0
        begin = time.monotonic()
        family = self.family()
        self.terminate()
        left = processes.wait_until_gone(family, STOP_S)
        took = time.monotonic() - begin
        # Once more: what was started while the others ended.
        left = sorted({*left, *processes.wait_until_gone(self.family(), 1.0)})
        commands = {pid: " ".join(processes.command(pid)) for pid in left}
        self.kill()
        assert not left, f"left behind: {commands}\n{self.log()}"
        return took

    def terminate(self) -> None:
        """Ask it to end, as a service manager does, without waiting."""
        if self._master:
            processes.kill([self._master.pid], signal.SIGTERM)

    def kill(self) -> None:
        """End every process at once, as when the machine fails."""
        if self._master is None:
            return
        while family := self.family():
            processes.kill(family)
            if left := processes.wait_until_gone(family, 10.0):
                raise RuntimeError(f"processes {left} cannot be killed")
        self._master.wait()
        _ours.discard(self._master.pid)
        self._master = None

    def restart(self) -> None:
        """Stop it and start it again, on the same port and data."""
        self.stop()
        self.start()

    # Its processes.

    def family(self) -> list[int]:
        """Every process of the service that lives, those without a parent included."""
        if self._master is None:
            return []
        strays = [pid for pid in orphans() if pid not in self._before]
        found = processes.descendants([self._master.pid]) + strays
        return [pid for pid in dict.fromkeys(found) if processes.alive(pid)]

    def pids(self, role: Role) -> list[int]:
        """Process ids by what they do: the web processes, the worker that runs the jobs, the
        processes with the networks, the processes that decode or are about to."""
        if role == "web":
            master = self._master.pid if self._master else 0
            direct = set(processes.children(master))
            return [
                pid
                for pid in self.family()
                if pid in direct and any("gunicorn" in word for word in processes.command(pid))
            ]
        program = _PROGRAMS[role]
        return [p for p in self.family() if any(program in word for word in processes.command(p))]

    def log(self) -> str:
        """Everything that it has said, over restarts."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def news(self, lines: int = 60) -> list[str]:
        """The end of the log, without the requests that were answered."""
        told = [line for line in self.log().splitlines() if '"message": "request"' not in line]
        return told[-lines:]

    # What it is asked.

    def post(
        self,
        data: bytes | Path,
        name: str = "video.webm",
        *,
        route: str = "/score",
        headers: dict[str, str] | None = None,
        **form: str,
    ) -> httpx.Response:
        """Upload a recording, with form fields, and wait for the answer."""
        content = data.read_bytes() if isinstance(data, Path) else data
        return self.client.post(route, files={"video": (name, content)}, data=form, headers=headers)

    def submit(
        self,
        data: bytes | Path,
        name: str = "video.webm",
        *,
        headers: dict[str, str] | None = None,
        **form: str,
    ) -> httpx.Response:
        """Upload a recording without waiting for its verdict: a 202 with the job's address."""
        asked = {"Prefer": "respond-async", **(headers or {})}
        return self.post(data, name, headers=asked, **form)

    def job(self, job_id: str) -> httpx.Response:
        return self.client.get(f"/jobs/{job_id}")

    def wait(self, job_id: str, seconds: float = 60.0) -> dict[str, Any]:
        """Poll a job until it has ended, and return it. AssertionError when time is up."""
        until = time.monotonic() + seconds
        while True:
            answer = self.job(job_id)
            assert answer.status_code == 200, answer.text
            job: dict[str, Any] = answer.json()
            if job["state"] in ENDED:
                return job
            assert time.monotonic() < until, f"still {job}\n{self.news()}"
            time.sleep(2 * POLL_S)

    def media(self) -> list[Path]:
        """Recordings that lie in the data folder now, in any stage."""
        folders = [self.data_dir / name for name in ("uploads", "media", "scratch")]
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]

    def wait_until_no_media(self, seconds: float = 10.0) -> None:
        """AssertionError where some are still there when time is up."""
        until = time.monotonic() + seconds
        while left := self.media():
            assert time.monotonic() < until, f"left behind: {left}"
            time.sleep(POLL_S)


def job_id(answer: httpx.Response) -> str:
    """The job that a 202 tells of."""
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"].rpartition("/")[2]
