"""An operator's calibration: its file, whom it belongs to, and what it does to results."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import service_doubles as doubles
from hypothesis import given
from hypothesis import strategies as st

from service.scoring import engine
from service.settings import Settings
from syncnet_python import calibration, scale, weights
from syncnet_python.calibration import Calibration, Fit, Thresholds, corrected_offset
from syncnet_python.errors import CalibrationMismatch, CalibrationUnusable
from syncnet_python.profiles import BUNDLED
from syncnet_python.score_maps import Identity, Isotonic, Linear, Platt

SHARES = {"syncnet": 0.4, "efficientnet": 0.6}
MADE = Calibration(
    name="front door – büro",
    made=date(2026, 11, 21),
    networks={"syncnet_fcn": "a" * 64, "efficientnet_b0": "b" * 64},
    capture_offset=5.04,
    sync_map=Platt(6.0, -3.0),
    artifact_map=Isotonic((0.2, 0.6), (0.1, 0.9)),
    thresholds=Thresholds(allow=0.7, real=0.6, next=0.35),
    weights=SHARES,
    fitted=Fit(24, 12, 9, 0.05, (4.9, 5.1), {"sync_log_loss": 0.21}, ("few recordings",)),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calibration.json"


def test_what_is_saved_is_loaded(path: Path) -> None:
    saved = calibration.save(MADE, path)
    loaded = calibration.load(path)
    assert saved == loaded == replace(MADE, sha256=sha256(path.read_bytes()).hexdigest())
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_every_answer_can_name_it(path: Path) -> None:
    info = calibration.save(MADE, path).info
    assert (info.name, info.made, info.capture_offset) == (MADE.name, "2026-11-21", 5.04)
    assert info.sha256 == sha256(path.read_bytes()).hexdigest()


def _set(*steps: str, to: object) -> Callable[[dict[str, Any]], object]:
    def change(document: dict[str, Any]) -> None:
        inner = document
        for step in steps[:-1]:
            inner = inner[step]
        inner[steps[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("version", to=2), "version"),
        (_set("format", to="something else"), "format"),
        (lambda d: d["calibration"].pop("thresholds"), "thresholds"),
        (_set("calibration", "more", to=1), "more"),
        (_set("calibration", "name", to=""), "name"),
        (_set("calibration", "name", to="two\nlines"), "name"),
        (_set("calibration", "made", to="yesterday"), "made"),
        (_set("calibration", "networks", to={}), "no networks"),
        (_set("calibration", "networks", "syncnet_fcn", to="a" * 63), "syncnet_fcn"),
        (_set("calibration", "capture_offset", to=float("nan")), "finite"),
        (_set("calibration", "capture_offset", to="5"), "capture_offset"),
        (_set("calibration", "capture_offset", to=900), "capture_offset"),
        (_set("calibration", "sync_map", "slope", to=float("inf")), "finite"),
        (_set("calibration", "sync_map", "slope", to=-1), "falls"),
        (_set("calibration", "artifact_map", "probability", to=[0.9, 0.1]), "falls"),
        (_set("calibration", "artifact_map", "raw", to=[0.6, 0.2]), "ascend"),
        (_set("calibration", "thresholds", "next", to=0.65), "out of order"),
        (_set("calibration", "thresholds", "allow", to=1.1), "out of order"),
        (_set("calibration", "weights", to={"syncnet": 1.0}), "weights"),
        (_set("calibration", "weights", "syncnet", to=0.5), "add up"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(
    path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    calibration.save(MADE, path)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(CalibrationUnusable, match=said) as caught:
        calibration.load(path)
    assert path.name in caught.value.message
    assert len(caught.value.message.splitlines()) == 1
    assert "syncnet-service calibrate" in caught.value.advice


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[]", b"null", b'"x"', b" " * (2 << 20)]
)
def test_what_is_no_calibration_at_all_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CalibrationUnusable):
        calibration.load(path)


def test_a_file_that_is_not_there_is_refused(path: Path) -> None:
    with pytest.raises(CalibrationUnusable, match="cannot be read"):
        calibration.load(path)
    with pytest.raises(CalibrationUnusable, match="cannot be read"):
        calibration.load(path.parent)


def test_what_cannot_be_loaded_is_not_saved(path: Path) -> None:
    calibration.save(MADE, path)
    with pytest.raises(CalibrationUnusable):
        calibration.save(replace(MADE, name="two\nlines"), path)
    assert calibration.load(path).name == MADE.name


def test_it_belongs_to_its_networks_and_shares() -> None:
    calibration.check(MADE, MADE.networks, SHARES)
    calibration.check(MADE, {"syncnet_fcn": "a" * 64}, SHARES)
    with pytest.raises(CalibrationMismatch, match="syncnet_fcn aaaaaaaaaaaa, but cccc"):
        calibration.check(MADE, {"syncnet_fcn": "c" * 64}, SHARES)
    with pytest.raises(CalibrationMismatch, match="but syncnet_v2 answers"):
        calibration.check(MADE, {"syncnet_v2": "a" * 64}, SHARES)
    with pytest.raises(CalibrationMismatch, match=r"syncnet weighing 0\.4, not 1"):
        calibration.check(MADE, MADE.networks, {"syncnet": 1.0, "efficientnet": 0.0})


def test_the_registry_tells_before_anything_is_loaded() -> None:
    hashes = {name: weights.entry(name).sha256 or "" for name in BUNDLED.names}
    ours = replace(MADE, networks=hashes)
    calibration.check_registered(ours, BUNDLED.names, SHARES)
    with pytest.raises(CalibrationMismatch):
        calibration.check_registered(MADE, BUNDLED.names, SHARES)


@given(st.integers(-15, 15), st.integers(-15, 15), st.integers(-4, 4))
def test_a_known_lag_is_taken_off_whatever_the_error_of_measuring(
    offset: int, lag: int, tenths: int
) -> None:
    assert corrected_offset(lag + offset + tenths / 10, lag) == offset


@given(st.floats(-15, 15), st.floats(-15, 15))
def test_what_is_left_is_at_most_half_a_frame_off(offset: float, lag: float) -> None:
    assert abs(corrected_offset(offset, lag) - (offset - lag)) <= 0.5 + 1e-6


@pytest.mark.parametrize(("left", "frames"), [(3.5, 3), (-3.5, -3), (0.5, 0), (0.6, 1), (-0.6, -1)])
def test_half_a_frame_falls_to_the_side_of_zero(left: float, frames: int) -> None:
    assert corrected_offset(left, 0.0) == frames
    assert corrected_offset(left + 2.9, 2.9) == frames


def test_a_constant_lag_costs_nothing() -> None:
    in_sync = replace(doubles.SYNC, offset_frames=0, lag_ms=0, subframe_offset=0.1)
    late = replace(doubles.SYNC, offset_frames=-5, lag_ms=-200, subframe_offset=-5.2)
    knows = replace(MADE, capture_offset=-5.04, sync_map=Identity())
    raw = scale.score(scale.SYNCNET_V2, in_sync.confidence, in_sync.min_dist, 0)
    mended = calibration.of_sync(knows, late, scale.SYNCNET_V2)
    assert mended.score == pytest.approx(raw)
    assert (mended.offset_frames, mended.lag_ms, mended.subframe_offset) == (-5, -200, -5.2)
    assert mended.raw_score == late.raw_score
    spoiled = calibration.of_sync(knows, in_sync, scale.SYNCNET_V2)
    assert spoiled.score < raw - 0.05


@given(st.integers(-15, 15), st.floats(0, 15), st.floats(2, 16), st.integers(-4, 4))
def test_a_calibration_that_knows_nothing_changes_nothing(
    offset: int, confidence: float, min_dist: float, tenths: int
) -> None:
    raw = scale.score(scale.SYNCNET_V2, confidence, min_dist, offset)
    sync = replace(
        doubles.SYNC,
        score=raw,
        raw_score=raw,
        offset_frames=offset,
        subframe_offset=offset + tenths / 10,
        confidence=confidence,
        min_dist=min_dist,
    )
    nothing = replace(MADE, capture_offset=0.0, sync_map=Identity(), artifact_map=Identity())
    assert calibration.of_sync(nothing, sync, scale.SYNCNET_V2) == sync


def test_the_faces_score_goes_through_its_map() -> None:
    raw = replace(doubles.ARTIFACT, score=0.3, raw_score=0.3, is_real=False, confidence=0.4)
    steep = replace(MADE, artifact_map=Linear(0.9, 1.0, 0.35))
    judged = calibration.of_artifact(steep, raw)
    assert judged.score == pytest.approx(0.85)
    assert judged.is_real
    assert judged.confidence == pytest.approx(0.7)
    assert judged.raw_score == 0.3
    assert judged.frame_scores == raw.frame_scores


def test_a_file_that_changes_while_the_service_runs_is_named(path: Path) -> None:
    hashes = {name: weights.entry(name).sha256 or "" for name in BUNDLED.names}
    calibration.save(replace(MADE, networks=hashes), path)
    options = Settings(calibration_file=path, model_profile="bundled").model_dump(mode="json")
    assert engine.build(options).loaded() == ()
    calibration.save(MADE, path)
    with pytest.raises(CalibrationMismatch):
        engine.build(options)
    path.write_text("{")
    with pytest.raises(CalibrationUnusable):
        engine.build(options)
