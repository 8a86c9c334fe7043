"""The contract of `pipeline.SyncNetwork`, held against both implementations.

SyncNet v2 runs on deterministic stand-in weights; what it computes with them is held to the
reference in test_embedding.py. Here it is the form of the answer that counts.
"""

import numpy as np
import parity
import pytest

from evaluation.samples import talking_clip
from syncnet_python import media, offset, weights
from syncnet_python.fcn_embedding import locate
from syncnet_python.landmarks import Landmarker
from syncnet_python.pipeline import SyncNetwork, sound_of
from syncnet_python.results import SAMPLES_PER_FRAME, ModelInfo
from syncnet_python.sync_networks import FcnSyncNet, SyncNetV2
from syncnet_python.tracking import Track

WINDOWS_LOST = {"syncnet_v2": 4, "syncnet_fcn": 0}


@pytest.fixture(scope="module", params=WINDOWS_LOST)
def network(request: pytest.FixtureRequest) -> SyncNetwork:
    if request.param == "syncnet_v2":
        info = ModelInfo("syncnet_v2", "2", "published", "0" * 64)
        return SyncNetV2(parity.syncnet_state(), info, "cpu", "float32")
    state, info = weights.load("syncnet_fcn")
    return FcnSyncNet(state, info, Landmarker(weights.load("face_landmarks")[0]))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> media.Recording:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    talking_clip(path, container="mp4-h264-aac", seconds=1.4, size=(320, 240))
    return media.read(path)


def track_of(first: int, last: int) -> Track:
    frames = np.arange(first, last + 1)
    return Track(frames, np.tile([110.0, 60.0, 210.0, 180.0], (len(frames), 1)))


TRACK = track_of(3, 22)


@pytest.fixture(scope="module")
def table(network: SyncNetwork, recording: media.Recording) -> np.ndarray:
    return network.distances(recording.frames, sound_of(TRACK, recording), TRACK)


@pytest.mark.slow
def test_a_table_has_a_row_a_window_and_a_column_an_offset(
    network: SyncNetwork, table: np.ndarray
) -> None:
    assert table.shape == (20 - WINDOWS_LOST[network.info.name], 31)
    assert table.dtype == np.float32
    assert np.isfinite(table[:, 15]).all()
    assert (table[:, 15] > 0).all()


def test_distances_follow_from_what_is_seen_and_heard(
    network: SyncNetwork, recording: media.Recording, table: np.ndarray
) -> None:
    sound = sound_of(TRACK, recording)
    seen, heard = network.visual(recording.frames, TRACK), network.audio(sound, len(TRACK))
    assert seen.dtype == heard.dtype == np.float32
    assert seen.shape == heard.shape
    assert len(seen) == 20 - WINDOWS_LOST[network.info.name]
    expected = offset.distances(seen, heard, padding=network.padding)
    np.testing.assert_array_equal(table, expected)


def test_any_sound_can_be_set_against_a_face(
    network: SyncNetwork, recording: media.Recording
) -> None:
    sound = sound_of(track_of(0, 31), recording)
    whole = network.audio(sound, 20)
    np.testing.assert_array_equal(whole, network.audio(sound[: 20 * SAMPLES_PER_FRAME], 20))
    assert len(network.audio(sound[:0], 20)) == 0


@pytest.mark.slow
def test_landmarks_at_hand_are_used(network: SyncNetwork, recording: media.Recording) -> None:
    track = track_of(3, 12)
    points = locate(Landmarker.bundled(), recording.frames, track)
    expected = network.visual(recording.frames, track)
    np.testing.assert_allclose(network.visual(recording.frames, track, points), expected, atol=1e-5)
    moved = network.visual(recording.frames, track, points + np.float32(9))
    assert np.allclose(moved, expected, atol=1e-3) != network.reads_landmarks


@pytest.mark.parametrize("frames", [1, 4])
def test_a_track_without_sound_or_too_short_for_a_window_has_no_rows(
    network: SyncNetwork, recording: media.Recording, frames: int
) -> None:
    track = track_of(0, frames - 1)
    assert network.distances(recording.frames, recording.audio[:0], track).shape == (0, 31)
    if frames <= WINDOWS_LOST[network.info.name]:
        sound = sound_of(track, recording)
        assert network.distances(recording.frames, sound, track).shape == (0, 31)


def test_networks_say_who_they_are(network: SyncNetwork) -> None:
    assert network.protocol
    assert network.info.name in weights.registry()
    low, high = network.scale.confidence_levels
    assert low < high


def test_protocols_are_never_confused() -> None:
    assert FcnSyncNet.protocol != SyncNetV2.protocol


def rebuilt(network: SyncNetwork, **options: float) -> SyncNetwork:
    if network.info.name == "syncnet_v2":
        return SyncNetV2(parity.syncnet_state(), network.info, "cpu", "float32", **options)  # type: ignore[arg-type]
    landmarker = Landmarker(weights.load("face_landmarks")[0])
    return FcnSyncNet(weights.load("syncnet_fcn")[0], network.info, landmarker, **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_offsets_are_searched_as_far_as_asked(
    network: SyncNetwork, recording: media.Recording, table: np.ndarray
) -> None:
    narrow = rebuilt(network, max_shift=3)
    assert (narrow.max_shift, narrow.protocol) == (3, f"{network.protocol}/vshift-3")
    found = narrow.distances(recording.frames, sound_of(TRACK, recording), TRACK)
    np.testing.assert_array_equal(found, table[:, 12:19])
    assert narrow.distances(recording.frames, recording.audio[:0], TRACK).shape == (0, 7)
    assert rebuilt(network, max_shift=offset.MAX_SHIFT).protocol == network.protocol


@pytest.mark.slow
def test_the_originals_crops_show_as_much_as_asked(recording: media.Recording) -> None:
    info = ModelInfo("syncnet_v2", "2", "published", "0" * 64)
    usual = SyncNetV2(parity.syncnet_state(), info, "cpu", "float32")
    wider = SyncNetV2(parity.syncnet_state(), info, "cpu", "float32", crop_scale=0.8)
    assert wider.protocol == f"{usual.protocol}/crop-0.8"
    track = track_of(3, 8)
    seen = [n.visual(recording.frames, track) for n in (usual, wider)]
    assert seen[0].shape == seen[1].shape
    assert not np.allclose(seen[0], seen[1])
