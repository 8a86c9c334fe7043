"""What the commands share: where they print, how an error ends them, settings, options."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typer.core import TyperGroup

from service.settings import Settings, SettingsError
from service.settings import load as load_settings
from syncnet_python.errors import AnalysisFailed, CalibrationError, SyncNetError

FAILED, UNUSABLE, STOPPED = 1, 2, 130

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

ModelsDir = Annotated[
    Path | None,
    typer.Option(help="Folder of downloaded weights; MODELS_DIR or models/ by default."),
]
Profile = Annotated[
    Literal["auto", "bundled", "published"] | None,
    typer.Option(help="Which weights answer; MODEL_PROFILE by default."),
]
Device = Annotated[Literal["auto", "cpu", "cuda"] | None, typer.Option(help="DEVICE by default.")]
Calibration = Annotated[
    Path | None,
    typer.Option(help="A file that `calibrate` wrote; CALIBRATION_FILE by default."),
]


class ErrorGroup(TyperGroup):
    """Turns what the library raises into one line and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (SettingsError, SyncNetError, OSError) as error:
            complain(error, verbose=bool(ctx.params.get("verbose")))
            unusable = isinstance(error, SettingsError | CalibrationError)
            status = UNUSABLE if unusable else FAILED
            raise typer.Exit(status) from error


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


def complain(error: Exception, *, verbose: bool, about: str = "") -> None:
    """Print an error as one line, after the traceback where that is wanted. about: the file."""
    if verbose:
        err.print("".join(traceback.format_exception(error)), markup=False, soft_wrap=True)
    if isinstance(error, SettingsError):
        message, advice = str(error), "The settings are listed in .env.example."
    else:
        said = describe(error)
        message, advice = said["message"], said["advice"]
    what = ": ".join(filter(None, (about, message))).rstrip(".")
    err.print(f"[bold red]error:[/] {escape(what)}. {escape(advice)}".rstrip(), soft_wrap=True)


def chosen_settings(*, calibrated: bool = True, **given: object) -> Settings:
    """The settings of the environment, with what the command line says instead.

    calibrated: whether the operator's calibration is used; what mends the models or the
    calibration itself must run without.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    if not calibrated:
        chosen["calibration_file"] = None
    return load_settings(**chosen)


@contextmanager
def needed_by(subject: str, requirements: str) -> Iterator[None]:
    """Around imports that not every installation can do: says what is missing and how to get it.

    subject: what the sentence begins with, verb and all; requirements: the file that lists it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        err.print(f"{subject} {error.name}: pip install -r {requirements}")
        raise typer.Exit(UNUSABLE) from error


@contextmanager
def measuring(journal: Path) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar for what is kept in a journal, and a word on it where Ctrl-C stops it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    try:
        with Progress(*columns, TimeRemainingColumn(), console=err) as bars:
            task = bars.add_task("Measuring", total=None)
            yield lambda done, total, _: bars.update(task, completed=done, total=total)
    except KeyboardInterrupt as stopped:
        kept = escape(str(journal))
        err.print(f"Stopped. The same command goes on from here: what is measured is in {kept}")
        raise typer.Exit(STOPPED) from stopped
