import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncnet_python.alignment import apply, fit_similarity, invert, square_crop, warp

angles = st.floats(-3.1, 3.1)
scales = st.floats(0.05, 20)
shifts = st.floats(-500, 500)


def similarity(angle: float, scale: float, x: float, y: float) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[[c, -s, x], [s, c, y]]])


@given(angles, scales, shifts, shifts, st.integers(0, 1000))
def test_fit_recovers_the_similarity_that_moved_the_points(angle, scale, x, y, seed):
    points = np.random.default_rng(seed).uniform(0, 100, (1, 11, 2))
    truth = similarity(angle, scale, x, y)
    found = fit_similarity(points, apply(truth, points)[0])
    np.testing.assert_allclose(found, truth, atol=1e-6 * scale * 500)


@given(angles, scales, shifts, shifts)
def test_invert_undoes_apply(angle, scale, x, y):
    points = np.array([[[0.0, 0.0], [10.0, 3.0], [-7.0, 90.0]]])
    matrix = similarity(angle, scale, x, y)
    np.testing.assert_allclose(apply(invert(matrix), apply(matrix, points)), points, atol=1e-6)


def test_fit_never_reflects():
    points = np.array([[[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]]])
    mirrored = points[0] * (-1, 1)
    linear = fit_similarity(points, mirrored)[0, :, :2]
    assert np.linalg.det(linear) > 0


def test_points_that_coincide_are_shifted():
    points = np.full((1, 5, 2), 7.0)
    template = np.random.default_rng(0).uniform(0, 10, (5, 2))
    matrix = fit_similarity(points, template)
    np.testing.assert_allclose(apply(matrix, points)[0, 0], template.mean(axis=0))


@given(shifts, shifts, st.floats(1, 300), st.floats(1, 300))
def test_square_crop_puts_the_box_in_the_middle(x, y, width, height):
    box = np.array([[x, y, x + width, y + height]])
    matrix = square_crop(box, 64, 1.25)
    corners = apply(matrix, box.reshape(1, 2, 2))[0]
    np.testing.assert_allclose(corners.mean(axis=0), 31.5, atol=1e-6)
    assert max(corners[1] - corners[0]) == pytest.approx(64 / 1.25)


@pytest.mark.parametrize("scale", [0.11, 0.26, 0.49, 0.7, 1.9])
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_warp_puts_a_spot_where_the_matrix_says(scale, angle):
    rows, columns = np.mgrid[:600, :800]
    spot = np.array([430.0, 260.0])
    width = 3 / min(scale, 1)
    glow = np.exp(-((columns - spot[0]) ** 2 + (rows - spot[1]) ** 2) / (2 * width**2))
    image = np.repeat((255 * glow).astype(np.uint8)[..., None], 3, axis=2)
    matrix = similarity(angle, scale, 0, 0)
    matrix[0, :, 2] = (50, 60) - matrix[0, :, :2] @ spot
    crop = warp(image, matrix[0], 112).astype(float)[..., 0]
    y, x = np.mgrid[:112, :112]
    centre = ((x * crop).sum() / crop.sum(), (y * crop).sum() / crop.sum())
    np.testing.assert_allclose(centre, (50, 60), atol=0.1)


def test_warp_averages_when_it_shrinks():
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3)).astype(np.uint8)
    matrix = square_crop(np.array([[0.0, 0, 800, 800]]), 100, 1.0)[0]
    assert warp(noise, matrix, 100).std() < noise.std() / 5
    skipping = cv2.warpAffine(noise, matrix, (100, 100))
    assert skipping.std() > noise.std() / 3


def test_warp_far_outside_the_picture_repeats_its_border():
    image = np.full((40, 60, 3), 9, np.uint8)
    for scale in (0.1, 1.0, 3.0):
        matrix = np.array([[scale, 0, 500.0], [0, scale, -500.0]])
        assert (warp(image, matrix, 32) == 9).all()
