"""Corrections: the sound moves by exactly what was measured, the picture not at all."""

import statistics
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_clips import heard, lag, noise, numbered, written

from evaluation.clip_writer import FormatName
from evaluation.samples import BROWSER, talking_clip
from syncnet_python import media
from syncnet_python.errors import NoAudio, NoVideo
from syncnet_python.results import OffsetChange, OffsetCurve, SyncResult
from syncnet_python.scale import SYNCNET_V2, load
from workflows.clips import ClipWriter, file_offset, info
from workflows.clips import move_sound as move_sound_module
from workflows.clips.correct import correct, default_target
from workflows.clips.file_offset import (
    MOST_WINDOWS,
    FileOffset,
    Incomparable,
    LowConfidence,
    OffsetFinder,
    OffsetVaries,
    WindowOffset,
    chosen,
    combined,
    needed_confidence,
    of_window,
)
from workflows.clips.move_sound import NotWritable, move_sound


def picture_packets(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in container.demux(video=0)
            if packet.size and packet.pts is not None
        ]


@pytest.mark.slow
@pytest.mark.parametrize("frames", [5, -5, 1, -15])
@pytest.mark.parametrize(
    ("suffix", "rate"), [(".avi", 44_100), (".mkv", 48_000), (".mkv", 11_025), (".mov", 16_000)]
)
def test_the_sound_moves_by_exactly_so_many_samples(
    tmp_path: Path, suffix: str, rate: int, frames: int
) -> None:
    """Where the sound is kept without loss, every sample is compared."""
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    sound = noise(4 * rate)
    if suffix == ".mov":
        with ClipWriter(source, size=(64, 48), codecs="h264+pcm") as writer:
            for number in range(100):
                writer.picture(numbered(number), number / 25)
                writer.sound(sound[number * 640 : (number + 1) * 640])
    else:
        written(source, sound, rate=rate)
    assert move_sound(source, target, Fraction(frames, 25)) == ()
    samples = frames * rate // 25
    start, found = heard(target, rate)
    assert start == 0
    assert len(found) == len(sound)
    still = np.zeros((abs(samples), 1), np.int16)
    moved = [still, sound[:-samples]] if samples > 0 else [sound[-samples:], still]
    np.testing.assert_array_equal(found, np.concatenate(moved))
    assert picture_packets(target) == picture_packets(source)


@pytest.mark.slow
@pytest.mark.parametrize("frames", [7, -7])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm"])
def test_sound_with_loss_moves_by_exactly_so_many_samples(
    tmp_path: Path, suffix: str, frames: int
) -> None:
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    written(source, noise(4 * 48_000, 2), rate=48_000)
    move_sound(source, target, Fraction(frames, 25))
    (start, before), (again, after) = heard(source, 48_000, 2), heard(target, 48_000, 2)
    assert again == pytest.approx(start, abs=1e-3)
    samples = frames * 1920
    kept = slice(max(0, samples) + 4800, 3 * 48_000)
    old = before[kept.start - samples : kept.stop - samples]
    for channel in (0, 1):
        assert lag(old[:, channel], after[kept][:, channel]) == 0
    assert picture_packets(target) == picture_packets(source)


@pytest.mark.slow
@pytest.mark.parametrize("start_offset_s", [-0.48, 0.08])
@pytest.mark.parametrize("target", ["b.webm", "b.mkv"])
def test_streams_that_do_not_begin_together_move_no_more(
    tmp_path: Path, start_offset_s: float, target: str
) -> None:
    """Exact even where a browser wrote the file: live, with times of whole milliseconds."""
    source = tmp_path / "a.webm"
    talking_clip(
        source, seconds=3, size=(64, 48), live=True, start_offset_s=start_offset_s, no_face=True
    )
    move_sound(source, tmp_path / target, Fraction(3, 25))
    (start, before), (again, after) = heard(source, 48_000), heard(tmp_path / target, 48_000)
    assert again == pytest.approx(start, abs=1.1e-3)  # Matroska keeps milliseconds
    assert lag(before[: 2 * 48_000, 0], after[: 2 * 48_000, 0]) == 3 * 1920
    assert picture_packets(tmp_path / target) == picture_packets(source)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("container", "source", "target"),
    [
        ("mpeg", "a.mpg", "b.mkv"),
        ("avi-mpeg4-pcm", "a.avi", "b.mp4"),
        ("webm-vp8-opus", "a.webm", "b.mkv"),
        ("mkv-h264-flac", "a.mkv", "b.mp4"),  # whose first pictures have no decoding times
    ],
)
def test_a_copy_may_be_of_another_kind(
    tmp_path: Path, container: FormatName, source: str, target: str
) -> None:
    path, copy = tmp_path / source, tmp_path / target
    talking_clip(path, seconds=3, size=(64, 48), container=container, no_face=True)
    move_sound(path, copy, Fraction(-3, 25))
    before, after = media.read(path), media.read(copy)
    assert len(after.frames) == len(before.frames)
    np.testing.assert_array_equal(after.frames[40], before.frames[40])
    assert lag(before.audio[16_000:32_000], after.audio[16_000:32_000]) == -3 * 640


def test_what_is_not_in_the_copy_is_told(tmp_path: Path) -> None:
    source, both = tmp_path / "a.mkv", tmp_path / "both.mkv"
    talking_clip(source, seconds=1, size=(64, 48), container="webm-vp8-opus", no_face=True)
    with av.open(str(source)) as inside, av.open(str(both), "w") as outside:
        sound = inside.streams.audio[0]
        picture = outside.add_stream_from_template(inside.streams.video[0])
        copies = [outside.add_stream_from_template(sound) for _ in range(2)]
        for packet in inside.demux():
            if packet.size:
                packet.dts = packet.pts
                packet.stream = copies[0] if packet.stream.type == "audio" else picture
                outside.mux(packet)
    assert move_sound(both, tmp_path / "b.mkv", Fraction(1, 25)) == ("audio 2",)
    assert [s.kind for s in info(tmp_path / "b.mkv").streams] == ["picture", "sound"]


def test_a_turned_picture_stays_turned(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    talking_clip(
        source, seconds=1, size=(120, 160), rotation=90, container="mp4-h264-aac", no_face=True
    )
    move_sound(source, target, Fraction(1, 25))
    with av.open(str(target)) as container:
        assert next(container.decode(video=0)).rotation == 90


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    source = written(tmp_path / "a.mp4", noise(16_000), pictures=25)
    with pytest.raises(NotWritable, match="h264"):
        move_sound(source, tmp_path / "b.webm", Fraction(1, 25))
    with pytest.raises(NotWritable, match="AVI"):
        move_sound(source, tmp_path / "b.avi", Fraction(1, 25))
    with pytest.raises(ValueError, match="must end"):
        move_sound(source, tmp_path / "b.ogg", Fraction(1, 25))
    with pytest.raises(ValueError, match="whole samples"):
        move_sound(source, tmp_path / "b.mp4", Fraction(1, 7))
    mute = written(tmp_path / "mute.mp4", None, pictures=5)
    with pytest.raises(NoAudio):
        move_sound(mute, tmp_path / "b.mp4", Fraction(1, 25))
    voice = tmp_path / "voice.mp4"
    talking_clip(voice, seconds=1, container="mp4-h264-aac", no_video=True)
    with pytest.raises(NoVideo):
        move_sound(voice, tmp_path / "b.mp4", Fraction(1, 25))
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "mute.mp4", "voice.mp4"}


def test_sound_that_is_shorter_than_the_shift_becomes_silence(tmp_path: Path) -> None:
    source, target = written(tmp_path / "a.mkv", noise(1600), pictures=25), tmp_path / "b.mkv"
    for frames in (10, -10):
        move_sound(source, target, Fraction(frames, 25))
        _, found = heard(target, 16_000)
        assert (len(found), found.any()) == (1600, False)


CURVE = OffsetCurve(tuple(range(-15, 16)), (1.0,) * 31)
SYNC = SyncResult(
    score=0.9,
    offset_frames=5,
    lag_ms=200,
    confidence=8.0,
    min_dist=6.0,
    protocol="p",
    network="n",
    num_windows=200,
    curve=CURVE,
    framewise_confidence=(),
    tracks=(),
    subframe_offset=5.0,
    timeline=(),
    changes=(),
    doubts=(),
    raw_score=0.9,
)


def test_what_speaks_against_a_window() -> None:
    assert of_window(0, 8, SYNC, SYNCNET_V2).reason is None
    for change, error in (
        ({"doubts": ("MUSIC",)}, Incomparable),
        ({"confidence": 3.9}, LowConfidence),
        ({"num_windows": 15}, LowConfidence),
        ({"changes": (OffsetChange(4.0, -1.0, 5.0),)}, OffsetVaries),
    ):
        window = of_window(0, 8, replace(SYNC, **change), SYNCNET_V2)
        assert window.reason == error.code
        found = combined([window], "n")
        assert found is not None
        assert found.offset_frames == 5
        with pytest.raises(error, match=r"\w"):
            found.check()


def test_a_short_recording_needs_a_higher_confidence() -> None:
    for scale in (SYNCNET_V2, load("syncnet_fcn")):
        usual = needed_confidence(scale, 75)
        assert usual == needed_confidence(scale, 500)
        assert usual > scale.confidence_mid
        assert needed_confidence(scale, 25) == pytest.approx(usual * 3**0.5)


def window(offset: int | None, reason: str | None = None, confidence: float = 8.0) -> WindowOffset:
    measured = offset is not None
    return WindowOffset(
        0, 30, offset, confidence if measured else None, 6.0 if measured else None, reason, "why"
    )


@given(st.none() | st.integers(-1000, 1000), st.none() | st.integers(1, 5000), st.integers(1, 20))
def test_decoding_times_that_are_missing_rise(
    last: int | None, room: int | None, count: int
) -> None:
    following = None if room is None else (last or 0) + count + room
    times = move_sound_module._between(last, following, count, 40)
    all_times = [t for t in (last, *times, following) if t is not None]
    assert len(times) == count
    assert all_times == sorted(set(all_times))


@given(st.lists(st.integers(-15, 15), min_size=1), st.lists(st.integers(-15, 15)))
def test_windows_that_can_be_trusted_alone_count_and_must_agree(
    trusted: list[int], others: list[int]
) -> None:
    found = combined(
        [*map(window, trusted), *(window(o, LowConfidence.code, 1.0) for o in others)], "n"
    )
    assert found is not None
    assert found.offset_frames == statistics.median_low(trusted)
    assert found.lag_ms == 40 * found.offset_frames
    assert found.confidence == 8.0
    agree = all(abs(offset - found.offset_frames) <= 1 for offset in trusted)
    assert found.reason == (None if agree else OffsetVaries.code)


def test_windows_of_which_none_can_be_trusted() -> None:
    low = LowConfidence.code
    found = combined([window(3, low, 1.0), window(9, low, 2.0), window(None, "no_face")], "n")
    assert found is not None
    assert (found.offset_frames, found.reason) == (9, low)
    assert combined([window(None, "no_face")], "n") is None


@given(st.integers(1, 500))
def test_a_few_windows_stand_for_a_long_file(count: int) -> None:
    numbers = chosen(count)
    assert len(numbers) == min(count, MOST_WINDOWS)
    assert min(numbers) == 0
    assert max(numbers) >= count - 2
    assert max(numbers) < count


def measured(offset: int, reason: str | None = None) -> FileOffset:
    found = combined([window(offset, reason)], "n")
    assert found is not None
    return found


class Answers:
    """A measure of the file that was written, by its sound: what the picture shows is known."""

    def __init__(self, truth: Path, reason: str | None = None) -> None:
        self.truth, self.reason = heard(truth, 16_000)[1], reason

    def __call__(self, path: Path) -> FileOffset:
        return measured(-lag(self.truth, heard(path, 16_000)[1]) // 640, self.reason)


def test_an_offset_is_taken_away(tmp_path: Path) -> None:
    truth = written(tmp_path / "truth.mkv", noise(4 * 16_000))
    early, copy = tmp_path / "early.mkv", tmp_path / "copy.mkv"
    move_sound(truth, early, Fraction(-6, 25))
    done = correct(early, copy, Answers(truth))
    assert done.after is not None
    assert (done.before.offset_frames, done.after.offset_frames) == (6, 0)
    assert (done.outcome, done.output, done.moved_ms) == ("corrected", copy, 240)
    assert copy.exists()


def test_nothing_is_written_where_nothing_is_wrong(tmp_path: Path) -> None:
    truth = written(tmp_path / "truth.mkv", noise(4 * 16_000))
    early, copy = tmp_path / "early.mkv", tmp_path / "copy.mkv"
    move_sound(truth, early, Fraction(-1, 25))
    done = correct(early, copy, Answers(truth))
    assert (done.outcome, done.output, done.moved_ms) == ("not_needed", None, 0)
    assert not copy.exists()
    done = correct(early, copy, Answers(truth), tolerance=0)
    assert (done.outcome, done.moved_ms) == ("corrected", 40)


def test_what_cannot_be_trusted_is_corrected_only_by_force(tmp_path: Path) -> None:
    truth = written(tmp_path / "truth.mkv", noise(4 * 16_000))
    late, copy = tmp_path / "late.mkv", tmp_path / "copy.mkv"
    move_sound(truth, late, Fraction(5, 25))
    with pytest.raises(LowConfidence):
        correct(late, copy, Answers(truth, LowConfidence.code))
    assert not copy.exists()
    done = correct(late, copy, Answers(truth, LowConfidence.code), force=True)
    assert (done.outcome, done.moved_ms) == ("corrected", -200)


def test_a_copy_that_is_not_as_it_should_be_is_told(tmp_path: Path) -> None:
    source = written(tmp_path / "a.mkv", noise(16_000), pictures=25)
    done = correct(source, tmp_path / "b.mkv", lambda path: measured(9))
    assert done.outcome == "still_off"


def test_the_copy_lies_beside_the_recording() -> None:
    assert default_target(Path("a/talk.MP4")) == Path("a/talk.corrected.MP4")
    assert default_target(Path("talk.mpg")) == Path("talk.corrected.mkv")


@pytest.fixture(scope="module")
def finder() -> OffsetFinder:
    return OffsetFinder(profile="bundled")


@pytest.mark.slow
def test_a_recording_is_repaired(tmp_path: Path, finder: OffsetFinder) -> None:
    """By the bundled network, from the file alone, as a browser writes it."""
    source = tmp_path / "a.webm"
    talking_clip(source, **{**BROWSER, "seconds": 5, "size": (320, 240), "offset_frames": -5})
    done = correct(source, default_target(source), finder)
    assert done.after is not None
    assert done.before.offset_frames == pytest.approx(-5, abs=1)
    assert done.moved_ms == 40 * done.before.offset_frames
    assert abs(done.after.offset_frames) <= 1
    assert done.outcome == "corrected"


@pytest.mark.slow
def test_a_long_recording_is_measured_in_windows(
    tmp_path: Path, finder: OffsetFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_offset, "WINDOW_S", 3.0)
    source = tmp_path / "a.mp4"
    talking_clip(
        source, seconds=9, seed=3, size=(320, 240), container="mp4-h264-aac", offset_frames=5
    )
    found = finder(source)
    assert [(w.start_s, round(w.end_s, 2)) for w in found.windows] == [(0, 3), (3, 6), (6, 9)]
    assert [w.offset_frames for w in found.windows] == [pytest.approx(5, abs=1)] * 3
    assert (found.offset_frames, found.reason) == (pytest.approx(5, abs=1), None)


@pytest.mark.slow
def test_a_dubbed_recording_is_refused(tmp_path: Path, finder: OffsetFinder) -> None:
    source = tmp_path / "a.mp4"
    talking_clip(source, seconds=5, seed=3, size=(320, 240), container="mp4-h264-aac", dubbed=True)
    with pytest.raises((LowConfidence, Incomparable)):
        correct(source, tmp_path / "b.mp4", finder)
    assert not (tmp_path / "b.mp4").exists()
