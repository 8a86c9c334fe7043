"""What pictures and sheets are drawn with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncnet_python.landmarks import MESH_INDICES
from workflows.inspection import drawing
from workflows.inspection.drawing import BLUE, RED, WHITE, Chart, Image


def blank(height: int = 120, width: int = 200) -> Image:
    return np.full((height, width, 3), 255, np.uint8)


def test_shades_run_from_red_to_green() -> None:
    assert drawing.shade(-1) == drawing.shade(0) == drawing.shade(float("nan")) == (0, 0, 255)
    assert drawing.shade(1) == drawing.shade(9) == (0, 255, 0)
    assert drawing.shade(0.4) == (0, 102, 153)


@given(st.floats(-1e4, 1e4), st.floats(1e-2, 1e6), st.integers(2, 12))
def test_ticks_are_few_round_and_within(low: float, length: float, most: int) -> None:
    high = low + length
    found = drawing.ticks(low, high, most)
    assert 0 < len(found) <= most
    step = found[1] - found[0] if len(found) > 1 else None
    slack = 1e-6 * max(1.0, abs(low), length)
    assert all(low - slack <= value <= high + slack for value in found)
    if step:
        factor = step / 10.0 ** np.floor(np.log10(step * 1.0001))
        assert min(abs(factor / round_ - 1) for round_ in (1, 2, 5)) < 1e-3
        assert np.allclose(np.diff(found), step, atol=slack)


def test_values_lie_where_the_axes_say() -> None:
    chart = Chart(blank(), 50, 10, 150, 110, (0.0, 10.0), (-1.0, 1.0))
    places = chart.place([0, 5, 10, 99], [-1, 0, 1, -99])
    assert places.tolist() == [[50, 110], [100, 60], [150, 10], [150, 110]]


def test_a_line_is_broken_where_nothing_is_known() -> None:
    image = blank()
    chart = Chart(image, 0, 0, 200, 120, (0.0, 4.0), (0.0, 2.0))
    chart.line([0, 1, 2, 3, 4], [1, 1, np.nan, 1, 1], BLUE)
    inked = (image != 255).any(axis=(0, 2))
    assert inked[:48].all()
    assert inked[153:].all()
    assert not inked[55:145].any()


def test_a_band_lies_between_its_lines_and_shows_single_moments() -> None:
    image = blank()
    chart = Chart(image, 0, 0, 200, 120, (0.0, 4.0), (0.0, 12.0))
    chart.band([0, 1, 2, 3], [4, 4, np.nan, 2], [8, 8, np.nan, 6], BLUE)
    assert (image[60, 25] == BLUE).all()
    assert (image[25, 25] == 255).all()
    assert (image[110, 25] == 255).all()
    assert (image[80, 150] == BLUE).all()
    assert (image[80, 100] == 255).all()


def test_dots_keep_their_inks_and_leave_out_the_unknown() -> None:
    image = blank()
    chart = Chart(image, 0, 0, 200, 120, (0.0, 4.0), (0.0, 2.0))
    chart.dots([1, 2, 3], [1, np.nan, 1], [BLUE, RED, RED])
    assert (image[60, 50] == BLUE).all()
    assert (image[60, 150] == RED).all()
    assert (image[:, 80:120] == 255).all()


@given(
    st.text(max_size=60),
    st.floats(-500, 500),
    st.floats(-500, 500),
    st.floats(6, 20),
    st.floats(0, 1),
)
def test_words_stay_in_the_picture(
    text: str, x: float, y: float, height: float, align: float
) -> None:
    image = blank(140, 240)
    around = image.copy()
    drawing.words(image[10:130, 10:230], text, (x, y), RED, height=height, align=align, rim=BLUE)
    inside = np.zeros(image.shape[:2], bool)
    inside[10:130, 10:230] = True
    assert np.array_equal(image[~inside], around[~inside])
    visible = text.encode("ascii", "replace").decode().strip()
    if visible and visible.isprintable():
        assert (image != 255).any()
        edge = np.concatenate([image[11:129, 229], image[11:129, 10]])
        assert (edge == 255).all(), "cut off at a side"


@pytest.mark.parametrize(("size", "wanted"), [((480, 640), (90, 120)), ((60, 20), (90, 30))])
def test_fitted_pictures_keep_their_shape(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert drawing.fitted(blank(*size), 120, 90).shape[:2] == wanted


def test_a_box_is_drawn_on_its_sides_alone() -> None:
    image = blank()
    drawing.box(image, (40.0, 30.0, 120.0, 90.0), RED)
    assert (image[30, 80] == RED).all()
    assert (image[60, 40] == RED).all()
    assert (image[60, 80] == 255).all()


def test_lips_are_drawn_where_the_points_are() -> None:
    image = blank()
    angles = np.linspace(0, 2 * np.pi, len(MESH_INDICES))
    points = np.stack([100 + 20 * np.cos(angles), 60 + 10 * np.sin(angles)], axis=1)
    drawing.lips(image, points, BLUE)
    rows, columns = np.nonzero((image != 255).any(axis=2))
    assert 78 <= columns.min() <= columns.max() <= 122
    assert 48 <= rows.min() <= rows.max() <= 72


def test_a_chart_of_one_value_has_a_range() -> None:
    image = blank(200, 300)
    axes = drawing.chart(image, (0, 0, 300, 200), "Title", ("x", "y"), (2.0, 2.0), (0.0, 0.0))
    assert axes.x == (1.5, 2.5)
    assert axes.y == (-0.5, 0.5)
    assert (image != WHITE).any()
