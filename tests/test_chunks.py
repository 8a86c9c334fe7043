"""Chunks: the ranges cover everything as they were asked for, and cutting moves nothing."""

import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluation.samples import talking_clip
from syncnet_python import media
from syncnet_python.errors import NoAudio, NoVideo
from syncnet_wrapper import SyncNetWrapper
from workflows.clips import ClipWriter, chunks, info, sound_track
from workflows.clips.chunks import SHORTEST_REST_S, Silences, by_silence, by_time, silences

LEVEL_S = sound_track.LEVEL_S


@pytest.mark.slow
@given(st.floats(0.04, 7200), st.floats(1.0, 120), st.floats(0, 0.87))
def test_chunks_by_time_cover_everything_and_overlap_as_asked(
    duration_s: float, length_s: float, share: float
) -> None:
    overlap_s = share * length_s
    ranges = by_time(duration_s, length_s, overlap_s)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == duration_s
    for (start_s, end_s), (after_s, _) in pairwise(ranges):
        assert end_s - start_s == pytest.approx(length_s)
        assert end_s - after_s == pytest.approx(overlap_s, abs=1e-6)
    last = ranges[-1][1] - ranges[-1][0]
    assert last < length_s + SHORTEST_REST_S
    if len(ranges) > 1:  # each adds something that is worth it
        assert ranges[-1][1] - ranges[-2][1] >= SHORTEST_REST_S - 1e-6


def test_chunks_by_time_of_a_usual_length() -> None:
    assert by_time(90, 30) == [(0, 30), (30, 60), (60, 90)]
    assert by_time(75, 30, 5) == [(0, 30), (25, 55), (50, 75)]
    assert by_time(60.5, 30) == [(0, 30), (30, 60.5)]
    assert by_time(20, 30) == [(0, 20)]


@pytest.mark.parametrize(
    ("length_s", "overlap_s", "said"),
    [(0.5, 0, "1 s"), (10, 10, "shorter"), (10, -1, "shorter"), (10, 9, "more than 8")],
)
def test_lengths_without_sense_are_refused(length_s: float, overlap_s: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        by_time(60, length_s, overlap_s)


loud_and_quiet = st.lists(
    st.tuples(st.sampled_from([-10.0, -60.0]), st.integers(1, 600)), min_size=1, max_size=30
)


@given(loud_and_quiet, st.floats(0.05, 3), st.floats(0, 12), st.floats(-0.5, 1))
def test_chunks_by_silence_cover_everything_and_are_long_enough(
    runs: list[tuple[float, int]], min_silence_s: float, min_chunk_s: float, more_s: float
) -> None:
    loudness = np.concatenate([np.full(n, level, np.float32) for level, n in runs])
    duration_s = max(0.04, len(loudness) * LEVEL_S + more_s)
    options = Silences(-30.0, min_silence_s, min_chunk_s)
    ranges = by_silence(loudness, duration_s, options)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == duration_s
    for (_, end_s), (after_s, _) in pairwise(ranges):
        assert end_s == after_s
    if len(ranges) > 1:
        assert min(end - start for start, end in ranges) >= min_chunk_s - 1e-6
    quiet = silences(loudness, duration_s, options)
    for cut in [end for _, end in ranges[:-1]]:
        assert any(start - 1e-6 <= cut <= end + 1e-6 for start, end in quiet)
        assert cut * 25 == pytest.approx(round(cut * 25))


@given(loud_and_quiet, st.floats(0.05, 3))
def test_silences_are_the_quiet_runs_that_last(
    runs: list[tuple[float, int]], min_silence_s: float
) -> None:
    loudness = np.concatenate([np.full(n, level, np.float32) for level, n in runs])
    duration_s = len(loudness) * LEVEL_S
    found = silences(loudness, duration_s, Silences(-30.0, min_silence_s))
    inside = np.zeros(len(loudness), np.bool_)
    for start_s, end_s in found:
        assert end_s - start_s >= min_silence_s - 1e-6
        inside[round(start_s / LEVEL_S) : round(end_s / LEVEL_S)] = True
    assert not inside[loudness > -30].any()
    for (_, end_s), (start_s, _) in pairwise(found):
        assert start_s > end_s  # what is loud lies between


def test_a_cut_goes_where_it_can() -> None:
    """In the middle of a silence, or as near to it as the shortest chunk allows."""
    loudness = np.full(2000, -10.0, np.float32)
    loudness[400:800] = -60
    assert by_silence(loudness, 20.0, Silences(min_chunk_s=5)) == [(0, 6), (6, 20)]
    assert by_silence(loudness, 20.0, Silences(min_chunk_s=7)) == [(0, 7), (7, 20)]
    assert by_silence(loudness, 20.0, Silences(min_chunk_s=9)) == [(0, 20)]
    assert by_silence(loudness, 20.0, Silences(min_silence_s=4.5)) == [(0, 20)]
    assert by_silence(loudness, 20.0, Silences(threshold_db=-70)) == [(0, 20)]
    with pytest.raises(ValueError, match="full scale"):
        Silences(threshold_db=0)
    with pytest.raises(ValueError, match="last"):
        Silences(min_silence_s=0)


def toned(path: Path, runs: list[tuple[float, float]], rate: int = 16_000) -> Path:
    """Grey pictures with a tone, at these amplitudes (of full scale) for so many seconds each."""
    sound = np.concatenate(
        [
            np.sin(2 * np.pi * 400 * np.arange(round(s * rate)) / rate) * amplitude * 32_767
            for amplitude, s in runs
        ]
    ).astype(np.int16)
    with ClipWriter(path, size=(64, 48), sample_rate=rate) as writer:
        for number in range(round(len(sound) / rate * 25)):
            writer.picture(np.full((48, 64, 3), number % 250, np.uint8), number / 25)
            writer.sound(sound[number * rate // 25 : (number + 1) * rate // 25])
    return path


def test_levels_are_decibels_of_full_scale(tmp_path: Path) -> None:
    """A sine's root mean square lies 3 dB below its peak."""
    path = toned(tmp_path / "clip.mkv", [(1.0, 1), (0.1, 1), (0, 1)])
    loudness = sound_track.levels(path)
    assert len(loudness) == 300
    np.testing.assert_allclose(loudness[:100], -3.01, atol=0.05)
    np.testing.assert_allclose(loudness[100:200], -23.01, atol=0.05)
    np.testing.assert_array_equal(loudness[200:], sound_track.QUIETEST_DB)


@pytest.mark.slow
def test_silences_of_a_file_are_found(tmp_path: Path) -> None:
    path = toned(
        tmp_path / "clip.mp4",
        [(0.5, 6), (0.003, 2), (0.5, 6), (0.003, 0.5), (0.5, 1), (0, 2), (0.5, 1.1)],
    )
    planned = chunks.planned_by_silence(path, Silences())
    assert [round(end, 2) for _, end in planned] == [7.0, 18.6]
    sensitive = chunks.planned_by_silence(path, Silences(min_chunk_s=0.5))
    assert [round(end, 2) for _, end in sensitive] == [7.0, 16.48, 18.6]


def read_wav(path: Path) -> tuple[int, NDArray[np.int16]]:
    with wave.open(str(path)) as file:
        found = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return file.getframerate(), found.reshape(-1, file.getnchannels())


@pytest.mark.slow
@pytest.mark.parametrize("start_offset_s", [0.0, 0.4, -0.4])
def test_extracted_sound_begins_with_the_first_picture(
    tmp_path: Path, start_offset_s: float
) -> None:
    path = tmp_path / "clip.webm"
    talking_clip(path, seconds=1.5, size=(64, 48), start_offset_s=start_offset_s, no_face=True)
    seconds = sound_track.extract(path, tmp_path / "sound.wav")
    rate, found = read_wav(tmp_path / "sound.wav")
    assert (rate, found.shape[1]) == (16_000, 1)
    assert seconds == len(found) / rate
    whole = media.read(path)
    first = round((whole.times[0] - (info(path).first("picture").start_s or 0)) * 16_000)  # type: ignore[union-attr]
    assert not found[: max(0, round(-start_offset_s * 16_000) - 200)].any()
    both = min(len(whole.audio), len(found) - first)
    difference = found[first : first + both, 0].astype(int) - whole.audio[:both]
    assert np.abs(difference).max() <= 1
    assert both > 16_000


def test_sound_is_extracted_as_asked(tmp_path: Path) -> None:
    path = toned(tmp_path / "clip.mkv", [(0.5, 2)], rate=48_000)
    sound_track.extract(path, tmp_path / "sound.wav", 44_100, 2)
    rate, found = read_wav(tmp_path / "sound.wav")
    assert (rate, found.shape) == (44_100, (88_200, 2))
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    mute = tmp_path / "mute.mp4"
    talking_clip(mute, seconds=1, size=(64, 48), container="mp4-h264-aac", no_audio=True)
    with pytest.raises(NoAudio):
        sound_track.extract(mute, tmp_path / "none.wav")
    assert not list(tmp_path.glob("*none*"))


def test_chunks_are_written_in_one_pass(tmp_path: Path) -> None:
    source = toned(tmp_path / "talk.mp4", [(0.5, 7)])
    planned = chunks.parts(source, tmp_path / "out", chunks.planned_by_time(source, 3, 1))
    assert [part.target.name for part in planned] == [
        "talk_000.mp4", "talk_001.mp4", "talk_002.mp4",
    ]  # fmt: skip
    assert list(chunks.write(planned, source)) == planned
    assert chunks.existing(source, tmp_path / "out") == [part.target for part in planned]
    assert not chunks.existing(source, tmp_path / "elsewhere")
    for part in planned:
        duration_s = info(part.target).duration_s
        assert duration_s == pytest.approx(part.end_s - part.start_s, abs=0.001)


def test_a_file_of_another_kind_becomes_mp4(tmp_path: Path) -> None:
    (part,) = chunks.parts(Path("old.mpg"), tmp_path, [(0, 1)])
    assert part.target == tmp_path / "old_000.mp4"
    voice = tmp_path / "voice.mp4"
    talking_clip(voice, seconds=1, container="mp4-h264-aac", no_video=True)
    with pytest.raises(NoVideo):
        chunks.planned_by_time(voice, 3)


@pytest.mark.slow
def test_no_chunk_moves_the_sound(tmp_path: Path) -> None:
    """Measured by the bundled network: the clip's own offset in every chunk, wherever it begins."""
    source, true_offset = tmp_path / "talk.mp4", 4
    talking_clip(
        source, seconds=16, seed=3, size=(320, 240), container="mp4-h264-aac", fps=25,
        offset_frames=true_offset,
    )  # fmt: skip
    wrapper = SyncNetWrapper(profile="bundled")
    planned = chunks.parts(source, tmp_path / "out", chunks.planned_by_time(source, 4.3, 0.5))
    assert len(planned) == 4
    found = []
    for part in chunks.write(planned, source):
        verdict = wrapper.process_video(part.target, part.target.name)
        assert verdict.syncnet is not None
        found.append(verdict.syncnet.offset_frames)
    assert [abs(offset - true_offset) <= 1 for offset in found] == [True] * 4, found
