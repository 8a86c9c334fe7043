"""What a worker and a scoring process say to each other: JSON messages over a socket.

The scoring process has handled a stranger's file, so what it says is parsed and checked here
like any outside input; nothing is unpickled.
"""

from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel

from syncnet_python import errors
from syncnet_python.results import Verdict

MAX_BYTES = 16 * 1024 * 1024
"""Largest message that is accepted, in bytes; a verdict on 30 seconds has about 50,000, and a
heat map adds as much, or four times that at worst."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Start(_Message):
    """To the scoring process, once: how to build its engine.

    build: dotted module and function, "module:function"; options: its one argument.
    """

    kind: Literal["start"] = "start"
    build: str
    options: dict[str, JsonValue]
    preload: bool


class Score(_Message):
    """To the scoring process: analyse this file.

    number: of this order, named in every report about it; reference: of the analysis, for log
    lines; partial: measure what can be measured; heatmap: draw the most suspicious frame.
    """

    kind: Literal["score"] = "score"
    number: int
    path: Path
    reference: str
    partial: bool
    heatmap: bool = False


class Loaded(_Message):
    """From the scoring process: the networks that it holds now, by name."""

    kind: Literal["loaded"] = "loaded"
    names: tuple[str, ...]


class Stage(_Message):
    """From the scoring process: what of the analysis begins now, by the names of timings_ms."""

    kind: Literal["stage"] = "stage"
    name: str


class Partial(_Message):
    """From the scoring process: what to answer should time run out before the rest is measured."""

    kind: Literal["partial"] = "partial"
    verdict: Verdict


class Done(_Message):
    """From the scoring process: the answer."""

    kind: Literal["done"] = "done"
    verdict: Verdict


class Failed(_Message):
    """From the scoring process: the error, by its class's name in `syncnet_python.errors`."""

    kind: Literal["failed"] = "failed"
    error: str
    message: str


class About(_Message):
    """From the scoring process: something about the order of that number, and about no other."""

    kind: Literal["about"] = "about"
    number: int
    report: Stage | Partial | Done | Failed = Field(discriminator="kind")


class Order(RootModel[Start | Score]):
    """What the scoring process may be told."""

    root: Start | Score = Field(discriminator="kind")


class Report(RootModel[Loaded | About]):
    """What the scoring process may say."""

    root: Loaded | About = Field(discriminator="kind")


def send(connection: Connection, message: _Message) -> None:
    connection.send_bytes(message.model_dump_json().encode())


def receive_order(connection: Connection) -> Start | Score:
    """Wait for the next order. Raises EOFError when the worker is gone."""
    return Order.model_validate_json(connection.recv_bytes(MAX_BYTES)).root


def receive_report(connection: Connection) -> Loaded | About:
    """Wait for the next report.

    Raises EOFError or OSError when the scoring process is gone, ValueError when what it says is
    no report.
    """
    return Report.model_validate_json(connection.recv_bytes(MAX_BYTES)).root


def describe(error: errors.SyncNetError) -> Failed:
    return Failed(error=type(error).__name__, message=error.message)


def restore(failed: Failed) -> errors.SyncNetError:
    """The error that was described, with its class and message; AnalysisFailed for a class that
    is not in the tree."""
    kinds = {kind.__name__: kind for kind in _tree(errors.SyncNetError)}
    return kinds.get(failed.error, errors.AnalysisFailed)(failed.message)


def _tree(kind: type[errors.SyncNetError]) -> Iterator[type[errors.SyncNetError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)
