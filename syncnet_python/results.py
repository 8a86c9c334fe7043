"""What the library answers: frozen dataclasses, every field with its unit, range and sign.

They hold plain Python values only, so that `dataclasses.asdict` gives JSON as it stands and a
result can cross a process boundary without torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

FRAME_RATE = 25
"""Frames a second of everything that is analysed."""

FRAME_MS = 1000 // FRAME_RATE
"""Milliseconds of one offset step."""

SAMPLE_RATE = 16_000
"""Audio samples a second of everything that is analysed."""

SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE

Risk = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
Decision = Literal["ALLOW", "NEXT", "BLOCK"]
Origin = Literal["bundled", "published"]
Doubt = Literal["NO_SPEECH", "MUSIC", "MOUTH_STILL", "FACE_TURNED", "STILL_PICTURE"]
"""Why lips and voice cannot be compared: nobody is heard to speak, music is heard instead, the
mouth stays closed, the lips are turned away, or the picture does not move at all."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which weights answered. sha256: of the file that was loaded, lower-case hexadecimal."""

    name: str
    version: str
    origin: Origin
    sha256: str


@dataclass(frozen=True, slots=True)
class CalibrationInfo:
    """Which operator's calibration the scores went through.

    name: the operator's own; sha256: of the file; made: ISO date; capture_offset: frames that
    this set-up always adds, sign as `SyncResult.offset_frames`.
    """

    name: str
    sha256: str
    made: str
    capture_offset: float


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The recording as it was decoded, not as its header describes it.

    duration_s: seconds both streams share; width, height: pixels as shown (rotation applied);
    fps: measured from timestamps, before resampling; codec: the picture codec's FFmpeg name;
    frames_used: frames at 25 a second that were analysed.
    """

    duration_s: float
    width: int
    height: int
    fps: float
    codec: str
    frames_used: int


@dataclass(frozen=True, slots=True)
class OffsetCurve:
    """Mean distance between picture and sound at each tested offset.

    offsets: frames, same sign as `SyncResult.offset_frames`, ascending, 31 for ±15;
    distances: mean embedding distance at that offset, lower is a better match.
    """

    offsets: tuple[int, ...]
    distances: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TrackResult:
    """One face followed through one scene.

    first_frame, last_frame: inclusive, at 25 frames a second; num_frames: how many;
    mean_box: (x1, y1, x2, y2) pixels of the recording; the other fields as in `SyncResult`, None
    where the track is too short to measure; chosen: whether the verdict is about this face.
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
class OffsetMoment:
    """The offset around one moment, from the windows of the two seconds around it.

    time_s: seconds of presentation time, the middle; offset: frames to a tenth, sign as
    `SyncResult.offset_frames`; low, high: its 95% confidence band, frames; confidence: median
    minus minimum of the curve of these windows alone, None of the three where they hold too
    little to say.
    """

    time_s: float
    offset: float | None
    low: float | None
    high: float | None
    confidence: float


@dataclass(frozen=True, slots=True)
class OffsetChange:
    """The offset is another one from a moment on, as after a splice.

    time_s: seconds of presentation time; before, after: frames to a tenth, sign as
    `SyncResult.offset_frames`.
    """

    time_s: float
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class SyncResult:
    """Do voice and lips belong together?

    score: 0-1, higher is better in sync; the same meaning for every network.
    offset_frames: > 0, the audio leads the picture: delaying the audio by offset_frames / 25 s
        repairs it. lag_ms = offset_frames * 40.
    subframe_offset: the same to a tenth of a frame.
    confidence: LSE-C, median minus minimum of the offset curve, >= 0, higher is surer.
    min_dist: LSE-D, minimum of the offset curve, lower is a better match.
    protocol: names how the figures were made; only equal protocols can be compared.
    network: name of the weights that answered. num_windows: embedding windows averaged.
    framewise_confidence: per window, at the chosen offset, median-filtered over 9 windows.
    timeline: one moment a second; changes: where the offset jumps, in time order.
    doubts: why these figures say nothing about the recording; empty where they do.
    raw_score: the score before the operator's calibration; the same where there is none.
    """

    score: float
    offset_frames: int
    lag_ms: int
    confidence: float
    min_dist: float
    protocol: str
    network: str
    num_windows: int
    curve: OffsetCurve
    framewise_confidence: tuple[float, ...]
    tracks: tuple[TrackResult, ...]
    subframe_offset: float
    timeline: tuple[OffsetMoment, ...]
    changes: tuple[OffsetChange, ...]
    doubts: tuple[Doubt, ...]
    raw_score: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of the per-frame scores, each 0-1."""

    mean: float
    std: float
    min: float
    max: float


@dataclass(frozen=True, slots=True)
class HeatMap:
    """What in the most suspicious frame speaks for manipulation (Grad-CAM, Selvaraju 2017).

    time_s: of that frame; score: its probability of real; png: the face crop with the map over
    it, a PNG file in base64.
    """

    time_s: float
    score: float
    png: str


@dataclass(frozen=True, slots=True)
class ArtifactResult:
    """Is the face untouched?

    score: 0-1, mean probability that a frame is real; is_real: score > 0.5.
    confidence: 0-1, how far the score lies from undecided. consistency: 0-1, 1 when all frames
    agree. temporal_consistency: 0-1, 1 when neighbouring frames agree; a slow drift costs it
    little, flicker much. frame_scores: probability of real per frame, in time order; frame_times:
    seconds of presentation time. raw_score: the score before the operator's calibration; the same
    where there is none. heatmap: only where it was asked for.
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
    """How good the recording is, measured on the chosen face and the sound.

    brightness: mean grey level of the face, 0-255; sharpness: variance of the Laplacian of the
    face scaled to 112 pixels; face_size: median larger side of the box in pixels;
    snr_db: loudest parts over the quietest, decibels; None where there is nothing to hear.
    """

    brightness: float
    sharpness: float
    face_size: float
    snr_db: float | None


@dataclass(frozen=True, slots=True)
class Missing:
    """A part that could not be measured. part: "syncnet" or "efficientnet"; code, message as in
    `errors`; advice: what to do about it."""

    part: str
    code: str
    message: str
    advice: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole answer about one recording. Scores are 0-1, higher is more likely genuine.

    combined_score: None when nothing could be measured; inconclusive: something that the verdict
    rests on is missing or says too little. weights: share of each part in combined_score.
    calibration: the operator's, None without one. timings_ms: milliseconds by stage.
    reference: the caller's own name for the recording.
    """

    combined_score: float | None
    risk_level: Risk | None
    is_likely_real: bool | None
    decision: Decision
    reason_codes: tuple[str, ...]
    inconclusive: bool
    missing: tuple[Missing, ...]
    weights: Mapping[str, float]
    syncnet: SyncResult | None
    efficientnet: ArtifactResult | None
    quality: Quality | None
    video: VideoInfo
    models: Mapping[str, ModelInfo]
    calibration: CalibrationInfo | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    reference: str = ""
