"""`syncnet-service video …`: what is in recordings, their sound alone, and chunks of them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cli.console import FAILED, STOPPED, check_folder, complain, describe, err, out, refuse
from syncnet_python.errors import SyncNetError

if TYPE_CHECKING:
    from workflows.clips import MediaInfo
    from workflows.clips.chunks import Range

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Recordings as files: what is in them, their sound alone, chunks of them.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Recording = Annotated[Path, typer.Argument(metavar="FILE", help="The recording.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", "-y", help="Write over files that are there already.")
]
OutputDir = Annotated[
    Path,
    typer.Option(
        "--output-dir", "-o", help="Folder for the chunks; made if need be.", file_okay=False
    ),
]


@app.command("info")
def show_info(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="The recordings.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line for every file.")
    ] = False,
) -> None:
    """What is in recordings: durations, frame rates, starts and bit rates, measured.

    Every packet is read and headers are not believed, so that recordings of browsers, which have
    no duration, are told too. A file that cannot be read does not stop the others.
    """
    from workflows.clips import info

    failures = 0
    for path in files:
        try:
            about = info(path)
        except Exception as error:  # whatever one file does, the others are still read
            failures += 1
            if as_json:
                print(json.dumps({"file": str(path), "error": describe(error)}))
            complain(error, verbose=ctx.obj, about=str(path))
            continue
        if as_json:
            print(json.dumps({"file": str(path), **asdict(about)}))
        else:
            lasts = "-" if about.duration_s is None else f"{about.duration_s:.3f} s"
            megabytes = about.size_bytes / 1e6
            out.print(
                escape(f"{path}: {about.container}, {lasts}, {megabytes:.2f} MB"), soft_wrap=True
            )
            out.print(_streams(about))
    if failures:
        raise typer.Exit(FAILED)


@app.command("extract-audio")
def extract_audio(
    file: Recording,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The WAV file; FILE with .wav at its end by default."),
    ] = None,
    sample_rate: Annotated[
        int, typer.Option(min=8000, max=192_000, help="Samples a second.")
    ] = 16_000,
    channels: Annotated[int, typer.Option(min=1, max=2, help="1 mono, 2 stereo.")] = 1,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write the sound of a recording as a WAV file of 16 bits.

    It begins with the first picture, so that a moment of the picture is the same moment of the
    sound, whatever the streams' own starts are.
    """
    from workflows.clips.sound_track import extract

    target = output or file.with_suffix(".wav")
    check_target(target, overwrite=overwrite, source=file)
    with (
        told(file, as_json=as_json),
        stoppable(nothing_written),
        err.status("Decoding the sound"),
    ):
        seconds = extract(file, target, sample_rate, channels)
    if as_json:
        about = {"sample_rate": sample_rate, "channels": channels, "duration_s": round(seconds, 6)}
        print(json.dumps({"file": str(file), "output": str(target), **about}))
    else:
        kind = "mono" if channels == 1 else "stereo"
        words = f"{target}: {seconds:.3f} s, {sample_rate} Hz, {kind}"
        out.print(escape(words), soft_wrap=True)


@app.command("chunk-time")
def chunk_time(
    file: Recording,
    output_dir: OutputDir,
    duration: Annotated[float, typer.Option(min=1, help="Seconds of a chunk.")] = 30.0,
    overlap: Annotated[
        float, typer.Option(min=0, help="Seconds that a chunk shares with the one before.")
    ] = 0.0,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Cut a recording into chunks of equal length, NAME_000 and so on.

    Chunks begin at exact times, not at key frames: picture and sound are decoded and encoded anew,
    in one pass, so that every chunk has the recording's own offset. A rest of less than a second
    stays with the last chunk.
    """
    from workflows.clips.chunks import planned_by_time

    with told(file, as_json=as_json), usable():
        ranges = planned_by_time(file, duration, overlap)
    _write(file, output_dir, ranges, overwrite=overwrite, as_json=as_json)


@app.command("chunk-silence")
def chunk_silence(
    file: Recording,
    output_dir: OutputDir,
    threshold: Annotated[
        float, typer.Option(help="Level that silence stays under, decibels below full scale.")
    ] = -30.0,
    min_silence: Annotated[
        float, typer.Option(min=0.05, help="Seconds that a silence lasts at least.")
    ] = 1.0,
    min_chunk: Annotated[float, typer.Option(min=0, help="Seconds of the shortest chunk.")] = 5.0,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Cut a recording in the middle of its silences, so that no word is cut.

    Together the chunks, NAME_000 and so on, are the whole recording. They are cut on exact times,
    as by chunk-time.
    """
    from workflows.clips.chunks import Silences, planned_by_silence

    with usable():
        options = Silences(threshold, min_silence, min_chunk)
    with (
        told(file, as_json=as_json),
        stoppable(nothing_written),
        err.status("Listening for silences"),
    ):
        ranges = planned_by_silence(file, options)
    _write(file, output_dir, ranges, overwrite=overwrite, as_json=as_json)


def _write(
    file: Path, folder: Path, ranges: "list[Range]", *, overwrite: bool, as_json: bool
) -> None:
    """Cut the chunks and print each when it is whole."""
    from workflows.clips import chunks

    planned = chunks.parts(file, folder, ranges)
    there = chunks.existing(file, folder)
    if there and not overwrite:
        already = f"{len(there)} chunks of {file.name} are in {folder} already"
        refuse(f"{already}: give another folder, or --overwrite.")
    check_folder(folder)
    table = Table(box=None)
    for title in ("chunk", "from", "to", "seconds"):
        table.add_column(title, justify="left" if title == "chunk" else "right", overflow="fold")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    done = 0
    with (
        told(file, as_json=as_json),
        stoppable(lambda: f"Stopped. {done} of {len(planned)} chunks are whole in {folder}."),
        Progress(*columns, TimeRemainingColumn(), console=err) as bars,
    ):
        task = bars.add_task("Cutting", total=len(planned))
        for number, part in enumerate(chunks.write(planned, file)):
            done = number + 1
            bars.update(task, completed=done)
            lasts = part.end_s - part.start_s
            if as_json:
                times = {"start_s": part.start_s, "end_s": part.end_s, "duration_s": lasts}
                rounded = {name: round(value, 6) for name, value in times.items()}
                print(json.dumps({"file": str(part.target), "number": number, **rounded}))
            times_text = (f"{t:.2f}" for t in (part.start_s, part.end_s, lasts))
            table.add_row(escape(part.target.name), *times_text)
    if not as_json:
        out.print(table)
    left = set(there) - {part.target for part in planned}
    if left:
        names = ", ".join(sorted(path.name for path in left))
        err.print(escape(f"Of an earlier run, and still there: {names}"), soft_wrap=True)


def check_target(target: Path, *, overwrite: bool, source: Path) -> None:
    """Exit with UNUSABLE where a file would be written over unasked, or the recording at all, or
    where it cannot be."""
    if not target.parent.is_dir():
        refuse(f"{target.parent} is no folder: make it, or give another --output.")
    if not target.exists():
        return
    if source.exists() and target.samefile(source):
        refuse("the output would be written over the recording: give another --output.")
    if target.is_dir():
        refuse(f"{target} is a folder: give another --output.")
    if not overwrite:
        refuse(f"{target} is there already: give another --output, or --overwrite.")


@contextmanager
def told(file: Path, *, as_json: bool) -> Iterator[None]:
    """What goes wrong with a file is told to programs too, before it ends the command."""
    try:
        yield
    except (SyncNetError, OSError) as error:
        if as_json:
            print(json.dumps({"file": str(file), "error": describe(error)}))
        raise


@contextmanager
def usable() -> Iterator[None]:
    """Arguments that do not fit together are told in one line."""
    try:
        yield
    except ValueError as error:
        refuse(str(error))


@contextmanager
def stoppable(kept: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C ends with a word on what is kept."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        err.print(escape(kept()), soft_wrap=True)
        raise typer.Exit(STOPPED) from stopped


def nothing_written() -> str:
    return "Stopped. Nothing was written."


def _streams(about: "MediaInfo") -> Table:
    """A row a stream."""
    table = Table(box=None)
    for title in ("stream", "codec", "what", "start", "seconds", "bit rate"):
        left = title in ("stream", "codec", "what")
        table.add_column(title, justify="left" if left else "right", no_wrap=True)
    for stream in about.streams:
        if stream.kind == "picture":
            what = f"{stream.width}x{stream.height}"
            what += f", {stream.fps:g} fps" if stream.fps else ""
            what += f", turned {stream.rotation}°" if stream.rotation else ""
        else:
            count = stream.channels
            kind = {1: "mono", 2: "stereo"}.get(count or 0, f"{count} channels")
            what = f"{stream.sample_rate} Hz, {kind}"
        table.add_row(
            stream.kind,
            stream.codec,
            what,
            "-" if stream.start_s is None else f"{stream.start_s:+.3f}",
            "-" if stream.duration_s is None else f"{stream.duration_s:.3f}",
            "-" if stream.bit_rate is None else f"{stream.bit_rate / 1000:.0f} kb/s",
        )
    return table
