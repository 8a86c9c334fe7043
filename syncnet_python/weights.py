"""The weights registry: what there is, where it lies, whether it is what it says.

The table is `models/registry.json`; class order, layout, input size and normalisation belong to
its rows and never to code. Finding and verifying need no torch, so that a web process can report
what is there; only `load` imports it.
"""

import functools
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from syncnet_python.errors import WeightsCorrupt, WeightsMissing
from syncnet_python.results import ModelInfo, Origin

if TYPE_CHECKING:
    from torch import Tensor

BUNDLED_DIR = Path(__file__).resolve().parent.parent / "models"
_CHUNK = 1 << 20

LOOKALIKES = {
    "619a316812": "this is s3fd-619a316812.pth of face-alignment, which is often saved as "
    "sfd_face.pth: another network, whose detections differ"
}
"""Beginnings of SHA-256 hashes of files known to be taken for others, and what they are."""


@dataclass(frozen=True, slots=True)
class WeightsEntry:
    """One row of the registry.

    role: what it is for: face_detector, landmarks, sync or classifier; layout: which network in
    `networks/` reads it; size: bytes; sha256, or git_blob (SHA-1 over "blob <size>\\0" + bytes)
    where no SHA-256 was published; url: None for bundled files.
    For classifiers: classes in the order of the network's outputs, input_size in pixels, mean and
    std per RGB channel of pixels scaled to 0-1; flip: whether an answer is the mean of those for
    the picture and its mirror image.
    """

    name: str
    role: str
    origin: Origin
    layout: str
    filename: str
    version: str
    licence: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = None
    git_blob: str | None = None
    classes: tuple[str, ...] = ()
    input_size: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    flip: bool = False


@functools.cache
def registry() -> Mapping[str, WeightsEntry]:
    """Every known weights file by name, in the order of the table."""
    table = (BUNDLED_DIR / "registry.json").read_bytes()
    rows = TypeAdapter(tuple[WeightsEntry, ...]).validate_json(table)
    return {row.name: row for row in rows}


def entry(name: str) -> WeightsEntry:
    """The row of that name. Raises WeightsMissing for a name the registry does not hold."""
    try:
        return registry()[name]
    except KeyError:
        known = ", ".join(registry())
        raise WeightsMissing(f"no weights are called {name!r}; known: {known}") from None


def locate(name: str, models_dir: Path | None = None, explicit: Path | None = None) -> Path | None:
    """Where the file lies: the explicit path, then models_dir, then the bundled folder; or None."""
    if explicit is not None:
        return explicit if explicit.is_file() else None
    filename = entry(name).filename
    folders = (models_dir, BUNDLED_DIR) if models_dir else (BUNDLED_DIR,)
    return next((f / filename for f in folders if (f / filename).is_file()), None)


def status(models_dir: Path | None = None) -> list[dict[str, Any]]:
    """What is there, without reading it: name, role, origin and available of every row."""
    return [
        {
            "name": row.name,
            "role": row.role,
            "origin": row.origin,
            "available": locate(row.name, models_dir) is not None,
        }
        for row in registry().values()
    ]


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_of(path: Path) -> str:
    """The id git gives a file: SHA-1 over a header with its size and its bytes."""
    digest = _git_blob(path.stat().st_size)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def verify_file(path: Path, row: WeightsEntry) -> str:
    """Check size and hash against the registry and return the file's SHA-256.

    Raises WeightsCorrupt where they differ, and for a row that has no hash to check.
    """
    return _verify(row, path.name, path.stat().st_size, sha256_of(path), lambda: git_blob_of(path))


def load(
    name: str, models_dir: Path | None = None, explicit: Path | None = None
) -> tuple[dict[str, "Tensor"], ModelInfo]:
    """Find, verify and read a state dict; floating tensors come back as float32 on the CPU.

    The file is read once: what is verified is what is loaded, whatever becomes of the file.
    Raises WeightsMissing, WeightsCorrupt.
    """
    import torch  # deferred: the web process asks for `status` and never loads

    row = entry(name)
    path = locate(name, models_dir, explicit)
    if path is None:
        # The message reaches strangers, so it names the file and not the folder.
        raise WeightsMissing(f"the weights of {name} ({row.filename}) are not here")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsMissing(f"{path.name} cannot be read: {error.strerror}") from error
    sha256 = _verify(
        row,
        path.name,
        len(data),
        hashlib.sha256(data).hexdigest(),
        lambda: _git_blob(len(data), data).hexdigest(),
    )
    try:
        stored = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        state = stored.get("state_dict", stored)
        state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    except Exception as error:  # torch raises many kinds for one cause: not a plain state dict
        raise WeightsCorrupt(f"{path.name} cannot be read as a state dict: {error}") from error
    return state, ModelInfo(name, row.version, row.origin, sha256)


@contextmanager
def fitting(name: str) -> Iterator[None]:
    """Around putting the parameters of that registry name into their network.

    Raises WeightsCorrupt, with the file's name, where their names or shapes are others.
    """
    try:
        yield
    except (KeyError, RuntimeError) as error:
        raise WeightsCorrupt(f"{entry(name).filename} does not fit {name}: {error}") from error


def _git_blob(size: int, data: bytes = b"") -> "hashlib._Hash":
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    digest.update(data)
    return digest


def _verify(
    row: WeightsEntry, filename: str, size: int, sha256: str, git_blob: Callable[[], str]
) -> str:
    """Check a file's figures against its row. git_blob: called only where it decides."""
    for start, what in LOOKALIKES.items():
        if sha256.startswith(start):
            raise WeightsCorrupt(f"{filename} is not {row.name}: {what}")
    if row.size is not None and size != row.size:
        raise WeightsCorrupt(f"{filename} has {size:,} bytes, {row.name} has {row.size:,}")
    if row.sha256 is not None:
        wrong = sha256 != row.sha256
    elif row.git_blob is not None:
        wrong = git_blob() != row.git_blob
    else:
        raise WeightsCorrupt(f"the registry has no hash for {row.name}, so it cannot be trusted")
    if wrong:
        raise WeightsCorrupt(f"{filename} is not the registered {row.name}: its hash differs")
    return sha256
