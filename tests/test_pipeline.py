from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.samples import talking_clip
from syncnet_python import errors, media, pipeline
from syncnet_python.assembly import Networks
from syncnet_python.landmarks import Landmarker
from syncnet_python.offset import Padding
from syncnet_python.results import ModelInfo
from syncnet_python.scale import SYNCNET_V2, Scale
from syncnet_python.tracking import Track, TrackingOptions


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks("bundled", device="cpu")


@dataclass
class Boxes:
    """A detector that sees what it is told, to put the stages after it to the test."""

    faces: Callable[[int], list[list[float]]]
    name: str = "told"
    seen: int = 0

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        found = [np.array(self.faces(self.seen + i), np.float32) for i in range(len(frames))]
        self.seen += len(frames)
        return [faces.reshape(-1, 5) for faces in found]


LANDMARKER = Landmarker.bundled()
TOLD = ModelInfo("told", "1", "bundled", "0" * 64)


@dataclass
class Shifted(pipeline.SyncNetwork):
    """A sync network that finds a given offset, more clearly for one face than another."""

    offset: int
    clear: Callable[[Track], float]
    protocol: str = "told"
    info: ModelInfo = TOLD
    scale: Scale = SYNCNET_V2
    padding: Padding = "valid"
    reads_landmarks: bool = False

    def distances(
        self,
        frames: media.Frames,
        audio: NDArray[np.int16],
        track: Track,
        points: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        table = np.full((len(track), 31), 10.0, np.float32)
        table[:, 15 - self.offset] -= self.clear(track)
        return table


SMALL_FACES = TrackingOptions(min_track=25, min_face_size=10.0)
FACE = [40.0, 20.0, 120.0, 100.0, 0.9]


def small(folder: Path, **fields: Any) -> media.Recording:
    path = folder / "clip"
    talking_clip(path, container="mp4-h264-aac", **{"size": (160, 120), "seconds": 1.6} | fields)
    return media.read(path)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> media.Recording:
    return small(tmp_path_factory.mktemp("clip"))


def test_a_face_that_stays_is_one_track(recording: media.Recording) -> None:
    tracks = pipeline.find_tracks(recording.frames, Boxes(lambda i: [FACE]))
    assert [len(track) for track in tracks] == [len(recording.frames)]


def test_no_face_and_a_fleeting_face_are_told_apart(recording: media.Recording) -> None:
    with pytest.raises(errors.NoFace):
        pipeline.find_tracks(recording.frames, Boxes(lambda i: []))
    with pytest.raises(errors.TrackTooShort):
        pipeline.find_tracks(recording.frames, Boxes(lambda i: [FACE] if i < 10 else []))


def test_the_clearer_face_is_chosen_and_both_are_reported(recording: media.Recording) -> None:
    other = [4.0, 20.0, 50.0, 70.0, 0.8]
    tracks = pipeline.find_tracks(recording.frames, Boxes(lambda i: [FACE, other]), pipeline.WEBCAM)
    network = Shifted(3, clear=lambda track: 1.0 + (track.boxes[0, 0] < 20))
    result = pipeline.measure_sync(recording, tracks, network, LANDMARKER)
    assert [track.chosen for track in result.tracks] == [False, True]
    assert result.offset_frames == 3
    assert result.lag_ms == 120
    assert result.confidence == pytest.approx(2.0)
    assert result.tracks[0].confidence == pytest.approx(1.0)
    assert result.curve.offsets == tuple(range(-15, 16))


def test_boxes_are_reported_in_pixels_of_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "clip"
    talking_clip(path, container="mp4-h264-aac", size=(160, 120), seconds=1.6)
    recording = media.read(path, media.Limits(kept_pixels=80 * 60))
    half = [side / 2 for side in FACE[:4]]
    tracks = pipeline.find_tracks(recording.frames, Boxes(lambda i: [[*half, 0.9]]), SMALL_FACES)
    result = pipeline.measure_sync(
        recording, tracks, Shifted(0, clear=lambda track: 1.0), LANDMARKER
    )
    assert result.tracks[0].mean_box == tuple(FACE[:4])


def test_silence_is_named(tmp_path: Path) -> None:
    recording = small(tmp_path, silent=True)
    tracks = pipeline.find_tracks(recording.frames, Boxes(lambda i: [FACE]))
    with pytest.raises(errors.SilentAudio):
        pipeline.measure_sync(recording, tracks, Shifted(0, clear=lambda track: 1.0), LANDMARKER)


def test_a_clear_match_is_not_doubted_and_its_offset_runs_on(recording: media.Recording) -> None:
    tracks = pipeline.find_tracks(recording.frames, Boxes(lambda i: [FACE]))
    network = Shifted(3, clear=lambda track: 9.9)
    result = pipeline.measure_sync(recording, tracks, network, LANDMARKER)
    assert result.doubts == ()
    assert result.subframe_offset == 3.0
    assert result.raw_score == result.score
    assert [moment.offset for moment in result.timeline] == [3.0, 3.0]
    first, second = (moment.time_s for moment in result.timeline)
    assert first == pytest.approx(recording.times[12], abs=0.01)
    assert second == pytest.approx(first + 1.0)
    assert result.changes == ()


@pytest.mark.slow
def test_a_jump_of_the_offset_is_reported_in_the_recordings_time(tmp_path: Path) -> None:
    recording = small(tmp_path, seconds=4.0)
    tracks = pipeline.find_tracks(recording.frames, Boxes(lambda i: [FACE]))

    class Spliced(Shifted):
        def distances(self, *arguments: Any) -> NDArray[np.float32]:
            table = super().distances(*arguments)
            table[60:] = np.roll(table[60:], -6, axis=1)
            return table

    network = Spliced(0, clear=lambda track: 9.9)
    (change,) = pipeline.measure_sync(recording, tracks, network, LANDMARKER).changes
    assert change.time_s == pytest.approx(recording.times[60], abs=0.1)
    assert (change.before, change.after) == (0.0, 6.0)


@pytest.mark.slow
def test_where_nothing_matches_the_reason_is_named(tmp_path: Path) -> None:
    recording = small(tmp_path, seconds=3.0)
    hiss = np.random.default_rng(0).normal(0, 900, len(recording.audio)).astype(np.int16)
    tracks = pipeline.find_tracks(recording.frames, Boxes(lambda i: [FACE]))
    network = Shifted(0, clear=lambda track: 0.1)
    heard = replace(recording, audio=hiss)
    assert "NO_SPEECH" in pipeline.measure_sync(heard, tracks, network, LANDMARKER).doubts
    network.clear = lambda track: 9.0
    assert pipeline.measure_sync(heard, tracks, network, LANDMARKER).doubts == ()


@pytest.mark.slow
@pytest.mark.parametrize("offset", [-7, 0, 5])
def test_the_bundled_networks_find_a_known_offset(
    tmp_path: Path, networks: Networks, offset: int
) -> None:
    path = tmp_path / "clip.mp4"
    talking_clip(path, container="mp4-h264-aac", offset_frames=offset, seed=offset + 20)
    recording = media.read(path)
    tracks = pipeline.find_tracks(recording.frames, networks.face_detector())
    result = pipeline.measure_sync(recording, tracks, networks.sync(), networks.landmarker())
    assert abs(result.offset_frames - offset) <= 1


@pytest.mark.slow
def test_a_browsers_recording_gives_the_offset_of_its_constant_rate_twin(
    clip: Callable[[str], Path], networks: Networks
) -> None:
    offsets = []
    for name in ("browser", "synced"):
        recording = media.read(clip(name))
        tracks = pipeline.find_tracks(recording.frames, networks.face_detector())
        offsets.append(
            pipeline.measure_sync(
                recording, tracks, networks.sync(), networks.landmarker()
            ).offset_frames
        )
    assert abs(offsets[0] - offsets[1]) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("speaker", [0, 1])
def test_of_two_faces_the_one_that_speaks_is_chosen(
    tmp_path: Path, networks: Networks, speaker: int
) -> None:
    path = tmp_path / "clip.mp4"
    talking_clip(path, container="mp4-h264-aac", faces=2, speaker=speaker, listener="moving")
    recording = media.read(path)
    tracks = pipeline.find_tracks(recording.frames, networks.face_detector())
    result = pipeline.measure_sync(recording, tracks, networks.sync(), networks.landmarker())
    assert len(result.tracks) == 2
    chosen = next(track for track in result.tracks if track.chosen)
    left = (chosen.mean_box[0] + chosen.mean_box[2]) / 2 < recording.info.width / 2
    assert left == (speaker == 0)
