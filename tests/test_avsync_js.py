"""The browser's script: its own tests by node's runner, its size, and what it knows of answers."""

import dataclasses
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from service import responses
from service.problems import ProblemBody
from syncnet_python import results

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "service" / "page" / "avsync"
TYPES = (PACKAGE / "avsync.d.ts").read_text()

MAX_BYTES = 20_000
OLDEST_NODE = 20


def node() -> str:
    """Its path; skips where it is absent or too old for the runner."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not here, which runs the script's own tests")
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(told.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"node {told.strip()} is here, and {OLDEST_NODE} is needed")
    return found


@pytest.mark.slow
def test_its_own_tests_pass() -> None:
    ran = subprocess.run(
        [node(), "--test", "--test-reporter=tap"],
        cwd=PACKAGE,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    passed = re.search(r"^# pass (\d+)$", ran.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) > 0


def test_it_is_small_enough() -> None:
    assert (PACKAGE / "avsync.js").stat().st_size <= MAX_BYTES


def test_the_package_is_as_old_as_the_service() -> None:
    package = json.loads((PACKAGE / "package.json").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert package["version"] == project["version"]
    assert package["license"] == project["license"]
    assert (PACKAGE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def fields(interface: str) -> set[str]:
    """What the types say that it has."""
    body = re.search(
        rf"^export interface {interface} {{\n(.*?)^}}", TYPES, re.MULTILINE | re.DOTALL
    )
    assert body is not None
    return set(re.findall(r"^\t(\w+):", body[1], re.MULTILINE))


def test_its_types_are_those_of_the_answers() -> None:
    assert fields("Verdict") == set(responses.VerdictBody.model_fields)
    assert fields("Job") == set(responses.JobBody.model_fields)
    assert fields("Problem") == set(ProblemBody.model_fields)
    for kind in (results.SyncResult, results.ArtifactResult):
        assert fields(kind.__name__) == {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("code", [*get_args(results.Risk), *get_args(results.Doubt)])
def test_it_has_words_for_every_risk_and_doubt(code: str) -> None:
    script = (PACKAGE / "avsync.js").read_text()
    assert re.search(rf"^(\w+,)*{code}(,\w+)*\|", script, re.MULTILINE)
