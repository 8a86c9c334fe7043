"""docs/cli.md, printed from the commands themselves: `python -m cli.reference > docs/cli.md`."""

import re
import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from cli import app

PROGRAM = "syncnet-service"

Context = Any
"""typer gives its contexts no public type."""

_OPENING = f"""# The command line

Every command and option of `{PROGRAM}`, which `make` puts into `.venv/bin`. Each of them says
the same with `--help`. This page is printed by `python -m cli.reference`.

Exit status: 0 everything done, 1 some inputs failed (of an evaluation: all of them), 2 the command
or a setting cannot be used, 130 stopped by Ctrl-C. Settings come from the environment and from
`.env`, see [settings.md](settings.md); an option comes before the setting of the same name.
"""


def page() -> str:
    """The text of docs/cli.md."""
    group = typer.main.get_command(app)
    root = group.make_context(PROGRAM, [], resilient_parsing=True)
    commands = list(_commands(root))
    contents = "\n".join(
        f"- [`{context.command_path}`](#{_anchor(context)}): {_first_sentence(context)}"
        for context in commands
    )
    sections = [_section(context) for context in commands]
    return "\n".join([_OPENING, contents, "", _options(root), *sections])


def _commands(context: Context) -> Iterator[Context]:
    """Every command below a group that is not hidden, groups themselves left out; in the order in
    which --help names them."""
    group = context.command
    if not isinstance(group, TyperGroup):
        yield context
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            yield from _commands(
                command.make_context(name, [], parent=context, resilient_parsing=True)
            )


def _section(context: Context) -> str:
    """What one command does, how it is called and what it takes."""
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    return "\n".join(
        [
            f"## `{context.command_path}`\n",
            *(f"{paragraph}\n" for paragraph in _paragraphs(context)),
            f"```\n{usage}\n```\n",
            _options(context),
        ]
    )


def _options(context: Context) -> str:
    """A table of what a command takes; before the first command, what all of them take."""
    rows = []
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and parameter.expose_value:  # not --help and its like
            name, meaning = (" ".join(cell.split()) for cell in record)
            rows.append(f"| `{_cell(name)}` | {_cell(meaning)} |")
    if not rows:
        return ""
    whose = "Before every command" if context.parent is None else "Takes"
    return "\n".join([f"| {whose} | |", "|---|---|", *rows, ""])


def _cell(text: str) -> str:
    """Text in a table, where a bar would end the cell, in code as well."""
    return text.replace("|", "\\|")


def _paragraphs(context: Context) -> list[str]:
    """What the command does, each paragraph on a line of its own."""
    help_text: str = context.command.help or ""
    return [" ".join(paragraph.split()) for paragraph in help_text.strip().split("\n\n")]


def _first_sentence(context: Context) -> str:
    return re.split(r"(?<=[.?!])\s", _paragraphs(context)[0], maxsplit=1)[0]


def _anchor(context: Context) -> str:
    """Of the command's heading, as GitHub makes it."""
    path: str = context.command_path
    return path.replace(" ", "-")


if __name__ == "__main__":
    sys.stdout.write(page())
