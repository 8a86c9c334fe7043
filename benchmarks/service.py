"""Seconds and memory of the service as a user meets it: gunicorn, HTTP, real clips.

The parts are timed inside one run of one server: the first request (which loads the networks),
then warm requests, of which the median is reported beside the fastest.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.machine import children, peak_mb
from evaluation.samples import talking_clip

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 5
START_S = 30.0


def measure(example: Path | None) -> dict[str, Any]:
    """Figures of one server. example: a longer real recording, such as SyncNet's own."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "browser.webm"
        talking_clip(clip, seconds=4.0, container="webm-vp8-opus", live=True)
        clips = {"webm_4s": clip} | ({"syncnet_example": example} if example else {})
        with server() as (process, url), httpx.Client(base_url=url, timeout=120) as client:
            figures: dict[str, Any] = {"first_request_s": _seconds(client, clip)[0]}
            for name, path in clips.items():
                runs = [_seconds(client, path) for _ in range(REPEATS)]
                figures[name] = {
                    "median_s": round(statistics.median(s for s, _ in runs), 3),
                    "fastest_s": min(s for s, _ in runs),
                    "timings_ms": runs[-1][1],
                }
            health = [_timed(lambda: client.get("/health"))[0] for _ in range(20)]
            figures["health_ms"] = round(statistics.median(health) * 1000, 2)
            family = [process.pid, *children(process.pid)]
            figures["peak_memory_mb"] = {
                "processes": {str(i): round(peak_mb(pid), 1) for i, pid in enumerate(family)},
                "largest": round(max(peak_mb(pid) for pid in family), 1),
            }
    return figures


@contextmanager
def server() -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """A gunicorn of our own on a free port, as `make serve` starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "gunicorn", "app:app", "-c", "gunicorn_config.py"]
    with tempfile.TemporaryDirectory() as folder:
        settings = {"PORT": str(port), "HOST": "127.0.0.1", "LOG_LEVEL": "warning"}
        environment = os.environ | settings | {"DATA_DIR": folder}
        process = subprocess.Popen(command, cwd=ROOT, env=environment)
        try:
            _wait_until_ready(process, url)
            yield process, url
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{url}/health/ready", timeout=2).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the server did not answer within {START_S:g} s")


def _seconds(client: httpx.Client, clip: Path) -> tuple[float, dict[str, float]]:
    def post() -> httpx.Response:
        with clip.open("rb") as file:
            return client.post("/score", files={"video": file}).raise_for_status()

    seconds, response = _timed(post)
    return seconds, response.json()["timings_ms"]


def _timed(call: Any) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = call()
    return round(time.perf_counter() - begin, 4), result
