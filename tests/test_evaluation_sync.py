"""The bookkeeping of the sync figures, on embeddings whose truth is planted; and a real clip."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation import inputs, report, sync, sync_figures, sync_trials
from evaluation.inputs import Item
from evaluation.journal import Journal
from evaluation.samples import talking_clip
from evaluation.sync_figures import Measured, Recorded, seen_truth, stated_truth
from evaluation.sync_report import outcome
from evaluation.sync_trials import Seen
from syncnet_python.assembly import Networks
from syncnet_python.offset import Padding
from syncnet_python.scale import Scale

LISTS = Path(__file__).resolve().parents[1] / "evaluation" / "lists"
FOUND: dict[str, Any] = {
    "offset_frames": 0,
    "subframe_offset": 0.2,
    "confidence": 0.4,
    "min_dist": 0.9,
    "score": 0.8,
    "doubts": [],
    "turn_deg": -12.0,
    "ms_per_frame": 1.0,
}


class PlantedSound:
    """Embeds each frame's 640 samples by a fixed random projection: equal sound, equal vector.

    span: frames that a vector covers, less one.
    """

    scale = Scale(0.3, 0.1, 0.2, 1.0, (0.2, 0.4), (0.3, 0.8))
    padding: Padding = "valid"

    def __init__(self, span: int = 0) -> None:
        self.span = span
        self.projection = np.random.default_rng(9).normal(0, 1, (640, 128))

    def audio(self, samples: NDArray[np.int16], num_frames: int) -> NDArray[np.float32]:
        padded = np.pad(samples, (0, max(0, num_frames * 640 - len(samples))))
        rows = padded[: num_frames * 640].reshape(num_frames, 640).astype(np.float64) + 1e-3
        vectors = rows @ self.projection
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(unit[: num_frames - self.span], np.float32)


def planted(
    name: str, seed: int, frames: int = 75, leads: int = 0, span: int = 0, **truth: Any
) -> Seen:
    """A recording whose picture shows what its sound says `leads` frames before."""
    samples = np.random.default_rng(seed).normal(0, 3000, (frames + 40) * 640).astype(np.int16)
    embedded = PlantedSound().audio(samples, frames + 40)
    start = (20 + leads) * 640
    item = Item(Path(name), name, source="made", group=name, **truth)
    visual = embedded[20 : 20 + frames - span]
    return Seen(item, visual, samples[start : start + frames * 640], frames)


def measured(*seen: Seen, found: Mapping[str, Any] = FOUND) -> Measured:
    return Measured(PlantedSound(), [Recorded(one, "", False, found) for one in seen])


@pytest.fixture(scope="module")
def network() -> PlantedSound:
    return PlantedSound()


@pytest.mark.parametrize("leads", [-3, 0, 5])
def test_windows_find_the_offset_with_its_sign(network: PlantedSound, leads: int) -> None:
    trials = sync_trials.own(network, planted("a", 1, leads=leads), 50)
    assert [trial.first for trial in trials] == [0, 10, 20]
    assert {trial.found for trial in trials} == {leads}


def test_windows_of_a_network_that_sees_several_frames_at_once() -> None:
    network = PlantedSound(span=4)
    seen = planted("a", 1, leads=2, span=4)
    assert seen.span == 4
    assert len(seen.picture(10, 50)) == 46
    assert {trial.found for trial in sync_trials.own(network, seen, 50)} == {2}


def test_shifted_sound_leads_by_as_much_and_never_less_than_five(network: PlantedSound) -> None:
    trials = sync_trials.shifted(network, planted("a", 1), 50)
    assert len(trials) == 6
    for trial in trials:
        assert trial.found == trial.by
        assert 5 <= abs(trial.by) <= 15
        assert trial.error(0) == 0
        assert trial.near > 1  # nothing matches where it should


def test_sound_known_to_be_late_is_put_in_its_place(network: PlantedSound) -> None:
    late = planted("late", 2, leads=-7, offset=-7.0, stated=0.0)
    assert {t.found for t in sync_trials.own(network, late, 50)} == {-7}
    assert {t.found for t in sync_trials.in_place(network, late, 50)} == {0}
    for trial in sync_trials.shifted(network, late, 50):
        assert trial.found == trial.by - 7
        assert trial.error(-7) == 0


def test_strangers_are_of_other_groups_and_match_nothing(network: PlantedSound) -> None:
    seen = [planted(name, seed) for seed, name in enumerate("abc")]
    trials = sync_trials.strangers(network, seen[0], seen, 50)
    assert len(trials) == 6
    assert min(trial.near for trial in trials) > 1
    kin = Seen(seen[0].item, seen[1].visual, seen[1].samples, seen[1].frames)
    assert sync_trials.strangers(network, seen[0], [seen[0], kin], 50) == []


def test_draws_do_not_depend_on_what_else_is_measured(network: PlantedSound) -> None:
    one = planted("a", 1)
    first, second = (
        [(t.first, t.by) for t in sync_trials.shifted(network, one, 50)] for _ in range(2)
    )
    assert first == second


def test_what_a_collection_states_is_counted_beside_what_is_seen(network: PlantedSound) -> None:
    late = planted("late", 2, leads=-7, offset=-7.0, stated=0.0)
    good = planted("good", 3)
    trials = measured(late, good).own(2)
    stated, seen = (sync_figures.accuracy(trials, t) for t in (stated_truth, seen_truth))
    assert stated is not None
    assert seen is not None
    assert (stated.value, seen.value) == (0.5, 1.0)
    assert stated.count == 6


def test_tolerance_is_the_items_own() -> None:
    unsure = planted("unsure", 2, leads=3, tolerance=3.0)
    sure = planted("sure", 2, leads=3)
    rights = [sync_figures.accuracy(measured(s).own(2), seen_truth) for s in (unsure, sure)]
    assert [right and right.value for right in rights] == [1.0, 0.0]


def test_what_a_disturbance_costs_is_counted_on_the_same_recordings() -> None:
    before = measured(planted("a", 1), planted("b", 2), planted("gone", 3))
    after = measured(planted("a", 1), planted("b", 2, leads=6))
    lost = sync_figures.lost(before, after, 2)
    assert lost is not None
    assert lost.value == 0.5
    assert lost.count == 2


def test_nothing_is_lost_on_windows_that_no_recording_holds() -> None:
    short = measured(planted("a", 1, frames=60))
    assert sync_figures.lost(short, short, 4) is None


def test_a_folder_of_which_nothing_could_be_measured_is_a_page_too(network: PlantedSound) -> None:
    found = outcome([("planted", network)], {"planted": []}, lambda done, total, name: None)
    run = report.Run("sync", "now", "command", (), {})
    assert json.loads(report.as_json(run, found))["figures"]["planted"]["ms per frame"] is None
    assert "<h1>" in report.as_html(run, found)


class RisingSound(PlantedSound):
    """Sound that rises through the recording: a frame's mean says when it was."""

    def audio(self, samples: NDArray[np.int16], num_frames: int) -> NDArray[np.float32]:
        means = samples[: num_frames * 640].reshape(num_frames, 640).mean(axis=1)
        angle = means / 2000
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def test_shifts_between_frames_are_measured_from_what_was_there() -> None:
    network = RisingSound()
    samples = (np.arange(75 * 640) / 8).astype(np.int16)
    seen = Seen(Item(Path("a"), "a"), network.audio(samples, 75), samples, 75)
    pairs = sync_trials.between_frames(network, seen)
    assert [true for _, true in pairs] == list(sync_trials.FRACTIONS)
    assert max(abs(found - true) for found, true in pairs) < 0.3
    assert sync_trials.between_frames(network, planted("short", 1, frames=26)) == []


def test_inconclusive_and_turned_recordings_are_counted(network: PlantedSound) -> None:
    found = {**FOUND, "doubts": ["MUSIC"], "turn_deg": 25.0}
    recorded = [
        Recorded(planted("a", 1), "", False, FOUND),
        Recorded(planted("b", 2, leads=4), "", False, found),
    ]
    figures = sync_figures.of_network(network, recorded, lambda *_: None)
    assert figures["inconclusive"].value == 0.5
    by_turn = {name: figure and figure.value for name, figure in figures["by turn"].items()}
    assert by_turn == {
        "0 to 10 degrees": None,
        "10 to 20 degrees": 1.0,
        "20 to 30 degrees": 0.0,
        "30 to 90 degrees": None,
    }


@pytest.mark.slow
def test_everything_becomes_a_page_and_plain_json(network: PlantedSound) -> None:
    names = "abcd"
    recorded = [Recorded(planted(n, i, 110), "", False, FOUND) for i, n in enumerate(names)]
    recorded += [
        Recorded(planted(n, i, 110), "babble 10 dB", True, FOUND) for i, n in enumerate(names)
    ]
    answer = outcome([("planted", network)], {"planted": recorded}, lambda *_: None)
    told = answer.figures["planted"]["told"]["4 s"]
    assert told["another's"]["scored"]["auc"]["value"] == 1.0
    assert told["shifted"]["near"]["value"] == 1.0
    disturbed = answer.figures["planted"]["disturbed"]
    assert disturbed["babble 10 dB"]["lost at 2 s"]["value"] == 0.0
    assert len(answer.rows) == 8
    lines = {line.name: line.figure for line in answer.headlines}
    assert lines["planted: offset within ±1, 4 s windows"].value == 1.0  # type: ignore[union-attr]
    items = tuple(one.item for one in recorded)
    made = report.Run("sync", "2000-01-01", "x", items, {})
    assert json.loads(report.as_json(made, answer))["figures"]["planted"]["windows"]["4 s"]
    page = report.as_html(made, answer)
    assert "babble 10 dB" in page
    assert "accuracy" not in page.lower() or "<svg" in page


def test_the_list_of_held_out_recordings_splits_speakers_from_training() -> None:
    split = Path(sync.__file__).parents[1] / "training" / "splits" / "sync.csv"
    with (LISTS / "sync_val.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    with split.open(newline="") as file:
        trained = [row for row in csv.DictReader(file) if row["split"] in ("train", "held")]
    assert not {row["file"] for row in listed} & {row["file"] for row in trained}
    assert not {row["group"] for row in listed} & {row["speaker"] for row in trained}
    late = {row["file"]: row for row in listed if row["stated"]}
    assert {float(row["offset"]) for row in late.values()} == {-7.0, -9.0}
    assert all(row["note"] for row in late.values())


@pytest.mark.shared
def test_the_list_names_recordings_that_are_there(shared: Path) -> None:
    items = inputs.read(LISTS / "sync_val.csv", shared / "data" / "sync_val")
    assert len(items) == 46
    assert all(item.real for item in items)


def test_an_unknown_condition_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no condition is called 'fog'"):
        sync.evaluate([], Networks("bundled"), lambda key: Journal(tmp_path, key),
                      conditions=["fog"])  # fmt: skip


@pytest.mark.slow
def test_bundled_networks_tell_a_talking_portrait_and_remember_it(tmp_path: Path) -> None:
    media, kept = tmp_path / "media", tmp_path / "journal"
    media.mkdir()
    for name, fields in {"sync": {}, "leads": {"offset_frames": 6}}.items():
        talking_clip(media / f"{name}.mp4", container="mp4-h264-aac", seed=3, **fields)  # type: ignore[arg-type]
    (media / "notes.mp4").write_text("no recording")
    items = inputs.read(media)
    told: list[str] = []

    def evaluate() -> report.Outcome:
        return sync.evaluate(
            items,
            Networks("bundled"),
            lambda key: Journal(kept, key),
            lambda done, total, name: told.append(name),
            conditions=["white noise 10 dB"],
        )

    first = evaluate()
    rows = {(row["file"], row["condition"]): row for row in first.rows}
    assert abs(rows["sync.mp4", ""]["offset_frames"]) <= 1
    assert abs(rows["leads.mp4", ""]["offset_frames"] - 6) <= 1
    assert abs(rows["leads.mp4", "white noise 10 dB"]["offset_frames"] - 6) <= 2
    assert {failure.file for failure in first.failures} == {
        "notes.mp4",
        "notes.mp4 (white noise 10 dB)",
    }
    names = {info.name for info in first.networks}
    assert names == {"face_finder", "face_landmarks", "syncnet_fcn"}
    journal = (kept / "results.jsonl").read_text()
    again = evaluate()
    assert (kept / "results.jsonl").read_text() == journal  # nothing was measured twice
    assert again.figures == first.figures
