"""How many requests of a process may hold a thread for long: the others must find one at once."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from flask import g

from service.keys import ANONYMOUS
from service.request_errors import Busy

RESERVED = 8
"""Threads that nobody may hold for long, so that health and the like are always answered."""


class Places:
    """So many places, for requests that are being received or that wait. Safe to use from any
    thread.

    A key gets half of them at most. Those without a key cannot be told apart: together they leave
    a twelfth to those with one.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._taken: Counter[str] = Counter()  # by owner
        self._lock = threading.Lock()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """A place for the owner of this request. Raises Busy where there is none."""
        owner: str = g.owner
        with self._lock:
            if self._taken.total() >= self._number:
                raise Busy("As many requests as may are being received or wait for their answer.")
            if self._taken[owner] >= self._share(owner):
                raise Busy("As many requests of yours as may are being received or wait.")
            self._taken[owner] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[owner] -= 1
                if not self._taken[owner]:
                    del self._taken[owner]

    def _share(self, owner: str) -> int:
        if owner == ANONYMOUS:
            return self._number - self._number // 12
        return (self._number + 1) // 2


def for_requests(threads: int) -> Places:
    """Of a process with so many threads: all but RESERVED, and half of them where they are few."""
    return Places(max(threads - RESERVED, threads // 2))


def for_streams(threads: int) -> Places:
    """Events may take a quarter of them at most, out of those for requests."""
    return Places(threads // 4)
