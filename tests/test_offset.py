import numpy as np
import parity
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch.nn import functional as F

from syncnet_python.offset import (
    MAX_SHIFT,
    OffsetEstimate,
    Padding,
    distances,
    estimate,
    read,
    subframe,
)
from syncnet_python.results import OffsetCurve

Rows = NDArray[np.float32]
PADDINGS: tuple[Padding, ...] = ("zero", "valid")


def embeddings(windows: int, seed: int, features: int = 64) -> Rows:
    return np.random.default_rng(seed).normal(size=(windows, features)).astype(np.float32)


def paired(windows: int, late: int, seed: int) -> tuple[Rows, Rows]:
    """Picture and sound embeddings of which the sound comes `late` frames after the picture."""
    both = embeddings(windows + abs(late), seed)
    noise = 0.1 * embeddings(windows, seed + 1)
    return both[max(late, 0) :][:windows], both[max(-late, 0) :][:windows] + noise


def test_figures_equal_the_originals() -> None:
    expected, figures = parity.numbers("syncnet_formula"), parity.record("syncnet_formula")
    result = read(expected["dist"])
    assert result.offset_frames == figures["offset_frames"]
    assert result.min_dist == pytest.approx(figures["min_dist"], rel=1e-6)
    assert result.confidence == pytest.approx(figures["confidence"], rel=1e-5)
    assert result.curve.offsets == tuple(range(-15, 16))
    np.testing.assert_allclose(result.curve.distances, expected["mean_dist"][::-1], rtol=1e-6)
    framewise = expected["framewise_conf"]  # differences of float32 numbers near 117
    np.testing.assert_allclose(result.framewise_confidence, framewise, atol=1e-4)


@pytest.mark.parametrize("windows", [1, 4, 15, 16, 40])
def test_distances_equal_torchs(windows: int) -> None:
    visual, audio = embeddings(windows, 1), embeddings(windows, 2)
    padded = F.pad(torch.from_numpy(audio), (0, 0, MAX_SHIFT, MAX_SHIFT))
    pictures = torch.from_numpy(visual)
    expected = [
        F.pairwise_distance(pictures[[i]].repeat(31, 1), padded[i : i + 31]).numpy()
        for i in range(windows)
    ]
    np.testing.assert_allclose(distances(visual, audio), np.stack(expected), rtol=1e-5)


@pytest.mark.parametrize("padding", PADDINGS)
@settings(deadline=None)
@given(late=st.integers(-10, 10), seed=st.integers(0, 1000))
def test_late_sound_has_a_negative_offset(padding: Padding, late: int, seed: int) -> None:
    result = estimate(*paired(40, late, seed), padding=padding)
    assert result.offset_frames == -late
    assert result.confidence > 0
    assert result.min_dist == min(result.curve.distances)
    best = result.curve.offsets.index(-late)
    assert result.curve.distances[best] == result.min_dist


@pytest.mark.parametrize("padding", PADDINGS)
@settings(deadline=None)
@given(k=st.integers(-6, 6))
def test_delaying_the_sound_lowers_the_offset(padding: Padding, k: int) -> None:
    visual, audio = paired(60, 4, seed=7)
    visual, audio = visual[10:-10], audio[10 - k : len(audio) - 10 - k]
    assert estimate(visual, audio, padding=padding).offset_frames == -4 - k


def test_pairs_that_do_not_exist() -> None:
    visual, audio = embeddings(20, 3), embeddings(20, 4)
    zero, valid = (distances(visual, audio, padding=p) for p in PADDINGS)
    window, column = np.mgrid[0:20, 0:31]
    missing = (window + column - MAX_SHIFT < 0) | (window + column - MAX_SHIFT >= 20)
    assert np.array_equal(np.isnan(valid), missing)
    assert np.array_equal(valid[~missing], zero[~missing])
    own_length = np.broadcast_to(np.linalg.norm(visual, axis=1)[:, None], (20, 31))
    np.testing.assert_allclose(zero[missing], own_length[missing], rtol=1e-5)
    means = read(valid).curve.distances
    assert means[0] == pytest.approx(float(valid[:5, 30].mean()), rel=1e-6)


@pytest.mark.parametrize("windows", [1, 2, 9, 15])
def test_a_short_clip_has_a_shorter_curve(windows: int) -> None:
    result = estimate(embeddings(windows, 5), embeddings(windows, 6), padding="valid")
    reach = windows - 1
    assert result.curve.offsets == tuple(range(-reach, reach + 1))
    assert np.isfinite(result.curve.distances).all()
    assert result.framewise_confidence.shape == (windows,)
    assert np.isfinite(result.framewise_confidence).all()


def test_windows_without_a_partner_repeat_their_neighbour() -> None:
    result = estimate(*paired(40, 5, seed=8), padding="valid")
    assert result.offset_frames == -5
    framewise = result.framewise_confidence
    assert np.isfinite(framewise).all()
    assert np.all(framewise[-5:] == framewise[-5])
    assert framewise.min() > 0.5 * framewise.max()


def test_framewise_confidence_falls_where_sound_is_exchanged() -> None:
    visual, audio = paired(100, 0, seed=9)
    audio[40:70] = embeddings(30, 10)
    framewise = estimate(visual, audio).framewise_confidence
    assert framewise[45:65].max() < 0.5 < framewise[10:35].min()


def test_at_a_tie_the_greater_offset_wins() -> None:
    result: OffsetEstimate = read(np.ones((12, 31), np.float32))
    assert (result.offset_frames, result.confidence) == (15, 0.0)


@settings(deadline=None)
@given(lead=st.integers(-80, 80), seed=st.integers(0, 1000))
def test_sound_between_two_frames_is_found_between_them(lead: int, seed: int) -> None:
    """Embeddings follow smooth paths, ten steps a frame; the sound leads by tenths of a frame."""
    noise = np.random.default_rng(seed).normal(size=(1000, 64))
    paths = gaussian_filter1d(noise, 20.0, axis=0).astype(np.float32)
    seen = 10 * np.arange(20, 80)
    found = estimate(paths[seen], paths[seen + lead], padding="valid")
    assert subframe(found.curve) == pytest.approx(lead / 10, abs=0.2)
    assert abs(subframe(found.curve) - found.offset_frames) <= 0.5


def test_a_minimum_without_neighbours_stays_where_it_is() -> None:
    falling = tuple(float(-i) for i in range(5))
    offsets = (-2, -1, 0, 1, 2)
    assert subframe(OffsetCurve(offsets, falling)) == 2.0
    assert subframe(OffsetCurve(offsets, falling[::-1])) == -2.0
    assert subframe(OffsetCurve(offsets, (1.0,) * 5)) == 2.0
    assert subframe(OffsetCurve((0,), (1.0,))) == 0.0


def test_the_middle_is_never_minus_nothing() -> None:
    found = subframe(OffsetCurve((-1, 0, 1), (2.0, 1.0, 2.01)))  # hardly below 0
    assert str(found) == "0.0"


def test_what_does_not_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="do not pair"):
        distances(embeddings(3, 0), embeddings(4, 0))
    with pytest.raises(ValueError, match="no window"):
        read(np.empty((0, 31), np.float32))


@pytest.mark.parametrize("padding", PADDINGS)
@given(late=st.integers(-24, 24), reach=st.integers(1, 30))
def test_a_search_finds_what_is_within_its_reach(padding: Padding, late: int, reach: int) -> None:
    visual, audio = paired(60, late, seed=11)
    found = estimate(visual, audio, max_shift=reach, padding=padding)
    assert found.curve.offsets == tuple(range(-reach, reach + 1))
    assert (found.offset_frames == -late) == (abs(late) <= reach)


@pytest.mark.parametrize("padding", PADDINGS)
def test_a_narrower_search_is_the_middle_of_a_wider_one(padding: Padding) -> None:
    visual, audio = embeddings(40, 12), embeddings(40, 13)
    wide = distances(visual, audio, padding=padding)
    narrow = distances(visual, audio, max_shift=6, padding=padding)
    np.testing.assert_array_equal(narrow, wide[:, 9:22])
