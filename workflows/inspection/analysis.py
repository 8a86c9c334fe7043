"""A recording measured as `score` measures it, for those who draw or write what was found.

Two passes, neither of which holds the pictures in memory: in the first they wait in a temporary
file, at the size that the networks look at; the second shows them as they were recorded.
"""

import errno
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from syncnet_python import media, pipeline
from syncnet_python.assembly import Networks
from syncnet_python.limits import Limits
from syncnet_python.media import Recording
from syncnet_python.profiles import PUBLISHED
from syncnet_python.results import FRAME_RATE, SyncResult
from syncnet_python.tracking import Track, TrackingOptions
from syncnet_python.windows import DAY, windows

_SECOND_PASS_S = 1.0
"""Seconds of pictures that are on disk at a time when they are shown once more."""


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What was found. recording: its pictures can be looked at as long as `analysed` lasts;
    tracks: in pixels of `recording.frames`."""

    recording: Recording
    faces: pipeline.Faces
    tracks: Sequence[Track]
    measurement: pipeline.Measurement
    sync: SyncResult
    network: pipeline.SyncNetwork

    def confidences(self, number: int) -> NDArray[np.float64]:
        """Of a track, one a frame: that of the window whose middle the frame is, or of the nearest
        one. NaN where the track was too short to measure. See `offset.OffsetEstimate`."""
        frames, estimate = len(self.tracks[number]), self.measurement.estimates[number]
        if estimate is None:
            return np.full(frames, np.nan)
        values = estimate.framewise_confidence
        before = (frames - len(values)) // 2
        nearest = np.clip(np.arange(frames) - before, 0, len(values) - 1)
        return np.asarray(values[nearest])

    def recorded(self, track: Track) -> Track:
        """A track in pixels of the recording."""
        return replace(track, boxes=track.boxes / self.recording.scale)


@contextmanager
def analysed(path: Path, networks: Networks, tracking: TrackingOptions) -> Iterator[Analysis]:
    """Decode, find every face and measure all of them, as `SyncNetWrapper` does.

    Raises RecordingError, ModelError; OSError where the temporary folder (`TMPDIR`) is full.
    """
    # The published networks' figures are those of whole frames; the others look at smaller ones.
    whole = {PUBLISHED.face_detector, PUBLISHED.sync} & {*networks.choice.for_sync}
    with stored(path, replace(DAY, kept_pixels=None) if whole else DAY) as recording:
        detector, network, landmarker = (
            networks.face_detector(),
            networks.sync(),
            networks.landmarker(),
        )
        faces = pipeline.find_faces(recording.frames, detector)
        tracks = pipeline.follow(faces, tracking)
        measurement = pipeline.measure(recording, tracks, network, landmarker)
        sync = pipeline.result(measurement, recording, tracks, network)
        yield Analysis(recording, faces, tracks, measurement, sync, network)


@contextmanager
def stored(path: Path, limits: Limits = DAY) -> Iterator[Recording]:
    """`media.read` with the pictures in a temporary file, in which they can be looked at as long
    as this lasts. limits: `kept_bytes` plays no part. Raises what `media.decode` does, OSError."""
    with tempfile.TemporaryFile() as pictures, path.open("rb") as file:
        kept = _OnDisk(pictures)
        limits = replace(limits, kept_bytes=1 << 62)
        yield media.decode(file, limits, kept.append, needs_audio=True).with_pictures(kept)


def shown(
    path: Path, recording: Recording, kept_pixels: int | None = None
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Every frame of a recording once more: its number and (height, width, 3) uint8 BGR.

    path: the file that `recording` was decoded from; kept_pixels: as in `Limits`; by default
    frames are as large as they were recorded.
    """
    first: int | None = None
    limits = replace(DAY, kept_pixels=kept_pixels)
    for window in windows(path, _SECOND_PASS_S, _SECOND_PASS_S, limits):
        part = window.recording
        if first is None:  # `recording` begins where picture and sound are both there
            first = round((recording.times[0] - part.times[0]) * FRAME_RATE)
        begin = round(window.start_s * FRAME_RATE) - first
        for index in range(len(part.frames)):
            if 0 <= begin + index < len(recording.times):
                yield begin + index, part.frames.bgr(index)


class _OnDisk(Sequence[bytes]):
    """Pictures, all of one size, one after the other in a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._bytes = 0
        self._count = 0

    def append(self, picture: bytes) -> None:
        self._bytes = len(picture)
        self._count += 1
        try:
            self._file.write(picture)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            full = f"{tempfile.gettempdir()} has no room for the pictures; TMPDIR names another"
            raise OSError(errno.ENOSPC, full) from error

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, number: int) -> bytes: ...
    @overload
    def __getitem__(self, number: slice) -> list[bytes]: ...
    def __getitem__(self, number: int | slice) -> bytes | list[bytes]:
        if isinstance(number, slice):
            return [self[n] for n in range(self._count)[number]]
        self._file.seek(number * self._bytes)
        return self._file.read(self._bytes)
