"""`syncnet-service score` and `demo`: verdicts as a table or as JSON, and heat maps as pictures."""

import base64
import itertools
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import (
    FAILED,
    Calibration,
    CropScale,
    Device,
    FacedetScale,
    MinFaceSize,
    MinTrack,
    ModelsDir,
    Network,
    Profile,
    Vshift,
    check_folder,
    chosen_settings,
    complain,
    describe,
    err,
    needed_by,
    out,
)
from service.settings import Settings
from syncnet_python import profiles
from syncnet_python.results import Verdict


def score(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Recordings to score.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line for every file.")
    ] = False,
    partial: Annotated[
        bool, typer.Option(help="Measure what can be measured of recordings that are not whole.")
    ] = False,
    network: Network = None,
    profile: Profile = None,
    min_track: MinTrack = None,
    min_face_size: MinFaceSize = None,
    facedet_scale: FacedetScale = None,
    crop_scale: CropScale = None,
    vshift: Vshift = None,
    device: Device = None,
    models_dir: ModelsDir = None,
    calibration: Calibration = None,
    heatmap: Annotated[
        Path | None,
        typer.Option(
            help="Folder for a picture a file: what in its worst frame looks touched.",
            file_okay=False,
        ),
    ] = None,
) -> None:
    """Score recordings. A file that cannot be scored does not stop the others."""
    settings = chosen_settings(
        model_profile=profile,
        device=device,
        models_dir=models_dir,
        calibration_file=calibration,
        min_track_frames=min_track,
        min_face_size=min_face_size,
    )
    options = profiles.Options(facedet_scale, crop_scale, vshift)
    paths = settings.weights_paths
    options.check(profiles.choose(settings.model_profile, settings.models_dir, paths, network))
    if heatmap:
        check_folder(heatmap)
        heatmap.mkdir(parents=True, exist_ok=True)
    outcomes = _score_each(
        files,
        settings,
        partial=partial,
        heatmap=heatmap is not None,
        network=network,
        options=options,
    )
    if heatmap:
        outcomes = save_heat_maps(outcomes, heatmap)
    _report(outcomes, as_json=as_json, verbose=ctx.obj)


def demo(
    ctx: typer.Context,
    output_dir: Annotated[
        Path,
        typer.Option("--output-dir", "-o", help="Folder for the two clips.", file_okay=False),
    ] = Path("demo"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line for each of them.")
    ] = False,
) -> None:
    """Write two small clips, one in sync and one dubbed with another voice, and score both."""
    with needed_by("The sample clips need", "requirements-dev.txt"):
        from evaluation.samples import DEMO, talking_clip
    check_folder(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    with err.status("Writing two clips"):
        for name, fields in DEMO.items():
            talking_clip(output_dir / name, **fields)
    files = [output_dir / name for name in DEMO]
    outcomes = _score_each(files, chosen_settings(), partial=False)
    _report(outcomes, as_json=as_json, verbose=ctx.obj)


def _score_each(
    files: list[Path],
    settings: Settings,
    *,
    partial: bool,
    heatmap: bool = False,
    network: profiles.Network | None = None,
    options: profiles.Options | None = None,
) -> Iterator[tuple[Path, Verdict | Exception]]:
    """Every file with its verdict, or with why it has none."""
    from service.scoring.engine import (
        WrapperEngine,  # brings torch along, which other commands spare
    )

    chosen = asdict(options) if options else {}
    engine = WrapperEngine(settings, network=network, **chosen)
    for path in files:
        outcome: Verdict | Exception
        try:
            if path.is_dir():
                raise IsADirectoryError("is a folder; `syncnet-service batch` scores all below it")
            if not path.is_file():
                raise FileNotFoundError("no such file")
            with err.status(f"Scoring {escape(path.name)}"):
                outcome = engine.score(
                    path.resolve(),
                    path.name,
                    partial=partial,
                    heatmap=heatmap,
                    on_partial=lambda verdict: None,
                )
        except Exception as error:  # whatever one file does, the others are still scored
            outcome = error
        yield path, outcome


def save_heat_maps(
    outcomes: Iterable[tuple[Path, Verdict | Exception]], folder: Path
) -> Iterator[tuple[Path, Verdict | Exception]]:
    """Write the heat map of every verdict into the folder, say where, and pass the outcomes on.

    A picture is named after its recording, of whose name only safe characters are kept; of
    recordings whose pictures would be called alike, the later ones' are numbered.
    """
    taken: set[str] = set()
    for path, outcome in outcomes:
        face = outcome.efficientnet if isinstance(outcome, Verdict) else None
        if face and face.heatmap:
            safe = re.sub(r"[^\w.-]+", "_", path.name, flags=re.ASCII).lstrip(".-")[:200] or "_"
            numbered = (f"{safe}-{number}" for number in itertools.count(2))
            names = itertools.chain([safe], numbered)
            name = next(name for name in names if name.casefold() not in taken)
            taken.add(name.casefold())
            picture = folder / f"{name}.heatmap.png"
            picture.write_bytes(base64.b64decode(face.heatmap.png))
            err.print(escape(f"Heat map of {path}: {picture}"), soft_wrap=True)
        yield path, outcome


def _report(
    outcomes: Iterable[tuple[Path, Verdict | Exception]], *, as_json: bool, verbose: bool
) -> None:
    """Print every outcome; exit with FAILED if one of them is an error."""
    failures = 0
    verdicts: list[tuple[Path, Verdict]] = []
    for path, outcome in outcomes:
        if isinstance(outcome, Verdict):
            verdicts.append((path, outcome))
            if as_json:
                print(json.dumps({"file": str(path), "verdict": asdict(outcome)}))
            continue
        failures += 1
        if as_json:
            print(json.dumps({"file": str(path), "error": describe(outcome)}))
        complain(outcome, verbose=verbose, about=str(path))
    if verdicts and not as_json:
        out.print(verdict_table(verdicts))
    if failures:
        raise typer.Exit(FAILED)


def verdict_table(verdicts: Collection[tuple[Path, Verdict]]) -> Table:
    """One row a file: what it comes to, and what each part says."""
    table = Table(box=None)
    for title in ("file", "score", "risk", "decision", "lips and voice", "face", "notes"):
        table.add_column(title, overflow="fold")
    distinct = len({path.name for path, _ in verdicts}) == len(verdicts)
    for path, verdict in verdicts:
        sync, face = verdict.syncnet, verdict.efficientnet
        notes = [f"{part.part} missing: {part.message}" for part in verdict.missing]
        if verdict.inconclusive:
            doubts = ", ".join(sync.doubts) if sync else ""
            notes.insert(0, f"inconclusive: {doubts}" if doubts else "inconclusive")
        if verdict.calibration:
            notes.append(f"calibrated: {verdict.calibration.name}")
        table.add_row(
            escape(path.name if distinct else str(path)),
            "-" if verdict.combined_score is None else f"{verdict.combined_score:.3f}",
            verdict.risk_level or "-",
            verdict.decision,
            f"{sync.score:.2f}, offset {sync.offset_frames:+d} frames ({sync.lag_ms:+d} ms), "
            f"confidence {sync.confidence:.2f}"
            if sync
            else "-",
            f"{face.score:.2f}" if face else "-",
            escape("; ".join(notes)),
        )
    return table
