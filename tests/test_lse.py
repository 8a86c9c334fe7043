"""LSE-D and LSE-C: each protocol's arithmetic, to the digit of the reference where it is stored."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import overload

import av
import numpy as np
import parity
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from parity.formula import clip

from evaluation import lse
from evaluation.lse import Meter, OriginalTables, TrackFigures, VideoFigures
from evaluation.lse_protocols import PROTOCOLS, LseProtocol
from evaluation.samples import talking_clip
from syncnet_python import cropping, media, offset, weights
from syncnet_python.embedding import SyncNetEmbedder
from syncnet_python.errors import NoAudio, NoFace, TrackTooShort, WeightsMissing
from syncnet_python.media import Frames, Recording
from syncnet_python.results import SAMPLES_PER_FRAME, ModelInfo, VideoInfo
from syncnet_python.tracking import Track

REAL, LRS, LATENT = (PROTOCOLS[name] for name in ("wav2lip-real", "wav2lip-lrs", "latentsync"))
INFO = ModelInfo("syncnet_v2", "2", "published", "0" * 64)


class Drawn(Sequence[av.VideoFrame]):
    """Frames of a formula, drawn when they are asked for."""

    def __init__(self, count: int, draw: Callable[[int], NDArray[np.uint8]]) -> None:
        self._numbers, self._draw = range(count), draw

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> av.VideoFrame: ...
    @overload
    def __getitem__(self, index: slice) -> "list[av.VideoFrame]": ...
    def __getitem__(self, index: int | slice) -> "av.VideoFrame | list[av.VideoFrame]":
        if isinstance(index, slice):
            return [self[n] for n in self._numbers[index]]
        return av.VideoFrame.from_ndarray(self._draw(self._numbers[index]), format="bgr24")


def grey(level: int) -> NDArray[np.uint8]:
    return np.full((240, 320, 3), level, np.uint8)


def recorded(frames: Frames, audio: NDArray[np.int16], fps: float = 25.0) -> Recording:
    info = VideoInfo(len(frames) / 25, 224, 224, fps, "formula", len(frames))
    return Recording(frames, audio, np.arange(len(frames)) / 25, info)


class Stands:
    """A detector of faces that stand where they are told to, frame by frame."""

    name = "stands"

    def __init__(self, seen: Sequence[bool], side: float = 120.0) -> None:
        self._seen: Iterator[bool] = iter(seen)
        self._box = np.array([[90.0, 50.0, 90.0 + side, 50.0 + side, 0.95]], np.float32)

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        return [self._box[: int(seen)] for seen in islice(self._seen, len(frames))]


def original() -> OriginalTables:
    return OriginalTables(SyncNetEmbedder(parity.syncnet_state(), precision="float32"), INFO)


@pytest.mark.slow
def test_whole_frames_have_the_figures_of_the_reference() -> None:
    video, audio = clip()
    frames = Frames(Drawn(len(video), lambda number: video[number]))
    found = Meter(LRS, original(), None).figures(recorded(frames, audio))
    figures = parity.record("syncnet_formula")
    (track,) = found.tracks
    assert (track.first_frame, track.last_frame) == (0, 59)
    assert track.windows == figures["windows"] == 55
    assert track.offset_frames == figures["offset_frames"]
    assert found.lse_d == pytest.approx(figures["min_dist"], rel=1e-4)
    assert found.lse_c == pytest.approx(figures["confidence"], abs=1e-4 * figures["min_dist"])
    assert found.notes == ()


@pytest.mark.shared
@pytest.mark.slow
def test_a_file_has_the_figures_of_the_reference(shared: Path) -> None:
    path = shared / "data/sync_val/syncnet_example.avi"
    found = Meter(LRS, original(), None).video(path)
    (track,) = found.tracks
    assert (track.windows, track.offset_frames) == (312, 15)
    assert found.lse_d == pytest.approx(133.39353942871094, rel=1e-4)
    assert found.lse_c == pytest.approx(2.1334228515625, abs=0.0134)


@pytest.mark.parametrize(
    ("protocol", "detections", "tracks"),
    [(REAL, 100, 0), (REAL, 101, 1), (LATENT, 50, 0), (LATENT, 51, 1)],
)
def test_a_track_has_more_detections_than_the_authors_least(
    protocol: LseProtocol, detections: int, tracks: int
) -> None:
    frames = Frames(Drawn(120, lambda number: grey(100)))
    detector = Stands([number < detections for number in range(120)])
    if not tracks:
        with pytest.raises(TrackTooShort):
            lse.find_tracks(frames, detector, protocol)
        return
    (track,) = lse.find_tracks(frames, detector, protocol)
    assert len(track) == detections


@pytest.mark.parametrize(("side", "counts"), [(100.0, False), (101.0, True)])
def test_faces_are_larger_than_100_pixels(side: float, counts: bool) -> None:
    frames = Frames(Drawn(60, lambda number: grey(100)))
    if counts:
        assert len(lse.find_tracks(frames, Stands([True] * 60, side), LATENT)) == 1
    else:
        with pytest.raises(TrackTooShort):
            lse.find_tracks(frames, Stands([True] * 60, side), LATENT)


def test_nobody_is_no_figure() -> None:
    frames = Frames(Drawn(60, lambda number: grey(100)))
    with pytest.raises(NoFace):
        lse.find_tracks(frames, Stands([False] * 60), LATENT)


def test_a_change_that_only_the_newer_cut_detector_takes_for_a_cut() -> None:
    """Value 60 to 145 changes hue, saturation and value by 28.3 in the mean."""
    frames = Frames(Drawn(240, lambda number: grey(60 if number < 120 else 145)))
    newer = lse.find_tracks(frames, Stands([True] * 240), LATENT)
    assert [(int(t.frames[0]), int(t.frames[-1])) for t in newer] == [(0, 119), (120, 239)]
    (older,) = lse.find_tracks(frames, Stands([True] * 240), REAL)
    assert len(older) == 240


def test_crops_equal_the_originals() -> None:
    expected = parity.numbers("tracking_expected")
    y, x = np.mgrid[0:480, 0:640]

    def draw(number: int) -> NDArray[np.uint8]:
        channels = [(x + 2 * number) % 256, (2 * y + number) % 256, ((x + y) // 2) % 256]
        return np.stack(channels, axis=2).astype(np.uint8)

    track = Track(expected["track0_frame"], expected["track0_bbox"])
    crops = lse.FaceCrops(Frames(Drawn(260, draw)), track)
    assert len(crops) == 120
    wanted = dict(zip(expected["crop_frames"].tolist(), expected["crops"], strict=True))
    for number, crop in enumerate(islice(crops, 51)):
        if number in wanted:
            np.testing.assert_array_equal(crop, wanted[number])


@pytest.mark.slow
def test_every_track_is_measured_with_its_own_sound(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Two scenes of a speaker; the last window of each is dropped, as the reference does."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    talking_clip(path, seconds=4.4, size=(320, 240), container="mp4-h264-aac")
    whole = media.read(path)
    dark = Drawn(len(whole.frames), lambda n: whole.frames.bgr(n) // (1 if n < 55 else 8))
    recording = recorded(Frames(dark), whole.audio)
    network = original()
    found = Meter(LATENT, network, Stands([True] * 110)).figures(recording)
    spans = [(track.first_frame, track.last_frame) for track in found.tracks]
    assert spans == [(0, 54), (55, 109)]
    embedder = SyncNetEmbedder(parity.syncnet_state(), precision="float32")
    box = np.tile([90.0, 50.0, 210.0, 170.0], (55, 1))
    path_of = cropping.smooth(box)
    for track, (first, last) in zip(found.tracks, spans, strict=True):
        crops = [
            cropping.crop(recording.frames.bgr(first + n), *step)
            for n, step in enumerate(zip(path_of.x, path_of.y, path_of.size, strict=True))
        ]
        sound = whole.audio[first * SAMPLES_PER_FRAME : (last + 1) * SAMPLES_PER_FRAME]
        embedded = embedder.embed(crops, sound, "reference")
        expected = offset.estimate(embedded.visual, embedded.audio)
        assert track.windows == 50
        assert track.lse_d == pytest.approx(expected.min_dist, rel=1e-6)
        assert track.lse_c == pytest.approx(expected.confidence, rel=1e-4)
        assert track.offset_frames == expected.offset_frames
    assert found.lse_d == pytest.approx(fmean(track.lse_d for track in found.tracks))
    assert found.lse_c == pytest.approx(fmean(track.lse_c for track in found.tracks))


def test_a_track_without_sound_is_left_out_and_said() -> None:
    level = [60, 145]
    frames = Frames(Drawn(120, lambda number: grey(level[number // 60])))
    audio = clip(60)[1][: 8 * SAMPLES_PER_FRAME]
    found = Meter(LATENT, original(), Stands([True] * 120)).figures(recorded(frames, audio))
    assert [track.windows for track in found.tracks] == [3]
    (note,) = found.notes
    assert "left out" in note


def test_windows_end_with_whole_frames_of_sound() -> None:
    video, audio = clip(10)
    frames = Frames(Drawn(10, lambda number: video[number]))
    found = Meter(LRS, original(), None).figures(
        recorded(frames, audio[: 8 * SAMPLES_PER_FRAME + 639])
    )
    assert found.tracks[0].windows == 3


def test_frames_are_squeezed_whatever_their_shape() -> None:
    steps = np.arange(160, dtype=np.uint8)
    wide = np.repeat(np.tile(steps, (96, 1))[:, :, None], 3, axis=2)
    (squeezed,) = lse.Squeezed(Frames(Drawn(1, lambda number: wide)))
    assert squeezed.shape == (224, 224, 3)
    assert (np.diff(squeezed[0, :, 0].astype(int)) >= 0).all()
    assert (squeezed[0, 0, 0], squeezed[-1, -1, 0]) == (0, 159)


def test_what_makes_figures_worth_less_is_noted() -> None:
    video, audio = clip(8)
    frames = Frames(Drawn(8, lambda number: video[number]))
    meter = Meter(LRS, original(), None)
    (note,) = meter.figures(recorded(frames, audio, fps=29.97)).notes
    assert "29.97" in note
    (silent,) = meter.figures(recorded(frames, np.zeros_like(audio))).notes
    assert "silence" in silent


def test_files_are_decoded_as_elsewhere(tmp_path: Path) -> None:
    talking_clip(tmp_path / "clip.mkv", seconds=1.0, size=(160, 120), container="mkv-h264-flac")
    whole = media.read(tmp_path / "clip.mkv")
    with lse.recording_on_disk(tmp_path / "clip.mkv") as recording:
        assert len(recording.frames) == len(whole.frames) == 25
        for index in (0, 24, 7):
            np.testing.assert_array_equal(recording.frames.bgr(index), whole.frames.bgr(index))
        np.testing.assert_array_equal(recording.audio, whole.audio)
        np.testing.assert_array_equal(recording.frames[3:5][1], whole.frames.bgr(4))


def test_frames_keep_their_size(tmp_path: Path) -> None:
    talking_clip(tmp_path / "clip.mp4", seconds=0.4, size=(960, 720), container="mp4-h264-aac")
    with lse.recording_on_disk(tmp_path / "clip.mp4") as recording:
        assert recording.frames.bgr(0).shape == (720, 960, 3)


def test_a_video_without_sound_has_no_figures(tmp_path: Path) -> None:
    talking_clip(tmp_path / "mute.webm", seconds=0.4, size=(160, 120), no_audio=True)
    with pytest.raises(NoAudio):
        Meter(LRS, original(), None).video(tmp_path / "mute.webm")


numbers = st.floats(0, 200)
tracks = st.builds(TrackFigures, st.just(0), st.just(99), st.just(95), numbers, numbers, st.just(0))


@st.composite
def videos(draw: st.DrawFn) -> VideoFigures:
    found = tuple(draw(st.lists(tracks, min_size=1, max_size=4)))
    return VideoFigures(fmean(t.lse_d for t in found), fmean(t.lse_c for t in found), 25.0, found)


@given(st.lists(videos(), min_size=1, max_size=5))
def test_means_are_over_what_they_say(measured: list[VideoFigures]) -> None:
    over_videos, over_tracks = lse.mean(measured, "videos"), lse.mean(measured, "tracks")
    assert over_videos is not None
    assert over_tracks is not None
    assert over_videos.count == len(measured)
    assert over_videos.lse_d == pytest.approx(fmean(v.lse_d for v in measured))
    every = [track for video in measured for track in video.tracks]
    assert over_tracks.count == len(every)
    assert over_tracks.lse_c == pytest.approx(fmean(track.lse_c for track in every))
    weighted = sum(video.lse_d * len(video.tracks) for video in measured) / len(every)
    assert over_tracks.lse_d == pytest.approx(weighted)


def test_nothing_has_no_mean() -> None:
    assert lse.mean([], "videos") is None


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=lambda p: p.name)
def test_published_figures_want_published_weights(
    protocol: LseProtocol, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weights.registry()
    monkeypatch.setattr(weights, "BUNDLED_DIR", tmp_path)
    with pytest.raises(WeightsMissing, match=r"syncnet_v2.*--network fcn"):
        lse.load(protocol)


def test_whole_frames_are_nothing_to_the_bundled_network() -> None:
    with pytest.raises(lse.NotOfThisNetwork):
        lse.load(LRS, "fcn")


def test_following_faces_needs_a_detector() -> None:
    with pytest.raises(ValueError, match="detector"):
        Meter(REAL, original(), None)


@pytest.mark.slow
def test_the_bundled_network_says_that_it_is_on_another_scale(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    size = (320, 240)
    talking_clip(path, seconds=2.2, size=size, container="mp4-h264-aac", face_height=0.7)
    meter, models = lse.load(LATENT, "fcn")
    assert set(models) == {"face_finder", "face_landmarks", "syncnet_fcn"}
    assert not meter.network.comparable
    found = meter.video(path)
    (track,) = found.tracks
    assert 0 <= found.lse_d <= 2
    assert abs(track.offset_frames) <= 1


def test_the_frame_rate_is_that_of_the_file(tmp_path: Path) -> None:
    path, fps = tmp_path / "clip.mp4", Fraction(30)
    talking_clip(path, seconds=0.5, size=(160, 120), container="mp4-h264-aac", fps=fps)
    found = Meter(LRS, original(), None).video(path)
    assert found.fps == pytest.approx(30, abs=0.1)
    assert any("30" in note for note in found.notes)
