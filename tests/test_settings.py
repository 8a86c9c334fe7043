"""Settings: one table, told in full, checked at start."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from service.settings import Settings, SettingsError, as_json, from_json, load, pages
from syncnet_python import calibration, profiles, weights
from syncnet_python.calibration import Calibration, Fit, Thresholds
from syncnet_python.score_maps import Identity

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting from the environment, no .env in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_example_lists_every_setting_as_it_is() -> None:
    assert (ROOT / ".env.example").read_text() == pages.env_example()


def test_the_docs_list_every_setting_as_it_is() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == pages.docs_page()


def test_every_setting_has_a_meaning() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("page", ["env", "docs"])
def test_the_pages_are_printed_by_a_command(page: str) -> None:
    command = [sys.executable, "-m", "service.settings", page]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed == {"env": pages.env_example, "docs": pages.docs_page}[page]()


def test_the_example_copied_to_env_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    assert load() == Settings.model_construct()


def test_the_environment_comes_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PORT=6000\nMAX_FRAMES=5\n")
    monkeypatch.setenv("PORT", "7000")
    read = load()
    assert (read.port, read.max_frames) == (7000, 5)


def test_defaults_are_those_of_the_issue() -> None:
    read = load()
    assert read.bind == "127.0.0.1:5000"
    assert read.max_video_bytes == 10 * 1024 * 1024
    assert read.processing_timeout_seconds == 30
    assert (read.syncnet_weight, read.efficientnet_weight) == (0.4, 0.6)
    assert (read.model_profile, read.device, read.precision) == ("auto", "auto", "auto")
    assert read.video_root is None
    assert read.cors_origins == ()
    assert not read.preload_models


def test_a_list_is_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "https://a.example, http://localhost:3000 ,")
    assert load().cors_origins == ("https://a.example", "http://localhost:3000")


def test_weights_files_are_passed_on_by_their_registry_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("S3FD_MODEL_PATH", "SYNCNET_MODEL_PATH", "EFFICIENTNET_MODEL_PATH"):
        monkeypatch.setenv(name, f"/weights/{name}")
    paths = load().weights_paths
    assert paths["syncnet_v2"] == Path("/weights/SYNCNET_MODEL_PATH")
    assert len(paths) == 3
    assert set(paths) <= set(weights.registry())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("WEB_THREADS", "1"),
        ("MAX_VIDEO_SIZE_MB", "0"),
        ("MAX_VIDEO_SIZE_MB", "-1"),
        ("MAX_VIDEO_SIZE_MB", "inf"),
        ("MAX_DURATION_SECONDS", "nan"),
        ("PROCESSING_TIMEOUT_SECONDS", "soon"),
        ("MODEL_PROFILE", "best"),
        ("DEVICE", "tpu"),
        ("PRECISION", "bfloat16"),
        ("PRELOAD_MODELS", "perhaps"),
        ("VIDEO_ROOT", "/no/such/folder"),
        ("OUTGOING_ALLOW", "http://example.org"),
        ("MAX_QUEUE", "0"),
        ("LOG_FORMAT", "xml"),
        ("SYNCNET_WEIGHT", "1.5"),
        ("CORS_ORIGINS", "example.org"),
        ("CORS_ORIGINS", "https://"),
        ("CORS_ORIGINS", "https://a.example/"),
        ("CORS_ORIGINS", "https://*.example.org"),
        ("LOG_LEVEL", "loud"),
        ("CALIBRATION_FILE", "/no/such/file.json"),
        ("CALIBRATION_FILE", "/dev/null"),
    ],
)
def test_a_bad_value_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load()
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"settings: {name}={value}: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEY", "fifteen-letters"),
        ("WEBHOOK_SECRET", "whsec_c2hvcnQ="),
        ("DATABASE_URL", "mysql://root:hunter2@host/name"),
    ],
)
def test_a_bad_secret_is_named_and_not_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^settings: {name}: ") as caught:
        load()
    assert value not in str(caught.value)


def test_another_process_of_ours_gets_the_same_settings_with_their_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = load(
        api_key="a key of sixteen", database_url="postgres://a:b@h/n", data_dir=tmp_path
    )
    assert "sixteen" not in repr(settings)
    monkeypatch.setenv("PORT", "1")
    assert from_json(as_json(settings)) == settings


def test_where_jobs_and_recordings_are_kept(tmp_path: Path) -> None:
    settings = load(data_dir=tmp_path)
    assert settings.database == f"sqlite:///{tmp_path}/jobs.sqlite"
    assert settings.storage == f"{tmp_path}/media"
    elsewhere = load(database_url="postgres://a:b@h/n", storage_url="s3://bucket")
    assert elsewhere.database == "postgresql+psycopg://a:b@h/n"
    assert elsewhere.storage == "s3://bucket"


@pytest.mark.parametrize(
    ("host", "allow", "allowed"),
    [
        ("127.0.0.1", None, True),
        ("::1", None, True),
        ("localhost", None, True),
        ("0.0.0.0", None, False),
        ("example.org", None, False),
        ("0.0.0.0", True, True),
        ("127.0.0.1", False, False),
    ],
)
def test_only_this_machine_is_answered_without_a_key(
    host: str, allow: bool | None, allowed: bool
) -> None:
    assert load(host=host, allow_anonymous=allow).anonymous_allowed is allowed


def test_every_bad_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("DEVICE", "y")
    with pytest.raises(SettingsError, match=r"PORT=x: .*; DEVICE=y: "):
        load()


def test_the_shares_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCNET_WEIGHT", "0.5")
    with pytest.raises(
        SettingsError, match=r"^settings: SYNCNET_WEIGHT and .* add up to 1.1, not 1$"
    ):
        load()
    monkeypatch.setenv("EFFICIENTNET_WEIGHT", "0.5")
    assert load().syncnet_weight == 0.5


def stored_calibration(path: Path, **fields: object) -> Path:
    """A calibration that changes nothing, of the bundled networks unless said otherwise."""
    hashes = {name: weights.entry(name).sha256 or "" for name in profiles.BUNDLED.names}
    whole: dict[str, object] = {
        "name": "test",
        "made": date(2026, 11, 21),
        "networks": hashes,
        "capture_offset": 0.0,
        "sync_map": Identity(),
        "artifact_map": Identity(),
        "thresholds": Thresholds(),
        "weights": {"syncnet": 0.4, "efficientnet": 0.6},
        "fitted": Fit(5, 0, 5, 0.05, None),
    }
    calibration.save(Calibration(**{**whole, **fields}), path)  # type: ignore[arg-type]
    return path


def test_a_calibration_is_read_at_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load().calibration is None
    path = stored_calibration(tmp_path / "door.json")
    monkeypatch.setenv("CALIBRATION_FILE", str(path))
    monkeypatch.setenv("MODEL_PROFILE", "bundled")
    assert load().calibration == calibration.load(path)
    again = Settings.model_validate(load().model_dump(mode="json"))
    assert again.calibration == calibration.load(path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"networks": {"syncnet_fcn": "a" * 64}}, "was fitted for syncnet_fcn"),
        ({"weights": {"syncnet": 0.5, "efficientnet": 0.5}}, "weighing 0.5, not 0.4"),
    ],
)
def test_a_calibration_of_other_networks_stops_the_start_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fields: dict[str, object], said: str
) -> None:
    path = stored_calibration(tmp_path / "door.json", **fields)
    monkeypatch.setenv("CALIBRATION_FILE", str(path))
    monkeypatch.setenv("MODEL_PROFILE", "bundled")
    with pytest.raises(SettingsError) as caught:
        load()
    (line,) = str(caught.value).splitlines()
    assert line.startswith("settings: CALIBRATION_FILE: calibration 'test' was fitted")
    assert said in line
    assert "syncnet-service calibrate" in line


def test_what_is_given_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALIBRATION_FILE", "/no/such/file.json")
    monkeypatch.setenv("PORT", "7000")
    assert load(calibration_file=None, port=7001).port == 7001


def test_an_ipv6_address_is_bound_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "::1")
    assert load().bind == "[::1]:5000"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().port = 1
