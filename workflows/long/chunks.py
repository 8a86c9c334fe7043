"""A long recording chunk by chunk: what is seen and heard in each, and which part of it counts.

Every frame is decoded, searched for faces and given landmarks once, although chunks overlap. The
work on a chunk's frames is shared by threads, each with a processor of its own.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from syncnet_python import pipeline
from syncnet_python.assembly import Networks
from syncnet_python.errors import NoFace, RecordingError, Undecodable
from syncnet_python.fcn_embedding import locate
from syncnet_python.results import FRAME_RATE
from syncnet_python.tracking import Track
from workflows.long.faces import Look, looks
from workflows.long.records import Chunk, CutOff, Failure, Figures, LongOptions

_BLOCK = 16  # frames whose pictures a thread holds in memory
_STANDS_STILL_S = 1.0  # shorter is a camera's low rate


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """A chunk less what depends on whether another follows it. spoken: middle frame of each row
    and the rows, of every track that counts; max_shift: of the rows, as in `offset`."""

    chunk: Chunk
    spoken: tuple[tuple[NDArray[np.int64], NDArray[np.float32]], ...]
    max_shift: int


def analyse(
    path: Path, networks: Networks, options: LongOptions, *, known: int = 0
) -> Iterator[tuple[Chunk | CutOff, float]]:
    """Every chunk after the first `known`, in order, each with how much of the file has been read,
    0-1; then, where the file is damaged so that nothing after it can be decoded, `CutOff`.

    What one chunk lacks (a face, sound, a picture that can be decoded) is its `failure`. Raises
    RecordingError where the file cannot be read at all, ModelError.
    """
    network, began, waiting, done = networks.sync(), time.perf_counter(), None, 0.0
    with _threads() as threads:
        measurer = _Measurer(network, networks, options, threads)
        for look in _ahead(looks(path, networks, options, known, threads)):
            if waiting is not None:
                took, began = time.perf_counter() - began, time.perf_counter()
                yield _finished(waiting, options, took, last=isinstance(look, CutOff)), done
                waiting = None
            if isinstance(look, CutOff):
                yield look, 1.0
            else:
                waiting, done = measurer.measure(look), look.window.done
        if waiting is not None:
            yield _finished(waiting, options, time.perf_counter() - began, last=True), 1.0


def _ahead(looks: Iterator[Look | CutOff]) -> Iterator[Look | CutOff]:
    """The same, each with the next one already coming: a chunk is decoded and searched for faces
    while the one before is measured."""
    with ThreadPoolExecutor(1) as worker:
        coming = worker.submit(next, looks, None)
        while (look := coming.result()) is not None:
            coming = worker.submit(next, looks, None)
            yield look


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """A thread a processor. Each calculates alone: the networks are too small to be shared."""
    before = torch.get_num_threads()
    with ThreadPoolExecutor(before) as threads:
        torch.set_num_threads(1)
        try:
            yield threads
        finally:
            torch.set_num_threads(before)


class _Measurer:
    """Measures chunks, and remembers the landmarks of the one before."""

    def __init__(
        self,
        network: pipeline.SyncNetwork,
        networks: Networks,
        options: LongOptions,
        threads: ThreadPoolExecutor,
    ) -> None:
        self._network, self._options, self._threads = network, options, threads
        self._landmarker = networks.landmarker()
        self._known: list[tuple[Track, NDArray[np.float32]]] = []  # frames of the recording

    def measure(self, look: Look) -> _Measured:
        recording, window = look.window.recording, look.window
        tracks: Sequence[Track] = ()
        speaking: list[int] = []
        spoken: tuple[tuple[NDArray[np.int64], NDArray[np.float32]], ...] = ()
        figures = failure = None
        frames = len(recording.frames)
        try:
            _check_moving(look.still, frames)
            if not any(len(found) for found in look.faces.detections):
                raise NoFace("no face was found in any frame")
            tracks = pipeline.follow(look.faces, self._options.tracking)
            points = self._points(look, tracks) if self._network.reads_landmarks else None
            measurement = pipeline.measure(
                recording, tracks, self._network, self._landmarker, points
            )
            sync = pipeline.result(measurement, recording, tracks, self._network)
        except RecordingError as error:
            failure = Failure.of(error)
        else:
            figures = Figures.of(sync, float(recording.times[0]) - window.start_s)
            speaking = _matching(measurement, self._network)
            spoken = tuple(
                (
                    look.first + pipeline.middles(tracks[i].frames, len(measurement.tables[i])),
                    measurement.tables[i],
                )
                for i in _in_turn(measurement, tracks, speaking)
            )
        still_s = look.still / FRAME_RATE
        chunk = Chunk(
            number=window.number,
            start_s=window.start_s,
            end_s=window.end_s,
            own_start_s=window.start_s,
            own_end_s=window.end_s,
            figures=figures,
            failure=failure,
            visible_faces=_at_once(tracks, frames),
            speaking_faces=_at_once([tracks[i] for i in speaking], frames),
            still_s=still_s if still_s >= _STANDS_STILL_S else 0.0,
            sums=(),
            counts=(),
            took_s=0.0,
        )
        return _Measured(chunk, spoken, self._network.max_shift)

    def _points(self, look: Look, tracks: Sequence[Track]) -> list[NDArray[np.float32]]:
        """Landmarks of every track. In the frames that the chunk before showed too, a box that is
        the same to the last digit gives the same points."""
        frames, known, found = look.window.recording.frames, self._known, []
        for track in tracks:
            placed = replace(track, frames=track.frames + look.first)
            common, points = max(
                ((_common(old, placed), points) for old, points in known),
                key=lambda shared: shared[0].stop - shared[0].start,
                default=(slice(0, 0), np.zeros((0, 0, 2), np.float32)),
            )
            begun = points[common]
            rest = Track(track.frames[len(begun) :], track.boxes[len(begun) :])
            parts = [begun] if len(begun) else []
            parts += self._threads.map(
                lambda part: locate(self._landmarker, frames, part), _blocks(rest)
            )
            found.append(np.concatenate(parts))
        self._known = [
            (replace(track, frames=track.frames + look.first), points)
            for track, points in zip(tracks, found, strict=True)
        ]
        return found


def _blocks(track: Track) -> list[Track]:
    starts = range(0, len(track), _BLOCK)
    return [Track(track.frames[i : i + _BLOCK], track.boxes[i : i + _BLOCK]) for i in starts]


def _common(old: Track, new: Track) -> slice:
    """Which of the old track's frames are the first ones of the new, with the same boxes."""
    start = int(new.frames[0] - old.frames[0])
    if not 0 <= start < len(old):
        return slice(0, 0)
    count = min(len(old) - start, len(new))
    same = (old.boxes[start : start + count] == new.boxes[:count]).all(axis=1)
    return slice(start, start + (count if same.all() else int(np.argmin(same))))


def _check_moving(still: int, frames: int) -> None:
    if still >= _STANDS_STILL_S * FRAME_RATE and still > frames / 2:
        raise Undecodable(
            f"the picture stands still for {still / FRAME_RATE:.1f} s: the file is damaged there, "
            "or shows a photograph"
        )


def _matching(measurement: pipeline.Measurement, network: pipeline.SyncNetwork) -> list[int]:
    """Tracks whose lips match the voice better than chance, the surest first."""
    sure = {
        i: estimate.confidence * len(table) ** 0.5
        for i, (table, estimate) in enumerate(
            zip(measurement.tables, measurement.estimates, strict=True)
        )
        if estimate and pipeline.matched(estimate.confidence, len(table), network.scale)
    }
    return sorted(sure, key=lambda i: -sure[i])


def _in_turn(
    measurement: pipeline.Measurement, tracks: Sequence[Track], speaking: Sequence[int]
) -> list[int]:
    """The tracks that speak, of which no two are in view at one time: the chosen one, and those of
    other scenes that match too."""
    taken = [measurement.chosen]
    for i in speaking:
        apart = all(
            tracks[i].frames[-1] < tracks[j].frames[0] or tracks[j].frames[-1] < tracks[i].frames[0]
            for j in taken
        )
        if apart:
            taken.append(i)
    return taken


def _at_once(tracks: Sequence[Track], frames: int) -> int:
    """Most tracks that are in view in one frame."""
    seen = np.zeros(frames, np.int64)
    for track in tracks:
        seen[track.frames] += 1
    return int(seen.max())


def _finished(measured: _Measured, options: LongOptions, took_s: float, *, last: bool) -> Chunk:
    """The chunk with the rows that are its own."""
    chunk = measured.chunk
    first, end = round(chunk.start_s * FRAME_RATE), round(chunk.end_s * FRAME_RATE)
    begin, stop = options.own_frames(first, end, last=last)
    rows = [table[(begin <= at) & (at < stop)] for at, table in measured.spoken]
    own = np.concatenate([np.zeros((0, 2 * measured.max_shift + 1), np.float32), *rows])
    return replace(
        chunk,
        own_start_s=begin / FRAME_RATE,
        own_end_s=stop / FRAME_RATE,
        sums=tuple(np.nan_to_num(own).sum(axis=0, dtype=np.float64).tolist()),
        counts=tuple((~np.isnan(own)).sum(axis=0).tolist()),
        took_s=round(took_s, 3),
    )
