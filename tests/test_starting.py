"""Settings that name what is not here stop the service at its start, in one line; who starts it in
a terminal is told where its page is."""

import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import httpx
import pytest
import torch
from serving import GUNICORN, ROOT, TESTS, Server, free_port
from typer.testing import CliRunner

from cli import app
from service.settings import Settings, SettingsError
from service.starting import announcement, check_networks

APPLICATION = "service_doubles:make_app()"

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


@pytest.mark.parametrize(
    ("listens_on", "page"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/"),
        ("http://0.0.0.0:80", "http://127.0.0.1:80/"),
        ("http://[::1]:5000", "http://[::1]:5000/"),
        ("http://[::]:5000", "http://[::1]:5000/"),
        ("https://0.0.0.0:5000", "https://127.0.0.1:5000/"),
        ("http://127.0.0.2:5000", "http://127.0.0.2:5000/"),
        ("http://[2001:db8::1]:5000", "http://[2001:db8::1]:5000/"),
    ],
)
def test_the_page_is_named_as_a_browser_takes_it(listens_on: str, page: str) -> None:
    assert f" {page} " in announcement(listens_on)


@pytest.mark.slow
def test_logs_of_a_service_without_a_terminal_are_json_alone(tmp_path: Path) -> None:
    with Server(tmp_path, APPLICATION) as server:
        assert server.client.get("/").status_code == 200
    lines = server.log.read_text().splitlines()
    assert lines
    assert all(isinstance(json.loads(line), dict) for line in lines)


@pytest.mark.slow
def test_in_a_terminal_one_line_is_for_people(tmp_path: Path) -> None:
    """What it promises holds: the page is there, and Ctrl+C ends the service, without a fuss."""
    port = free_port()
    with in_a_terminal(DATA_DIR=tmp_path, PORT=port) as (service, terminal):
        lines = said(terminal)
        told = next((line for line in lines if not line.startswith("{")), "")
        page = re.search(r"http://\S+/", told)
        assert page is not None, told
        assert page[0] == f"http://127.0.0.1:{port}/"
        answer = httpx.get(page[0])
        assert answer.headers["Content-Type"].startswith("text/html")
        os.write(terminal.fileno(), b"\x03")
        assert [line for line in lines if not line.startswith(("{", "^C"))] == []
        assert service.wait() == 0


@contextmanager
def in_a_terminal(**settings: object) -> Iterator[tuple[subprocess.Popen[bytes], TextIO]]:
    """The service as somebody starts it by hand, and the other side of the terminal."""
    ours, theirs = pty.openpty()
    given = {"PYTHONPATH": str(TESTS), **{name: str(value) for name, value in settings.items()}}
    service = subprocess.Popen(
        [GUNICORN, APPLICATION, "-c", "gunicorn_config.py"],
        cwd=ROOT,
        env={**os.environ, **given},
        preexec_fn=lambda: os.login_tty(theirs),
    )
    os.close(theirs)
    try:
        with os.fdopen(ours) as terminal:
            yield service, terminal
    finally:
        service.terminate()
        service.wait()


def said(terminal: TextIO) -> Iterator[str]:
    """What is said in a terminal, line by line, until nobody is left who could."""
    try:
        yield from terminal
    except OSError:  # how a terminal ends
        return
