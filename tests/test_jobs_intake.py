"""What is remembered of who was refused, so that a crowd costs no more than one."""

import threading
import time

import pytest

from service.jobs import intake
from service.jobs.intake import Door, Looks
from service.jobs.records import AdmissionError, KeyReused, QueueFull, RateLimited


def refuse(looks: Looks, owner: str, error: AdmissionError) -> None:
    with pytest.raises(type(error)), looks.noted(owner):
        raise error


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]

    class Clock:
        def monotonic(self) -> float:
            return now[0]

    monkeypatch.setattr(intake, "time", Clock())
    return now


def test_a_full_queue_is_full_for_everybody_and_not_for_long(clock: list[float]) -> None:
    looks = Looks()
    assert not looks.repeat("anna")
    refuse(looks, "anna", QueueFull("full", 7))
    for owner in ("anna", "berta"):
        with pytest.raises(QueueFull, match="full") as caught:
            looks.repeat(owner)
        assert caught.value.retry_after_s == 7
    clock[0] += intake.REMEMBERED_S
    assert not looks.repeat("anna")


def test_what_one_is_refused_others_are_not(clock: list[float]) -> None:
    looks = Looks()
    refuse(looks, "anna", RateLimited("slower", 3))
    with pytest.raises(RateLimited):
        looks.repeat("anna")
    assert not looks.repeat("berta")
    looks.note("anna")  # there is room again
    assert looks.repeat("anna")


def test_what_was_found_holds_until_somebody_is_taken_on(clock: list[float]) -> None:
    looks = Looks()
    looks.note("anna")
    refuse(looks, "berta", RateLimited("slower", 3))
    assert looks.repeat("anna")
    looks.taken_on()
    assert not looks.repeat("anna")
    with pytest.raises(RateLimited):
        looks.repeat("berta")


def test_the_key_of_one_request_says_nothing_about_the_next(clock: list[float]) -> None:
    looks = Looks()
    refuse(looks, "anna", KeyReused("x"))
    assert not looks.repeat("anna")


def test_the_door_lets_in_as_many_as_there_is_room_for() -> None:
    """The next one waits until somebody has gone, and not longer than a moment."""
    door = Door(2)

    def waits() -> bool:
        with door.passed() as waited:
            return waited

    with door.passed() as first:
        assert not first
        with door.passed() as second:
            assert not second
            begin = time.monotonic()
            assert waits()
            assert time.monotonic() - begin >= intake.DOOR_S
        assert not waits()
        door.taken_on()  # there is room for one now, and that one is inside
        assert waits()
        door.seen(2)
        assert not waits()
    door.seen(0)
    assert not waits()  # one at a time is let in, to hear that there is no room


def test_who_waits_at_the_door_is_let_in_as_soon_as_somebody_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "DOOR_S", 30.0)
    door = Door(1)
    let_in = threading.Event()

    def enter() -> None:
        with door.passed():
            let_in.set()

    thread = threading.Thread(target=enter)
    with door.passed():
        thread.start()
        assert not let_in.wait(0.05)
    assert let_in.wait(5)
    thread.join()
