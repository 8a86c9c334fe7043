"""Every error of the library has a status, a title and advice of its own."""

import errno
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from service.jobs import records
from service.problems import code_of, from_admission, from_library, from_request, room_is_short
from service.request_errors import RequestError
from service.scoring.scorer import Busy
from syncnet_python import errors


def tree(kind: type[errors.SyncNetError]) -> list[type[errors.SyncNetError]]:
    return [kind] + [below for child in kind.__subclasses__() for below in tree(child)]


# Those of workflows and evaluation stay in the processes that raise them.
LEAVES = [
    kind
    for kind in tree(errors.SyncNetError)
    if not kind.__subclasses__() and kind.__module__.startswith(("service.", "syncnet_python."))
]


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


def everything_below(kind: type[RequestError]) -> list[type[RequestError]]:
    return [one for child in kind.__subclasses__() for one in (child, *everything_below(child))]


def test_errors_of_a_request_are_complete() -> None:
    kinds = [kind for kind in everything_below(RequestError) if kind.__module__.startswith("serv")]
    assert len({kind.code for kind in kinds}) == len(kinds) > 15
    for kind in kinds:
        problem = from_request(kind("what happened"))
        assert problem.detail == "what happened"
        assert 400 <= problem.status < 600
        assert problem.title
        assert problem.advice
        passes = problem.status == 429 or problem.status >= 500
        assert (problem.retry_after_s is not None) == passes


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (records.QueueFull, 503, "queue_full"),
        (records.TooManyJobs, 429, "too_many_jobs"),
        (records.RateLimited, 429, "rate_limited"),
        (records.KeyReused, 422, "idempotency_key_reused"),
    ],
)
def test_what_the_queue_refuses(kind: type[records.AdmissionError], status: int, code: str) -> None:
    problem = from_admission(kind("what happened", 7))
    assert (problem.status, problem.code, problem.detail) == (status, code, "what happened")
    assert problem.retry_after_s == (None if status == 422 else 7)
    assert code_of(kind("x")) == code


def test_a_full_disk_is_known_by_its_errors(tmp_path: Path) -> None:
    assert room_is_short(OSError(errno.ENOSPC, "x"))
    assert room_is_short(OSError(errno.EDQUOT, "x"))
    assert not room_is_short(OSError(errno.EIO, "x"))
    assert not room_is_short(ValueError("x"))
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'small'}")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE things (thing BLOB)")
        connection.exec_driver_sql("PRAGMA max_page_count = 3")
        with pytest.raises(OperationalError) as caught:
            connection.exec_driver_sql("INSERT INTO things VALUES (zeroblob(100000))")
        assert room_is_short(caught.value)
        with pytest.raises(OperationalError) as caught:
            connection.exec_driver_sql("SELECT * FROM nothing")
        assert not room_is_short(caught.value)
    engine.dispose()
