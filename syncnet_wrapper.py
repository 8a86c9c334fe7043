"""SyncNetWrapper: the one verb. HTTP, command line and batches all call it."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from efficientnet_detector import EfficientNetDetector
from frame_extractor import FrameExtractor
from fusion import DEFAULT_THRESHOLDS, DEFAULT_WEIGHTS, fuse
from syncnet_python import calibration as calibrations
from syncnet_python import media, pipeline, quality
from syncnet_python.assembly import Device, Networks
from syncnet_python.calibration import Calibration
from syncnet_python.errors import (
    CalibrationMismatch,
    DeadlineExceeded,
    ModelError,
    RecordingError,
    SyncNetError,
)
from syncnet_python.networks.precision import Precision
from syncnet_python.profiles import PUBLISHED, Network, Profile
from syncnet_python.results import (
    ArtifactResult,
    Missing,
    ModelInfo,
    Quality,
    SyncResult,
    Verdict,
    VideoInfo,
)
from syncnet_python.scale import Scale
from syncnet_python.tracking import TrackingOptions

Part = Literal["syncnet", "efficientnet"]
T = TypeVar("T")


class SyncNetWrapper:
    """Scores recordings. Networks are loaded on first use, once, and kept.

    profile: "published" for the downloaded SyncNet v2 and S3FD, "bundled" for the networks that
    come with the package, "auto" for the published ones where their files are there.
    network: the sync network by its name, whatever the profile says, with the face detector that
    belongs to it: "original" for SyncNet v2, "fcn" for the bundled FCN-SyncNet. Where its weights
    are not there, recordings are refused (ModelError) and not answered in part.
    facedet_scale, crop_scale, vshift: as in `profiles.Options`. Raises OptionRefused for those of
    other networks, CalibrationMismatch where they alter figures that a calibration rests on.
    weights: share of "syncnet" and "efficientnet" in the combined score. paths: weights files by
    registry name; they come before any folder. max_frames: face crops the classifier sees.
    calibration: the operator's, which every score goes through. Raises CalibrationMismatch, here
    or when networks are loaded, where it was fitted for other networks or weights.
    read: decodes recordings; strangers' are for `isolation.Decoder.read`.
    """

    def __init__(
        self,
        *,
        profile: Profile = "auto",
        models_dir: Path | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
        weights: Mapping[str, float] = DEFAULT_WEIGHTS,
        limits: media.Limits | None = None,
        tracking: TrackingOptions = pipeline.WEBCAM,
        max_frames: int = 20,
        paths: Mapping[str, Path] | None = None,
        calibration: Calibration | None = None,
        read: media.Read = media.read,
        network: Network | None = None,
        facedet_scale: float | None = None,
        crop_scale: float | None = None,
        vshift: int | None = None,
    ) -> None:
        self.networks = Networks(
            profile,
            models_dir,
            device,
            precision,
            paths,
            network=network,
            facedet_scale=facedet_scale,
            crop_scale=crop_scale,
            vshift=vshift,
        )
        self._by_name = network is not None
        self._classifier = EfficientNetDetector.from_networks(self.networks)
        self._weights = dict(weights)
        if calibration:
            calibrations.check_registered(calibration, self.networks.choice.names, weights)
            if altered := self.networks.altered():
                raise CalibrationMismatch(
                    f"calibration {calibration.name!r} was fitted without {', '.join(altered)}"
                )
        self._calibration = calibration
        self._read = read
        self._limits = limits or media.Limits()
        published = {PUBLISHED.face_detector, PUBLISHED.sync}
        if published & {*self.networks.choice.for_sync}:  # their figures are those of whole frames
            self._limits = replace(self._limits, kept_pixels=None)
        self._tracking = tracking
        self._extractor = FrameExtractor(max_frames)

    def preload(self) -> None:
        """Load every network now. Raises ModelError, CalibrationMismatch."""
        self.networks.face_detector()
        self.networks.sync()
        self.networks.landmarker()
        self._classifier.load()
        self._check(self.networks.info())

    def loaded(self) -> tuple[str, ...]:
        """Registry names of the weights that are loaded."""
        return tuple(self.networks.info())

    def _check(self, models: Mapping[str, ModelInfo]) -> None:
        if self._calibration:
            hashes = {name: info.sha256 for name, info in models.items()}
            calibrations.check(self._calibration, hashes, self._weights)

    def process_video(self, path: Path | str, reference: str) -> Verdict:
        """Lip-sync alone: a verdict whose combined score is the sync score.

        reference: the caller's name for the recording, handed back and used for nothing else.
        Raises RecordingError, ModelError, CalibrationMismatch.
        """
        evidence = _Evidence(reference, {"syncnet": 1.0}, self._calibration, partial=False)
        self._measure(Path(path), evidence, None)
        return evidence.verdict()

    def process_video_ensemble(
        self,
        path: Path | str,
        reference: str,
        efficientnet_detector: EfficientNetDetector | None = None,
        *,
        partial: bool = False,
        heatmap: bool = False,
        on_partial: Callable[[Verdict], None] | None = None,
        on_stage: Callable[[str], None] | None = None,
    ) -> Verdict:
        """Lip-sync and face artifacts, fused. The file is decoded and faces are found once.

        efficientnet_detector: another classifier than the profile's.
        partial: where the recording lets only one part be measured, return that part,
        inconclusive, instead of raising.
        heatmap: draw what in the most suspicious frame speaks for manipulation.
        on_partial: called with what could be answered once the first part is measured, for a
        caller whose time may run out.
        on_stage: called with the name of each stage, as in `timings_ms`, when it begins.
        Raises RecordingError; ModelError where want of weights leaves nothing measured. Where it
        costs one part only, the other is returned, inconclusive, and `missing` names the first.
        CalibrationMismatch where the calibration is of other networks than those that answer.
        """
        evidence = _Evidence(
            reference, self._weights, self._calibration, partial=partial, on_stage=on_stage
        )
        classifier = efficientnet_detector or self._classifier
        self._measure(Path(path), evidence, classifier, on_partial, heatmap=heatmap)
        return evidence.verdict()

    def _measure(
        self,
        path: Path,
        evidence: "_Evidence",
        classifier: EfficientNetDetector | None,
        on_partial: Callable[[Verdict], None] | None = None,
        *,
        heatmap: bool = False,
    ) -> None:
        with evidence.timed("decode"):
            recording = self._read(path, self._limits, needs_audio=not evidence.partial)
        evidence.video = recording.info
        with evidence.timed("load"):
            if self._by_name:
                self.networks.sync()
            detector = self.networks.face_detector()
            network = evidence.attempt("syncnet", self.networks.sync)
            if classifier and not evidence.attempt("efficientnet", classifier.load):
                classifier = None
        loaded = self.networks.info()
        evidence.models |= {n: loaded[n] for n in self.networks.choice.for_sync if n in loaded}
        if classifier and classifier.info:
            evidence.models[classifier.info.name] = classifier.info
        self._check(evidence.models)
        if network is None and classifier is None:
            raise evidence.errors[0]

        with evidence.timed("find_faces"):
            faces = pipeline.find_faces(recording.frames, detector)
            tracks = evidence.attempt("syncnet", lambda: pipeline.follow(faces, self._tracking))
            if tracks is None:  # too short for the voice, but a face is seen in a moment
                network = None
                tracks = pipeline.follow(faces, replace(self._tracking, min_track=1))
        chosen = max(tracks, key=len)
        if network is not None:
            evidence.scale = network.scale
            landmarker = self.networks.landmarker()
            with evidence.timed("syncnet"):
                evidence.sync = evidence.attempt(
                    "syncnet",
                    lambda: pipeline.measure_sync(recording, tracks, network, landmarker),
                )
            if evidence.sync:
                chosen = tracks[[track.chosen for track in evidence.sync.tracks].index(True)]

        crops = self._extractor.face_crops(recording.frames, chosen)
        evidence.quality = quality.measure(
            crops.images, chosen.boxes / recording.scale, recording.audio
        )
        if classifier is None:
            return
        if on_partial and evidence.sync:
            late = DeadlineExceeded("time ran out before the face was classified")
            on_partial(evidence.verdict(_missing("efficientnet", late)))
        with evidence.timed("efficientnet"):
            times = [float(recording.times[i]) for i in crops.indices]
            evidence.artifact = classifier.judge(crops.images, times, heatmap=heatmap)


@dataclass(slots=True)
class _Evidence:
    """What one analysis has found so far."""

    reference: str
    weights: Mapping[str, float]
    calibration: Calibration | None
    partial: bool
    on_stage: Callable[[str], None] | None = None
    sync: SyncResult | None = None
    artifact: ArtifactResult | None = None
    quality: Quality | None = None
    video: VideoInfo | None = None
    scale: Scale | None = None
    models: dict[str, ModelInfo] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)
    errors: list[SyncNetError] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        if self.on_stage:
            self.on_stage(stage)
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.timings_ms[stage] = round((time.perf_counter() - begin) * 1000, 1)

    def attempt(self, part: Part, measure: Callable[[], T]) -> T | None:
        """The result, or None and a note of what is missing where that may be answered."""
        try:
            return measure()
        except (ModelError, RecordingError) as error:
            if isinstance(error, RecordingError) and not self.partial:
                raise
            self.errors.append(error)
            if part not in {missing.part for missing in self.missing}:
                self.missing.append(_missing(part, error))
            return None

    def verdict(self, *also_missing: Missing) -> Verdict:
        if self.video is None:
            raise RuntimeError("there is no verdict before the recording is decoded")
        missing = (*self.missing, *also_missing)
        sync, artifact, calibration = self.sync, self.artifact, self.calibration
        if calibration and sync and self.scale:
            sync = calibrations.of_sync(calibration, sync, self.scale)
        if calibration and artifact:
            artifact = calibrations.of_artifact(calibration, artifact)
        fused = fuse(
            sync,
            artifact,
            scale=self.scale,
            quality=self.quality,
            missing=missing,
            weights=self.weights,
            thresholds=calibration.thresholds if calibration else DEFAULT_THRESHOLDS,
            capture_offset=calibration.capture_offset if calibration else 0.0,
        )
        return Verdict(
            **asdict(fused),
            missing=missing,
            syncnet=sync,
            efficientnet=artifact,
            quality=self.quality,
            video=self.video,
            models=dict(self.models),
            calibration=calibration.info if calibration else None,
            timings_ms=dict(self.timings_ms),
            reference=self.reference,
        )


def _missing(part: Part, error: SyncNetError) -> Missing:
    return Missing(part, error.code, error.message, error.advice)
