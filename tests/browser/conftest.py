"""Chromium with a person before its camera, services to visit, and visitors.

SCREENS=FOLDER keeps the pictures of the steps.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright, expect, sync_playwright
from serving import Server, free_port

from browser.gated import Gate
from browser.media import FakeCamera, fake_camera
from browser.visitor import LOCALES, Visitor

CHROMIUM = shutil.which("chromium")

APPLICATION = "browser.gated:make_app()"
SCORING = {"MODEL_PROFILE": "bundled", "PROCESSING_TIMEOUT_SECONDS": 120}
"""The application and settings of every service here that scores."""

KEY = "a key of twenty letters"
PATIENCE_MS = 20_000

Come = Callable[..., Visitor]


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Ends with the package: meanwhile nothing else in this thread can run an event loop."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium here")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def camera(tmp_path_factory: pytest.TempPathFactory) -> FakeCamera:
    """Somebody who speaks all the time."""
    return fake_camera(tmp_path_factory.mktemp("camera"), seed=1)


@pytest.fixture(scope="package")
def launch(playwright: Playwright) -> Iterator[Callable[..., Browser]]:
    """`launch(*arguments)`: a Chromium of its own."""
    started: list[Browser] = []

    def start(*arguments: str) -> Browser:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(arguments))
        started.append(browser)
        return browser

    yield start
    for browser in started:
        browser.close()


@pytest.fixture(scope="package")
def chromium(launch: Callable[..., Browser], camera: FakeCamera) -> Browser:
    """One whose owner allows the camera as soon as a page asks for it."""
    return launch("--use-fake-ui-for-media-stream", *camera.arguments())


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that asks nobody for a key."""
    with Server(tmp_path_factory.mktemp("server"), APPLICATION, **SCORING) as server:
        yield server


@pytest.fixture(scope="package")
def elsewhere() -> str:
    """The origin of somebody else's page."""
    return f"http://localhost:{free_port()}"


@pytest.fixture(scope="package")
def locked(tmp_path_factory: pytest.TempPathFactory, elsewhere: str) -> Iterator[Server]:
    """A service that needs `KEY`, and may be called from `elsewhere`."""
    needed = {"API_KEY": KEY, "ALLOW_ANONYMOUS": "false", "CORS_ORIGINS": elsewhere}
    with Server(tmp_path_factory.mktemp("locked"), APPLICATION, **SCORING, **needed) as server:
        yield server


@pytest.fixture(scope="package")
def screens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go."""
    kept = os.environ.get("SCREENS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("screens")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def gate(server: Server) -> Gate:
    """Holds analyses of `server`."""
    return Gate(server.data)


@pytest.fixture
def come(chromium: Browser, server: Server) -> Iterator[Come]:
    """`come(lang="es")`: a visitor of `server`, or of `url`, with `browser`; other fields are those
    of a browser's context. In the end none of them may have heard the browser complain."""
    visits: list[tuple[BrowserContext, Visitor]] = []

    def make(
        *, lang: str = "en", url: str | None = None, browser: Browser = chromium, **fields: Any
    ) -> Visitor:
        context = browser.new_context(locale=LOCALES[lang], **fields)
        context.set_default_timeout(PATIENCE_MS)
        visitor = Visitor(context, url or address(server), lang)
        visits.append((context, visitor))
        return visitor

    yield make
    complaints = [line for _, visitor in visits for line in visitor.complaints.unexpected()]
    for context, _ in visits:
        context.close()
    assert complaints == []


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """`serve(MAX_QUEUE_PER_KEY=1)`: a service with settings of its own."""
    started: list[Server] = []

    def make(**settings: object) -> Server:
        folder = tmp_path / f"service{len(started)}"
        folder.mkdir()
        server = Server(folder, APPLICATION, **SCORING, **settings)
        started.append(server.__enter__())
        return server

    yield make
    for server in started:
        server.__exit__(None, None, None)


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"
