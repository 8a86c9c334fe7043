"""What recordings and trials say of a sync network, in numbers.

Offsets are counted twice where a collection states another one than can be seen: "as stated"
first, then "as seen". Shares and areas come with 95% intervals over groups.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from evaluation import statistics, sync_trials
from evaluation.detection import Scored
from evaluation.inputs import Item
from evaluation.journal import Progress
from evaluation.statistics import Figure
from evaluation.sync_trials import Embedder, Seen, Trial
from syncnet_python.results import FRAME_RATE

LENGTHS_S = tuple(range(1, 11))
COMPARED_S = (2, 3, 4)
"""Window lengths at which own sound is told from other sound."""

DISTURBED_S = (2, 4)
"""Window lengths at which disturbances are measured."""

TURNS = (0.0, 10.0, 20.0, 30.0, 90.0)
"""Degrees between which faces are counted by how far they are turned."""

Truth = Callable[[Item], float]


def seen_truth(item: Item) -> float:
    return item.offset


def stated_truth(item: Item) -> float:
    return item.offset if item.stated is None else item.stated


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One recording, perhaps disturbed. condition: of the disturbance, or of the list; found: of
    `sync.Look`, plain JSON."""

    seen: Seen
    condition: str
    disturbed: bool
    found: Mapping[str, Any]

    @property
    def item(self) -> Item:
        return self.seen.item

    def is_right(self, truth: Truth) -> bool:
        error = self.found["offset_frames"] - truth(self.item)
        return bool(abs(error) <= self.item.tolerance)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """All trials of one network on one set of recordings that are genuine. recorded: as they
    were, or under one condition."""

    network: Embedder
    recorded: Sequence[Recorded]
    _own: dict[int, list[Trial]] = field(default_factory=dict)

    @property
    def seen(self) -> list[Seen]:
        return [one.seen for one in self.recorded]

    def own(self, seconds: int) -> list[Trial]:
        if seconds not in self._own:
            count = seconds * FRAME_RATE
            self._own[seconds] = [t for s in self.seen for t in sync_trials.own(
                self.network, s, count)]  # fmt: skip
        return self._own[seconds]

    def in_place(self, seconds: int) -> list[Trial]:
        """Own sound, put in its place where it is known to be out of it."""
        moved = [s for s in self.seen if abs(s.item.offset) > s.item.tolerance]
        kept = [t for t in self.own(seconds) if t.seen not in moved]
        for seen in moved:
            kept += sync_trials.in_place(self.network, seen, seconds * FRAME_RATE)
        return kept

    def strangers(self, seconds: int, each: int = sync_trials.STRANGERS) -> list[Trial]:
        count, seen = seconds * FRAME_RATE, self.seen
        return [t for s in seen for t in sync_trials.strangers(
            self.network, s, seen, count, each)]  # fmt: skip

    def shifted(self, seconds: int, each: int = sync_trials.SHIFTED) -> list[Trial]:
        count = seconds * FRAME_RATE
        return [t for s in self.seen for t in sync_trials.shifted(
            self.network, s, count, each)]  # fmt: skip


def accuracy(trials: Sequence[Trial], truth: Truth) -> Figure | None:
    """Share of windows whose offset is found, within the item's tolerance."""
    items = [trial.seen.item for trial in trials]
    rights = [
        abs(trial.error(truth(item))) <= item.tolerance
        for trial, item in zip(trials, items, strict=True)
    ]
    return statistics.share(rights, [item.group for item in items])


def each_alike(trials: Sequence[Trial], truth: Truth) -> Figure | None:
    """As `accuracy`, with every recording weighing the same however long it is."""
    shares: dict[str, list[bool]] = {}
    groups = {trial.seen.item.name: trial.seen.item.group for trial in trials}
    for trial in trials:
        item = trial.seen.item
        right = abs(trial.error(truth(item))) <= item.tolerance
        shares.setdefault(item.name, []).append(right)
    means = [float(np.mean(rights)) for rights in shares.values()]
    return statistics.mean_with_interval(means, [groups[name] for name in shares])


def told(own: Sequence[Trial], other: Sequence[Trial], *, near: bool = False) -> Scored:
    """Own sound as genuine, other sound as fake; near: by the distance near no offset, negated,
    instead of the score."""
    trials = [*own, *other]
    values = np.array([-t.near if near else t.score for t in trials], np.float64)
    items = [t.seen.item for t in trials]
    groups, sources = [i.group for i in items], [i.source for i in items]
    genuine = np.arange(len(trials)) < len(own)
    return Scored(values, genuine, groups, sources, [""] * len(trials))


def area(scored: Scored) -> Figure | None:
    return statistics.with_interval(statistics.auc, scored.scores, scored.genuine, scored.groups)


def between_frames(measured: Measured) -> dict[str, Any]:
    """Mean absolute error of the sub-frame offset, frames: of its change where the sound is
    shifted by parts of a frame, and of itself where the true offset is known to the frame."""
    changes: list[float] = []
    groups: list[str] = []
    for one in measured.recorded:
        pairs = sync_trials.between_frames(measured.network, one.seen)
        changes += [abs(found - true) for found, true in pairs]
        groups += [one.item.group] * len(pairs)
    known = [one for one in measured.recorded if one.item.tolerance <= 1]
    errors = [abs(one.found["subframe_offset"] - one.item.offset) for one in known]
    return {
        "of a shift": statistics.mean_with_interval(changes, groups),
        "of the offset": statistics.mean_with_interval(errors, [o.item.group for o in known]),
    }


def lost(before: Measured, after: Measured, seconds: int) -> Figure | None:
    """Share of windows found as they were less that of the same recordings under a condition; None
    where no recording has such windows both times."""
    tallies: list[dict[str, tuple[int, int]]] = []
    for measured in (before, after):
        tally: dict[str, tuple[int, int]] = {}
        for trial in measured.own(seconds):
            item = trial.seen.item
            right, count = tally.get(item.name, (0, 0))
            found = abs(trial.error(stated_truth(item))) <= item.tolerance
            tally[item.name] = right + found, count + 1
        tallies.append(tally)
    common = sorted(tallies[0].keys() & tallies[1].keys())
    if not common:
        return None
    groups = {one.item.name: one.item.group for one in before.recorded}
    table = np.array([[*tallies[0][name], *tallies[1][name]] for name in common], np.float64)

    def difference(rows: np.ndarray[Any, Any], _: object) -> float:
        right, count, right_after, count_after = table[rows.astype(int)].sum(axis=0)
        return float(right / count - right_after / count_after)

    rows = np.arange(len(common), dtype=np.float64)
    return statistics.with_interval(
        difference, rows, np.ones(len(common), bool), [groups[name] for name in common]
    )


def of_network(
    network: Embedder, recorded: Sequence[Recorded], progress: Progress
) -> dict[str, Any]:
    """All figures of one network, by name; Figures, Detections and lists that `sections` draws."""
    real = [one for one in recorded if one.item.real]
    plain = Measured(network, [one for one in real if not one.disturbed])
    progress(0, 1, "windows")
    lengths = {s: plain.own(s) for s in LENGTHS_S if plain.own(s)}
    result: dict[str, Any] = {
        "recordings": len(plain.recorded),
        "whole recordings": {
            "as stated": whole(plain.recorded, stated_truth),
            "as seen": whole(plain.recorded, seen_truth),
        },
        "windows": {
            f"{seconds} s": {
                "as stated": accuracy(trials, stated_truth),
                "as seen": accuracy(trials, seen_truth),
                "each recording alike": each_alike(trials, stated_truth),
                "recordings": len({t.seen.item.name for t in trials}),
            }
            for seconds, trials in lengths.items()
        },
        "between frames": between_frames(plain),
        "inconclusive": statistics.share(
            [bool(one.found["doubts"]) for one in plain.recorded],
            [one.item.group for one in plain.recorded],
        ),
        "ms per frame": statistics.middle([one.found["ms_per_frame"] for one in plain.recorded]),
        "told": {},
        "by source": slices(plain.own(2), lambda item: item.source),
        "by condition": slices(plain.own(2), lambda item: item.condition),
        "by turn": by_turn(plain),
    }
    for seconds in COMPARED_S:
        own = plain.in_place(seconds)
        if own:
            progress(0, 1, f"{seconds} s against other sound")
            sets = {"another's": plain.strangers(seconds), "shifted": plain.shifted(seconds)}
            result["told"][f"{seconds} s"] = {
                name: {"scored": told(own, other), "near": area(told(own, other, near=True))}
                for name, other in sets.items()
                if other
            }
    result["disturbed"] = disturbed(network, plain, real, progress)
    return result


def whole(recorded: Sequence[Recorded], truth: Truth) -> Figure | None:
    return statistics.share(
        [one.is_right(truth) for one in recorded], [one.item.group for one in recorded]
    )


def slices(trials: Sequence[Trial], name: Callable[[Item], str]) -> dict[str, Figure | None]:
    names = [name(trial.seen.item) for trial in trials]
    return statistics.by_slice(
        names, lambda rows: accuracy([trials[i] for i in rows], stated_truth)
    )


def by_turn(measured: Measured) -> dict[str, Figure | None]:
    """Windows of 2 s, as stated, by how far the face is turned to the side by itself."""
    turns = {one.item.name: abs(float(one.found["turn_deg"])) for one in measured.recorded}
    trials = measured.own(2)
    found = {}
    for low, high in pairwise(TURNS):
        inside = [t for t in trials if low <= turns[t.seen.item.name] < high]
        found[f"{low:g} to {high:g} degrees"] = accuracy(inside, stated_truth)
    return found


def disturbed(
    network: Embedder, plain: Measured, real: Sequence[Recorded], progress: Progress
) -> dict[str, Any]:
    """Under every condition: shares found, what is lost, areas at 2 s."""
    names = dict.fromkeys(one.condition for one in real if one.disturbed)
    result: dict[str, Any] = {}
    for name, of in (
        *(("undisturbed", plain),) * bool(names),
        *((n, Measured(network, [o for o in real if o.disturbed and o.condition == n]))
          for n in names),
    ):  # fmt: skip
        progress(0, 1, name)
        own = of.in_place(2)
        result[name] = {
            "recordings": len(of.recorded),
            **{f"{s} s": accuracy(of.own(s), stated_truth) for s in DISTURBED_S},
            **{f"lost at {s} s": lost(plain, of, s) for s in DISTURBED_S if of is not plain},
            "another's": area(told(own, of.strangers(2, 1))),
            "shifted": area(told(own, of.shifted(2, 1))),
        }
    return result
