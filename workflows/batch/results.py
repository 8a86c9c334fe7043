"""The files of a batch: `results.jsonl`, in which every outcome is kept, and `results.csv`.

results.jsonl is what a later run goes on from: one object a file, written as soon as the file is
done. A line that a kill has cut off is dropped, a later line of a file takes the place of an
earlier one. results.csv shows the files of the present batch, flat.
"""

import contextlib
import csv
import fcntl
import io
import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from syncnet_python.errors import RecordingError, SyncNetError
from syncnet_python.results import Verdict
from workflows.batch.inputs import InputError, Item

JSONL, CSV, SUMMARY = "results.jsonl", "results.csv", "batch_processing_summary.json"
_BATCH = ".batch"

Cell = str | int | float | None

COLUMNS = (
    "file", "score", "risk", "decision", "inconclusive", "likely_real", "sync_score",
    "offset_frames", "lag_ms", "confidence", "min_dist", "artifact_score", "doubts", "duration_s",
    "width", "height", "fps", "seconds", "error_code", "error_message",
)  # fmt: skip
"""Of results.csv; those of the input's CSV follow."""

_FORMULA = "=+-@\t\r\n＝＋－＠"
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one file.

    key: of the file as it was and of what else the outcome depends on; seconds: the analysis took,
    waiting and loading networks left out, None where it did not begin; job, attempt: of the
    durable job that it was, and how many were made for this key before it.
    """

    item: Item
    key: str
    result: Verdict | Exception
    seconds: float | None = None
    job: str | None = None
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """A line of results.jsonl, less the verdict's long lists.

    place: first byte and length of the line; error: {code, message, advice} or None; flat: the
    cells of results.csv; models: those that answered, by registry name.
    """

    place: tuple[int, int]
    key: str
    error: Mapping[str, str] | None
    seconds: float | None
    attempt: int
    flat: Mapping[str, Cell]
    models: Mapping[str, Mapping[str, str]]


class Results:
    """The results in one folder. A context manager; no other run may write there meanwhile.

    id: of the batch, the same in every run until `forget`.
    """

    def __init__(self, folder: Path) -> None:
        """Makes the folder where it is missing. Raises OSError; InputError where another run has
        the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = os.open(folder / _BATCH, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise InputError(f"another run is writing to {folder}") from error
        self.id = os.pread(self._lock, 64, 0).decode(errors="replace").strip()
        if not self.id:
            self._name()
        self._kept: dict[str, Kept] = {}
        self._open()
        self._table: io.TextIOWrapper | None = None
        self._columns: tuple[str, ...] = ()

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._table:
            self._table.close()
        os.close(self._lock)

    def forget(self) -> None:
        """Begin a new batch: nothing has been done."""
        self._file.close()
        self._name()
        (self.folder / JSONL).unlink(missing_ok=True)
        self._kept.clear()
        self._open()

    def get(self, item: Item) -> Kept | None:
        """What is kept of a file, whatever it was made of."""
        return self._kept.get(str(item.path))

    def begin(self, items: Iterable[Item], columns: Sequence[str], done: Iterable[Item]) -> None:
        """Begin results.csv. columns: of the input's CSV; done: items that need no new result."""
        self._columns = tuple(columns)
        self._write_table(done)
        self._table = (self.folder / CSV).open(
            "a", newline="", encoding="utf-8", errors="backslashreplace"
        )

    def put(self, outcome: Outcome) -> Kept:
        """Keep an outcome, in both files."""
        line = (json.dumps(_row(outcome)) + "\n").encode()
        start = self._file.seek(0, os.SEEK_END)
        self._file.write(line)
        self._file.flush()
        kept = _kept(json.loads(line), (start, len(line)))
        self._kept[str(outcome.item.path)] = kept
        if self._table:
            csv.writer(self._table).writerow(self._cells(outcome.item, kept))
            self._table.flush()
        return kept

    def finish(self, items: Sequence[Item]) -> None:
        """Put both files into the order of the items; other files' lines come before them. Items
        without a result have no line."""
        listed = [item for item in items if self.get(item)]
        paths = [str(item.path) for item in listed]
        before = [path for path in self._kept if path not in set(paths)]
        self._rewrite([*before, *paths])
        if self._table:
            self._table.close()
            self._table = None
            self._write_table(listed)

    def _name(self) -> None:
        self.id = uuid.uuid4().hex
        os.truncate(self._lock, 0)
        os.pwrite(self._lock, self.id.encode(), 0)

    def _open(self) -> None:
        """Open results.jsonl and see what is there, less what is no whole line."""
        path = self.folder / JSONL
        self._file: BinaryIO = path.open("ab+")
        self._file.seek(0)
        place, lines = 0, 0
        for line in self._file:
            start, place = place, place + len(line)
            lines += 1
            if not line.endswith(b"\n"):
                continue
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                row = json.loads(line)
                kept = _kept(row, (start, len(line)))
                self._kept.pop(row["path"], None)
                self._kept[row["path"]] = kept
        if lines > len(self._kept):
            self._rewrite(list(self._kept))

    def _rewrite(self, order: Sequence[str]) -> None:
        """Give results.jsonl the lines of these paths, in this order."""
        places: dict[str, tuple[int, int]] = {}
        with _replaced(self.folder / JSONL) as target:
            for path in order:
                start, length = self._kept[path].place
                self._file.seek(start)
                places[path] = (target.tell(), length)
                target.write(self._file.read(length))
        self._file.close()
        self._file = (self.folder / JSONL).open("ab+")
        self._kept = {path: replace(self._kept[path], place=p) for path, p in places.items()}

    def _write_table(self, items: Iterable[Item]) -> None:
        with _replaced(self.folder / CSV) as target:
            text = io.TextIOWrapper(target, "utf-8", newline="", errors="backslashreplace")
            writer = csv.writer(text)
            carried = (f"input_{name}" if name in COLUMNS else name for name in self._columns)
            writer.writerow([*COLUMNS, *map(cell, carried)])
            for item in items:
                if kept := self.get(item):
                    writer.writerow(self._cells(item, kept))
            text.flush()
            text.detach()

    def _cells(self, item: Item, kept: Kept) -> list[str | int | float]:
        own = {**kept.flat, "file": item.file}
        return [cell(own.get(name)) for name in COLUMNS] + [
            cell(item.columns.get(name)) for name in self._columns
        ]


def final(error: Mapping[str, str]) -> bool:
    """Whether a failure is the recording's own, so that it would fail again."""
    return error["code"] in _FINAL


def describe(error: Exception) -> dict[str, str]:
    """An error as it is kept: its stable code, what happened and what to do about it."""
    if isinstance(error, SyncNetError):
        return {"code": error.code, "message": error.message, "advice": error.advice}
    if isinstance(error, OSError):
        code = "no_such_file" if isinstance(error, FileNotFoundError) else "file"
        message = error.strerror or str(error)
        return {"code": code, "message": message, "advice": "Check the path and run it again."}
    message = f"{type(error).__name__}: {error}"
    return {"code": "analysis_failed", "message": message, "advice": "Report it with the file."}


def cell(value: object) -> str | int | float:
    """A value as a spreadsheet takes it for nothing else: text that it would take for a formula
    is put behind an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return round(value, 4)
    text = str(value).replace("\0", "")
    risky = text.lstrip(" ")[:1] in tuple(_FORMULA) and not _NUMBER.fullmatch(text)
    return f"'{text}" if risky else text


def _codes(kind: type[SyncNetError]) -> Iterator[str]:
    yield kind.code
    for child in kind.__subclasses__():
        yield from _codes(child)


# The limits may be others next time, and the machine less busy.
_FINAL = set(_codes(RecordingError)) - {
    "decode_timeout", "decoder_overran", "decoder_crashed", "too_large_frame", "too_long",
}  # fmt: skip


def _row(outcome: Outcome) -> dict[str, Any]:
    """The line of results.jsonl."""
    row: dict[str, Any] = {
        "file": outcome.item.file,
        "path": str(outcome.item.path),
        "key": outcome.key,
        "seconds": None if outcome.seconds is None else round(outcome.seconds, 3),
    }
    if outcome.item.columns:
        row["columns"] = dict(outcome.item.columns)
    if outcome.job is not None:
        row |= {"job": outcome.job, "attempt": outcome.attempt}
    if isinstance(outcome.result, Exception):
        return {**row, "error": describe(outcome.result)}
    return {**row, "verdict": asdict(outcome.result)}


def _kept(row: Mapping[str, Any], place: tuple[int, int]) -> Kept:
    """Raises KeyError, TypeError, AttributeError for what is no row."""
    error, verdict = row.get("error"), row.get("verdict")
    flat: dict[str, Cell] = {"seconds": row["seconds"]}
    if error is not None:
        flat |= {"error_code": error["code"], "error_message": error["message"]}
    else:
        flat |= _flat(row["verdict"])
    return Kept(
        place=place,
        key=row["key"],
        error=error,
        seconds=row["seconds"],
        attempt=row.get("attempt", 0),
        flat=flat,
        models=verdict["models"] if verdict else {},
    )


def _flat(verdict: Mapping[str, Any]) -> dict[str, Cell]:
    sync, face = verdict["syncnet"] or {}, verdict["efficientnet"] or {}
    return {
        "score": verdict["combined_score"],
        "risk": verdict["risk_level"],
        "decision": verdict["decision"],
        "inconclusive": verdict["inconclusive"],
        "likely_real": verdict["is_likely_real"],
        "sync_score": sync.get("score"),
        "artifact_score": face.get("score"),
        "doubts": " ".join(sync.get("doubts", ())),
        **{name: sync.get(name) for name in ("offset_frames", "lag_ms", "confidence", "min_dist")},
        **{name: verdict["video"][name] for name in ("duration_s", "width", "height", "fps")},
    }


@contextmanager
def _replaced(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when it is whole."""
    draft = path.with_name(f".{path.name}.part")
    with draft.open("wb") as file:
        yield file
    draft.replace(path)


def write_json(path: Path, value: object) -> None:
    """Write JSON in place of `path`, whole or not at all."""
    with _replaced(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())
