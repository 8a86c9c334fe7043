"""The wiring: what an application loads, what it leaves behind, how it is deployed."""

import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import service_doubles as doubles
from flask import Flask
from serving import ROOT, TESTS

import service
from app import close, create_app
from service.health import FRESH_S
from service.settings import Settings, SettingsError
from syncnet_python import weights
from syncnet_python.profiles import BUNDLED, PUBLISHED

HEAVY = ("torch", "cv2", "av", "scipy", "PIL", "syncnet_wrapper", "syncnet_python.media")


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    apps: list[Flask] = []

    def make(**settings: object) -> Flask:
        values = {**Settings.model_construct().model_dump(), "data_dir": tmp_path, **settings}
        app = create_app(Settings.model_validate(values), engine=doubles.BUILD)
        apps.append(app)
        return app

    yield make
    for app in apps:
        close(app)


WEB_PROCESS = """
import sys
from app import close
from service_doubles import make_app
from io import BytesIO
app = make_app()
client = app.test_client()
assert client.get("/health").status_code == 200
answer = client.post("/score", data={"video": (BytesIO(b"answer"), "a.webm")})
assert answer.status_code == 200, answer.text
close(app)
print(*sys.modules)
"""


@pytest.mark.slow
def test_the_web_process_never_imports_what_only_the_analysis_needs(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DATA_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)]),
    }
    printed = subprocess.run(
        [sys.executable, "-c", WEB_PROCESS],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    loaded = set(printed.split())
    assert "flask" in loaded
    assert not loaded & set(HEAVY)


def test_an_application_of_its_own_for_each_caller(make_app: Callable[..., Flask]) -> None:
    one, two = make_app(), make_app(max_video_size_mb=1)
    assert one.extensions["uploads"].folder != two.extensions["uploads"].folder
    assert one.config["MAX_CONTENT_LENGTH"] > two.config["MAX_CONTENT_LENGTH"]


def test_closing_removes_the_uploads_folder_and_may_be_repeated(
    make_app: Callable[..., Flask],
) -> None:
    app = make_app()
    folder: Path = app.extensions["uploads"].folder
    assert folder.is_dir()
    close(app)
    close(app)
    assert not folder.exists()


def test_nothing_runs_until_a_request_needs_it(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    assert app.test_client().get("/health").status_code == 200
    assert app.extensions["jobs"].worker.pid() is None


def test_health_tells_what_is_there_and_what_is_loaded(make_app: Callable[..., Flask]) -> None:
    client = make_app(max_video_size_mb=7, processing_timeout_seconds=9).test_client()
    body = client.get("/health").get_json()
    assert body["status"] == "degraded"  # no worker runs yet
    assert body["version"] == service.__version__
    assert body["config"] == {
        "max_video_size_mb": 7,
        "processing_timeout": 9,
        "max_duration_s": 30,
        "retention_seconds": 86400,
    }
    assert set(body["detectors"]) == set(weights.registry())
    for name, detector in body["detectors"].items():
        assert detector["origin"] == weights.registry()[name].origin
        assert detector["available"] == (weights.locate(name) is not None)
        assert detector["loaded"] is False
    assert body["models_loaded"] is False


def test_health_of_the_browser_route_wraps_it(make_app: Callable[..., Flask]) -> None:
    client = make_app().test_client()
    body = client.get("/api/avsync/health").get_json()
    assert body == {
        "status": "degraded",
        "service": "avsync",
        "python_service": client.get("/health").get_json(),
    }


def test_health_follows_the_model_profile_and_explicit_paths(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    """The published pair is available once both files are there, wherever they lie."""
    s3fd = tmp_path / "elsewhere.pth"
    models = tmp_path / "models"
    models.mkdir()
    places = {"s3fd_model_path": s3fd, "models_dir": models, "model_profile": "published"}
    client = make_app(**places).test_client()
    assert client.get("/health").get_json()["syncnet_available"] is False
    s3fd.write_bytes(b"")
    (models / "syncnet_v2.model").write_bytes(b"")
    body = client.get("/health").get_json()
    assert body["syncnet_available"] is True
    assert body["detectors"]["s3fd"]["available"] is True


def test_health_knows_which_networks_each_profile_takes() -> None:
    for profile, choice in {"bundled": BUNDLED, "published": PUBLISHED}.items():
        for name in choice.for_sync:
            assert weights.registry()[name].origin == profile


def test_a_service_without_a_worker_is_alive_and_not_ready(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    client = app.test_client()
    assert client.get("/health/live").get_json() == {"status": "alive"}
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.get_json()["reasons"]) == (503, ["no_worker"])
    app.extensions["jobs"].store.beat("here-0", ["syncnet_fcn"])
    time.sleep(FRESH_S)
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.get_json()["reasons"]) == (200, [])
    body = client.get("/health").get_json()
    assert body["status"] == "healthy"
    assert body["detectors"]["syncnet_fcn"]["loaded"] is True
    app.extensions["draining"] = lambda: True
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.get_json()["reasons"]) == (503, ["draining"])


def test_metrics_and_scores_need_a_key_where_one_is_needed(make_app: Callable[..., Flask]) -> None:
    client = make_app(host="0.0.0.0", api_key="a key of twenty letters").test_client()
    for path in ("/metrics", "/score", "/jobs/x", "/no/such/route"):
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()["code"]) == (401, "unauthorized")
    key = {"X-API-Key": "a key of twenty letters"}
    assert "syncnet_jobs_open" in client.get("/metrics", headers=key).text
    assert client.get("/health").status_code == 200


def test_a_public_application_without_a_key_is_not_made(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(SettingsError, match="there is no API key"):
        make_app(host="0.0.0.0")


def test_every_answer_has_the_security_headers(make_app: Callable[..., Flask]) -> None:
    client = make_app().test_client()
    for path in ("/health", "/metrics", "/no/such/route", "/score"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["Cache-Control"] == "no-store"


def test_no_origin_may_call_by_default(make_app: Callable[..., Flask]) -> None:
    client = make_app().test_client()
    answer = client.get("/health", headers={"Origin": "https://app.example.org"})
    assert "access-control-allow-origin" not in answer.headers


def test_what_nobody_expected_is_a_problem_too(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()

    @app.get("/broken")
    def broken() -> str:
        raise ZeroDivisionError("".join(["sec", "ret"]))

    answer = app.test_client().get("/broken")
    assert (answer.status_code, answer.mimetype) == (500, "application/problem+json")
    assert answer.get_json()["code"] == "internal"
    assert [
        vars(record).get("kind") for record in caplog.records if record.levelname == "ERROR"
    ] == ["ZeroDivisionError"]
    assert "secret" not in caplog.text + str([vars(record) for record in caplog.records])
    assert "secret" not in answer.text


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert service.__version__ == project["version"]


def test_the_deployment_names_what_exists(make_app: Callable[..., Flask]) -> None:
    """render.yaml: commands, settings and a health path that this checkout has."""
    text = (ROOT / "render.yaml").read_text()
    assert "\n    startCommand: gunicorn app:app -c gunicorn_config.py\n" in text
    (health,) = re.findall(r"\n    healthCheckPath: (.+)\n", text)
    assert health in {rule.rule for rule in make_app().url_map.iter_rules()}
    assert "- key: API_KEY\n        generateValue: true\n" in text
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    (torch,) = (line for line in lines if line.startswith("torch=="))
    assert f"pip install {torch} --index-url https://download.pytorch.org/whl/cpu\n" in text
    assert "&& python -m cli models verify\n" in text
    pairs = re.findall(r"- key: (\w+)\n +value: (.+)", text)
    settings = {name.lower(): value.strip('"') for name, value in pairs}
    assert settings.pop("python_version").startswith("3.11.")
    assert settings.pop("forwarded_allow_ips") == "*"  # gunicorn's own
    assert set(settings) <= set(Settings.model_fields)
    read = Settings.model_validate(settings)
    assert read.host == "0.0.0.0"
    assert f"mountPath: {read.data_dir}\n" in text
