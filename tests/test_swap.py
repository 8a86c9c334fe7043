import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.swap import swap
from syncnet_python.landmarks import LIPS, MESH_INDICES


def face_points(centre: tuple[float, float] = (100, 100), width: float = 80) -> np.ndarray:
    """Lips in the lower middle, everything else on rings around the centre."""
    count = len(MESH_INDICES)
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = width / 2 * (0.4 + 0.6 * (np.arange(count) % 3) / 2)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    lips = np.arange(40) / 40 * 2 * np.pi
    points[LIPS] = np.stack([0.15 * np.cos(lips), 0.25 + 0.06 * np.sin(lips)], axis=1) * width
    return points + np.array(centre)


def noise(seed: int, level: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(level - 30, level + 30, (25, 25, 3), dtype=np.uint8)
    return cv2.resize(small, (200, 200), interpolation=cv2.INTER_CUBIC)


def test_the_face_becomes_another_and_the_rest_does_not():
    image, points = noise(0, 100), face_points()
    swapped = swap(image, points, noise(1, 100), face_points())
    changed = np.abs(swapped.astype(int) - image).max(axis=2)
    assert changed[70:95, 80:120].mean() > 10  # forehead and eyes
    x1, y1 = np.floor(points.min(0)).astype(int)
    x2, y2 = np.ceil(points.max(0)).astype(int) + 1
    changed[y1:y2, x1:x2] = 0
    assert changed.max() == 0


def test_the_mouth_stays_the_filmed_one():
    image, points = noise(0, 100), face_points()
    swapped = swap(image, points, noise(1, 100), face_points())
    x, y = np.round(points[LIPS].mean(0)).astype(int)
    assert np.abs(swapped.astype(int) - image)[y - 4 : y + 5, x - 10 : x + 11].max() <= 2


def test_colours_are_matched():
    image, points = noise(0, 60), face_points()
    swapped = swap(image, points, noise(1, 200), face_points())
    assert swapped[70:130, 70:130].mean() == pytest.approx(image[70:130, 70:130].mean(), abs=6)


def test_a_face_on_itself_stays_as_it_is():
    image, points = noise(0, 100), face_points()
    swapped = swap(image, points, image, points)
    assert np.abs(swapped.astype(int) - image).max() <= 3


@settings(max_examples=20, deadline=None)
@given(st.floats(-60, 260), st.floats(-60, 260), st.floats(2, 150))
def test_faces_may_reach_over_the_edge_or_be_tiny(x, y, width):
    image = noise(0, 100)
    swapped = swap(image, face_points((x, y), width), noise(1, 100), face_points())
    assert swapped.shape == image.shape
    assert swapped.dtype == np.uint8
