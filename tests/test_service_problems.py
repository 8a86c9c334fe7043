"""Every error of the library has a status, a title and advice of its own."""

import pytest

from service.problems import RequestError, from_library
from service.scorer import Busy
from syncnet_python import errors


def tree(kind: type[errors.SyncNetError]) -> list[type[errors.SyncNetError]]:
    return [kind] + [below for child in kind.__subclasses__() for below in tree(child)]


LEAVES = [kind for kind in tree(errors.SyncNetError) if not kind.__subclasses__()]


@pytest.mark.parametrize("kind", [*LEAVES, errors.DeadlineExceeded], ids=lambda k: k.__name__)
def test_every_error_says_what_to_do(kind: type[errors.SyncNetError]) -> None:
    problem = from_library(kind("what happened"))
    assert problem.detail == "what happened"
    assert problem.code == kind.code
    assert problem.advice
    assert problem.title


def test_titles_and_codes_are_one_to_one() -> None:
    problems = [from_library(kind("x")) for kind in {*LEAVES, errors.DeadlineExceeded}]
    assert len({p.title for p in problems}) == len({p.code for p in problems}) == len(problems)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.NotAVideo, 415),
        (errors.RecordingError, 422),
        (errors.ModelError, 503),
        (errors.DeadlineExceeded, 408),
        (Busy, 503),
        (errors.AnalysisFailed, 500),
    ],
)
def test_whose_fault_it_is(kind: type[errors.SyncNetError], status: int) -> None:
    assert from_library(kind("x")).status == status
    for child in kind.__subclasses__():
        if child not in (errors.NotAVideo, Busy):
            assert from_library(child("x")).status == status


def test_errors_of_a_request_are_complete() -> None:
    kinds = RequestError.__subclasses__()
    assert len({kind.code for kind in kinds}) == len(kinds) == 5
    for kind in kinds:
        assert 400 <= kind.status < 500
        assert kind.title
        assert kind.advice
