"""`syncnet-service …`: parses, calls the library, prints.

Exit status: 0 everything done, 1 some inputs failed (of an evaluation: all of them), 2 the command
or a setting cannot be used, 130 stopped by Ctrl-C.
"""

from typing import Annotated

import typer

from cli import (
    batch,
    calibrating,
    correcting,
    evaluating,
    files,
    keys,
    long,
    metrics,
    models,
    operating,
    scoring,
    stream,
    video,
)
from cli.console import ErrorGroup, out
from service import __version__

app = typer.Typer(
    cls=ErrorGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Score recordings of speaking people: does the voice belong to the lips, is the face "
    "untouched?",
)
app.command()(scoring.score)
app.command()(scoring.demo)
app.command()(batch.batch)
app.command()(long.long)
app.command()(files.pipeline)
app.command()(files.visualise)
app.command()(stream.stream)
app.command()(correcting.correct)
app.command()(calibrating.calibrate)
app.command()(operating.worker)
app.command()(operating.audit)
app.add_typer(keys.app, name="keys")
app.add_typer(models.app, name="models")
app.add_typer(evaluating.app, name="evaluate")
app.add_typer(metrics.app, name="metrics")
app.add_typer(video.app, name="video")


def _tell_version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    ctx.obj = verbose


def main() -> None:
    """The installed program."""
    app()
