"""Services to be tried, recordings to try them with, and where the figures go.

FAULT_SOAK=1 asks for the long forms. FAULT_FIGURES=FILE keeps the figures, as JSON, for
`python -m benchmarks.reliability`.
"""

import datetime
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import describe
from evaluation.samples import talking_clip
from faults.harness import Service

SOAK = os.environ.get("FAULT_SOAK", "") not in ("", "0")

_FIGURES = pytest.StashKey[dict[str, dict[str, Any]]]()


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether the long forms are asked for."""
    return SOAK


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service with the default settings for all tests of a module."""
    with Service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """`serve(MAX_QUEUE=8)`: a service with settings of its own, ended with the test."""
    started: list[Service] = []

    def make(**settings: object) -> Service:
        folder = tmp_path / f"service{len(started)}"
        folder.mkdir()
        service = Service(folder, **settings)
        started.append(service)
        service.start()
        return service

    try:
        yield make
    finally:
        for service in reversed(started):
            try:
                service.stop()
                print("\n".join(service.news()))  # shown with a test that fails
            finally:
                service.client.close()


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A recording that is scored in full in about half a second: 1.2 s of 160 by 120 pixels,
    36 kB of MP4."""
    path = tmp_path_factory.mktemp("clips") / "small.mp4"
    talking_clip(path, seconds=1.2, size=(160, 120), container="mp4-h264-aac")
    return path.read_bytes()


@pytest.fixture(scope="session")
def brief_clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A recording that ends in `track_too_short` in about a tenth of a second, after decoding and
    looking for faces: 0.6 s of 160 by 120 pixels, 84 kB of WebM."""
    path = tmp_path_factory.mktemp("clips") / "brief.webm"
    talking_clip(path, seconds=0.6, size=(160, 120))
    return path.read_bytes()


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`figures("kills", count=60, slowest_s=4.2)`: keep what this test measured, under a name
    that is the test module's own. Call it before the assertions."""
    kept = request.config.stash.setdefault(_FIGURES, {})
    module = request.path.stem

    def record(name: str, **values: str | int | float) -> None:
        now = datetime.datetime.now(datetime.UTC)
        entry = kept.setdefault(
            module, {"date": f"{now:%Y-%m-%d}", "soak": SOAK, "machine": describe(), "figures": {}}
        )
        entry["figures"][name] = values
        print(f"{module}: {name}: {values}")

    return record


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Renew the figures of the modules that ran; those of the others stay."""
    target = os.environ.get("FAULT_FIGURES")
    kept = session.config.stash.get(_FIGURES, {})
    if target and kept:
        path = Path(target)
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(known | kept, indent=2, sort_keys=True) + "\n")
