"""What runs in a scoring process: build the engine once, then score one file after another.

Started by `service.scoring.scorer` as `python -m service.scoring.process FD LOG_LEVEL LOG_FORMAT`,
where FD is its end of a socket. It ends when the worker closes the other end or dies, however that
happens.
"""

import importlib
import logging
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol, cast

from pydantic import JsonValue

from service import logs
from service.scoring import channel
from syncnet_python.errors import AnalysisFailed, SyncNetError
from syncnet_python.results import Verdict

log = logging.getLogger(__name__)


class Engine(Protocol):
    """What scores a file: `service.scoring.engine` outside of tests."""

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
        """Raises SyncNetError. on_partial is called with what to answer if time runs out,
        on_stage with the name of each stage as it begins."""
        ...

    def preload(self) -> None:
        """Load every network now. Raises ModelError."""
        ...

    def loaded(self) -> Iterable[str]:
        """Names of the networks that are loaded."""
        ...


def main(connection: Connection) -> None:
    """Serve orders until the other end is closed."""
    orders: queue.SimpleQueue[channel.Score] = queue.SimpleQueue()
    start = channel.receive_order(connection)
    if not isinstance(start, channel.Start):
        raise TypeError("the first order says how to start")
    threading.Thread(target=_listen, args=(connection, orders), daemon=True).start()
    engine = _Lazy(start)
    if start.preload:
        _preload(connection, engine)
    while True:
        _serve(connection, engine, orders.get())


def _listen(connection: Connection, orders: "queue.SimpleQueue[channel.Score]") -> None:
    """Pass orders on; end the process, whatever it is doing, when the worker is gone."""
    try:
        while isinstance(order := channel.receive_order(connection), channel.Score):
            orders.put(order)
    finally:
        os._exit(0)


class _Lazy:
    """The engine, built when it is first needed."""

    def __init__(self, start: channel.Start) -> None:
        self._start = start
        self._engine: Engine | None = None

    def get(self) -> Engine:
        if self._engine is None:
            module, _, function = self._start.build.partition(":")
            build = getattr(importlib.import_module(module), function)
            self._engine = cast("Callable[[dict[str, JsonValue]], Engine]", build)(
                self._start.options
            )
        return self._engine


def _preload(connection: Connection, lazy: _Lazy) -> None:
    """Load every network. What cannot be loaded is told again to every request that needs it."""
    try:
        engine = lazy.get()
        engine.preload()
        channel.send(connection, channel.Loaded(names=tuple(engine.loaded())))
    except SyncNetError as error:
        log.error("the networks could not be loaded: %s", error)
    except Exception as error:
        _log_breakage("loading the networks", error)


def _serve(connection: Connection, lazy: _Lazy, order: channel.Score) -> None:
    def tell(report: channel.Stage | channel.Partial | channel.Done | channel.Failed) -> None:
        channel.send(connection, channel.About(number=order.number, report=report))

    def on_partial(verdict: Verdict) -> None:
        tell(channel.Partial(verdict=verdict))

    def on_stage(name: str) -> None:
        tell(channel.Stage(name=name))

    try:
        engine = lazy.get()
        verdict = engine.score(
            order.path,
            order.reference,
            partial=order.partial,
            heatmap=order.heatmap,
            on_partial=on_partial,
            on_stage=on_stage,
        )
        channel.send(connection, channel.Loaded(names=tuple(engine.loaded())))
        tell(channel.Done(verdict=verdict))
    except SyncNetError as error:
        tell(channel.describe(error))
    except Exception as error:
        _log_breakage(f"analysis {order.reference}", error)
        broke = AnalysisFailed(f"The analysis broke ({type(error).__name__}).")
        tell(channel.describe(broke))


def _log_breakage(what: str, error: Exception) -> None:
    """Log where something broke, without the exception's own text: it may quote the file."""
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s broke with %s:\n%s", what, type(error).__name__, where)


if __name__ == "__main__":
    # Stopping is the worker's to decide: a service manager signals every process it started,
    # and the analysis in hand must still be answered. SIGKILL and a closed socket end this one.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logs.setup(sys.argv[2], "text" if sys.argv[3] == "text" else "json")
    main(Connection(int(sys.argv[1])))
