"""The parts of `training.faces` that a mistake would make silent: targets, labels, choices."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from syncnet_python.landmarks import ANCHOR_PLACES, ANCHORS
from syncnet_python.networks.face_finder import decode
from training.faces.augment import Degrader
from training.faces.cache import FACE_HEIGHT, FACE_SIZE, evenly, source_of, square_around
from training.faces.landmark_batches import mirror_order
from training.faces.scenes import share
from training.faces.targets import target


@given(st.floats(20, 170), st.floats(20, 130), st.floats(15, 150), st.floats(15, 150))
def test_decoding_the_target_gives_the_box(x, y, width, height):
    box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    wanted = target([box], [], 160, 192)
    output = np.concatenate([wanted.heat[None], wanted.boxes])[None]
    boxes = decode(torch.from_numpy(output)).numpy()[0]
    counted = wanted.weight > 0
    assert counted.any()
    assert wanted.heat.max() == 1
    np.testing.assert_allclose(boxes[counted], np.tile(box, (counted.sum(), 1)), atol=1e-6)


def test_each_face_keeps_its_own_cells():
    left, right = np.array([10.0, 40, 60, 100]), np.array([110.0, 40, 180, 120])
    wanted = target([left, right], [], 160, 192)
    boxes = decode(torch.from_numpy(np.concatenate([wanted.heat[None], wanted.boxes])[None]))
    found = {tuple(np.round(b, 3)) for b in boxes.numpy()[0][wanted.weight > 0]}
    assert found == {tuple(left), tuple(right)}


def test_hidden_faces_count_neither_way():
    hidden = np.array([64.0, 64, 128, 128])
    wanted = target([], [hidden], 160, 192)
    assert (wanted.counted == 0).sum() == 64
    assert wanted.heat.max() == 0
    assert wanted.weight.max() == 0


def test_square_around_keeps_the_mesh_on_the_picture():
    rows, columns = np.mgrid[:300, :400]
    image = np.stack([columns % 256, rows % 256, np.zeros_like(rows)], axis=2).astype(np.uint8)
    mesh = np.random.default_rng(0).uniform((100, 60), (180, 160), (478, 2)).astype(np.float32)
    square, inside = square_around(image, mesh)
    assert square.shape == (FACE_SIZE, FACE_SIZE, 3)
    assert abs(np.ptp(inside, axis=0).max() - FACE_HEIGHT) < 2
    x, y = inside.round().astype(int).T
    np.testing.assert_allclose(square[y, x, 0], mesh[:, 0], atol=2)
    np.testing.assert_allclose(square[y, x, 1], mesh[:, 1], atol=2)


def test_square_around_reaches_beyond_the_picture():
    image = np.full((50, 50, 3), 7, np.uint8)
    mesh = np.random.default_rng(0).uniform(-20, 60, (478, 2)).astype(np.float32)
    square, _ = square_around(image, mesh)
    assert (square == 7).all()


def test_mirror_order_pairs_points_that_mirror_each_other():
    rng = np.random.default_rng(0)
    mesh = rng.uniform((5, 5), (107, 107), (478, 2))
    pairs = [(33, 263), (133, 362), (61, 291), (234, 454)]
    mesh[list(ANCHORS)] = ANCHOR_PLACES
    free = [i for i in range(478) if i not in ANCHORS]
    half = len(free) // 2
    left, right, alone = free[:half], free[half : 2 * half], free[2 * half :]
    mesh[right] = mesh[left] * (-1, 1) + (112, 0)
    mesh[alone, 0] = 56
    wanted = np.arange(478)
    for one, other in [*pairs, *zip(left, right, strict=True)]:
        wanted[one], wanted[other] = other, one
    faces = np.stack([mesh * 0.5 + 20, mesh * 2 - 7]).astype(np.float32)
    np.testing.assert_array_equal(mirror_order(faces), wanted)


@given(st.integers(0, 200), st.integers(1, 50))
def test_evenly_takes_no_more_than_asked_and_reaches_both_ends(total, count):
    numbers = np.arange(total) * 3
    chosen = evenly(numbers, count)
    assert len(chosen) == min(total, count)
    assert sorted(set(chosen)) == chosen
    if total and count > 1:
        assert chosen[0] == numbers[0]
        assert chosen[-1] == numbers[-1]


def test_share_is_of_the_box_not_of_the_area():
    box = np.array([0.0, 0, 10, 10])
    assert share(box, np.array([5.0, 0, 100, 100])) == 0.5
    assert share(box, np.array([20.0, 20, 30, 30])) == 0.0


def test_degrading_is_fixed_by_the_seed_and_keeps_the_shape():
    image = np.random.default_rng(1).integers(0, 256, (64, 48, 3)).astype(np.uint8)
    once, again = ([Degrader(np.random.default_rng(5))(image) for _ in range(3)] for _ in range(2))
    for a, b in zip(once, again, strict=True):
        assert a.shape == image.shape
        assert a.dtype == np.uint8
        np.testing.assert_array_equal(a, b)


def test_sources_are_prefixes():
    assert source_of("grid_s1_swwc5s.mkv") == "grid"
