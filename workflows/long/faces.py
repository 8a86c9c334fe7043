"""The chunks of a long recording, and where in them there are cuts and faces."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from syncnet_python import pipeline
from syncnet_python.assembly import Networks
from syncnet_python.detectors import FaceDetector
from syncnet_python.errors import RecordingError
from syncnet_python.limits import Limits
from syncnet_python.media import Frames
from syncnet_python.profiles import PUBLISHED
from syncnet_python.results import FRAME_RATE
from syncnet_python.scenes import SceneSplitter, shrunk
from syncnet_python.windows import DAY, Window, windows
from workflows.long.records import CutOff, Failure, LongOptions

_BLOCK = pipeline.BATCH // 2

_Block = list[tuple[NDArray[np.uint8], bool, NDArray[np.float32]]]
"""Of every picture: a small one, whether it equals the one before, and the faces in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A chunk in which faces have been looked for; still: longest run of equal frames."""

    window: Window
    first: int
    faces: pipeline.Faces
    still: int


def looks(
    path: Path, networks: Networks, options: LongOptions, known: int, threads: Executor
) -> Iterator[Look | CutOff]:
    """The chunks after the first `known`, each to be used before the next is asked for."""
    finder = _Finder(networks.face_detector(), options.look_every, threads)
    limits: Limits = DAY
    if networks.choice.sync == PUBLISHED.sync:  # its figures are those of whole frames
        limits = replace(limits, kept_pixels=None)
    parts = windows(path, options.length / FRAME_RATE, options.stride / FRAME_RATE, limits)
    reached: float | None = None
    while True:
        try:
            window = next(parts, None)
        except RecordingError as error:
            if reached is None:
                raise
            yield CutOff(reached, Failure.of(error))
            return
        if window is None:
            return
        reached = window.end_s
        if window.number >= known - 1:  # the last known one, for what it shares with the next
            look = finder.look(window)
            if window.number >= known:
                yield look


class _Finder:
    """Looks for cuts and faces, at each frame once: what windows share is remembered."""

    def __init__(self, detector: FaceDetector, every: int, threads: Executor) -> None:
        self._detector, self._every, self._threads = detector, every, threads
        self._splitter = SceneSplitter()
        self._base: int | None = None  # frame of the recording that was looked at first
        self._kept: deque[NDArray[np.float32]] = deque()
        self._runs: deque[int] = deque()  # frames before each that equal it
        self._kept_from = 0

    def look(self, window: Window) -> Look:
        frames, first = window.recording.frames, round(window.start_s * FRAME_RATE)
        if self._base is None:
            self._base = self._kept_from = first
        while self._kept_from < first:
            self._kept.popleft()
            self._runs.popleft()
            self._kept_from += 1
        self._take_in(frames, first)
        detections = list(self._kept)[: len(frames)]
        still = max(min(run, i) for i, run in enumerate(list(self._runs)[: len(frames)])) + 1
        return Look(
            window,
            first,
            pipeline.Faces(detections, self._scenes(first, len(frames)), self._every),
            still,
        )

    def _take_in(self, frames: Frames, first: int) -> None:
        """Look at the frames that are new. Blocks of them are looked at side by side, and taken in
        in their order."""
        starts = range(len(self._kept), len(frames), _BLOCK)
        blocks = [range(start, min(start + _BLOCK, len(frames))) for start in starts]
        for block in self._threads.map(lambda numbers: self._seen(frames, numbers, first), blocks):
            for small, still, found in block:
                self._splitter.feed(small)
                self._runs.append(self._runs[-1] + 1 if still else 0)
                self._kept.append(found)

    def _seen(self, frames: Frames, numbers: range, first: int) -> _Block:
        """Only the pictures in which faces are looked for are held in memory together."""
        before = frames.bgr(numbers[0] - 1) if numbers[0] else None
        small, still, looked_at = [], [], {}
        for number in numbers:
            image = frames.bgr(number)
            small.append(shrunk(image))
            still.append(before is not None and _equal(image, before))
            if (first + number) % self._every == 0:
                looked_at[number] = image
            before = image
        faces = dict(zip(looked_at, self._detector.detect([*looked_at.values()]), strict=True))
        found = [faces.get(number, np.zeros((0, 5), np.float32)) for number in numbers]
        return list(zip(small, still, found, strict=True))

    def _scenes(self, first: int, count: int) -> list[tuple[int, int]]:
        begin = first - (self._base or 0)
        inside = [
            (max(start - begin, 0), min(end - begin, count))
            for start, end in self._splitter.scenes()
        ]
        return [(start, end) for start, end in inside if start < end]


def _equal(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Few pixels first: they tell most pictures apart."""
    few = np.array_equal(image[::16, ::16], other[::16, ::16])
    return few and np.array_equal(image, other)
