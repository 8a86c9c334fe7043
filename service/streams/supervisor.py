"""The processes that follow streams for this web process: started, heard, and ended."""

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from service.settings import Settings, as_json
from service.streams import messages
from service.streams.messages import Broken, Order, Wanted
from service.streams.store import StreamStore
from syncnet_python.errors import AnalysisFailed

log = logging.getLogger(__name__)

PROGRAM = "service.streams.process"

BEAT_S = 1.0
"""How often it is looked whether a stream is wanted still."""

END_S = 5.0
"""How long a process may take to end when it is told to."""


@dataclass(eq=False)
class _Followed:
    """A stream and its process. ending: it was told to end; over: it has; told: and that is
    written down."""

    id: str
    process: "subprocess.Popen[str]"
    ending: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    told: threading.Event = field(default_factory=threading.Event)


class Supervisor:
    """Starts a process for each stream, writes down what it says, and ends it when nobody wants
    the stream any more. The processes end with this one, however that ends. Safe to use from any
    thread. program: the module that they run."""

    def __init__(self, settings: Settings, store: StreamStore, program: str = PROGRAM) -> None:
        self._settings = settings
        self._store = store
        self._program = program
        self._lock = threading.Lock()
        self._followed: set[_Followed] = set()
        self.closing = threading.Event()

    def start(self, stream_id: str, wanted: Wanted) -> None:
        """Follow a stream that the store has taken on. Raises AnalysisFailed."""
        order = Order(settings=as_json(self._settings), wanted=wanted).model_dump_json()
        try:
            process = subprocess.Popen(  # noqa: S603 - a module of ours
                [sys.executable, "-m", self._program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,  # Ctrl-C in a terminal is for the web process to handle
            )
        except OSError as error:
            raise AnalysisFailed("No process could be started.") from error
        followed = _Followed(stream_id, process)
        with contextlib.suppress(OSError):  # it died meanwhile, as its end tells
            if process.stdin:
                process.stdin.write(order + "\n")
                process.stdin.flush()
        with self._lock:
            self._followed.add(followed)
            if self.closing.is_set():
                followed.ending.set()
        for work in (self._hear, self._mind):
            threading.Thread(target=work, args=(followed,), daemon=True).start()

    def end(self, stream_id: str) -> None:
        """Follow a stream no further, and wait until its process is gone."""
        with self._lock:
            followed = [one for one in self._followed if one.id == stream_id]
        for one in followed:
            one.ending.set()
            one.told.wait(2 * END_S)

    def close(self) -> None:
        """End all of them. May be called again."""
        with self._lock:
            self.closing.set()
            followed = list(self._followed)
        for one in followed:
            one.ending.set()
        for one in followed:
            one.over.wait(2 * END_S)

    def _hear(self, followed: _Followed) -> None:
        """Write down every event, and that nothing follows."""
        number, last = 0, False
        try:
            for kind, data in _events(followed.process):
                number, last = number + 1, kind in messages.LAST
                self._store.add(followed.id, number, kind, data)
                if last:
                    break
        except (ValueError, SQLAlchemyError) as error:
            log.error("the events of a stream broke off", extra={"kind": type(error).__name__})
        asked = followed.ending.is_set()
        followed.ending.set()
        with contextlib.suppress(SQLAlchemyError):
            if not last:
                self._store.add(followed.id, number + 1, *_why(stopped=asked))
            self._store.end(followed.id)
        followed.over.wait()
        if followed.process.stdout:
            followed.process.stdout.close()
        with self._lock:
            self._followed.discard(followed)
        followed.told.set()

    def _mind(self, followed: _Followed) -> None:
        """Until it ends, see whether it is wanted; then have its process end."""
        process = followed.process
        while not followed.ending.wait(BEAT_S):
            with contextlib.suppress(SQLAlchemyError):  # then it is looked again
                if not self._store.beat(followed.id):
                    followed.ending.set()
        if process.stdin:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        followed.over.set()


def _events(process: "subprocess.Popen[str]") -> Iterator[tuple[str, str]]:
    """Name and fields of every event that a process says. Raises ValueError for what is none."""
    while process.stdout and (line := process.stdout.readline(messages.MAX_LINE)):
        yield messages.parse(line)


def _why(*, stopped: bool) -> tuple[str, str]:
    """What is said in place of a process that has said nothing of its end."""
    if stopped:
        said = {"reason": "stopped", "message": "It is followed no further.", "windows": 0}
        return "ended", json.dumps({**said, "end_s": 0.0})
    died = AnalysisFailed("The process that followed the stream died.")
    broken = Broken(code=died.code, message=died.message, advice=died.advice)
    return "error", broken.model_dump_json(exclude={"event"})
