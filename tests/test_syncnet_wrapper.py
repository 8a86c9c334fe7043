import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from efficientnet_detector import EfficientNetDetector
from evaluation.samples import talking_clip
from syncnet_python import errors, media, weights
from syncnet_python.calibration import Calibration, Fit, Thresholds
from syncnet_python.profiles import BUNDLED, OptionRefused
from syncnet_python.results import Verdict
from syncnet_python.score_maps import Identity, Linear
from syncnet_wrapper import SyncNetWrapper

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wrapper() -> SyncNetWrapper:
    return SyncNetWrapper(profile="bundled", device="cpu")


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """`only(name, ...)`: a bundled folder that holds these weights and no others."""

    def keep(*names: str) -> None:
        folder = tmp_path / "models"
        folder.mkdir()
        shutil.copy(weights.BUNDLED_DIR / "registry.json", folder)
        for name in names:
            shutil.copy(weights.BUNDLED_DIR / weights.entry(name).filename, folder)
        monkeypatch.setattr(weights, "BUNDLED_DIR", folder)

    return keep


def test_a_recording_in_a_whole_verdict_out(
    wrapper: SyncNetWrapper, clip: Callable[[str], Path]
) -> None:
    verdict = wrapper.process_video_ensemble(clip("browser"), "visitor-17")
    sync, face = verdict.syncnet, verdict.efficientnet
    assert sync is not None
    assert face is not None
    assert verdict.reference == "visitor-17"
    assert verdict.combined_score == pytest.approx(0.4 * sync.score + 0.6 * face.score)
    assert not verdict.inconclusive
    assert sync.num_windows > 80
    assert len(sync.curve.offsets) == len(sync.curve.distances) == 31
    assert sync.min_dist == pytest.approx(min(sync.curve.distances))
    assert face.num_frames == len(face.frame_scores) == len(face.frame_times) == 20
    assert list(face.frame_times) == sorted(face.frame_times)
    assert verdict.video.codec == "vp8"
    assert set(verdict.models) == {
        "face_finder",
        "face_landmarks",
        "syncnet_fcn",
        "efficientnet_b0",
    }
    assert set(verdict.timings_ms) == {"load", "decode", "find_faces", "syncnet", "efficientnet"}


def test_own_audio_scores_higher_than_anothers(
    wrapper: SyncNetWrapper, clip: Callable[[str], Path]
) -> None:
    scores = [
        wrapper.process_video(clip(name), name).combined_score or 0.0
        for name in ("synced", "dubbed")
    ]
    assert scores[0] > scores[1] + 0.2


def test_lip_sync_alone_is_a_verdict_of_its_own(
    wrapper: SyncNetWrapper, clip: Callable[[str], Path]
) -> None:
    verdict = wrapper.process_video(clip("synced"), "x")
    assert verdict.efficientnet is None
    assert verdict.missing == ()
    assert verdict.syncnet is not None
    assert verdict.combined_score == verdict.syncnet.score


def test_a_caller_short_of_time_is_told_what_is_known_so_far(
    wrapper: SyncNetWrapper, clip: Callable[[str], Path]
) -> None:
    early: list[Verdict] = []
    final = wrapper.process_video_ensemble(clip("synced"), "x", on_partial=early.append)
    (partial,) = early
    assert partial.syncnet == final.syncnet
    assert partial.efficientnet is None
    assert partial.inconclusive
    assert partial.decision != "ALLOW"
    assert [(m.part, m.code) for m in partial.missing] == [("efficientnet", "timeout")]


@pytest.fixture
def still(tmp_path: Path) -> Path:
    """A face that does not speak, with a voice."""
    path = tmp_path / "still.mp4"
    talking_clip(path, still=True, container="mp4-h264-aac", size=(400, 300), seconds=3.0)
    return path


def test_where_lips_and_voice_cannot_be_compared_the_face_alone_is_judged(
    wrapper: SyncNetWrapper, still: Path
) -> None:
    verdict = wrapper.process_video_ensemble(still, "x")
    assert verdict.syncnet is not None
    assert verdict.efficientnet is not None
    (doubt,) = verdict.syncnet.doubts
    assert doubt in ("MOUTH_STILL", "STILL_PICTURE")
    assert doubt in verdict.reason_codes
    assert verdict.combined_score == verdict.efficientnet.score
    assert verdict.weights == {"syncnet": 0.0, "efficientnet": 1.0}
    assert verdict.inconclusive
    assert verdict.decision != "ALLOW"
    alone = wrapper.process_video(still, "x")
    assert alone.syncnet is not None
    assert alone.combined_score is None
    assert (alone.decision, alone.inconclusive) == ("NEXT", True)


def bundled_calibration() -> Calibration:
    """One that halves the face's score, of the bundled networks."""
    return Calibration(
        name="door",
        made=date(2026, 11, 21),
        networks={name: weights.entry(name).sha256 or "" for name in BUNDLED.names},
        capture_offset=0.0,
        sync_map=Identity(),
        artifact_map=Linear(reference=0.0, scale=0.5, baseline=0.0),
        thresholds=Thresholds(allow=0.95, real=0.9, next=0.85),
        weights={"syncnet": 0.4, "efficientnet": 0.6},
        fitted=Fit(5, 0, 5, 0.05, None),
    )


def test_every_score_goes_through_the_calibration(
    wrapper: SyncNetWrapper, clip: Callable[[str], Path]
) -> None:
    ours = bundled_calibration()
    raw = wrapper.process_video_ensemble(clip("synced"), "x")
    calibrated = SyncNetWrapper(profile="bundled", device="cpu", calibration=ours)
    verdict = calibrated.process_video_ensemble(clip("synced"), "x")
    assert raw.efficientnet is not None
    assert raw.syncnet is not None
    assert verdict.efficientnet is not None
    assert verdict.syncnet == raw.syncnet
    assert verdict.efficientnet.raw_score == raw.efficientnet.score
    assert verdict.efficientnet.score == pytest.approx(raw.efficientnet.score / 2)
    assert verdict.combined_score == pytest.approx(
        0.4 * raw.syncnet.score + 0.6 * verdict.efficientnet.score
    )
    assert verdict.decision == "BLOCK"
    assert verdict.calibration == ours.info
    assert raw.calibration is None


def test_a_calibration_of_other_networks_is_refused_before_anything_is_loaded() -> None:
    ours = bundled_calibration()
    other = replace(ours, networks={**ours.networks, "syncnet_fcn": "0" * 64})
    with pytest.raises(errors.CalibrationMismatch, match="syncnet_fcn 000000000000"):
        SyncNetWrapper(profile="bundled", calibration=other)
    with pytest.raises(errors.CalibrationMismatch, match="weighing"):
        SyncNetWrapper(
            profile="bundled", calibration=ours, weights={"syncnet": 1.0, "efficientnet": 0.0}
        )
    with pytest.raises(errors.CalibrationMismatch, match="but s3fd answers"):
        SyncNetWrapper(profile="published", calibration=ours)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"no_face": True}, errors.NoFace),
        ({"silent": True}, errors.SilentAudio),
        ({"no_audio": True}, errors.NoAudio),
        ({"seconds": 0.8}, errors.TrackTooShort),
    ],
)
def test_what_is_wrong_with_a_recording_is_named(
    wrapper: SyncNetWrapper, tmp_path: Path, fields: dict[str, object], error: type[Exception]
) -> None:
    path = tmp_path / "clip"
    talking_clip(path, **{"seconds": 2.0, "container": "mp4-h264-aac", **fields})
    with pytest.raises(error):
        wrapper.process_video_ensemble(path, "x")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"silent": True}, "silent_audio"),
        ({"no_audio": True}, "no_audio"),
        ({"seconds": 0.8}, "track_too_short"),
    ],
)
def test_with_partial_the_face_is_judged_without_the_voice(
    wrapper: SyncNetWrapper, tmp_path: Path, fields: dict[str, object], code: str
) -> None:
    path = tmp_path / "clip"
    talking_clip(path, **{"seconds": 2.0, "container": "mp4-h264-aac", **fields})
    verdict = wrapper.process_video_ensemble(path, "x", partial=True)
    assert verdict.syncnet is None
    assert verdict.efficientnet is not None
    assert verdict.combined_score == verdict.efficientnet.score
    assert verdict.weights == {"syncnet": 0.0, "efficientnet": 1.0}
    assert verdict.inconclusive
    assert [(m.part, m.code) for m in verdict.missing] == [("syncnet", code)]


def test_missing_classifier_weights_cost_the_classifier_alone(
    only: Callable[..., None], clip: Callable[[str], Path]
) -> None:
    only("face_finder", "face_landmarks", "syncnet_fcn")
    verdict = SyncNetWrapper(profile="bundled").process_video_ensemble(clip("synced"), "x")
    assert verdict.syncnet is not None
    assert [(m.part, m.code) for m in verdict.missing] == [("efficientnet", "weights_missing")]
    assert verdict.inconclusive
    assert verdict.decision != "ALLOW"


def test_missing_sync_weights_cost_the_sync_part_alone(
    only: Callable[..., None], clip: Callable[[str], Path]
) -> None:
    only("face_finder", "efficientnet_b0")
    verdict = SyncNetWrapper(profile="bundled").process_video_ensemble(clip("synced"), "x")
    assert verdict.efficientnet is not None
    assert [m.part for m in verdict.missing] == ["syncnet"]


def test_without_any_weights_nothing_is_answered(
    only: Callable[..., None], clip: Callable[[str], Path]
) -> None:
    only()
    with pytest.raises(errors.WeightsMissing):
        SyncNetWrapper(profile="bundled").process_video_ensemble(clip("synced"), "x")
    with pytest.raises(errors.WeightsMissing):
        SyncNetWrapper(profile="published").preload()


def test_another_classifier_can_be_handed_in(clip: Callable[[str], Path]) -> None:
    mine = EfficientNetDetector(device="cpu")
    wrapper = SyncNetWrapper(profile="bundled", weights={"syncnet": 0.0, "efficientnet": 1.0})
    verdict = wrapper.process_video_ensemble(clip("synced"), "x", mine)
    assert mine.info is not None
    assert verdict.models["efficientnet_b0"] == mine.info
    assert verdict.efficientnet is not None
    assert verdict.combined_score == verdict.efficientnet.score


def test_limits_reach_the_decoder(clip: Callable[[str], Path]) -> None:
    wrapper = SyncNetWrapper(profile="bundled", limits=media.Limits(duration_s=1.0))
    with pytest.raises(errors.TooLong):
        wrapper.process_video(clip("synced"), "x")


def test_a_network_by_name_is_never_replaced(
    only: Callable[..., None], clip: Callable[[str], Path]
) -> None:
    only("face_finder", "efficientnet_b0")
    wrapper = SyncNetWrapper(profile="bundled", network="fcn")
    with pytest.raises(errors.WeightsMissing, match="syncnet_fcn"):
        wrapper.process_video_ensemble(clip("synced"), "x", partial=True)


def test_whole_frames_are_kept_for_the_published_networks_alone() -> None:
    kept: list[int | None] = []

    def read(path: Path, limits: media.Limits | None = None, **_: object) -> media.Recording:
        assert limits is not None
        kept.append(limits.kept_pixels)
        raise errors.NotAVideo("seen enough")

    for profile, network in (
        ("bundled", None),
        ("published", None),
        ("bundled", "original"),
        ("auto", "fcn"),
        ("published", "fcn"),
    ):
        wrapper = SyncNetWrapper(profile=profile, network=network, read=read)
        with pytest.raises(errors.NotAVideo):
            wrapper.process_video("x", "x")
    usual = media.Limits().kept_pixels
    assert kept == [usual, None, None, usual, None], "S3FD searches a quarter of whole frames"


def test_options_that_alter_figures_go_with_no_calibration() -> None:
    ours = bundled_calibration()
    with pytest.raises(errors.CalibrationMismatch, match="fitted without vshift"):
        SyncNetWrapper(profile="bundled", calibration=ours, vshift=20)
    SyncNetWrapper(profile="bundled", calibration=ours, network="fcn", vshift=15)
    with pytest.raises(errors.CalibrationMismatch, match="but s3fd answers"):
        SyncNetWrapper(profile="bundled", calibration=ours, network="original")


def test_options_of_other_networks_are_refused() -> None:
    with pytest.raises(OptionRefused, match="crop_scale is for SyncNet v2"):
        SyncNetWrapper(profile="bundled", crop_scale=0.4)
