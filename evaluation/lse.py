"""LSE-D and LSE-C as the groups who publish them compute them.

LSE-D is the least of the mean distances between picture and sound at 31 offsets, LSE-C how far
the median of the 31 lies above it (Prajwal et al. 2020, "A Lip Sync Expert Is All You Need",
section 4.2). Both are figures of SyncNet v2, and mean as much as what was done before it: the
same video has other figures under another protocol, so every result names its own. What the
protocols have in common is the reference's (SyncNetInstance.py of joonson/syncnet_python): 25
frames a second, 16 kHz, windows of five frames of which the last is dropped, sound that is not
there as zeros, float32.

What differs from all of them: no frame goes through JPEG and no crop through a video codec on its
way, a track takes one face a frame, and time in which picture or sound is missing is left out.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import IO, Literal, Protocol, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.lse_protocols import LseProtocol, Mean
from syncnet_python import cropping, media, offset, pipeline, quality
from syncnet_python.assembly import Device, Networks
from syncnet_python.detectors import FaceDetector
from syncnet_python.embedding import Crops, SyncNetEmbedder
from syncnet_python.errors import NoFace, SyncNetError, TrackTooShort, WeightsMissing
from syncnet_python.media import Frames, Recording
from syncnet_python.pipeline import SyncNetwork
from syncnet_python.results import FRAME_RATE, ModelInfo
from syncnet_python.scenes import SceneSplitter
from syncnet_python.tracking import Track
from syncnet_python.windows import DAY

Network = Literal["original", "fcn"]

LIMITS = replace(DAY, kept_pixels=None, kept_bytes=1 << 62)
"""Frames are measured at their own size; they wait on disk, not in memory."""

OTHER_SCALE = (
    "these are figures of the bundled FCN-SyncNet, on a scale of its own: never compare them with "
    "published LSE-D and LSE-C, which are SyncNet v2's"
)
_FPS_SLACK = 0.05


class NotOfThisNetwork(SyncNetError):
    code = "lse_network"
    advice = "Leave out --network fcn, or choose a protocol that finds and follows faces."


@dataclass(frozen=True, slots=True)
class TrackFigures:
    """One face, or the whole frame. first_frame, last_frame: inclusive, at 25 a second;
    offset_frames: sign as `results.SyncResult.offset_frames`; windows: averaged."""

    first_frame: int
    last_frame: int
    windows: int
    lse_d: float
    lse_c: float
    offset_frames: int


@dataclass(frozen=True, slots=True)
class VideoFigures:
    """lse_d, lse_c: means of the tracks'; fps: of the file, before it was brought to 25; notes:
    what makes these figures worth less."""

    lse_d: float
    lse_c: float
    fps: float
    tracks: tuple[TrackFigures, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MeanFigures:
    """Of a data set. over: what `count` counts."""

    lse_d: float
    lse_c: float
    over: Mean
    count: int


class Tables(Protocol):
    """A sync network as a protocol calls it.

    windows: names which windows count; comparable: whether its figures may stand beside
    published ones.
    """

    info: ModelInfo
    windows: str
    comparable: bool

    def table(
        self, frames: Frames, sound: NDArray[np.int16], track: Track | None
    ) -> NDArray[np.float32]:
        """Distances as `offset.distances` gives them, at least a row. track: None for whole
        frames; sound: of these frames alone, (samples,) int16. Raises TrackTooShort."""
        ...


class OriginalTables(Tables):
    """SyncNet v2. embedder: in float32, for figures to the digit."""

    windows = "syncnet-v2/reference-windows"
    comparable = True

    def __init__(self, embedder: SyncNetEmbedder, info: ModelInfo) -> None:
        self._embedder, self.info = embedder, info

    def table(
        self, frames: Frames, sound: NDArray[np.int16], track: Track | None
    ) -> NDArray[np.float32]:
        crops: Crops = Squeezed(frames) if track is None else FaceCrops(frames, track)
        found = self._embedder.embed(crops, sound, "reference")
        return offset.distances(found.visual, found.audio)


class FcnTables(Tables):
    """The bundled network. It reads landmarks of a face that has been found, so it has no figures
    of whole frames, and every frame is a window."""

    comparable = False

    def __init__(self, network: SyncNetwork) -> None:
        self._network, self.info, self.windows = network, network.info, network.protocol

    def table(
        self, frames: Frames, sound: NDArray[np.int16], track: Track | None
    ) -> NDArray[np.float32]:
        if track is None:
            raise NotOfThisNetwork("FCN-SyncNet measures no whole frames")
        table = self._network.distances(frames, sound, track)
        if not len(table):
            raise TrackTooShort("a face is in view for too short a time with sound")
        return table


class Meter:
    """A protocol with its networks. detector: as the protocol needs one."""

    def __init__(
        self, protocol: LseProtocol, network: Tables, detector: FaceDetector | None
    ) -> None:
        if protocol.tracking and detector is None:
            raise ValueError(f"{protocol.name} follows faces, so it needs a detector")
        self.protocol, self.network, self._detector = protocol, network, detector

    def video(self, path: Path) -> VideoFigures:
        """The figures of one file. Raises RecordingError."""
        with recording_on_disk(path) as recording:
            return self.figures(recording)

    def figures(self, recording: Recording) -> VideoFigures:
        """Those of a recording. Raises NoFace, TrackTooShort."""
        followed: Sequence[Track | None] = [None]
        if self.protocol.tracking and self._detector:
            followed = find_tracks(recording.frames, self._detector, self.protocol)
        tracks: list[TrackFigures] = []
        notes = _notes(recording, self.protocol)
        for track in followed:
            sound = recording.audio if track is None else pipeline.sound_of(track, recording)
            try:
                table = self.network.table(recording.frames, sound, track)
            except TrackTooShort as error:
                if len(followed) == 1:
                    raise
                notes.append(f"a track is left out: {error.message}")
                continue
            found = offset.read(table)
            span = np.arange(len(recording.frames)) if track is None else track.frames
            first, last = int(span[0]), int(span[-1])
            figures = (found.min_dist, found.confidence, found.offset_frames)
            tracks.append(TrackFigures(first, last, len(table), *figures))
        if not tracks:
            raise TrackTooShort("no face is in view together with sound for long enough")
        return VideoFigures(
            fmean(track.lse_d for track in tracks),
            fmean(track.lse_c for track in tracks),
            recording.info.fps,
            tuple(tracks),
            tuple(notes),
        )


def load(
    protocol: LseProtocol,
    network: Network = "original",
    *,
    models_dir: Path | None = None,
    paths: Mapping[str, Path] | None = None,
    device: Device = "auto",
) -> tuple[Meter, dict[str, ModelInfo]]:
    """A protocol ready to measure, and the weights it uses by name.

    models_dir, paths: where weights lie, as for `assembly.Networks`. Raises ModelError;
    NotOfThisNetwork for the bundled network where the protocol finds no faces.
    """
    if network == "fcn" and not protocol.tracking:
        raise NotOfThisNetwork(f"{protocol.name} measures whole frames; FCN-SyncNet needs a face")
    profile: Literal["published", "bundled"] = "published" if network == "original" else "bundled"
    networks = Networks(profile, models_dir, device, "float32", paths)
    if network == "fcn":
        tables: Tables = FcnTables(networks.sync())
        meter = Meter(protocol, tables, networks.face_detector())
        return meter, networks.info()
    try:
        state, info = networks.weights("syncnet_v2")
        detector = networks.face_detector() if protocol.tracking else None
    except WeightsMissing as error:
        raise WeightsMissing(
            f"{error.message}, and LSE-D and LSE-C are figures of the published networks alone "
            "(`--network fcn` gives the bundled one's, on another scale)"
        ) from error
    tables = OriginalTables(SyncNetEmbedder(state, networks.device, "float32"), info)
    return Meter(protocol, tables, detector), networks.info()


def find_tracks(frames: Frames, detector: FaceDetector, protocol: LseProtocol) -> list[Track]:
    """The faces that count, by first frame. Raises NoFace, TrackTooShort."""
    if protocol.tracking is None or protocol.scene_threshold is None:
        raise ValueError(f"{protocol.name} follows no faces")
    splitter = SceneSplitter(protocol.scene_threshold)
    detections: list[NDArray[np.float32]] = []
    for start in range(0, len(frames), pipeline.BATCH):
        images = [frames.bgr(i) for i in range(start, min(start + pipeline.BATCH, len(frames)))]
        for image in images:
            splitter.feed(image)
        detections += detector.detect(images)
    if not any(len(faces) for faces in detections):
        raise NoFace("no face was found in any frame")
    return pipeline.follow(pipeline.Faces(detections, splitter.scenes()), protocol.tracking)


def mean(videos: Sequence[VideoFigures], over: Mean) -> MeanFigures | None:
    """The figures of a data set; None without a video. Over tracks, a video of two faces counts
    twice."""
    parts: list[VideoFigures] | list[TrackFigures] = list(videos)
    if over == "tracks":
        parts = [track for video in videos for track in video.tracks]
    if not parts:
        return None
    distances, confidences = [p.lse_d for p in parts], [p.lse_c for p in parts]
    return MeanFigures(fmean(distances), fmean(confidences), over, len(parts))


class Squeezed:
    """Whole frames at the size of crops, whatever their shape; made when they are asked for."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        size = (cropping.CROP_SIZE, cropping.CROP_SIZE)
        for index in range(len(self._frames)):
            frame = self._frames.bgr(index)
            yield np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR), np.uint8)


class FaceCrops:
    """Crops of a track, made when they are asked for."""

    def __init__(self, frames: Frames, track: Track) -> None:
        self._frames, self._track = frames, track

    def __len__(self) -> int:
        return len(self._track)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        path = cropping.smooth(self._track.boxes)
        for index, x, y, size in zip(self._track.frames, path.x, path.y, path.size, strict=True):
            yield cropping.crop(self._frames.bgr(int(index)), x, y, size)


@contextlib.contextmanager
def recording_on_disk(path: Path) -> Iterator[Recording]:
    """A decoded file whose pictures wait in a temporary one (`TMPDIR` says where): 1.5 bytes a
    pixel. Raises what `media.decode` does."""
    with tempfile.TemporaryFile() as store, path.open("rb") as file:
        pictures = _Stored(store)
        decoded = media.decode(file, LIMITS, pictures.append, needs_audio=True)
        yield decoded.with_pictures(pictures)


class _Stored(Sequence[bytes]):
    """Pictures of one size in a file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._count = self._bytes = 0
        self._file = file

    def append(self, picture: bytes) -> None:
        self._bytes = len(picture)
        self._file.write(picture)
        self._file.flush()
        self._count += 1

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, number: int) -> bytes: ...
    @overload
    def __getitem__(self, number: slice) -> list[bytes]: ...
    def __getitem__(self, number: int | slice) -> bytes | list[bytes]:
        if isinstance(number, slice):
            return [self[n] for n in range(self._count)[number]]
        return os.pread(self._file.fileno(), self._bytes, number * self._bytes)


def _notes(recording: Recording, protocol: LseProtocol) -> list[str]:
    notes = []
    if quality.is_silent(recording.audio):
        notes.append("the sound holds nothing but silence")
    fps = recording.info.fps
    if protocol.tracking is None and abs(fps - FRAME_RATE) > _FPS_SLACK:
        notes.append(
            f"brought from {fps:g} to {FRAME_RATE} frames a second, which the authors' script "
            "takes for granted"
        )
    return notes
