"""`syncnet-service correct`: measures, writes the copy, measures it, prints both."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import (
    FAILED,
    Device,
    MinFaceSize,
    MinTrack,
    ModelsDir,
    Network,
    Profile,
    chosen_settings,
    err,
    out,
    refuse,
)
from cli.video import AsJson, Overwrite, check_target, nothing_written, stoppable, told

if TYPE_CHECKING:
    from workflows.clips.correct import Correction, Stage
    from workflows.clips.file_offset import FileOffset

_STAGES = {
    "measure": "Measuring the recording",
    "write": "Writing the copy",
    "verify": "Measuring the copy",
}


def correct(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recording.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The copy; NAME.corrected beside FILE by default."),
    ] = None,
    tolerance: Annotated[
        int,
        typer.Option(min=0, max=15, help="Frames of offset up to which nothing needs correcting."),
    ] = 1,
    force: Annotated[
        bool, typer.Option("--force", help="Correct also by an offset that cannot be trusted.")
    ] = False,
    overwrite: Overwrite = False,
    network: Network = None,
    min_track: MinTrack = None,
    min_face_size: MinFaceSize = None,
    profile: Profile = None,
    device: Device = None,
    models_dir: ModelsDir = None,
    as_json: AsJson = False,
) -> None:
    """Write a copy of a recording with its sound moved by the measured offset.

    The picture is copied as it is; the sound is decoded, moved by exactly that many samples, and
    encoded again. The copy is then measured too. Long recordings are measured in up to eight
    windows of half a minute all over them, which must agree. Where the offset cannot be trusted,
    nothing is written (exit status 1), unless --force is given.
    """
    settings = chosen_settings(
        calibrated=False,
        model_profile=profile,
        device=device,
        models_dir=models_dir,
        min_track_frames=min_track,
        min_face_size=min_face_size,
    )
    from syncnet_python.tracking import TrackingOptions
    from workflows.clips import SUFFIXES
    from workflows.clips import correct as correcting
    from workflows.clips.file_offset import OffsetFinder

    target = output or correcting.default_target(file)
    if target.suffix.lower() not in SUFFIXES:
        refuse(f"{target} must end in one of {', '.join(SUFFIXES)}.")
    check_target(target, overwrite=overwrite, source=file)
    finder = OffsetFinder(
        profile=settings.model_profile,
        models_dir=settings.models_dir,
        device=settings.device,
        precision=settings.precision,
        tracking=TrackingOptions(
            min_track=settings.min_track_frames, min_face_size=settings.min_face_size
        ),
        paths=settings.weights_paths,
        network=network,
    )
    stage: Stage = "measure"

    def begin(next_stage: "Stage") -> None:
        nonlocal stage
        stage = next_stage
        status.update(_STAGES[stage])

    def kept() -> str:
        written = stage == "verify"
        return f"Stopped. {target} is written, but not measured." if written else nothing_written()

    with told(file, as_json=as_json), stoppable(kept), err.status("") as status:
        done = correcting.correct(
            file, target, finder, tolerance=tolerance, force=force, on_stage=begin
        )
    if as_json:
        print(json.dumps(_plain(done)))
    else:
        _show(done)
    if done.outcome == "still_off":
        err.print("The copy's own offset is not what it should be: look at it before you use it.")
        raise typer.Exit(FAILED)


def _plain(done: "Correction") -> dict[str, Any]:
    fields = asdict(done)
    fields["file"] = str(fields.pop("source"))
    fields["output"] = str(done.output) if done.output else None
    return fields


def _show(done: "Correction") -> None:
    table = Table(box=None)
    for title in ("", "offset", "confidence", "min dist", "windows"):
        table.add_column(title, justify="left" if not title else "right")
    table.add_row("recording", *_row(done.before))
    if done.after:
        table.add_row("copy", *_row(done.after))
    out.print(table)
    if done.output is None:
        out.print("Nothing needs correcting, and nothing was written.")
        return
    later = "later" if done.moved_ms > 0 else "earlier"
    words = f"{done.output}: the sound comes {abs(done.moved_ms)} ms {later}."
    out.print(escape(words), soft_wrap=True)
    if done.left_out:
        words = f"Not in the copy: {', '.join(done.left_out)}."
        err.print(escape(words), soft_wrap=True)


def _row(found: "FileOffset") -> tuple[str, ...]:
    trusted = sum(window.reason is None for window in found.windows)
    return (
        f"{found.offset_frames:+d} frames ({found.lag_ms:+d} ms)",
        f"{found.confidence:.3g}",
        f"{found.min_dist:.3g}",
        f"{trusted} of {len(found.windows)} trusted",
    )
