"""Files that browsers fetch: read, packed and named by their content once in a process."""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flask import Response, request

KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".ts": "text/plain",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".bin": "application/octet-stream",
}
"""By the end of a name; of all others the system is asked."""

_WORTH_PACKING = 0.9
"""What is left of a file must be less than this share of it."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A body, and the same in gzip where that saves something. tag: of its content."""

    body: bytes
    packed: bytes | None
    kind: str
    tag: str

    def response(self) -> Response:
        """The answer to this request. Browsers keep it, and ask each time whether it is new."""
        packed = self.packed if request.accept_encodings.quality("gzip") > 0 else None
        answer = Response(self.body if packed is None else packed, mimetype=self.kind)
        if packed is not None:
            answer.headers["Content-Encoding"] = "gzip"
        if self.packed is not None:
            answer.headers["Vary"] = "Accept-Encoding"
        answer.set_etag(self.tag if packed is None else f"{self.tag}-gzip")
        answer.headers["Cache-Control"] = "no-cache"
        answer.make_conditional(request)
        return answer


def made(body: bytes, kind: str) -> Asset:
    """An asset of that content."""
    packed = gzip.compress(body, mtime=0)
    saves = len(packed) < _WORTH_PACKING * len(body)
    return Asset(body, packed if saves else None, kind, hashlib.sha256(body).hexdigest()[:32])


@cache
def read(path: Path) -> Asset:
    """That file, as it was when it was first asked for. Raises OSError."""
    kind = KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    return made(path.read_bytes(), kind or "application/octet-stream")


@cache
def names(folder: Path) -> frozenset[str]:
    """Every file below the folder, as addresses name them."""
    return frozenset(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
