"""The command line: what it prints, and its exit status."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import CONTENT, Behaviour, entry, serve
from rich.console import Console
from typer.testing import CliRunner, Result

import cli
import service
from cli import models
from cli.console import describe
from cli.scoring import save_heat_maps, verdict_table
from evaluation.samples import talking_clip
from service.settings import Settings
from syncnet_python import weights
from syncnet_python.errors import NoFace
from syncnet_python.profiles import Choice
from syncnet_python.results import (
    ArtifactResult,
    CalibrationInfo,
    HeatMap,
    Missing,
    OffsetCurve,
    Statistics,
    SyncResult,
    Verdict,
    VideoInfo,
)

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def only_default_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)  # away from any .env


@pytest.fixture
def registered(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Behaviour, dict[str, weights.WeightsEntry]]]:
    """A registry of two published files, which make up a profile and a server on loopback has."""
    with serve() as (behaviour, url):
        table = {
            "first": entry(url, name="first", filename="first.pth"),
            "second": entry(url, name="second", filename="second.pth"),
        }
        monkeypatch.setattr(weights, "registry", lambda: table)
        monkeypatch.setattr(models, "PUBLISHED", Choice("first", "second", "second"))
        yield behaviour, table


def test_list_shows_every_row_and_what_is_here(tmp_path: Path) -> None:
    shown = run("models", "list")
    assert shown.exit_code == 0
    rows = json.loads(run("models", "list", "--json").stdout)
    assert [row["name"] for row in rows] == list(weights.registry())
    for row in rows:
        assert row["name"] in shown.stdout
        here = weights.locate(row["name"])
        assert row["path"] == (str(here) if here else None)


def test_list_loads_no_networks() -> None:
    asked = "import sys, cli; sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], cwd=ROOT).returncode == 0


def test_fetch_downloads_what_is_not_here_then_nothing(
    registered: tuple[Behaviour, dict[str, weights.WeightsEntry]], tmp_path: Path
) -> None:
    behaviour, _ = registered
    fetched = run("models", "fetch", "--models-dir", tmp_path / "m")
    assert fetched.exit_code == 0
    assert fetched.stdout.split() == [str(tmp_path / "m" / f"{n}.pth") for n in ("first", "second")]
    assert (tmp_path / "m" / "first.pth").read_bytes() == CONTENT
    again = run("models", "fetch", "--models-dir", tmp_path / "m")
    assert again.exit_code == 0
    assert "are here" in again.stderr
    assert len(behaviour.requests) == 2


def test_fetch_follows_the_settings(
    registered: tuple[Behaviour, dict[str, weights.WeightsEntry]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "elsewhere"))
    assert run("models", "fetch", "second").exit_code == 0
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == ["second.pth"]


def test_one_failed_download_does_not_stop_the_others(
    registered: tuple[Behaviour, dict[str, weights.WeightsEntry]], tmp_path: Path
) -> None:
    _, table = registered
    table["first"] = replace(table["first"], sha256="0" * 64)
    fetched = run("models", "fetch", "--models-dir", tmp_path / "m")
    assert fetched.exit_code == 1
    assert "hash differs" in fetched.stderr
    assert "Traceback" not in fetched.stderr
    again = run("models", "fetch", "first", "--models-dir", tmp_path / "m", "--json")
    assert again.exit_code == 1
    assert json.loads(again.stdout)["error"]["code"] == "weights_corrupt"
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["second.pth"]


def test_verify_tells_right_from_wrong(
    registered: tuple[Behaviour, dict[str, weights.WeightsEntry]], tmp_path: Path
) -> None:
    verify = ("models", "verify", "--models-dir", tmp_path)
    assert run(*verify).exit_code == 0, "published weights need not be here"
    missing = run(*verify, "first")
    assert missing.exit_code == 1
    assert "models fetch" in missing.stdout
    told = json.loads(run(*verify, "first", "--json").stdout)
    assert (told["sha256"], told["error"]["code"]) == (None, "weights_missing")
    (tmp_path / "first.pth").write_bytes(CONTENT)
    right = run(*verify, "first")
    assert right.exit_code == 0
    assert str(registered[1]["first"].sha256) in right.stdout
    told = json.loads(run(*verify, "first", "--json").stdout)
    assert told["sha256"] == registered[1]["first"].sha256
    assert told["error"] is None
    (tmp_path / "first.pth").write_bytes(CONTENT[:-1])
    wrong = run(*verify)
    assert wrong.exit_code == 1
    assert "WRONG" in wrong.stdout


def test_verify_wants_bundled_weights(
    registered: tuple[Behaviour, dict[str, weights.WeightsEntry]], tmp_path: Path
) -> None:
    _, table = registered
    table["first"] = replace(table["first"], origin="bundled", url=None)
    assert run("models", "verify", "--models-dir", tmp_path).exit_code == 1


def test_verify_passes_on_the_weights_that_come_with_the_package() -> None:
    bundled = [row.name for row in weights.registry().values() if row.origin == "bundled"]
    assert bundled
    assert run("models", "verify", *bundled).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["models", "fetch", "nonesuch"],
        ["models", "verify", "nonesuch"],
        ["score"],
        ["score", "--device", "tpu", "clip.webm"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    used = run(*arguments)
    assert used.exit_code == 2
    assert "Traceback" not in used.stderr


def test_a_broken_calibration_stops_scoring_but_not_what_mends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "door.json"
    broken.write_text("{")
    for arguments in (["score", "--calibration", broken, "clip.webm"], ["score", "clip.webm"]):
        used = run(*arguments)
        assert used.exit_code == 2
        assert used.stderr.count("\n") == 1
        assert "CALIBRATION_FILE" in used.stderr
        assert "is no calibration" in used.stderr
        monkeypatch.setenv("CALIBRATION_FILE", str(broken))
    assert run("models", "list").exit_code == 0


def test_a_wrong_setting_is_one_line_and_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_FRAMES", "none")
    used = run("models", "list")
    assert used.exit_code == 2
    assert used.stderr.count("\n") == 1
    assert "MAX_FRAMES" in used.stderr


def test_the_version_is_printed() -> None:
    assert run("--version").stdout.strip() == service.__version__


def test_a_setting_that_this_machine_cannot_follow_is_unusable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    used = run("score", "--device", "cuda", tmp_path / "any.webm")
    assert used.exit_code == 2
    assert "DEVICE is cuda" in used.stderr


def test_what_the_system_refuses_is_told_without_its_number(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent") as missing:
        (tmp_path / "absent").read_bytes()
    assert describe(missing.value)["message"] == f"{tmp_path / 'absent'}: no such file or directory"
    assert describe(OSError("in its own words"))["message"] == "in its own words"
    used = run("video", "info", tmp_path / "absent")
    assert used.exit_code == 1
    assert used.stderr.count("absent") == 1
    assert "Errno" not in used.stderr


@pytest.mark.slow
def test_a_folder_is_referred_to_batch(tmp_path: Path) -> None:
    used = run("score", "--profile", "bundled", tmp_path)
    assert used.exit_code == 1
    assert "is a folder; `syncnet-service batch` scores all below it" in used.stderr


@pytest.mark.slow
def test_files_that_cannot_be_scored_are_named_and_the_others_are_scored(tmp_path: Path) -> None:
    talking_clip(tmp_path / "good.webm", seconds=3.0, seed=1)
    (tmp_path / "notes.webm").write_text("not a video at all")
    files = [tmp_path / name for name in ("absent.webm", "notes.webm", "good.webm")]
    used = run("score", "--profile", "bundled", *files)
    assert used.exit_code == 1
    lines = used.stderr.splitlines()
    assert len(lines) == 2
    assert "absent.webm: no such file" in lines[0]
    assert "notes.webm" in lines[1]
    assert "Send a WebM" in lines[1]
    assert "good.webm" in used.stdout


@pytest.mark.slow
def test_json_is_one_object_a_line(tmp_path: Path) -> None:
    talking_clip(tmp_path / "good.webm", seconds=3.0, seed=1)
    (tmp_path / "notes.webm").write_text("not a video at all")
    files = [tmp_path / "notes.webm", tmp_path / "good.webm"]
    used = run("score", "--json", "--profile", "bundled", *files)
    assert used.exit_code == 1
    wrong, right = map(json.loads, used.stdout.splitlines())
    assert wrong["file"] == str(files[0])
    assert wrong["error"]["code"] == "unsupported_media"
    assert 0 <= right["verdict"]["combined_score"] <= 1
    assert right["verdict"]["syncnet"]["network"] == "syncnet_fcn"
    assert len(right["verdict"]["syncnet"]["curve"]["offsets"]) == 31


@pytest.mark.slow
def test_heat_maps_are_written_and_said_where(tmp_path: Path) -> None:
    clips = [tmp_path / "a" / "my clip.webm", tmp_path / "b" / "my clip.webm"]
    for path in clips:
        path.parent.mkdir()
    talking_clip(clips[0], seconds=2.0, seed=1)
    clips[1].write_bytes(clips[0].read_bytes())
    folder = tmp_path / "deep" / "maps"
    used = run("score", "--json", "--profile", "bundled", "--heatmap", folder, *clips)
    assert used.exit_code == 0, used.stderr
    pictures = [folder / f"my_clip.webm{n}.heatmap.png" for n in ("", "-2")]
    assert sorted(folder.iterdir()) == sorted(pictures)
    rows = [json.loads(line)["verdict"]["efficientnet"] for line in used.stdout.splitlines()]
    for row, picture in zip(rows, pictures, strict=True):
        assert base64.b64decode(row["heatmap"]["png"]) == picture.read_bytes()
        assert cv2.imread(str(picture)).shape == (224, 224, 3)
        assert str(picture) in used.stderr


@given(st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1), max_size=6))
def test_pictures_keep_to_their_folder_and_to_themselves(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("maps")
    drawn = replace(face(), heatmap=HeatMap(0.0, 0.7, base64.b64encode(b"png").decode()))
    outcomes = [(Path("/clips") / name, replace(verdict(), efficientnet=drawn)) for name in names]
    failed = (Path("/clips/failed"), NoFace("nobody"))
    passed = list(save_heat_maps([*outcomes, failed], folder))
    assert passed == [*outcomes, failed]
    written = list(folder.iterdir())
    assert len(written) == len(names)
    assert len({path.name.casefold() for path in written}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+\.heatmap\.png", path.name) for path in written)
    assert not any(path.name.startswith((".", "-")) for path in written)


def test_a_verdict_without_a_heat_map_writes_none(tmp_path: Path) -> None:
    outcomes = [(Path("clip"), verdict()), (Path("clip"), replace(verdict(), efficientnet=face()))]
    assert list(save_heat_maps(outcomes, tmp_path)) == outcomes
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_verbose_shows_the_traceback(tmp_path: Path) -> None:
    (tmp_path / "notes.webm").write_text("not a video at all")
    command = ["score", "--profile", "bundled", tmp_path / "notes.webm"]
    assert "Traceback" not in run(*command).stderr
    assert "Traceback" in run("-v", *command).stderr


@pytest.mark.slow
def test_demo_writes_two_clips_and_prefers_the_one_in_sync(tmp_path: Path) -> None:
    used = run("demo", "--output-dir", tmp_path / "demo")
    assert used.exit_code == 0, used.stderr
    clips = [tmp_path / "demo" / name for name in ("in_sync.webm", "dubbed.webm")]
    assert sorted((tmp_path / "demo").iterdir()) == sorted(clips)
    assert all(clip.name in used.stdout for clip in clips)
    scored = run("score", "--json", *clips)
    own, other = (json.loads(line)["verdict"]["syncnet"] for line in scored.stdout.splitlines())
    assert abs(own["offset_frames"]) <= 1
    assert own["score"] > other["score"]


def verdict() -> Verdict:
    curve = OffsetCurve(tuple(range(-15, 16)), (1.0,) * 31)
    return Verdict(
        combined_score=0.834,
        risk_level="LOW",
        is_likely_real=True,
        decision="NEXT",
        reason_codes=("HIGH_SYNC_SCORE",),
        inconclusive=True,
        missing=(Missing("efficientnet", "weights_missing", "no [classifier]", "fetch it"),),
        weights={"syncnet": 0.4, "efficientnet": 0.6},
        syncnet=SyncResult(
            0.91, -3, -120, 6.2, 7.1, "p", "net", 50, curve, (), (), -3.1, (), (), (), 0.91
        ),
        efficientnet=None,
        quality=None,
        video=VideoInfo(4.0, 640, 480, 30.0, "vp8", 100),
        models={},
    )


def face() -> ArtifactResult:
    statistics = Statistics(0.7, 0.0, 0.7, 0.7)
    return ArtifactResult(True, 0.7, 0.4, 0.9, 1, (0.7,), (0.0,), statistics, 1.0, 0.7)


def printed(*verdicts: Verdict) -> str:
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(verdict_table([(Path("[clip].webm"), v) for v in verdicts]))
    return capture.get()


def test_the_table_says_what_each_part_says() -> None:
    text = printed(verdict())
    for said in (
        "[clip].webm",
        "0.83",
        "LOW",
        "NEXT",
        "offset -3 frames (-120 ms)",
        "confidence 6.20",
        "inconclusive; efficientnet missing: no [classifier]",
    ):
        assert said in text


def test_the_table_says_why_nothing_can_be_said_and_which_calibration_spoke() -> None:
    sync = verdict().syncnet
    assert sync is not None
    silent = replace(
        verdict(),
        missing=(),
        syncnet=replace(sync, doubts=("NO_SPEECH", "MOUTH_STILL")),
        calibration=CalibrationInfo("front door", "0" * 64, "2026-11-21", 5.0),
    )
    assert "inconclusive: NO_SPEECH, MOUTH_STILL; calibrated: front door" in printed(silent)


def test_the_table_invents_nothing() -> None:
    empty = replace(verdict(), combined_score=None, risk_level=None, syncnet=None)
    row = printed(empty).splitlines()[-1].split()
    assert row[1:6] == ["-", "-", "NEXT", "-", "-"]
    assert "0.70" in printed(replace(empty, efficientnet=face()))


def test_errors_for_programs() -> None:
    assert describe(NoFace("nobody")) == {
        "code": "no_face",
        "message": "nobody",
        "advice": NoFace.advice,
    }
    assert describe(FileNotFoundError("no such file"))["code"] == "no_such_file"
    assert describe(PermissionError("denied"))["code"] == "file"
    broken = describe(ZeroDivisionError("oh"))
    assert broken["code"] == "analysis_failed"
    assert broken["message"] == "ZeroDivisionError: oh"
