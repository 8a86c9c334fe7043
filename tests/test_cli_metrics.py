"""`syncnet-service metrics`: what it prints and writes, and its exit status."""

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import parity
import pytest
import torch
from typer.testing import CliRunner, Result

import cli
from evaluation import lse, picture_quality
from evaluation.lse_protocols import PROTOCOLS
from evaluation.samples import talking_clip
from service.settings import Settings
from syncnet_python import weights

SMALL = {"size": (160, 120), "container": "mp4-h264-aac"}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def told(result: Result) -> dict[str, object]:
    """The one object on standard output."""
    return dict(json.loads(result.stdout, parse_constant=pytest.fail))


@pytest.fixture(autouse=True)
def only_default_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)  # away from any .env


@pytest.fixture
def no_published_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights.registry()
    monkeypatch.setattr(weights, "BUNDLED_DIR", tmp_path / "nowhere")


@pytest.fixture
def formula_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with a SyncNet v2 whose parameters follow from a formula, and are registered."""
    folder = tmp_path_factory.mktemp("models")
    file = folder / "syncnet_v2.model"
    torch.save(parity.syncnet_state(), file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    table = dict(weights.registry())
    table["syncnet_v2"] = replace(table["syncnet_v2"], size=None, sha256=sha256)
    monkeypatch.setattr(weights, "registry", lambda: table)
    return folder


@pytest.mark.usefixtures("no_published_weights")
@pytest.mark.parametrize("protocol", ["wav2lip-real", "wav2lip-lrs", "latentsync"])
def test_without_published_weights_there_are_no_lse_figures(protocol: str, tmp_path: Path) -> None:
    used = run("metrics", "lse", tmp_path, "--protocol", protocol)
    assert used.exit_code == 1
    assert used.stdout == ""
    (line,) = used.stderr.splitlines()
    assert "syncnet_v2" in line
    assert "--network fcn" in line
    assert "models fetch" in line


def test_whole_frames_are_refused_for_the_bundled_network(tmp_path: Path) -> None:
    used = run("metrics", "lse", tmp_path, "--protocol", "wav2lip-lrs", "--network", "fcn")
    assert used.exit_code == 2
    assert used.stderr.count("\n") == 1


def test_an_unknown_protocol_is_wrong_usage(tmp_path: Path) -> None:
    assert run("metrics", "lse", tmp_path, "--protocol", "talknet").exit_code == 2


@pytest.mark.slow
def test_figures_of_the_original_network(formula_weights: Path, tmp_path: Path) -> None:
    """Its weights are not trained, so the figures are held to the library's own."""
    (tmp_path / "in").mkdir()
    talking_clip(tmp_path / "in" / "a.mp4", seconds=0.6, **SMALL)
    talking_clip(tmp_path / "in" / "b.mp4", seconds=0.6, seed=2, **SMALL)
    asked = ("metrics", "lse", "in", "--protocol", "wav2lip-lrs", "--models-dir", formula_weights)
    used = run(*asked, "--json", "--device", "cpu")
    assert used.exit_code == 0, used.stderr
    report = told(used)
    assert (report["protocol"], report["network"]) == ("wav2lip-lrs", "syncnet_v2")
    assert (report["comparable"], report["warning"]) == (True, None)
    meter, _ = lse.load(PROTOCOLS["wav2lip-lrs"], models_dir=formula_weights, device="cpu")
    expected = {f"in/{n}.mp4": meter.video(tmp_path / "in" / f"{n}.mp4") for n in "ab"}
    videos = report["videos"]
    assert isinstance(videos, list)
    assert {v["file"]: v["lse_d"] for v in videos} == {
        name: pytest.approx(found.lse_d) for name, found in expected.items()
    }
    mean = report["mean"]
    assert isinstance(mean, dict)
    assert mean["count"] == 2
    shown = run(*asked)
    assert "Protocol wav2lip-lrs, network syncnet_v2" in shown.stdout
    assert f"{mean['lse_d']:.3f}" in shown.stdout
    assert "Not comparable" not in shown.stdout


@pytest.mark.slow
def test_figures_of_the_bundled_network_with_failures(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    size = {"size": (320, 240), "container": "mp4-h264-aac"}
    talking_clip(tmp_path / "in" / "good.mp4", seconds=2.2, face_height=0.7, **size)
    talking_clip(tmp_path / "in" / "short.mp4", seconds=1.0, face_height=0.7, **size)
    (tmp_path / "in" / "broken.mp4").write_text("not a video at all")
    asked = ("metrics", "lse", "in", "absent.mp4", "--protocol", "latentsync", "--network", "fcn")
    used = run(*asked, "--output", "out")
    assert used.exit_code == 1
    assert "Not comparable" in used.stdout
    assert "mean over 1 videos" in used.stdout
    assert used.stderr.count("not measured:") == 3
    assert "3 not measured, and not in the mean" in used.stderr
    stored = json.loads((tmp_path / "out" / "lse.json").read_text())
    assert [video["file"] for video in stored["videos"]] == ["in/good.mp4"]
    assert {failure["code"] for failure in stored["failed"]} == {
        "no_such_file",
        "track_too_short",
        "unsupported_media",
    }
    with (tmp_path / "out" / "lse.csv").open(newline="") as file:
        assert {row["network"] for row in csv.DictReader(file)} == {"syncnet_fcn"}
    again = run(*asked, "--output", "out", "--json")
    assert told(again)["videos"] == stored["videos"]


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("output", [(), ("--output", "out")])
def test_ctrl_c_says_what_is_kept(
    output: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a.mp4").write_text("any")
    monkeypatch.setattr(lse.Meter, "video", interrupted)
    used = run("metrics", "lse", "a.mp4", "--network", "fcn", *output)
    assert used.exit_code == 130
    assert ("goes on from here" in used.stderr) == bool(output)
    assert ("Nothing is kept" in used.stderr) != bool(output)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "true.mp4", tmp_path / "made.mp4"
    talking_clip(paths[0], seconds=0.4, **SMALL)
    talking_clip(paths[1], seconds=0.6, blur=1.0, **SMALL)
    return paths


def test_quality_as_json(pair: tuple[Path, Path]) -> None:
    used = run("metrics", "quality", *pair, "--json")
    assert used.exit_code == 0, used.stderr
    report = told(used)
    expected = picture_quality.compare(*pair)
    assert report["psnr"] == pytest.approx(expected.psnr)
    assert report["ssim"] == pytest.approx(expected.ssim)
    assert report["compared_frames"] == 10
    assert (report["reference_s"], report["generated_s"]) == (0.4, 0.6)
    frames = report["frames"]
    assert isinstance(frames, list)
    assert [frame["time_s"] for frame in frames] == [round(n / 25, 3) for n in range(10)]


def test_quality_for_people(pair: tuple[Path, Path]) -> None:
    used = run("metrics", "quality", *pair, "--frames", "frames.csv")
    assert used.exit_code == 0, used.stderr
    assert "PSNR" in used.stdout
    assert "SSIM" in used.stdout
    assert "only the first 0.4 s are compared" in used.stdout
    assert len(Path("frames.csv").read_text().splitlines()) == 11


def test_identical_videos_give_valid_json(pair: tuple[Path, Path]) -> None:
    report = told(run("metrics", "quality", pair[0], pair[0], "--json"))
    assert report["psnr"] is None
    assert report["identical_frames"] == 10
    assert "no bound" in run("metrics", "quality", pair[0], pair[0]).stdout


def test_sizes_are_refused_in_one_line(pair: tuple[Path, Path], tmp_path: Path) -> None:
    talking_clip(tmp_path / "other.mp4", seconds=0.4, size=(128, 96), container="mp4-h264-aac")
    used = run("metrics", "quality", pair[0], "other.mp4")
    assert used.exit_code == 1
    (line,) = used.stderr.splitlines()
    assert "160x120" in line
    assert "--resize" in line
    resized = run("metrics", "quality", pair[0], "other.mp4", "--resize")
    assert resized.exit_code == 0
    assert "scaled from 128x96 pixels (cubic)" in resized.stdout


def test_what_is_not_there_is_one_line(pair: tuple[Path, Path]) -> None:
    used = run("metrics", "quality", pair[0], "absent.mp4")
    assert used.exit_code == 1
    assert used.stderr.count("\n") == 1
    assert "absent.mp4" in used.stderr
