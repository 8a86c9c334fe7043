"""`syncnet-service models …`: the networks' weights, listed, fetched and verified."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from cli.console import FAILED, ModelsDir, chosen_settings, complain, describe, err, out
from service.settings import Settings
from syncnet_python import fetching, weights
from syncnet_python.errors import SyncNetError, WeightsMissing
from syncnet_python.profiles import PUBLISHED

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The networks' weights: list, fetch, verify.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
AsJsonLines = Annotated[
    bool, typer.Option("--json", help="Print one JSON object a line for each of them.")
]
Names = Annotated[list[str] | None, typer.Argument(help="Names as `models list` shows them.")]


@app.command("list")
def list_models(models_dir: ModelsDir = None, as_json: AsJson = False) -> None:
    """What there is, what it is for and whether it is here. Reads no weights."""
    settings = chosen_settings(models_dir=models_dir, calibrated=False)
    rows = []
    for row in weights.registry().values():
        path = _locate(row.name, settings)
        rows.append(asdict(row) | {"path": None if path is None else str(path)})
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=None)
    for title in ("name", "role", "origin", "size", "here"):
        table.add_column(title, no_wrap=True)
    for entry in rows:
        size = f"{entry['size'] / 1e6:.1f} MB" if entry["size"] else "?"
        here = "yes" if entry["path"] else "no"
        table.add_row(entry["name"], entry["role"], entry["origin"], size, here)
    out.print(table)


@app.command("fetch")
def fetch_models(
    ctx: typer.Context,
    names: Names = None,
    models_dir: ModelsDir = None,
    as_json: AsJsonLines = False,
) -> None:
    """Download published weights: all that the published profile takes, or those named."""
    settings = chosen_settings(models_dir=models_dir, calibrated=False)
    folder = settings.models_dir or weights.BUNDLED_DIR
    rows = _named(names) if names else _missing(settings)
    if not rows:
        err.print("All that the published profile takes are here.")
    failures = 0
    with _download_bars() as bars:
        for row in rows:
            task = bars.add_task(row.name, total=row.size)

            def show(done: int, total: int | None, task: Any = task) -> None:
                bars.update(task, completed=done, total=total)

            try:
                path = str(fetching.fetch(row, folder, show))
                if as_json:
                    print(json.dumps({"name": row.name, "path": path}))
                else:
                    out.print(escape(path), soft_wrap=True)
            except SyncNetError as error:
                failures += 1
                if as_json:
                    print(json.dumps({"name": row.name, "error": describe(error)}))
                complain(error, verbose=ctx.obj)
    if failures:
        raise typer.Exit(FAILED)


@app.command("verify")
def verify_models(
    names: Names = None, models_dir: ModelsDir = None, as_json: AsJsonLines = False
) -> None:
    """Check size and hash of the weights that are here, or of those named.

    Bundled weights must be here; published ones only where they are named.
    """
    settings = chosen_settings(models_dir=models_dir, calibrated=False)
    failures = 0
    for row in _named(names) if names else weights.registry().values():
        path, sha256 = _locate(row.name, settings), None
        wrong: SyncNetError | None = None
        try:
            if path is not None:
                sha256 = weights.verify_file(path, row)
                said = f"{sha256}  {path}"
            elif names or row.origin == "bundled":
                raise WeightsMissing(f"{row.filename} is not here")
            else:
                said = "not downloaded"
        except SyncNetError as error:
            failures += 1
            wrong = error
            said = f"WRONG: {error.message}. {error.advice}"
        if as_json:
            about = {"name": row.name, "path": str(path) if path else None, "sha256": sha256}
            print(json.dumps(about | {"error": describe(wrong) if wrong else None}))
        else:
            out.print(escape(f"{row.name}: {said}"), soft_wrap=True)
    if failures:
        raise typer.Exit(FAILED)


def _locate(name: str, settings: Settings) -> Path | None:
    return weights.locate(name, settings.models_dir, settings.weights_paths.get(name))


def _named(names: list[str]) -> list[weights.WeightsEntry]:
    try:
        return [weights.entry(name) for name in names]
    except WeightsMissing as error:
        raise typer.BadParameter(error.message) from error


def _missing(settings: Settings) -> list[weights.WeightsEntry]:
    """What the published profile uses and is not here."""
    names = dict.fromkeys((*PUBLISHED.for_sync, PUBLISHED.classifier))
    return [weights.entry(name) for name in names if _locate(name, settings) is None]


def _download_bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    return Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=err)
