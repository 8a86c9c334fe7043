"""How many requests of a process may hold a thread for long: the others must find one at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from service.problems import Busy

RESERVED = 8
"""Threads that nobody may hold for long, so that health and the like are always answered."""


class Places:
    """So many places, for requests that are being received or that wait. Safe to use from any
    thread."""

    def __init__(self, number: int) -> None:
        self._free = threading.BoundedSemaphore(number)

    def take(self) -> None:
        """Raises Busy where none is free."""
        if not self._free.acquire(blocking=False):
            raise Busy("As many requests as may are being received or wait for their answer.")

    def give_back(self) -> None:
        self._free.release()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Raises Busy where none is free."""
        self.take()
        try:
            yield
        finally:
            self.give_back()


def for_requests(threads: int) -> Places:
    """Of a process with so many threads: all but RESERVED, and half of them where they are few."""
    return Places(max(threads - RESERVED, threads // 2))


def for_streams(threads: int) -> Places:
    """Events may take a quarter of them at most, out of those for requests."""
    return Places(threads // 4)
