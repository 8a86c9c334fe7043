"""`syncnet-service batch`: many recordings, several at once, results as they come."""

import json
import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from cli.console import (
    FAILED,
    STOPPED,
    UNUSABLE,
    Calibration,
    CropScale,
    Device,
    FacedetScale,
    MinFaceSize,
    MinTrack,
    ModelsDir,
    Network,
    Profile,
    Vshift,
    check_folder,
    chosen_settings,
    complain,
    err,
    out,
)
from service.settings import Settings
from syncnet_python import profiles
from workflows.batch import running as batches
from workflows.batch import workers as batch_workers
from workflows.batch.inputs import InputError, find
from workflows.batch.results import Outcome, Results

TIMEOUT_S = 600.0

ESTIMATED_S = 900.0
"""The time left is reckoned from the files of so many seconds."""

SHOWN = 10
"""Failures that are printed one by one; all of them are in the files."""


def batch(
    ctx: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR|GLOB|CSV",
            help="A folder (with all below it), a pattern in quotes, or a CSV with a column "
            "`file` or `path`, whose other columns are carried through.",
        ),
    ],
    output_dir: Annotated[
        Path,
        typer.Option("--output-dir", "-o", help="Folder for the results.", file_okay=False),
    ],
    max_workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Files scored at once, each in a process of its own; one a core by default, as "
            "far as there is 1 GB of memory for each. With --jobs: jobs that wait or run at once; "
            "half of MAX_QUEUE by default.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processor threads of each worker; its share of the cores by default."
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Score every file anew, whatever has been done.")
    ] = False,
    jobs: Annotated[
        bool | None,
        typer.Option(
            "--jobs/--no-jobs",
            help="Have the files scored as jobs by the workers of DATABASE_URL (or of the service "
            "in DATA_DIR), or by processes of this machine. Jobs where DATABASE_URL is set.",
            show_default=False,
        ),
    ] = None,
    partial: Annotated[
        bool, typer.Option(help="Measure what can be measured of recordings that are not whole.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds that one file may take; 600 by default."),
    ] = None,
    max_duration: Annotated[
        float | None,
        typer.Option(
            min=0.1, help="Longest recording in seconds; MAX_DURATION_SECONDS by default."
        ),
    ] = None,
    network: Network = None,
    profile: Profile = None,
    min_track: MinTrack = None,
    min_face_size: MinFaceSize = None,
    facedet_scale: FacedetScale = None,
    crop_scale: CropScale = None,
    vshift: Vshift = None,
    device: Device = None,
    models_dir: ModelsDir = None,
    calibration: Calibration = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Score many recordings, several at once.

    Each file's outcome is in OUTPUT_DIR/results.jsonl and results.csv as soon as it is known, and
    the sum of it in batch_processing_summary.json. A file that fails stops nothing (exit status
    1). The same command again does only what is missing.
    """
    settings = chosen_settings(
        model_profile=profile,
        device=device,
        models_dir=models_dir,
        calibration_file=calibration,
        max_duration_seconds=max_duration,
        min_track_frames=min_track,
        min_face_size=min_face_size,
    )
    if jobs is None:
        jobs = settings.database_url is not None
    here = {
        "network": network,
        "profile": profile,
        "min_track": min_track,
        "min_face_size": min_face_size,
        "facedet_scale": facedet_scale,
        "crop_scale": crop_scale,
        "vshift": vshift,
        "device": device,
        "models_dir": models_dir,
        "calibration": calibration,
        "max_duration": max_duration,
        "threads": threads,
        "timeout": timeout,
    }
    if jobs:
        _refuse(here)
    options = profiles.Options(facedet_scale, crop_scale, vshift)
    try:
        found = find(inputs, without=output_dir)
        if found.left_out:
            err.print(f"Left out, no videos by their names: {found.left_out} files")
        for source in found.empty:
            err.print(escape(f"No recording was found in {source}"), soft_wrap=True)
        if jobs:
            plan, score = _jobs(settings, max_workers, partial=partial)
        else:
            workers = min(max_workers or batch_workers.default_workers(), len(found.items))
            work = batch_workers.Work(
                workers=workers,
                threads=threads or batch_workers.default_threads(workers),
                timeout_s=timeout or TIMEOUT_S,
                partial=partial,
                network=network,
                options=options,
            )
            plan, score = _processes(settings, work, verbose=bool(ctx.obj))
        check_folder(output_dir)
        with Results(output_dir) as results, _progress(output_dir, jobs=jobs) as told:
            summary = batches.run(found, results, plan, score, told, again=again)
    except InputError as error:
        complain(error, verbose=bool(ctx.obj))
        raise typer.Exit(UNUSABLE) from error
    if as_json:
        print(json.dumps(summary))
    else:
        _show(summary, output_dir)
    if summary["files"]["failed"]:
        raise typer.Exit(FAILED)


def _refuse(given: dict[str, Any]) -> None:
    """Options that workers elsewhere cannot follow. Raises OptionRefused."""
    for name, value in given.items():
        if value is not None:
            reason = "is for processes of this machine: jobs are scored as their workers are set up"
            raise profiles.OptionRefused(name, reason)


def _processes(
    settings: Settings, work: batch_workers.Work, *, verbose: bool
) -> tuple[batches.Plan, batches.Score]:
    if not verbose:  # a worker's death is told in its file's row
        logging.getLogger("service").addHandler(logging.NullHandler())

    def score(orders: Sequence[batches.Order], _: Results) -> Generator[Outcome, None, None]:
        log_level = "error" if verbose else "critical"
        return batch_workers.score(orders, settings, work, log_level=log_level)

    return batch_workers.plan(settings, work), score


def _jobs(
    settings: Settings, at_once: int | None, *, partial: bool
) -> tuple[batches.Plan, batches.Score]:
    from workflows.batch import jobs as batch_jobs  # brings the database along

    at_once = at_once or max(1, settings.max_queue // 2)

    def score(orders: Sequence[batches.Order], results: Results) -> Generator[Outcome, None, None]:
        return batch_jobs.score(
            orders,
            settings,
            results,
            at_once=at_once,
            partial=partial,
            said=lambda text: err.print(escape(text), soft_wrap=True),
        )

    return batch_jobs.plan(at_once=at_once, partial=partial), score


@contextmanager
def _progress(folder: Path, *, jobs: bool) -> Iterator[batches.Told]:
    """A bar with the time left, and a word on what is kept where Ctrl-C stops it."""
    columns = (
        TextColumn("Scoring"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("time left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}", style="red"),
    )
    failed = 0
    try:
        with Progress(*columns, console=err, speed_estimate_period=ESTIMATED_S) as bars:
            task = bars.add_task("", total=None, failed="")

            def told(done: int, total: int, outcome: Outcome | None) -> None:
                nonlocal failed
                failed += outcome is not None and isinstance(outcome.result, Exception)
                said = f"{failed} failed" if failed else ""
                bars.update(task, completed=done, total=total, failed=said)

            yield told
    except KeyboardInterrupt as stopped:
        kept = escape(str(folder))
        going = " Jobs that were sent are scored meanwhile." if jobs else ""
        err.print(
            f"Stopped. What is done is in {kept}; the same command goes on from here.{going}",
            soft_wrap=True,
        )
        raise typer.Exit(STOPPED) from stopped


def _show(summary: dict[str, Any], folder: Path) -> None:
    files, seconds = summary["files"], summary["seconds"]
    table = Table(box=None, show_header=False)
    table.add_row("scored", str(files["scored"]))
    for risk, count in summary["by_risk"].items():
        table.add_row(f"  {risk}", str(count))
    if summary["inconclusive"]:
        table.add_row("  of them inconclusive", str(summary["inconclusive"]))
    table.add_row("failed", str(files["failed"]))
    for code, count in summary["failures"].items():
        table.add_row(f"  {code}", str(count))
    if files["of_earlier_runs"]:
        table.add_row("done by earlier runs", str(files["of_earlier_runs"]))
    if seconds:
        spread = (f"{name} {seconds[name]:.2f}" for name in ("mean", "median", "p95"))
        table.add_row("seconds a file", ", ".join(spread))
    if summary["throughput"]["files"]:
        table.add_row("files a minute", f"{summary['throughput']['files_per_minute']:.1f}")
    out.print(table)
    for row in summary["failed_files"][:SHOWN]:
        out.print(
            escape(f"failed: {row['file']}: {row['message']} ({row['code']})"), soft_wrap=True
        )
    if (more := len(summary["failed_files"]) - SHOWN) > 0:
        out.print(f"… and {more} more")
    out.print(
        escape(f"Written: {folder}/results.jsonl, results.csv, batch_processing_summary.json")
    )
