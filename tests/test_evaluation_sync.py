"""The bookkeeping of the sync figures, on embeddings whose truth is planted; and a real clip."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation import sync
from evaluation.samples import talking_clip
from evaluation.sync import Face, Listener
from syncnet_python import calibration
from syncnet_python.calibration import Scale

SCALE = Scale(0.3, 0.1, 0.2, 1.0, (0.2, 0.4), (0.3, 0.8))


class PlantedSound:
    """Embeds each frame's 640 samples by a fixed random projection: equal sound, equal vector."""

    def __init__(self) -> None:
        self.projection = np.random.default_rng(9).normal(0, 1, (640, 128))

    def audio(self, samples: NDArray[np.int16], num_frames: int) -> NDArray[np.float32]:
        padded = np.pad(samples, (0, max(0, num_frames * 640 - len(samples))))
        rows = padded[: num_frames * 640].reshape(num_frames, 640).astype(np.float64) + 1e-3
        vectors = rows @ self.projection
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def listener() -> Listener:
    return Listener(PlantedSound(), SCALE)


def planted_face(name: str, seed: int, frames: int = 75, leads: int = 0) -> Face:
    """A clip whose picture shows what its sound says `leads` frames before."""
    samples = np.random.default_rng(seed).normal(0, 3000, (frames + 40) * 640).astype(np.int16)
    embedded = PlantedSound().audio(samples, frames + 40)
    start = (20 + leads) * 640
    return Face(name, embedded[20 : 20 + frames], samples[start : start + frames * 640], 0.001)


@pytest.fixture(scope="module")
def faces() -> list[Face]:
    names = ["a.mkv", "b.mkv", "WDA_KatieHill_000.mkv"]
    clips = [planted_face(name, seed) for seed, name in enumerate(names)]
    return [*clips, planted_face("syncnet_example.avi", 7, 110, leads=3)]


def test_true_offsets_are_counted_with_their_sign(listener: Listener, faces: list[Face]) -> None:
    report = sync.whole_clips(listener, faces)
    assert report["right"]["share"] == 1.0
    assert [row["offset_frames"] for row in report["clips"]] == [0, 0, 0, 3]
    late = [planted_face("syncnet_example.avi", 7, 110, leads=-3)]
    assert sync.whole_clips(listener, late)["right"]["share"] == 0.0


def test_what_a_collection_states_is_counted_beside_what_is_seen(listener: Listener) -> None:
    report = sync.whole_clips(listener, [planted_face("grid_s34_bbaczs.mkv", 4, leads=-7)])
    assert report["right"]["share"] == 1.0
    assert report["right as stated"]["share"] == 0.0


def test_shifts_beyond_the_search_are_left_out(listener: Listener) -> None:
    late = [planted_face("grid_s34_bbaczs.mkv", 4, leads=-7)]
    report = sync.shifted_sound(listener, late)
    assert report["recovered"] == sync.share([True] * 5)
    assert report["by_shift"]["-12"]["count"] == 0


def test_shifts_of_the_sound_are_found_with_their_sign(
    listener: Listener, faces: list[Face]
) -> None:
    report = sync.shifted_sound(listener, faces)
    assert report["recovered"]["share"] == 1.0
    assert report["recovered"]["count"] == len(faces) * len(sync.SHIFTS)
    wrong = [planted_face("a.mkv", 1, leads=2)]  # said to be in sync, but is not
    assert sync.shifted_sound(listener, wrong)["recovered"]["share"] == 0.0


def test_own_sound_scores_higher_than_any_other(listener: Listener, faces: list[Face]) -> None:
    report = sync.own_against_other(listener, faces)
    assert report["higher"] == sync.share([True] * 12)
    confidence = report["confidence"]
    for strange in ("another's sound", "noise", "silence"):
        assert confidence[strange]["p95"] < confidence["own sound"]["p5"]


def test_windows_are_counted_where_clips_are_long_enough(
    listener: Listener, faces: list[Face]
) -> None:
    report = sync.windows(listener, faces)
    assert report["2 s"]["right"]["count"] == 3 * 1 + 2
    assert report["3 s"]["right"]["count"] == 4
    assert report["4 s"]["right"] == sync.share([True])
    assert report["3 s"]["auc of score"]["auc"] == 1.0
    assert report["4 s"]["auc of score"]["auc"] is None  # no other clip is as long


def test_share_gives_wilsons_interval() -> None:
    """Eight of ten: Wilson (1927) by hand."""
    assert sync.share([True] * 8 + [False] * 2) == {
        "share": 0.8,
        "interval": [0.4902, 0.9433],
        "count": 10,
    }
    assert sync.share([])["share"] is None


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [([2, 3], [0, 1], 1.0), ([0], [1], 0.0), ([1, 1], [1], 0.5), ([0, 2], [1], 0.5)],
)
def test_auc(positive: list[float], negative: list[float], expected: float) -> None:
    assert sync.auc(positive, negative) == expected


@pytest.mark.slow
@pytest.mark.shared
def test_bundled_networks_find_the_offset_of_real_recordings(shared: Path) -> None:
    looker = sync.Looker()
    listener = Listener(looker.embedder, calibration.load(looker.info.name))
    names = ("syncnet_example.avi", "vox_00086.mkv", "grid_s34_bbai3n.mkv", "grid_lbax4n_GRID.mkv")
    faces = [looker.look(shared / "data" / "sync_val" / name) for name in names]
    assert sync.whole_clips(listener, faces)["right"]["share"] == 1.0
    assert sync.shifted_sound(listener, faces)["recovered"]["share"] >= 0.95
    assert sync.own_against_other(listener, faces)["higher"]["share"] >= 0.95


@pytest.mark.slow
def test_bundled_networks_tell_a_talking_portrait_from_a_dubbed_one(tmp_path: Path) -> None:
    specs: dict[str, dict[str, Any]] = {
        "sync.mp4": {"offset_frames": 0},
        "leads.mp4": {"offset_frames": 6},
        "dubbed.mp4": {"dubbed": True},
    }
    for name, fields in specs.items():
        talking_clip(tmp_path / name, container="mp4-h264-aac", seed=3, **fields)
    looker = sync.Looker()
    listener = Listener(looker.embedder, calibration.load(looker.info.name))
    (tmp_path / "notes.txt").write_text("no recording")
    faces, failed = looker.look_at(tmp_path)
    assert [row["clip"] for row in failed] == ["notes.txt"]
    rows = {row["clip"]: row for row in sync.whole_clips(listener, faces)["clips"]}
    assert abs(rows["sync.mp4"]["offset_frames"]) <= 1
    assert abs(rows["leads.mp4"]["offset_frames"] - 6) <= 1
    assert rows["sync.mp4"]["score"] > rows["dubbed.mp4"]["score"] + 0.2
