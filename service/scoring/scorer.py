"""Supervised scoring processes: the deadline really stops an analysis, a crash costs one request.

A worker imports nothing heavy. Each scoring process is a fresh interpreter running
`service.scoring.process`, with the networks loaded in it; it is killed and replaced when the
deadline passes or the analysis is cancelled, and replaced when it dies.
"""

import contextlib
import itertools
import logging
import os
import queue
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from pydantic import JsonValue

from service.scoring import channel
from syncnet_python.errors import AnalysisFailed, DeadlineExceeded
from syncnet_python.results import Verdict

log = logging.getLogger(__name__)

ENGINE = "service.scoring.engine:build"
"""Makes the engine of a scoring process, outside of tests."""

KEPT = re.compile(
    r"PATH|HOME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR"  # where things are, and in what words
    r"|LD_\w+|PYTHON\w+|VIRTUAL_ENV|GLIBC_TUNABLES|MALLOC_\w+"  # how programs are loaded
    r"|(OMP|GOMP|KMP|MKL|OPENBLAS|ONEDNN|DNNL|ATEN|TORCH|PYTORCH|CUDA|CUBLAS|CUDNN|NVIDIA)_\w+"
)
"""Names in the environment that a scoring process gets. It handles strangers' files, so it knows no
secret: whatever else is set here stays here."""


class Busy(DeadlineExceeded):
    """No scoring process was free in time, or none is left; the recording was not looked at."""

    code = "busy"
    advice = "Try again in a few seconds."


class ProcessDied(AnalysisFailed):
    """The scoring process ended in the middle of an analysis, for whatever reason."""


class Cancelled(Exception):
    """The analysis was ended because nobody wants it any more."""


class Scorer:
    """Scores files in child processes, one file at a time in each. Safe to use from any thread.

    build: "module:function" that makes the `service.scoring.process.Engine` in the child, from
    `options`; processes: how many children; threads: processor threads of each, 0 for all;
    preload: start the children and load their networks now instead of at the first request;
    log_level, log_format: of the children.
    """

    def __init__(
        self,
        options: Mapping[str, JsonValue],
        *,
        build: str = ENGINE,
        processes: int = 1,
        threads: int = 0,
        preload: bool = False,
        log_level: str = "info",
        log_format: str = "json",
    ) -> None:
        start = channel.Start(build=build, options=dict(options), preload=preload)
        logged = (log_level, log_format)
        self._slots = [_Slot(start, threads, logged) for _ in range(processes)]
        self._idle: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        for slot in self._slots:
            if preload:
                slot.start()
            self._idle.put(slot)

    def score(
        self,
        path: Path,
        reference: str,
        *,
        partial: bool,
        deadline: float,
        heatmap: bool = False,
        on_stage: Callable[[str], None] | None = None,
    ) -> Verdict:
        """Analyse one file.

        path: absolute; reference: names the analysis, in log lines and for `cancel`;
        partial: measure what can be measured of a recording that cannot be judged in full;
        heatmap: draw what in the most suspicious frame speaks for manipulation;
        deadline: on the clock of `time.monotonic`, waiting for a free process included;
        on_stage: called with the name of each stage as it begins.
        Returns the verdict, or the part that was ready when the deadline passed.
        Raises SyncNetError: what the analysis raised, Busy, DeadlineExceeded, ProcessDied;
        Cancelled.
        """
        order = channel.Score(
            number=next(self._numbers),
            path=path,
            reference=reference,
            partial=partial,
            heatmap=heatmap,
        )
        try:
            slot = self._idle.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise Busy("Other recordings are being analysed.") from None
        try:
            if time.monotonic() >= deadline:  # the process is not to die of it
                raise DeadlineExceeded("The time was up before the analysis began.")
            return slot.score(order, deadline, on_stage)
        finally:
            self._idle.put(slot)

    def cancel(self, reference: str) -> None:
        """End the analysis of that name at once, if it runs; its `score` raises Cancelled."""
        for slot in self._slots:
            slot.cancel(reference)

    def loaded(self) -> frozenset[str]:
        """Names of the networks that are loaded in any of the processes."""
        return frozenset[str]().union(*(slot.loaded for slot in self._slots))

    def close(self) -> None:
        """End every process before this one ends. None may be at work."""
        for slot in self._slots:
            slot.close()


class _Slot:
    """The place of one scoring process, and whichever process fills it now."""

    def __init__(self, start: channel.Start, threads: int, logged: tuple[str, str]) -> None:
        self._start = start
        self._threads = threads
        self._logged = logged
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._reference: str | None = None

    @property
    def loaded(self) -> tuple[str, ...]:
        child = self._child
        return child.loaded if child and child.alive else ()

    def start(self) -> "_Child":
        """The running process, started if there is none. Raises AnalysisFailed."""
        with self._lock:
            if self._child is None or not self._child.alive:
                try:
                    self._child = _Child(self._start, self._threads, self._logged)
                except OSError as error:
                    raise AnalysisFailed("No analysis process could be started.") from error
                # A replacement loads at once what its predecessor had loaded.
                self._start = self._start.model_copy(update={"preload": True})
            return self._child

    def score(
        self, order: channel.Score, deadline: float, on_stage: Callable[[str], None] | None
    ) -> Verdict:
        child = self.start()
        with self._lock:
            self._reference = order.reference
        try:
            return child.score(order, deadline, on_stage)
        finally:
            with self._lock:
                self._reference = None
            if not child.alive:  # replaced now, so that the next request finds it ready
                with contextlib.suppress(AnalysisFailed):
                    self.start()

    def cancel(self, reference: str) -> None:
        with self._lock:
            if self._child and self._reference == reference:
                self._child.cancel()

    def close(self) -> None:
        with self._lock:
            if self._child:
                self._child.kill()


@dataclass(frozen=True, slots=True)
class _Ended:
    """Heard last from every scoring process. reason: how it ended, in words."""

    reason: str


class _Child:
    """One scoring process, and the thread that hears what it says."""

    def __init__(self, start: channel.Start, threads: int, logged: tuple[str, str]) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "service.scoring.process", str(theirs.fileno()), *logged],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=_environment(threads),
                start_new_session=True,  # Ctrl-C in a terminal is for the web process to handle
            )
            self._connection = Connection(ours.detach())
        self._reports: queue.SimpleQueue[channel.About | _Ended] = queue.SimpleQueue()
        self.pid = self._process.pid
        self.loaded: tuple[str, ...] = ()
        self.alive = True
        self._cancelled = False
        threading.Thread(target=self._listen, name=f"scorer-{self.pid}", daemon=True).start()
        self._send(start)

    def score(
        self, order: channel.Score, deadline: float, on_stage: Callable[[str], None] | None
    ) -> Verdict:
        """As `Scorer.score`. The process is dead afterwards unless it has finished: what it says
        later is no answer to the next order."""
        finished: channel.Done | channel.Failed | Verdict | None = None
        try:
            self._send(order)
            finished = self._heard(order.number, deadline, on_stage)
        finally:
            if not isinstance(finished, channel.Done | channel.Failed):
                self.kill()
        match finished:
            case channel.Done():
                return finished.verdict
            case channel.Failed():
                raise channel.restore(finished)
            case partial:
                return partial

    def _heard(
        self, number: int, deadline: float, on_stage: Callable[[str], None] | None
    ) -> channel.Done | channel.Failed | Verdict:
        """What the analysis came to, or the part that was ready when the deadline passed.

        Raises DeadlineExceeded, ProcessDied, Cancelled.
        """
        partial: Verdict | None = None
        while True:
            try:
                heard = self._reports.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                if partial is None:
                    raise DeadlineExceeded("The analysis took longer than it may.") from None
                return partial
            if isinstance(heard, _Ended):
                if self._cancelled:
                    raise Cancelled
                raise ProcessDied(f"The analysis process {heard.reason}.")
            if heard.number != number:
                log.error("scoring process %d answered another order", self.pid)
                raise ProcessDied("The analysis process answered another order.")
            match heard.report:
                case channel.Stage(name=name):
                    if on_stage:
                        on_stage(name)
                case channel.Partial(verdict=verdict):
                    partial = verdict
                case finished:
                    return finished

    def cancel(self) -> None:
        self._cancelled = True
        self.kill()

    def kill(self) -> None:
        """End the process at once, whatever it is doing, and wait until it is gone."""
        self.alive = False
        self._process.kill()
        self._process.wait()

    def _send(self, order: channel.Start | channel.Score) -> None:
        with contextlib.suppress(OSError):  # it died meanwhile, as the listening thread tells
            channel.send(self._connection, order)

    def _listen(self) -> None:
        """Hear every report until the process ends, and make sure that it has."""
        try:
            while True:
                match channel.receive_report(self._connection):
                    case channel.Loaded(names=names):
                        self.loaded = names
                    case about:
                        self._reports.put(about)
        except ValueError:
            reason = "answered with something that is no report"
        except (EOFError, OSError):
            reason = "ended unexpectedly"
        asked_for = not self.alive
        self.kill()
        self._connection.close()
        if not asked_for:
            log.error(
                "scoring process %d %s (exit status %d)", self.pid, reason, self._process.returncode
            )
        self._reports.put(_Ended(reason))


def _environment(threads: int) -> dict[str, str]:
    """What of this process's environment is for a scoring process, with the import path and the
    numerical libraries' threads."""
    environment = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    # A thread that waits for another gives up the processor: spinning for what shares it makes an
    # analysis on a busy machine take two to three times as long.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if threads:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment[name] = str(threads)
    return environment
