"""The service with its real engine, which a test can hold at a stage for as long as it likes.

`gunicorn "browser.gated:make_app()"`. The gate is a folder beside the jobs' database: an analysis
that comes to a stage waits while a named pipe of that name lies there.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from pydantic import JsonValue

from service.scoring.process import Engine
from syncnet_python.results import Verdict

BUILD = "browser.gated:build"


class Gate:
    """data: the service's DATA_DIR."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "gate"

    @contextmanager
    def held(self, stage: str) -> Iterator[None]:
        """Meanwhile every analysis waits when that stage begins."""
        self._folder.mkdir(parents=True, exist_ok=True)
        pipe = self._folder / stage
        os.mkfifo(pipe)
        try:
            yield
        finally:
            # With an end to write to, whoever waits for one goes on; with that end closed, past.
            writing = os.open(pipe, os.O_RDWR)
            pipe.unlink()
            os.close(writing)

    def wait(self, stage: str) -> None:
        """Return as soon as nobody holds the stage."""
        with contextlib.suppress(FileNotFoundError), (self._folder / stage).open("rb") as pipe:
            pipe.read()


class GatedEngine:
    """An engine whose stages begin when the gate lets them."""

    def __init__(self, engine: Engine, gate: Gate) -> None:
        self._engine = engine
        self._gate = gate

    def preload(self) -> None:
        self._engine.preload()

    def loaded(self) -> tuple[str, ...]:
        return tuple(self._engine.loaded())

    def score(
        self,
        path: Path,
        reference: str,
        *,
        partial: bool,
        heatmap: bool,
        on_partial: Callable[[Verdict], None],
        on_stage: Callable[[str], None],
    ) -> Verdict:
        def begin(stage: str) -> None:
            on_stage(stage)
            self._gate.wait(stage)

        return self._engine.score(
            path,
            reference,
            partial=partial,
            heatmap=heatmap,
            on_partial=on_partial,
            on_stage=begin,
        )


def build(options: Mapping[str, JsonValue]) -> GatedEngine:
    from service.scoring import engine  # torch, which the web process does without

    return GatedEngine(engine.build(options), Gate(Path(str(options["data_dir"]))))


def make_app() -> Flask:
    """The application, set up from the environment."""
    from app import create_app

    return create_app(engine=BUILD)
