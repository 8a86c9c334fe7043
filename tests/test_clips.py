"""Clips: what is written lies where it was put, to the sample, and stays there when it is cut."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import correlate, correlation_lags

from evaluation.samples import talking_clip
from syncnet_python import media
from syncnet_python.errors import NotAVideo, Undecodable
from syncnet_python.placed_sound import PlacedSound
from syncnet_python.windows import DAY
from workflows.clips import (
    SUFFIXES,
    ClipWriter,
    Part,
    best_sample_rate,
    cut,
    cut_all,
    cutting,
    info,
)

SIZE = (64, 48)
STEP = 16  # grey levels between numbers, so that no codec mistakes one for another


def numbered(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A picture that says which one it is, 0-224, by the grey of its two halves."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = number // 15 * STEP + STEP
    image[:, width // 2 :] = number % 15 * STEP + STEP
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    height, width = image.shape[:2]
    rows = slice(height // 4, height // 2)
    left = image[rows, width // 8 : width // 4].mean()
    right = image[rows, width * 5 // 8 : width * 7 // 8].mean()
    return round((left - STEP) / STEP) * 15 + round((right - STEP) / STEP)


def noise(length: int, channels: int = 1) -> NDArray[np.int16]:
    """Sound of which every moment is told from every other; soft enough for lossy codecs."""
    white = np.random.default_rng(7).normal(0, 6000, (length + 7, channels))
    smooth = np.stack([np.convolve(column, np.ones(8) / 8, "valid") for column in white.T], 1)
    return smooth.astype(np.int16)


def written(
    path: Path,
    sound: NDArray[np.int16] | None,
    *,
    rate: int = 16_000,
    pictures: int = 100,
    fps: Fraction = Fraction(25),
    size: tuple[int, int] = SIZE,
) -> Path:
    with ClipWriter(
        path,
        size=size,
        rate=fps,
        sample_rate=rate if sound is not None else None,
        channels=1 if sound is None or sound.ndim == 1 else sound.shape[1],
    ) as writer:
        done = 0
        for number in range(pictures):
            writer.picture(numbered(number, size), float(number / fps))
            if sound is not None:
                until = round((number + 1) / fps * rate) if number < pictures - 1 else len(sound)
                writer.sound(sound[done:until])
                done = until
    return path


def seen(path: Path) -> list[tuple[float, int]]:
    """The time and number of every picture, as they lie in the file."""
    with path.open("rb") as file, media.opened(file, DAY, needs_audio=False) as source:
        return [
            (frame.time or 0.0, number_of(frame.to_ndarray(format="bgr24").astype(np.uint8)))
            for frame in source.frames
            if not hasattr(frame, "samples")
        ]


def heard(path: Path, rate: int, channels: int = 1) -> tuple[float, NDArray[np.int16]]:
    """Time of the first sample, and all of them."""
    sound = PlacedSound(rate, "mono" if channels == 1 else "stereo")
    with path.open("rb") as file, media.opened(file, DAY, needs_audio=True) as source:
        pieces = [sound.add(frame) for frame in source.frames if hasattr(frame, "samples")]
    assert sound.start is not None
    return sound.start, np.concatenate([*pieces, sound.finish()])


def lag(truth: NDArray[np.int16], found: NDArray[np.int16]) -> int:
    """By how many samples `found` comes late."""
    matches = correlate(found.astype(float), truth.astype(float))
    return int(correlation_lags(len(found), len(truth))[np.argmax(matches)])


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2), (44_100, 1)])
def test_every_sample_and_picture_lies_where_it_was_put(
    tmp_path: Path, suffix: str, rate: int, channels: int
) -> None:
    path = tmp_path / f"clip{suffix}"
    rate = best_sample_rate(path, rate)
    sound = noise(4 * rate + 137, channels)
    written(path, sound, rate=rate)
    read_rate = 48_000 if suffix == ".webm" else rate  # Opus is always decoded at 48 kHz
    start, found = heard(path, read_rate, channels)
    assert start == pytest.approx(0, abs=1e-3 if suffix == ".webm" else 1e-9)
    if suffix in (".avi", ".mkv"):
        np.testing.assert_array_equal(found, sound)
    elif read_rate == rate:
        assert lag(sound[:, 0], found[:, 0]) == 0
        assert len(sound) <= len(found) + 1024
    times = seen(path)
    assert [number for _, number in times] == list(range(100))
    np.testing.assert_allclose([time for time, _ in times], np.arange(100) / 25, atol=6e-4)


@pytest.mark.parametrize(
    ("suffix", "codecs", "names"),
    [
        (".avi", "mjpeg+pcm", ("mjpeg", "pcm_s16le")),
        (".mov", "h264+pcm", ("h264", "pcm_s16le")),
        (".mkv", "h264+aac", ("h264", "aac")),
        (".mp4", "auto", ("h264", "aac")),
    ],
)
def test_codecs_can_be_chosen(tmp_path: Path, suffix: str, codecs, names) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / f"clip{suffix}"
    with ClipWriter(path, size=SIZE, codecs=codecs) as writer:
        for number in range(5):
            writer.picture(numbered(number), number / 25)
            writer.sound(np.zeros(640, np.int16))
    assert tuple(stream.codec for stream in info(path).streams) == names


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    for path, fields in (
        ("clip.ogg", {}),
        ("clip.webm", {"codecs": "h264+aac"}),
        ("clip.webm", {"sample_rate": 44_100}),
        ("clip.mp4", {"channels": 3}),
        ("clip.mp4", {"size": (1, 48)}),
    ):
        with pytest.raises(ValueError, match=r"."):
            ClipWriter(tmp_path / path, **{"size": SIZE, **fields})  # type: ignore[arg-type]
    with ClipWriter(tmp_path / "clip.mp4", size=SIZE) as writer:
        writer.picture(numbered(0), 0)
        with pytest.raises(ValueError, match="later"):
            writer.picture(numbered(1), 0)
        with pytest.raises(ValueError, match="is not"):
            writer.picture(numbered(1, (80, 60)), 1)
        with pytest.raises(ValueError, match="columns"):
            writer.sound(np.zeros((10, 2), np.int16))
        with pytest.raises(ValueError, match="int16"):
            writer.sound(np.zeros(10, np.float32))  # type: ignore[arg-type]
    with ClipWriter(tmp_path / "mute.mp4", size=SIZE, sample_rate=None) as writer:
        writer.picture(numbered(0), 0)
        with pytest.raises(ValueError, match="no sound"):
            writer.sound(np.zeros(10, np.int16))


def test_a_clip_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"what was there before")
    with pytest.raises(KeyError), ClipWriter(path, size=SIZE) as writer:  # noqa: PT012
        writer.picture(numbered(0), 0)
        assert path.read_bytes() == b"what was there before"
        raise KeyError
    with pytest.raises(ValueError, match="at least one picture"), ClipWriter(path, size=SIZE):
        pass
    assert path.read_bytes() == b"what was there before"
    with pytest.raises(FileNotFoundError), ClipWriter(tmp_path / "no" / "clip.mp4", size=SIZE):
        pass
    assert list(tmp_path.iterdir()) == [path]


def test_odd_sides_lose_a_row_and_no_more(tmp_path: Path) -> None:
    path = written(tmp_path / "clip.mp4", None, size=(65, 49), pictures=3)
    picture = info(path).first("picture")
    assert picture is not None
    assert (picture.width, picture.height) == (64, 48)
    assert [number for _, number in seen(path)] == [0, 1, 2]


def test_pictures_that_an_avi_cannot_tell_apart_are_left_out(tmp_path: Path) -> None:
    with ClipWriter(tmp_path / "clip.avi", size=SIZE, sample_rate=None) as writer:
        for number, time in enumerate((0, 0.04, 0.055, 0.056, 0.12, 0.2)):
            writer.picture(numbered(number), time)
    pictures = seen(tmp_path / "clip.avi")
    assert [number for _, number in pictures] == [0, 1, 2, 4, 5]
    np.testing.assert_allclose([time for time, _ in pictures], [0, 0.04, 0.08, 0.12, 0.2])


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30), Fraction(30_000, 1001)])
def test_a_range_keeps_its_pictures_and_samples(tmp_path: Path, suffix: str, fps: Fraction) -> None:
    """From a file without loss, so that every sample can be compared."""
    sound = noise(4 * 48_000)
    source = written(tmp_path / "source.mkv", sound, rate=48_000, fps=fps)
    part = tmp_path / f"part{suffix}"
    cut(source, part, 1.1, 2.573)
    first, end = 52_800, round(2.573 * 48_000)
    start, found = heard(part, 48_000)
    assert start == pytest.approx(0, abs=1e-3 if suffix == ".webm" else 1e-9)
    if suffix in (".avi", ".mkv"):
        np.testing.assert_array_equal(found[:, 0], sound[first:end, 0])
    else:
        assert lag(sound[first:end, 0], found[:, 0]) == 0
    pictures = seen(part)
    assert pictures[0][0] == 0
    counted = 1 / float(fps) if suffix == ".avi" else 0.0
    for time, number in pictures[1:]:
        assert time + 1.1 == pytest.approx(float(number / fps), abs=0.0011 + counted)
    numbers = [number for _, number in pictures]
    assert numbers[0] == pytest.approx(1.1 * float(fps), abs=0.51)
    assert numbers[-1] == pytest.approx(2.573 * float(fps), abs=1.01)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


@pytest.mark.slow
@pytest.mark.parametrize("start_offset_s", [-0.5, 0.08, 1.5])
@pytest.mark.parametrize("target", ["part.mp4", "part.webm", "part.avi"])
def test_streams_that_do_not_begin_together_stay_together(
    tmp_path: Path, start_offset_s: float, target: str
) -> None:
    source = tmp_path / "clip.webm"
    talking_clip(source, seconds=5.0, size=(160, 120), live=True, start_offset_s=start_offset_s)
    whole, part = media.read(source), tmp_path / target
    late = max(0.0, -start_offset_s)  # the sound begins after the first picture
    cut(source, part, 0.2, 3.0)
    sound = media.read(part).audio
    if late > 0.2:
        assert not sound[: round((late - 0.25) * 16_000)].any()
    first = round((late + 0.32 - 0.2) * 16_000)  # of the whole's own clock, a moment after both
    begin = round((late - (whole.times[0] - _first_picture(source)) + 0.32) * 16_000)
    there = min(len(sound) - first, len(whole.audio) - begin, 24_000)
    assert lag(whole.audio[begin : begin + there], sound[first : first + there]) == 0


def _first_picture(path: Path) -> float:
    return seen(path)[0][0]


def test_sound_that_is_not_there_is_silence(tmp_path: Path) -> None:
    sound = noise(16_000)
    source = written(tmp_path / "source.mkv", sound)  # four seconds of picture, one of sound
    cut(source, tmp_path / "part.mkv", 0.5, 2.0)
    _, found = heard(tmp_path / "part.mkv", 16_000)
    np.testing.assert_array_equal(found[:8000], sound[8000:])
    assert len(found) == 24_000
    assert not found[8000:].any()
    cut(source, tmp_path / "end.mkv", 3.0, 60.0)
    _, found = heard(tmp_path / "end.mkv", 16_000)
    assert len(found) == 16_000  # as long as the picture


def test_a_recording_without_sound_is_cut_too(tmp_path: Path) -> None:
    source = written(tmp_path / "source.mp4", None)
    cut(source, tmp_path / "part.mp4", 1.0, 2.0)
    assert [number for _, number in seen(tmp_path / "part.mp4")] == list(range(25, 50))
    assert info(tmp_path / "part.mp4").first("sound") is None


@pytest.mark.slow
def test_ranges_of_one_pass_are_those_of_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = noise(4 * 16_000)
    source = written(tmp_path / "source.mkv", sound)
    ranges = [(0.0, 1.5), (1.0, 2.5), (2.0, 3.5), (3.0, 4.0)]
    parts = [Part(*r, tmp_path / f"{number}.mkv") for number, r in enumerate(ranges)]
    passes = []
    opened = media.opened
    monkeypatch.setattr(
        cutting.media, "opened", lambda *a, **k: passes.append(a) or opened(*a, **k)
    )
    assert list(cut_all(source, parts)) == parts
    assert len(passes) == 1
    for part in parts:
        cut(source, tmp_path / "alone.mkv", part.start_s, part.end_s)
        assert seen(part.target) == seen(tmp_path / "alone.mkv")
        _, found = heard(part.target, 16_000)
        np.testing.assert_array_equal(
            found, sound[round(part.start_s * 16_000) : round(part.end_s * 16_000)]
        )


def test_ranges_that_cannot_be_cut_leave_nothing_behind(tmp_path: Path) -> None:
    source = written(tmp_path / "source.mkv", noise(4 * 16_000))
    target = tmp_path / "part.mkv"
    for start_s, end_s in ((1.0, 1.0), (-1.0, 1.0), (9.0, 10.0)):
        with pytest.raises(ValueError, match=r"range|picture"):
            cut(source, target, start_s, end_s)
    with pytest.raises(ValueError, match="order"):
        list(cut_all(source, [Part(1.0, 2.0, target), Part(0.0, 1.0, target)]))
    parts = cut_all(source, [Part(0.0, 1.0, target), Part(0.5, 3.0, tmp_path / "other.mkv")])
    next(parts)
    parts.close()  # the second is not whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["part.mkv", "source.mkv"]


def test_a_turned_picture_is_cut_upright(tmp_path: Path) -> None:
    source = tmp_path / "phone.mp4"
    talking_clip(
        source, seconds=1.0, size=(120, 160), rotation=90, container="mp4-h264-aac", no_face=True
    )
    picture = info(source).first("picture")
    assert picture is not None
    assert (picture.width, picture.height, picture.rotation) == (160, 120, 90)
    cut(source, tmp_path / "part.mp4", 0.2, 0.8)
    was, now = media.read(source).frames[5], media.read(tmp_path / "part.mp4").frames[0]
    assert now.shape == (160, 120, 3)
    assert np.abs(was.astype(int) - now).mean() < 4
    assert np.abs(was[::-1].astype(int) - now).mean() > 10


def test_info_measures_and_believes_no_header(tmp_path: Path) -> None:
    """A live WebM says neither how long it is nor how fast."""
    path = tmp_path / "live.webm"
    talking_clip(
        path,
        seconds=3.0,
        size=(160, 120),
        live=True,
        fps=Fraction(30),
        start_offset_s=0.5,
        channels=2,
    )
    about = info(path)
    assert about.container == "matroska"
    assert about.size_bytes == path.stat().st_size
    assert about.duration_s == pytest.approx(3.0, abs=0.05)
    picture, sound = about.first("picture"), about.first("sound")
    assert picture is not None
    assert sound is not None
    assert (picture.codec, picture.width, picture.height) == ("vp8", 160, 120)
    assert (picture.packets, picture.start_s) == (75, pytest.approx(0.5, abs=0.002))
    assert picture.fps == pytest.approx(30, abs=0.02)
    assert (sound.codec, sound.sample_rate, sound.channels) == ("opus", 48_000, 2)
    assert sound.start_s == pytest.approx(0, abs=0.01)
    assert sound.duration_s == pytest.approx(3.0, abs=0.05)
    assert sound.bit_rate is not None
    assert 20_000 < sound.bit_rate < 200_000


def test_info_names_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "letter.mp4").write_bytes(b"Good morning, this is a letter. " * 20)
    with pytest.raises(NotAVideo):
        info(tmp_path / "letter.mp4")
    (tmp_path / "hollow.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(2000))
    with pytest.raises(Undecodable):
        info(tmp_path / "hollow.mp4")
    with pytest.raises(FileNotFoundError):
        info(tmp_path / "absent.mp4")
