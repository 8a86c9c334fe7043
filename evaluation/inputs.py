"""What is to be evaluated: the files of a folder, or the rows of a CSV, with what is true of them.

A folder gives all media files below it. A file under a folder called `fake` is a fake, everything
else is genuine; the other folders on its way name its source.

A CSV has a header and one row a file. Columns, of which only the first is needed:

    file       relative to the CSV, or to the media folder where one is given
    label      real (also genuine) or fake; real where it is empty
    source     where the recording comes from: figures are given for each
    condition  under what circumstances it was made: figures are given for each
    group      recordings that belong together (a speaker, a video and its forgery), so that
               intervals do not take them for independent evidence; the file itself by default
    offset     true offset, frames of 1/25 s, > 0 where the sound leads the picture; 0 by default
    tolerance  frames either way that count as right; 1 by default
    stated     the offset that the collection states, where that is not the true one

Other columns are passed over, unless one looks like a misspelt column of these.
"""

import csv
import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from syncnet_python.errors import SyncNetError

COLUMNS = ("file", "label", "source", "condition", "group", "offset", "tolerance", "stated")
LABELS = {"real": True, "genuine": True, "fake": False, "": True}
VIDEOS = frozenset(
    (".webm", ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".mpg", ".mpeg", ".ogv", ".ts", ".3gp")
)
IMAGES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"))


class InputError(SyncNetError):
    """The list of recordings cannot be used. The message names the place and what is wrong."""

    code = "evaluation_input"
    advice = "The columns of the CSV are described in docs/evaluation.md."


@dataclass(frozen=True, slots=True)
class Item:
    """One file and what is true of it.

    name: as it is listed, for people; real: genuine, not a fake; group: what belongs together;
    offset: true offset, frames, sign as `results.SyncResult.offset_frames`; tolerance: frames
    either way that count as right; stated: what the collection says, where that differs.
    """

    path: Path
    name: str
    real: bool = True
    source: str = ""
    condition: str = ""
    group: str = ""
    offset: float = 0.0
    tolerance: float = 1.0
    stated: float | None = None

    @property
    def label(self) -> str:
        return "real" if self.real else "fake"


def read(
    path: Path, media: Path | None = None, *, suffixes: Collection[str] = VIDEOS | IMAGES
) -> list[Item]:
    """The files of a folder (sorted by name) or the rows of a CSV (in its order).

    media: folder that the CSV's files are relative to; the CSV's own by default. suffixes:
    lower-case, of the files that are taken from a folder; a CSV may name any file.
    Raises InputError.
    """
    if path.is_dir():
        items = _from_folder(path, suffixes)
        if not items:
            raise InputError(f"{path} holds no media file: {' '.join(sorted(suffixes))}")
        return items
    if not path.is_file():
        raise InputError(f"there is neither a folder nor a CSV {path}")
    items = _from_csv(path, media or path.parent)
    if not items:
        raise InputError(f"{path.name} lists no file")
    return items


def _from_folder(folder: Path, suffixes: Collection[str]) -> list[Item]:
    items = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if hidden or path.suffix.lower() not in suffixes or not path.is_file():
            continue
        parts = inside.parts[:-1]
        labels = [LABELS[part.lower()] for part in parts if part.lower() in LABELS]
        source = "/".join(part for part in parts if part.lower() not in LABELS)
        name = inside.as_posix()
        items.append(Item(path, name, all(labels), source, group=name))
    return items


def _from_csv(path: Path, media: Path) -> list[Item]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            _check_header(path, reader.fieldnames or ())
            return [_item(path, reader.line_num, row, media) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} is no CSV in UTF-8: {error}") from error


def _check_header(path: Path, found: Collection[str]) -> None:
    if "file" not in found:
        raise InputError(f"{path.name}, line 1: there is no column 'file'")
    for name in found:
        if name in COLUMNS:
            continue
        meant = difflib.get_close_matches(name.lower().strip(), COLUMNS, n=1, cutoff=0.8)
        if meant and meant[0] not in found:
            raise InputError(f"{path.name}, line 1: column {name!r}: do you mean {meant[0]!r}?")


def _item(
    path: Path, line: int, row: Mapping[str | None, str | list[str] | None], media: Path
) -> Item:
    where = f"{path.name}, line {line}"
    if None in row:
        raise InputError(f"{where}: more fields than the header has columns")
    fields = {c: str(row.get(c) or "").strip() for c in COLUMNS}
    name, label = fields["file"], fields["label"].lower()
    if not name:
        raise InputError(f"{where}: the file is not named")
    if label not in LABELS:
        raise InputError(f"{where}: the label is {fields['label']!r}, not real or fake")
    if not (media / name).is_file():
        raise InputError(f"{where}: there is no file {name} in {media}")
    numbers = {c: _number(where, c, fields[c]) for c in ("offset", "tolerance", "stated")}
    tolerance = 1.0 if numbers["tolerance"] is None else numbers["tolerance"]
    if tolerance < 0:
        raise InputError(f"{where}: the tolerance is {tolerance:g}, and must not be negative")
    return Item(
        media / name,
        name,
        LABELS[label],
        fields["source"],
        fields["condition"],
        fields["group"] or name,
        numbers["offset"] or 0.0,
        tolerance,
        numbers["stated"],
    )


def _number(where: str, column: str, text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: the {column} is {text!r}, not a number of frames")
    return value
