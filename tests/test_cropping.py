import cv2
import numpy as np
import parity
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import medfilt

from syncnet_python.cropping import CROP_SCALE, CROP_SIZE, PADDING_VALUE, crop, smooth

Image = NDArray[np.uint8]


def parity_frame(number: int) -> Image:
    """Frame of the 640x480 clip that the recorded crops were cut from."""
    y, x = np.mgrid[0:480, 0:640]
    channels = [(x + 2 * number) % 256, (2 * y + number) % 256, ((x + y) // 2) % 256]
    return np.stack(channels, axis=2).astype(np.uint8)


def cut_from_padded(
    frame: Image, x: float, y: float, size: float, scale: float = CROP_SCALE
) -> Image:
    """The original's way: pad the whole frame, then slice it."""
    below, side = size * (1 + 2 * scale), size * (1 + scale)
    pad = int(below)
    padded = np.pad(frame, ((pad, pad), (pad, pad), (0, 0)), constant_values=PADDING_VALUE)
    rows = slice(int(y + pad - size), int(y + pad + below))
    columns = slice(int(x + pad - side), int(x + pad + side))
    return np.asarray(cv2.resize(padded[rows, columns], (CROP_SIZE, CROP_SIZE)), np.uint8)


def test_path_and_pixels_equal_the_originals() -> None:
    expected = parity.numbers("tracking_expected")
    path = smooth(expected["track0_bbox"])
    np.testing.assert_allclose(path.x, expected["smooth_x"], rtol=1e-12)
    np.testing.assert_allclose(path.y, expected["smooth_y"], rtol=1e-12)
    np.testing.assert_allclose(path.size, expected["smooth_s"], rtol=1e-12)
    for number, pixels in zip(expected["crop_frames"], expected["crops"], strict=True):
        frame = parity_frame(int(number))
        ours = crop(frame, path.x[number], path.y[number], path.size[number])
        assert np.array_equal(ours, pixels)


@settings(deadline=None)
@given(x=st.floats(0, 80), y=st.floats(0, 60), size=st.floats(2, 70))
@example(x=0.0, y=60.0, size=29.999999999999993)  # rounds to one row more than was padded
def test_crops_at_any_edge_equal_a_padded_frames(x: float, y: float, size: float) -> None:
    frame = parity_frame(3)[:60, :80]
    assert np.array_equal(crop(frame, x, y, size), cut_from_padded(frame, x, y, size))


@settings(deadline=None)
@given(x=st.floats(-500, 500), y=st.floats(-500, 500), size=st.floats(0, 300))
def test_any_region_gives_a_crop(x: float, y: float, size: float) -> None:
    pixels = crop(parity_frame(0)[:60, :80], x, y, size)
    assert pixels.shape == (CROP_SIZE, CROP_SIZE, 3)
    assert pixels.dtype == np.uint8


def test_outside_the_frame_everything_is_grey() -> None:
    assert (crop(parity_frame(0), -400.0, -400.0, 50.0) == PADDING_VALUE).all()


def test_the_frame_is_left_as_it_was() -> None:
    frame = parity_frame(0)
    crop(frame, 10.0, 10.0, 40.0)
    assert np.array_equal(frame, parity_frame(0))


@pytest.mark.parametrize("length", [7, 12, 13, 40])
def test_smoothing_is_the_originals_filter(length: int) -> None:
    rng = np.random.default_rng(length)
    corner = rng.uniform(100, 120, (length, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(80, 90, (length, 2))], axis=1)
    path = smooth(boxes)
    padded = np.pad((boxes[:, 0] + boxes[:, 2]) / 2, 13)  # medfilt warns about short signals
    np.testing.assert_allclose(path.x, medfilt(padded, 13)[13:-13])


@pytest.mark.parametrize("length", [1, 5, 6])
def test_a_very_short_track_keeps_its_size(length: int) -> None:
    path = smooth(np.tile([10.0, 20.0, 110.0, 140.0], (length, 1)))
    assert (len(path), set(path.x), set(path.y), set(path.size)) == (length, {60.0}, {80.0}, {60.0})


@given(
    x=st.floats(0, 80),
    y=st.floats(0, 60),
    size=st.floats(2, 70),
    scale=st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0, 2.0]),
)
def test_more_or_less_around_the_face_is_cut_as_the_original_would(
    x: float, y: float, size: float, scale: float
) -> None:
    frame = parity_frame(3)[:60, :80]
    assert np.array_equal(crop(frame, x, y, size, scale), cut_from_padded(frame, x, y, size, scale))
