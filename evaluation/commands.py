"""What `syncnet-service evaluate` does: read the list, measure, write JSON, page and table.

    sync      sync.evaluate(items, networks, open_journal, progress, conditions) -> Outcome
    artifact  artifact.evaluate(items, classifiers, detector, open_journal, progress) -> Outcome
    system    system.evaluate(items, engine, networks, open_journal, progress) -> Outcome

Every file's result is in the journal as soon as it is measured, so that an interrupted run goes on
where it stopped.
"""

import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from efficientnet_detector import EfficientNetDetector
from evaluation import artifact, inputs, report, sync, system
from evaluation.conditions import CONDITIONS
from evaluation.inputs import IMAGES, VIDEOS, Item
from evaluation.journal import MEASURING, Journal, Progress
from evaluation.report import Headline, Kind, Outcome, Run
from service.scoring.engine import WrapperEngine
from service.settings import Settings
from syncnet_python import weights
from syncnet_python.assembly import Networks
from syncnet_python.calibration import Thresholds
from syncnet_python.profiles import PUBLISHED, Profile
from syncnet_python.results import ModelInfo


@dataclass(frozen=True, slots=True)
class Request:
    """What is evaluated, and where the answer goes.

    path: a folder or a CSV, see `inputs`; media: folder that the CSV's files are relative to;
    journal: folder of what has been measured so far; fresh: measure all files anew; files: CSV of
    one row a file, written where it is given.
    """

    path: Path
    media: Path | None = None
    json: Path = Path("evaluation.json")
    html: Path | None = Path("evaluation.html")
    files: Path | None = None
    journal: Path = Path("evaluation.journal")
    fresh: bool = False

    def items(self, suffixes: Collection[str]) -> list[Item]:
        return inputs.read(self.path, self.media, suffixes=suffixes)

    def open_journal(self, key: Mapping[str, str]) -> Journal:
        return Journal(self.journal, key, fresh=self.fresh)


def evaluate_sync(
    request: Request, settings: Settings, progress: Progress, *, conditions: bool = False
) -> Outcome:
    """Lip-sync alone. conditions: the same recordings are measured under all `CONDITIONS`, too.

    Raises InputError, ModelError.
    """
    items = request.items(VIDEOS)
    networks = _networks(settings, settings.model_profile)
    worse = list(CONDITIONS) if conditions else []
    outcome = sync.evaluate(items, networks, request.open_journal, progress, conditions=worse)
    option = "--conditions" if conditions else ""
    return _written(request, "sync", items, outcome, settings, option)


def evaluate_artifact(
    request: Request, settings: Settings, progress: Progress, *, crops: bool = False
) -> Outcome:
    """Face classifiers alone: the bundled one and the published one where its file is here (with
    the profile "auto"), or the profile's. crops: images are face crops already.

    Raises InputError, ModelError.
    """
    items = request.items(IMAGES if crops else IMAGES | VIDEOS)
    bundled = _networks(settings, "bundled")
    classifiers = [
        EfficientNetDetector.from_networks(_networks(settings, profile))
        for profile in classifier_profiles(settings)
    ]
    outcome = artifact.evaluate(
        items,
        classifiers,
        None if crops else bundled.face_detector(),
        request.open_journal,
        progress,
        finder=None if crops else bundled.info()[bundled.choice.face_detector],
        max_frames=settings.max_frames,
        options={"device": settings.device, "precision": settings.precision},
    )
    return _written(request, "artifact", items, outcome, settings, "--crops" if crops else "")


def evaluate_system(request: Request, settings: Settings, progress: Progress) -> Outcome:
    """The whole verdict, as the service gives it with these settings. Raises InputError,
    ModelError, CalibrationError."""
    items = request.items(VIDEOS)
    calibration = settings.calibration
    outcome = system.evaluate(
        items,
        WrapperEngine(settings),
        present(settings),
        request.open_journal,
        progress,
        thresholds=calibration.thresholds if calibration else Thresholds(),
        calibration=calibration.info if calibration else None,
        options={name: getattr(settings, name) for name in SCORING},
    )
    return _written(request, "system", items, outcome, settings)


COMMANDS: Mapping[Kind, Callable[..., Outcome]] = {
    "sync": evaluate_sync,
    "artifact": evaluate_artifact,
    "system": evaluate_system,
}


def headline_row(line: Headline) -> tuple[str, str, str, str]:
    """Name, value, interval and count of a headline, as text."""
    if line.figure is None:
        return line.name, "-", "", ""
    return line.name, report.value_text(line), report.interval_text(line), str(line.figure.count)


SCORING = (*MEASURING, "syncnet_weight", "efficientnet_weight")
"""Settings that a verdict depends on beside the networks and the calibration."""


def present(settings: Settings) -> list[ModelInfo]:
    """The networks that will answer, as far as their files are here. Raises WeightsCorrupt."""
    found = []
    for name in _networks(settings, settings.model_profile).choice.names:
        row = weights.entry(name)
        path = weights.locate(name, settings.models_dir, settings.weights_paths.get(name))
        if path is not None:
            sha256 = weights.verify_file(path, row)
            found.append(ModelInfo(name, row.version, row.origin, sha256))
    return found


def _networks(settings: Settings, profile: Profile) -> Networks:
    return Networks(
        profile,
        settings.models_dir,
        settings.device,
        settings.precision,
        settings.weights_paths,
    )


def classifier_profiles(settings: Settings) -> list[Profile]:
    """Whose classifiers are evaluated; the published one where its file is here."""
    if settings.model_profile != "auto":
        return [settings.model_profile]
    published = PUBLISHED.classifier
    explicit = settings.weights_paths.get(published)
    there = weights.locate(published, settings.models_dir, explicit) is not None
    return ["bundled", "published"] if there else ["bundled"]


def _written(
    request: Request,
    kind: Kind,
    items: list[Item],
    outcome: Outcome,
    settings: Settings,
    *options: str,
) -> Outcome:
    """Write the files that were asked for; hands the outcome through."""
    run = Run(
        kind,
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command(request, kind, settings, *options),
        tuple(items),
        report.versions(),
    )
    _write(request.json, report.as_json(run, outcome))
    if request.html:
        _write(request.html, report.as_html(run, outcome))
    if request.files:
        _write(request.files, report.as_csv(outcome.rows))
    return outcome


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def command(request: Request, kind: Kind, settings: Settings, *options: str) -> str:
    """What to type for the same again."""
    words = ["syncnet-service", "evaluate", kind, str(request.path), *filter(None, options)]
    for name, value in (
        ("--media", request.media),
        ("--profile", None if settings.model_profile == "auto" else settings.model_profile),
        ("--models-dir", settings.models_dir),
        ("--calibration", settings.calibration_file),
    ):
        if value is not None:
            words += [name, str(value)]
    return shlex.join(words)
