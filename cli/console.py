"""What the commands share: where they print, how an error ends them, settings, options."""

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typer.core import TyperGroup

from service.settings import Settings, SettingsError
from service.settings import load as load_settings
from syncnet_python.errors import AnalysisFailed, CalibrationError, ModelError, SyncNetError
from syncnet_python.profiles import OptionRefused

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
Network = Annotated[
    Literal["original", "fcn"] | None,
    typer.Option(
        help="SyncNet v2 with S3FD, or the bundled FCN-SyncNet; the profile's by default."
    ),
]
MinTrack = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Frames, at 25 a second, that a face must be in view; MIN_TRACK_FRAMES by default "
        "(the reference scripts have 100).",
    ),
]
MinFaceSize = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Larger side of a face's box that must be exceeded, in pixels of the picture as it is "
        "analysed: with the bundled networks at most about 640x480, with the published ones as it "
        "is; MIN_FACE_SIZE by default (the reference scripts have 100).",
    ),
]
FacedetScale = Annotated[
    float | None,
    typer.Option(help="Factor on frames before S3FD searches them; 0.25 by default. S3FD only."),
]
CropScale = Annotated[
    float | None,
    typer.Option(
        help="How much of its size is added around the face box in SyncNet v2's crops; 0.4 by "
        "default. SyncNet v2 only."
    ),
]
Vshift = Annotated[
    int | None,
    typer.Option(help="Frames of offset searched on either side; 15 by default."),
]


class ErrorGroup(TyperGroup):
    """Turns what the library raises into one line and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (SettingsError, OptionRefused, SyncNetError, OSError) as error:
            complain(error, verbose=bool(ctx.params.get("verbose")))
            raise typer.Exit(UNUSABLE if _unusable(error) else FAILED) from error


def _unusable(error: Exception) -> bool:
    """Whether an error is of the command or a setting, not of an input. A ModelError that is not
    about a file of weights is about DEVICE."""
    about_settings = isinstance(error, SettingsError | OptionRefused | CalibrationError)
    return about_settings or type(error) is ModelError


def describe(error: Exception) -> dict[str, str]:
    """An error for programs: its stable code, what happened and what to do about it."""
    if isinstance(error, SyncNetError):
        return {"code": error.code, "message": error.message, "advice": error.advice}
    if isinstance(error, OSError):
        code = "no_such_file" if isinstance(error, FileNotFoundError) else "file"
        return {"code": code, "message": _of_file(error), "advice": "Check the path and try again."}
    return {
        "code": AnalysisFailed.code,
        "message": f"{type(error).__name__}: {error}",
        "advice": "Run again with -v before the command for the traceback, and report it.",
    }


def _of_file(error: OSError) -> str:
    """The system's words without its number."""
    if error.strerror is None:
        return str(error)
    said = error.strerror[:1].lower() + error.strerror[1:]
    return said if error.filename is None else f"{error.filename}: {said}"


def complain(error: Exception, *, verbose: bool, about: str = "") -> None:
    """Print an error as one line, after the traceback where that is wanted. about: the file."""
    if verbose:
        err.print("".join(traceback.format_exception(error)), markup=False, soft_wrap=True)
    if isinstance(error, SettingsError):
        message, advice = str(error), "The settings are listed in .env.example."
    elif isinstance(error, OptionRefused):
        flag = error.option.replace("_", "-")
        message, advice = f"--{flag} {error.reason}", ""
    else:
        said = describe(error)
        message, advice = said["message"], said["advice"]
    if message.startswith(f"{about}: "):
        about = ""
    what = ": ".join(filter(None, (about, message))).rstrip(".")
    err.print(f"[bold red]error:[/] {escape(what)}. {escape(advice)}".rstrip(), soft_wrap=True)


def refuse(why: str) -> NoReturn:
    """End a command that cannot be used as it is."""
    err.print(f"[bold red]error:[/] {escape(why)}", soft_wrap=True)
    raise typer.Exit(UNUSABLE)


def check_folder(folder: Path) -> None:
    """Exit with UNUSABLE where a folder of outputs is neither there nor can be made, before
    anything is measured for it."""
    path = folder.absolute()
    nearest = next(place for place in (path, *path.parents) if place.exists())
    if not nearest.is_dir():
        refuse(f"{folder} cannot be made: {nearest} is no folder.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        refuse(f"{folder} cannot be written to: give another folder.")


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
