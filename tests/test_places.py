"""Who holds a thread for long, and how many of them."""

import contextlib
from contextlib import ExitStack

import pytest
from flask import Flask, g

from service import places
from service.keys import ANONYMOUS
from service.places import Places
from service.request_errors import Busy


def take(stack: ExitStack, made: Places, owner: str) -> int:
    """So many places are left for that owner; they are held until the block ends."""
    with Flask("test").app_context():
        g.owner = owner
        for number in range(1000):
            try:
                stack.enter_context(made.taken())
            except Busy:
                return number
    raise AssertionError("there is no end of places")


@pytest.mark.parametrize("number", [1, 2, 4, 16, 56])
def test_a_key_gets_half_and_leaves_the_rest_to_others(number: int) -> None:
    with ExitStack() as stack:
        made = Places(number)
        half = take(stack, made, "first")
        assert half == (number + 1) // 2
        assert take(stack, made, "second") == number - half
        assert take(stack, made, "third") == 0


@pytest.mark.parametrize("number", [1, 2, 4, 16, 56])
def test_those_without_a_key_leave_some_to_those_with_one(number: int) -> None:
    with ExitStack() as stack:
        made = Places(number)
        assert take(stack, made, ANONYMOUS) == number - number // 12
        assert take(stack, made, "a key") == number // 12


def test_a_place_is_given_back_whatever_happens() -> None:
    made = Places(2)
    for _ in range(3):
        with ExitStack() as stack:
            assert take(stack, made, "a key") == 1
        with Flask("test").app_context():
            g.owner = "a key"
            with contextlib.suppress(KeyError), made.taken():
                raise KeyError


def test_some_threads_are_nobodys_for_long() -> None:
    for threads, number in ((64, 56), (16, 8), (8, 4), (2, 1)):
        with ExitStack() as stack:
            made = places.for_requests(threads)
            assert take(stack, made, "one") + take(stack, made, "other") == number
