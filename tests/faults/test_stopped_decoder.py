"""A decoding process that hangs is killed at its limit, and so is the stem of them all."""

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evaluation.samples import talking_clip
from faults import processes
from faults.harness import Service

pytestmark = [pytest.mark.slow, pytest.mark.alone]

LIMIT_S = 4.0
WITHIN_S = 2.0
START_S = 30.0


def copy_of(stem: int) -> int:
    """The process that decodes, as soon as there is one."""
    until = time.monotonic() + START_S
    while not (copies := processes.children(stem)):
        assert time.monotonic() < until
    return copies[0]


def test_a_stopped_decoder_is_killed_at_its_limit(
    serve: Callable[..., Service],
    figures: Callable[..., None],
    small_clip: bytes,
    tmp_path: Path,
) -> None:
    service = serve(DECODE_TIMEOUT_SECONDS=LIMIT_S)
    assert service.post(small_clip).status_code == 200
    clip = tmp_path / "large.webm"  # takes long enough to be met at its decoding
    talking_clip(clip, seconds=8, size=(960, 720))
    took = []
    with ThreadPoolExecutor(1) as sender:
        for number in range(4):
            (stem,) = service.pids("decoder")
            stopped = stem
            if number % 2:
                processes.kill([stem], signal.SIGSTOP)
            begin = time.monotonic()
            asked = sender.submit(service.post, clip)
            if not number % 2:
                stopped = copy_of(stem)
                processes.kill([stopped], signal.SIGSTOP)
            answer = asked.result()
            took.append(time.monotonic() - begin)
            assert (answer.status_code, answer.json()["code"]) == (422, "decode_timeout")
            assert not processes.wait_until_gone([stopped], 1.0)
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
