"""The offset of a whole file, measured in windows all over it, and whether it can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from statistics import median, median_low
from typing import Any, ClassVar, Final

from syncnet_python import media
from syncnet_python.errors import NoVideo, RecordingError, SyncNetError
from syncnet_python.limits import Limits
from syncnet_python.profiles import PUBLISHED
from syncnet_python.results import FRAME_MS, FRAME_RATE, SyncResult
from syncnet_python.scale import Scale
from syncnet_python.windows import DAY, Window, windows
from syncnet_wrapper import SyncNetWrapper
from workflows.clips.media_info import info

WINDOW_S: Final = 30.0
MOST_WINDOWS: Final = 8
"""Windows that are measured of a long file, spread evenly over it."""

AGREEMENT: Final = 1
"""Frames by which windows of one offset may differ: as exact as the networks are."""

_USUAL_WINDOWS: Final = 75
"""Embedding windows from which the confidence of chance no longer falls, as in `pipeline`."""


class Uncertain(SyncNetError):
    """A file's offset was measured, but says too little to act upon."""

    advice: ClassVar[str] = "Look at the recording yourself, or act upon it with --force."


class Incomparable(Uncertain):
    code = "inconclusive"


class LowConfidence(Uncertain):
    code = "low_confidence"


class OffsetVaries(Uncertain):
    code = "offset_varies"
    advice = (
        "One shift cannot repair it: cut it where the offset changes and correct the parts, or "
        "act upon the commonest offset with --force."
    )


@dataclass(frozen=True, slots=True)
class WindowOffset:
    """One window. start_s, end_s: seconds from the first picture; offset_frames, confidence,
    min_dist: as in `results.SyncResult`, None where nothing could be measured; reason: the code of
    what speaks against it, None of one that can be trusted; message: the same in words."""

    start_s: float
    end_s: float
    offset_frames: int | None
    confidence: float | None
    min_dist: float | None
    reason: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class FileOffset:
    """Of the whole file. offset_frames: > 0, the audio leads; lag_ms = 40 * offset_frames;
    confidence, min_dist: the medians of the windows that agree on it. reason: the code of an
    `Uncertain` where it cannot be trusted, else None; message: the same in words."""

    offset_frames: int
    lag_ms: int
    confidence: float
    min_dist: float
    network: str
    windows: tuple[WindowOffset, ...]
    reason: str | None = None
    message: str = ""

    def check(self) -> None:
        """Raises Incomparable, LowConfidence, OffsetVaries where it cannot be trusted."""
        for kind in (Incomparable, LowConfidence, OffsetVaries):
            if self.reason == kind.code:
                raise kind(self.message)


def needed_confidence(scale: Scale, num_windows: int) -> float:
    """A width of the scale above the confidence that is as likely of a match as of none; more of a
    short recording, where chance gives more."""
    few: float = (_USUAL_WINDOWS / max(1, min(num_windows, _USUAL_WINDOWS))) ** 0.5
    return (scale.confidence_mid + scale.confidence_width) * few


def of_window(start_s: float, end_s: float, sync: SyncResult, scale: Scale) -> WindowOffset:
    """What a window's figures say, and what speaks against them."""
    needed = needed_confidence(scale, sync.num_windows)
    reason, message = None, ""
    if sync.doubts:
        reason = Incomparable.code
        message = f"lips and voice cannot be compared: {', '.join(sync.doubts)}"
    elif sync.confidence < needed:
        reason = LowConfidence.code
        message = f"the confidence is {sync.confidence:.3g} and would have to be {needed:.3g}"
    elif sync.changes:
        change = sync.changes[0]
        reason = OffsetVaries.code
        message = (
            f"the offset jumps from {change.before:+.1f} to {change.after:+.1f} frames at "
            f"{change.time_s:.1f} s"
        )
    return WindowOffset(
        start_s, end_s, sync.offset_frames, sync.confidence, sync.min_dist, reason, message
    )


def combined(found: Sequence[WindowOffset], network: str) -> FileOffset | None:
    """The file's offset by its windows; None where none of them could be measured.

    Where windows can be trusted, they alone count, and are to agree within `AGREEMENT` frames; an
    offset that jumps speaks against the file. Where none can, it is that of the surest one.
    """
    measured = [window for window in found if window.offset_frames is not None]
    if not measured:
        return None
    jumping = [window for window in measured if window.reason == OffsetVaries.code]
    trusted = [window for window in measured if window.reason is None]
    counted = trusted or jumping or [max(measured, key=lambda w: w.confidence or 0.0)]
    offsets = [window.offset_frames or 0 for window in counted]
    offset = median_low(offsets)
    reason, message = None, ""
    if jumping:
        reason, message = jumping[0].reason, jumping[0].message
    elif not trusted:
        reason, message = counted[0].reason, counted[0].message
    elif max(abs(other - offset) for other in offsets) > AGREEMENT:
        reason = OffsetVaries.code
        message = f"the offset lies between {min(offsets):+d} and {max(offsets):+d} frames"
    return FileOffset(
        offset_frames=offset,
        lag_ms=offset * FRAME_MS,
        confidence=median(window.confidence or 0.0 for window in counted),
        min_dist=median(window.min_dist or 0.0 for window in counted),
        network=network,
        windows=tuple(found),
        reason=reason,
        message=message,
    )


def chosen(count: int) -> frozenset[int]:
    """Numbers of the windows that are measured, of so many: all, or `MOST_WINDOWS` of them from the
    first to the last but one, as the last may be short."""
    if count <= MOST_WINDOWS:
        return frozenset(range(count))
    step = (count - 2) / (MOST_WINDOWS - 1)
    return frozenset(round(number * step) for number in range(MOST_WINDOWS))


class OffsetFinder:
    """Measures files with one `SyncNetWrapper`, in memory that does not grow with them.

    fields: of `SyncNetWrapper`, but for `read` and `limits`.
    """

    def __init__(self, **fields: Any) -> None:
        self._window: Window | None = None
        self._wrapper = SyncNetWrapper(**fields, limits=DAY, read=self._read)
        # The published networks' figures are those of whole frames.
        published = {PUBLISHED.face_detector, PUBLISHED.sync}
        whole = published & {*self._wrapper.networks.choice.for_sync}
        self._limits = replace(DAY, kept_pixels=None) if whole else DAY

    def __call__(self, path: Path) -> FileOffset:
        """Raises what decoding does; RecordingError where no window can be measured, and why the
        first cannot; ModelError."""
        picture = info(path).first("picture")
        if picture is None or not picture.duration_s:
            raise NoVideo("the recording has no picture")
        count = max(1, ceil(picture.duration_s / WINDOW_S - 0.1))
        length_s = ceil(picture.duration_s / count * FRAME_RATE) / FRAME_RATE
        wanted, found, failed = chosen(count), [], []
        for window in windows(path, length_s, length_s, self._limits):
            if window.number in wanted:
                try:
                    found.append(self._measured(path, window))
                except RecordingError as error:
                    failed.append(error)
                    found.append(_unmeasured(window, error))
        network = self._wrapper.networks.sync()
        result = combined(found, network.info.name)
        if result is None:
            raise failed[0]
        return result

    def _measured(self, path: Path, window: Window) -> WindowOffset:
        self._window = window
        sync = self._wrapper.process_video(path, path.name).syncnet
        self._window = None
        if sync is None:
            raise RuntimeError("a verdict on lip-sync alone has a lip-sync result")
        scale = self._wrapper.networks.sync().scale
        return of_window(window.start_s, window.end_s, sync, scale)

    def _read(
        self, path: Path, limits: Limits | None = None, *, needs_audio: bool = True
    ) -> media.Recording:
        if self._window is None:
            raise RuntimeError("a window is measured while it is there")
        return self._window.recording


def _unmeasured(window: Window, error: RecordingError) -> WindowOffset:
    return WindowOffset(window.start_s, window.end_s, None, None, None, error.code, error.message)
