"""The contract of `detectors.FaceDetector`, held against every implementation.

S3FD runs on deterministic stand-in weights: they find nothing sensible, but whatever they find has
to come in the agreed form.
"""

import numpy as np
import parity
import pytest

from syncnet_python import weights
from syncnet_python.assembly import DETECTORS
from syncnet_python.detectors import FaceDetector

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module", params=DETECTORS)
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    state = parity.s3fd_state() if request.param == "s3fd" else weights.load(request.param)[0]
    return DETECTORS[request.param](state, "cpu")


def test_no_frames_give_no_answers(detector: FaceDetector) -> None:
    assert detector.detect([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("size", [(240, 320), (320, 180), (97, 131)])
def test_every_frame_gets_its_boxes_best_first(
    detector: FaceDetector, size: tuple[int, int]
) -> None:
    frames = [RNG.integers(0, 256, (*size, 3)).astype(np.uint8) for _ in range(3)]
    answers = detector.detect(frames)
    assert len(answers) == 3
    for faces in answers:
        assert faces.dtype == np.float32
        assert faces.ndim == 2
        assert faces.shape[1] == 5
        assert np.all((faces[:, 4] >= 0) & (faces[:, 4] <= 1))
        assert np.all(np.diff(faces[:, 4]) <= 0)
        assert np.all(faces[:, 2:4] >= faces[:, :2])


def test_a_frame_is_judged_alike_alone_and_in_company(detector: FaceDetector) -> None:
    frames = [RNG.integers(0, 256, (240, 320, 3)).astype(np.uint8) for _ in range(3)]
    together = detector.detect(frames)
    for frame, faces in zip(frames, together, strict=True):
        assert np.allclose(faces, detector.detect([frame])[0], atol=1e-2)
