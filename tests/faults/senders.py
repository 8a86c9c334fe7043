"""Clients that keep sending recordings, and remember what they were promised."""

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from faults.harness import ENDED, Service, job_id

_PAUSE_S = 0.1


@dataclass(slots=True)
class Promise:
    """A job that was accepted with a 202, and what came of it. Times of `time.time`."""

    id: str
    accepted_at: float
    ended_at: float | None = None
    job: dict[str, Any] = field(default_factory=dict)


class Senders:
    """Each sends a recording, waits for its job to end, and sends the next, until the block ends.

    Leaving the block waits for the jobs that are still open; `give_up` leaves them as they are.
    """

    def __init__(self, service: Service, recording: bytes, number: int = 3) -> None:
        self._service = service
        self._recording = recording
        self._ended = threading.Event()
        self._given_up = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"sender-{i}") for i in range(number)
        ]
        self.promises: list[Promise] = []
        self.refused: list[int] = []  # statuses other than 202
        self.broken: list[str] = []  # connections without an answer

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if kind:
            self._given_up.set()
        for thread in self._threads:
            thread.join()

    def give_up(self) -> None:
        """Send no more, and wait for nothing."""
        self._ended.set()
        self._given_up.set()

    def ids(self) -> list[str]:
        return [promise.id for promise in self.promises]

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                answer = self._service.submit(self._recording)
            except httpx.TransportError as error:
                self.broken.append(type(error).__name__)
                self._ended.wait(_PAUSE_S)
                continue
            if answer.status_code != 202:
                self.refused.append(answer.status_code)
                self._ended.wait(float(answer.headers.get("Retry-After", _PAUSE_S)))
                continue
            promise = Promise(job_id(answer), time.time())
            self.promises.append(promise)
            self._follow(promise)

    def _follow(self, promise: Promise) -> None:
        while not self._given_up.wait(_PAUSE_S):
            try:
                answer = self._service.job(promise.id)
            except httpx.TransportError as error:
                self.broken.append(type(error).__name__)
                continue
            if answer.status_code == 200 and answer.json()["state"] in ENDED:
                promise.job = answer.json()
                promise.ended_at = time.time()
                return
