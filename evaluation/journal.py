"""What has been measured so far, so that an interrupted evaluation goes on where it stopped.

A journal is a folder: `results.jsonl` has one line a file, `arrays/` holds what is too large for a
line. A result is found again by the content of the file (SHA-256: reading a recording costs
nothing beside analysing it, and copies, moved folders and touched dates do no harm) and by a key,
which names everything else that it depends on: networks with their hashes, options, the code.
"""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.inputs import Item
from syncnet_python.errors import CalibrationError, ModelError, RecordingError, SyncNetError
from syncnet_python.results import ModelInfo
from syncnet_python.weights import BUNDLED_DIR, sha256_of

MEASURING = (
    "device",
    "precision",
    "max_duration_seconds",
    "max_frame_pixels",
    "min_track_frames",
    "min_face_size",
    "max_frames",
)
"""Settings that a recording's figures depend on beside the networks."""

Progress = Callable[[int, int, str], None]
"""Called with how many files are done, how many there are, and the name of the next one."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be measured. code: as in `errors`."""

    file: str
    code: str
    reason: str


class Journal:
    """Results by file, kept in a folder. Each is on disk as soon as `put` returns.

    key: what the results depend on beside the file. Results under other keys stay in the folder,
    so that one folder can serve several networks. fresh: forget what is there under this key.
    part: names one of several results of a file, such as a condition that it was put under.
    Arrays are saved before `put`: a result that has lost its own is none.
    """

    def __init__(self, path: Path, key: Mapping[str, str], *, fresh: bool = False) -> None:
        text = json.dumps(dict(key), sort_keys=True)
        self.key = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._file = path / "results.jsonl"
        self._arrays = path / "arrays"
        self._contents: dict[tuple[Path, int, int], str] = {}
        self._results: dict[str, dict[str, Any]] = {}
        self._arrays.mkdir(parents=True, exist_ok=True)
        if fresh:
            for array in self._arrays.glob(f"*-{self.key}.npz"):
                array.unlink()
        else:
            self._results = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        if not self._file.exists():
            return {}
        results = {}
        for line in self._file.read_bytes().splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # cut off by a kill while it was written
                continue
            if isinstance(row, dict) and row.get("key") == self.key:
                content = str(row["content"])
                if not row.get("arrays") or self._place(content).exists():
                    results[content] = dict(row["result"])
        return results

    def get(self, file: Path, part: str = "") -> dict[str, Any] | None:
        """What was put for a file of this content, under this key; None where nothing was."""
        return self._results.get(self._content(file, part))

    def put(self, file: Path, result: Mapping[str, Any], part: str = "") -> None:
        """Keep a result. It must be plain JSON, and comes back as JSON gives it."""
        content = self._content(file, part)
        row = {
            "key": self.key,
            "file": file.name,
            "content": content,
            "arrays": self._place(content).exists(),
            "result": dict(result),
        }
        line = json.dumps(row)
        with self._file.open("ab+") as journal:
            if journal.tell():
                journal.seek(-1, 2)
                if journal.read(1) != b"\n":  # end the line that a kill has cut off
                    line = "\n" + line
            journal.write(line.encode() + b"\n")
        self._results[content] = json.loads(line)["result"]

    def arrays(self, file: Path, part: str = "") -> Path:
        """Where an .npz of this file, under this key, has its place; whether or not it is there.

        Write it with `save_arrays`, so that a kill leaves no half of it.
        """
        return self._place(self._content(file, part))

    def save_arrays(self, file: Path, part: str = "", **arrays: Any) -> Path:
        """Keep arrays of a file. They appear under `arrays(file)` whole or not at all."""
        import numpy as np

        path = self.arrays(file, part)
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as target:
            np.savez(target, **arrays)
        return unfinished.replace(path)

    def _place(self, content: str) -> Path:
        digest = hashlib.sha256(content.encode()).hexdigest()
        return self._arrays / f"{digest[:32]}-{self.key}.npz"

    def _content(self, file: Path, part: str) -> str:
        stat = file.stat()
        known = (file, stat.st_size, stat.st_mtime_ns)
        if known not in self._contents:
            self._contents[known] = sha256_of(file)
        return f"{self._contents[known]}/{part}" if part else self._contents[known]


OpenJournal = Callable[[Mapping[str, str]], Journal]
"""The journal of a key, in the folder that the user chose."""


def key_of(networks: Iterable[ModelInfo], code: Sequence[str], **options: object) -> dict[str, str]:
    """The key of results: networks by name and hash, what the tables beside the bundled weights
    say of them (input size, classes, scale), options, and the code that measures.

    code: names of modules or packages, such as "syncnet_python"; their sources are hashed, so
    that a result of older code is never taken for one of today's.
    """
    named = {info.name: info.sha256 for info in networks}
    chosen = {name: str(value) for name, value in options.items()}
    tables = b"".join(path.read_bytes() for path in sorted(BUNDLED_DIR.glob("*.json")))
    described = hashlib.sha256(tables).hexdigest()
    return {**named, **chosen, "code": hash_sources(code), "tables": described}


def hash_sources(names: Sequence[str]) -> str:
    """SHA-256 over the Python sources of modules and of all that packages hold."""
    digest = hashlib.sha256()
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no module has the name {name}", name=name)
        origin = Path(spec.origin)
        files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
        for file in files:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def run(
    items: Sequence[Item],
    journal: Journal,
    measure: Callable[[Item], Mapping[str, Any]],
    progress: Progress = lambda done, total, name: None,
    *,
    part: str = "",
) -> tuple[list[tuple[Item, dict[str, Any]]], list[Failure]]:
    """Measure every file that the journal does not know; those measured, and those that failed.
    part: which of a file's results this is, see `Journal`; named beside the file.

    What a recording's own fault is (RecordingError) is kept in the journal; another error is
    named as a failure too, but the next run tries the file again. ModelError and CalibrationError
    end the run, as every file would have them. `measure` answers plain JSON.
    """
    measured: list[tuple[Item, dict[str, Any]]] = []
    failures: list[Failure] = []
    for done, item in enumerate(items):
        name = f"{item.name} ({part})" if part else item.name
        progress(done, len(items), name)
        try:
            result = journal.get(item.path, part)
            if result is None:
                result = _measured(item, journal, measure, part)
        except (ModelError, CalibrationError):
            raise
        except Exception as error:  # whatever one file does, the others are still measured
            result = {"failed": describe(error)}
        if "failed" in result:
            failures.append(Failure(name, **result["failed"]))
        else:
            measured.append((item, result))
    progress(len(items), len(items), "")
    return measured, failures


def _measured(
    item: Item, journal: Journal, measure: Callable[[Item], Mapping[str, Any]], part: str
) -> dict[str, Any]:
    """Measured, or failed by the recording's own fault, and kept."""
    try:
        result = dict(measure(item))
    except RecordingError as error:
        result = {"failed": describe(error)}
    journal.put(item.path, result, part)
    return result


def describe(error: Exception) -> dict[str, str]:
    """code and reason of an error; "broken" where it is none of `errors`."""
    if isinstance(error, SyncNetError):
        return {"code": error.code, "reason": error.message}
    return {"code": "broken", "reason": f"{type(error).__name__}: {error}"}
