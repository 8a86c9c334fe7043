"""`syncnet-service keys …`: who may send recordings."""

import json
from datetime import date, datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import FAILED, err, out, refuse
from cli.database import opened
from service.settings import SettingsError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="API keys: create, list, revoke.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Whose it is, for your own list.")],
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    from service import audit, keys

    with opened() as engine:
        try:
            text, key_id = keys.create(engine, name)
        except SettingsError as error:
            refuse(f"{error}.")
        audit.record(engine, "key.created", owner=audit.OPERATOR, job_id=key_id)
    if as_json:
        print(json.dumps({"id": key_id, "name": name, "key": text}))
    else:
        print(text)
        err.print(f"Its id is {key_id}. Keep the key: it cannot be shown again.")


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Every key with its id, name and last use; never the key itself."""
    from service import keys

    with opened() as engine:
        rows = keys.list_all(engine)
    if as_json:
        fields = [{name: _plain(getattr(row, name)) for name in row.__slots__} for row in rows]
        print(json.dumps(fields, indent=2))
        return
    table = Table(box=None)
    for title in ("id", "name", "made", "last used", "revoked"):
        table.add_column(title, no_wrap=True)
    for row in rows:
        revoked = f"{row.revoked_at:%Y-%m-%d}" if row.revoked_at else ""
        used = str(row.last_used) if row.last_used else "never"
        table.add_row(row.id, escape(row.name), f"{row.created_at:%Y-%m-%d}", used, revoked)
    out.print(table)


@app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it.")],
) -> None:
    """Make a key invalid, within ten seconds and for good."""
    from service import audit, keys

    with opened() as engine:
        revoked = keys.revoke(engine, key_id)
        if revoked:
            audit.record(engine, "key.revoked", owner=audit.OPERATOR, job_id=key_id)
    if not revoked:
        err.print(f"There is no valid key of the id {escape(key_id)}.")
        raise typer.Exit(FAILED)


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, date | datetime) else value
