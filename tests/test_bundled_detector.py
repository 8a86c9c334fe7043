import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from syncnet_python.detectors.bundled import (
    AREA,
    BundledFaceDetector,
    input_shape,
    merge,
    overlap,
)
from syncnet_python.networks.face_finder import MULTIPLE

FACE = np.array([177.0, 68.0, 272.0, 177.0])
"""The astronaut's face in the portrait of 512 x 512, measured by hand: cheeks, hairline, chin."""


@pytest.fixture(scope="module")
def finder() -> BundledFaceDetector:
    return BundledFaceDetector.bundled()


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


def test_one_face_in_a_portrait(finder, portrait):
    (faces,) = finder.detect([portrait])
    assert faces.shape == (1, 5)
    assert faces.dtype == np.float32
    assert overlap(FACE, faces[:, :4])[0] > 0.6
    assert 0.5 < faces[0, 4] <= 1


def test_two_faces_of_different_sizes_side_by_side(finder, portrait):
    canvas = np.full((512, 900, 3), 90, np.uint8)
    canvas[:, :512] = portrait
    canvas[80:460, 515:895] = cv2.resize(portrait, (380, 380), interpolation=cv2.INTER_AREA)
    (faces,) = finder.detect([canvas])
    assert len(faces) == 2
    small = FACE * 380 / 512 + (515, 80, 515, 80)
    for truth in (FACE, small):
        assert overlap(truth, faces[:, :4]).max() > 0.55
    assert faces[0, 4] >= faces[1, 4]


@pytest.mark.parametrize("size", [0.5, 0.75, 1.0])
def test_a_face_against_any_part_of_the_frame(finder, portrait, size):
    side = int(512 * size)
    canvas = np.full((512, 512, 3), 40, np.uint8)
    canvas[512 - side :, :side] = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    (faces,) = finder.detect([canvas])
    truth = FACE * size + (0, 512 - side, 0, 512 - side)
    assert len(faces) == 1
    assert overlap(truth, faces[:, :4])[0] > 0.5


@pytest.mark.parametrize("shape", [(360, 640), (640, 360), (480, 480)])
def test_any_shape_of_frame(finder, portrait, shape):
    height, width = shape
    side = min(shape)
    canvas = np.zeros((height, width, 3), np.uint8)
    y, x = (height - side) // 2, (width - side) // 2
    canvas[y : y + side, x : x + side] = cv2.resize(portrait, (side, side))
    (faces,) = finder.detect([canvas])
    truth = FACE * side / 512 + (x, y, x, y)
    assert len(faces) == 1
    assert overlap(truth, faces[:, :4])[0] > 0.55


def test_grey_and_dark_pictures(finder, portrait):
    grey = cv2.cvtColor(cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    dark = (portrait * 0.3).astype(np.uint8)
    for faces in finder.detect([grey, dark]):
        assert overlap(FACE, faces[:, :4]).max() > 0.5


def test_noise_and_plain_colour_hold_no_face(finder):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (8, 240, 320, 3)).astype(np.uint8)
    plain = np.full((2, 240, 320, 3), 127, np.uint8)
    plain[1] = 0
    for faces in finder.detect([*noise, *plain]):
        assert faces.shape == (0, 5)


def test_things_that_are_no_face(finder):
    for picture in (data.brick(), data.page(), data.rocket(), data.clock(), data.grass()):
        image = picture[..., ::-1] if picture.ndim == 3 else np.stack([picture] * 3, axis=2)
        (faces,) = finder.detect([np.ascontiguousarray(image)])
        assert len(faces) == 0


def test_a_batch_answers_as_its_frames_do_alone(portrait):
    finder = BundledFaceDetector.bundled()
    finder._batch_size = 2
    frames = [portrait, np.roll(portrait, 40, axis=1), portrait[:, ::-1].copy()]
    together = finder.detect(frames)
    assert len(together) == 3
    for frame, faces in zip(frames, together, strict=True):
        np.testing.assert_allclose(finder.detect([frame])[0], faces, atol=0.05)


def test_no_frames_no_faces(finder):
    assert finder.detect([]) == []


@given(st.integers(16, 4000), st.integers(16, 4000))
def test_input_is_small_and_keeps_the_shape(height, width):
    rows, columns = input_shape(height, width)
    assert rows % MULTIPLE == columns % MULTIPLE == 0
    if 0.5 < height / width < 2:
        assert 0.6 * AREA < rows * columns < 1.5 * AREA
        assert 0.75 < (rows / columns) / (height / width) < 1.34


boxes = st.lists(
    st.tuples(*[st.floats(0, 100)] * 2, *[st.floats(1, 50)] * 2, st.floats(0.01, 1)),
    max_size=12,
)


@settings(max_examples=50)
@given(boxes)
def test_merge_keeps_the_surest_and_sorts(rows):
    array = np.array(rows, np.float32).reshape(-1, 5)
    array[:, 2:4] += array[:, :2]
    faces = merge(array[:, :4], array[:, 4], 0.3)
    assert len(faces) <= len(array)
    assert (np.diff(faces[:, 4]) <= 0).all()
    if len(array):
        assert faces[0, 4] == array[:, 4].max()
        assert (faces[:, :2] >= array[:, :2].min(axis=0) - 1e-3).all()
        assert (faces[:, 2:4] <= array[:, 2:4].max(axis=0) + 1e-3).all()


def test_merge_averages_one_face_and_separates_two():
    faces = merge(
        np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10]], np.float32),
        np.array([0.6, 0.3, 0.9], np.float32),
        0.3,
    )
    np.testing.assert_allclose(faces[0], [50, 0, 60, 10, 0.9])
    np.testing.assert_allclose(faces[1], [1 / 3, 0, 31 / 3, 10, 0.6], rtol=1e-5)
