"""Everything that is said of one score that tells genuine from fake: figures, tables, plots.

`artifact`, `system` and the own-against-other part of `sync` share it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evaluation import plots, statistics
from evaluation.inputs import Item
from evaluation.report import Cell, Plot, Table
from evaluation.statistics import Figure, Labels, Scores

DETECTION = 0.7
"""Share of fakes that are to be refused, for the share of genuine ones that this costs."""


@dataclass(frozen=True, slots=True)
class Rates:
    """At one threshold. false_reject: share of genuine ones whose score is not above it;
    false_accept: share of fakes whose score is."""

    threshold: float
    false_reject: Figure | None
    false_accept: Figure | None


@dataclass(frozen=True, slots=True)
class Detection:
    """Figures of one score. None is what the data do not determine, such as an area without
    fakes.

    auc: chance that a genuine one scores above a fake (0-1, 0.5 is guessing); eer: rate at which
    as many genuine ones are refused as fakes accepted (0-1, lower is better); balanced_accuracy:
    at the first threshold; false_reject_at_70: share of genuine ones refused where 70% of fakes
    are; calibration_error: how far the score is from a probability (0-1); at: rates by the
    threshold's name.
    """

    genuine: int
    fakes: int
    auc: Figure | None
    eer: Figure | None
    balanced_accuracy: Figure | None
    false_reject_at_70: Figure | None
    calibration_error: Figure | None
    at: Mapping[str, Rates]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What is judged. scores: (n,) float64, higher is more likely genuine; genuine: (n,) bool;
    groups, sources, conditions: one a score."""

    scores: Scores
    genuine: Labels
    groups: Sequence[str]
    sources: Sequence[str]
    conditions: Sequence[str]

    @classmethod
    def of(cls, scores: Scores, items: Sequence[Item]) -> "Scored":
        """Scores of items, one item a score."""
        return cls(
            scores,
            np.array([item.real for item in items], bool),
            [item.group for item in items],
            [item.source for item in items],
            [item.condition for item in items],
        )

    def rows(self, chosen: Sequence[int] | np.ndarray[Any, Any]) -> "Scored":
        """Those rows alone."""
        at = np.asarray(chosen, np.int64)
        names = ([of[i] for i in at] for of in (self.groups, self.sources, self.conditions))
        return Scored(self.scores[at], self.genuine[at], *names)


def measure(scored: Scored, thresholds: Mapping[str, float]) -> Detection:
    """All figures of one score. thresholds: by name, at least one; above it is accepted."""
    first = next(iter(thresholds.values()))

    def all_of(scores: Scores, genuine: Labels) -> tuple[float, ...]:
        return (
            *statistics.discrimination(scores, genuine, DETECTION),
            statistics.balanced_accuracy(scores, genuine, first),
            statistics.calibration_error(scores, genuine),
        )

    genuine = scored.genuine
    area, equal, refused, balanced, calibration = statistics.with_intervals(
        all_of, scored.scores, genuine, scored.groups
    )
    return Detection(
        genuine=int(genuine.sum()),
        fakes=int((~genuine).sum()),
        auc=area,
        eer=equal,
        balanced_accuracy=balanced,
        false_reject_at_70=refused,
        calibration_error=calibration if area else None,  # of one label alone it says nothing
        at={name: rates(scored, threshold) for name, threshold in thresholds.items()},
    )


def rates(scored: Scored, threshold: float) -> Rates:
    """False-reject and false-accept rate at a threshold."""
    accepted, genuine = scored.scores > threshold, scored.genuine
    groups = np.asarray(scored.groups)
    return Rates(
        threshold,
        statistics.share(~accepted[genuine], groups[genuine].tolist()),
        statistics.share(accepted[~genuine], groups[~genuine].tolist()),
    )


def by_slice(scored: Scored, thresholds: Mapping[str, float]) -> dict[str, dict[str, Detection]]:
    """The same figures for every source and every condition.

    A condition that only fakes (or only genuine ones) have, such as a kind of forgery, is held
    against the other label's files of the same sources.
    """

    def of_source(rows: np.ndarray[Any, Any]) -> Detection:
        return measure(scored.rows(rows), thresholds)

    def of_condition(rows: np.ndarray[Any, Any]) -> Detection:
        labels = set(scored.genuine[rows].tolist())
        if len(labels) == 1:
            sources = {scored.sources[i] for i in rows}
            others = [
                i
                for i, source in enumerate(scored.sources)
                if source in sources and scored.genuine[i] not in labels
            ]
            rows = np.concatenate([rows, np.asarray(others, np.int64)])
        return measure(scored.rows(rows), thresholds)

    return {
        "by source": statistics.by_slice(scored.sources, of_source),
        "by condition": statistics.by_slice(scored.conditions, of_condition),
    }


def as_figures(detection: Detection) -> dict[str, Any]:
    """Plain JSON of the figures."""
    return asdict(detection)


def table(title: str, found: Mapping[str, Detection], note: str = "") -> Table:
    """All figures in one row a name (a scoring, a source, a condition)."""
    figures, rates_of = tables(title, found, note)
    rows = zip(figures.rows, rates_of.rows, strict=True)
    return Table(
        title,
        (*figures.columns, *rates_of.columns[1:]),
        tuple((*left, *right[1:]) for left, right in rows),
        note,
    )


def tables(title: str, found: Mapping[str, Detection], note: str = "") -> tuple[Table, Table]:
    """The same in two tables, for several thresholds: the figures, and the rates at those."""
    columns = ["", "genuine", "fake", "AUC", "EER %", "balanced accuracy %"]
    columns += [f"genuine refused where {DETECTION:.0%} of fakes are, %", "calibration error"]
    thresholds = list(dict.fromkeys(name for of in found.values() for name in of.at))
    rate_columns = [""]
    for name in thresholds:
        rate_columns += [f"genuine refused at {name}, %", f"fakes accepted at {name}, %"]
    rows: list[tuple[Cell, ...]] = []
    rate_rows: list[tuple[Cell, ...]] = []
    for name, of in found.items():
        figures = (of.auc, of.eer, of.balanced_accuracy, of.false_reject_at_70)
        rows.append((name, of.genuine, of.fakes, *figures, of.calibration_error))
        at = [of.at[threshold] for threshold in thresholds]
        cells = (cell for one in at for cell in (one.false_reject, one.false_accept))
        rate_rows.append((name, *cells))
    return (
        Table(title, tuple(columns), tuple(rows)),
        Table(f"{title}, at the thresholds that ship", tuple(rate_columns), tuple(rate_rows), note),
    )


def slice_tables(
    slices: Mapping[str, Mapping[str, Detection]], about: str = ""
) -> tuple[Table, ...]:
    """Two tables for every slicing that has any name. about: whose figures, where there are
    several scorings."""
    return tuple(
        made
        for by, found in slices.items()
        if found
        for made in tables(
            f"{about}, {by}" if about else by.capitalize(),
            found,
            CONDITION_NOTE if by == "by condition" else "",
        )
    )


def slice_pictures(slices: Mapping[str, Mapping[str, Detection]], about: str) -> tuple[Plot, ...]:
    """Areas of the slices of a slicing beside each other, where there are several."""
    return tuple(
        Plot(
            plots.bars(
                {name: of.auc for name, of in found.items()},
                f"{about}: AUC {by}",
                xlabel="AUC (0.5 is guessing)",
                mark=0.5,
            )
        )
        for by, found in slices.items()
        if sum(of.auc is not None for of in found.values()) > 1
    )


CONDITION_NOTE = (
    "A condition that only fakes have is held against the genuine files of the same sources, "
    "and the other way round."
)


def pictures(
    scored: Mapping[str, Scored], thresholds: Mapping[str, float], about: str
) -> tuple[Plot, ...]:
    """ROC, error trade-off, reliability, and a histogram of each scoring's scores.

    about: what is told apart, for the titles.
    """
    curves = {name: (of.scores, of.genuine) for name, of in scored.items()}
    both = any(genuine.any() and not genuine.all() for _, genuine in curves.values())
    drawn = []
    if both:
        drawn = [
            Plot(plots.roc(curves, about), "The dotted line is guessing."),
            Plot(
                plots.det(curves, about), "Lower left is better; the dotted line has equal errors."
            ),
            Plot(
                plots.reliability(curves),
                "On the dotted line, a score is the share of genuine files among those that have "
                "it. Dots stand for bins, larger ones for fuller bins, with 95% intervals.",
            ),
        ]
    for name, of in scored.items():
        groups = {"genuine": of.scores[of.genuine], "fake": of.scores[~of.genuine]}
        svg = plots.histograms(groups, f"Scores: {name}", thresholds=thresholds)
        drawn.append(Plot(svg, "Dashed lines are the thresholds that ship."))
    return tuple(drawn)
