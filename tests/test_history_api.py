"""The history: whose jobs are listed, which of them, and page after page without loss. Both
databases."""

import dataclasses
import math
import re
import struct
import sys
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import service_apps as apps
import service_doubles as doubles
import sqlalchemy as sa
from faults.postgres import Postgres
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from fusion import fuse
from service import keys
from service.history_api import cursor_of, place_of
from service.jobs import history, tables
from service.jobs.history import Place, Wanted
from service.jobs.records import AdmissionLimits, NewJob
from service.jobs.store import JobStore
from service.request_errors import Malformed
from service.schemas import CURSOR_PATTERN
from service.settings import Settings
from syncnet_python.errors import NoFace
from syncnet_python.results import Verdict

LIMITS = AdmissionLimits(queue=1000, queue_per_owner=1000, per_minute=0)
BLOCKED = dataclasses.replace(
    doubles.VERDICT, combined_score=0.125, risk_level="CRITICAL", decision="BLOCK"
)
UNKNOWN = dataclasses.replace(
    doubles.PARTIAL, combined_score=None, risk_level=None, is_likely_real=None
)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = Settings.model_construct(data_dir=tmp_path).database
        else:
            url = stack.enter_context(Postgres()).sqlalchemy_url
        made = tables.open_engine(url)
        stack.callback(made.dispose)
        yield made


def kept(
    engine: sa.Engine,
    outcome: Verdict | NoFace | None = None,
    *,
    owner: str = "anna",
    **values: Any,
) -> str:
    """A job that has ended so, or waits; its id. values: of its row."""
    store = JobStore(engine)
    new = NewJob(str(uuid.uuid4()), owner, "0" * 64, values.pop("session_id", "s"), "r")
    store.admit(new, LIMITS, lambda _connection, _job: None)
    if outcome is not None:
        store.begin(new.id, "worker")
        store.finish(new.id, 1, outcome)
    if values:
        with engine.begin() as connection:
            row = tables.jobs.update().where(tables.jobs.c.id == new.id)
            connection.execute(row.values(**values))
    return new.id


def listed(engine: sa.Engine, **wanted: Any) -> list[str]:
    return [job.id for job in history.page(engine, Wanted("anna", **wanted))[0]]


def test_of_each_job_it_is_told_what_a_list_shows(engine: sa.Engine) -> None:
    waiting = kept(engine, created_at=1.0, session_id="one")
    failed = kept(engine, NoFace("nobody"), created_at=2.0)
    unknown = kept(engine, UNKNOWN, created_at=3.0)
    done = kept(engine, doubles.VERDICT, created_at=4.0, finished_at=9.5)
    found, more = history.page(engine, Wanted("anna"))
    assert not more
    assert [job.id for job in found] == [done, unknown, failed, waiting]
    told = [
        (job.state, job.risk, job.decision, job.combined_score, job.inconclusive) for job in found
    ]
    assert told == [
        ("succeeded", "LOW", "ALLOW", doubles.VERDICT.combined_score, False),
        ("succeeded", None, "NEXT", None, True),
        ("failed", None, None, None, None),
        ("queued", None, None, None, None),
    ]
    assert (found[0].created_at, found[0].finished_at) == (4.0, 9.5)
    assert (found[3].session_id, found[3].finished_at) == ("one", None)


def test_only_what_was_asked_for_is_listed(engine: sa.Engine) -> None:
    good = kept(engine, doubles.VERDICT, created_at=10.0, session_id="visit")
    bad = kept(engine, BLOCKED, created_at=20.0)
    failed = kept(engine, NoFace("nobody"), created_at=30.0, session_id="visit")
    kept(engine, doubles.VERDICT, owner="berta")
    assert listed(engine, session_id="visit") == [failed, good]
    assert listed(engine, risk="CRITICAL") == [bad]
    assert listed(engine, decision="ALLOW") == [good]
    assert listed(engine, state="failed") == [failed]
    assert listed(engine, since=20.0) == [failed, bad]
    assert listed(engine, until=20.0) == [good]
    assert listed(engine, since=10.0, until=30.0, decision="BLOCK") == [bad]
    assert listed(engine, session_id="visit", risk="CRITICAL") == []


def test_what_was_deleted_or_cancelled_is_not_listed(engine: sa.Engine) -> None:
    store = JobStore(engine)
    deleted, cancelled = kept(engine, doubles.VERDICT), kept(engine)
    store.erase(deleted)
    store.cancel(cancelled)
    assert listed(engine) == []


def test_pages_follow_each_other_without_loss(engine: sa.Engine) -> None:
    """Also where many came at the same moment, and more come while they are read."""
    ids = [kept(engine, created_at=float(number // 4)) for number in range(11)]
    seen: list[str] = []
    before: Place | None = None
    more = True
    while more:
        found, more = history.page(engine, Wanted("anna", limit=3, before=before))
        assert len(found) == (3 if more else 2)
        seen += [job.id for job in found]
        before = found[-1].place
        kept(engine, created_at=1000.0)
    assert len(seen) == len(set(seen))
    assert set(seen) == set(ids)


INDEXES = {"jobs_by_owner", "jobs_by_session", "jobs_by_risk"}


def test_a_database_from_before_gets_the_indexes(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for name in INDEXES:
            connection.exec_driver_sql(f"DROP INDEX {name}")
    url = engine.url.render_as_string(hide_password=False)
    tables.open_engine(url).dispose()
    assert {index["name"] for index in sa.inspect(engine).get_indexes("jobs")} > INDEXES


@given(st.floats(0, 1))
def test_a_decision_implies_its_risk_level(score: float) -> None:
    assert doubles.VERDICT.efficientnet is not None
    face = dataclasses.replace(doubles.VERDICT.efficientnet, score=score)
    fused = fuse(None, face, scale=None)
    assert history.IMPLIED.get(fused.decision, fused.risk_level) == fused.risk_level


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({}, "jobs_by_owner (owner=?)"),
        ({"since": 1.0, "until": 2.0}, "jobs_by_owner (owner=? AND created_at>? AND created_at<?)"),
        ({"before": Place(1.0, "x")}, "jobs_by_owner (owner=? AND (created_at,id)<(?,?))"),
        ({"session_id": "s"}, "jobs_by_session (owner=? AND session_id=?)"),
        ({"risk": "HIGH"}, "jobs_by_risk (owner=? AND risk=?)"),
        ({"decision": "BLOCK"}, "jobs_by_risk (owner=? AND risk=?)"),
    ],
)
def test_a_page_is_found_without_looking_at_the_rest(
    tmp_path: Path, wanted: dict[str, Any], index: str
) -> None:
    """Nor is anything sorted; by SQLite's own account."""
    made = tables.open_engine(Settings.model_construct(data_dir=tmp_path).database)
    plans: list[list[str]] = []

    @sa.event.listens_for(made, "before_cursor_execute")
    def explain(_c: Any, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        plans.append([row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values)])

    history.page(made, Wanted("anna", **wanted))
    made.dispose()
    assert plans == [[f"SEARCH jobs USING INDEX {index}"]]


def test_any_time_may_be_named(engine: sa.Engine) -> None:
    job = kept(engine, created_at=1.0)
    most = sys.float_info.max
    for early in (-most, -1.0, -0.0, 5e-324):
        place = Place(early, str(uuid.UUID(int=0)))
        assert listed(engine, before=place) == listed(engine, until=early) == []
        assert listed(engine, since=early) == [job]
    assert listed(engine, before=Place(most, str(uuid.UUID(int=0)))) == [job]


@given(st.floats(allow_nan=False, allow_infinity=False), st.uuids())
def test_a_cursor_says_the_place_to_the_last_digit(created_at: float, job: uuid.UUID) -> None:
    place = Place(created_at, str(job))
    cursor = cursor_of(place)
    assert len(cursor) == 32
    assert place_of(cursor) == place


# Over HTTP


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    with apps.application(tmp_path) as app:
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def key(app: Flask) -> dict[str, str]:
    text, _ = keys.create(apps.jobs_of(app).engine, "front end")
    return {"Authorization": f"Bearer {text}"}


def test_it_is_told_to_the_key_that_the_jobs_were_sent_with(
    app: Flask, client: FlaskClient, key: dict[str, str]
) -> None:
    begun = time.time()
    sent = apps.post_async(client, headers=key, session_id="visit")
    apps.post_async(client)
    apps.finish(app, sent)
    body = client.get("/jobs", headers=key).get_json()
    assert body["next"] is None
    (job,) = body["jobs"]
    created, finished = (datetime.fromisoformat(job.pop(name)) for name in ("created", "finished"))
    assert begun - 1 < created.timestamp() <= finished.timestamp()
    assert created.tzinfo is not None
    assert job == {
        "job_id": sent,
        "session_id": "visit",
        "state": "succeeded",
        "risk_level": "LOW",
        "decision": "ALLOW",
        "combined_score": doubles.VERDICT.combined_score,
        "inconclusive": False,
        "links": {"self": f"/jobs/{sent}", "events": f"/jobs/{sent}/events"},
    }
    assert client.get(job["links"]["self"], headers=key).status_code == 200


def test_it_needs_a_key_also_where_nothing_else_does(client: FlaskClient) -> None:
    answer = client.get("/jobs")
    assert (answer.status_code, answer.get_json()["code"]) == (401, "unauthorized")
    assert client.get("/health").status_code == 200


def test_next_leads_through_all_of_it(client: FlaskClient, key: dict[str, str]) -> None:
    sent = [apps.post_async(client, headers=key) for _ in range(5)]
    seen, cursor = [], None
    while True:
        asked = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        body = client.get("/jobs", query_string=asked, headers=key).get_json()
        seen += [job["job_id"] for job in body["jobs"]]
        cursor = body["next"]
        if cursor is None:
            break
    assert seen == sent[::-1]


def test_days_and_times_with_and_without_a_zone_are_understood(
    app: Flask, client: FlaskClient, key: dict[str, str]
) -> None:
    apps.post_async(client, headers=key)
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
    with apps.jobs_of(app).engine.begin() as connection:
        connection.execute(tables.jobs.update().values(created_at=noon))

    def found(**asked: str) -> int:
        return len(client.get("/jobs", query_string=asked, headers=key).get_json()["jobs"])

    assert found(since="2026-11-21") == found(until="2026-11-22") == 1
    assert found(since="2026-11-21T12:00:00") == found(since="2026-11-21T13:00:00+01:00") == 1
    assert found(until="2026-11-21T12:00:00Z") == found(since="2026-11-21T12:00:01Z") == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("risk", "low"),
        ("decision", "MAYBE"),
        ("state", "expired"),
        ("since", "yesterday"),
        ("since", "1700000000"),
        ("until", "2026-13-01"),
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "many"),
        ("cursor", "first"),
        ("cursor", "*" * 32),
        ("session_id", "a visit"),
    ],
)
def test_what_cannot_be_asked_is_named(
    client: FlaskClient, key: dict[str, str], name: str, value: str
) -> None:
    answer = client.get("/jobs", query_string={name: value}, headers=key)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "malformed_request")
    assert answer.get_json()["detail"].startswith(f"{name}: ")


@given(st.binary(min_size=24, max_size=24))
def test_a_cursor_of_ones_own_making_names_a_place_or_is_refused(said: bytes) -> None:
    cursor = urlsafe_b64encode(said).decode()
    assert re.fullmatch(CURSOR_PATTERN, cursor)
    try:
        place = place_of(cursor)
    except Malformed:
        assert not math.isfinite(struct.unpack(">d16s", said)[0])
    else:
        assert cursor_of(place) == cursor


@pytest.mark.parametrize("created_at", [math.nan, math.inf, -math.inf])
def test_a_cursor_that_names_no_time_is_refused(
    client: FlaskClient, key: dict[str, str], created_at: float
) -> None:
    cursor = cursor_of(Place(created_at, str(uuid.uuid4())))
    answer = client.get("/jobs", query_string={"cursor": cursor}, headers=key)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "malformed_request")
    assert answer.get_json()["detail"].startswith("cursor: ")
