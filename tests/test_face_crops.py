import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncnet_python.face_crops import SHIFT_DOWN, SIDE_PER_BOX, face_crop, resize, square


def gradient(height: int, width: int) -> np.ndarray:
    """Blue grows with x, green with y, red is constant."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 0] = np.arange(width)[None]
    frame[..., 1] = np.arange(height)[:, None]
    frame[..., 2] = 200
    return frame


def test_crop_inside_the_frame_is_the_frame():
    frame = gradient(240, 250)
    box = np.array([60, 50, 140, 150.0])
    left, top, side = square(box)
    crop = face_crop(frame, box, side)
    np.testing.assert_array_equal(crop, frame[top : top + side, left : left + side])


def test_square_follows_the_larger_side_and_sits_a_little_lower():
    left, top, side = square(np.array([100, 100, 180, 300.0]))
    assert side == round(200 * SIDE_PER_BOX)
    assert left + side / 2 == pytest.approx(140, abs=1)
    assert top + side / 2 == pytest.approx(200 + SHIFT_DOWN * side, abs=1)


def test_edge_pixels_repeat_beyond_the_frame():
    frame = gradient(100, 100)
    crop = face_crop(frame, np.array([-40, -40, 60, 60.0]), 98)
    left, top, side = square(np.array([-40, -40, 60, 60.0]))
    assert side == 98
    assert left < 0
    assert top < 0
    np.testing.assert_array_equal(crop[-top:, -left:], frame[: 98 + top, : 98 + left])
    assert (crop[:, : -left + 1, 0] == 0).all()
    assert (crop[: -top + 1, :, 1] == 0).all()


def test_crop_wholly_outside_holds_the_nearest_pixels():
    crop = face_crop(gradient(100, 100), np.array([300, 300, 340, 340.0]), 16)
    assert (crop == [99, 99, 200]).all()


def test_colour_order_is_kept():
    crop = face_crop(gradient(120, 120), np.array([20, 20, 100, 100.0]), 32)
    assert (crop[..., 2] == 200).all()
    assert crop[0, 0, 0] < crop[0, -1, 0]
    assert crop[0, 0, 1] < crop[-1, 0, 1]


@pytest.mark.parametrize("box", [[10, 10, 10, 20], [10, 20, 20, 10], [np.nan, 0, 1, 1]])
def test_box_without_area_is_refused(box):
    with pytest.raises(ValueError, match="face box"):
        face_crop(gradient(50, 50), np.array(box, float), 16)


@given(
    st.floats(-200, 400),
    st.floats(-200, 400),
    st.floats(0.5, 500),
    st.floats(0.5, 500),
    st.integers(8, 64),
)
def test_every_box_gives_a_full_crop_of_frame_colours(x, y, w, h, size):
    frame = gradient(90, 130)
    crop = face_crop(frame, np.array([x, y, x + w, y + h]), size)
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8
    assert (crop[..., 2] == 200).all()
    assert crop[..., 0].max() <= 129
    assert crop[..., 1].max() <= 89


def test_moving_frame_and_box_together_changes_nothing():
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    box = np.array([40, 50, 120, 130.0])
    moved = np.roll(frame, (11, 7), (0, 1))
    crop = face_crop(frame, box, 64)
    np.testing.assert_array_equal(crop, face_crop(moved, np.add(box, [7, 11, 7, 11]), 64))


def test_shrinking_averages_instead_of_skipping():
    frame = np.zeros((128, 128, 3), np.uint8)
    frame[::2] = 255
    assert abs(resize(frame, 32).astype(int) - 128).max() <= 1
