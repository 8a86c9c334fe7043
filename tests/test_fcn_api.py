"""The web API of FCN-SyncNet, as its clients call it, over the same jobs as POST /score."""

import io
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import service_apps as apps
import service_doubles as doubles
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from service import audit, responses, schemas
from service.fcn_api import MAX_NAME
from service.health import Pulse
from syncnet_python.errors import NoFace, WeightsMissing
from syncnet_python.results import CalibrationInfo, Missing

UNCALIBRATED = replace(doubles.VERDICT, calibration=None)
FIELDS = {
    *("success", "video_name", "offset_frames", "offset_seconds", "confidence", "raw_offset"),
    *("processing_time", "settings"),
}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    with apps.application(tmp_path) as app:
        yield app


def post(
    app: Flask, name: str = "clip.mp4", url: str = "/api/analyze", **said: str
) -> TestResponse:
    data = {"video": (io.BytesIO(b"recording"), name), **said}
    return app.test_client().post(url, data=data)


def assert_refused(answer: TestResponse, status: int, code: str) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    problem: dict[str, object] = answer.get_json()
    assert problem["success"] is False
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["error"] == problem["message"] == problem["detail"] != ""
    assert problem["type"] == f"urn:syncnet-service:problem:{code}"
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    return problem


@pytest.mark.parametrize("url", ["/api/detect", "/api/analyze"])
def test_a_recording_is_answered_as_the_original_does(app: Flask, url: str) -> None:
    with apps.scoring(app, UNCALIBRATED):
        answer = post(app, url=url)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    body = answer.get_json()
    assert set(body) >= FIELDS
    assert body["success"] is True
    assert body["video_name"] == "clip.mp4"
    assert (body["offset_frames"], body["raw_offset"], body["offset_seconds"]) == (-2, -2, -0.08)
    assert body["confidence"] == doubles.SYNC.confidence
    assert body["processing_time"] >= 0
    assert body["settings"] == {"window_size": 25, "stride": 5, "buffer_size": 100}
    assert body["doubts"] == []
    job = apps.jobs_of(app).store.get(body["job_id"])
    assert job is not None
    assert job.partial
    assert job.request_id == body["request_id"]


def test_what_the_set_up_always_adds_is_taken_off_but_for_the_raw_offset(app: Flask) -> None:
    lag = CalibrationInfo(name="door", sha256="1" * 64, made="2026-11-21", capture_offset=-5.0)
    with apps.scoring(app, replace(doubles.VERDICT, calibration=lag)):
        body = post(app).get_json()
    assert (body["offset_frames"], body["raw_offset"], body["offset_seconds"]) == (3, -2, 0.12)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a'b&c.mp4", "<script>.mp4", "clip", "Gesicht-é-\U0001f600.webm"]
)
def test_the_name_of_the_file_is_repeated_and_goes_nowhere_else(
    app: Flask, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with apps.scoring(app, UNCALIBRATED):
        answer = post(app, name=name)
    assert answer.get_json()["video_name"] == name
    assert json.dumps(name) not in caplog.text
    assert name not in caplog.text
    assert apps.media_of(app) == []
    with apps.jobs_of(app).engine.connect() as connection:
        jobs = connection.exec_driver_sql("SELECT * FROM jobs").fetchall()
    assert name not in repr(jobs)


def test_a_long_name_is_cut(app: Flask) -> None:
    with apps.scoring(app, UNCALIBRATED):
        body = post(app, name="n" * 1000).get_json()
    assert body["video_name"] == "n" * MAX_NAME


def test_the_settings_are_repeated_within_their_bounds(app: Flask) -> None:
    with apps.scoring(app, UNCALIBRATED):
        body = post(app, window_size="50", stride="0", buffer_size="9999").get_json()
    assert body["settings"] == {"window_size": 50, "stride": 1, "buffer_size": 500}


@given(st.integers(), st.integers(), st.integers())
def test_any_whole_number_is_brought_within_bounds(window: int, stride: int, buffer: int) -> None:
    said = MultiDict(
        {"window_size": str(window), "stride": str(stride), "buffer_size": str(buffer)}
    )
    fields = schemas.form_fields(said, {}, schemas.AnalyzeFields)
    assert (fields.window_size == window) is (5 <= window <= 100)
    assert (fields.stride == stride) is (1 <= stride <= 50)
    assert (fields.buffer_size == buffer) is (10 <= buffer <= 500)
    assert 5 <= fields.window_size <= 100
    assert 1 <= fields.stride <= 50
    assert 10 <= fields.buffer_size <= 500


@pytest.mark.parametrize("text", ["", "ten", "2.5", "true", "null"])
def test_settings_that_are_no_whole_numbers_are_refused_before_there_is_a_job(
    app: Flask, text: str
) -> None:
    problem = assert_refused(post(app, window_size=text), 400, "malformed_request")
    assert problem["error"] == "window_size: must be a whole number"
    assert apps.open_jobs(app) == []


def test_what_is_no_upload_is_refused(app: Flask) -> None:
    client = app.test_client()
    assert_refused(client.post("/api/analyze"), 400, "malformed_request")
    assert_refused(client.post("/api/detect", json={"video_path": "x"}), 400, "malformed_request")
    as_text = client.post(
        "/api/analyze", data={"video": "text"}, content_type="multipart/form-data"
    )
    assert_refused(as_text, 400, "malformed_request")
    assert_refused(post(app, user_consent="false"), 403, "no_consent")


def test_an_error_of_the_analysis_is_told_in_a_sentence(app: Flask) -> None:
    with apps.scoring(app, NoFace("no face was found in 100 frames")):
        problem = assert_refused(post(app), 422, "no_face")
    assert problem["error"] == "no face was found in 100 frames"


def test_lip_sync_that_is_missing_is_a_problem_and_a_face_that_is_missing_is_none(
    app: Flask,
) -> None:
    gone = Missing("syncnet", WeightsMissing.code, "syncnet_fcn.pt is not here", "Fetch it.")
    with apps.scoring(app, replace(UNCALIBRATED, syncnet=None, missing=(gone,))):
        problem = assert_refused(post(app), 503, "weights_missing")
    assert (problem["detail"], problem["advice"]) == (gone.message, gone.advice)
    with apps.scoring(app, replace(doubles.PARTIAL, calibration=None)):
        assert post(app).get_json()["success"] is True


def test_what_speaks_against_the_figures_is_told(app: Flask) -> None:
    doubtful = replace(doubles.SYNC, doubts=("MUSIC",))
    with apps.scoring(app, replace(UNCALIBRATED, syncnet=doubtful)):
        assert post(app).get_json()["doubts"] == ["MUSIC"]


def test_these_clients_always_wait(app: Flask) -> None:
    with apps.scoring(app, UNCALIBRATED):
        answer = app.test_client().post(
            "/api/analyze?async=1",
            data={"video": (io.BytesIO(b"recording"), "clip.mp4")},
            headers={"Prefer": "respond-async"},
        )
    assert answer.status_code == 200
    assert "Preference-Applied" not in answer.headers


def test_the_same_key_is_the_same_job(app: Flask) -> None:
    def again(stride: str) -> TestResponse:
        data = {"video": (io.BytesIO(b"recording"), "clip.mp4"), "stride": stride}
        headers = {"Idempotency-Key": "once"}
        return app.test_client().post("/api/detect", data=data, headers=headers)

    with apps.scoring(app, UNCALIBRATED):
        first, second, other = again("7"), again("7"), again("8")
    assert first.get_json()["job_id"] == second.get_json()["job_id"]
    assert second.headers["Idempotency-Replayed"] == "true"
    assert_refused(other, 422, "idempotency_key_reused")


def test_the_limits_and_the_deadline_are_those_of_every_recording(tmp_path: Path) -> None:
    with apps.application(
        tmp_path, max_queue_per_key=1, processing_timeout_seconds=0.3, max_video_size_mb=0.01
    ) as app:
        assert_refused(post(app), 503, "busy")  # its turn has not come
        assert apps.open_jobs(app) == []
        apps.post_async(app.test_client())
        refused = post(app)
        assert_refused(refused, 429, "too_many_jobs")
        assert int(refused.headers["Retry-After"]) > 0
        large = {"video": (io.BytesIO(bytes(200_000)), "clip.mp4")}
        assert_refused(app.test_client().post("/api/analyze", data=large), 413, "too_large")


def test_a_process_that_ends_has_the_recording_sent_again(app: Flask) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(post, app)
        while not apps.open_jobs(app):
            time.sleep(0.01)
        apps.jobs_of(app).watcher.stop()
        answer = waiting.result()
    assert_refused(answer, 503, "busy")
    assert answer.headers["Retry-After"]
    assert apps.open_jobs(app) == []


def test_both_ends_are_in_the_audit_log(app: Flask) -> None:
    with apps.scoring(app, UNCALIBRATED):
        post(app).close()
    jobs = apps.jobs_of(app)
    jobs.trail.flush()
    entries = list(audit.read(jobs.engine))
    assert [entry.action for entry in entries] == ["job.submitted", "job.delivered"]
    assert entries[1].outcome == UNCALIBRATED.decision


def test_a_key_is_asked_for_as_everywhere_but_for_the_status(tmp_path: Path) -> None:
    with apps.application(tmp_path, allow_anonymous=False, api_key="a key of sixteen") as app:
        assert_refused(post(app), 401, "unauthorized")
        assert app.test_client().get("/api/status").status_code == 200
        assert app.test_client().get("/api/analyze").status_code == 401


def test_the_status_is_that_of_the_networks_and_the_workers(app: Flask, tmp_path: Path) -> None:
    said = app.test_client().get("/api/status").get_json()
    assert said["status"] == "No Worker"
    assert said["pretrained_available"] is True
    assert re.fullmatch(r"\d+\.\d+\.\d+", said["version"])
    apps.jobs_of(app).store.beat("the test", ("syncnet_fcn",))
    app.extensions["pulse"] = Pulse(apps.jobs_of(app).store.workers)  # forgets what it was told
    assert app.test_client().get("/api/status").get_json()["status"] == "Model Ready"
    (tmp_path / "bare").mkdir()
    with apps.application(tmp_path / "bare", model_profile="published") as bare:
        said = bare.test_client().get("/api/status").get_json()
    assert (said["status"], said["pretrained_available"]) == ("No Pretrained Model", False)


def test_the_answers_are_the_models_of_the_document(app: Flask) -> None:
    with apps.scoring(app, UNCALIBRATED):
        body = post(app).get_json()
    assert set(body) == set(responses.AnalyzeBody.model_fields)
    assert responses.AnalyzeBody.model_validate(body).success
