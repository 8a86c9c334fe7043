import base64

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from syncnet_python import heat_map

contributions = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False),
)


def face(seed: int = 0, side: int = heat_map.SIDE) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return cv2.resize(noise, (side, side), interpolation=cv2.INTER_LINEAR)


def lone(row: int, column: int, side: int = 12) -> np.ndarray:
    places = np.full((side, side), -1.0, np.float32)
    places[row, column] = 3.0
    return places


@given(contributions)
def test_strength_is_a_share_of_the_loudest_place(values: np.ndarray) -> None:
    shares = heat_map.strength(values)
    assert shares.shape == values.shape
    assert shares.dtype == np.float32
    assert 0 <= shares.min() <= shares.max() <= 1
    assert shares.max() == (1 if (values > 0).any() else 0)


@given(contributions, st.sampled_from([0.25, 0.5, 4.0]))
def test_strength_does_not_depend_on_the_scale(values: np.ndarray, factor: float) -> None:
    values = np.where(np.abs(values) < 1e-30, 0, values)  # where floats lose digits
    shares = heat_map.strength(values)
    assert heat_map.strength(values * np.float32(factor)) == pytest.approx(shares, abs=1e-5)


@given(contributions)
def test_what_speaks_against_counts_as_nothing(values: np.ndarray) -> None:
    assert np.array_equal(heat_map.strength(values), heat_map.strength(np.maximum(values, 0)))
    assert not heat_map.strength(-np.abs(values)).any()


@given(st.integers(0, 11), st.integers(0, 11))
def test_a_place_that_speaks_alone_is_where_the_colour_is(row: int, column: int) -> None:
    shares = heat_map.strength(lone(row, column))
    assert np.unravel_index(shares.argmax(), shares.shape) == (row, column)
    grey = np.full((224, 224, 3), 100, np.uint8)
    changed = np.abs(heat_map.overlay(grey, shares).astype(int) - 100).sum(axis=2)
    y, x = np.unravel_index(changed.argmax(), changed.shape)
    cell = heat_map.SIDE / 12
    assert abs(y - (row + 0.5) * cell) <= 0.75 * cell
    assert abs(x - (column + 0.5) * cell) <= 0.75 * cell


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        heat_map.strength(np.array([[0.0, value]]))


def test_without_strength_the_crop_is_merely_grey() -> None:
    crop = face()
    drawn = heat_map.overlay(crop, np.zeros((12, 12), np.float32))
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    assert all(np.array_equal(drawn[..., channel], grey) for channel in range(3))


def test_full_strength_is_yellow_and_the_face_still_shows() -> None:
    drawn = heat_map.overlay(face(), np.ones((12, 12), np.float32)).astype(int)
    blue, green, red = drawn.reshape(-1, 3).mean(axis=0)
    assert min(green, red) > blue + 100
    grey = cv2.cvtColor(face(), cv2.COLOR_BGR2GRAY)
    assert np.corrcoef(drawn[..., 0].ravel(), grey.ravel())[0, 1] > 0.99


@given(st.integers(2, 400), st.integers(2, 400))
def test_crops_of_any_size_are_drawn(height: int, width: int) -> None:
    crop = np.full((height, width, 3), 7, np.uint8)
    drawn = heat_map.overlay(crop, heat_map.strength(lone(3, 4)))
    assert drawn.shape == (heat_map.SIDE, heat_map.SIDE, 3)
    assert drawn.dtype == np.uint8


def test_a_colour_blind_person_sees_stronger_places_brighter() -> None:
    """The colours' lightness rises throughout, so that they need no hue to be told apart."""
    ramp = np.arange(256, dtype=np.uint8)[None]
    colours = cv2.applyColorMap(ramp, heat_map.COLOURS)
    lightness = cv2.cvtColor(colours.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[0, :, 0]
    assert (np.diff(lightness) > -0.3).all()
    assert lightness[-1] - lightness[0] > 60


def test_the_png_is_the_picture_and_small() -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(face() + rng.normal(0, 5, (224, 224, 1)), 0, 255).astype(np.uint8)
    drawn = heat_map.overlay(noisy, heat_map.strength(lone(5, 5)))
    text = heat_map.png_base64(drawn)
    data = base64.b64decode(text, validate=True)
    assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), drawn)
    assert len(text) < 100_000
