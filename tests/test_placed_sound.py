"""Sound by its timestamps: frames with gaps and overlaps, and files joined without new times."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluation.clip_writer import Format, Sound, write_clip
from syncnet_python import media
from syncnet_python.errors import TooLong, Undecodable
from syncnet_python.isolation import Decoder
from syncnet_python.media import Recording
from syncnet_python.placed_sound import TOLERANCE_S, PlacedSound
from syncnet_python.results import FRAME_RATE, SAMPLE_RATE
from syncnet_python.windows import windows
from workflows.clips import cut, sound_track
from workflows.clips.move_sound import move_sound

# Frames

TELLING = 65_535  # so many samples are told from each other by their value


def telling(begin: int, length: int) -> NDArray[np.int16]:
    """Samples whose values say when they are heard, none of them 0."""
    number = (begin + np.arange(length)) % TELLING
    return np.where(number < 32_768, number - 32_768, number - 32_767).astype(np.int16)


def told(values: NDArray[np.int16]) -> NDArray[np.int64]:
    """What `telling` was asked for, but for whole rounds."""
    wide = values.astype(np.int64)
    return np.where(wide < 0, wide + 32_768, wide + 32_767)


def frame(samples: NDArray[np.int16], begin: int | None, rate: int = SAMPLE_RATE) -> av.AudioFrame:
    """Mono; begin: its timestamp in samples."""
    made = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    made.sample_rate, made.time_base, made.pts = rate, Fraction(1, rate), begin
    return made


def placed(frames: list[av.AudioFrame], rate: int = SAMPLE_RATE) -> NDArray[np.int16]:
    sound = PlacedSound(rate, "mono")
    return np.concatenate([*(sound.add(one) for one in frames), sound.finish()])[:, 0]


@st.composite
def spans(draw: st.DrawFn) -> list[tuple[int, int]]:
    """First sample and length of frames that leave gaps and lie over each other: by nothing, by
    little, or by up to half a second."""
    begin = draw(st.integers(0, 100_000))
    found = []
    for _ in range(draw(st.integers(1, 40))):
        length = draw(st.integers(40, 1600))
        found.append((begin, length))
        moved = draw(st.one_of(st.just(0), st.integers(-900, 900), st.integers(-8000, 8000)))
        begin = max(0, begin + length + moved)
    return found


@given(spans())
def test_every_sample_lies_where_its_timestamp_says(frames: list[tuple[int, int]]) -> None:
    begins = [begin for begin, _ in frames]
    believed = [
        here > before or (here < before and (number == 0 or begins[number] > begins[number - 1]))
        for number, (before, here) in enumerate(pairwise(begins))
    ]
    if not all(believed):  # those follow on, and are told of by a test of their own
        frames = frames[: believed.index(False) + 1]
    found = placed([frame(telling(*one), one[0]) for one in frames])
    positions = np.flatnonzero(found)
    wrong = (told(found[positions]) - positions - frames[0][0]) % TELLING
    assert np.minimum(wrong, TELLING - wrong).max() <= TOLERANCE_S * SAMPLE_RATE + 1


@given(spans())
def test_what_nothing_came_before_is_heard(frames: list[tuple[int, int]]) -> None:
    """A moment that lies after all there was is heard when a frame has it, or nearly then; and the
    whole ends when the last of them does."""
    found = placed([frame(telling(*one), one[0]) for one in frames])
    heard = np.concatenate([[0], np.cumsum(found != 0)])
    near = round(TOLERANCE_S * SAMPLE_RATE) + 1
    latest = frames[0][0]
    for begin, length in frames:
        for moment in range(max(begin, latest), begin + length, 97):
            place = moment - frames[0][0]
            assert heard[min(place + near, len(found))] > heard[max(0, place - near)]
        latest = max(latest, begin + length)
    assert len(found) >= latest - frames[0][0] - near


def test_a_jump_back_leaves_out_what_is_there_already() -> None:
    """To the sample, although the join lies within a frame and the rest of one is short."""
    pieces = [(n * 320, 320) for n in range(50)] + [(16_000 - 4800 + n * 320 + 7, 320) for n in
                                                    range(50)]  # fmt: skip
    found = placed([frame(telling(*one), one[0]) for one in pieces])
    np.testing.assert_array_equal(found, telling(0, len(found)))
    assert len(found) == 16_000 - 4800 + 50 * 320 + 7


def test_a_second_recording_from_nought_is_heard_from_where_the_first_ends() -> None:
    first = [frame(telling(n * 320, 320), n * 320) for n in range(100)]
    second = [frame(telling(n * 320, 320), n * 320) for n in range(150)]
    np.testing.assert_array_equal(placed(first + second), telling(0, 150 * 320))


def test_rounded_and_hesitating_timestamps_move_nothing() -> None:
    """By milliseconds, as Matroska has them, and late by up to the tolerance."""
    late = [round(n * 320 / 16) * 16 + (n * 7 % 48) * 16 for n in range(200)]
    found = placed([frame(telling(n * 320, 320), at) for n, at in enumerate(late)])
    np.testing.assert_array_equal(found, telling(0, 200 * 320))


@pytest.mark.parametrize(
    "stamps",
    [
        lambda n: 0,
        lambda n: None,
        lambda n: 0 if n == 0 else None,
        lambda n: 400_000 - 3200 * n,
        lambda n: 640 * (n // 2),
    ],
    ids=["equal", "absent", "only the first", "falling", "in pairs"],
)
def test_timestamps_that_do_not_advance_cost_no_sound(stamps: Callable[[int], int | None]) -> None:
    found = placed([frame(telling(n * 320, 320), stamps(n)) for n in range(100)])
    lost = 11 if stamps(1) == 396_800 else 0  # the first that goes back is believed
    assert len(found) == (100 - lost) * 320
    assert found.all()


def test_timestamps_that_stop_are_counted_on_and_believed_again() -> None:
    """From the frame before, where that lay before the end as well."""
    stamps = [0, 320, 640, 640, None, 1600, 1920, 320, None, None, 2240]
    begins = [0, 320, 640, 960, 1280, 1600, 1920, 320, 640, 960, 2240]
    found = placed([frame(telling(b, 320), s) for b, s in zip(begins, stamps, strict=True)])
    moved = placed([frame(telling(b, 320), b) for b in begins])
    np.testing.assert_array_equal(found, moved)
    np.testing.assert_array_equal(found, telling(0, 2560))


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 48_000])
@pytest.mark.parametrize("step_s", [-0.37, 0.37])
def test_many_joins_do_not_add_up(rate: int, step_s: float) -> None:
    """Each leaves the resampler a fraction of a sample. A click every second stays there."""
    length, frames, begin = rate // 50 + 3, [], 0
    for number in range(6000):
        samples = np.zeros(length, np.int16)
        nearest = round((begin + length / 2) / rate) * rate
        if begin <= nearest <= begin + length - 20:
            samples[nearest - begin : nearest - begin + 20] = 20_000
        frames.append(frame(samples, begin, rate))
        begin += length + (round(step_s * rate) if number % 40 == 39 else 0)
    found = placed(frames)
    clicks = np.flatnonzero(np.abs(found) > 5000)
    starts = clicks[np.flatnonzero(np.diff(clicks, prepend=-9999) > 100)]
    away = (starts + SAMPLE_RATE // 2) % SAMPLE_RATE - SAMPLE_RATE // 2
    assert len(starts) > 50
    assert np.abs(away).max() <= 0.002 * SAMPLE_RATE


def test_more_than_may_be_is_refused_before_room_is_made_for_it() -> None:
    sound = PlacedSound(SAMPLE_RATE, "mono", longest_s=10.0)
    sound.add(frame(telling(0, 320), 0))
    with pytest.raises(TooLong, match="10 seconds"):
        sound.add(frame(telling(0, 320), 10**12))
    rateless = frame(telling(0, 320), 320)
    rateless.sample_rate = 0
    with pytest.raises(Undecodable):
        sound.add(rateless)


# Files

FORMATS = {
    ".ts": Format("mpegts", "libx264", "mp2", {"preset": "veryfast", "g": "5", "bf": "0"}),
    ".mkv": Format("matroska", "libx264", "flac", {"preset": "veryfast", "g": "5", "bf": "0"}),
}
RATE = 48_000
CLUSTER = b"\x1f\x43\xb6\x75"
TONES = [0.25 + 0.7 * n for n in range(9)]


def recorded(path: Path, begin_s: float, end_s: float, *, sound_s: float, loud: int) -> bytes:
    """A recording whose timestamps begin at begin_s, its sound's at sound_s: a tone of 20 ms each
    0.7 s by its own timestamps, and a picture as bright as the tone is loud. All are a second
    later in the file, so that what encoders put before it does not move its beginning."""
    times = [1 + Fraction(n, 25) for n in range(round(begin_s * 25), round(end_s * 25))]
    shown = np.full((120, 160, 3), 60 if loud < 10_000 else 200, np.uint8)
    moments = np.arange(round(sound_s * RATE), round(end_s * RATE))
    beeps = np.sin(2 * np.pi * 1000 * moments / RATE) * (
        (moments - RATE // 4) % round(0.7 * RATE) < 960
    )
    sound = Sound(
        (loud * beeps).astype(np.int16)[:, None], RATE, 1 + Fraction(round(sound_s * 1000), 1000)
    )
    write_clip(
        path,
        FORMATS[path.suffix],
        ((time, shown) for time in times),
        sound,
        size=(160, 120),
        fps=Fraction(25),
        live=path.suffix == ".mkv",
    )
    return path.read_bytes()


def joined(folder: Path, suffix: str, *, back_s: float, sound_back_s: float) -> Path:
    """Three seconds and what was recorded from so long before their end, end to end."""
    first = recorded(folder / f"first{suffix}", 0, 3, sound_s=0, loud=6000)
    second = recorded(
        folder / f"second{suffix}", 3 - back_s, 6, sound_s=3 - sound_back_s, loud=20_000
    )
    if suffix == ".mkv":  # a live one has no end, so clusters may follow
        second = second[second.index(CLUSTER) :]
    path = folder / f"joined{suffix}"
    path.write_bytes(first + second)
    return path


def heard_at(audio: NDArray[np.int16], rate: int = SAMPLE_RATE) -> list[float]:
    """When the tones begin, seconds."""
    loud = np.flatnonzero(np.abs(audio.astype(int)) > 1500)
    return [float(b) / rate for a, b in pairwise([-rate, *loud]) if b - a > 0.1 * rate]


def in_a_process(path: Path) -> Recording:
    with Decoder() as decoder:
        return decoder.read(path)


def check(audio: NDArray[np.int16], rate: int = SAMPLE_RATE) -> None:
    """Every tone at its place throughout, and the second file's from 3 s on."""
    assert heard_at(audio, rate) == pytest.approx(TONES, abs=0.004)
    assert np.abs(audio[: 3 * rate].astype(int)).max() < 10_000
    assert np.abs(audio[3 * rate :].astype(int)).max() > 15_000


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("back_s", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("read", [media.read, in_a_process], ids=["read", "decoder"])
def test_sound_after_a_join_is_at_its_place(
    tmp_path: Path, suffix: str, back_s: float, read: Callable[[Path], Recording]
) -> None:
    recording = read(joined(tmp_path, suffix, back_s=back_s, sound_back_s=max(back_s, 0.3)))
    check(recording.audio)
    assert len(recording.frames) == pytest.approx(150, abs=1)
    bright = [bool(recording.frames.bgr(n).mean() > 130) for n in (0, 73, 77, 145)]
    assert bright == [False, False, True, True]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("back_s", [0.0, 0.3, 3.0])
def test_windows_after_a_join_are_at_their_place(
    tmp_path: Path, suffix: str, back_s: float
) -> None:
    path = joined(tmp_path, suffix, back_s=back_s, sound_back_s=max(back_s, 0.3))
    parts = [part.recording for part in windows(path, 1.0, 1.0)]
    check(np.concatenate([part.audio for part in parts]))
    assert [bool(part.frames.bgr(12).mean() > 130) for part in parts] == [False] * 3 + [True] * 3


@pytest.mark.parametrize("suffix", FORMATS)
def test_clips_of_joined_files_keep_their_times(tmp_path: Path, suffix: str) -> None:
    path = joined(tmp_path, suffix, back_s=0.0, sound_back_s=0.3)
    check(np.concatenate(list(sound_track.samples(path, 44_100, 1)))[:, 0], 44_100)
    cut(path, tmp_path / "part.mkv", 2.0, 5.0)
    found = media.read(tmp_path / "part.mkv").audio
    assert heard_at(found) == pytest.approx([0.35, 1.05, 1.75, 2.45], abs=0.004)
    move_sound(path, tmp_path / "moved.mkv", Fraction(1, 10))
    found = media.read(tmp_path / "moved.mkv").audio
    assert heard_at(found) == pytest.approx([0.1 + tone for tone in TONES], abs=0.004)
    assert len(found) / SAMPLE_RATE == pytest.approx(6, abs=1 / FRAME_RATE)
