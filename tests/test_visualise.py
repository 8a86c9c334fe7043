"""The annotated video and the sheet show what was measured."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import cli
from evaluation.samples import talking_clip
from service.settings import Settings
from syncnet_python import media
from syncnet_python.assembly import Networks
from syncnet_python.errors import WeightsMissing
from syncnet_python.limits import Limits
from syncnet_python.pipeline import WEBCAM
from syncnet_python.results import (
    ArtifactResult,
    OffsetChange,
    OffsetCurve,
    OffsetMoment,
    Statistics,
    SyncResult,
)
from syncnet_python.scale import SYNCNET_V2
from syncnet_python.tracking import Track
from syncnet_wrapper import SyncNetWrapper
from workflows.inspection import sheet, visualise
from workflows.inspection.drawing import BLUE, RED, Image
from workflows.inspection.overlay import FollowedFace, Overlay
from workflows.inspection.visualise import Visualisation

OFFSET = -2
WHOLE = Limits(kept_pixels=None)


@pytest.fixture(autouse=True)
def only_default_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)  # away from any .env


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "speaking.mkv"
    fields = {"container": "mkv-h264-flac", "start_offset_s": -0.2, "offset_frames": OFFSET}
    talking_clip(path, seconds=2.4, size=(320, 240), **fields)
    return path


@pytest.fixture(scope="module")
def drawn(clip: Path) -> Visualisation:
    return visualise.visualise(clip, clip.parent / "out", Networks("bundled"), WEBCAM, 8)


@pytest.mark.slow
def test_two_files_are_written_and_nothing_else(clip: Path, drawn: Visualisation) -> None:
    names = ["speaking.annotated.mp4", "speaking.sheet.png"]
    assert sorted(path.name for path in (clip.parent / "out").iterdir()) == names
    assert (drawn.video.name, drawn.sheet.name) == tuple(names)


@pytest.mark.slow
def test_what_is_drawn_is_what_is_scored(clip: Path, drawn: Visualisation) -> None:
    verdict = SyncNetWrapper(profile="bundled", max_frames=8).process_video_ensemble(clip, "clip")
    assert drawn.sync == verdict.syncnet
    assert drawn.artifact == verdict.efficientnet
    assert drawn.sync.offset_frames == OFFSET


@pytest.mark.slow
def test_the_video_has_every_frame_its_drawings_and_the_sound(
    clip: Path, drawn: Visualisation
) -> None:
    plain, video = media.read(clip, WHOLE), media.read(drawn.video, WHOLE)
    assert len(video.frames) == len(plain.frames)
    assert (video.info.width, video.info.height) == (320, 240)
    again = np.correlate(video.audio[:8000].astype(float), plain.audio[:8000].astype(float), "full")
    assert abs(int(again.argmax()) - 7999) < 320, "half a frame, at most"
    for index in (5, 30, len(plain.frames) - 5):
        before, after = (r.frames.bgr(index).astype(int) for r in (plain, video))
        changed = np.abs(before - after).max(axis=2) > 90
        x1, y1, x2, y2 = (int(side) for side in drawn.sync.tracks[0].mean_box)
        middle = changed[y1 + 15 : (y1 + y2) // 2, x1 + 15 : x2 - 15]
        assert changed[y1 - 6 : y1 + 7, x1:x2].sum() > (x2 - x1), "the upper side of the box"
        assert changed[(y1 + y2) // 2 : y2 - 5, x1 + 15 : x2 - 15].sum() > 20, "the lips"
        assert middle.sum() < 10, "the eyes are left as they are"
        assert after[-6:, 4:-4].mean() < 0.55 * before[-6:, 4:-4].mean(), "the line at the bottom"


@pytest.mark.slow
def test_without_a_classifier_the_rest_is_drawn(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoClassifier(Networks):
        def weights(self, name: str):  # type: ignore[no-untyped-def]
            if name == self.choice.classifier:
                raise WeightsMissing("there is no classifier")
            return super().weights(name)

    found = visualise.visualise(clip, tmp_path / "out", NoClassifier("bundled"), WEBCAM)
    assert found.artifact is None
    assert found.no_artifact == "there is no classifier"
    assert found.sheet.exists()
    assert found.video.exists()


def findings() -> sheet.Findings:
    """Made-up figures of SyncNet v2 whose offset jumps from 2 to -5."""
    offsets = tuple(range(-15, 16))
    distances = tuple(12.0 - 5.0 * (o == 2) - 2.0 * (o in (1, 3)) for o in offsets)
    moments = [(10.5, 2.0), (11.5, 2.1), (12.5, None), (13.5, -5.0), (14.5, -5.1)]
    sync = SyncResult(
        score=0.9,
        offset_frames=2,
        lag_ms=80,
        confidence=5.0,
        min_dist=7.0,
        protocol="syncnet-v2/complete-windows",
        network="syncnet_v2",
        num_windows=121,
        curve=OffsetCurve(offsets, distances),
        framewise_confidence=(5.0,) * 121,
        tracks=(),
        subframe_offset=2.0,
        timeline=tuple(
            OffsetMoment(t, o, None if o is None else o - 1, None if o is None else o + 1, 4.0)
            for t, o in moments
        ),
        changes=(OffsetChange(13.0, 2.0, -5.0),),
        doubts=("MUSIC",),
        raw_score=0.9,
    )
    scores = (0.9, 0.8, 0.1, 0.9)
    artifact = ArtifactResult(
        is_real=True,
        score=0.675,
        confidence=0.35,
        consistency=0.3,
        num_frames=4,
        frame_scores=scores,
        frame_times=(10.5, 11.5, 12.5, 13.5),
        statistics=Statistics(0.675, 0.3, 0.1, 0.9),
        temporal_consistency=0.4,
        raw_score=0.675,
    )
    photo: Image = np.full((200, sheet.PHOTO_WIDTH, 3), (90, 160, 90), np.uint8)
    mouth: Image = np.full((sheet.MOUTH_SIZE, sheet.MOUTH_SIZE, 3), (160, 90, 90), np.uint8)
    return sheet.Findings(
        title="a recording.mp4",
        frames=[(float(i), photo) for i in range(sheet.FRAMES)],
        mouths=[(float(i), mouth) for i in range(3)],
        start_s=10.0,
        duration_s=5.0,
        times=np.arange(125) / 25,
        confidences=np.full(125, 5.0),
        sync=sync,
        scale=SYNCNET_V2,
        artifact=artifact,
    )


def panels(picture: Image) -> list[Image]:
    """The four charts, in reading order."""
    top, middle = picture.shape[0] - 700, sheet.WIDTH // 2
    rows = (slice(top, top + 330), slice(top + 330, None))
    columns = (slice(0, middle), slice(middle, None))
    return [picture[row, column] for row in rows for column in columns]


def where(picture: Image, ink: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels of this ink."""
    rows, columns = np.nonzero((picture == ink).all(axis=2))
    return rows, columns


def test_the_sheet_marks_the_minimum_the_change_and_every_score() -> None:
    picture = sheet.draw(findings())
    assert picture.shape[1] == sheet.WIDTH
    curve, confidence, timeline, artifacts = panels(picture)
    marked = int(np.bincount(where(curve, RED)[1]).argmax())
    rows, columns = where(curve, BLUE)
    dips = columns[rows > np.percentile(rows, 90)]
    assert abs(marked - np.median(dips)) < 6
    level = where(confidence, BLUE)[0]
    assert np.ptp(level) <= 4, "one confidence throughout"
    assert len(where(timeline, RED)[0]) > 150, "the change is an upright line"
    dots = (artifacts[..., 2].astype(int) - artifacts[..., 1] > 60) & (artifacts[..., 0] == 0)
    assert dots.any(), "the score of 0.1 is red"


def test_what_is_missing_is_said_in_its_panel() -> None:
    full = sheet.draw(findings())
    without = sheet.draw(replace(findings(), artifact=None, no_artifact="there is no classifier"))
    assert full.shape == without.shape
    assert not np.array_equal(panels(full)[3], panels(without)[3])
    assert np.array_equal(panels(full)[0], panels(without)[0])
    unknown = tuple(OffsetMoment(10.5 + i, None, None, None, 0.1) for i in range(5))
    nothing = replace(findings(), sync=replace(findings().sync, timeline=unknown, changes=()))
    assert len(where(panels(sheet.draw(nothing))[2], BLUE)[0]) == 0


def test_doubts_have_a_line_of_their_own() -> None:
    doubted = sheet.draw(findings())
    trusted = sheet.draw(replace(findings(), sync=replace(findings().sync, doubts=())))
    assert doubted.shape[0] > trusted.shape[0]
    assert (trusted[76:94] == 255).all()
    assert (doubted[76:94] != 255).any()
    assert np.array_equal(doubted[:72], trusted[:72])
    assert np.array_equal(panels(doubted)[0], panels(trusted)[0])


def test_the_sheet_is_a_picture_that_others_read() -> None:
    picture = sheet.draw(findings())
    read = cv2.imdecode(np.frombuffer(sheet.png(picture), np.uint8), cv2.IMREAD_COLOR)
    assert read is not None
    assert np.array_equal(read, picture)


def test_a_long_recording_fits_on_the_sheet() -> None:
    frames = 2 * 3600 * 25
    moments = tuple(OffsetMoment(10.0 + i, 2.0, 1.5, 2.5, 4.0) for i in range(7200))
    long = replace(
        findings(),
        duration_s=7200.0,
        times=np.arange(frames) / 25,
        confidences=np.full(frames, 5.0),
        sync=replace(findings().sync, timeline=moments, changes=()),
    )
    assert sheet.draw(long).shape == sheet.draw(findings()).shape


def test_an_overlay_draws_present_faces_at_any_size() -> None:
    track = Track(np.arange(10, 20), np.tile([100.0, 60.0, 220.0, 180.0], (10, 1)))
    face = FollowedFace(track, np.full(10, np.nan), None)
    moments = (OffsetMoment(0.5, 2.0, 1.0, 3.0, 5.0),)
    overlay = Overlay(400, [face], 0, moments, 0.0, SYNCNET_V2)
    picture: Image = np.full((150, 200, 3), 200, np.uint8)
    overlay.draw(picture, 5, line=False)
    assert (picture == 200).all(), "the face is not there yet"
    overlay.draw(picture, 12, line=False)
    assert (picture[50, 50] == RED_EDGE).all()
    assert (picture[50, 80] == 200).all()
    assert (picture[-12:] == 200).all()
    overlay.draw(picture, 12)
    assert (picture[-12:] < 200).any()


RED_EDGE = (0, 0, 255)
"""Of a box whose confidence is unknown."""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


@pytest.mark.slow
def test_the_command_says_where_its_files_are(clip: Path, tmp_path: Path) -> None:
    used = run("visualise", clip, "--output-dir", tmp_path / "v", "--network", "fcn", "--json")
    assert used.exit_code == 0, used.stderr
    said = json.loads(used.stdout)
    assert Path(said["video"]).is_file()
    assert Path(said["sheet"]).is_file()
    assert said["syncnet"]["offset_frames"] == OFFSET
    assert 0 <= said["efficientnet"]["score"] <= 1


@pytest.mark.slow
def test_the_pipeline_command_writes_plain_offsets(clip: Path, tmp_path: Path) -> None:
    options = ("--reference", "me", "--data-dir", tmp_path / "d", "--offsets-format", "plain")
    used = run("pipeline", clip, *options, "--network", "fcn", "--json")
    assert used.exit_code == 0, used.stderr
    said = json.loads(used.stdout)
    line = (tmp_path / "d" / "pywork" / "me" / "offsets.txt").read_text().split()
    track = said["tracks"][0]
    assert line == [str(OFFSET), f"{track['confidence']:.3f}", f"{track['min_dist']:.3f}"]
    assert Path(track["crop"]).is_file()
    assert said["protocol"] == "fcn-syncnet/valid-pairs"


@pytest.mark.parametrize("name", ["../x", "", "a/b"])
def test_a_name_that_leaves_the_folder_is_wrong_usage(name: str, tmp_path: Path) -> None:
    used = run("pipeline", "clip.mp4", "--reference", name, "--data-dir", tmp_path / "d")
    assert used.exit_code == 2
    assert "no plain name" in used.stderr
    assert not (tmp_path / "d").exists()


def test_a_file_that_is_not_there_fails_in_one_line(tmp_path: Path) -> None:
    for command in (("pipeline", "--reference", "x", "--data-dir"), ("visualise", "--output-dir")):
        used = run(command[0], "absent.mp4", *command[1:], tmp_path / "d", "--json")
        assert used.exit_code == 1
        assert json.loads(used.stdout)["error"]["code"] == "no_such_file"
        assert used.stderr.strip().count("\n") == 0
        assert not (tmp_path / "d").exists()


def test_an_option_of_the_other_network_is_refused(tmp_path: Path) -> None:
    options = ("--reference", "x", "--data-dir", tmp_path, "--network", "fcn", "--crop-scale", 0.5)
    used = run("pipeline", "absent.mp4", *options)
    assert used.exit_code == 2
    assert "--crop-scale" in used.stderr


@pytest.mark.parametrize("command", ["visualise", "pipeline", "long"])
def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_measured(
    command: str, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"not looked at")
    folder = clip / "drawn"
    named = ("--reference", "a", "--data-dir") if command == "pipeline" else ("--output-dir",)
    refused = run(command, clip, *named, folder)
    assert refused.exit_code == 2
    assert f"{folder} cannot be made: {clip} is no folder" in refused.stderr
