"""What is found out about a stream, as frozen values that become JSON as they stand."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from syncnet_python.results import Doubt
from workflows.stream.segments import Reason


@dataclass(frozen=True, slots=True)
class Opened:
    """The media playlist that is followed. width, height: as the master playlist says, None where
    it does not; live: whether it still grows."""

    live: bool
    width: int | None
    height: int | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a window has no figures. As in `errors`."""

    code: str
    message: str
    advice: str


@dataclass(frozen=True, slots=True)
class WindowResult:
    """One window. Times in seconds of the stream's clock, which is 0 at its first picture.

    number: from 0; offset_frames, lag_ms, confidence, min_dist, score, doubts: as in
    `results.SyncResult`, None (no doubts) where `error` says why there are none;
    missing_s: seconds of the window whose segments could not be had;
    latency_ms: from the arrival of the last byte that the window needs to the answer.
    """

    number: int
    start_s: float
    end_s: float
    offset_frames: int | None
    lag_ms: int | None
    confidence: float | None
    min_dist: float | None
    score: float | None
    doubts: tuple[Doubt, ...]
    missing_s: float
    latency_ms: float
    error: Failure | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Segments that are not there. start_s, end_s: seconds of the stream's clock, by the
    playlist; reason: "missing", the playlist or server says so; "failed", they could not be
    fetched or decrypted; "too_large"; "late", gone from the playlist, or dropped from the buffer,
    before their turn came."""

    start_s: float
    end_s: float
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Discontinuity:
    """From here on, another recording: no window holds pictures from both sides."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Alert:
    """The offset has left the band ("out") or is in it again ("back"), for so many windows in a
    row, oldest first. Windows without figures or with doubts are no evidence either way."""

    kind: Literal["out", "back"]
    windows: tuple[WindowResult, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing follows. reason: "complete", the stream says that it is over; "stalled", its
    playlist did not change for too long; "failed", it could not be fetched for too long, and
    message says why; "stopped", the caller wanted no more. windows: that were answered;
    end_s: seconds of the stream's clock."""

    reason: Literal["complete", "stalled", "failed", "stopped"]
    message: str
    windows: int
    end_s: float


Event = Opened | WindowResult | Gap | Discontinuity | Alert | Ended

NAMES: dict[type[Event], str] = {
    Opened: "opened",
    WindowResult: "window",
    Gap: "gap",
    Discontinuity: "discontinuity",
    Alert: "alert",
    Ended: "ended",
}
"""What events are called in JSON and as server-sent events."""


def as_json(event: Event) -> dict[str, Any]:
    """An event for programs: its name as `event`, and its fields."""
    return {"event": NAMES[type(event)], **asdict(event)}
