"""Offsets over time, on embeddings that are smooth random paths: what they show is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from syncnet_python import offset, timeline
from syncnet_python.scale import Scale

Rows = NDArray[np.float32]

SCALE = Scale(
    confidence_mid=0.25,
    confidence_width=0.05,
    distance_low=1.0,
    distance_span=0.25,
    confidence_levels=(0.26, 0.32),
    distance_levels=(1.0, 1.05),
)


def paths(steps: int, seed: int) -> NDArray[np.float64]:
    """Smooth unit vectors, (10 * steps, 16): ten a frame, so that sound can lie between frames."""
    noise = np.random.default_rng(seed).normal(size=(10 * steps, 16))
    smooth = gaussian_filter1d(noise, 25.0, axis=0)
    return smooth / np.linalg.norm(smooth, axis=1, keepdims=True)


def table(leads: NDArray[np.floating], seed: int, noise: float = 0.05) -> Rows:
    """Distances of windows whose sound leads by so many frames each."""
    windows, rng = len(leads), np.random.default_rng(seed + 1)
    every = paths(windows + 40, seed)
    at = 10 * (np.arange(windows) + 20)
    pair = every[at], every[at + np.round(10 * leads).astype(int)]
    seen, heard = ((p + rng.normal(0, noise, p.shape)).astype(np.float32) for p in pair)
    return offset.distances(seen, heard, padding="valid")


def times(rows: Rows, start: float = 0.0) -> NDArray[np.float64]:
    return start + np.arange(len(rows)) / 25


@settings(deadline=None, max_examples=25)
@given(lead=st.integers(-80, 80), seed=st.integers(0, 1000))
def test_every_moment_holds_the_true_offset_in_its_band(lead: int, seed: int) -> None:
    rows = table(np.full(100, lead / 10), seed)
    found = timeline.moments(rows, times(rows, 3.0), SCALE)
    assert [moment.time_s for moment in found] == [3.48, 4.48, 5.48, 6.48]
    for moment in found:
        assert moment.offset is not None
        assert moment.low is not None
        assert moment.high is not None
        assert moment.low <= moment.offset <= moment.high
        assert moment.low - 0.1 <= lead / 10 <= moment.high + 0.1
        assert moment.high - moment.low <= timeline.WIDEST_BAND


@pytest.mark.parametrize("lead", [-0.9, 1.0])
def test_no_end_of_a_band_is_minus_nothing(lead: float) -> None:
    rows = table(np.full(60, lead), 7)
    ends = [str(end) for m in timeline.moments(rows, times(rows), SCALE) for end in (m.low, m.high)]
    assert "0.0" in ends
    assert "-0.0" not in ends


def test_unrelated_sound_has_no_offset_at_any_moment() -> None:
    rng = np.random.default_rng(4)
    seen, heard = (rng.normal(size=(100, 16)).astype(np.float32) / 4 for _ in range(2))
    rows = offset.distances(seen, heard, padding="valid")
    found = timeline.moments(rows, times(rows), SCALE)
    assert len(found) == 4
    assert all(m.offset is m.low is m.high is None and m.confidence >= 0 for m in found)
    assert timeline.changes(rows, times(rows), SCALE) == ()


def test_drift_shows_in_the_moments_and_is_no_change() -> None:
    rows = table(np.linspace(-1.25, 1.25, 250), seed=3)
    offsets = [m.offset for m in timeline.moments(rows, times(rows), SCALE) if m.offset is not None]
    assert len(offsets) == 10
    assert np.polyfit(np.arange(10), offsets, 1)[0] == pytest.approx(0.25, abs=0.05)
    assert timeline.changes(rows, times(rows), SCALE) == ()


@settings(deadline=None, max_examples=25)
@given(
    at=st.integers(30, 120),
    jump=st.sampled_from([-10, -6, 6, 10]),
    lead=st.integers(-3, 3),
    seed=st.integers(0, 1000),
)
def test_a_jump_is_found_with_its_time_and_size(at: int, jump: int, lead: int, seed: int) -> None:
    leads = np.full(150, lead)
    leads[at:] += jump
    rows = table(leads, seed)
    (change,) = timeline.changes(rows, times(rows, 1.0), SCALE)
    assert change.time_s == pytest.approx(1.0 + at / 25, abs=0.6)  # a jump cuts sound away
    assert change.before == pytest.approx(lead, abs=0.5)
    assert change.after == pytest.approx(lead + jump, abs=0.5)


def test_several_jumps_are_found_in_time_order() -> None:
    leads = np.repeat([0, 5, -3], 60)
    rows = table(leads, seed=9)
    found = timeline.changes(rows, times(rows), SCALE)
    assert [c.time_s for c in found] == pytest.approx([2.4, 4.8], abs=0.4)
    assert [c.before for c in found] == pytest.approx([0, 5], abs=0.5)
    assert [c.after for c in found] == pytest.approx([5, -3], abs=0.5)


@settings(deadline=None, max_examples=25)
@given(lead=st.integers(-6, 6), windows=st.integers(1, 200), seed=st.integers(0, 1000))
def test_one_offset_has_no_change(lead: int, windows: int, seed: int) -> None:
    rows = table(np.full(windows, lead), seed)
    assert timeline.changes(rows, times(rows), SCALE) == ()


@pytest.mark.parametrize(("windows", "moments"), [(1, 1), (30, 1), (38, 2), (75, 3), (100, 4)])
def test_there_is_a_moment_a_second(windows: int, moments: int) -> None:
    rows = table(np.zeros(windows), seed=5)
    found = timeline.moments(rows, times(rows), SCALE)
    assert len(found) == moments
    assert all(0 <= m.time_s <= windows / 25 for m in found)


def test_lengths_in_place_of_missing_pairs_say_nothing() -> None:
    every = paths(100, 6)[::10].astype(np.float32)
    seen, heard = every[:60], every[4:64]
    zero, valid = (offset.distances(seen, heard, padding=p) for p in ("zero", "valid"))
    assert timeline.moments(zero, times(zero), SCALE) == timeline.moments(
        valid, times(valid), SCALE
    )
