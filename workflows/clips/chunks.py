"""A long recording in chunks: where to cut, and the cutting, which decodes it once.

The planning is pure: ranges in seconds from the first picture, which together cover it all.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syncnet_python.errors import NoVideo
from syncnet_python.results import FRAME_RATE
from workflows.clips import SUFFIXES, Part, cut_all, info
from workflows.clips.sound_track import LEVEL_S, levels

AT_ONCE: Final = 8
"""Most chunks that may share a moment: each is encoded, and takes memory, on its own."""

SHORTEST_REST_S: Final = 1.0
"""A rest at the end that is shorter stays with the chunk before: nothing can be measured in it."""

_EPSILON_S: Final = 1e-6

Range = tuple[float, float]
"""Start and end in seconds from the first picture, end exclusive."""


@dataclass(frozen=True, slots=True)
class Silences:
    """What counts as silence, and how chunks follow from it.

    threshold_db: level, decibels below full scale (< 0), that silence stays under; min_silence_s:
    for at least so long; min_chunk_s: no chunk is shorter, unless the recording is.
    """

    threshold_db: float = -30.0
    min_silence_s: float = 1.0
    min_chunk_s: float = 5.0

    def __post_init__(self) -> None:
        if self.threshold_db >= 0:
            raise ValueError("the threshold must be below full scale: less than 0 dB")
        if self.min_silence_s <= 0 or self.min_chunk_s < 0:
            raise ValueError("silences must last some time; chunks cannot be shorter than nothing")


def by_time(duration_s: float, length_s: float, overlap_s: float = 0.0) -> list[Range]:
    """Chunks of length_s, of which each begins overlap_s before the end of the one before. The last
    is as long as what is left, which may be up to `SHORTEST_REST_S` more than length_s.

    Raises ValueError for lengths without sense, or more than `AT_ONCE` chunks over each other.
    """
    if length_s < SHORTEST_REST_S:
        raise ValueError(f"a chunk must last {SHORTEST_REST_S:g} s or longer")
    if not 0 <= overlap_s < length_s:
        raise ValueError("the overlap must be shorter than a chunk")
    stride_s = length_s - overlap_s
    if ceil(length_s / stride_s - _EPSILON_S) > AT_ONCE:
        raise ValueError(f"with this overlap more than {AT_ONCE} chunks lie over each other")
    ranges: list[Range] = []
    for number in itertools.count():
        start_s = round(number * stride_s, 9)
        if duration_s - (start_s + length_s) < SHORTEST_REST_S:
            return [*ranges, (start_s, duration_s)]
        ranges.append((start_s, start_s + length_s))
    raise AssertionError("unreachable")


def by_silence(loudness: NDArray[np.float32], duration_s: float, options: Silences) -> list[Range]:
    """Chunks that end within silences, so that no word is cut: in the middle of each, or as near to
    it as `min_chunk_s` allows, on a whole 1/25 s.

    loudness: (n,) decibels of each `LEVEL_S`, as `levels` gives them; what has no level is silent.
    """
    cuts = [0.0]
    for start_s, end_s in silences(loudness, duration_s, options):
        earliest = ceil(max(start_s, cuts[-1] + options.min_chunk_s) * FRAME_RATE - _EPSILON_S)
        latest = floor(min(end_s, duration_s - options.min_chunk_s) * FRAME_RATE + _EPSILON_S)
        if earliest <= latest:
            middle = round((start_s + end_s) / 2 * FRAME_RATE)
            point = min(max(middle, earliest), latest) / FRAME_RATE
            if cuts[-1] < point < duration_s:
                cuts.append(point)
    return list(itertools.pairwise([*cuts, duration_s]))


def silences(loudness: NDArray[np.float32], duration_s: float, options: Silences) -> list[Range]:
    """Where it is silent for long enough; arguments as for `by_silence`."""
    quiet = np.ones(max(len(loudness), round(duration_s / LEVEL_S)) + 2, np.bool_)
    quiet[[0, -1]] = False
    quiet[1 : 1 + len(loudness)] = loudness < options.threshold_db
    edges = np.flatnonzero(quiet[1:] != quiet[:-1]).reshape(-1, 2)
    found = [(begin * LEVEL_S, min(end * LEVEL_S, duration_s)) for begin, end in edges.tolist()]
    return [(b, e) for b, e in found if e - b >= options.min_silence_s - _EPSILON_S]


def planned_by_time(source: Path, length_s: float, overlap_s: float = 0.0) -> list[Range]:
    """`by_time` of a file. Raises ValueError, NoVideo, and what `info` does."""
    return by_time(_duration(source), length_s, overlap_s)


def planned_by_silence(source: Path, options: Silences) -> list[Range]:
    """`by_silence` of a file, whose sound is decoded for it. Raises NoVideo, and what `levels`
    does."""
    return by_silence(levels(source), _duration(source), options)


def _duration(source: Path) -> float:
    """Seconds of picture: what is only heard afterwards belongs to no chunk."""
    picture = info(source).first("picture")
    if picture is None or not picture.duration_s:
        raise NoVideo("the recording has no picture")
    return picture.duration_s


def parts(source: Path, folder: Path, ranges: Sequence[Range]) -> list[Part]:
    """The files that chunks go to: `NAME_000.mp4` and so on, of the source's own kind where that
    can be written."""
    suffix = source.suffix.lower() if source.suffix.lower() in SUFFIXES else ".mp4"
    return [
        Part(start_s, end_s, folder / f"{source.stem}_{number:03d}{suffix}")
        for number, (start_s, end_s) in enumerate(ranges)
    ]


def existing(source: Path, folder: Path) -> list[Path]:
    """Chunks of a recording of this name that lie in a folder already."""
    kinds = "|".join(re.escape(suffix) for suffix in SUFFIXES)
    name = re.compile(rf"{re.escape(source.stem)}_\d{{3,}}({kinds})")
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if name.fullmatch(path.name))


def write(planned: Sequence[Part], source: Path) -> Iterator[Part]:
    """Cut the parts out of the source, in one pass over it, and yield each when it is whole.
    Pictures and samples keep their times. Raises as `clips.cut_all`."""
    for folder in {part.target.parent for part in planned}:
        folder.mkdir(parents=True, exist_ok=True)
    yield from cut_all(source, planned)
