"""`syncnet-service …`: parses, calls the library, prints.

Exit status: 0 everything done, 1 some inputs failed, 2 the command or a setting cannot be used.
"""

import json
import traceback
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
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
from typer.core import TyperGroup

from service.settings import Settings, SettingsError
from service.settings import load as load_settings
from syncnet_python import fetching, weights
from syncnet_python.errors import AnalysisFailed, SyncNetError, WeightsMissing
from syncnet_python.profiles import PUBLISHED
from syncnet_python.results import Verdict

FAILED, UNUSABLE = 1, 2

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class _Group(TyperGroup):
    """Turns what the library raises into one line and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (SettingsError, SyncNetError, OSError) as error:
            _complain(error, verbose=bool(ctx.params.get("verbose")))
            status = UNUSABLE if isinstance(error, SettingsError) else FAILED
            raise typer.Exit(status) from error


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Score recordings of speaking people: does the voice belong to the lips, is the face "
    "untouched?",
)
models = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The networks' weights: list, fetch, verify.",
)
app.add_typer(models, name="models")

ModelsDir = Annotated[
    Path | None,
    typer.Option(help="Folder of downloaded weights; MODELS_DIR or models/ by default."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Names = Annotated[list[str] | None, typer.Argument(help="Names as `models list` shows them.")]


@app.callback()
def options(
    ctx: typer.Context,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.")
    ] = False,
) -> None:
    ctx.obj = verbose


@models.command("list")
def list_models(models_dir: ModelsDir = None, as_json: AsJson = False) -> None:
    """What there is, what it is for and whether it is here. Reads no weights."""
    settings = _settings(models_dir=models_dir)
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


@models.command("fetch")
def fetch_models(ctx: typer.Context, names: Names = None, models_dir: ModelsDir = None) -> None:
    """Download published weights: all that the published profile takes, or those named."""
    settings = _settings(models_dir=models_dir)
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
                out.print(escape(str(fetching.fetch(row, folder, show))), soft_wrap=True)
            except SyncNetError as error:
                failures += 1
                _complain(error, verbose=ctx.obj)
    if failures:
        raise typer.Exit(FAILED)


@models.command("verify")
def verify_models(names: Names = None, models_dir: ModelsDir = None) -> None:
    """Check size and hash of the weights that are here, or of those named.

    Bundled weights must be here; published ones only where they are named.
    """
    settings = _settings(models_dir=models_dir)
    failures = 0
    for row in _named(names) if names else weights.registry().values():
        path = _locate(row.name, settings)
        try:
            if path is not None:
                said = f"{weights.verify_file(path, row)}  {path}"
            elif names or row.origin == "bundled":
                raise WeightsMissing(f"{row.filename} is not here")
            else:
                said = "not downloaded"
        except SyncNetError as error:
            failures += 1
            said = f"WRONG: {error.message}. {error.advice}"
        out.print(escape(f"{row.name}: {said}"), soft_wrap=True)
    if failures:
        raise typer.Exit(FAILED)


@app.command()
def score(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Recordings to score.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line for every file.")
    ] = False,
    partial: Annotated[
        bool, typer.Option(help="Measure what can be measured of recordings that are not whole.")
    ] = False,
    profile: Annotated[
        Literal["auto", "bundled", "published"] | None,
        typer.Option(help="Which weights answer; MODEL_PROFILE by default."),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None, typer.Option(help="DEVICE by default.")
    ] = None,
    models_dir: ModelsDir = None,
) -> None:
    """Score recordings. A file that cannot be scored does not stop the others."""
    settings = _settings(model_profile=profile, device=device, models_dir=models_dir)
    outcomes = _score_each(files, settings, partial=partial)
    _report(outcomes, as_json=as_json, verbose=ctx.obj)


@app.command()
def demo(
    ctx: typer.Context,
    output_dir: Annotated[Path, typer.Option(help="Folder for the two clips.")] = Path("demo"),
) -> None:
    """Write two small clips, one in sync and one dubbed with another voice, and score both."""
    try:
        from evaluation.samples import DEMO, talking_clip
    except ModuleNotFoundError as error:
        err.print(f"The sample clips need {error.name}: pip install -r requirements-dev.txt")
        raise typer.Exit(UNUSABLE) from error
    output_dir.mkdir(parents=True, exist_ok=True)
    with err.status("Writing two clips"):
        for name, fields in DEMO.items():
            talking_clip(output_dir / name, **fields)
    files = [output_dir / name for name in DEMO]
    _report(_score_each(files, _settings(), partial=False), as_json=False, verbose=ctx.obj)


def _score_each(
    files: list[Path], settings: Settings, *, partial: bool
) -> Iterator[tuple[Path, Verdict | Exception]]:
    """Every file with its verdict, or with why it has none."""
    from service.engine import WrapperEngine  # brings torch along, which other commands spare

    engine = WrapperEngine(settings)
    for path in files:
        outcome: Verdict | Exception
        try:
            if not path.is_file():
                raise FileNotFoundError("no such file")
            with err.status(f"Scoring {escape(path.name)}"):
                outcome = engine.score(
                    path.resolve(), path.name, partial=partial, on_partial=lambda verdict: None
                )
        except Exception as error:  # whatever one file does, the others are still scored
            outcome = error
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
        _complain(outcome, verbose=verbose, about=str(path))
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
            notes.insert(0, "inconclusive")
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


def describe(error: Exception) -> dict[str, str]:
    """An error for programs: its stable code, what happened and what to do about it."""
    if isinstance(error, SyncNetError):
        return {"code": error.code, "message": error.message, "advice": error.advice}
    if isinstance(error, OSError):
        code = "no_such_file" if isinstance(error, FileNotFoundError) else "file"
        return {"code": code, "message": str(error), "advice": "Check the path and try again."}
    return {
        "code": AnalysisFailed.code,
        "message": f"{type(error).__name__}: {error}",
        "advice": "Run again with -v before the command for the traceback, and report it.",
    }


def _complain(error: Exception, *, verbose: bool, about: str = "") -> None:
    if verbose:
        err.print("".join(traceback.format_exception(error)), markup=False, soft_wrap=True)
    if isinstance(error, SettingsError):
        message, advice = str(error), "The settings are listed in .env.example."
    else:
        said = describe(error)
        message, advice = said["message"], said["advice"]
    what = ": ".join(filter(None, (about, message))).rstrip(".")
    err.print(f"[bold red]error:[/] {escape(what)}. {escape(advice)}".rstrip(), soft_wrap=True)


def _settings(**given: object) -> Settings:
    """The settings of the environment, with what the command line says instead."""
    chosen = {name: value for name, value in given.items() if value is not None}
    return load_settings().model_copy(update=chosen)


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


def main() -> None:
    """The installed program."""
    app()


if __name__ == "__main__":
    main()
