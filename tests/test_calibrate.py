"""Learning a calibration: from figures whose truth is known, and from recordings end to end."""

import json
import shutil
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import Server
from typer.testing import CliRunner, Result

import cli
from evaluation import calibrate
from evaluation.calibrate import Measured
from evaluation.calibration_report import summary
from evaluation.inputs import InputError
from evaluation.samples import talking_clip
from service.settings import Settings
from syncnet_python import calibration, scale
from syncnet_python.calibration import Calibration
from syncnet_python.errors import TooFewRecordings
from syncnet_python.results import ModelInfo, OffsetCurve
from syncnet_python.score_maps import Isotonic, Linear, Platt

SHARES = {"syncnet": 0.4, "efficientnet": 0.6}
MODELS = {"syncnet_v2": ModelInfo("syncnet_v2", "2", "published", "a" * 64)}
TODAY = date(2026, 11, 21)


def recordings(
    genuine: int, fake: int = 0, *, lag: float = 5.0, seed: int = 0, people: int = 10
) -> list[Measured]:
    """Of a set-up whose sound leads by `lag` frames. Fakes are dubbed: their faces are real."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(genuine + fake):
        real = number < genuine
        offset = rng.normal(lag, 0.3) if real else rng.uniform(-15, 15)
        made.append(
            Measured(
                group=f"person {number % people}",
                genuine=real,
                network="syncnet_v2",
                confidence=float(rng.normal(8.0 if real else 2.0, 1.0)),
                min_dist=float(rng.normal(6.5 if real else 11.0, 0.5)),
                subframe_offset=round(float(offset), 1),
                offset_frames=round(float(offset)),
                curve=OffsetCurve((0,), (8.0,)),
                artifact=float(rng.uniform(0.5, 0.9)),
                clear=real,
            )
        )
    return made


def learn(measured: list[Measured], **options: object) -> Calibration:
    given = {"name": "test", "made": TODAY, **options}
    return calibrate.learn(measured, MODELS, SHARES, **given)  # type: ignore[arg-type]


def test_genuine_recordings_alone_give_lag_and_thresholds_and_say_what_they_cannot() -> None:
    learnt = learn(recordings(40))
    assert learnt.capture_offset == pytest.approx(5, abs=0.2)
    assert learnt.fitted.capture_interval is not None
    assert isinstance(learnt.sync_map, Linear)
    assert isinstance(learnt.artifact_map, Linear)
    assert learnt.artifact_map(0.7) == pytest.approx(0.9, abs=0.05)
    assert learnt.networks == {"syncnet_v2": "a" * 64}
    assert (learnt.fitted.genuine, learnt.fitted.fake, learnt.fitted.groups) == (40, 0, 10)
    assert learnt.fitted.figures["genuine_not_allowed"] <= 0.05
    assert "fake_allowed" not in learnt.fitted.figures
    (note,) = learnt.fitted.notes
    assert "genuine recordings alone" in note
    assert "no false-accept rate is known" in note


def test_fakes_teach_the_score_that_they_show_in_and_no_other() -> None:
    learnt = learn(recordings(40, 40))
    assert isinstance(learnt.sync_map, Platt | Isotonic)
    assert isinstance(learnt.artifact_map, Linear)
    figures = learnt.fitted.figures
    assert figures["sync_log_loss"] < 0.3
    assert figures["sync_reliability_error"] < 0.2
    assert figures["combined_auc"] > 0.95
    assert figures["fake_allowed"] <= figures["fake_allowed_high"] < 0.3
    assert any(note.startswith("the artifact score: does not tell") for note in learnt.fitted.notes)


def test_a_recording_with_the_set_ups_lag_scores_as_one_without() -> None:
    learnt = learn(recordings(40, 40))
    late, prompt = (scale.score(scale.SYNCNET_V2, 8.0, 6.5, offset) for offset in (5, 0))
    left = calibration.corrected_offset(5.2, learnt.capture_offset)
    assert left == 0
    assert late < prompt == scale.score(scale.SYNCNET_V2, 8.0, 6.5, left)


def test_the_kind_of_map_can_be_chosen() -> None:
    for kind, form in (("isotonic", Isotonic), ("platt", Platt), ("linear", Linear)):
        assert isinstance(learn(recordings(40, 40), kind=kind).sync_map, form)
    with pytest.raises(TooFewRecordings, match="without fakes"):
        learn(recordings(40), kind="platt")


@pytest.mark.parametrize(("genuine", "fake"), [(0, 0), (4, 0), (4, 10), (10, 4)])
def test_fewer_than_five_are_too_few(genuine: int, fake: int) -> None:
    with pytest.raises(TooFewRecordings, match=r"[04] (genuine|fakes)"):
        learn(recordings(genuine, fake))


def test_too_few_for_the_rate_is_said() -> None:
    learnt = learn(recordings(12), false_reject=0.05)
    notes = " ".join(learnt.fitted.notes)
    assert "only 12 genuine recordings" in notes
    assert "cannot show a false-reject rate under 7.7%; 5.0% takes 19" in notes
    figures = learnt.fitted.figures
    assert figures["genuine_not_allowed_low"] == 0
    assert figures["genuine_not_allowed_high"] > 0.2


def test_offsets_that_scatter_make_no_lag() -> None:
    rng = np.random.default_rng(0)
    scattered = [
        replace(row, subframe_offset=round(float(rng.uniform(-10, 10)), 1))
        for row in recordings(30)
    ]
    learnt = learn(scattered)
    assert learnt.capture_offset == 0
    assert learnt.fitted.capture_interval is None
    assert any("no capture offset is claimed" in note for note in learnt.fitted.notes)


def test_recordings_of_which_nothing_can_be_said_are_not_forgotten() -> None:
    (note,) = (n for n in learn(recordings(30), inconclusive=3).fitted.notes if "inconc" in n)
    assert note.startswith("3 recordings were inconclusive")


def test_only_clear_genuine_offsets_make_the_lag() -> None:
    rows = [
        replace(row, clear=number >= 20, subframe_offset=row.subframe_offset + 8 * (number < 20))
        for number, row in enumerate(recordings(40, 10))
    ]
    assert learn(rows).capture_offset == pytest.approx(5, abs=0.3)


def test_one_person_a_side_is_cross_validated_by_recording() -> None:
    rows = [replace(row, group=str(row.genuine)) for row in recordings(20, 20)]
    learnt = learn(rows)
    assert any("too few people" in note for note in learnt.fitted.notes)
    assert "sync_log_loss" in learnt.fitted.figures


@pytest.mark.parametrize("fake", [0, 30])
def test_what_was_learnt_is_told_in_rows(tmp_path: Path, fake: int) -> None:
    learnt = calibration.save(learn(recordings(30, fake)), tmp_path / "c.json")
    rows = dict(summary(learnt))
    assert rows["recordings"].startswith(f"30 genuine, {fake} fake")
    assert "frames" in rows["capture offset"]
    assert "ALLOW" in rows["thresholds"]
    assert ("fakes allowed" in rows) == bool(fake)


def test_people_are_known_by_their_folders(tmp_path: Path) -> None:
    for name in ("genuine/anna/1.webm", "genuine/anna/day 2/2.webm", "genuine/alone.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("fake/anna/swap.mp4", "fake/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    items = calibrate.read_items(tmp_path / "genuine", tmp_path / "fake")
    assert [(item.name, item.real, item.group) for item in items] == [
        ("alone.mp4", True, "alone.mp4"),
        ("anna/1.webm", True, "anna"),
        ("anna/day 2/2.webm", True, "anna"),
        ("anna/swap.mp4", False, "anna"),
    ]
    with pytest.raises(InputError, match="marked as a fake"):
        calibrate.read_items(tmp_path, None)
    with pytest.raises(InputError):
        calibrate.read_items(tmp_path / "nowhere", None)


def test_a_list_of_recordings_names_the_people(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    listed = tmp_path / "mine.csv"
    listed.write_text("file,group\na.mp4,anna\nb.mp4,anna\n")
    assert [item.group for item in calibrate.read_items(listed, None)] == ["anna", "anna"]


LAG = 5
CLIP: dict[str, Any] = {"container": "mp4-h264-aac", "size": (400, 300), "seconds": 4.0}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six visitors whose camera delays the picture, one file that is no video; one visitor more,
    as that camera has him and as another would."""
    folder = tmp_path_factory.mktemp("set-up")
    (folder / "genuine").mkdir()
    for seed in range(6):
        talking_clip(folder / f"genuine/{seed}.mp4", seed=seed, offset_frames=LAG, **CLIP)
    (folder / "genuine/notes.webm").write_text("not a video at all")
    talking_clip(folder / "late.mp4", seed=31, offset_frames=LAG, **CLIP)
    talking_clip(folder / "prompt.mp4", seed=31, **CLIP)
    return folder


@pytest.fixture(scope="module")
def calibrated(folder: Path) -> Result:
    return run(
        *("calibrate", "--genuine", folder / "genuine", "--out", folder / "door.json"),
        *("--name", "front door", "--profile", "bundled"),
    )


@pytest.fixture(autouse=True)
def only_default_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)  # away from any .env


@pytest.mark.slow
def test_the_command_learns_the_lag_and_says_what_it_cannot_tell(
    folder: Path, calibrated: Result
) -> None:
    assert calibrated.exit_code == 1, "one file could not be used"
    assert "notes.webm" in calibrated.stderr
    assert "Traceback" not in calibrated.stderr
    learnt = calibration.load(folder / "door.json")
    assert learnt.name == "front door"
    assert learnt.capture_offset == pytest.approx(LAG, abs=0.5)
    assert learnt.fitted.genuine == 6
    for said in ("capture offset", "thresholds", "genuine recordings alone", "only 6 genuine"):
        assert said in calibrated.stdout


@pytest.mark.slow
def test_what_was_measured_is_not_measured_again(
    folder: Path, calibrated: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = calibration.load(folder / "door.json")

    def measured_again(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(calibrate, "_figures", measured_again)
    again = run(
        *("calibrate", "--genuine", folder / "genuine", "--out", folder / "door.json"),
        *("--name", "front door", "--profile", "bundled", "--json"),
    )
    assert again.exit_code == 1
    assert "measured again" not in again.stderr
    told = json.loads(again.stdout)
    assert told["calibration"]["name"] == "front door"
    assert [failure["file"] for failure in told["not_used"]] == ["notes.webm"]
    assert replace(calibration.load(folder / "door.json"), made=first.made, sha256="") == replace(
        first, sha256=""
    )


@pytest.mark.slow
def test_with_its_calibration_a_constant_lag_costs_nothing(
    folder: Path, calibrated: Result
) -> None:
    def scored(*arguments: object) -> dict[str, Any]:
        printed = run("score", "--json", "--profile", "bundled", *arguments)
        assert printed.exit_code == 0, printed.stderr
        return {
            Path(row["file"]).name: row["verdict"]
            for row in map(json.loads, printed.stdout.splitlines())
        }

    clips = (folder / "late.mp4", folder / "prompt.mp4")
    raw = scored(*clips)
    mended = scored("--calibration", folder / "door.json", clips[0])["late.mp4"]
    late, prompt, after = (v["syncnet"] for v in (raw["late.mp4"], raw["prompt.mp4"], mended))
    assert late["score"] < prompt["score"] - 0.05
    assert after["score"] >= prompt["score"] - 0.02
    assert after["raw_score"] == late["score"] == late["raw_score"]
    assert after["offset_frames"] == late["offset_frames"]
    assert abs(after["offset_frames"] - LAG) <= 1
    assert "LOW_OFFSET" not in raw["late.mp4"]["reason_codes"]
    assert "LOW_OFFSET" in mended["reason_codes"]
    assert mended["combined_score"] >= raw["prompt.mp4"]["combined_score"] - 0.02
    assert raw["late.mp4"]["calibration"] is None
    assert mended["calibration"]["name"] == "front door"


@pytest.mark.slow
def test_the_service_applies_and_names_it(folder: Path, calibrated: Result, tmp_path: Path) -> None:
    settings = {"CALIBRATION_FILE": folder / "door.json", "MODEL_PROFILE": "bundled"}
    stored = calibration.load(folder / "door.json")
    with Server(tmp_path, PROCESSING_TIMEOUT_SECONDS=250, **settings) as server:
        answer = server.post((folder / "late.mp4").read_bytes())
        health = server.client.get("/health").json()
    assert answer.status_code == 200, answer.text
    body = answer.json()
    named = {
        "name": "front door",
        "sha256": stored.sha256,
        "made": stored.made.isoformat(),
        "capture_offset": stored.capture_offset,
    }
    assert body["calibration"] == health["calibration"] == named
    assert body["syncnet"]["score"] > body["syncnet"]["raw_score"] + 0.05
    assert "LOW_OFFSET" in body["reason_codes"]
    assert abs(body["offset_frames"] - LAG) <= 1


@pytest.mark.slow
def test_a_calibration_that_cannot_be_used_stops_command_and_service_in_one_line(
    folder: Path, calibrated: Result, tmp_path: Path
) -> None:
    whole = json.loads((folder / "door.json").read_text())
    whole["calibration"]["networks"]["syncnet_fcn"] = "0" * 64
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(whole))
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    for path, said in ((wrong, "was fitted for syncnet_fcn 0000"), (broken, "is no calibration")):
        used = run("score", "--profile", "bundled", "--calibration", path, folder / "prompt.mp4")
        assert used.exit_code == 2
        assert said in used.stderr
        assert used.stderr.count("\n") == 1
        with pytest.raises(RuntimeError, match="ended at start") as caught:
            Server(tmp_path, CALIBRATION_FILE=path, MODEL_PROFILE="bundled").__enter__()
        log = str(caught.value).partition("\n")[2].strip()
        assert said in log
        assert len(log.splitlines()) == 1


@pytest.mark.slow
def test_too_few_that_can_be_used_are_an_error(folder: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    shutil.copy(folder / "prompt.mp4", few)
    (few / "notes.webm").write_text("not a video at all")
    used = run("calibrate", "--genuine", few, "--out", tmp_path / "c.json", "--profile", "bundled")
    assert used.exit_code == 2
    assert "1 genuine recordings can be used; 5 are needed" in used.stderr
    assert not (tmp_path / "c.json").exists()


def test_without_scikit_learn_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in sys.modules if name.startswith("evaluation.calib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.isotonic", None)
    used = run("calibrate", "--genuine", tmp_path, "--out", tmp_path / "c.json")
    assert used.exit_code == 2
    assert "pip install -r requirements-evaluate.txt" in used.stderr
