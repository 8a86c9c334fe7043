"""Learn an operator's calibration from recordings of their own.

Every recording is scored without a calibration, its figures are kept in a journal beside the
output, and `calibration_fit` makes of them the capture offset, the maps and the thresholds.
Recordings of one person belong together: the first folder below the one that is given names the
person, or the column `group` of a CSV (see `inputs`); a person may be in both folders.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evaluation import calibration_fit, calibration_report, inputs, journal
from evaluation.calibration_fit import FittedMap, Floats, Kind, Labels, Split
from evaluation.inputs import InputError, Item
from evaluation.journal import Failure, Journal, Progress
from service.scoring.engine import WrapperEngine
from service.settings import Settings
from syncnet_python import scale as scales
from syncnet_python.calibration import Calibration, Fit, lag_free_score, save
from syncnet_python.errors import TooFewRecordings
from syncnet_python.results import ModelInfo, OffsetCurve

FEWEST = 5
"""Usable recordings of a side without which nothing is learnt."""

_INCONCLUSIVE = "{} recordings were inconclusive: these miss ALLOW too, and are in no rate here"

_CODE = (
    "syncnet_python",
    "syncnet_wrapper",
    "frame_extractor",
    "efficientnet_detector",
    "evaluation.calibrate",
)


@dataclass(frozen=True, slots=True)
class Learnt:
    """calibration: as written; failures: recordings that could not be used, with the reason."""

    calibration: Calibration
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """The raw figures of one recording; see `results` for their meaning.

    clear: its offset can be trusted: confidence MEDIUM or better and no jump.
    """

    group: str
    genuine: bool
    network: str
    offset_frames: int
    confidence: float
    min_dist: float
    curve: OffsetCurve
    subframe_offset: float
    artifact: float
    clear: bool


def read_items(genuine: Path, fake: Path | None) -> list[Item]:
    """What to learn from: folders, or CSVs as `inputs` describes them. Raises InputError."""
    items = [_grouped(item, genuine) for item in inputs.read(genuine, suffixes=inputs.VIDEOS)]
    for item in items:
        if not item.real:
            raise InputError(f"{item.name} among the genuine recordings is marked as a fake")
    if fake is not None:
        fakes = inputs.read(fake, suffixes=inputs.VIDEOS)
        items += [replace(_grouped(item, fake), real=False) for item in fakes]
    return items


def _grouped(item: Item, where: Path) -> Item:
    """With the person as its group, where a folder names one."""
    person, slash, _ = item.name.partition("/")
    return replace(item, group=person) if where.is_dir() and slash else item


def journal_of(out: Path) -> Path:
    """The folder beside a calibration file that holds what has been measured for it."""
    return out.with_suffix(".journal")


def run(
    genuine: Path,
    fake: Path | None,
    out: Path,
    settings: Settings,
    *,
    name: str,
    made: date,
    false_reject: float = 0.05,
    kind: Kind | Literal["auto"] = "auto",
    progress: Progress = lambda done, total, name: None,
) -> Learnt:
    """Score every recording, learn from them, and write the calibration to `out`.

    What has been measured is kept in a folder beside `out`, so that a run that was broken off goes
    on where it stopped. Raises InputError, ModelError, TooFewRecordings.
    """
    items = read_items(genuine, fake)
    if not name.isprintable() or not 1 <= len(name) <= 128:
        raise InputError("a calibration is named by 1 to 128 printable characters")
    out.parent.mkdir(parents=True, exist_ok=True)
    engine = WrapperEngine(settings.model_copy(update={"calibration_file": None}))
    engine.preload()
    models = engine.models()
    options = {name: getattr(settings, name) for name in journal.MEASURING}
    key = journal.key_of(models.values(), _CODE, **options)
    kept = Journal(journal_of(out), key)
    results, failures = journal.run(items, kept, lambda item: _figures(engine, item), progress)
    measured, doubtful = _usable(results)
    calibration = learn(
        measured,
        models,
        settings.part_weights,
        name=name,
        made=made,
        false_reject=false_reject,
        kind=kind,
        inconclusive=len(doubtful),
    )
    return Learnt(save(calibration, out), (*failures, *doubtful))


def _figures(engine: WrapperEngine, item: Item) -> dict[str, Any]:
    """One recording as the journal keeps it."""
    verdict = engine.score(
        item.path.resolve(), item.name, partial=False, on_partial=lambda part: None
    )
    sync, artifact = verdict.syncnet, verdict.efficientnet
    if sync is None or artifact is None:
        raise RuntimeError("; ".join(f"{part.part}: {part.message}" for part in verdict.missing))
    clear = sync.confidence >= scales.named(sync.network).confidence_levels[0]
    return {
        "network": sync.network,
        "offset_frames": sync.offset_frames,
        "confidence": sync.confidence,
        "min_dist": sync.min_dist,
        "curve": asdict(sync.curve),
        "subframe_offset": sync.subframe_offset,
        "doubts": list(sync.doubts),
        "artifact": artifact.raw_score,
        "clear": clear and not sync.changes,
    }


def _usable(
    results: Sequence[tuple[Item, dict[str, Any]]],
) -> tuple[list[Measured], list[Failure]]:
    """Recordings that say something, and those whose lips and voice cannot be compared."""
    measured, doubtful = [], []
    for item, figures in results:
        doubts = figures.pop("doubts")
        if doubts:
            doubtful.append(Failure(item.name, "inconclusive", ", ".join(doubts)))
        else:
            curve = OffsetCurve(**{of: tuple(at) for of, at in figures.pop("curve").items()})
            measured.append(Measured(item.group, item.real, curve=curve, **figures))
    return measured, doubtful


def learn(
    measured: Sequence[Measured],
    models: Mapping[str, ModelInfo],
    weights: Mapping[str, float],
    *,
    name: str,
    made: date,
    false_reject: float = 0.05,
    kind: Kind | Literal["auto"] = "auto",
    inconclusive: int = 0,
) -> Calibration:
    """The calibration that these recordings give. weights: share of each part in the combined
    score; inconclusive: recordings beside these of which nothing can be said.
    Raises TooFewRecordings."""
    genuine = np.asarray([row.genuine for row in measured], bool)
    groups = [row.group for row in measured]
    _need_enough(genuine, kind)
    clear = [row.subframe_offset for row in measured if row.genuine and row.clear]
    lag = calibration_fit.capture_offset(clear)
    sync_raw = np.asarray(
        [lag_free_score(row, scales.named(row.network), lag.value) for row in measured], np.float64
    )
    artifact_raw = np.asarray([row.artifact for row in measured], np.float64)
    folds, notes = _folds(genuine, groups)
    sync = _map(sync_raw, genuine, folds, kind)
    artifact = _map(artifact_raw, genuine, folds, kind)
    combined = (
        weights["syncnet"] * sync.cross_fitted + weights["efficientnet"] * artifact.cross_fitted
    )
    chosen = calibration_fit.thresholds(combined, genuine, false_reject)
    return Calibration(
        name=name,
        made=made,
        networks={info.name: info.sha256 for info in models.values()},
        capture_offset=round(lag.value, 2),
        sync_map=sync.map,
        artifact_map=artifact.map,
        thresholds=chosen,
        weights=dict(weights),
        fitted=Fit(
            genuine=int(genuine.sum()),
            fake=int((~genuine).sum()),
            groups=len(set(groups)),
            false_reject=false_reject,
            capture_interval=lag.interval,
            figures=calibration_report.quality({"sync": sync, "artifact": artifact})
            | calibration_report.rates(combined, genuine, groups, chosen),
            notes=(
                *notes,
                *([_INCONCLUSIVE.format(inconclusive)] if inconclusive else []),
                *calibration_report.notes(genuine, lag, sync, artifact, chosen, false_reject),
            ),
        ),
    )


def _need_enough(genuine: Labels, kind: Kind | Literal["auto"]) -> None:
    real, fake = int(genuine.sum()), int((~genuine).sum())
    if real < FEWEST:
        raise TooFewRecordings(f"{real} genuine recordings can be used; {FEWEST} are needed")
    if 0 < fake < FEWEST:
        raise TooFewRecordings(f"{fake} fakes can be used; {FEWEST} are needed, or none")
    if not fake and kind in ("isotonic", "platt"):
        raise TooFewRecordings(f"a map of the kind {kind} cannot be learnt without fakes")


def _folds(genuine: Labels, groups: Sequence[str]) -> tuple[list[Split] | None, list[str]]:
    if genuine.all():
        return None, []
    if found := calibration_fit.splits(genuine, groups):
        return found, []
    note = "too few people for a cross-validation by person: each recording counts as a person"
    return calibration_fit.splits(genuine, [str(row) for row in range(len(genuine))]), [note]


def _map(
    raw: Floats, genuine: Labels, folds: list[Split] | None, kind: Kind | Literal["auto"]
) -> FittedMap:
    if folds is not None:
        return calibration_fit.fit_map(raw, genuine, folds, kind)
    ordinary = calibration_fit.of_genuine(raw)
    return FittedMap(ordinary, "linear", np.asarray([ordinary(float(x)) for x in raw], np.float64))
