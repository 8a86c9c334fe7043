"""What is asked of a long recording, and what is kept of each of its chunks. Pure."""

from dataclasses import dataclass, replace

from syncnet_python import pipeline
from syncnet_python.errors import RecordingError
from syncnet_python.results import FRAME_RATE, Doubt, OffsetChange, SyncResult
from syncnet_python.tracking import TrackingOptions


@dataclass(frozen=True, slots=True)
class LongOptions:
    """chunk_s, overlap_s: seconds of a chunk, and of what it shares with the next; look_every:
    faces are looked for in every so manieth frame, and tracks are interpolated between."""

    chunk_s: float = 30.0
    overlap_s: float = 5.0
    tracking: TrackingOptions = pipeline.WEBCAM
    look_every: int = 5

    def __post_init__(self) -> None:
        if self.chunk_s < 1:
            raise ValueError("a chunk must be at least a second long")
        if not 0 <= self.overlap_s <= self.chunk_s / 2:
            raise ValueError("chunks may overlap by half of their length at most")
        if not 1 <= self.look_every <= self.tracking.num_failed_det:
            raise ValueError(
                f"faces are looked for in every frame up to every {self.tracking.num_failed_det}th"
            )

    @property
    def length(self) -> int:
        """Frames of a chunk."""
        return round(self.chunk_s * FRAME_RATE)

    @property
    def stride(self) -> int:
        """Frames from the start of a chunk to that of the next."""
        return self.length - round(self.overlap_s * FRAME_RATE)

    def own_frames(self, first: int, end: int, *, last: bool) -> tuple[int, int]:
        """Of a chunk's frames, those that no other chunk answers for, end exclusive.

        first: of the chunk, its number times `stride`; end: exclusive; last: no chunk follows.
        """
        half = (self.length - self.stride) // 2
        return first + half if first else 0, end if last else first + self.stride + half


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something could not be measured; as in `errors`."""

    code: str
    message: str
    advice: str

    @classmethod
    def of(cls, error: RecordingError) -> "Failure":
        return cls(error.code, error.message, error.advice)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the face that speaks, over the whole chunk; as in `results.SyncResult`, but for the times
    of `changes`, which are counted from the recording's first picture."""

    offset_frames: int
    subframe_offset: float
    lag_ms: int
    confidence: float
    min_dist: float
    score: float
    doubts: tuple[Doubt, ...]
    changes: tuple[OffsetChange, ...]

    @classmethod
    def of(cls, sync: SyncResult, clock_s: float) -> "Figures":
        """clock_s: what the file's clock shows at the recording's first picture."""
        figures = cls(*(getattr(sync, name) for name in cls.__dataclass_fields__))
        changes = (replace(c, time_s=round(c.time_s - clock_s, 2)) for c in figures.changes)
        return replace(figures, changes=tuple(changes))


@dataclass(frozen=True, slots=True)
class Chunk:
    """What was found in one chunk. All times are seconds from the recording's first picture.

    own_start_s, own_end_s: the part whose rows are merged into the whole; figures or failure, never
    both; visible_faces: most that are followed at one time; speaking_faces: most at one time whose
    lips match the voice better than chance; still_s: longest time that the picture does not
    change at all, 0 under a second; sums, counts: of the distances in the own part, a value for
    each shift as in the columns of `offset.distances`; took_s: wall-clock seconds.
    """

    number: int
    start_s: float
    end_s: float
    own_start_s: float
    own_end_s: float
    figures: Figures | None
    failure: Failure | None
    visible_faces: int
    speaking_faces: int
    still_s: float
    sums: tuple[float, ...]
    counts: tuple[int, ...]
    took_s: float


@dataclass(frozen=True, slots=True)
class CutOff:
    """The recording cannot be decoded from here on."""

    start_s: float
    failure: Failure
