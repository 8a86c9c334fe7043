"""Segments of a stream, taken in while the earlier ones are worked on."""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from workflows.stream.arrivals import Arrived, Item, Lost, Over, Poller

_STOP_LOOK_S = 0.2


class Ahead:
    """Takes items as they come, in a thread of its own, while the earlier ones are worked on.

    Iterates over them, once. At most most_s seconds and most_bytes bytes wait: of a live stream
    the oldest are then lost, a recorded one is held up. Closed at the latest by the end of the
    `with` block; `stop` is set then.
    """

    def __init__(
        self,
        poller: Poller,
        *,
        live: bool,
        most_s: float,
        most_bytes: int,
        stop: threading.Event,
    ) -> None:
        self._poller = poller
        self._live = live
        self._most_s = most_s
        self._most_bytes = most_bytes
        self._stop = stop
        self._waiting: deque[Item] = deque()
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="stream", daemon=True)

    def __enter__(self) -> "Ahead":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        # A request that is under way ends by its own time limit; nobody waits for that.
        self._thread.join(timeout=1.0)

    def __iter__(self) -> Iterator[Item]:
        """Ends with `Over`. Raises what `Poller.items` does."""
        while True:
            item = self._take()
            yield item
            if isinstance(item, Over):
                return

    def _take(self) -> Item:
        with self._changed:
            while not self._waiting and not self._error and not self._stop.is_set():
                self._changed.wait(_STOP_LOOK_S)  # others set `stop`, and tell nobody
            if self._stop.is_set():
                return Over("stopped", "")
            if not self._waiting and self._error:
                raise self._error
            self._changed.notify_all()
            return self._waiting.popleft()

    def _work(self) -> None:
        try:
            for item in self._poller.items():
                self._put(item)
        except Exception as error:  # told to who iterates
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _put(self, item: Item) -> None:
        with self._changed:
            while not self._live and self._full(item) and not self._stop.is_set():
                self._changed.wait(_STOP_LOOK_S)
            while self._live and self._full(item):
                self._drop()
            self._waiting.append(item)
            self._changed.notify_all()

    def _full(self, item: Item) -> bool:
        """Whether there is no room for this one. A single item always has some."""
        waiting = [it for it in self._waiting if isinstance(it, Arrived)]
        if not waiting or not isinstance(item, Arrived):
            return False
        seconds = sum(it.duration_s for it in (*waiting, item))
        size = sum(len(it.loaded.data) for it in (*waiting, item))
        return seconds > self._most_s or size > self._most_bytes

    def _drop(self) -> None:
        """Turn the oldest segment that waits into a lost one, joined to those before it."""
        place = next(i for i, it in enumerate(self._waiting) if isinstance(it, Arrived))
        item = self._waiting[place]
        if not isinstance(item, Arrived):
            raise TypeError("only segments are dropped")
        message = "there was no time to score it"
        lost = Lost(item.duration_s, item.discontinuity, "late", message)
        before = self._waiting[place - 1] if place else None
        if isinstance(before, Lost) and before.message == message and not lost.discontinuity:
            self._waiting[place - 1] = replace(
                before, duration_s=before.duration_s + lost.duration_s
            )
            del self._waiting[place]
        else:
            self._waiting[place] = lost
