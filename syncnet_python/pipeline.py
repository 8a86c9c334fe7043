"""The stages in order: frames -> scenes and faces -> tracks -> distances -> offset.

Decoding comes before (`media.read`); what becomes of the figures comes after (`fusion`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from syncnet_python import doubts, offset, quality, timeline
from syncnet_python.detectors import FaceDetector
from syncnet_python.errors import NoAudio, NoFace, SilentAudio, TrackTooShort
from syncnet_python.fcn_embedding import locate
from syncnet_python.landmarks import Landmarker
from syncnet_python.media import Frames, Recording
from syncnet_python.results import (
    FRAME_MS,
    FRAME_RATE,
    SAMPLES_PER_FRAME,
    Doubt,
    ModelInfo,
    SyncResult,
    TrackResult,
)
from syncnet_python.scale import Scale, as_recorded
from syncnet_python.scenes import SceneSplitter
from syncnet_python.tracking import Track, TrackingOptions, track_faces

BATCH = 32
"""Frames in memory as pixels at a time."""

WEBCAM = TrackingOptions(min_track=FRAME_RATE, min_face_size=40.0)
"""Tracking for short recordings: a second of face is enough, and webcams show small ones."""

_USUAL_WINDOWS = 75
"""Windows of the recordings that a scale's confidence levels were read from."""

_Number = TypeVar("_Number", np.float64, np.int64)


class SyncNetwork(Protocol):
    """Embeds a tracked face and sound so that what belongs together lies close.

    info: the weights that answer; protocol: names how the figures are made; scale: what they mean;
    padding: what `offset.distances` does where there is no pair; reads_landmarks: whether `visual`
    looks at points; max_shift: frames of offset searched on either side. Implementations inherit
    `distances`.
    """

    info: ModelInfo
    protocol: str
    scale: Scale
    padding: offset.Padding
    reads_landmarks: bool
    max_shift: int = offset.MAX_SHIFT

    def visual(
        self, frames: Frames, track: Track, points: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """What is seen: (n, d) float32, a row a window; no rows where the track is too short.

        points: of `fcn_embedding.locate`, where they are at hand already; a network that reads no
        landmarks ignores them.
        """
        ...

    def audio(self, samples: NDArray[np.int16], num_frames: int) -> NDArray[np.float32]:
        """What is heard: (n, d) float32, row for row at the same time as `visual`; fewer rows
        where the sound ends early, none where there is none.

        samples: (any,) int16 mono at 16 kHz that start with the track; num_frames: frames of the
        track that this is the sound of. Sound beyond them is left out.
        """
        ...

    def distances(
        self,
        frames: Frames,
        audio: NDArray[np.int16],
        track: Track,
        points: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """A table as `offset.distances` makes it, (windows, 2 * max_shift + 1); no rows where
        track or sound is too short for one window. audio: the sound of the track alone, (samples,)
        int16."""
        heard = self.audio(audio, len(track))
        if not len(heard):
            return np.empty((0, 2 * self.max_shift + 1), np.float32)
        seen = self.visual(frames, track, points)
        windows = min(len(seen), len(heard))
        return offset.distances(
            seen[:windows], heard[:windows], max_shift=self.max_shift, padding=self.padding
        )


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """What was found frame by frame.

    detections: per frame, as `FaceDetector.detect` gives them; scenes: (start, end) frames, end
    exclusive, which together cover all frames; every: faces were looked for in every so manieth
    frame alone, and there are none in the others.
    """

    detections: Sequence[NDArray[np.float32]]
    scenes: Sequence[tuple[int, int]]
    every: int = 1


def find_faces(frames: Frames, detector: FaceDetector) -> Faces:
    """Every face of every frame, and the cuts between scenes. Raises NoFace where there is none."""
    splitter, detections = SceneSplitter(), []
    for start in range(0, len(frames), BATCH):
        images = [frames.bgr(i) for i in range(start, min(start + BATCH, len(frames)))]
        for image in images:
            splitter.feed(image)
        detections += detector.detect(images)
    if not any(len(faces) for faces in detections):
        raise NoFace("no face was found in any frame")
    return Faces(detections, splitter.scenes())


def follow(faces: Faces, options: TrackingOptions = WEBCAM) -> list[Track]:
    """Every face, followed through every scene, by first frame.

    options: `min_track` detections stand for as many frames, also where not every frame was
    looked at. Raises TrackTooShort where none stays long enough.
    """
    asked = replace(options, min_track=-(-options.min_track // faces.every))
    tracks = [
        track
        for first, end in faces.scenes
        for track in track_faces(faces.detections[first:end], asked, first_frame=first)
    ]
    if not tracks:
        seconds = options.min_track / FRAME_RATE
        raise TrackTooShort(
            f"no face of more than {options.min_face_size:g} pixels is in view for {seconds:g} s"
        )
    return tracks


def find_tracks(
    frames: Frames, detector: FaceDetector, options: TrackingOptions = WEBCAM
) -> list[Track]:
    """`find_faces` and `follow` in one. Raises NoFace, TrackTooShort."""
    return follow(find_faces(frames, detector), options)


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """What the sync network says of every tracked face, a value a track.

    tables: as `offset.distances` makes them, (windows, shifts) float32, no rows where the track
    is too short; estimates: what is read from them, None without rows; points: (n, points, 2)
    float32 of `fcn_embedding.locate`, None where nobody looked for them; chosen: which face speaks.
    """

    tables: tuple[NDArray[np.float32], ...]
    estimates: tuple[offset.OffsetEstimate | None, ...]
    points: tuple[NDArray[np.float32] | None, ...]
    chosen: int

    @property
    def best(self) -> offset.OffsetEstimate:
        """What is read from the face that speaks. Raises TrackTooShort."""
        best = self.estimates[self.chosen]
        if best is None:
            raise TrackTooShort("no face is in view together with sound for long enough")
        return best


def measure_sync(
    recording: Recording, tracks: Sequence[Track], network: SyncNetwork, landmarker: Landmarker
) -> SyncResult:
    """Offset, confidence and distance of the face that speaks, and of every other; how the offset
    runs; and, where lips and voice do not match, what may be the reason.

    Raises NoAudio, SilentAudio where there is nothing to hear, TrackTooShort where no track holds
    a window.
    """
    measurement = measure(recording, tracks, network, landmarker)
    return result(measurement, recording, tracks, network)


def measure(
    recording: Recording,
    tracks: Sequence[Track],
    network: SyncNetwork,
    landmarker: Landmarker,
    points: Sequence[NDArray[np.float32] | None] | None = None,
) -> Measurement:
    """The distances between every tracked face and the sound, and what is read from them.

    points: of each track, where they are at hand already. Those of the face that speaks are looked
    for in any case where it does not match, because `result` asks them for the reason.
    Raises NoAudio, SilentAudio, TrackTooShort as `measure_sync`.
    """
    if not len(recording.audio):
        raise NoAudio("the recording has no sound")
    if quality.is_silent(recording.audio):
        raise SilentAudio("the sound holds nothing but silence")
    frames = recording.frames
    found = list(points or [None] * len(tracks))
    if network.reads_landmarks:
        found = [locate(landmarker, frames, track) if seen is None else seen
                 for track, seen in zip(tracks, found, strict=True)]  # fmt: skip
    tables = [network.distances(frames, sound_of(track, recording), track, seen)
              for track, seen in zip(tracks, found, strict=True)]  # fmt: skip
    estimates = [offset.read(table) if len(table) else None for table in tables]
    chosen = _speaking(tables, estimates)
    measured = Measurement(tuple(tables), tuple(estimates), tuple(found), chosen)
    unlike = not matched(measured.best.confidence, len(tables[chosen]), network.scale)
    if unlike and found[chosen] is None:
        found[chosen] = locate(landmarker, frames, tracks[chosen])
    return replace(measured, points=tuple(found))


def result(
    measurement: Measurement, recording: Recording, tracks: Sequence[Track], network: SyncNetwork
) -> SyncResult:
    """What `measure` found, in words and figures; the other arguments as they were given to it.

    Raises TrackTooShort.
    """
    best, chosen, scale = measurement.best, measurement.chosen, network.scale
    table, track, points = measurement.tables[chosen], tracks[chosen], measurement.points[chosen]
    found: tuple[Doubt, ...] = ()
    if points is not None and not matched(best.confidence, len(table), scale):
        found = doubts.find(sound_of(track, recording), points)
    value = as_recorded(scale, best)
    times = middles(recording.times[track.frames], len(table))
    return SyncResult(
        score=value,
        offset_frames=best.offset_frames,
        lag_ms=best.offset_frames * FRAME_MS,
        confidence=best.confidence,
        min_dist=best.min_dist,
        protocol=network.protocol,
        network=network.info.name,
        num_windows=len(table),
        curve=best.curve,
        framewise_confidence=tuple(float(c) for c in best.framewise_confidence),
        tracks=tuple(
            _described(track, estimate, recording.scale, chosen=number == chosen)
            for number, (track, estimate) in enumerate(
                zip(tracks, measurement.estimates, strict=True)
            )
        ),
        subframe_offset=offset.subframe(best.curve),
        timeline=timeline.moments(table, times, scale),
        changes=timeline.changes(table, times, scale),
        doubts=found,
        raw_score=value,
    )


def matched(confidence: float, windows: int, scale: Scale) -> bool:
    """Whether the match alone shows that there are lips and a voice to compare: chance gives this
    confidence, which falls with the square root of the windows, in one recording of twenty."""
    few: float = (_USUAL_WINDOWS / min(windows, _USUAL_WINDOWS)) ** 0.5
    return confidence >= scale.confidence_levels[0] * few


def middles(times: NDArray[_Number], windows: int) -> NDArray[_Number]:
    """Of a track's frames, (n,) seconds or numbers, those of the middle of each window. A window
    of several frames has as many rows less as it has frames more than one."""
    span = len(times) - windows
    return times[span // 2 : span // 2 + windows]


def sound_of(track: Track, recording: Recording) -> NDArray[np.int16]:
    """The samples of a track's frames, as `SyncNetwork.distances` takes them."""
    first, last = int(track.frames[0]), int(track.frames[-1])
    return recording.audio[first * SAMPLES_PER_FRAME : (last + 1) * SAMPLES_PER_FRAME]


def _speaking(
    tables: Sequence[NDArray[np.float32]], estimates: Sequence[offset.OffsetEstimate | None]
) -> int:
    """Which face the voice belongs to: the one with the most evidence.

    The confidence that chance alone gives falls with the square root of the number of windows,
    so a short track needs a higher one to be believed.
    """
    evidence = [
        -1.0 if estimate is None else estimate.confidence * len(table) ** 0.5
        for table, estimate in zip(tables, estimates, strict=True)
    ]
    return int(np.argmax(evidence))


def _described(
    track: Track, estimate: offset.OffsetEstimate | None, scale: float, *, chosen: bool
) -> TrackResult:
    x1, y1, x2, y2 = (round(float(side), 1) for side in track.boxes.mean(axis=0) / scale)
    return TrackResult(
        first_frame=int(track.frames[0]),
        last_frame=int(track.frames[-1]),
        num_frames=len(track),
        mean_box=(x1, y1, x2, y2),
        offset_frames=estimate.offset_frames if estimate else None,
        confidence=estimate.confidence if estimate else None,
        min_dist=estimate.min_dist if estimate else None,
        chosen=chosen,
    )
