"""`syncnet-service calibrate`: parses, has the calibration learnt, prints what it comes to."""

import json
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import (
    FAILED,
    Device,
    ModelsDir,
    Profile,
    chosen_settings,
    err,
    measuring,
    needed_by,
    out,
)


def calibrate(
    genuine: Annotated[
        Path, typer.Option(help="Folder of your own genuine recordings, or a CSV of them.")
    ],
    out_file: Annotated[Path, typer.Option("--out", help="The calibration file to write.")] = Path(
        "calibration.json"
    ),
    fake: Annotated[
        Path | None, typer.Option(help="Folder of fakes made for your set-up, or a CSV of them.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Named in every answer; the file's name by default.")
    ] = None,
    false_reject: Annotated[
        float,
        typer.Option(
            min=0.001, max=0.5, help="Share of genuine recordings that may miss the answer ALLOW."
        ),
    ] = 0.05,
    kind: Annotated[
        Literal["auto", "isotonic", "platt", "linear"],
        typer.Option("--map", help="Form of the map from score to probability."),
    ] = "auto",
    profile: Profile = None,
    device: Device = None,
    models_dir: ModelsDir = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the calibration and what was not used as JSON.")
    ] = False,
) -> None:
    """Learn from your own recordings how your set-up scores, and write one calibration file.

    Set CALIBRATION_FILE to it, or give it to `score --calibration`. A run that was broken off goes
    on where it stopped. docs/calibration.md says what can be learnt from what.
    """
    settings = chosen_settings(
        calibrated=False, model_profile=profile, device=device, models_dir=models_dir
    )
    with needed_by("Calibrating needs", "requirements-evaluate.txt"):
        from evaluation.calibrate import journal_of, run
        from evaluation.calibration_report import summary
    with measuring(journal_of(out_file)) as progress:
        learnt = run(
            genuine,
            fake,
            out_file,
            settings,
            name=name or out_file.stem,
            made=date.today(),
            false_reject=false_reject,
            kind=kind,
            progress=progress,
        )
    for failure in learnt.failures:
        err.print(
            escape(f"not used: {failure.file}: {failure.reason} ({failure.code})"), soft_wrap=True
        )
    if as_json:
        not_used = [asdict(failure) for failure in learnt.failures]
        calibration = json.loads(out_file.read_text())
        print(json.dumps({"file": str(out_file), **calibration, "not_used": not_used}))
    else:
        table = Table(box=None, show_header=False)
        for row in summary(learnt.calibration):
            table.add_row(*map(escape, row))
        out.print(table)
        for note in learnt.calibration.fitted.notes:
            out.print(escape(f"Note: {note}."), soft_wrap=True)
        out.print(escape(f"Written: {out_file}"), soft_wrap=True)
    if learnt.failures:
        raise typer.Exit(FAILED)
