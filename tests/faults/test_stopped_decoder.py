"""A decoding process that hangs is killed at its limit."""

import signal
import time
from collections.abc import Callable

import pytest

from faults import processes
from faults.harness import Service

pytestmark = pytest.mark.slow

LIMIT_S = 4.0
WITHIN_S = 2.0


def test_a_stopped_decoder_is_killed_at_its_limit(
    serve: Callable[..., Service], figures: Callable[..., None], small_clip: bytes
) -> None:
    service = serve(DECODE_TIMEOUT_SECONDS=LIMIT_S)
    assert service.post(small_clip).status_code == 200
    took = []
    for _ in range(3):
        stopped = service.pids("decoder")
        assert stopped
        processes.kill(stopped, signal.SIGSTOP)
        begin = time.monotonic()
        answer = service.post(small_clip)
        took.append(time.monotonic() - begin)
        assert (answer.status_code, answer.json()["code"]) == (422, "decode_timeout")
        assert not processes.wait_until_gone(stopped, 1.0)
    after = service.post(small_clip).status_code
    figures(
        "stopped decoders",
        count=len(took),
        limit_s=LIMIT_S,
        fastest_s=round(min(took), 2),
        slowest_s=round(max(took), 2),
    )
    assert all(abs(each - LIMIT_S) <= WITHIN_S for each in took)
    assert after == 200
