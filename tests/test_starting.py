"""Settings that name what is not here stop the service at its start, in one line."""

from pathlib import Path
from typing import Any

import pytest
import torch
from serving import Server
from typer.testing import CliRunner

from cli import app
from service.settings import Settings, SettingsError
from service.starting import check_networks

PATHS = ["MODELS_DIR", "S3FD_MODEL_PATH", "SYNCNET_MODEL_PATH", "EFFICIENTNET_MODEL_PATH"]

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


def settings(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


@pytest.mark.parametrize("name", PATHS)
def test_weights_that_are_not_there_are_named(tmp_path: Path, name: str) -> None:
    check_networks(settings(), scores=True)
    place = tmp_path / "there"
    place.mkdir() if name == "MODELS_DIR" else place.touch()
    check_networks(settings(**{name.lower(): place}), scores=True)
    with pytest.raises(SettingsError, match=f"{name}=.*/nowhere: there is no such f"):
        check_networks(settings(**{name.lower(): tmp_path / "nowhere"}), scores=False)


def test_a_folder_is_no_file_of_weights_and_a_file_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        check_networks(settings(syncnet_model_path=tmp_path), scores=True)
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="no such folder"):
        check_networks(settings(models_dir=tmp_path / "file"), scores=True)


@no_gpu
@pytest.mark.slow
def test_a_gpu_that_is_not_there_is_refused_where_it_is_needed() -> None:
    with pytest.raises(SettingsError, match="DEVICE=cuda"):
        check_networks(settings(device="cuda"), scores=True)
    check_networks(settings(device="cuda"), scores=False)
    check_networks(settings(device="auto"), scores=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SYNCNET_MODEL_PATH", "/nowhere/weights.pth"),
        pytest.param("DEVICE", "cuda", marks=[no_gpu, pytest.mark.slow]),
    ],
)
def test_the_service_ends_at_once_with_one_line(tmp_path: Path, name: str, value: str) -> None:
    server = Server(tmp_path, **{name: value})
    with pytest.raises(RuntimeError, match=f"settings: {name}={value}"), server:
        raise AssertionError("it answers")
    said = server.log.read_text()
    assert "Traceback" not in said
    assert not server.data.exists()  # nothing was made


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODELS_DIR", "/nowhere/weights"),
        pytest.param("DEVICE", "cuda", marks=[no_gpu, pytest.mark.slow]),
    ],
)
def test_a_worker_ends_at_once_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LOCAL_WORKER", "false")  # as on a machine that only works
    monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, ["worker"])
    assert result.exit_code == 2
    assert f"settings: {name}={value}" in result.stderr
    assert not (tmp_path / "data").exists()
