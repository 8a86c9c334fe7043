"""However often a request is sent under one key, and whatever happens meanwhile, it is one job."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from faults import processes
from faults.harness import Service, job_id
from faults.ledger import Ledger

POSTS = 50
ROUNDS = 3
SOAK_ROUNDS = 50

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def at_once(service: Service, recording: bytes, key: str, number: int) -> list[httpx.Response]:
    """The same request on so many connections at the same moment."""
    barrier = threading.Barrier(number, timeout=60)

    def send(_: int) -> httpx.Response:
        with httpx.Client(base_url=service.url, timeout=120) as client:
            barrier.wait()
            return client.post(
                "/score",
                files={"video": ("video.webm", recording)},
                headers={"Idempotency-Key": key},
            )

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(send, range(number)))


@pytest.mark.parametrize("web_processes", [1, 2])
def test_parallel_posts_with_one_key_are_one_job(
    serve: Callable[..., Service],
    small_clip: bytes,
    figures: Callable[..., None],
    soak: bool,
    web_processes: int,
) -> None:
    service = serve(WEB_CONCURRENCY=web_processes)
    assert service.post(small_clip).status_code == 200
    rounds = SOAK_ROUNDS if soak else ROUNDS
    statuses: Counter[int] = Counter()
    made: list[int] = []
    with Ledger(f"sqlite:///{service.data_dir}/jobs.sqlite") as ledger:
        for _ in range(rounds):
            before = len(ledger.rows())
            answers = at_once(service, small_clip, str(uuid.uuid4()), POSTS)
            statuses.update(answer.status_code for answer in answers)
            made.append(len(ledger.rows()) - before)
            scored = [answer for answer in answers if answer.status_code == 200]
            assert len({answer.json()["job_id"] for answer in scored}) == 1
            assert len({answer.json()["combined_score"] for answer in scored}) == 1
            first = [one for one in scored if "Idempotency-Replayed" not in one.headers]
            assert len(first) == 1
    figures(
        f"one key, {web_processes} web process{'es' if web_processes > 1 else ''}",
        rounds=rounds,
        posts=sum(statuses.values()),
        jobs_made=sum(made),
        answered=", ".join(f"{count}x {status}" for status, count in sorted(statuses.items())),
    )
    assert made == [1] * rounds
    assert set(statuses) == {200}
    service.wait_until_no_media()


def test_another_body_under_the_same_key_is_refused_and_costs_nothing(
    service: Service, small_clip: bytes, brief_clip: bytes
) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = service.post(small_clip, headers=key)
    assert first.status_code == 200
    for answer in (
        service.post(brief_clip, headers=key),
        service.post(small_clip, headers=key, heatmap="true"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    again = service.post(small_clip, headers=key)
    assert again.json()["job_id"] == first.json()["job_id"]
    service.wait_until_no_media()


def test_a_key_finds_its_job_after_a_crash(
    serve: Callable[..., Service], small_clip: bytes
) -> None:
    """The sender that saw the connection break sends the same again, and gets the one result."""
    service = serve()
    assert service.post(small_clip).status_code == 200
    key = {"Idempotency-Key": str(uuid.uuid4())}
    promised = job_id(service.submit(small_clip, headers=key))
    family = service.family()
    service.kill()
    assert not processes.wait_until_gone(family, 10.0)
    service.start()
    answer = service.post(small_clip, headers=key)
    assert answer.status_code == 200, answer.text
    assert answer.json()["job_id"] == promised
    assert answer.headers["Idempotency-Replayed"] == "true"
    service.wait_until_no_media()
