from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import parity
import pytest
from numpy.typing import NDArray
from parity.formula import clip

from syncnet_python import offset
from syncnet_python.audio_features import mfcc
from syncnet_python.embedding import Embeddings, SyncNetEmbedder, WindowProtocol, count_windows
from syncnet_python.errors import TrackTooShort, WeightsCorrupt
from syncnet_python.networks.precision import Precision

Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def exact() -> SyncNetEmbedder:
    return SyncNetEmbedder(parity.syncnet_state(), precision="float32")


def assert_parity(
    result: Embeddings, expected: Arrays, figures: dict[str, Any], step: int, tolerance: float
) -> None:
    """Distances and figures within the tolerance, relative; the offset exactly."""
    assert len(result.visual) == len(result.audio) == figures["windows"]
    assert parity.relative_error(result.visual[::step], expected["visual"]) < tolerance
    assert parity.relative_error(result.audio[::step], expected["audio"]) < tolerance
    table = offset.distances(result.visual, result.audio)
    np.testing.assert_allclose(table, expected["dist"], rtol=tolerance)
    found = offset.read(table)
    assert found.offset_frames == figures["offset_frames"]
    assert found.min_dist == pytest.approx(figures["min_dist"], rel=tolerance)
    np.testing.assert_allclose(found.curve.distances[::-1], expected["mean_dist"], rtol=tolerance)
    # Confidences are differences of distances, so they err by as much as those do.
    slack = tolerance * figures["min_dist"]
    assert found.confidence == pytest.approx(figures["confidence"], abs=slack)
    framewise = expected["framewise_conf"]
    np.testing.assert_allclose(found.framewise_confidence, framewise, atol=slack)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("auto", 1e-2)])
def test_formula_clip_equals_the_originals(precision: Precision, tolerance: float) -> None:
    embedder = SyncNetEmbedder(parity.syncnet_state(), precision=precision)
    figures = parity.record("syncnet_formula")
    result = embedder.embed(*clip(), protocol="reference")
    assert result.protocol == "reference"
    expected = parity.numbers("syncnet_formula")
    assert_parity(result, expected, figures, figures["row_step"], tolerance)


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("auto", 1e-2)])
def test_example_clip_equals_the_originals(
    shared: Path, precision: Precision, tolerance: float
) -> None:
    path = str(shared / "data/sync_val/syncnet_example.avi")
    with av.open(path) as container:
        video = [f.to_ndarray(format="bgr24") for f in container.decode(video=0)]
    with av.open(path) as container:
        audio = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    with np.load(shared / "parity/syncnet_example.npz") as stored:
        expected: Arrays = dict(stored)
    assert np.array_equal(video[0], expected["frame0"])
    assert np.array_equal(audio[: len(expected["audio_first"])], expected["audio_first"])
    assert parity.relative_error(mfcc(audio), expected["mfcc"]) < 1e-5
    embedder = SyncNetEmbedder(parity.syncnet_state(), precision=precision)
    figures = {
        "windows": 312,
        "offset_frames": 15,
        "min_dist": 133.39353942871094,
        "confidence": 2.1334228515625,
    }
    result = embedder.embed([np.asarray(f, np.uint8) for f in video], audio, "reference")
    assert_parity(result, expected, figures, 16, tolerance)


@pytest.mark.parametrize(
    ("frames", "samples", "protocol", "windows"),
    [
        (60, 60 * 640, "reference", 55),
        (60, 60 * 640, "complete", 56),
        (60, 50 * 640 + 639, "complete", 46),
        (50, 60 * 640, "complete", 46),
        (5, 5 * 640, "complete", 1),
        (5, 5 * 640, "reference", 0),
        (0, 0, "complete", -4),
    ],
)
def test_windows(frames: int, samples: int, protocol: WindowProtocol, windows: int) -> None:
    assert count_windows(frames, samples, protocol) == windows


def test_the_complete_protocol_keeps_the_last_window(exact: SyncNetEmbedder) -> None:
    video, audio = clip(8)
    reference = exact.embed(video, audio, "reference")
    complete = exact.embed(video, audio)
    assert (len(reference.visual), len(complete.visual)) == (3, 4)
    assert parity.relative_error(complete.visual[:3], reference.visual) < 1e-5
    assert parity.relative_error(complete.audio[:3], reference.audio) < 1e-5
    # Eight frames of sound have 31 feature steps, and the last window reads four times eight.
    features = mfcc(audio)
    assert features.shape == (13, 31)
    repeated = np.concatenate([features, features[:, -1:]], axis=1)
    assert np.array_equal(complete.audio, exact.audio(repeated, 4))


def test_windows_do_not_depend_on_their_batch(exact: SyncNetEmbedder) -> None:
    video, _ = clip(14)

    def made_on_the_way() -> Iterator[NDArray[np.uint8]]:
        yield from video

    whole = exact.visual(made_on_the_way(), 10)
    alone = exact.visual(video[8:13], 1)
    assert whole.shape == (10, 1024)
    assert parity.relative_error(alone[0], whole[8]) < 1e-5


def test_crops_that_end_early_are_no_embeddings(exact: SyncNetEmbedder) -> None:
    with pytest.raises(ValueError, match="the crops end"):
        exact.visual(clip(5)[0], 2)


def test_sound_is_batched_without_a_seam(exact: SyncNetEmbedder) -> None:
    features = np.random.default_rng(1).normal(size=(13, 4 * 70))
    whole = exact.audio(features, 66)
    alone = exact.audio(features[:, 4 * 64 : 4 * 64 + 20], 1)
    assert parity.relative_error(alone[0], whole[64]) < 1e-5


@pytest.mark.parametrize(("frames", "protocol"), [(4, "complete"), (5, "reference")])
def test_too_few_frames(exact: SyncNetEmbedder, frames: int, protocol: WindowProtocol) -> None:
    with pytest.raises(TrackTooShort, match="no window"):
        exact.embed(*clip(frames), protocol=protocol)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(WeightsCorrupt):
        SyncNetEmbedder(parity.s3fd_state())
