"""A recording's measured offset, repaired in a copy, which is measured again."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal

from syncnet_python.results import FRAME_RATE
from workflows.clips.file_offset import AGREEMENT, FileOffset
from workflows.clips.move_sound import move_sound
from workflows.clips.writer import SUFFIXES

TOLERANCE: Final = AGREEMENT
"""Frames of offset that need no correcting: no network measures more exactly."""

Outcome = Literal["corrected", "not_needed", "still_off"]
Stage = Literal["measure", "write", "verify"]


@dataclass(frozen=True, slots=True)
class Correction:
    """What was done.

    outcome: "still_off" where the copy's own offset is larger than the tolerance, or cannot be
    trusted; output: the copy, None where none was needed; moved_ms: milliseconds that its sound
    comes later (< 0: earlier); before, after: as measured in the source and in the copy; left_out:
    streams of the source that the copy does not have.
    """

    source: Path
    output: Path | None
    outcome: Outcome
    moved_ms: int
    before: FileOffset
    after: FileOffset | None
    left_out: tuple[str, ...] = ()


def correct(
    source: Path,
    target: Path,
    find: Callable[[Path], FileOffset],
    *,
    tolerance: int = TOLERANCE,
    force: bool = False,
    on_stage: Callable[[Stage], None] = lambda stage: None,
) -> Correction:
    """Measure, write the copy, measure it.

    find: measures a file, such as a `file_offset.OffsetFinder`; tolerance: frames of offset up to
    which nothing is done; force: act upon an offset that cannot be trusted.
    Raises Uncertain where the offset cannot be trusted, what `find` and `move_sound` do.
    """
    on_stage("measure")
    before = find(source)
    if not force:
        before.check()
    if abs(before.offset_frames) <= tolerance:
        return Correction(source, None, "not_needed", 0, before, None)
    on_stage("write")
    left_out = move_sound(source, target, Fraction(before.offset_frames, FRAME_RATE))
    on_stage("verify")
    after = find(target)
    good = abs(after.offset_frames) <= max(tolerance, AGREEMENT) and (force or not after.reason)
    outcome: Outcome = "corrected" if good else "still_off"
    return Correction(source, target, outcome, before.lag_ms, before, after, left_out)


def default_target(source: Path) -> Path:
    """`NAME.corrected.mp4` beside the source; Matroska where the source's kind is not written."""
    suffix = source.suffix if source.suffix.lower() in SUFFIXES else ".mkv"
    return source.with_name(f"{source.stem}.corrected{suffix}")
