import cv2
import numpy as np
import pytest
from skimage import data

from syncnet_python import weights
from syncnet_python.alignment import apply
from syncnet_python.landmarks import (
    ANCHORS,
    LIPS,
    MESH_INDICES,
    Landmarker,
    eye_distance,
    to_pixels,
    to_shares,
)
from syncnet_python.networks.face_landmarks import NUM_ANCHORS, NUM_POINTS

FACE = np.array([[177.0, 68.0, 272.0, 177.0]])
"""The astronaut's face in the portrait of 512 x 512."""

EYES = np.array([[202.0, 102.0], [248.0, 103.0]])
MOUTH = np.array([223.0, 146.0])
"""Centres measured by hand: the person's right and left eye, the mouth."""


@pytest.fixture(scope="module")
def landmarker() -> Landmarker:
    return Landmarker.bundled()


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


@pytest.fixture(scope="module")
def points(landmarker, portrait) -> np.ndarray:
    return landmarker.locate([portrait], FACE)


def place(points: np.ndarray, *mesh: int) -> np.ndarray:
    return points[:, [MESH_INDICES.index(i) for i in mesh]].mean(axis=1)


def test_indices_are_what_others_rely_on():
    assert len(MESH_INDICES) == len(set(MESH_INDICES)) == NUM_POINTS
    assert list(MESH_INDICES[LIPS]) == sorted(MESH_INDICES[LIPS])
    assert {61, 291, 13, 14, 0, 17} <= set(MESH_INDICES[LIPS])
    assert len(MESH_INDICES[LIPS]) == 40
    assert set(ANCHORS) <= set(MESH_INDICES)
    assert len(ANCHORS) == NUM_ANCHORS


def test_features_lie_where_they_are(points):
    assert points.shape == (1, NUM_POINTS, 2)
    assert points.dtype == np.float32
    near = 0.15 * eye_distance(points)[0]
    assert np.linalg.norm(place(points, 33, 133)[0] - EYES[0]) < near
    assert np.linalg.norm(place(points, 362, 263)[0] - EYES[1]) < near
    assert np.linalg.norm(points[0, LIPS].mean(axis=0) - MOUTH) < 1.5 * near


def test_features_are_in_the_order_of_a_face(points):
    brow, eye, nose, mouth, chin = (place(points, i)[0, 1] for i in (105, 145, 1, 14, 152))
    assert brow < eye < nose < mouth < chin
    assert place(points, 61)[0, 0] < place(points, 13)[0, 0] < place(points, 291)[0, 0]


def test_presence_tells_faces_from_nothing(landmarker, portrait):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    elsewhere = np.array([[360.0, 20.0, 500.0, 160.0]])
    boxes = np.concatenate([FACE, [[20.0, 20.0, 180.0, 180.0]], elsewhere])
    presence = landmarker.examine([portrait, noise, portrait], boxes).presence
    assert presence[0] > 0.9
    assert (presence[1:] < 0.5).all()


@pytest.mark.parametrize("angle", [-25, 25])
def test_a_turned_picture_turns_the_points(landmarker, portrait, points, angle):
    matrix = cv2.getRotationMatrix2D((224, 130), angle, 1.0)
    turned = cv2.warpAffine(portrait, matrix, (512, 512))
    wanted = apply(matrix[None], points)
    box = np.concatenate([wanted.min(axis=1), wanted.max(axis=1)], axis=1)
    found = landmarker.locate([turned], box)
    error = np.linalg.norm(found - wanted, axis=2).mean() / eye_distance(points)[0]
    assert error < 0.05


@pytest.mark.parametrize("scale", [0.5, 2.5])
def test_a_scaled_picture_scales_the_points(landmarker, portrait, points, scale):
    side = int(512 * scale)
    scaled = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    found = landmarker.locate([scaled], FACE * scale) / scale
    error = np.linalg.norm(found - points, axis=2).mean() / eye_distance(points)[0]
    assert error < 0.06


def test_an_unsteady_box_moves_the_points_little(landmarker, portrait, points):
    rng = np.random.default_rng(0)
    boxes = FACE + rng.normal(0, 5, (16, 4))
    found = landmarker.locate([portrait] * 16, boxes)
    spread = found.std(axis=0).mean() / eye_distance(points)[0]
    assert spread < 0.02


def test_less_precision_moves_the_points_by_a_fraction_of_a_pixel(landmarker, portrait, points):
    quick = Landmarker(weights.load("face_landmarks")[0], precision="auto")
    moved = np.linalg.norm(quick.locate([portrait], FACE) - points, axis=2)
    assert moved.mean() < 0.005 * eye_distance(points)[0]


def test_a_mirrored_face_gives_mirrored_lips(landmarker, portrait, points):
    mirrored = np.ascontiguousarray(portrait[:, ::-1])
    box = (511 - FACE[:, [2, 1, 0, 3]]) * (1, 0, 1, 0) + FACE * (0, 1, 0, 1)
    found = landmarker.locate([mirrored], box)
    corners = place(found, 291)[0], place(points, 61)[0]
    assert abs(511 - corners[0][0] - corners[1][0]) < 0.08 * eye_distance(points)[0]


def test_batches_answer_as_single_faces_do(landmarker, portrait, points):
    frames = [portrait, portrait[20:, 10:], portrait]
    boxes = np.concatenate([FACE, FACE - (10, 20, 10, 20), FACE])
    together = landmarker.locate(frames, boxes)
    np.testing.assert_allclose(together[2], points[0], atol=0.02)
    np.testing.assert_allclose(together[1] + (10, 20), points[0], atol=0.5)


def test_no_faces_no_points(landmarker):
    found = landmarker.examine([], np.zeros((0, 4)))
    assert found.points.shape == (0, NUM_POINTS, 2)
    assert found.presence.shape == (0,)


def test_one_box_per_frame(landmarker, portrait):
    with pytest.raises(ValueError, match="1 frames but 2 boxes"):
        landmarker.locate([portrait], np.concatenate([FACE, FACE]))


def test_shares_and_pixels_are_inverse():
    shares = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 4, 2))
    np.testing.assert_allclose(to_shares(to_pixels(shares, 112), 112), shares)
    np.testing.assert_allclose(to_pixels(np.zeros(2), 112), 55.5)
