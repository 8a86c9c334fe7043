"""The image and its composition, as far as they can be checked without an engine.

hadolint reads the Dockerfile; what it copies is copied, its last steps are run on the copy, and its
program is started there with its environment and asked by its health check.
"""

import fnmatch
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from serving import free_port

from service.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "Dockerfile"
BIN = Path(sys.executable).parent
OURS = ("web", "worker-1", "worker-2")
SECRETS = {
    "POSTGRES_PASSWORD": "a-password-of-the-database",
    "API_KEY": "a key of sixteen",
    "WEBHOOK_SECRET": "",
    "PUBLISH": "127.0.0.1:5000",
    "CORS_ORIGINS": "https://shop.example.org",
    "FORWARDED_ALLOW_IPS": "172.16.0.0/12",
}


def instructions(text: str) -> list[tuple[str, str]]:
    """Every instruction with its arguments, comments left out and lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = []
    for line in joined.splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            found.append((word, rest.strip()))
    return found


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of every stage."""
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions(DOCKERFILE.read_text()):
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def all_of(stage: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for found, rest in stage if found == word]


def environment(stage: list[tuple[str, str]]) -> dict[str, str]:
    pairs = [pair for rest in all_of(stage, "ENV") for pair in shlex.split(rest)]
    return dict(pair.split("=", 1) for pair in pairs)


def ignored(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore leaves a file out: the last line that fits it or a folder of it."""
    out = False
    parts = path.split("/")
    above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        names = above if not wanted.startswith("**/") else parts
        if any(fnmatch.fnmatchcase(name, wanted.removeprefix("**/")) for name in names):
            out = not pattern.startswith("!")
    return out


def context() -> list[Path]:
    """The files of the checkout that an engine would be sent."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    tops = {pattern[1:].split("/")[0] for pattern in patterns if pattern.startswith("!")}
    files = [f for top in tops for f in (ROOT / top, *(ROOT / top).rglob("*")) if f.is_file()]
    return [f for f in files if not ignored(f.relative_to(ROOT).as_posix(), patterns)]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `COPY . .` puts into the image."""
    folder = tmp_path_factory.mktemp("image") / "app"
    for path in context():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return folder


def inside(copied: Path, **given: str) -> dict[str, str]:
    """The environment of the image, without the virtual environment's own place."""
    told = environment(stages()[-1])
    told["PATH"] = f"{BIN}:/usr/bin:/bin"
    return {**told, "PYTHONPATH": str(copied), **given}


def test_hadolint_has_nothing_to_say() -> None:
    command = [BIN / "hadolint", "--failure-threshold", "style", "--no-color", DOCKERFILE]
    read = subprocess.run(command, capture_output=True, text=True)
    assert (read.returncode, read.stdout, read.stderr) == (0, "", "")


def test_base_images_are_named_with_their_version() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    images = [all_of(stage, "FROM")[0].split()[0] for stage in stages()]
    images.append(compose["services"]["database"]["image"])
    for image in images:
        name, _, tag = image.partition(":")
        assert name
        assert re.match(r"\d", tag), image
    assert {image for image in images if image.startswith("python")} == {
        "python:3.11-slim-bookworm"
    }


def test_nobody_is_root_and_nothing_builds_in_what_runs() -> None:
    *_, last = stages()
    (user,) = all_of(last, "USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    words = [word for word, _ in last]
    assert words.index("USER") < words.index("CMD")
    steps = " ".join(all_of(last, "RUN"))
    assert not re.search(r"\b(pip|apt-get|gcc|make|curl)\b", steps)
    assert all("--from=build" in rest for rest in all_of(last, "COPY"))
    told = environment(last)
    assert {name for name in told if name in _settings()} == {"HOST", "PORT", "DATA_DIR"}
    assert all_of(last, "VOLUME") == [json.dumps([told["DATA_DIR"]])]
    assert all_of(last, "EXPOSE") == [told["PORT"]]


def test_what_is_installed_is_what_the_checkout_is_tested_with() -> None:
    build = stages()[0]
    installs = " ".join(all_of(build, "RUN"))
    assert "-r requirements.txt" in installs
    torch = [n for n in (ROOT / "requirements.txt").read_text().splitlines() if n[:5] == "torch"]
    (pinned,) = torch
    assert re.search(rf"^TORCH := {re.escape(pinned)}$", (ROOT / "Makefile").read_text(), re.M)
    (index,) = all_of(build, "ARG")
    assert f"TORCH_INDEX ?= {index.partition('=')[2]}\n" in (ROOT / "Makefile").read_text()


def test_no_secrets_data_or_tests_are_sent_to_the_engine() -> None:
    sent = {path.relative_to(ROOT).as_posix() for path in context()}
    folders = {name.split("/")[0] for name in sent}
    assert not folders & {".env", ".git", ".venv", "data", "tests", "training", "benchmarks"}
    assert "docker/.env" not in sent
    assert not [name for name in sent if name.endswith((".pyc", ".part", ".pth", ".model"))]
    assert {"app.py", "models/registry.json", "requirements.txt", "docker/health.py"} <= sent
    assert ignored("docker/.env", ["*", "!docker/health.py"])
    assert not ignored("cli/x.py", ["*", "!cli"])
    assert ignored("cli/__pycache__/x.pyc", ["*", "!cli", "**/__pycache__"])


@pytest.mark.slow
def test_the_last_steps_of_the_build_run_on_what_is_copied(copied: Path) -> None:
    for step in all_of(stages()[-1], "RUN"):
        if "useradd" in step:  # that one is the engine's
            continue
        done = subprocess.run(
            ["/bin/sh", "-c", step],
            cwd=copied,
            env=inside(copied),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "syncnet_fcn: " in done.stdout
        assert "WRONG" not in done.stdout
    where = [
        sys.executable,
        "-c",
        "import app, syncnet_wrapper as w; print(app.__file__, w.__file__)",
    ]
    told = subprocess.run(where, cwd=copied, env=inside(copied), capture_output=True, text=True)
    assert told.stdout.split() == [str(copied / "app.py"), str(copied / "syncnet_wrapper.py")]


@pytest.mark.slow
def test_the_program_starts_and_its_health_check_finds_it(copied: Path, tmp_path: Path) -> None:
    last = stages()[-1]
    port = str(free_port())
    told = inside(copied, PORT=port, DATA_DIR=str(tmp_path / "data"), API_KEY="a key of sixteen")
    check = json.loads(all_of(last, "HEALTHCHECK")[0].partition("CMD ")[2])
    command = json.loads(all_of(last, "CMD")[0])
    asked: dict[str, Any] = {"cwd": copied, "env": told}
    assert subprocess.run(check, **asked).returncode == 1
    log = (tmp_path / "log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log, **asked) as process:
        try:
            while subprocess.run(check, **asked).returncode:
                assert process.poll() is None, (tmp_path / "log").read_text()
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                while client.get("/health/ready").status_code != 200:  # once its worker is there
                    assert process.poll() is None, (tmp_path / "log").read_text()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
    assert process.returncode == 0
    assert (tmp_path / "data" / "jobs.sqlite").is_file()


@pytest.mark.slow
def test_it_does_not_start_for_everybody_without_a_key(copied: Path, tmp_path: Path) -> None:
    command = json.loads(all_of(stages()[-1], "CMD")[0])
    told = inside(copied, PORT=str(free_port()), DATA_DIR=str(tmp_path / "data"))
    done = subprocess.run(
        command, cwd=copied, env=told, capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    assert "ALLOW_ANONYMOUS" in done.stderr


# The composition


def _settings() -> set[str]:
    return {name.upper() for name in Settings.model_fields}


def _filled_in(value: str) -> str:
    """With what docker/.env says in place of ${NAME…}."""
    return re.sub(r"\$\{(\w+)(:[-?][^}]*)?\}", lambda found: SECRETS[found[1]], value)


@pytest.fixture
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return read


def test_every_name_that_is_filled_in_is_in_the_example() -> None:
    text = (ROOT / "compose.yaml").read_text()
    example = (ROOT / "docker" / ".env.example").read_text()
    named = set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
    assert set(re.findall(r"\$\{(\w+)", text)) == named == set(SECRETS)
    for secret in ("POSTGRES_PASSWORD", "API_KEY"):
        assert f"\n{secret}=\n" in example
        assert f"${{{secret}:?" in text


@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_every_service_can_be_used(compose: dict[str, Any], name: str) -> None:
    given = {k: _filled_in(v) for k, v in compose["services"][name]["environment"].items()}
    given.pop("FORWARDED_ALLOW_IPS", None)  # gunicorn's own
    assert set(given) <= _settings()
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        **{key.lower(): value for key, value in given.items() if value},
    )
    assert settings.local_worker is (name != "web")
    assert settings.preload_models
    assert settings.database == (
        f"postgresql+psycopg://syncnet:{SECRETS['POSTGRES_PASSWORD']}@database/syncnet"
    )
    mounted = dict(v.split(":") for v in compose["services"][name]["volumes"])
    assert mounted["recordings"] == settings.storage
    assert mounted[name] == "/data"


@pytest.mark.parametrize("name", OURS)
def test_nothing_has_more_rights_than_it_needs(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["stop_grace_period"] == "25s"  # as docs/operations.md asks for
    assert service["depends_on"]["database"]["condition"] == "service_healthy"
    assert "privileged" not in service
    assert "docker.sock" not in json.dumps(service)


def test_the_parts_fit_together(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {*OURS, "database"}
    used = {v.split(":")[0] for s in services.values() for v in s["volumes"]}
    assert used == set(compose["volumes"])
    assert {n for s in services.values() for n in s["networks"]} == set(compose["networks"])
    assert services["database"]["networks"] == ["inside"]
    assert compose["networks"]["inside"] == {"internal": True}
    assert "ports" not in services["database"]
    made = " ".join(all_of(stages()[-1], "RUN"))
    assert "install -d -o syncnet -g syncnet -m 0700 /data /recordings" in made
    for name in OURS[1:]:
        assert services[name]["command"] == ["syncnet-service", "worker", "--name", name]
    assert services["database"]["healthcheck"]["test"][1] == "pg_isready"


def test_the_gpu_takes_the_place_of_the_processor(compose: dict[str, Any]) -> None:
    gpu = yaml.safe_load((ROOT / "compose.cuda.yaml").read_text())["services"]
    assert set(gpu) == set(OURS[1:])
    for service in gpu.values():
        assert service["image"] == "syncnet-service:cuda"
        assert list(service["build"]["args"]) == [
            arg.partition("=")[0] for arg in all_of(stages()[0], "ARG")
        ]
