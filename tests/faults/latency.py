"""How long an address takes to answer while something else goes on."""

import math
import threading
import time
from types import TracebackType
from typing import Self

import httpx


class Sampler:
    """Asks an address again and again, on one connection that is kept, until the block ends.

    with Sampler(service.url + "/health") as health: ...
    print(health.p99_ms)
    """

    def __init__(self, url: str, every_s: float = 0.02, warm_up: int = 20) -> None:
        """every_s: pause between two requests; warm_up: requests before the block that are not
        counted."""
        self._url = url
        self._every_s = every_s
        self._warm_up = warm_up
        self._seconds: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="latency")
        self.wrong: list[str] = []  # what was answered instead of a 200

    def __enter__(self) -> Self:
        self._client = httpx.Client(timeout=30)
        for _ in range(self._warm_up):
            self._client.get(self._url)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            begin = time.perf_counter()
            try:
                status = self._client.get(self._url).status_code
            except httpx.HTTPError as error:
                self.wrong.append(type(error).__name__)
            else:
                if status != 200:
                    self.wrong.append(str(status))
            self._seconds.append(time.perf_counter() - begin)

    @property
    def count(self) -> int:
        return len(self._seconds)

    @property
    def p50_ms(self) -> float:
        return self.quantile_ms(0.5)

    @property
    def p99_ms(self) -> float:
        return self.quantile_ms(0.99)

    @property
    def max_ms(self) -> float:
        return self.quantile_ms(1.0)

    def quantile_ms(self, share: float) -> float:
        """Milliseconds that `share` of the answers took at most."""
        ordered = sorted(self._seconds)
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)] * 1000, 1)
