from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_extractor import FrameExtractor


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


@pytest.mark.slow
def test_a_recording_gives_rgb_crops_of_its_face(clip: Callable[[str], Path]) -> None:
    crops = FrameExtractor(max_frames=5).extract_frames(clip("synced"))
    assert [crop.size for crop in crops] == [(224, 224)] * 5
    red, green, blue = np.asarray(crops[0]).reshape(-1, 3).mean(axis=0)
    assert red > green > blue  # skin, so the colours are in order
