"""Metrics: counted over processes, read from the database when asked, labelled from fixed sets."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from serving import ROOT
from sqlalchemy.exc import OperationalError

from service import access, metrics, metrics_page
from service.jobs.records import WorkerInfo


class Store:
    """Two jobs open, two workers alive and one dead; or no answer."""

    broken = False

    def counts(self) -> dict[str, int]:
        if self.broken:
            raise OperationalError("select", {}, Exception("gone"))
        return {"queued": 2, "succeeded": 7}

    def workers(self) -> list[WorkerInfo]:
        return [
            WorkerInfo(name, alive, (), 1)
            for name, alive in (("a", True), ("b", True), ("c", False))
        ]


Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def figures(text: str) -> Figures:
    """Every sample by its name and its labels in order."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def app(store: Store, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.delenv(metrics.FOLDER_VARIABLE, raising=False)
    made = Flask("test", static_folder=None)
    access.register(made)
    metrics_page.register(made, store)
    made.add_url_rule("/jobs/<job_id>", "job", lambda job_id: "a job")
    return made


def shown(app: Flask) -> Figures:
    answer = app.test_client().get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    return figures(answer.text)


def test_requests_are_counted_by_route_and_never_by_path(app: Flask) -> None:
    key = (
        "syncnet_requests_total",
        (("method", "GET"), ("route", "/jobs/<job_id>"), ("status", "200")),
    )
    before = shown(app).get(key, 0)
    client = app.test_client()
    for number in range(3):
        client.get(f"/jobs/marked-{number}?session_id=marked")
    client.get("/marked")
    client.open("/jobs/1", method="MARKED")
    text = client.get("/metrics").text
    assert figures(text)[key] == before + 3
    count = ("syncnet_request_seconds_count", (("route", "/jobs/<job_id>"),))
    assert figures(text)[count] >= 3
    assert "marked" not in text.lower()


def test_open_jobs_and_workers_are_read_when_asked(app: Flask, store: Store) -> None:
    told = shown(app)
    assert told["syncnet_jobs_open", (("state", "queued"),)] == 2
    assert told["syncnet_jobs_open", (("state", "running"),)] == 0
    assert told["syncnet_workers_alive", ()] == 2
    assert told["syncnet_database_up", ()] == 1
    store.broken = True
    told = shown(app)
    assert told["syncnet_database_up", ()] == 0
    assert ("syncnet_workers_alive", ()) not in told


def test_jobs_are_counted_by_how_they_ended(app: Flask) -> None:
    ended = {
        "succeeded": (("code", ""), ("risk", "LOW"), ("state", "succeeded")),
        "failed": (("code", "no_face"), ("risk", ""), ("state", "failed")),
        "cancelled": (("code", ""), ("risk", ""), ("state", "cancelled")),
    }
    before = shown(app)
    metrics.observe_job("succeeded", "LOW", 2.5, stages={"decode": 0.1, "syncnet": 0.4})
    metrics.observe_job("failed", None, 1.0, code="no_face")
    metrics.observe_job("cancelled", None, 1.0)
    metrics.observe_upload(1000)
    after = shown(app)
    for labels in ended.values():
        key = ("syncnet_jobs_total", labels)
        assert after[key] == before.get(key, 0) + 1
    more: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
        ("syncnet_stage_seconds_sum", (("stage", "syncnet"),)): 0.4,
        ("syncnet_job_seconds_sum", (("state", "succeeded"),)): 2.5,
        ("syncnet_upload_bytes_total", ()): 1000,
    }
    for key, by in more.items():
        assert after[key] == pytest.approx(before.get(key, 0) + by)


@pytest.mark.slow
@given(st.text(), st.text(), st.text(), st.text(max_size=12))
def test_no_label_is_of_the_senders_making(state: str, risk: str, code: str, method: str) -> None:
    metrics.observe_job(state, risk, 0.1, code=code, stages={state: 0.1})
    metrics.observe_request("/score", method, 200, 0.1)
    word = metrics._WORD
    told = figures(metrics_page.page(Store()).decode())
    for _, labels in told:
        for name, value in labels:
            assert value == "" or word.fullmatch(value) or name in {"le", "route", "status"}
        assert dict(labels).get("method", "GET") in metrics._METHODS | {metrics.OTHER}


COUNT = """
import sys
from service import metrics
for _ in range(int(sys.argv[1])):
    metrics.observe_request("/score", "POST", 200, 0.2)
    metrics.observe_job("succeeded", "LOW", 0.2, stages={"decode": 0.1})
"""

SHOW = """
import sys
from service import metrics_page
from test_metrics import Store
sys.stdout.write(metrics_page.page(Store()).decode())
"""


def test_all_processes_count_together(tmp_path: Path) -> None:
    """Also what those counted that have ended since."""
    environment = {
        **os.environ,
        metrics.FOLDER_VARIABLE: str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }

    def run(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda count: run(COUNT, count), ("3", "5", "7")))
    told = figures(run(SHOW))
    labels = (("method", "POST"), ("route", "/score"), ("status", "200"))
    assert told["syncnet_requests_total", labels] == 15
    assert told["syncnet_stage_seconds_count", (("stage", "decode"),)] == 15
    bucket = (("le", "0.1"), ("route", "/score"))
    assert told["syncnet_request_seconds_bucket", bucket] == 0
    assert told["syncnet_request_seconds_count", (("route", "/score"),)] == 15
    assert told["syncnet_jobs_open", (("state", "queued"),)] == 2
