"""Windows of a stream, scored one after the other: what was found in a picture is not looked for
again where the next window shows the same picture.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from syncnet_python import calibration as calibrations
from syncnet_python import pipeline
from syncnet_python.assembly import Networks
from syncnet_python.calibration import Calibration
from syncnet_python.detectors import FaceDetector
from syncnet_python.landmarks import MESH_INDICES, Landmarker, Landmarks
from syncnet_python.media import Frames, Recording
from syncnet_python.pipeline import SyncNetwork
from syncnet_python.results import SyncResult
from syncnet_python.tracking import TrackingOptions

T = TypeVar("T")

PICTURES = 2_000
"""Pictures whose findings are remembered: two windows of 30 seconds, with room for two faces."""


class WindowScorer:
    """Lip-sync of one window after the other, on `Networks` that may be shared; one scorer for each
    stream. Equal to `SyncNetWrapper.process_video` but for the classifier, up to rounding.

    calibration: the operator's, which every score goes through.
    """

    def __init__(
        self,
        networks: Networks,
        tracking: TrackingOptions = pipeline.WEBCAM,
        calibration: Calibration | None = None,
    ) -> None:
        self._networks = networks
        self._tracking = tracking
        self._calibration = calibration
        self._loaded: tuple[FaceDetector, Landmarker, SyncNetwork] | None = None

    def preload(self) -> None:
        """Load every network now. Raises ModelError, CalibrationMismatch."""
        self._load()

    def __call__(self, recording: Recording) -> SyncResult:
        """Raises RecordingError, ModelError, CalibrationMismatch."""
        detector, landmarker, network = self._load()
        recording = replace(recording, frames=_Told(recording.frames))
        tracks = pipeline.find_tracks(recording.frames, detector, self._tracking)
        found = pipeline.measure_sync(recording, tracks, network, landmarker)
        if self._calibration:
            found = calibrations.of_sync(self._calibration, found, network.scale)
        return found

    def _load(self) -> tuple[FaceDetector, Landmarker, SyncNetwork]:
        if self._loaded is None:
            networks = self._networks
            self._loaded = (
                RememberingDetector(networks.face_detector()),
                RememberingLandmarker(networks.landmarker()),
                networks.sync(),
            )
            if self._calibration:
                names = networks.choice.for_sync
                hashes = {n: i.sha256 for n, i in networks.info().items() if n in names}
                calibrations.check(self._calibration, hashes, {})
        return self._loaded


class _Memory(Generic[T]):
    """What was found, by the contents it was found in; the oldest is forgotten."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._known: OrderedDict[bytes, T] = OrderedDict()

    def each(self, keys: Sequence[bytes], find: Callable[[list[int]], Sequence[T]]) -> list[T]:
        """One finding a key. find: for the numbers of those that are not known."""
        found = {key: self._known[key] for key in keys if key in self._known}
        numbers = list({key: n for n, key in enumerate(keys) if key not in found}.values())
        if numbers:
            found |= zip((keys[n] for n in numbers), find(numbers), strict=True)
        for key in keys:
            self._known[key] = found[key]
            self._known.move_to_end(key)
        while len(self._known) > self._room:
            self._known.popitem(last=False)
        return [found[key] for key in keys]


class RememberingDetector:
    """A `FaceDetector` that looks at a picture once."""

    def __init__(self, detector: FaceDetector, room: int = PICTURES) -> None:
        self.name = detector.name
        self._detector = detector
        self._memory: _Memory[NDArray[np.float32]] = _Memory(room)

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        keys = [_digest(frame) for frame in frames]
        return self._memory.each(keys, lambda ns: self._detector.detect([frames[n] for n in ns]))


class RememberingLandmarker(Landmarker):
    """A `Landmarker` that looks at a face, which is a picture and a box, once."""

    def __init__(self, landmarker: Landmarker, room: int = PICTURES) -> None:
        self._landmarker = landmarker
        self._memory: _Memory[tuple[NDArray[np.float32], np.float32]] = _Memory(room)

    def examine(
        self, frames: Sequence[NDArray[np.uint8]], boxes: NDArray[np.floating]
    ) -> Landmarks:
        places = np.asarray(boxes, np.float64).reshape(-1, 4)

        def find(ns: list[int]) -> list[tuple[NDArray[np.float32], np.float32]]:
            new = self._landmarker.examine([frames[n] for n in ns], places[ns])
            return list(zip(new.points, new.presence, strict=True))

        keys = [_digest(f) + box.tobytes() for f, box in zip(frames, places, strict=True)]
        known = self._memory.each(keys, find)
        points = np.array([points for points, _ in known], np.float32)
        return Landmarks(
            points.reshape(-1, len(MESH_INDICES), 2),
            np.array([presence for _, presence in known], np.float32),
        )


class _Picture(np.ndarray[tuple[int, ...], np.dtype[np.uint8]]):
    """An array that knows the digest of its contents; parts and copies of it do not."""

    digest: bytes


class _Told(Frames):
    """Frames that carry their digest, which is made once however often they are looked at."""

    def __init__(self, frames: Frames) -> None:
        super().__init__((), 0)
        self._inner = frames
        self._digests: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._inner)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice) -> "_Told": ...
    def __getitem__(self, index: int | slice) -> "NDArray[np.uint8] | _Told":
        return _Told(self._inner[index]) if isinstance(index, slice) else self.bgr(index)

    def bgr(self, index: int) -> NDArray[np.uint8]:
        image = self._inner.bgr(index)
        if index not in self._digests:
            self._digests[index] = self._inner.digest(index)
        picture = image.view(_Picture)
        picture.digest = self._digests[index]
        return picture


def _digest(frame: NDArray[np.uint8]) -> bytes:
    """As `Frames.digest`, of a picture that carries it; of any other, of its contents."""
    known = frame.digest if isinstance(frame, _Picture) and hasattr(frame, "digest") else None
    return known or hashlib.sha256(np.ascontiguousarray(frame).data).digest()
