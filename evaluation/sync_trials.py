"""Windows of recordings against sound: their own, their own shifted, and other people's.

A window's sound is cut out before it is embedded, as if nothing else had been recorded. Its
picture is cut from the embeddings of the whole recording, so the bundled network's normalisation
(three seconds around each moment) sees a little beyond it: on 2 s that changes one window in a
hundred. Windows of one recording overlap; intervals are over groups, which overlap does not fool.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from evaluation.inputs import Item
from syncnet_python import offset, scale
from syncnet_python.offset import OffsetEstimate, Padding
from syncnet_python.results import FRAME_RATE, SAMPLES_PER_FRAME
from syncnet_python.scale import Scale

STRIDE = 10
"""Frames from one window to the next."""

SHIFTS = (*range(-15, -4), *range(5, 16))
"""Frames by which sound is shifted, to be told from sound in its place."""

SHIFTED, STRANGERS = 2, 2
"""Shifts, and other people, that each window is set against."""

_LACKING = SAMPLES_PER_FRAME
"""Samples that a recording's sound may end before its picture."""

FRACTIONS = (-2.75, -1.5, -0.25, 0.25, 0.5, 0.75, 1.25, 2.5)
"""Frames by which sound is shifted to see what is measured between frames."""


class Embedder(Protocol):
    """What a `pipeline.SyncNetwork` brings to this."""

    scale: Scale
    padding: Padding

    def audio(self, samples: NDArray[np.int16], num_frames: int) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The face that speaks in a recording. visual: (windows, d) float32; frames: of the track;
    samples: its sound, 640 a frame; truth: the true offset, which the item gives."""

    item: Item
    visual: NDArray[np.float32]
    samples: NDArray[np.int16]
    frames: int

    @property
    def span(self) -> int:
        """Frames that one row of `visual` covers, less one."""
        return self.frames - len(self.visual)

    def picture(self, first: int, count: int) -> NDArray[np.float32]:
        """Embeddings of `count` frames from `first` on."""
        return self.visual[first : first + count - self.span]

    def sound(self, first: float, count: int) -> NDArray[np.int16] | None:
        """As long as `count` frames from frame `first` on; None where it is not recorded. At the
        end of the recording up to a frame of it may be missing."""
        start = round(first * SAMPLES_PER_FRAME)
        end = start + count * SAMPLES_PER_FRAME
        return (
            self.samples[start:end] if start >= 0 and end <= len(self.samples) + _LACKING else None
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """One comparison. first: frame of the recording; by: frames that the sound was shifted, > 0
    where later sound is heard, so that it leads; found: the offset; score: of the network's scale;
    near: distance at the best offset within a frame of 0, which a match in sync makes small."""

    seen: Seen
    first: int
    by: float
    found: int
    score: float
    near: float

    def error(self, truth: float) -> float:
        return self.found - truth - self.by


def compare(
    network: Embedder, picture: NDArray[np.float32], samples: NDArray[np.int16], frames: int
) -> OffsetEstimate:
    """Any picture with any sound as long as `frames` frames."""
    heard = network.audio(samples, frames)
    rows = min(len(picture), len(heard))
    return offset.estimate(picture[:rows], heard[:rows], padding=network.padding)


def own(network: Embedder, seen: Seen, count: int) -> list[Trial]:
    """Every window of `count` frames with the sound that was recorded with it."""
    return [
        _trial(network, seen, first, sound, count, 0.0)
        for first in range(0, seen.frames - count + 1, STRIDE)
        if (sound := seen.sound(first, count)) is not None
    ]


def in_place(network: Embedder, seen: Seen, count: int) -> list[Trial]:
    """As `own`, with the sound put where it belongs for a recording that is known to be out of
    sync."""
    late = -seen.item.offset
    if abs(late) <= seen.item.tolerance:
        return own(network, seen, count)
    return [
        _trial(network, seen, first, sound, count, late)
        for first in range(0, seen.frames - count + 1, STRIDE)
        if (sound := seen.sound(first + late, count)) is not None
    ]


def shifted(network: Embedder, seen: Seen, count: int, each: int = SHIFTED) -> list[Trial]:
    """Every window with the recording's own sound, some of `SHIFTS` away from its place."""
    rng = _dice(seen, count)
    place = 0.0 if abs(seen.item.offset) <= seen.item.tolerance else -seen.item.offset
    trials = []
    for first in range(0, seen.frames - count + 1, STRIDE):
        there = [by for by in SHIFTS if seen.sound(first + place + by, count) is not None]
        for by in rng.permutation(there)[:each]:
            sound = seen.sound(first + place + by, count)
            if sound is not None:
                trials.append(_trial(network, seen, first, sound, count, place + float(by)))
    return trials


def strangers(
    network: Embedder, seen: Seen, others: Sequence[Seen], count: int, each: int = STRANGERS
) -> list[Trial]:
    """Every window with other groups' sound of the same length, each from a place of its own."""
    rng = _dice(seen, count)
    heard = [o for o in others if o.item.group != seen.item.group and o.sound(0, count) is not None]
    trials = []
    for first in range(0, seen.frames - count + 1, STRIDE):
        for number in rng.permutation(len(heard))[:each]:
            other = heard[number]
            room = max(0, len(other.samples) // SAMPLES_PER_FRAME - count)
            sound = other.sound(int(rng.integers(room + 1)), count)
            if sound is not None:
                trials.append(_trial(network, seen, first, sound, count, 0.0))
    return trials


def between_frames(network: Embedder, seen: Seen) -> list[tuple[float, float]]:
    """(measured, true) change of the sub-frame offset, as the sound is shifted by parts of a
    frame against what it was; the longest common stretch of all shifts."""
    margin = int(np.ceil(max(map(abs, FRACTIONS))))
    count = seen.frames - 2 * margin
    if count < FRAME_RATE:
        return []
    measured = {}
    for by in (0.0, *FRACTIONS):
        sound = seen.sound(margin + by, count)
        if sound is not None:
            estimate = compare(network, seen.picture(margin, count), sound, count)
            measured[by] = offset.subframe(estimate.curve)
    if 0.0 not in measured:
        return []
    return [(measured[by] - measured[0.0], by) for by in FRACTIONS if by in measured]


def near_zero(estimate: OffsetEstimate) -> float:
    """Lowest distance of the offset curve within a frame of no offset."""
    pairs = zip(estimate.curve.offsets, estimate.curve.distances, strict=True)
    return min(distance for at, distance in pairs if abs(at) <= 1)


def _trial(
    network: Embedder, seen: Seen, first: int, sound: NDArray[np.int16], count: int, by: float
) -> Trial:
    estimate = compare(network, seen.picture(first, count), sound, count)
    value = scale.as_recorded(network.scale, estimate)
    return Trial(seen, first, by, estimate.offset_frames, value, near_zero(estimate))


def _dice(seen: Seen, count: int) -> np.random.Generator:
    """The same draws for the same recording and length, whatever else is measured."""
    return np.random.default_rng(crc32(f"{seen.item.name}/{count}".encode()))
