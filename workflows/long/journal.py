"""What has been measured of a long recording, a line a chunk, so that a killed run goes on."""

import fcntl
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from syncnet_python.errors import SyncNetError
from workflows.long.records import Chunk, CutOff

_CHUNK = TypeAdapter(Chunk)
_CUT_OFF = TypeAdapter(CutOff | None)


class JournalRefused(SyncNetError):
    """The journal in the output folder cannot be gone on with."""

    code = "journal_refused"
    advice = "Give another --output-dir, or delete the journal to begin anew."


class JournalInUse(JournalRefused):
    """Another process is at it."""

    code = "journal_in_use"
    advice = "Wait for the other run, or give another --output-dir."


class ChunkJournal:
    """`chunks.jsonl`: a line that says what was asked, a line a chunk, and one at the end.

    identity: all that the figures depend on: the file's hash, options, networks. A line that a
    kill has cut off is taken away. While it is open no other process may write to it.
    Raises JournalRefused for the journal of another file or other options, one that is no
    journal, or one that is being written.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.chunks: list[Chunk] = []
        self.complete = False
        self.cut_off: CutOff | None = None
        self._path = path
        self._file = path.open("a+b")
        try:
            self._lock()
            self._read(dict(identity))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "ChunkJournal":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, chunk: Chunk) -> None:
        """On disk, as far as this process goes, when this returns."""
        self._write({"chunk": asdict(chunk)})
        self.chunks.append(chunk)

    def finish(self, cut_off: CutOff | None) -> None:
        self._write({"end": asdict(cut_off) if cut_off else None})
        self.complete, self.cut_off = True, cut_off

    def discard(self) -> None:
        """Take the journal away: nothing of the recording can be measured."""
        self._path.unlink()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalInUse(f"another run is writing {self._path}") from error

    def _read(self, identity: dict[str, Any]) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rpartition(b"\n")[0]
        self._file.truncate(len(whole) + 1 if whole else 0)
        lines = whole.splitlines()
        if not lines:
            self._write({"long": identity})
            return
        try:
            rows = [json.loads(line) for line in lines]
            asked = rows[0]["long"]
            if asked != identity:
                raise JournalRefused(f"{self._path} is of {_difference(asked, identity)}")
            for row in rows[1:]:
                if "end" in row:
                    self.complete, self.cut_off = True, _CUT_OFF.validate_python(row["end"])
                else:
                    self.chunks.append(_CHUNK.validate_python(row["chunk"]))
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise JournalRefused(f"{self._path} is no journal of this program") from error
        if [chunk.number for chunk in self.chunks] != list(range(len(self.chunks))):
            raise JournalRefused(f"{self._path} lacks chunks")

    def _write(self, row: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()


def _difference(asked: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What the journal is of, in words."""
    if asked.get("sha256") != now.get("sha256"):
        return "another recording"
    if asked.get("networks") != now.get("networks"):
        return "other networks"
    before, after = asked.get("options", {}), now.get("options", {})
    names = [name for name in after if before.get(name) != after[name]]
    said = ", ".join(f"{name} {before.get(name)}, not {after[name]}" for name in names)
    return f"other options ({said})" if said else "another version of this program"
