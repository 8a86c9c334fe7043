"""Track and sound to embeddings, with networks whose weights are drawn at random."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from evaluation.talking_head import Mouth, Pose, render
from syncnet_python import mouth
from syncnet_python.fcn_embedding import EYES, FcnEmbedder, locate
from syncnet_python.landmarks import LIPS, MESH_INDICES
from syncnet_python.media import Frames
from syncnet_python.networks.syncnet_fcn import EMBEDDING_DIM, SyncNetFCN
from syncnet_python.tracking import Track

COUNT = 90


class MarkedPoints:
    """Stands in the landmarks' place: the box scaled onto a fixed face, and what it was asked."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.template = rng.uniform(0.2, 0.8, (len(MESH_INDICES), 2))
        self.template[list(EYES)] = [[0.2, 0.4], [0.4, 0.4], [0.6, 0.4], [0.8, 0.4]]
        self.template[LIPS] = np.array([0.45, 0.7]) + rng.uniform(0.0, 0.1, (40, 2))
        self.asked: list[int] = []

    def locate(
        self, frames: Sequence[NDArray[np.uint8]], boxes: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        self.asked.append(len(frames))
        corner, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
        return (corner + size * self.template).astype(np.float32)


@pytest.fixture(scope="module")
def frames() -> Frames:
    pictures = []
    for i in range(COUNT):
        opened = Mouth(0.5 + 0.5 * np.sin(i), 0.3)
        picture = render(opened, Pose(0, 0, 0, 100), 160, 160)
        frame = VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts, frame.time_base = i, Fraction(1, 25)
        pictures.append(frame)
    return Frames(pictures)


@pytest.fixture
def track() -> Track:
    rng = np.random.default_rng(1)
    boxes = np.array([30.0, 30, 130, 130]) + rng.normal(0, 1, (COUNT - 10, 4))
    return Track(np.arange(10, COUNT), boxes)


@pytest.fixture(scope="module")
def embedder() -> FcnEmbedder:
    torch.manual_seed(1)
    return FcnEmbedder(SyncNetFCN().state_dict(), MarkedPoints())  # type: ignore[arg-type]


def test_landmarks_are_asked_for_in_chunks(frames: Frames, track: Track) -> None:
    landmarker = MarkedPoints()
    points = locate(landmarker, frames, track)  # type: ignore[arg-type]
    assert points.shape == (COUNT - 10, len(MESH_INDICES), 2)
    assert sum(landmarker.asked) == COUNT - 10
    assert max(landmarker.asked) <= 64
    np.testing.assert_array_equal(points, landmarker.locate(frames[10:], track.boxes))


def test_visual_embeds_every_frame_of_the_track(
    embedder: FcnEmbedder, frames: Frames, track: Track
) -> None:
    embeddings = embedder.visual(frames, track)
    assert embeddings.shape == (COUNT - 10, EMBEDDING_DIM)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_visual_is_the_network_on_lip_shapes_and_crops(
    embedder: FcnEmbedder, frames: Frames, track: Track
) -> None:
    points = MarkedPoints().locate(frames[10:], track.boxes)
    lips, eyes = points[:, LIPS], points[:, EYES]
    crops = np.stack(
        [
            mouth.crop(frames.bgr(10 + i), transform)
            for i, transform in enumerate(mouth.crop_transforms(lips, eyes))
        ]
    )
    torch.manual_seed(1)
    network = SyncNetFCN().eval()
    with torch.inference_mode():
        expected = network.visual(
            torch.from_numpy(mouth.lip_shapes(lips, eyes))[None], torch.from_numpy(crops)[None]
        )
    np.testing.assert_allclose(
        embedder.visual(frames, track, points), expected[0].numpy(), atol=1e-4
    )


def test_sound_is_cut_or_filled_to_the_frames(embedder: FcnEmbedder) -> None:
    noise = np.random.default_rng(2).normal(0, 2000, 60 * 640).astype(np.int16)
    embeddings = embedder.audio(noise, 50)
    assert embeddings.shape == (50, EMBEDDING_DIM)
    np.testing.assert_array_equal(embeddings, embedder.audio(noise[: 50 * 640], 50))
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    short = embedder.audio(noise[: 40 * 640 - 100], 50)
    assert short.shape == (50, EMBEDDING_DIM)
    assert np.isfinite(embedder.audio(noise[:0], 50)).all()
