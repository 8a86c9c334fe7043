"""`syncnet-service evaluate …`: what it writes, prints, and where it goes on after Ctrl-C."""

import builtins
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import cli
from efficientnet_detector import EfficientNetDetector
from evaluation import artifact, commands, statistics
from service.settings import Settings
from syncnet_python import weights


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def only_default_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)  # away from any .env, and where the files are written by default


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 20)


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """A folder of six pictures, half of them called fake, and one file that is none."""
    rng = np.random.default_rng(0)
    for label in ("real", "fake"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        for number in range(3):
            picture = rng.integers(0, 255, (40, 40, 3)).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "faces" / label / f"{number}.png"), picture)
    (tmp_path / "faces" / "real" / "broken <b>.jpg").write_bytes(b"no picture")
    return tmp_path / "faces"


@pytest.mark.slow
def test_artifact_writes_figures_a_page_and_rows(tmp_path: Path, crops: Path) -> None:
    done = run("evaluate", "artifact", crops, "--crops", "--files", "rows.csv")
    assert done.exit_code == 0, "one file that cannot be measured stops nothing"
    assert "efficientnet_b0: AUC" in done.stdout
    assert "Written: evaluation.json, evaluation.html, rows.csv" in done.stdout
    assert "broken <b>.jpg" in done.stderr

    body = json.loads((tmp_path / "evaluation.json").read_text())
    assert body["command"] == f"syncnet-service evaluate artifact {crops} --crops"
    assert (body["files"]["listed"], body["files"]["measured"]) == (7, 6)
    assert [failure["file"] for failure in body["failures"]] == ["real/broken <b>.jpg"]
    assert body["networks"][0]["sha256"] == weights.entry("efficientnet_b0").sha256
    figures = body["figures"]["efficientnet_b0"]["frames"]["all"]

    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert len(rows) == 6
    pictures = [cv2.imread(str(crops / row["file"])) for row in rows]
    scores = EfficientNetDetector().predict_frames([np.asarray(p, np.uint8) for p in pictures])
    assert [float(row["efficientnet_b0"]) for row in rows] == pytest.approx(scores, abs=1e-4)
    real = [s for s, row in zip(scores, rows, strict=True) if row["label"] == "real"]
    fake = [s for s, row in zip(scores, rows, strict=True) if row["label"] == "fake"]
    assert figures["auc"]["value"] == pytest.approx(
        np.mean([r > f for r in real for f in fake]), abs=1e-6
    )

    page = (tmp_path / "evaluation.html").read_text()
    assert "broken &lt;b&gt;.jpg" in page
    assert "broken <b>" not in page
    assert page.count("<svg") >= 4
    assert not list(tmp_path.glob("*.part"))


def test_where_no_file_can_be_measured_the_command_fails(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "broken.jpg").write_bytes(b"no picture")
    done = run("evaluate", "artifact", "faces", "--crops")
    assert done.exit_code == 1
    assert "no file could be measured" in done.stderr
    body = json.loads((tmp_path / "evaluation.json").read_text())
    assert body["failures"][0]["code"] == "undecodable"


@pytest.mark.slow
def test_ctrl_c_leaves_what_the_next_run_goes_on_from(
    tmp_path: Path, crops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (crops / "real" / "broken <b>.jpg").unlink()
    read = artifact.FaceReader.read
    begun: list[str] = []

    def interrupted(self: artifact.FaceReader, path: Path) -> list[artifact.Picture]:
        begun.append(path.name)
        if len(begun) == 4:
            raise KeyboardInterrupt
        return read(self, path)

    monkeypatch.setattr(artifact.FaceReader, "read", interrupted)
    stopped = run("evaluate", "artifact", crops, "--crops")
    assert stopped.exit_code == 130
    assert "goes on from here" in stopped.stderr
    assert "evaluation.journal" in stopped.stderr
    assert not (tmp_path / "evaluation.json").exists()

    done = run("evaluate", "artifact", crops, "--crops")
    assert done.exit_code == 0
    assert len(begun) == 4 + 3, "three were measured before, the fourth is tried again"

    assert run("evaluate", "artifact", crops, "--crops", "--fresh").exit_code == 0
    assert len(begun) == 4 + 3 + 6


def test_bad_lists_are_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file,label\nno.mp4,real\n")
    for kind in ("artifact", "system", "sync"):
        refused = run("evaluate", kind, "list.csv")
        assert refused.exit_code == 1
        assert "list.csv, line 2: there is no file no.mp4" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert not (tmp_path / "evaluation.json").exists()


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real_import = builtins.__import__

    def without_matplotlib(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "evaluation" and args[2] == ("commands",):
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    refused = run("evaluate", "system", tmp_path)
    assert refused.exit_code == 2
    assert "matplotlib: pip install -r requirements-evaluate.txt" in refused.stderr


def test_the_published_classifier_is_evaluated_beside_the_bundled_where_it_is_here(
    tmp_path: Path,
) -> None:
    both = commands.classifier_profiles(Settings(models_dir=tmp_path))
    assert both == ["bundled"]
    (tmp_path / "best_model-v3.pt").write_bytes(b"here")
    assert commands.classifier_profiles(Settings(models_dir=tmp_path)) == ["bundled", "published"]
    only = Settings(models_dir=tmp_path, model_profile="bundled")
    assert commands.classifier_profiles(only) == ["bundled"]


def test_the_command_is_what_to_type_again(tmp_path: Path) -> None:
    request = commands.Request(Path("my list.csv"), media=Path("media"))
    settings = Settings(model_profile="bundled", models_dir=tmp_path)
    assert commands.command(request, "artifact", settings, "--crops") == (
        f"syncnet-service evaluate artifact 'my list.csv' --crops --media media "
        f"--profile bundled --models-dir {tmp_path}"
    )


@pytest.fixture
def clips(tmp_path: Path, clip: Callable[[str], Path]) -> Path:
    """A CSV of a clip in sync and of the same face dubbed."""
    path = tmp_path / "clips.csv"
    rows = ["file,label,source,condition"]
    for name, label, condition in (("synced", "real", ""), ("dubbed", "fake", "dub")):
        rows.append(f"{clip(name)},{label},portrait,{condition}")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.slow
def test_system_end_to_end(tmp_path: Path, clips: Path) -> None:
    done = run("evaluate", "system", clips, "--profile", "bundled")
    assert done.exit_code == 0, done.output
    body = json.loads((tmp_path / "evaluation.json").read_text())
    assert body["files"]["measured"] == 2
    assert {"face_finder", "syncnet_fcn", "efficientnet_b0"} <= {
        n["name"] for n in body["networks"]
    }
    figures = body["figures"]
    assert figures["compared"] <= 2
    assert figures["decisions"]["real"]["BLOCK"]["value"] == 0
    assert figures["decisions"]["fake"]["ALLOW"]["value"] == 0
    page = (tmp_path / "evaluation.html").read_text()
    assert "What the service would answer" in page


@pytest.mark.slow
def test_artifact_end_to_end_on_videos(tmp_path: Path, clips: Path) -> None:
    done = run("evaluate", "artifact", clips, "--profile", "bundled")
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "evaluation.json").read_text())["figures"]
    videos, frames = (figures["efficientnet_b0"][name]["all"] for name in ("videos", "frames"))
    assert (videos["genuine"], videos["fakes"]) == (1, 1)
    assert (frames["genuine"], frames["fakes"]) == (20, 20)
