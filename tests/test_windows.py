"""Long recordings in parts: the same frames and samples as the whole, in memory that stays flat."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from evaluation.samples import talking_clip
from syncnet_python import media
from syncnet_python.errors import NoAudio, Undecodable
from syncnet_python.results import FRAME_RATE, SAMPLES_PER_FRAME
from syncnet_python.windows import windows

SMALL = {"size": (160, 120), "container": "mp4-h264-aac"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    talking_clip(path, seconds=8.0, **SMALL)
    return path


@pytest.mark.parametrize(("length_s", "stride_s"), [(3.0, 2.0), (2.0, 2.0), (5.0, 4.96), (60, 50)])
def test_parts_are_those_of_the_whole(clip: Path, length_s: float, stride_s: float) -> None:
    whole = media.read(clip)
    end = 0.0
    for number, part in enumerate(windows(clip, length_s, stride_s)):
        assert part.number == number
        assert part.start_s == pytest.approx(number * stride_s)
        assert part.end_s > end  # each adds something
        end = part.end_s
        first = round(part.start_s * FRAME_RATE)
        last = first + len(part.recording.frames)
        for index in (0, len(part.recording.frames) // 2, len(part.recording.frames) - 1):
            np.testing.assert_array_equal(
                part.recording.frames.bgr(index), whole.frames.bgr(first + index)
            )
        sound = whole.audio[first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME]
        assert len(part.recording.audio) == (last - first) * SAMPLES_PER_FRAME
        np.testing.assert_array_equal(part.recording.audio[: len(sound)], sound)
        np.testing.assert_allclose(part.recording.times, whole.times[first:last])
        assert part.recording.info.codec == "h264"
    assert end == len(whole.frames) / FRAME_RATE


def test_parts_follow_each_other_without_gaps(clip: Path) -> None:
    parts = [(part.start_s, part.end_s, part.done) for part in windows(clip, 3.0, 2.0)]
    for before, after in pairwise(parts):
        assert after[0] <= before[1]
        assert before[2] <= after[2] <= 1
    assert parts[-1][2] == 1


def test_a_part_is_over_when_others_have_come(clip: Path) -> None:
    parts = windows(clip, 1.0, 0.04)
    first = next(parts)
    kept = first.recording.frames
    kept.bgr(0)
    for _ in parts:
        pass
    with pytest.raises(LookupError, match="over"):
        kept.bgr(0)


@pytest.mark.slow
@pytest.mark.parametrize("start_offset_s", [-0.5, 1.5])
def test_sound_keeps_its_place(tmp_path: Path, start_offset_s: float) -> None:
    """Whichever stream begins later: what is heard at a moment is heard at that moment."""
    path = tmp_path / "clip.webm"
    talking_clip(
        path,
        seconds=4.0,
        size=(160, 120),
        container="webm-vp8-opus",
        start_offset_s=start_offset_s,
    )
    whole = media.read(path)
    (part,) = windows(path, 60, 60)
    first = round((whole.times[0] - part.recording.times[0]) * FRAME_RATE)
    assert first == (13 if start_offset_s < 0 else 0)
    assert not part.recording.audio[: max(0, first - 1) * SAMPLES_PER_FRAME].any()
    sound = part.recording.audio[first * SAMPLES_PER_FRAME :]
    np.testing.assert_array_equal(sound[: len(whole.audio)], whole.audio[: len(sound)])


def test_what_cannot_be_read_is_a_named_error(tmp_path: Path, clip: Path) -> None:
    mute = tmp_path / "mute.mp4"
    talking_clip(mute, seconds=1.0, no_audio=True, **SMALL)
    with pytest.raises(NoAudio):
        next(windows(mute, 1.0, 1.0))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[:2000])
    with pytest.raises(Undecodable):
        next(windows(cut, 1.0, 1.0))
    with pytest.raises(ValueError, match="gaps"):
        next(windows(clip, 1.0, 1.5))
