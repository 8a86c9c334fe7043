"""`syncnet-service audit` and `worker`: what was asked, and more hands to answer it."""

import os
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import chosen_settings, out
from cli.database import opened


def audit(
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Leave out what is older; in UTC."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line for every row.")
    ] = False,
) -> None:
    """Who asked what, and what was answered. Oldest first."""
    from service import audit as trail

    with opened() as engine:
        rows = trail.read(engine, since.replace(tzinfo=UTC) if since else None)
        if as_json:
            for row in rows:
                print(row.json())
            return
        table = Table(box=None)
        for title in ("at", "owner", "action", "job or key", "outcome", "risk", "request"):
            table.add_column(title, overflow="fold")
        for row in rows:
            cells = (row.owner, row.action, row.job_id, row.outcome, row.risk, row.request_id)
            table.add_row(f"{row.at:%Y-%m-%d %H:%M:%S}", *(escape(cell or "") for cell in cells))
    out.print(table)


def worker(
    name: Annotated[
        str | None,
        typer.Option(help="Unique among the workers, and the same after a restart."),
    ] = None,
) -> None:
    """Score the recordings that wait in the queue, until SIGTERM.

    For more machines: give them the same DATABASE_URL and STORAGE_URL.
    """
    settings = chosen_settings()
    if settings.metrics_dir.is_dir():  # of a service, whose /metrics counts this worker as well
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(settings.metrics_dir))
    from service.jobs.worker import run

    raise typer.Exit(run(settings, name))
