"""Logs: one line a record, in one form, and nothing in it that a client has sent."""

import io
import json
import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from serving import ROOT

from service import access, keys, logs

SECRET = "Ms-Jane-Doe-17"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What is logged, as JSON; the loggers are left as they were found."""
    root, dbos = logging.getLogger(), logging.getLogger("dbos")
    before = (root.handlers[:], root.level, dbos.handlers[:], dbos.propagate)
    written = io.StringIO()
    logs.setup("info", "json", written)
    yield written
    root.handlers[:], root.level, dbos.handlers[:], dbos.propagate = before
    logging.captureWarnings(False)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_what_and_from_where(stream: io.StringIO) -> None:
    logging.getLogger("service.some").warning("a %s", "thing", extra={"job": "j-1", "ms": 12})
    (line,) = lines(stream)
    when = datetime.fromisoformat(str(line.pop("ts")))
    assert when.utcoffset() == UTC.utcoffset(None)
    assert abs((datetime.now(UTC) - when).total_seconds()) < 60
    assert line == {
        "level": "warning",
        "logger": "service.some",
        "message": "a thing",
        "job": "j-1",
        "ms": 12,
    }


def test_an_exception_is_told_by_its_type_and_place_alone(stream: io.StringIO) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("service.some").exception("it broke")
    (line,) = lines(stream)
    assert line["exception"] == "ValueError"
    assert re.fullmatch(rf"{re.escape(__file__)}:\d+ test_an_exception.*", line["trace"][-1])
    assert SECRET not in stream.getvalue()


@given(st.text(), st.text())
def test_whatever_is_logged_is_one_line(message: str, extra: str) -> None:
    record = logging.makeLogRecord({"name": "service.x", "msg": "%s", "args": (message,)})
    record.extra = extra
    line = logs.JsonFormatter().format(record)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] == message
    assert json.loads(line)["extra"] == extra


def test_others_cannot_quote_a_request(stream: io.StringIO) -> None:
    said: dict[str, list[tuple[str, tuple[str, ...]]]] = {
        "gunicorn.error": [
            (f"Invalid request from ip=10.0.0.1: Invalid HTTP header name: '{SECRET}'", ()),
            ("Error handling request %s %s", ("GET", f"/{SECRET}")),
        ],
        "dbos": [
            (f"Database connection failed: insert [parameters: ('{SECRET}',)]", ()),
            (f"Exception in workflow\nValueError: {SECRET}", ()),
        ],
        "httpx": [("HTTP Request: %s %s", ("POST", f"https://{SECRET}/"))],
        "syncnet-service": [("Exception on %s [%s]", (f"/{SECRET}", "GET"))],
        "sqlalchemy.pool": [(f"Exception during reset: {SECRET}", ())],
    }
    for name, records in said.items():
        for message, arguments in records:
            logging.getLogger(name).error(message, *arguments, extra={"quoted": SECRET})
    assert len(lines(stream)) == 7
    assert SECRET not in stream.getvalue()
    assert [line["message"] for line in lines(stream)][:4] == [
        "Invalid request",
        "Error handling request %s %s",
        "Database connection failed",
        "Exception in workflow",
    ]


def test_what_the_web_server_says_of_itself_is_kept(stream: io.StringIO) -> None:
    log = logging.getLogger("gunicorn.error")
    log.propagate, log.level = True, logging.INFO
    log.info("Listening at: %s (%s)", "http://127.0.0.1:5000", 17)
    assert lines(stream)[0]["message"] == "Listening at: http://127.0.0.1:5000 (17)"


def test_others_speak_up_from_warnings_on(stream: io.StringIO) -> None:
    for name in ("httpx", "dbos", "fsspec"):
        logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger(name).info("all is well")
    assert lines(stream) == []


def test_dbos_adds_no_handler_of_its_own(stream: io.StringIO) -> None:
    from dbos._logger import init_logger

    init_logger()
    logging.getLogger("dbos").warning("a queue is late")
    assert [line["message"] for line in lines(stream)] == ["a queue is late"]


def test_a_warning_is_a_line_too(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn(SECRET, UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    (line,) = lines(stream)
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert SECRET not in stream.getvalue()


def test_setting_up_again_replaces_what_was(stream: io.StringIO) -> None:
    second = io.StringIO()
    logs.setup("warning", "text", second)
    logging.getLogger("service.some").info("not this")
    logging.getLogger("service.some").error("broken", extra={"job": "j-1"})
    assert stream.getvalue() == ""
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ERROR service.some: broken job=j-1\n", second.getvalue()
    )


UNCAUGHT = f"""
import threading
from service import logs
logs.setup("info", "json")
def go():
    raise ValueError("{SECRET}")
thread = threading.Thread(target=go)
thread.start()
thread.join()
go()
"""


def test_an_error_that_ends_a_process_or_a_thread_is_a_line_too() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", UNCAUGHT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    said = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [(line["level"], line["exception"]) for line in said] == 2 * [("critical", "ValueError")]
    assert SECRET not in ended.stderr


def test_the_line_of_a_request_names_the_route_and_not_the_path(stream: io.StringIO) -> None:
    app = Flask("test", static_folder=None)
    access.register(app)
    app.add_url_rule("/jobs/<job_id>", "job", lambda job_id: f"job {job_id}")
    client = app.test_client()
    answer = client.get(
        f"/jobs/{SECRET}?session_id={SECRET}",
        headers={"X-Request-ID": "visit-1", "User-Agent": SECRET, "Referer": f"http://{SECRET}/"},
    )
    assert answer.headers["X-Request-ID"] == "visit-1"
    client.get(f"/{SECRET}", headers={"X-Request-ID": f"{SECRET} {SECRET}"})
    client.open("/jobs/1", method=SECRET.replace("-", ""))
    said, unknown, odd = lines(stream)
    assert said.pop("ts")
    assert isinstance(said.pop("ms"), int)
    assert said == {
        "level": "info",
        "logger": "service.access",
        "message": "request",
        "request_id": "visit-1",
        "method": "GET",
        "route": "/jobs/<job_id>",
        "status": 200,
        "owner": "-",
    }
    assert (unknown["route"], unknown["status"]) == ("-", 404)
    assert (odd["method"], odd["status"]) == ("-", 405)
    assert SECRET.lower() not in stream.getvalue().lower()
    assert SECRET.replace("-", "").lower() not in stream.getvalue().lower()


def test_the_owner_is_the_id_of_the_key(stream: io.StringIO) -> None:
    app = Flask("test", static_folder=None)
    access.register(app)

    @app.before_request
    def known() -> None:
        from flask import g

        g.owner = keys.ENVIRONMENT

    app.test_client().get("/")
    assert lines(stream)[0]["owner"] == "environment"
