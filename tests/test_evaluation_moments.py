import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.moments import JUMPS, Face, joined, leading
from syncnet_python.results import SAMPLES_PER_FRAME


def face(frames: int, name: str = "a", truth: float | None = 0.0, group: str = "g") -> Face:
    """Picture row i shows frame i; sound sample j holds j."""
    seen = np.arange(frames, dtype=np.float32)[:, None]
    return Face(name, group, truth, seen, np.arange(frames * SAMPLES_PER_FRAME).astype(np.int32))


@given(tenths=st.integers(-100, 100), frames=st.integers(20, 80))
def test_the_sound_leads_by_as_much_as_asked(tenths: int, frames: int) -> None:
    visual, samples = leading(face(frames), tenths / 10)
    assert len(samples) == len(visual) * SAMPLES_PER_FRAME
    lead = samples[0] - visual[0, 0] * SAMPLES_PER_FRAME
    assert lead == pytest.approx(tenths / 10 * SAMPLES_PER_FRAME)


def test_only_faces_of_one_group_and_offset_are_joined() -> None:
    faces = [face(30, f"{group}{i}", truth, group) for group in "xy" for i in range(3)
             for truth in (0.0, -7.0)]  # fmt: skip
    for row in joined([*faces, face(30, "unknown", None)], np.random.default_rng(0)):
        names = row.name.split("+")
        assert len(names) in (2, 3)
        assert {name[0] for name in names} == {row.group}
        assert len(row.visual) == 30 * len(names) == len(row.samples) // SAMPLES_PER_FRAME
    assert set(JUMPS) == {6, -6}


def test_there_is_nothing_to_join_without_groups() -> None:
    assert (
        joined([face(30, "a", 0.0, "a"), face(30, "b", 0.0, "b")], np.random.default_rng(0)) == []
    )
