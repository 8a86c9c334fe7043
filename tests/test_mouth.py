"""Lip shapes and mouth crops do not change when the recording is turned, scaled or moved."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from syncnet_python import mouth
from syncnet_python.alignment import apply

Floats = NDArray[np.float64]

EYES = np.array([[30.0, 40.0], [44.0, 41.0], [66.0, 41.0], [80.0, 40.0]])
CORNERS = np.array([[43.0, 78.0], [67.0, 78.0]])
EYE_DISTANCE = 36.0  # between the means of each eye's corners


def a_face(frames: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Lips that move and eyes that do not: (frames, 40, 2) and (frames, 4, 2), pixels."""
    rng = np.random.default_rng(seed)
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.stack([55 + 12 * np.cos(turn), 78 + 5 * np.sin(turn)], axis=1)
    lips = ring + rng.normal(0, 0.5, (frames, 40, 2))
    return lips, np.broadcast_to(EYES, (frames, 4, 2)).copy()


def similarity(angle: float, scale: float, x: float, y: float) -> Floats:
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin, x], [sin, cos, y]])


def moved(points: Floats, matrix: Floats) -> Floats:
    return apply(np.broadcast_to(matrix, (len(points), 2, 3)), points)


placements = st.builds(
    similarity,
    st.floats(-3.1, 3.1),
    st.floats(0.3, 5),
    st.floats(-500, 500),
    st.floats(-500, 500),
)


@given(placements)
def test_lip_shapes_do_not_depend_on_where_the_face_is(matrix: Floats) -> None:
    lips, eyes = a_face(12)
    original = mouth.lip_shapes(lips, eyes)
    again = mouth.lip_shapes(moved(lips, matrix), moved(eyes, matrix))
    np.testing.assert_allclose(again, original, atol=1e-4)


def test_lip_shapes_are_measured_in_eye_distances_from_between_the_eyes() -> None:
    lips, eyes = a_face(3)
    lips[:, 7] = [43.0, 78.0]
    lips[:, 25] = [55.0, 40.5 + EYE_DISTANCE]
    shapes = mouth.lip_shapes(lips, eyes)
    assert shapes.shape == (3, 40, 2)
    assert shapes.dtype == np.float32
    np.testing.assert_allclose(shapes[:, 7], [[-12 / 36, 37.5 / 36]] * 3, atol=1e-6)
    np.testing.assert_allclose(shapes[:, 25], [[0, 1]] * 3, atol=1e-6)


def test_noise_of_the_eyes_is_damped() -> None:
    lips, eyes = a_face(200)
    lips[:] = lips[0]
    noise = np.random.default_rng(1).normal(0, 1.0, eyes.shape)
    shaken = eyes + noise
    together = mouth.lip_shapes(lips, shaken)
    one_by_one = np.concatenate(
        [mouth.lip_shapes(lips[i : i + 1], shaken[i : i + 1]) for i in range(200)]
    )
    assert np.diff(together, axis=0).std() < 0.3 * np.diff(one_by_one, axis=0).std()


@given(placements)
def test_crops_cover_the_mouth_level_and_at_one_size(matrix: Floats) -> None:
    lips, eyes = a_face(9)
    placed_lips, placed_eyes = moved(lips, matrix), moved(eyes, matrix)
    transforms = mouth.crop_transforms(placed_lips, placed_eyes)
    assert transforms.shape == (9, 2, 3)
    pixels = apply(transforms, placed_eyes)
    eye_line = pixels[:, 2:].mean(axis=1) - pixels[:, :2].mean(axis=1)
    wanted = mouth.CROP_SIZE / mouth.CROP_SPAN
    np.testing.assert_allclose(eye_line, [[wanted, 0]] * 9, atol=1e-3)
    middle = apply(transforms, placed_lips)[:, [0, 3, 7, 25]].mean(axis=(0, 1))
    np.testing.assert_allclose(middle, (mouth.CROP_SIZE - 1) / 2, atol=0.5)


def test_crop_is_steady_while_the_jaw_moves() -> None:
    lips, eyes = a_face(100)
    wave = np.sin(np.arange(100) * 2 * np.pi * 4 / 25)  # four syllables a second
    lips[:, 3, 1] += 6 * wave
    middle = apply(mouth.crop_transforms(lips, eyes), eyes).mean(axis=1)[20:-20]
    followed = 6 / 4 * mouth.CROP_SIZE / mouth.CROP_SPAN / EYE_DISTANCE
    assert np.abs(middle - middle.mean(axis=0)).max() < 0.25 * followed


def test_crop_shows_what_is_there() -> None:
    frame = np.zeros((120, 110, 3), np.uint8)
    cv2.circle(frame, (55, 78), 6, (255, 255, 255), -1)
    lips, eyes = a_face(1)
    lips[:, [0, 3, 7, 25]] = [55, 78]
    crop = mouth.crop(frame, mouth.crop_transforms(lips, eyes)[0])
    assert crop.shape == (mouth.CROP_SIZE, mouth.CROP_SIZE)
    assert crop.dtype == np.uint8
    rows, columns = np.nonzero(crop > 127)
    centre = (mouth.CROP_SIZE - 1) / 2
    assert (rows.mean(), columns.mean()) == pytest.approx((centre, centre), abs=0.5)
    radius = 6 * mouth.CROP_SIZE / mouth.CROP_SPAN / EYE_DISTANCE
    assert len(rows) == pytest.approx(np.pi * radius**2, rel=0.15)


def test_crop_of_a_large_face_is_averaged_not_sampled() -> None:
    stripes = np.zeros((1000, 1000, 3), np.uint8)
    stripes[:, ::2] = 255
    lips, eyes = a_face(1)
    crop = mouth.crop(stripes, mouth.crop_transforms(lips * 8, eyes * 8)[0])
    assert crop[4:-4, 4:-4].std() < 20  # single pixels would give 127


def test_eyes_in_one_point_give_finite_numbers() -> None:
    lips, eyes = a_face(5)
    eyes[:] = eyes[:, :1]
    assert np.isfinite(mouth.lip_shapes(lips, eyes)).all()
    assert np.isfinite(mouth.crop_transforms(lips, eyes)).all()
