"""What the service answers about a live stream, as frozen dataclasses; as `answers` in all else.

Times are seconds of the stream's clock, which is 0 at its first picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there are no figures. `code` is stable, the others are for people."""

    code: str
    message: str
    advice: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The stream is followed. live: it still grows; width, height: pixels, None where the stream
    does not say."""

    live: bool
    width: int | None
    height: int | None


@dataclass(frozen=True, slots=True)
class Window:
    """What was found out about some seconds of the stream.

    number: from 0; the figures as in `Sync`, None where `error` says why there are none;
    missing_s: seconds of it that could not be had; latency_ms: from the arrival of its last byte to
    the answer.
    """

    number: int
    start_s: float
    end_s: float
    offset_frames: int | None
    lag_ms: int | None
    confidence: float | None
    min_dist: float | None
    score: float | None
    doubts: tuple[str, ...]
    missing_s: float
    latency_ms: float
    error: Failure | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Seconds that could not be had."""

    start_s: float
    end_s: float
    reason: Literal["missing", "failed", "too_large", "late"]
    message: str


@dataclass(frozen=True, slots=True)
class Discontinuity:
    """From here on it is another recording."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Alert:
    """The offset has left the band (`out`), or is in it again (`back`), in all of these windows."""

    kind: Literal["out", "back"]
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The last of all. windows: how many were answered."""

    reason: Literal["complete", "stalled", "failed", "stopped"]
    message: str
    windows: int
    end_s: float


StreamEvent: TypeAlias = Opened | Window | Gap | Discontinuity | Alert | Ended

EVENTS: Mapping[str, type[StreamEvent]] = {
    "opened": Opened,
    "window": Window,
    "gap": Gap,
    "discontinuity": Discontinuity,
    "alert": Alert,
    "ended": Ended,
}
"""By the names that they have as server-sent events."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream that is followed, or was until lately. window: the last one, None before."""

    stream_id: str
    state: Literal["running", "ended"]
    created: datetime
    window: Window | None
    links: Mapping[str, str]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
