"""`syncnet-service long`: hours of video, chunk by chunk."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from cli.console import (
    FAILED,
    STOPPED,
    UNUSABLE,
    Device,
    MinFaceSize,
    MinTrack,
    ModelsDir,
    Network,
    Profile,
    check_folder,
    chosen_settings,
    complain,
    describe,
    err,
    out,
)
from syncnet_python.errors import SyncNetError


def long(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The recording, of any length.")],
    output_dir: Annotated[
        Path,
        typer.Option(
            "--output-dir",
            "-o",
            help="Folder for processing_summary.json, timeline.html and chunks.jsonl, from which "
            "a run that was stopped goes on.",
            file_okay=False,
        ),
    ],
    chunk_duration: Annotated[float, typer.Option(min=1, help="Seconds of a chunk.")] = 30.0,
    overlap: Annotated[
        float, typer.Option(min=0, help="Seconds that a chunk shares with the next.")
    ] = 5.0,
    preset: Annotated[
        Literal["strict", "high", "medium", "relaxed", "none"],
        typer.Option(
            help="Which chunks are kept: confidence at least 6, 4, 2.5 or 1.5 on SyncNet's scale, "
            "offset at most 2, 5, 8 or 12 frames. Another one on a finished recording measures "
            "nothing again."
        ),
    ] = "none",
    keep_chunks: Annotated[
        bool,
        typer.Option("--keep-chunks", help="Write the kept chunks as files to chunks/PRESET."),
    ] = False,
    look_every: Annotated[
        int,
        typer.Option(
            min=1,
            help="Look for faces in every so manieth frame, and interpolate between; 1 is slower "
            "by about half.",
        ),
    ] = 5,
    network: Network = None,
    min_track: MinTrack = None,
    min_face_size: MinFaceSize = None,
    profile: Profile = None,
    device: Device = None,
    models_dir: ModelsDir = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one JSON object.")
    ] = False,
) -> None:
    """Measure a recording of hours in bounded memory: offset and confidence of every chunk and of
    the whole, and which chunks are good enough to keep.

    A run that was killed goes on when the same command is given again. Exit status 1: the file
    cannot be decoded to its end, or no chunk could be measured.
    """
    from syncnet_python.assembly import Networks
    from syncnet_python.tracking import TrackingOptions
    from workflows.long import processing as workflow
    from workflows.long.journal import JournalRefused
    from workflows.long.presets import PRESETS
    from workflows.long.records import LongOptions

    settings = chosen_settings(
        calibrated=False,
        model_profile=profile,
        device=device,
        models_dir=models_dir,
        min_track_frames=min_track,
        min_face_size=min_face_size,
    )
    tracking = TrackingOptions(
        min_track=settings.min_track_frames, min_face_size=settings.min_face_size
    )
    try:
        options = LongOptions(chunk_duration, overlap, tracking, look_every)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder: give one recording")
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {file}")
    check_folder(output_dir)
    networks = Networks(
        settings.model_profile,
        settings.models_dir,
        settings.device,
        settings.precision,
        settings.weights_paths,
        network=network,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    try:
        with Progress(*columns, TimeRemainingColumn(), console=err, disable=as_json) as bars:
            task = bars.add_task(f"Measuring {escape(file.name)}", total=1.0)
            summary = workflow.run(
                file,
                output_dir,
                networks,
                options,
                PRESETS[preset],
                keep_chunks=keep_chunks,
                progress=lambda done, what: bars.update(task, completed=done, description=what),
            )
            bars.update(task, completed=1.0, description=f"Measured {escape(file.name)}")
    except (SyncNetError, OSError) as error:
        if as_json:
            print(json.dumps({"file": str(file), "error": describe(error)}))
        if isinstance(error, JournalRefused):
            complain(error, verbose=ctx.obj)
            raise typer.Exit(UNUSABLE) from error
        raise
    except KeyboardInterrupt as stopped:
        kept = escape(str(output_dir / workflow.JOURNAL))
        err.print(f"Stopped. The same command goes on from here: what is measured is in {kept}")
        raise typer.Exit(STOPPED) from stopped
    if as_json:
        print(json.dumps(summary))
    else:
        _print(summary, output_dir, workflow.SUMMARY, workflow.PAGE)
    cut_off = any(failure["end_s"] is None for failure in summary["failures"])
    if cut_off or not summary["whole"]["measured"]:
        raise typer.Exit(FAILED)


def _print(summary: dict[str, Any], output_dir: Path, *names: str) -> None:
    from workflows.long.timeline_page import clock

    table = Table(box=None)
    for title in ("from", "to", "state", "offset", "confidence", "distance", "faces", "notes"):
        table.add_column(title, overflow="fold")
    for chunk in summary["chunks"]:
        measured, failure = chunk["state"] != "failed", chunk["failure"]
        notes = [*chunk["reasons"], *(chunk["doubts"] if measured else [failure["message"]])]
        table.add_row(
            clock(chunk["start_s"]),
            clock(chunk["end_s"]),
            chunk["state"],
            *_figures(chunk if measured else None),
            f"{chunk['speaking_faces']} of {chunk['visible_faces']}",
            escape("; ".join(notes)),
        )
    whole, timings = summary["whole"], summary["timings"]
    measured = whole["offset_frames"] is not None
    table.add_section()
    table.add_row(
        clock(whole["start_s"]),
        clock(whole["end_s"]),
        "whole",
        *_figures(whole if measured else None),
        f"{whole['speaking_faces']} of {whole['visible_faces']}",
        f"{whole['kept']} kept, {whole['dropped']} dropped, {whole['failed']} not measured",
    )
    out.print(table)
    for failure in summary["failures"]:
        if failure["end_s"] is None:
            said = f"From {clock(failure['start_s'])} on: {failure['message']} ({failure['code']})"
            err.print(f"[bold red]error:[/] {escape(said)}", soft_wrap=True)
    speed = timings["real_time_factor"]
    err.print(f"Protocol {escape(summary['protocol'])}, {speed:g} times real time", soft_wrap=True)
    written = ", ".join(str(output_dir / name) for name in names)
    err.print(f"Written: {escape(written)}", soft_wrap=True)


def _figures(row: dict[str, Any] | None) -> tuple[str, str, str]:
    if row is None:
        return ("-", "-", "-")
    return (
        f"{row['offset_frames']:+d} ({row['lag_ms']:+d} ms)",
        f"{row['confidence']:.3f}",
        f"{row['min_dist']:.3f}",
    )
