"""How well the whole verdict tells genuine recordings from fakes, and what each part adds.

Every file is scored as the service scores it, with the same settings. The fused score and each
part alone are then judged on the same files: those where both parts were measured.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from evaluation import detection, statistics
from evaluation.detection import Scored
from evaluation.inputs import Item
from evaluation.journal import Failure, OpenJournal, Progress, key_of, run
from evaluation.report import Cell, Headline, Outcome, Section, Table
from evaluation.statistics import Figure
from syncnet_python.calibration import Thresholds
from syncnet_python.results import CalibrationInfo, Decision, ModelInfo, Verdict

CODE = (
    "syncnet_python",
    "syncnet_wrapper",
    "fusion",
    "efficientnet_detector",
    "frame_extractor",
    "service.scoring.engine",
    "evaluation.system",
)
"""What a verdict depends on beside weights and settings."""

DECISIONS: tuple[Decision, ...] = ("ALLOW", "NEXT", "BLOCK")
TARGET = 0.3
"""How many of the errors of lip-sync alone the fused score is to avoid."""

FUSED, SYNC, FACE = "fused", "syncnet", "efficientnet"
WORST = 10


class Engine(Protocol):
    """Scores one recording, as `service.scoring.engine.WrapperEngine` does."""

    def score(
        self, path: Path, reference: str, *, partial: bool, on_partial: Callable[[Verdict], None]
    ) -> Verdict: ...


@dataclass(frozen=True, slots=True)
class Judged:
    """What is kept of one file's verdict. scores: by part, those that were measured; reasons: why
    it is inconclusive, empty where it is not."""

    item: Item
    scores: Mapping[str, float]
    decision: Decision
    inconclusive: bool
    reasons: tuple[str, ...]
    offset_frames: int | None

    @property
    def complete(self) -> bool:
        return {FUSED, SYNC, FACE} <= set(self.scores)


def evaluate(
    items: Sequence[Item],
    engine: Engine,
    networks: Sequence[ModelInfo],
    open_journal: OpenJournal,
    progress: Progress = lambda done, total, name: None,
    *,
    thresholds: Thresholds,
    calibration: CalibrationInfo | None = None,
    options: Mapping[str, object] | None = None,
) -> Outcome:
    """All figures of the fused score and of each part.

    networks: those that will answer; thresholds: those that the engine decides by; options: other
    settings that verdicts depend on. Raises ModelError.
    """
    key = key_of(
        networks,
        CODE,
        calibration=calibration.sha256 if calibration else "",
        **dict(options or {}),
    )

    def score(item: Item) -> Mapping[str, Any]:
        return kept(engine.score(item.path, item.name, partial=True, on_partial=lambda _: None))

    measured, failures = run(items, open_journal(key), score, progress)
    judged = [of_result(item, result) for item, result in measured]
    return summary(judged, tuple(networks), tuple(failures), thresholds, calibration)


def kept(verdict: Verdict) -> dict[str, Any]:
    """What the journal keeps of a verdict: plain JSON."""
    sync, face = verdict.syncnet, verdict.efficientnet
    doubts = sync.doubts if sync else ()
    scores = {
        FUSED: verdict.combined_score,
        SYNC: sync.score if sync and not doubts else None,
        FACE: face.score if face else None,
    }
    return {
        "scores": {name: score for name, score in scores.items() if score is not None},
        "decision": verdict.decision,
        "inconclusive": verdict.inconclusive,
        "reasons": [*(f"no {part.part}: {part.code}" for part in verdict.missing), *doubts],
        "offset_frames": sync.offset_frames if sync else None,
    }


def of_result(item: Item, result: Mapping[str, Any]) -> Judged:
    """The same back from the journal."""
    return Judged(
        item,
        result["scores"],
        result["decision"],
        result["inconclusive"],
        tuple(result["reasons"]),
        result["offset_frames"],
    )


def summary(
    judged: Sequence[Judged],
    networks: tuple[ModelInfo, ...],
    failures: tuple[Failure, ...],
    thresholds: Thresholds,
    calibration: CalibrationInfo | None = None,
) -> Outcome:
    """Figures, tables and plots of what was scored."""
    limits = levels(thresholds)
    same = [of for of in judged if of.complete]
    scored = {name: scores_of(same, name) for name in (FUSED, SYNC, FACE)} if same else {}
    overall = {name: detection.measure(of, limits) for name, of in scored.items()}
    fewer = fewer_errors(same, thresholds.real)
    found = decisions(judged)
    slices = detection.by_slice(scored[FUSED], limits) if scored else {}
    figures: dict[str, Any] = {
        "compared": len(same),
        "all": {name: detection.as_figures(of) for name, of in overall.items()},
        **{
            by: {name: detection.as_figures(of) for name, of in found_in.items()}
            for by, found_in in slices.items()
        },
        "fewer errors than syncnet alone": {
            name: asdict(figure) if figure else None for name, figure in fewer.items()
        },
        "decisions": {
            label: {name: asdict(figure) if figure else None for name, figure in of.items()}
            for label, of in found.items()
        },
        "inconclusive reasons": {label: dict(of) for label, of in reasons(judged).items()},
    }
    return Outcome(
        figures,
        _headlines(overall, fewer, found),
        tuple(_sections(judged, scored, overall, slices, fewer, found, limits)),
        networks,
        rows=tuple(_row(of) for of in judged),
        failures=failures,
        calibration=calibration,
    )


def levels(thresholds: Thresholds) -> dict[str, float]:
    """Scores above which a recording is likely real, let through, and not blocked. The last two
    are reached, not passed, so that they lie just below what ships."""
    return {
        f"{thresholds.real:g} (likely real)": thresholds.real,
        f"{thresholds.allow:g} (ALLOW)": float(np.nextafter(thresholds.allow, -1)),
        f"{thresholds.next:g} (not BLOCK)": float(np.nextafter(thresholds.next, -1)),
    }


def scores_of(judged: Sequence[Judged], part: str) -> Scored:
    """One part's scores of files that all have it."""
    scores = np.array([of.scores[part] for of in judged], np.float64)
    return Scored.of(scores, [of.item for of in judged])


def fewer_errors(judged: Sequence[Judged], threshold: float) -> dict[str, Figure | None]:
    """By which share the fused score errs less than lip-sync alone, on the same files.

    "at the threshold": of balanced errors (mean of both labels' shares on the wrong side);
    "equal error rate": each at its own best place, whatever the threshold. 1: none is left, 0: as
    many, below 0: more. None where lip-sync alone makes no error, or a label is missing.
    """
    genuine = np.array([of.item.real for of in judged], bool)
    fused, sync = ([of.scores[name] for of in judged] for name in (FUSED, SYNC))
    both = np.array([fused, sync], np.float64)
    groups = [of.item.group for of in judged]

    def saved(measure: statistics.Measure) -> Figure | None:
        def of_rows(rows: statistics.Scores, labels: statistics.Labels) -> float:
            ours, alone = (measure(scores[rows.astype(np.int64)], labels) for scores in both)
            return 1 - ours / alone if alone else float("nan")

        return statistics.with_interval(
            of_rows, np.arange(len(genuine), dtype=float), genuine, groups
        )

    return {
        "at the threshold": saved(lambda s, g: 1 - statistics.balanced_accuracy(s, g, threshold)),
        "equal error rate": saved(statistics.equal_error_rate),
    }


def decisions(judged: Sequence[Judged]) -> dict[str, dict[str, Figure | None]]:
    """Share of each decision and of inconclusive verdicts, by label."""
    found = {}
    for label in ("real", "fake"):
        of_label = [of for of in judged if of.item.label == label]
        groups = [of.item.group for of in of_label]
        found[label] = {
            name: statistics.share([of.decision == name for of in of_label], groups)
            for name in DECISIONS
        } | {"inconclusive": statistics.share([of.inconclusive for of in of_label], groups)}
    return found


def reasons(judged: Sequence[Judged]) -> dict[str, Counter[str]]:
    """How often each reason makes a verdict inconclusive, by label."""
    found = {"real": Counter[str](), "fake": Counter[str]()}
    for of in judged:
        if of.inconclusive:
            found[of.item.label].update(of.reasons)
    return found


def _headlines(
    overall: Mapping[str, detection.Detection],
    fewer: Mapping[str, Figure | None],
    found: Mapping[str, Mapping[str, Figure | None]],
) -> tuple[Headline, ...]:
    lines = []
    if fused := overall.get(FUSED):
        lines += [
            Headline("Fused score: AUC", fused.auc),
            Headline("Fused score: equal error rate", fused.eer, "%"),
            Headline(
                "Errors that fusing avoids, of those of lip-sync alone",
                fewer["at the threshold"],
                "%",
                f"target: at least {TARGET:.0%}",
            ),
        ]
    return (
        *lines,
        Headline("Genuine recordings that are blocked", found["real"]["BLOCK"], "%"),
        Headline("Fakes that are let through", found["fake"]["ALLOW"], "%"),
        Headline("Genuine recordings that stay inconclusive", found["real"]["inconclusive"], "%"),
    )


def _sections(
    judged: Sequence[Judged],
    scored: Mapping[str, Scored],
    overall: Mapping[str, detection.Detection],
    slices: Mapping[str, Mapping[str, detection.Detection]],
    fewer: Mapping[str, Figure | None],
    found: Mapping[str, Mapping[str, Figure | None]],
    limits: Mapping[str, float],
) -> list[Section]:
    sections = []
    if scored:
        compared = Table(
            "Errors fewer than by lip-sync alone",
            ("errors", "avoided %"),
            tuple(fewer.items()),
            "At the threshold, the mean of both labels' shares on its wrong side counts.",
        )
        text = (
            f"On the {len(scored[FUSED].scores)} of {len(judged)} files whose lips and voice, and "
            "whose face, could both be measured."
        )
        sections.append(
            Section(
                "Fused score and each part alone",
                text,
                tables=(*detection.tables("All files", overall), compared),
                plots=detection.pictures(scored, limits, "Genuine against fake"),
            )
        )
        if tables := detection.slice_tables(slices, "Fused score"):
            pictured = detection.slice_pictures(slices, "Fused score")
            sections.append(Section("By source and condition", tables=tables, plots=pictured))
    columns = ("label", *(f"{name} %" for name in (*DECISIONS, "inconclusive")))
    rows: list[tuple[Cell, ...]] = [
        (label, *of.values()) for label, of in found.items() if any(of.values())
    ]
    tables = (Table("Decisions", columns, tuple(rows)), *_reason_tables(judged))
    sections.append(Section("What the service would answer", tables=tables))
    sections.append(Section("Most mistaken files", tables=(worst(judged, limits),)))
    return sections


def _reason_tables(judged: Sequence[Judged]) -> tuple[Table, ...]:
    by_label = reasons(judged)
    names = sorted(set().union(*by_label.values()))
    if not names:
        return ()
    rows = tuple((name, by_label["real"][name], by_label["fake"][name]) for name in names)
    return (Table("Why verdicts are inconclusive", ("reason", "genuine", "fake"), rows),)


def worst(judged: Sequence[Judged], limits: Mapping[str, float]) -> Table:
    """The files on whose wrong side the fused score lies farthest."""
    real_above = next(iter(limits.values()))
    wrong = [
        of
        for of in judged
        if FUSED in of.scores and (of.scores[FUSED] > real_above) != of.item.real
    ]
    wrong.sort(key=lambda of: of.scores[FUSED] if of.item.real else 1 - of.scores[FUSED])
    rows: list[tuple[Cell, ...]] = [
        (of.item.name, of.item.label, *(of.scores.get(name) for name in (FUSED, SYNC, FACE)))
        for of in wrong[:WORST]
    ]
    note = f"{len(wrong)} of {len(judged)} files lie on the wrong side of {real_above:g}."
    return Table("", ("file", "label", FUSED, SYNC, FACE), tuple(rows), note)


def _row(of: Judged) -> dict[str, Any]:
    scores = {name: of.scores.get(name) for name in (FUSED, SYNC, FACE)}
    return {
        "file": of.item.name,
        "label": of.item.label,
        "source": of.item.source,
        "condition": of.item.condition,
        **{name: None if score is None else round(score, 6) for name, score in scores.items()},
        "decision": of.decision,
        "offset_frames": of.offset_frames,
        "inconclusive": "; ".join(of.reasons) if of.inconclusive else "",
    }
