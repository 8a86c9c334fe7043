"""The audit log: what is written, read, and forgotten again."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

import cli
from service import audit
from service.jobs import tables
from service.settings import Settings

DAY_S = 86400.0


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    (tmp_path / "data").mkdir()
    made = tables.open_engine(f"sqlite:///{tmp_path / 'data' / 'jobs.sqlite'}")
    yield made
    made.dispose()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return lambda *arguments: CliRunner().invoke(cli.app, ["audit", *arguments])


def aged(engine: sa.Engine, days: float) -> None:
    """Make every row older."""
    with engine.begin() as connection:
        connection.execute(audit.table.update().values(at=audit.table.c.at - days * DAY_S))


def test_a_trail_writes_what_it_is_told_and_in_that_order(engine: sa.Engine) -> None:
    trail = audit.Trail(engine)
    trail.flush()  # nothing yet
    for number in range(100):
        trail.record("job.submitted", owner="anna", job_id=str(number))
    trail.flush()
    assert [row.job_id for row in audit.read(engine)] == [str(number) for number in range(100)]


def test_what_a_trail_cannot_write_is_logged(
    engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with engine.begin() as connection:
        audit.table.drop(connection)
    trail = audit.Trail(engine)
    trail.record("job.submitted", owner="anna", job_id="first")
    trail.flush()
    (line,) = caplog.records
    assert (line.__dict__["owner"], line.__dict__["job_id"]) == ("anna", "first")


def test_a_row_says_who_asked_what_and_what_was_answered(engine: sa.Engine) -> None:
    begun = datetime.now(UTC) - timedelta(milliseconds=1)
    audit.record(
        engine,
        "job.delivered",
        owner="0123456789ab",
        request_id="r-1",
        job_id="j-1",
        outcome="BLOCK",
        risk="CRITICAL",
    )
    (row,) = audit.read(engine)
    assert begun <= row.at <= datetime.now(UTC)
    told = json.loads(row.json())
    assert datetime.fromisoformat(told.pop("at")).utcoffset() == timedelta(0)
    assert told == {
        "request_id": "r-1",
        "owner": "0123456789ab",
        "action": "job.delivered",
        "job_id": "j-1",
        "outcome": "BLOCK",
        "risk": "CRITICAL",
    }


def test_there_is_no_room_for_names_sessions_or_media() -> None:
    assert set(audit.table.c.keys()) == {
        "number",
        "at",
        "request_id",
        "owner",
        "action",
        "job_id",
        "outcome",
        "risk",
    }


def test_rows_are_read_in_the_order_they_were_written(engine: sa.Engine) -> None:
    for number in range(2500):  # more than are fetched at once
        audit.record(engine, "job.submitted", owner="anonymous", job_id=str(number))
    assert [row.job_id for row in audit.read(engine)] == [str(number) for number in range(2500)]


def test_what_is_too_old_is_deleted(engine: sa.Engine) -> None:
    audit.record(engine, "job.submitted", owner="anonymous", job_id="old")
    aged(engine, 90.5)
    audit.record(engine, "job.submitted", owner="anonymous", job_id="new")
    assert audit.expire(engine, 91) == 0
    assert audit.expire(engine, 90) == 1
    assert [row.job_id for row in audit.read(engine)] == ["new"]


def test_a_row_that_cannot_be_written_is_logged_instead(
    engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with engine.begin() as connection:
        audit.table.drop(connection)
    with caplog.at_level(logging.ERROR):
        audit.record(engine, "job.submitted", owner="anonymous", job_id="j-1", outcome="accepted")
    (record,) = caplog.records
    assert record.getMessage() == "an audit row could not be written"
    assert vars(record)["job_id"] == "j-1"
    assert vars(record)["kind"] == "OperationalError"


def test_the_command_prints_json_lines_or_a_table(
    engine: sa.Engine, command: Callable[..., Result]
) -> None:
    audit.record(engine, "job.submitted", owner="anonymous", job_id="old", outcome="accepted")
    aged(engine, 3)
    audit.record(engine, "job.deleted", owner="anonymous", job_id="new", request_id="[b]r")
    printed = command("--json").stdout
    assert [json.loads(line)["job_id"] for line in printed.splitlines()] == ["old", "new"]
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    printed = command("--json", "--since", yesterday).stdout
    assert [json.loads(line)["job_id"] for line in printed.splitlines()] == ["new"]
    table = command().stdout
    assert "old" in table
    assert "[b]r" in table
    assert command("--since", "some day").exit_code == 2
