"""`syncnet-service metrics …`: the figures that papers on generated talking heads compare."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import (
    FAILED,
    STOPPED,
    UNUSABLE,
    Device,
    ModelsDir,
    chosen_settings,
    complain,
    err,
    measuring,
    needed_by,
    out,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The figures that papers on generated talking heads compare: LSE-D, LSE-C, PSNR, SSIM.",
)
NEEDED = ("The metrics need", "requirements-evaluate.txt")


@app.command("lse")
def measure_lse(
    ctx: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(help="Videos, or folders: all videos in and below them.")
    ],
    protocol: Annotated[
        Literal["wav2lip-real", "wav2lip-lrs", "latentsync"],
        typer.Option(
            help="What is done before and after SyncNet: Wav2Lip's for videos of any kind (faces "
            "are found and followed, the mean is over tracks), Wav2Lip's for LRS2, LRS3 and LRW "
            "(whole frames), or LatentSync's (shorter tracks count, the mean is over videos)."
        ),
    ] = "wav2lip-real",
    network: Annotated[
        Literal["original", "fcn"],
        typer.Option(
            help="original: SyncNet v2, whose figures papers give. fcn: the bundled network, whose "
            "figures are on another scale and compare with none of theirs."
        ),
    ] = "original",
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for lse.json, lse.csv and what has been measured so far: the same command "
            "goes on where it was stopped."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    models_dir: ModelsDir = None,
    device: Device = None,
) -> None:
    """LSE-D and LSE-C of every video and in the mean. Figures of different protocols or networks
    are never comparable, so both are named in every output."""
    settings = chosen_settings(calibrated=False, models_dir=models_dir, device=device)
    with needed_by(*NEEDED):
        from evaluation import lse, lse_report
        from evaluation.lse_protocols import PROTOCOLS
    try:
        with err.status("Loading networks"):
            meter, models = lse.load(
                PROTOCOLS[protocol],
                network,
                models_dir=settings.models_dir,
                paths=settings.weights_paths,
                device=settings.device,
            )
    except lse.NotOfThisNetwork as error:
        complain(error, verbose=ctx.obj)
        raise typer.Exit(UNUSABLE) from error
    with _shown(output / lse_report.JOURNAL if output else None) as progress:
        report = lse_report.measure(
            paths, meter, models, device=settings.device, output=output, progress=progress
        )
    if as_json:
        print(json.dumps(lse_report.as_json(report)))
    else:
        for line in lse_report.headlines(report):
            out.print(escape(line), soft_wrap=True)
        if rows := lse_report.as_rows(report):
            out.print(_table(lse_report.TITLES, rows))
    for failure in report.failures:
        said = f"not measured: {failure.file}: {failure.reason} ({failure.code})"
        err.print(escape(said), soft_wrap=True)
    if output:
        written = f"Written: {output / lse_report.FIGURES}, {output / lse_report.ROWS}"
        err.print(escape(written), soft_wrap=True)
    if report.failures:
        err.print(f"{len(report.failures)} not measured, and not in the mean.")
        raise typer.Exit(FAILED)


@app.command("quality")
def measure_quality(
    reference: Annotated[Path, typer.Argument(help="The true video.")],
    generated: Annotated[Path, typer.Argument(help="The video that is to be like it.")],
    resize: Annotated[
        bool,
        typer.Option(
            "--resize",
            help="Scale generated frames of another size to the reference's (area means where they "
            "shrink, cubic where they grow), instead of refusing them.",
        ),
    ] = False,
    frames: Annotated[
        Path | None, typer.Option(help="Also write a CSV of one row a frame here.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, with every frame.")
    ] = False,
) -> None:
    """PSNR and SSIM of every frame and in the mean; frames are aligned by time."""
    with needed_by(*NEEDED):
        from evaluation import picture_quality
    try:
        with err.status("Comparing") as status:
            found = picture_quality.compare(
                reference,
                generated,
                resize=resize,
                progress=lambda compared: status.update(f"Comparing: {compared:,} frames"),
            )
    except KeyboardInterrupt as stopped:
        err.print("Stopped. Nothing is kept.")
        raise typer.Exit(STOPPED) from stopped
    if frames:
        _write(frames, picture_quality.as_csv(found))
    if as_json:
        told = picture_quality.as_json(found, str(reference), str(generated))
        print(json.dumps(told, allow_nan=False))
    else:
        out.print(_table(picture_quality.TITLES, picture_quality.as_rows(found)))
        for line in picture_quality.remarks(found):
            out.print(escape(line), soft_wrap=True)
    if frames:
        err.print(escape(f"Written: {frames}"), soft_wrap=True)


@contextmanager
def _shown(journal: Path | None) -> Iterator[Callable[[int, int, str], None]]:
    """How far the measuring is; and, where Ctrl-C stops it, what is kept."""
    if journal:
        with measuring(journal) as progress:
            yield progress
        return
    try:
        with err.status("Measuring") as status:
            yield lambda done, total, name: status.update(
                escape(f"Measuring: {done} of {total} done, now {name}")
            )
    except KeyboardInterrupt as stopped:
        err.print("Stopped. Nothing is kept; with --output DIR a second run goes on from there.")
        raise typer.Exit(STOPPED) from stopped


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None)
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
