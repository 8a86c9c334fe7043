"""The two passes of an analysis: what the second shows is what the first measured."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.samples import BROWSER, talking_clip
from syncnet_python import media
from syncnet_python.errors import NoAudio
from syncnet_python.limits import Limits
from workflows.inspection.analysis import shown, stored

LATE_SOUND = {"container": "mkv-h264-flac", "start_offset_s": -0.2}
LATE_PICTURE = {"container": "mkv-h264-flac", "start_offset_s": 0.3}
WHOLE = Limits(kept_pixels=None)


@pytest.fixture(params=[LATE_SOUND, LATE_PICTURE, BROWSER], ids=["sound", "picture", "browser"])
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    fields: dict[str, Any] = request.param
    talking_clip(tmp_path / "clip.mkv", seconds=1.5, size=(160, 120), **fields)
    return tmp_path / "clip.mkv"


def test_what_is_stored_is_what_is_read(recorded: Path) -> None:
    read = media.read(recorded, WHOLE)
    with stored(recorded, WHOLE) as kept:
        assert len(kept.frames) == len(read.frames)
        assert np.array_equal(kept.times, read.times)
        assert np.array_equal(kept.audio, read.audio)
        for index in (len(read.frames) - 1, 0, 7):
            assert np.array_equal(kept.frames.bgr(index), read.frames.bgr(index))


def test_the_second_pass_shows_the_same_frames(recorded: Path) -> None:
    read = media.read(recorded, WHOLE)
    numbers = []
    for number, picture in shown(recorded, read):
        numbers.append(number)
        assert np.array_equal(picture, read.frames.bgr(number))
    assert numbers == list(range(len(read.frames)))


@pytest.mark.slow
def test_the_second_pass_can_be_smaller(recorded: Path) -> None:
    sizes = {picture.shape for _, picture in shown(recorded, media.read(recorded), 80 * 60)}
    assert sizes == {(60, 80, 3)}


def test_pictures_wait_in_the_temporary_folder_and_leave_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    talking_clip(tmp_path / "clip.mkv", seconds=1.0, size=(160, 120), container="mkv-h264-flac")
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with stored(tmp_path / "clip.mkv") as kept:
        assert kept.frames.bgr(0).shape == (120, 160, 3)
    assert list(folder.iterdir()) == []


def test_what_cannot_be_scored_is_named(tmp_path: Path) -> None:
    talking_clip(tmp_path / "mute.mkv", seconds=1.0, container="mkv-h264-flac", no_audio=True)
    with pytest.raises(NoAudio), stored(tmp_path / "mute.mkv"):
        pass
