"""Frames at 25 a second, kept as packed 4:2:0 planes and converted when they are looked at.

A picture is plain bytes, so that it can lie in this process or in memory that another one wrote.
"""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

PixelFormat = Literal["yuv420p", "yuvj420p"]
KEPT_FORMATS: tuple[PixelFormat, ...] = ("yuv420p", "yuvj420p")


@dataclass(frozen=True, slots=True)
class Look:
    """How the planes of a picture become colours; numbers as FFmpeg has them."""

    format: PixelFormat
    colorspace: int
    color_range: int


def picture_bytes(width: int, height: int) -> int:
    """Of one packed picture."""
    return sum(rows * columns for rows, columns in _plane_sizes(width, height))


def pack(frame: VideoFrame) -> tuple[bytes, Look]:
    """The planes of a frame of one of `KEPT_FORMATS`, row by row without padding."""
    sizes = _plane_sizes(frame.width, frame.height)
    rows = [
        _rows(plane)[:height, :width].tobytes()
        for plane, (height, width) in zip(frame.planes, sizes, strict=True)
    ]
    name = next(name for name in KEPT_FORMATS if name == frame.format.name)
    look = Look(name, int(frame.colorspace), int(frame.color_range))
    return b"".join(rows), look


def unpack(picture: bytes | memoryview, width: int, height: int, look: Look) -> VideoFrame:
    """The frame that `pack` was given, less its time and what does not change its colours."""
    frame = VideoFrame(width, height, look.format)
    frame.colorspace, frame.color_range = look.colorspace, look.color_range
    packed, begin = np.frombuffer(picture, np.uint8), 0
    for plane, (rows, columns) in zip(frame.planes, _plane_sizes(width, height), strict=True):
        end = begin + rows * columns
        _rows(plane)[:rows, :columns] = packed[begin:end].reshape(rows, columns)
        begin = end
    return frame


class Kept(Sequence[VideoFrame]):
    """Frames that are made anew from stored pictures each time they are asked for.

    pictures: packed; looks: of each; size: width and height of all; steps: which picture is shown
    at each 1/25 s.
    """

    def __init__(
        self,
        pictures: Sequence[bytes | memoryview],
        looks: Sequence[Look],
        size: tuple[int, int],
        steps: Sequence[int],
    ) -> None:
        self._pictures, self._looks, self._size, self._steps = pictures, looks, size, steps

    def __len__(self) -> int:
        return len(self._steps)

    @overload
    def __getitem__(self, index: int) -> VideoFrame: ...
    @overload
    def __getitem__(self, index: slice) -> "Kept": ...
    def __getitem__(self, index: int | slice) -> "VideoFrame | Kept":
        if isinstance(index, slice):
            return Kept(self._pictures, self._looks, self._size, self._steps[index])
        picture, width, height, look = self.packed(index)
        return unpack(picture, width, height, look)

    def packed(self, index: int) -> tuple[bytes | memoryview, int, int, Look]:
        """A frame as it is stored: what `unpack` takes."""
        number = self._steps[index]
        return self._pictures[number], *self._size, self._looks[number]


class Frames(Sequence[NDArray[np.uint8]]):
    """Frames as shown. turns: quarter turns counter-clockwise that stand them upright."""

    def __init__(self, frames: Sequence[VideoFrame], turns: int = 0) -> None:
        self._frames, self._turns = frames, turns

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice) -> "Frames": ...
    def __getitem__(self, index: int | slice) -> "NDArray[np.uint8] | Frames":
        if isinstance(index, slice):
            return Frames(self._frames[index], self._turns)
        return self.bgr(index)

    def bgr(self, index: int) -> NDArray[np.uint8]:
        """Frame `index` as shown (rotation applied): (height, width, 3) uint8 BGR."""
        frame = _reformatter().reformat(self._frames[index], format="bgr24", threads=1)
        image = frame.to_ndarray()
        return np.ascontiguousarray(np.rot90(image, self._turns)).astype(np.uint8, copy=False)

    def digest(self, index: int) -> bytes:
        """SHA-256 of what `bgr` is made from: frames that have it in common are the same, also
        where a stranger chose them."""
        if not isinstance(self._frames, Kept):
            raise TypeError("only of frames that are kept")
        picture, *rest = self._frames.packed(index)
        made = hashlib.sha256(picture)
        made.update(repr((*rest, self._turns)).encode())
        return made.digest()


_own = threading.local()


def _reformatter() -> VideoReformatter:
    """One a thread: it keeps the tables of the last conversion, which are slow to make."""
    if not hasattr(_own, "reformatter"):
        _own.reformatter = VideoReformatter()
    reformatter: VideoReformatter = _own.reformatter
    return reformatter


def _plane_sizes(width: int, height: int) -> tuple[tuple[int, int], ...]:
    """Rows and columns of the three planes."""
    chroma = (-(-height // 2), -(-width // 2))
    return ((height, width), chroma, chroma)


def _rows(plane: VideoPlane) -> NDArray[np.uint8]:
    """All of a plane, padding too, first row on top; writes go through."""
    rows = np.frombuffer(memoryview(plane), np.uint8)
    rows = rows.reshape(plane.height, abs(plane.line_size))
    return rows[::-1] if plane.line_size < 0 else rows
