"""Disturbances do what their names say, in files that are decoded again."""

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluation import conditions, turning
from evaluation.conditions import CONDITIONS, Studio, with_noise
from evaluation.samples import talking_clip
from evaluation.turning import Head
from syncnet_python import media
from syncnet_python.detectors.bundled import BundledFaceDetector
from syncnet_python.doubts import describe
from syncnet_python.errors import NoAudio
from syncnet_python.landmarks import MESH_INDICES, Landmarker
from syncnet_python.media import Recording

HEAD = Head(np.array([60.0, 50.0]), np.array([1.0, 0.0]), 30.0, 40.0)


@pytest.fixture(scope="module")
def studio() -> Studio:
    voice = np.random.default_rng(5).normal(0, 2000, 40_000).astype(np.int16)
    own = np.full(1000, 30_000, np.int16)
    return Studio(
        BundledFaceDetector.bundled(), Landmarker.bundled(), [("other", voice), ("me", own)]
    )


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    path = tmp_path_factory.mktemp("conditions") / "talk.mp4"
    talking_clip(path, seconds=1.6, container="mp4-h264-aac", size=(240, 240), seed=3)
    return media.read(path)


def disturbed(condition: str, recording: Recording, studio: Studio, folder: Path) -> Recording:
    target = folder / "out.mkv"
    conditions.write(condition, "talk.mp4", "me", recording, studio, target)
    return media.read(target)


def pictures(recording: Recording) -> NDArray[np.float64]:
    return np.stack([recording.frames.bgr(i) for i in range(len(recording.frames))]).astype(float)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["babble 10 dB", "white noise 10 dB"])
def test_noise_is_ten_decibels_below_and_leaves_the_picture(
    name: str, recording: Recording, studio: Studio, tmp_path: Path
) -> None:
    after = disturbed(name, recording, studio, tmp_path)
    assert len(after.frames) == len(recording.frames)
    assert np.abs(pictures(after) - pictures(recording)).mean() < 3  # to BGR and back
    count = min(len(after.audio), len(recording.audio))
    clean, heard = (r.audio[:count].astype(np.float64) for r in (recording, after))
    gain = (clean @ heard) / (clean @ clean)
    noise = heard - gain * clean
    ratio = 10 * np.log10(np.mean((gain * clean) ** 2) / np.mean(noise**2))
    assert ratio == pytest.approx(10, abs=0.7)


def test_babble_needs_somebody_else(recording: Recording, studio: Studio, tmp_path: Path) -> None:
    alone = Studio(BundledFaceDetector.bundled(), Landmarker.bundled(), [studio.voices[1]])
    with pytest.raises(NoAudio):
        disturbed("babble 10 dB", recording, alone, tmp_path)


def test_fifteen_frames_a_second_keep_their_time(
    recording: Recording, studio: Studio, tmp_path: Path
) -> None:
    after = disturbed("15 fps", recording, studio, tmp_path)
    assert after.info.fps == pytest.approx(15, abs=0.1)
    assert abs(len(after.frames) - len(recording.frames)) <= 2
    before, now = pictures(recording), pictures(after)
    for index in range(3, len(now) - 3):
        differences = np.abs(before[index - 3 : index + 4] - now[index]).mean(axis=(1, 2, 3))
        assert differences[2:5].min() <= differences.min() + 0.3  # a neighbour, or itself
    assert np.array_equal(after.audio[:1000], recording.audio[:1000])


@pytest.mark.slow
def test_faces_shrink_to_64_pixels(recording: Recording, studio: Studio, tmp_path: Path) -> None:
    after = disturbed("64-pixel face", recording, studio, tmp_path)
    track, _ = studio.face(after.frames)
    assert (track.boxes[:, 2:] - track.boxes[:, :2]).mean(axis=0).max() == pytest.approx(64, abs=6)


def test_coding_at_crf_35_loses_detail_but_no_time(
    recording: Recording, studio: Studio, tmp_path: Path
) -> None:
    after = disturbed("H.264 CRF 35", recording, studio, tmp_path)
    error = np.abs(pictures(after) - pictures(recording)).mean()
    assert len(after.frames) == len(recording.frames)
    assert 1.5 < error < 20
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.streams.video[0].codec_context.name == "h264"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sign"), [("yaw +25", 1), ("yaw -25", -1)])
def test_turned_faces_are_seen_to_be_turned(
    name: str, sign: int, recording: Recording, studio: Studio, tmp_path: Path
) -> None:
    """By the landmarks' own estimate, which knows nothing of the ellipsoid."""
    after = disturbed(name, recording, studio, tmp_path)
    before, now = (describe(studio.face(r.frames)[1]).turn_deg for r in (recording, after))
    assert 10 < sign * (now - before) < 40


def test_the_targets_conditions_are_all_there() -> None:
    assert list(CONDITIONS) == [
        "babble 10 dB",
        "white noise 10 dB",
        "15 fps",
        "64-pixel face",
        "H.264 CRF 35",
        "yaw +25",
        "yaw -25",
    ]


@given(st.floats(0, 30), st.integers(0, 2**32 - 1))
def test_with_noise_keeps_the_ratio_and_never_wraps(ratio: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.integers(-32768, 32767, 4000).astype(np.int16)
    mixed = with_noise(samples, rng.normal(0, 1, 4000), ratio).astype(np.float64)
    gain = mixed @ samples / (samples.astype(np.float64) @ samples)
    assert gain > 0.2  # nothing wrapped around
    assert np.abs(mixed).max() <= 32767


@given(st.floats(-30, 30), st.floats(-20, 20), st.floats(-25, 25))
def test_turning_there_and_back_changes_nothing(yaw: float, x: float, y: float) -> None:
    """For points that stay in view."""
    point = np.array([[60 + 0.5 * x, 50 + y]])
    turned = turning.turn_points(point, HEAD, yaw)
    np.testing.assert_allclose(turning.turn_points(turned, HEAD, -yaw), point, atol=1e-6)


@pytest.mark.parametrize("yaw", [-25.0, 25.0])
def test_pictures_turn_as_points_do(yaw: float) -> None:
    rows, columns = np.mgrid[0:100, 0:120]
    for x, y in ((60, 50), (70, 60), (52, 40)):
        spot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
        image = np.repeat(spot[:, :, None], 3, axis=2).astype(np.uint8)
        turned = turning.turn(image, HEAD, yaw)[:, :, 0].astype(float)
        centre = (turned * columns).sum() / turned.sum(), (turned * rows).sum() / turned.sum()
        (expected,) = turning.turn_points(np.array([[x, y]], float), HEAD, yaw)
        np.testing.assert_allclose(centre, expected, atol=0.6)


def test_what_lies_beside_the_head_stays() -> None:
    image = np.random.default_rng(0).integers(0, 255, (100, 120, 3)).astype(np.uint8)
    turned = turning.turn(image, HEAD, 25)
    assert np.array_equal(turned[:, :28], image[:, :28])
    assert not np.array_equal(turned, image)


def test_a_head_is_fitted_to_the_outline_of_the_face() -> None:
    points = np.zeros((10, len(MESH_INDICES), 2))
    places = {
        234: (20, 50),
        454: (80, 50),
        10: (50, 10),
        152: (50, 90),
        33: (35, 40),
        263: (65, 40),
    }
    for index, place in places.items():
        points[:, MESH_INDICES.index(index)] = place
    head = turning.fit_heads(points)[5]
    np.testing.assert_allclose(head.centre, (50, 50), atol=1e-9)
    np.testing.assert_allclose(head.across, (1, 0), atol=1e-9)
    assert head.radius == pytest.approx(31.5)
    assert head.height == pytest.approx(54)
