"""LSE-D and LSE-C of many videos: which they are, what could not be measured, as JSON and CSV."""

import csv
import io
import json
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluation import inputs, journal, lse
from evaluation.inputs import VIDEOS, InputError, Item
from evaluation.journal import Failure, Journal, Progress, key_of
from evaluation.lse import MeanFigures, Meter, TrackFigures, VideoFigures
from evaluation.lse_protocols import LseProtocol
from syncnet_python.results import ModelInfo

JOURNAL, FIGURES, ROWS = "lse.journal", "lse.json", "lse.csv"
"""What is written into an output folder."""

COLUMNS = (
    "file",
    "protocol",
    "network",
    "comparable",
    "lse_d",
    "lse_c",
    "tracks",
    "offsets",
    "failed",
)


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of a set of videos under one protocol.

    network, windows, comparable: as in `lse.Tables`; models: all weights that answered, by name;
    videos: as they were named, with their figures; failures: those that have none; mean: None
    where there are no figures.
    """

    protocol: LseProtocol
    network: ModelInfo
    windows: str
    comparable: bool
    models: Mapping[str, ModelInfo]
    videos: tuple[tuple[str, VideoFigures], ...]
    failures: tuple[Failure, ...]

    @property
    def mean(self) -> MeanFigures | None:
        return lse.mean([figures for _, figures in self.videos], self.protocol.mean_over)

    @property
    def warning(self) -> str | None:
        return None if self.comparable else lse.OTHER_SCALE


def gather(paths: Iterable[Path]) -> tuple[list[Item], list[Failure]]:
    """Videos, and all videos in and below folders (by name), each once; and what is neither."""
    items: dict[Path, Item] = {}
    failures = []
    for path in paths:
        try:
            if path.is_dir():
                for item in inputs.read(path, suffixes=VIDEOS):
                    named = Item(item.path, str(path / item.name))
                    items.setdefault(item.path.resolve(), named)
            elif path.is_file():
                items.setdefault(path.resolve(), Item(path, str(path)))
            else:
                failures.append(Failure(str(path), "no_such_file", "no such file"))
        except InputError as error:
            failures.append(Failure(str(path), error.code, error.message))
    return list(items.values()), failures


def measure(
    paths: Iterable[Path],
    meter: Meter,
    models: Mapping[str, ModelInfo],
    *,
    device: str = "auto",
    output: Path | None = None,
    progress: Progress = lambda done, total, name: None,
) -> Report:
    """Measure every video; one that cannot be measured does not stop the others.

    models: that the meter uses, by name; device: what they run on. With an output folder, every
    result is kept there as soon as it is measured, and found again by the next run; report and
    rows are written there at the end. Raises ModelError, OSError.
    """
    items, failures = gather(paths)
    with ExitStack() as stack:
        kept = (
            output / JOURNAL
            if output
            else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lse-")))
        )
        key = key_of(
            models.values(),
            ("syncnet_python", "evaluation.lse", "evaluation.lse_protocols"),
            protocol=meter.protocol.name,
            device=device,
        )
        measured, failed = journal.run(
            items, Journal(kept, key), lambda item: asdict(meter.video(item.path)), progress
        )
    report = Report(
        meter.protocol,
        meter.network.info,
        meter.network.windows,
        meter.network.comparable,
        models,
        tuple((item.name, _figures(result)) for item, result in measured),
        (*failures, *failed),
    )
    if output:
        _write(output / FIGURES, json.dumps(as_json(report), indent=1) + "\n")
        _write(output / ROWS, as_csv(report))
    return report


def as_json(report: Report) -> dict[str, Any]:
    """The whole report as plain values."""
    protocol = report.protocol
    return {
        "protocol": protocol.name,
        "protocol_source": protocol.source,
        "windows": report.windows,
        "tracking": asdict(protocol.tracking) if protocol.tracking else None,
        "scene_threshold": protocol.scene_threshold,
        "network": report.network.name,
        "comparable": report.comparable,
        "warning": report.warning,
        "models": {name: asdict(info) for name, info in report.models.items()},
        "mean": asdict(report.mean) if report.mean else None,
        "videos": [{"file": name, **asdict(figures)} for name, figures in report.videos],
        "failed": [asdict(failure) for failure in report.failures],
    }


def headlines(report: Report) -> list[str]:
    """What the figures are of, and what they must not be taken for."""
    lines = [f"Protocol {report.protocol.name}, network {report.network.name}"]
    return [*lines, f"Not comparable: {report.warning}."] if report.warning else lines


TITLES = ("file", "LSE-D", "LSE-C", "tracks", "offset", "notes")


def as_rows(report: Report) -> list[tuple[str, ...]]:
    """A row a video and one of the mean, as text; columns as in `TITLES`."""
    rows: list[tuple[str, ...]] = []
    for name, video in report.videos:
        offsets = " ".join(f"{track.offset_frames:+d}" for track in video.tracks)
        tracks, notes = str(len(video.tracks)), "; ".join(video.notes)
        rows.append((name, f"{video.lse_d:.3f}", f"{video.lse_c:.3f}", tracks, offsets, notes))
    if mean := report.mean:
        what = f"mean over {mean.count} {mean.over}"
        rows.append((what, f"{mean.lse_d:.3f}", f"{mean.lse_c:.3f}", "", "", ""))
    return rows


def as_csv(report: Report) -> str:
    """One row a video, those that failed with their reason."""
    text = io.StringIO()
    rows = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    rows.writeheader()
    said = {
        "protocol": report.protocol.name,
        "network": report.network.name,
        "comparable": str(report.comparable).lower(),
    }
    for name, figures in report.videos:
        offsets = " ".join(str(track.offset_frames) for track in figures.tracks)
        row = {"lse_d": figures.lse_d, "lse_c": figures.lse_c, "tracks": len(figures.tracks)}
        rows.writerow({"file": name, **said, **row, "offsets": offsets})
    for failure in report.failures:
        rows.writerow({"file": failure.file, **said, "failed": failure.reason})
    return text.getvalue()


def _figures(result: Mapping[str, Any]) -> VideoFigures:
    """Figures as the journal keeps them."""
    tracks = tuple(TrackFigures(**track) for track in result["tracks"])
    return VideoFigures(**{**result, "tracks": tracks, "notes": tuple(result["notes"])})


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
