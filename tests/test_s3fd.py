from pathlib import Path

import numpy as np
import parity
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from parity.formula import clip

from syncnet_python.detectors import s3fd_boxes
from syncnet_python.detectors.s3fd import S3FDDetector, network_input
from syncnet_python.errors import WeightsCorrupt
from syncnet_python.networks.s3fd import S3FD, build

Image = NDArray[np.uint8]
MAPS = [(30, 40), (15, 20), (7, 10), (3, 5), (2, 3), (1, 2)]
"""Feature maps of a 160x120 image."""


@pytest.fixture(scope="module")
def network() -> S3FD:
    return build(parity.s3fd_state())


@pytest.fixture(scope="module")
def frame() -> Image:
    return np.ascontiguousarray(clip(1)[0][0, :120, :160])


def test_parameters_carry_the_published_names() -> None:
    ours = {name: list(value.shape) for name, value in S3FD().state_dict().items()}
    assert ours == parity.record("s3fd_shapes")


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(WeightsCorrupt, match=r"sfd_face\.pth"):
        build(parity.syncnet_state())


@pytest.mark.slow
@torch.inference_mode()
def test_network_outputs_are_the_recorded_ones(network: S3FD, frame: Image) -> None:
    expected = parity.numbers("s3fd_boxes")
    offsets, scores, maps = network(torch.from_numpy(network_input(frame, 1.0))[None])
    assert maps == MAPS
    assert parity.relative_error(offsets[0, ::40].numpy(), expected["formula_loc"]) < 1e-5
    assert parity.relative_error(scores[0, ::40].numpy(), expected["formula_conf"]) < 1e-5


@pytest.mark.shared
@torch.inference_mode()
def test_network_outputs_equal_the_originals(network: S3FD, shared: Path) -> None:
    with np.load(shared / "parity/s3fd_example.npz") as expected:
        inputs = network_input(np.ascontiguousarray(expected["image"][:, :, ::-1]), 1.0)
        assert np.array_equal(inputs, expected["net_input"])
        offsets, scores, maps = network(torch.from_numpy(inputs)[None])
        assert parity.relative_error(offsets.numpy(), expected["loc"]) < 1e-5
        assert parity.relative_error(scores.numpy(), expected["conf"]) < 1e-5
        priors = s3fd_boxes.priors((120, 160), maps)
        np.testing.assert_allclose(priors, expected["priors"], atol=1e-7)


def test_boxes_equal_the_originals() -> None:
    expected = parity.numbers("s3fd_boxes")
    priors = s3fd_boxes.priors((120, 160), MAPS)
    np.testing.assert_allclose(priors, expected["priors"], atol=1e-7)
    found = s3fd_boxes.select(
        s3fd_boxes.decode(expected["post_loc"], priors),
        expected["post_conf"][:, 1],
        min_score=0.05,
        overlap=0.3,
        candidates=5000,
        limit=750,
    )
    assert found.shape == expected["post_det"].shape
    np.testing.assert_allclose(found[:, 4], expected["post_det"][:, 0], atol=1e-6)
    np.testing.assert_allclose(found[:, :4], expected["post_det"][:, 1:], atol=1e-6)


def test_no_offset_gives_the_prior_itself() -> None:
    prior = np.array([[0.5, 0.25, 0.2, 0.1]], np.float32)
    box = s3fd_boxes.decode(np.zeros((1, 4), np.float32), prior)
    np.testing.assert_allclose(box, [[0.4, 0.2, 0.6, 0.3]], atol=1e-7)


def overlaps(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared
    return float(shared / union)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 20)] * 2),
        max_size=25,
        unique=True,
    ),
    st.sampled_from([0.1, 0.3, 0.7]),
    st.integers(1, 30),
)
def test_suppression_keeps_the_best_of_what_overlaps(
    raw: list[tuple[int, int, int, int]], overlap: float, limit: int
) -> None:
    corners = np.array(raw, np.float64).reshape(-1, 4)
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=1)
    scores = np.random.default_rng(0).permutation(len(boxes)) / 30.0
    expected: list[int] = []
    for i in np.argsort(-scores):
        if len(expected) < limit and all(overlaps(boxes[i], boxes[j]) <= overlap for j in expected):
            expected.append(int(i))
    assert s3fd_boxes.suppress(boxes, scores, overlap, limit).tolist() == expected


def test_only_the_best_enter_and_only_so_many_leave() -> None:
    boxes = np.array([[i, 0, i + 1, 1] for i in range(6)], np.float32)
    scores = np.array([0.1, 0.9, 0.5, 0.7, 0.8, 0.6], np.float32)
    found = s3fd_boxes.select(boxes, scores, min_score=0.5, overlap=0.3, candidates=3, limit=2)
    assert found[:, 0].tolist() == [1, 4]
    assert found[:, 4].tolist() == pytest.approx([0.9, 0.8])


@pytest.mark.slow
def test_faces_are_in_pixels_of_the_frame_best_first(frame: Image) -> None:
    # Untrained weights find no certain face, so anything they half believe in counts as one here.
    detector = S3FDDetector(parity.s3fd_state(), scale=1.0, min_confidence=0.6)
    wide = np.ascontiguousarray(np.repeat(np.repeat(frame, 2, axis=0), 2, axis=1))
    small, other = detector.detect([frame, frame[::-1].copy()])
    assert len(small) > 0
    assert small.dtype == np.float32
    assert small.shape[1] == 5
    assert not np.array_equal(small, other)
    assert (np.diff(small[:, 4]) <= 0).all()
    assert (small[:, 4] > 0.6).all()
    halved = S3FDDetector(parity.s3fd_state(), scale=0.5, min_confidence=0.6)
    (doubled,) = halved.detect([wide])
    np.testing.assert_allclose(doubled[:, :4], 2 * small[:, :4], rtol=1e-4, atol=1e-2)


def test_no_frames_and_no_faces(frame: Image) -> None:
    detector = S3FDDetector(parity.s3fd_state(), min_confidence=0.999)
    assert detector.detect([]) == []
    (none,) = detector.detect([frame])
    assert none.shape == (0, 5)
