"""Download published weights: resumed where they broke off, checked, and only then in place.

What arrives is kept in `<filename>.part` beside its target until it has the registered size and
hash. A broken download leaves the part for the next attempt; wrong bytes leave nothing.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import httpx

from syncnet_python import weights
from syncnet_python.errors import FetchFailed, WeightsCorrupt, WeightsMissing
from syncnet_python.weights import WeightsEntry

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes there will be, None where unknown."""

ATTEMPTS = 4
"""Connections to make for one file before giving up; each goes on where the last one broke."""

MAX_BYTES = 1 << 30
"""Most to accept for a file whose size the registry does not know."""

_TIMEOUT = httpx.Timeout(30.0, connect=15.0)


def fetch(
    row: WeightsEntry,
    folder: Path,
    progress: Progress = lambda done, total: None,
    client: httpx.Client | None = None,
) -> Path:
    """The verified file of `row` in `folder`, downloaded if it is not there yet.

    Raises FetchFailed (no connection, refused, broken off too often, folder not writable),
    WeightsCorrupt (the server's file is not the registered one), WeightsMissing (the row has no
    address).
    """
    if row.url is None:
        raise WeightsMissing(f"{row.name} comes with the package; there is nothing to download")
    target = folder / row.filename
    part = target.with_name(target.name + ".part")
    if target.is_file() and _is_right(target, row):
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _client(client) as http:
            resumed = part.is_file()
            _download(http, row, part, progress)
            if resumed and not _is_right(part, row):  # the part may be of another version
                part.unlink()
                _download(http, row, part, progress)
        _check_or_remove(part, row)
        part.replace(target)
    except OSError as error:
        raise FetchFailed(f"{target} cannot be written: {error.strerror or error}") from error
    return target


def _is_right(path: Path, row: WeightsEntry) -> bool:
    try:
        weights.verify_file(path, row)
    except WeightsCorrupt:
        return False
    return True


def _check_or_remove(part: Path, row: WeightsEntry) -> None:
    try:
        weights.verify_file(part, row)
    except WeightsCorrupt as error:
        part.unlink()
        raise WeightsCorrupt(
            f"what {row.url} sends is not the registered file, and was removed: {error.message}"
        ) from error


@contextmanager
def _client(given: httpx.Client | None) -> Iterator[httpx.Client]:
    if given is not None:
        yield given
        return
    with httpx.Client(follow_redirects=True, timeout=_TIMEOUT) as made:
        yield made


def _download(client: httpx.Client, row: WeightsEntry, part: Path, progress: Progress) -> None:
    """Fill `part` with the whole file, over as many connections as it takes, up to ATTEMPTS."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _continue(client, row, part, progress)
            return
        except httpx.InvalidURL as error:
            raise FetchFailed(f"{row.url} is not an address: {error}") from error
        except httpx.TransportError as error:
            if attempt == ATTEMPTS:
                reason = str(error) or type(error).__name__
                raise FetchFailed(f"downloading {row.url} broke off: {reason}") from error
        except httpx.HTTPError as error:
            raise FetchFailed(f"downloading {row.url} failed: {error}") from error


def _continue(client: httpx.Client, row: WeightsEntry, part: Path, progress: Progress) -> None:
    """One connection: ask for what is not there yet and append it."""
    there = part.stat().st_size if part.is_file() else 0
    if there and there == row.size:
        return None
    # identity: a compressed answer could be neither resumed nor counted
    headers = {"Accept-Encoding": "identity"}
    if there:
        headers["Range"] = f"bytes={there}-"
    with client.stream("GET", str(row.url), headers=headers) as answer:
        if there and answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if answer.headers.get("Content-Range") == f"bytes */{there}":
                return None
            part.unlink()  # longer than the server's file, so of another one
            return _continue(client, row, part, progress)
        if answer.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise FetchFailed(
                f"{row.url} answered {answer.status_code} {answer.reason_phrase}".rstrip()
            )
        start = _starts_at(answer)
        if start not in (0, there):
            raise FetchFailed(f"{row.url} answered from byte {start:,}, asked for {there:,}")
        _append(answer, row, part, start, progress)
    return None


def _starts_at(answer: httpx.Response) -> int:
    """Which byte of the file the answer begins with; a plain 200 begins with the first."""
    unit, _, span = answer.headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    partial = answer.status_code == HTTPStatus.PARTIAL_CONTENT
    return int(first) if partial and unit == "bytes" and first.isdigit() else 0


def _append(
    answer: httpx.Response, row: WeightsEntry, part: Path, there: int, progress: Progress
) -> None:
    length = answer.headers.get("Content-Length", "")
    total = row.size or (there + int(length) if length.isdigit() else None)
    limit = row.size or MAX_BYTES
    progress(there, total)
    with part.open("ab" if there else "wb") as file:
        for chunk in answer.iter_raw():  # as they arrive: what is held back is lost in a break
            there += len(chunk)
            if there > limit:
                part.unlink()
                raise WeightsCorrupt(
                    f"{row.url} sends more than the {limit:,} bytes there should be; "
                    "what had arrived was removed"
                )
            file.write(chunk)
            progress(there, total)
        file.flush()
        os.fsync(file.fileno())
