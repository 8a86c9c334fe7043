"""Which recordings a batch is about: those of folders, of patterns, of the rows of a CSV.

A CSV has a header with a column `file` or `path`, relative to the CSV; its other columns are
carried through to the results.
"""

import csv
import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from syncnet_python.errors import SyncNetError

# fmt: off
SUFFIXES = frozenset({
    ".webm", ".mkv", ".mp4", ".m4v", ".mov", ".qt", ".avi", ".mpg", ".mpeg", ".vob", ".ts", ".mts",
    ".m2ts", ".3gp", ".3g2", ".ogv", ".flv", ".wmv",
})
# fmt: on
"""Lower-case suffixes of videos, those that are not read here included: their rows say so."""

_COLUMNS = ("file", "path")


class InputError(SyncNetError):
    """A batch has nothing to do, or its list cannot be used. The message says what and where."""

    code = "batch_input"
    advice = "Give a folder, a pattern in quotes, or a CSV with a column `file`."


@dataclass(frozen=True, slots=True)
class Item:
    """One recording. file: as the input names it; path: absolute, links not followed; columns:
    what else the CSV says of it."""

    file: str
    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was found. left_out: files that are no videos by their names; empty: folders and
    patterns in which nothing was found."""

    items: tuple[Item, ...]
    left_out: int = 0
    empty: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns that are carried through, in the order of their appearance."""
        return tuple(dict.fromkeys(name for item in self.items for name in item.columns))


def find(sources: Sequence[str], without: Path | None = None) -> Inputs:
    """The recordings that folders (with all below them), patterns, files and CSVs name, each once.

    Hidden files are passed over. A path that is not there is one of the recordings, which then
    fails by name, unless nothing else was found. without: a folder in which nothing is looked for,
    such as that of the results. Raises InputError, also where there is nothing at all.
    """
    found: dict[Path, Item] = {}
    missing: set[Path] = set()
    empty: list[str] = []
    left_out = 0
    for source in sources:
        path = Path(source)
        if path.is_file():
            listed = path.suffix.lower() == ".csv"
            items = list(_from_csv(path)) if listed else [Item(source, _absolute(path))]
        elif not path.is_dir() and not glob.has_magic(source):
            items = [Item(source, _absolute(path))]
            missing.add(items[0].path)
        else:
            files = _below(path) if path.is_dir() else _matching(source)
            kept = [file for file in files if not _hidden(file, path) and not _in(file, without)]
            items = [Item(str(f), _absolute(f)) for f in kept if f.suffix.lower() in SUFFIXES]
            left_out += len(kept) - len(items)
            empty += [] if items else [source]
        for item in items:
            found.setdefault(item.path, item)
    if not found.keys() - missing:
        others = f"; {left_out} files are no videos by their names" if left_out else ""
        raise InputError(f"no recording was found in {' '.join(sources)}{others}")
    return Inputs(tuple(found.values()), left_out, tuple(empty))


def _below(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _matching(pattern: str) -> list[Path]:
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207 - a pattern may be absolute
    return [path for path in map(Path, sorted(found)) if path.is_file()]


def _hidden(path: Path, folder: Path) -> bool:
    inside = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
    return any(part.startswith(".") for part in inside.parts)


def _in(path: Path, folder: Path | None) -> bool:
    return folder is not None and _absolute(path).is_relative_to(_absolute(folder))


def _absolute(path: Path) -> Path:
    """Without dots; links are left alone, as each of them is a recording of its own name."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links


def _from_csv(path: Path) -> Iterator[Item]:
    lines: dict[Path, int] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            column = _column(path, reader.fieldnames or ())
            for row in reader:
                where = f"{path.name}, line {reader.line_num}"
                item = _item(where, row, column, path.parent)
                if item.path in lines:
                    first = lines[item.path]
                    raise InputError(f"{where}: {item.file} is listed before, in line {first}")
                lines[item.path] = reader.line_num
                yield item
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} is no CSV in UTF-8: {error}") from error


def _column(path: Path, header: Sequence[str]) -> str:
    """The header's name for the column of paths."""
    names = {name.strip().lower(): name for name in header}
    for wanted in _COLUMNS:
        if wanted in names:
            return names[wanted]
    raise InputError(f"{path.name}, line 1: there is no column `file` or `path`")


def _item(
    where: str, row: Mapping[str | None, str | list[str] | None], column: str, folder: Path
) -> Item:
    if None in row:
        raise InputError(f"{where}: more fields than the header has columns")
    cells = {str(name).strip(): str(text or "").strip() for name, text in row.items()}
    file = cells.pop(column.strip())
    if not file:
        raise InputError(f"{where}: the file is not named")
    return Item(file, _absolute(folder / file), cells)
