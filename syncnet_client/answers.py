"""What the service answers, as frozen dataclasses.

Field names, units and signs are those of the service's own interface (its page docs/http.md and
/openapi.json). Fields that a newer service adds are ignored here, and found in `raw` of the answers
that have it. Words such as `decision` are passed on as they come, also where a newer service has
one that is not named here.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Risk = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
Decision = Literal["ALLOW", "NEXT", "BLOCK"]
State = Literal["queued", "running", "succeeded", "failed"]


@dataclass(frozen=True, slots=True)
class Curve:
    """Mean distance between picture and sound at each tested offset.

    offsets: frames, ascending, sign as `Sync.offset_frames`; distances: lower is a better match.
    """

    offsets: tuple[int, ...]
    distances: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Track:
    """One face followed through one scene.

    first_frame, last_frame: inclusive, at 25 frames a second; mean_box: (x1, y1, x2, y2) pixels;
    the figures as in `Sync`, None where the track is too short; chosen: the verdict is about it.
    """

    first_frame: int
    last_frame: int
    num_frames: int
    mean_box: tuple[float, float, float, float]
    offset_frames: int | None
    confidence: float | None
    min_dist: float | None
    chosen: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """The offset around one moment. time_s: seconds; offset: frames to a tenth; low, high: its 95%
    band; None of the three where that second says too little."""

    time_s: float
    offset: float | None
    low: float | None
    high: float | None
    confidence: float


@dataclass(frozen=True, slots=True)
class Change:
    """From `time_s` on the offset is another one, as after a splice. before, after: frames."""

    time_s: float
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Sync:
    """Do voice and lips belong together?

    score: 0-1, higher is better in sync. offset_frames: > 0, the sound leads the picture, and
    delaying it by offset_frames / 25 seconds repairs it; lag_ms: the same in milliseconds;
    subframe_offset: to a tenth of a frame. confidence: LSE-C, higher is surer; min_dist: LSE-D,
    lower is a better match; compare them only where `protocol` is the same. doubts: why these
    figures say nothing about the recording. raw_score: the score before a calibration.
    """

    score: float
    offset_frames: int
    lag_ms: int
    confidence: float
    min_dist: float
    protocol: str
    network: str
    num_windows: int
    curve: Curve
    framewise_confidence: tuple[float, ...]
    tracks: tuple[Track, ...]
    subframe_offset: float
    timeline: tuple[Moment, ...]
    changes: tuple[Change, ...]
    doubts: tuple[str, ...]
    raw_score: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of the scores of single frames, each 0-1."""

    mean: float
    std: float
    min: float
    max: float


@dataclass(frozen=True, slots=True)
class HeatMap:
    """What in the most suspicious frame speaks for manipulation.

    time_s: of that frame; score: its probability of being untouched; png: a picture in base64.
    """

    time_s: float
    score: float
    png: str

    def picture(self) -> bytes:
        """The picture as a PNG file of 224x224 pixels."""
        return base64.b64decode(self.png)


@dataclass(frozen=True, slots=True)
class Artifacts:
    """Is the face untouched?

    score: 0-1, mean probability that a frame is; confidence: 0-1, how far that lies from
    undecided; consistency, temporal_consistency: 0-1, how far frames, and neighbouring frames,
    agree; frame_times: seconds; raw_score: before a calibration; heatmap: only where asked for.
    """

    is_real: bool
    score: float
    confidence: float
    consistency: float
    num_frames: int
    frame_scores: tuple[float, ...]
    frame_times: tuple[float, ...]
    statistics: Statistics
    temporal_consistency: float
    raw_score: float
    heatmap: HeatMap | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the recording is. brightness: of the face, 0-255; sharpness: variance of its
    Laplacian; face_size: pixels; snr_db: decibels, None where there is nothing to hear."""

    brightness: float
    sharpness: float
    face_size: float
    snr_db: float | None


@dataclass(frozen=True, slots=True)
class Video:
    """The recording as it was decoded. frames_used: frames at 25 a second that were analysed."""

    duration_s: float
    width: int
    height: int
    fps: float
    codec: str
    frames_used: int


@dataclass(frozen=True, slots=True)
class Missing:
    """A part that could not be measured, why, and what to do about it."""

    part: str
    code: str
    message: str
    advice: str


@dataclass(frozen=True, slots=True)
class Model:
    """Which weights answered. origin: bundled or published; sha256: of their file."""

    name: str
    version: str
    origin: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """Which operator's calibration the scores went through. capture_offset: frames that the
    operator's set-up always adds."""

    name: str
    sha256: str
    made: str
    capture_offset: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one face; as in `Sync`."""

    offset_frames: int
    confidence: float | None
    min_dist: float | None
    chosen: bool


@dataclass(frozen=True, slots=True)
class Debug:
    """Every face that could be measured."""

    num_results: int
    all_results: tuple[Figures, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer about one recording. Scores are 0-1, higher is more likely genuine.

    combined_score: None when nothing could be measured; inconclusive: a part is missing or says
    nothing, and the decision is at best NEXT. weights: share of each part in the score.
    score, offset_frames, lag_ms, confidence, min_dist: copies for simple callers. ttl_ms: epoch
    milliseconds until which the verdict may be relied on. raw: the whole answer as it came.
    """

    combined_score: float | None
    risk_level: Risk | None
    is_likely_real: bool | None
    decision: Decision
    reason_codes: tuple[str, ...]
    inconclusive: bool
    missing: tuple[Missing, ...]
    weights: Mapping[str, float]
    syncnet: Sync | None
    efficientnet: Artifacts | None
    quality: Quality | None
    video: Video
    models: Mapping[str, Model]
    calibration: Calibration | None
    timings_ms: Mapping[str, float]
    score: float | None
    offset_frames: int | None
    lag_ms: int | None
    confidence: float | None
    min_dist: float | None
    session_id: str
    request_id: str
    job_id: str
    ttl_ms: int
    processing_time_ms: int
    request_time_ms: int
    debug: Debug
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong (RFC 9457): `code` is stable, `detail` and `advice` are for people."""

    code: str
    status: int
    title: str = ""
    detail: str = ""
    advice: str = ""
    request_id: str | None = None
    type: str = "about:blank"
    instance: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """How far a job is, and what came of it: a result, an error, or neither yet.

    stage: what is done now; progress: 0-1. As `submit` answers it, only job_id, state and links
    are known.
    """

    job_id: str
    state: State
    stage: str | None = None
    progress: float = 0.0
    created: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    result: Verdict | None = None
    error: Problem | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Progress:
    """One change of a job, as its events tell it. progress: 0-1."""

    state: State
    stage: str | None
    progress: float


@dataclass(frozen=True, slots=True)
class JobSummary:
    """One of the jobs that `jobs` lists; the scores are None where there is no verdict."""

    job_id: str
    session_id: str
    state: State
    risk_level: Risk | None
    decision: Decision | None
    combined_score: float | None
    inconclusive: bool | None
    created: datetime
    finished: datetime | None
    links: Mapping[str, str]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of them. next: where the next one begins, None after the last."""

    jobs: tuple[JobSummary, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Token:
    """A token for one sender, such as a visitor's browser. uploads: how many it is good for;
    session_id: the one that its recordings get, None for any."""

    token: str = field(repr=False)
    expires_at: datetime
    uploads: int
    session_id: str | None


@dataclass(frozen=True, slots=True)
class Detector:
    """One network of the service. available: its weights are there; loaded: they are in memory."""

    role: str
    origin: str
    available: bool
    loaded: bool


@dataclass(frozen=True, slots=True)
class Health:
    """What is there. status: `healthy`, or `degraded` where nothing would be scored."""

    status: str
    version: str
    syncnet_available: bool
    models_loaded: bool
    detectors: Mapping[str, Detector]
    calibration: Calibration | None
    config: Mapping[str, Any]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a recording sent now would be scored; true where it would. status: `ready` or
    `not_ready`; reasons: why not, in words such as `no_worker`."""

    status: str
    reasons: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.status == "ready"
