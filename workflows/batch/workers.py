"""The files of a batch in processes of this machine, one for each worker, networks loaded once in
each. A process that dies costs its file one more try, and no other file anything.
"""

import errno
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, field

from pydantic import JsonValue

from service.scoring.scorer import Cancelled, ProcessDied, Scorer
from service.settings import Settings
from syncnet_python import profiles, weights
from syncnet_python.errors import (
    AnalysisFailed,
    CalibrationError,
    ModelError,
    RecordingError,
)
from syncnet_python.results import Verdict
from workflows.batch.results import Outcome
from workflows.batch.running import Order, Plan

BUILD = "workflows.batch.engine:build"
"""Makes the engine of a worker, outside of tests."""

MEASURING = (
    "device",
    "precision",
    "min_track_frames",
    "min_face_size",
    "max_frames",
    "syncnet_weight",
    "efficientnet_weight",
)
"""Settings that a verdict depends on beside the networks and the calibration."""

TRIES = 2
"""How often a file is begun whose process dies."""

MEMORY_GB = 1.0
"""What one worker may need, networks and recording together."""

_ANY_MB = 1024.0 * 1024.0
_LOOK_S = 0.05


class WorkerDied(AnalysisFailed):
    """The process that scored a file ended in the middle of it, each time that it was tried."""

    code = "worker_died"
    advice = "See that there is memory enough (fewer --max-workers), and run the batch again."


class UnusableName(RecordingError):
    """A file's name is no text."""

    code = "unusable_name"
    advice = "Give the file a name in UTF-8."


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def default_workers() -> int:
    """One a core, as far as there is memory for them."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return max(1, min(cores(), int(memory_gb / MEMORY_GB)))


def default_threads(workers: int) -> int:
    """Each worker's share of the cores."""
    return max(1, cores() // workers)


@dataclass(frozen=True, slots=True)
class Work:
    """How files are scored here.

    workers: files at once; threads: processor threads of each worker; timeout_s: for one file;
    partial: measure what can be measured of recordings that are not whole; network, options: as
    for `SyncNetWrapper`.
    """

    workers: int
    threads: int
    timeout_s: float = 600.0
    partial: bool = False
    network: profiles.Network | None = None
    options: profiles.Options = field(default_factory=profiles.Options)


def plan(settings: Settings, work: Work) -> Plan:
    """What the outcomes depend on: networks by hash, settings, and what is chosen beside them.

    Raises OptionRefused for what does not apply to the networks.
    """
    paths = settings.weights_paths
    choice = profiles.choose(settings.model_profile, settings.models_dir, paths, work.network)
    work.options.check(choice)
    networks = {}
    for name in choice.names:
        row = weights.entry(name)
        there = weights.locate(name, settings.models_dir, paths.get(name))
        networks[name] = (row.sha256 or row.git_blob or row.version) if there else "missing"
    calibration = settings.calibration
    options = {
        "networks": networks,
        "calibration": calibration.info.sha256 if calibration else None,
        **{name: getattr(settings, name) for name in MEASURING},
        "network": work.network,
        **asdict(work.options),
        "partial": work.partial,
    }
    about = {
        "workers": work.workers,
        "threads_per_worker": work.threads,
        "timeout_seconds": work.timeout_s,
    }
    return Plan("processes", options, about)


def score(
    orders: Sequence[Order],
    settings: Settings,
    work: Work,
    *,
    log_level: str = "critical",
    build: str = BUILD,
) -> Generator[Outcome, None, None]:
    """A `workflows.batch.running.Score`. Closing it ends every process.

    log_level: of the processes, which say on standard error what breaks; build: as for `Scorer`.
    Raises ModelError and CalibrationError: every file would have them.
    """
    if not orders:
        return
    workers = min(work.workers, len(orders))
    scorer = Scorer(
        {
            "settings": _own_files(settings, work.timeout_s),
            "network": work.network,
            "options": asdict(work.options),
        },
        build=build,
        processes=workers,
        threads=work.threads,
        preload=True,
        log_level=log_level,
        log_format="text",
    )
    desk = _Desk(orders, scorer, work)
    try:
        desk.open(workers)
        for _ in orders:
            outcome = desk.outcomes.get()
            if isinstance(outcome.result, ModelError | CalibrationError):
                raise outcome.result
            yield outcome
    finally:
        desk.close()
        scorer.close()


def _own_files(settings: Settings, timeout_s: float) -> dict[str, JsonValue]:
    """Settings of the processes, without what guards a service against strangers' uploads: these
    files are the operator's own, and may have any size and take their time."""
    own = settings.model_copy(
        update={"max_video_size_mb": _ANY_MB, "decode_timeout_seconds": timeout_s}
    )
    return own.model_dump(mode="json", exclude=set(own.secrets()))


class _Desk:
    """Hands orders to the processes, as many at once as there are, and takes what comes back."""

    def __init__(self, orders: Sequence[Order], scorer: Scorer, work: Work) -> None:
        self.outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._orders = deque(orders)  # popping is safe from any thread
        self._scorer = scorer
        self._asked = work
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._running: dict[int, str] = {}  # references by place

    def open(self, places: int) -> None:
        for place in range(places):
            thread = threading.Thread(target=self._work, args=[place], daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """End what is being scored, and leave the rest."""
        self._closing.set()
        while any(thread.is_alive() for thread in self._threads):
            for reference in list(self._running.values()):
                self._scorer.cancel(reference)
            for thread in self._threads:
                thread.join(_LOOK_S)

    def _work(self, place: int) -> None:
        while not self._closing.is_set():
            try:
                order = self._orders.popleft()
            except IndexError:
                return
            self._running[place] = order.item.path.name
            try:
                self.outcomes.put(self._outcome(order))
            except Cancelled:
                return

    def _outcome(self, order: Order) -> Outcome:
        """Raises Cancelled."""
        clock = _Clock()
        result: Verdict | Exception
        try:
            result = self._scored(order, clock)
        except Cancelled:
            raise
        except Exception as error:  # whatever one file does, the others are still scored
            result = error
        return Outcome(order.item, order.key, result, clock.seconds())

    def _scored(self, order: Order, clock: "_Clock") -> Verdict:
        path = order.item.path
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise UnusableName("the file's name is not in UTF-8") from None
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, "no such file")
        for tries_left in reversed(range(TRIES)):
            try:
                return self._scorer.score(
                    path.resolve(),
                    path.name,
                    partial=self._asked.partial,
                    deadline=time.monotonic() + self._asked.timeout_s,
                    on_stage=clock.stage,
                )
            except ProcessDied as error:
                if not tries_left:
                    raise WorkerDied(f"{TRIES} times: {error.message}") from error
        raise AssertionError("the last try returns or raises")


class _Clock:
    """How long an analysis takes, from its first stage on: not the wait for its networks."""

    def __init__(self) -> None:
        self._began: float | None = None

    def stage(self, name: str) -> None:
        if self._began is None or name == "decode":
            self._began = time.monotonic()

    def seconds(self) -> float | None:
        return None if self._began is None else time.monotonic() - self._began
