"""A recording with what was measured drawn in, and a sheet that shows all of it at once."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from efficientnet_detector import EfficientNetDetector
from frame_extractor import FrameExtractor
from syncnet_python import mouth
from syncnet_python.alignment import warp
from syncnet_python.assembly import Networks
from syncnet_python.errors import ModelError, Undecodable
from syncnet_python.fcn_embedding import EYES, locate
from syncnet_python.landmarks import LIPS
from syncnet_python.results import FRAME_RATE, SAMPLES_PER_FRAME, ArtifactResult, SyncResult
from syncnet_python.tracking import TrackingOptions
from workflows.clips import ClipWriter
from workflows.inspection import drawing, sheet
from workflows.inspection.analysis import Analysis, analysed, shown
from workflows.inspection.overlay import FollowedFace, Overlay

VIDEO_PIXELS = 1280 * 720
"""Pictures of the video have about so many pixels at most."""


@dataclass(frozen=True, slots=True)
class Visualisation:
    """What was written and what it shows. artifact: None where the face could not be classified,
    for the reason in `no_artifact`."""

    video: Path
    sheet: Path
    sync: SyncResult
    artifact: ArtifactResult | None
    no_artifact: str


def visualise(
    path: Path,
    output_dir: Path,
    networks: Networks,
    tracking: TrackingOptions,
    max_frames: int = 20,
) -> Visualisation:
    """Write `NAME.annotated.mp4` and `NAME.sheet.png`, NAME being the file's without its suffix.

    max_frames: face crops that the classifier sees. Files of these names are replaced, when the
    new ones are whole. Raises what `analysis.analysed` does.
    """
    video = output_dir / f"{path.stem}.annotated.mp4"
    page = output_dir / f"{path.stem}.sheet.png"
    with analysed(path, networks, tracking) as found:
        points = _points(found, networks)
        artifact, no_artifact = _artifact(found, networks, max_frames)
        overlay = _overlay(found, points)
        findings = sheet.Findings(
            title=path.name,
            frames=_frames(found, overlay),
            mouths=_mouths(found, points),
            start_s=float(found.recording.times[0]),
            duration_s=len(found.recording.frames) / FRAME_RATE,
            times=found.tracks[found.measurement.chosen].frames / FRAME_RATE,
            confidences=found.confidences(found.measurement.chosen),
            sync=found.sync,
            scale=found.network.scale,
            artifact=artifact,
            no_artifact=no_artifact,
        )
        output_dir.mkdir(parents=True, exist_ok=True)
        _write_video(path, video, found, overlay)
        partial = page.with_name(f".{page.name}.partial")
        partial.write_bytes(sheet.png(sheet.draw(findings)))
        partial.replace(page)
        return Visualisation(video, page, found.sync, artifact, no_artifact)


def _points(found: Analysis, networks: Networks) -> NDArray[np.float32]:
    """Landmarks of the face that speaks, in pixels of the frames that were looked at."""
    chosen = found.measurement.chosen
    points = found.measurement.points[chosen]
    if points is not None:
        return points
    return locate(networks.landmarker(), found.recording.frames, found.tracks[chosen])


def _artifact(
    found: Analysis, networks: Networks, max_frames: int
) -> tuple[ArtifactResult | None, str]:
    """What the classifier says of the face that speaks, or why it says nothing."""
    recording, track = found.recording, found.tracks[found.measurement.chosen]
    classifier = EfficientNetDetector.from_networks(networks)
    try:
        classifier.load()
    except ModelError as error:
        return None, error.message
    crops = FrameExtractor(max_frames).face_crops(recording.frames, track)
    times = [float(recording.times[index]) for index in crops.indices]
    return classifier.judge(crops.images, times), ""


def _overlay(found: Analysis, points: NDArray[np.float32]) -> Overlay:
    measurement, scale = found.measurement, found.recording.scale
    known = [
        points if number == measurement.chosen else seen
        for number, seen in enumerate(measurement.points)
    ]
    faces = [
        FollowedFace(
            found.recorded(track),
            found.confidences(number),
            None if seen is None else seen / np.float32(scale),
        )
        for number, (track, seen) in enumerate(zip(found.tracks, known, strict=True))
    ]
    return Overlay(
        width=found.recording.info.width,
        faces=faces,
        chosen=measurement.chosen,
        moments=found.sync.timeline,
        start_s=float(found.recording.times[0]),
        scale=found.network.scale,
    )


def _frames(found: Analysis, overlay: Overlay) -> list[sheet.Timed]:
    """A few frames of the face that speaks, with everything drawn in."""
    frames = found.tracks[found.measurement.chosen].frames
    pictures = []
    for frame in frames[FrameExtractor(sheet.FRAMES).choose(len(frames))]:
        picture = drawing.fitted(
            found.recording.frames.bgr(int(frame)), sheet.PHOTO_WIDTH, sheet.PHOTO_HEIGHT
        )
        overlay.draw(picture, int(frame), line=False)
        pictures.append((float(frame) / FRAME_RATE, picture))
    return pictures


def _mouths(found: Analysis, points: NDArray[np.float32]) -> list[sheet.Timed]:
    """Crops of the mouth that speaks, in colour, cut as the network's are."""
    frames, size = found.tracks[found.measurement.chosen].frames, sheet.MOUTH_SIZE
    transforms = mouth.crop_transforms(points[:, LIPS], points[:, EYES], size)
    return [
        (
            float(frames[index]) / FRAME_RATE,
            warp(found.recording.frames.bgr(int(frames[index])), transforms[index], size),
        )
        for index in FrameExtractor(sheet.MOUTHS).choose(len(frames))
    ]


def _write_video(path: Path, video: Path, found: Analysis, overlay: Overlay) -> None:
    """The recording at 25 frames a second with the overlay and its sound."""
    audio, frames, writer = found.recording.audio, 0, None
    with ExitStack() as files:
        for frame, picture in shown(path, found.recording, VIDEO_PIXELS):
            if writer is None:
                size = (picture.shape[1], picture.shape[0])
                writer = files.enter_context(ClipWriter(video, size=size))
            overlay.draw(picture, frame)
            writer.picture(picture, frame / FRAME_RATE)
            writer.sound(audio[frame * SAMPLES_PER_FRAME : (frame + 1) * SAMPLES_PER_FRAME])
            frames += 1
        if frames != len(found.recording.frames):
            raise Undecodable("the file is not the same any more as when it was first read")
