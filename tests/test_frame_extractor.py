from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from frame_extractor import FrameExtractor
from syncnet_python.tracking import Track


class Blank:
    """Frames without a picture, told apart by their grey level."""

    def __len__(self) -> int:
        return 30

    def bgr(self, index: int) -> NDArray[np.uint8]:
        return np.full((64, 64, 3), index, np.uint8)


@given(st.integers(1, 2000), st.integers(1, 60))
def test_uniform_choice_is_ascending_distinct_and_spread(count: int, most: int) -> None:
    chosen = FrameExtractor(most).choose(count)
    assert len(chosen) == min(count, most)
    assert np.all(np.diff(chosen) > 0)
    assert 0 <= chosen[0] <= chosen[-1] < count
    gaps = np.diff(chosen)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


@given(st.integers(1, 2000), st.integers(1, 60))
def test_without_uniform_sampling_the_first_frames_are_taken(count: int, most: int) -> None:
    chosen = FrameExtractor(most, uniform_sampling=False).choose(count)
    assert chosen.tolist() == list(range(min(count, most)))


def test_no_frames_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        FrameExtractor(0)


def test_crops_are_in_time_order_whatever_frames_the_track_lacks() -> None:
    frames = np.array([3, 4, 7, 8, 9, 20, 21, 22])
    boxes = np.tile([10.0, 10.0, 50.0, 50.0], (len(frames), 1))
    crops = FrameExtractor(5).face_crops(Blank(), Track(frames, boxes))
    assert list(crops.indices) == sorted(crops.indices)
    assert set(crops.indices) <= set(frames.tolist())
    # Every frame's grey level is its number, so the images are those of the indices.
    assert tuple(int(image[0, 0, 0]) for image in crops.images) == crops.indices


@pytest.mark.slow
def test_a_recording_gives_rgb_crops_of_its_face(clip: Callable[[str], Path]) -> None:
    crops = FrameExtractor(max_frames=5).extract_frames(clip("synced"))
    assert [crop.size for crop in crops] == [(224, 224)] * 5
    red, green, blue = np.asarray(crops[0]).reshape(-1, 3).mean(axis=0)
    assert red > green > blue  # skin, so the colours are in order
