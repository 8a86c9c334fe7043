"""The originals' files: they exist, agree with each other and with what `score` measures."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import parity
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.samples import talking_clip
from syncnet_python import cropping, media, pipeline, scale
from syncnet_python.assembly import Networks
from syncnet_python.errors import NoFace
from syncnet_python.limits import Limits
from syncnet_python.pipeline import WEBCAM, SyncNetwork
from syncnet_python.results import SAMPLES_PER_FRAME, ModelInfo, TrackResult
from syncnet_python.sync_networks import SyncNetV2
from syncnet_wrapper import SyncNetWrapper
from workflows.inspection import reference_files
from workflows.inspection.analysis import analysed
from workflows.inspection.reference_files import ReferenceFiles

OFFSET = 3
WHOLE = Limits(kept_pixels=None)


@dataclass(frozen=True)
class Case:
    """A recording of two faces, the files made of it, and the recording as it was decoded."""

    clip: Path
    written: ReferenceFiles
    recording: media.Recording


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks("bundled")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, networks: Networks) -> Case:
    folder = tmp_path_factory.mktemp("reference")
    clip = folder / "two.mkv"
    talking_clip(
        clip,
        seconds=3.0,
        size=(480, 320),
        container="mkv-h264-flac",
        faces=2,
        offset_frames=OFFSET,
        start_offset_s=-0.2,  # the picture begins five frames before the sound
    )
    written = reference_files.write(clip, "two", folder / "data", networks, WEBCAM)
    return Case(clip, written, media.read(clip, WHOLE))


def stored(case: Case, name: str) -> Any:
    return json.loads((case.written.work / name).read_text())


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal to noise, decibels."""
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


@pytest.mark.slow
def test_everything_is_where_the_originals_put_it(case: Case) -> None:
    data = case.clip.parent / "data"
    files = {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}
    assert files == {
        "pycrop/two/00000.avi",
        "pycrop/two/00001.avi",
        "pywork/two/offsets.txt",
        "pywork/two/faces.json",
        "pywork/two/scenes.json",
        "pywork/two/tracks.json",
        "pywork/two/activesd.npz",
        "pyavi/two/video_out.avi",
    }


@pytest.mark.slow
def test_offsets_are_those_that_are_scored(case: Case, networks: Networks) -> None:
    sync = SyncNetWrapper(profile="bundled").process_video(case.clip, "two").syncnet
    assert sync is not None
    lines = (case.written.work / "offsets.txt").read_text().splitlines()
    assert lines == [
        f"TRACK {number}: OFFSET {track.offset_frames}, CONF {track.confidence:.3f}"
        for number, track in enumerate(sync.tracks)
    ]
    speaker = [track.chosen for track in sync.tracks].index(True)
    assert lines[speaker].startswith(f"TRACK {speaker}: OFFSET {OFFSET}, ")


@pytest.mark.slow
def test_faces_scenes_and_tracks_agree(case: Case) -> None:
    frames = len(case.recording.frames)
    faces, scenes, tracks = (stored(case, f"{n}.json") for n in ("faces", "scenes", "tracks"))
    assert scenes == [[0, frames]]
    assert len(faces) == frames
    assert all(face["frame"] == n for n, found in enumerate(faces) for face in found)
    assert len(tracks) == 2
    for track in tracks:
        numbers, boxes = track["track"]["frame"], np.array(track["track"]["bbox"])
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert boxes.shape == (len(numbers), 4)
        seen = np.array([face["bbox"] for face in faces[numbers[7]]])
        assert np.abs(seen - boxes[7]).max(axis=1).min() < 0.01
        path = cropping.smooth(boxes)
        for key, values in (("x", path.x), ("y", path.y), ("s", path.size)):
            assert np.allclose(track["proc_track"][key], values, atol=0.01)


@pytest.mark.slow
def test_every_track_is_a_clip_of_its_crops_and_its_sound(case: Case) -> None:
    for number, track in enumerate(stored(case, "tracks.json")):
        clip = media.read(case.written.crop(number), WHOLE)
        frames, path = track["track"]["frame"], track["proc_track"]
        assert len(clip.frames) == len(frames)
        assert clip.frames.bgr(0).shape == (224, 224, 3)
        for index in range(0, len(frames), 10):
            at = (path["x"][index], path["y"][index], path["s"][index])
            wanted = cropping.crop(case.recording.frames.bgr(frames[index]), *at)
            assert similarity(clip.frames.bgr(index), wanted) > 30
            if index:
                earlier = cropping.crop(case.recording.frames.bgr(frames[index - 9]), *at)
                assert similarity(clip.frames.bgr(index), earlier) < 40
        heard = case.recording.audio[frames[0] * SAMPLES_PER_FRAME :][: len(clip.audio)]
        assert np.array_equal(clip.audio, heard)
        assert len(clip.audio) > (len(frames) - 1) * SAMPLES_PER_FRAME


@pytest.mark.slow
def test_a_clip_of_a_track_has_the_offset_of_the_track(case: Case, networks: Networks) -> None:
    number = [track.chosen for track in case.written.sync.tracks].index(True)
    clip = media.read(case.written.crop(number))
    tracks = pipeline.find_tracks(clip.frames, networks.face_detector())
    again = pipeline.measure_sync(clip, tracks, networks.sync(), networks.landmarker())
    assert again.offset_frames == OFFSET
    assert again.confidence == pytest.approx(case.written.sync.confidence, rel=0.15)


@pytest.mark.slow
def test_distances_and_confidences_load_without_pickle(case: Case) -> None:
    sync = case.written.sync
    with np.load(case.written.work / "activesd.npz", allow_pickle=False) as arrays:
        assert str(arrays["protocol"]) == sync.protocol
        offsets = arrays["offsets"]
        for number, track in enumerate(sync.tracks):
            means = np.nanmean(arrays[f"distances_{number}"], axis=0)
            assert offsets[int(np.argmin(means))] == track.offset_frames
            assert float(means.min()) == pytest.approx(track.min_dist, rel=1e-4)
            assert arrays[f"confidences_{number}"].shape == (track.num_frames,)
            if track.chosen:
                shown = arrays[f"confidences_{number}"]
                assert np.array_equal(shown, sync.framewise_confidence)


@pytest.mark.slow
def test_the_video_shows_the_boxes_and_keeps_the_sound(case: Case) -> None:
    video = media.read(case.written.video / "video_out.avi", WHOLE)
    assert len(video.frames) == len(case.recording.frames)
    assert np.array_equal(video.audio, case.recording.audio)
    tracks, found = stored(case, "tracks.json"), case.written.sync.tracks
    with np.load(case.written.work / "activesd.npz") as arrays:
        sure = [arrays[f"confidences_{number}"] for number in range(2)]
    high = scale.named(case.written.sync.network).confidence_levels[1]
    for frame in (20, 40):
        picture = video.frames.bgr(frame).astype(int)
        for number, track in enumerate(tracks):
            index = frame - track["track"]["frame"][0]
            x, y, size = (track["proc_track"][key][index] for key in "xys")
            blue, green, red = picture[int(y - size / 2), int(x - size)]
            assert blue < 110
            share = min(max(sure[number][index] / high, 0), 1)
            assert abs(green - 255 * share) < 90
            assert abs(red - 255 * (1 - share)) < 90
            if found[number].chosen:
                assert green > red
        untouched = case.recording.frames.bgr(frame)[-20:]
        assert similarity(picture[-20:], untouched) > 28


class StandInSyncNet(Networks):
    """SyncNet v2 on deterministic weights that mean nothing, behind the bundled face finder."""

    def sync(self) -> SyncNetwork:
        info = ModelInfo("syncnet_v2", "2", "published", "0" * 64)
        return SyncNetV2(parity.syncnet_state(), info, "cpu", "float32")


@pytest.mark.slow
def test_syncnet_v2s_windows_lie_in_the_middle_of_their_frames(tmp_path: Path) -> None:
    talking_clip(tmp_path / "clip.mkv", seconds=1.6, size=(320, 240), container="mkv-h264-flac")
    networks = StandInSyncNet("bundled")
    with analysed(tmp_path / "clip.mkv", networks, WEBCAM) as found:
        (estimate,) = found.measurement.estimates
        assert estimate is not None
        values, windows = found.confidences(0), estimate.framewise_confidence
        assert len(values) == len(found.tracks[0]) == len(windows) + 4
        assert np.array_equal(values[2:-2], windows)
        assert (values[:2] == windows[0]).all()
        assert (values[-2:] == windows[-1]).all()
    written = reference_files.write(
        tmp_path / "clip.mkv", "v2", tmp_path / "data", networks, WEBCAM, "plain"
    )
    with np.load(written.work / "activesd.npz", allow_pickle=False) as arrays:
        assert arrays["distances_0"].shape == (written.sync.num_windows, 31)
        means = arrays["distances_0"].mean(axis=0)
        shift = int(arrays["offsets"][int(np.argmin(means))])
    line = (written.work / "offsets.txt").read_text().split()
    assert line[0] == str(shift) == str(written.sync.offset_frames)


def test_an_unmeasured_track_keeps_its_number_or_its_line() -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    short = TrackResult(0, 2, 3, box, None, None, None, chosen=False)
    good = TrackResult(0, 99, 100, box, 2, 8.1472, 7.25, chosen=True)
    early = TrackResult(0, 99, 100, box, -11, 0.25, 9.0, chosen=False)
    tracks = [short, good, early]
    assert reference_files.offsets_text(tracks, "reference") == (
        "TRACK 1: OFFSET 2, CONF 8.147\nTRACK 2: OFFSET -11, CONF 0.250\n"
    )
    assert reference_files.offsets_text(tracks, "plain") == (
        "nan nan nan\n2 8.147 7.250\n-11 0.250 9.000\n"
    )


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", "a\\b", "C:x", " x", "x ", ".x", "a\0b", "a\nb"]
)
def test_names_that_would_leave_their_folder_are_refused(
    name: str, tmp_path: Path, networks: Networks
) -> None:
    with pytest.raises(ValueError, match="no plain name"):
        reference_files.write(tmp_path / "clip.mp4", name, tmp_path / "data", networks, WEBCAM)
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=250))
def test_a_name_that_is_taken_is_a_folder_of_its_own(name: str) -> None:
    try:
        reference_files.check_name(name)
    except ValueError:
        assert not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,98}[A-Za-z0-9]", name)
        return
    assert Path("data/pycrop", name).parent == Path("data/pycrop")
    assert Path("data/pycrop", name).name == name


def test_folders_are_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folders = [tmp_path / place / "name" for place in ("one", "two")]
    folders[0].mkdir(parents=True)
    (folders[0] / "old").write_text("old")

    def renew(*, fails: bool) -> None:
        with reference_files.renewed(folders) as fresh:
            for folder in fresh:
                (folder / "new").write_text("new")
            if fails:
                raise NoFace("nobody")

    with pytest.raises(NoFace):
        renew(fails=True)
    left = [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()]
    assert left == ["one/name/old"]
    renew(fails=False)
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == ["one/name/new", "two/name/new"]
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_dir()) == [
        "name",
        "name",
        "one",
        "two",
    ]


def test_a_file_in_a_folders_place_goes(tmp_path: Path) -> None:
    (tmp_path / "name").write_text("no folder")
    with reference_files.renewed([tmp_path / "name"]):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["name"]
    assert (tmp_path / "name").is_dir()


def test_a_link_in_a_folders_place_goes_and_its_target_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("kept")
    (tmp_path / "name").symlink_to(elsewhere)
    with reference_files.renewed([tmp_path / "name"]):
        pass
    assert not (tmp_path / "name").is_symlink()
    assert (elsewhere / "kept").read_text() == "kept"


@pytest.mark.slow
def test_a_recording_without_a_face_leaves_earlier_files(
    tmp_path: Path, networks: Networks
) -> None:
    talking_clip(
        tmp_path / "none.mp4", seconds=1.0, size=(320, 240), container="mp4-h264-aac", no_face=True
    )
    earlier = tmp_path / "data" / "pycrop" / "name" / "00000.avi"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("earlier")
    with pytest.raises(NoFace):
        reference_files.write(tmp_path / "none.mp4", "name", tmp_path / "data", networks, WEBCAM)
    assert [p for p in (tmp_path / "data").rglob("*") if p.is_file()] == [earlier]
