"""What a job is, as values: asked for, kept, and answered."""

from dataclasses import dataclass
from typing import Literal

from syncnet_python.errors import SyncNetError
from syncnet_python.results import Verdict

Shown = Literal["queued", "running", "succeeded", "failed"]
"""Of a job whose state is another one nothing is left to tell: its id answers 410."""

State = Literal[Shown, "cancelled", "expired"]

OPEN: tuple[State, ...] = ("queued", "running")
ENDED: tuple[State, ...] = ("succeeded", "failed", "cancelled", "expired")


@dataclass(frozen=True, slots=True)
class NewJob:
    """A recording that somebody wants scored.

    owner: id of the API key, or "anonymous"; body_sha256: of everything asked, so that the same
    idempotency key with another request is noticed; media: where the recording lies in the
    storage, or None for video_path, the name of a file below VIDEO_ROOT; must_end_by: epoch
    seconds until which somebody waits for the answer, None where nobody does.
    """

    id: str
    owner: str
    body_sha256: str
    session_id: str
    request_id: str
    partial: bool = False
    heatmap: bool = False
    media: str | None = None
    video_path: str | None = None
    must_end_by: float | None = None
    webhook_url: str | None = None


@dataclass(frozen=True, slots=True)
class JobState:
    """How far a job is. stage: what is done now, None before and after; progress: 0 to 1."""

    state: State
    stage: str | None = None
    progress: float = 0.0

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class Job(JobState):
    """A job as it is kept. Times are epoch seconds; an expired one has lost all but its times.

    attempt: how often a worker has begun it. verdict or error: what came of it, the other None.
    """

    id: str = ""
    owner: str = ""
    body_sha256: str = ""
    session_id: str | None = None
    request_id: str | None = None
    partial: bool = False
    heatmap: bool = False
    media: str | None = None
    video_path: str | None = None
    must_end_by: float | None = None
    webhook_url: str | None = None
    attempt: int = 0
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    delivered_at: float | None = None
    verdict: Verdict | None = None
    error: SyncNetError | None = None


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker that has been seen. alive: lately; loaded: networks in its scoring processes."""

    name: str
    alive: bool
    loaded: tuple[str, ...]
    beats: int


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """How much is taken on: open jobs in all and of one owner, and jobs of one owner a minute
    (0 for any number)."""

    queue: int
    queue_per_owner: int
    per_minute: int


class AdmissionError(Exception):
    """The job was not taken. retry_after_s: when it may be."""

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFull(AdmissionError):
    """As many jobs wait and run as may, of all owners."""


class TooManyJobs(AdmissionError):
    """As many jobs of this owner wait and run as may."""


class RateLimited(AdmissionError):
    """This owner has started as many jobs in the last minute as may be."""


class KeyReused(AdmissionError):
    """The idempotency key belongs to a job of another request."""
