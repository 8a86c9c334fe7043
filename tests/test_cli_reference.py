"""docs/cli.md says of every command what the command says itself."""

import re
import subprocess
import sys
from pathlib import Path

import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from cli import app, reference

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "cli.md"


def names(group: TyperGroup, *path: str) -> list[str]:
    """Of every command that is not hidden, however deep."""
    found = []
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            found += names(command, *path, name)
        elif not command.hidden:
            found.append(" ".join((*path, name)))
    return found


def test_the_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text() == reference.page(), "python -m cli.reference > docs/cli.md"


def test_it_is_printed_by_a_command() -> None:
    command = [sys.executable, "-m", "cli.reference"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed == reference.page()


def test_every_command_has_its_section_and_its_link() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    page = reference.page()
    expected = [f"syncnet-service {name}" for name in names(group)]
    assert len(expected) >= 14
    assert re.findall(r"^## `(.*)`$", page, re.MULTILINE) == expected
    assert re.findall(r"^- \[`(.*)`\]", page, re.MULTILINE) == expected


def test_every_option_that_help_shows_is_there() -> None:
    sections = dict(
        re.findall(r"^## `([^`]*)`\n(.*?)(?=^## |\Z)", reference.page(), re.MULTILINE | re.DOTALL)
    )
    for command, section in sections.items():
        told = CliRunner().invoke(app, [*command.split()[1:], "--help"], terminal_width=300)
        assert told.exit_code == 0, command
        shown = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", told.output)) - {"--help"}
        assert shown - set(re.findall(r"--[a-z][a-z0-9-]+", section)) == set(), command


def test_it_says_what_every_command_and_option_is_for() -> None:
    page = reference.page()
    assert re.findall(r"^\| `.*` \| *\|$", page, re.MULTILINE) == []
    assert re.findall(r"\): *$", page, re.MULTILINE) == []
