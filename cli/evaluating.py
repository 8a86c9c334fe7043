"""`syncnet-service evaluate …`: parses, has the recordings measured, prints what matters most."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import (
    FAILED,
    Calibration,
    ModelsDir,
    Profile,
    chosen_settings,
    err,
    measuring,
    needed_by,
    out,
)
from service.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Measure on recordings whose truth is known how good the answers are.",
)

Listed = Annotated[
    Path,
    typer.Argument(
        help="Folder of media (those below a folder called fake are fakes), or a CSV with the "
        "column file and, as known, label, source, condition, group, offset, tolerance, stated."
    ),
]
Media = Annotated[Path | None, typer.Option(help="Folder that the files of the CSV lie in.")]
JsonFile = Annotated[Path, typer.Option("--json", help="Where the figures go.")]
Page = Annotated[Path, typer.Option("--html", help="Where the page with the plots goes.")]
Rows = Annotated[
    Path | None, typer.Option("--files", help="Also write a CSV of one row a file here.")
]
Kept = Annotated[Path, typer.Option("--journal", help="Folder of what has been measured so far.")]
Fresh = Annotated[bool, typer.Option(help="Measure every file anew, whatever the journal has.")]
FIGURES, PAGE = Path("evaluation.json"), Path("evaluation.html")
KEPT = Path("evaluation.journal")


@app.command("sync")
def evaluate_sync(
    path: Listed,
    media: Media = None,
    json_file: JsonFile = FIGURES,
    page: Page = PAGE,
    files: Rows = None,
    journal: Kept = KEPT,
    fresh: Fresh = False,
    profile: Profile = None,
    models_dir: ModelsDir = None,
    conditions: Annotated[
        bool,
        typer.Option(
            "--conditions", help="Measure the same recordings made worse, too: noise, coding, yaw."
        ),
    ] = False,
) -> None:
    """Is the offset found, and a stranger's voice told from the speaker's own?"""
    settings = chosen_settings(calibrated=False, model_profile=profile, models_dir=models_dir)
    _evaluate(
        "sync",
        settings,
        path=path,
        media=media,
        json_file=json_file,
        page=page,
        files=files,
        journal=journal,
        fresh=fresh,
        conditions=conditions,
    )


@app.command("artifact")
def evaluate_artifact(
    path: Listed,
    media: Media = None,
    crops: Annotated[bool, typer.Option(help="The images are face crops already.")] = False,
    json_file: JsonFile = FIGURES,
    page: Page = PAGE,
    files: Rows = None,
    journal: Kept = KEPT,
    fresh: Fresh = False,
    profile: Profile = None,
    models_dir: ModelsDir = None,
) -> None:
    """Are touched faces told from untouched ones, in images and videos?"""
    settings = chosen_settings(calibrated=False, model_profile=profile, models_dir=models_dir)
    _evaluate(
        "artifact",
        settings,
        path=path,
        media=media,
        json_file=json_file,
        page=page,
        files=files,
        journal=journal,
        fresh=fresh,
        crops=crops,
    )


@app.command("system")
def evaluate_system(
    path: Listed,
    media: Media = None,
    json_file: JsonFile = FIGURES,
    page: Page = PAGE,
    files: Rows = None,
    journal: Kept = KEPT,
    fresh: Fresh = False,
    profile: Profile = None,
    models_dir: ModelsDir = None,
    calibration: Calibration = None,
) -> None:
    """Are genuine recordings told from fakes by the whole verdict, and what adds each part?"""
    settings = chosen_settings(
        model_profile=profile, models_dir=models_dir, calibration_file=calibration
    )
    _evaluate(
        "system",
        settings,
        path=path,
        media=media,
        json_file=json_file,
        page=page,
        files=files,
        journal=journal,
        fresh=fresh,
    )


def _evaluate(
    kind: Literal["sync", "artifact", "system"],
    settings: Settings,
    *,
    path: Path,
    media: Path | None,
    json_file: Path,
    page: Path,
    files: Path | None,
    journal: Path,
    fresh: bool,
    **options: bool,
) -> None:
    """Run one evaluation with a progress bar, and print what matters most of it."""
    with needed_by("Evaluating needs", "requirements-evaluate.txt"):
        from evaluation import commands
    request = commands.Request(
        path, media=media, json=json_file, html=page, files=files, journal=journal, fresh=fresh
    )
    with measuring(journal) as progress:
        outcome = commands.COMMANDS[kind](request, settings, progress, **options)
    table = Table(box=None)
    for title in ("figure", "value", "95% interval", "n"):
        table.add_column(title)
    for line in outcome.headlines:
        table.add_row(*map(escape, commands.headline_row(line)))
    out.print(table)
    for failure in outcome.failures:
        said = f"not measured: {failure.file}: {failure.reason} ({failure.code})"
        err.print(escape(said), soft_wrap=True)
    written = ", ".join(str(p) for p in (json_file, page, files) if p)
    out.print(escape(f"Written: {written}"), soft_wrap=True)
    if not outcome.rows:
        err.print("[bold red]error:[/] no file could be measured.")
        raise typer.Exit(FAILED)
