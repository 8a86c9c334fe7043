"""The files of SyncNet's original scripts (run_pipeline.py, run_syncnet.py, run_visualise.py of
Chung and Zisserman), in their places and forms, so that tools made for them go on working.

    pycrop/NAME/00000.avi ...    every face track, 224x224, with its sound
    pywork/NAME/offsets.txt      offset and confidence of every track
    pywork/NAME/faces.json       what the face detector found in every frame
    pywork/NAME/scenes.json      first frame and end of every scene
    pywork/NAME/tracks.json      frames, boxes and smoothed path of every track
    pywork/NAME/activesd.npz     frame-wise confidences and distances of every track
    pyavi/NAME/video_out.avi     the recording with the boxes and confidences drawn in

The originals pickle what is JSON and npz here: unpickling runs whatever a file says.
"""

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from syncnet_python import cropping
from syncnet_python.assembly import Networks
from syncnet_python.cropping import CROP_SIZE, CropPath
from syncnet_python.errors import Undecodable
from syncnet_python.results import FRAME_RATE, SAMPLES_PER_FRAME, SyncResult, TrackResult
from syncnet_python.scale import Scale
from syncnet_python.tracking import TrackingOptions
from workflows.clips import ClipWriter
from workflows.inspection import drawing
from workflows.inspection.analysis import Analysis, analysed, shown

OffsetsFormat = Literal["reference", "plain"]


@dataclass(frozen=True, slots=True)
class ReferenceFiles:
    """What was written. crops, work, video: folders; sync: what was measured."""

    crops: Path
    work: Path
    video: Path
    sync: SyncResult

    def crop(self, track: int) -> Path:
        return self.crops / _crop_name(track)


def check_name(name: str) -> None:
    """Raises ValueError for what would not be a folder of its own, right where it belongs."""
    plain = name == name.strip() and name.isprintable() and not set(name) & set("/\\:")
    if not plain or name.startswith(".") or not 0 < len(name.encode()) <= 200:
        raise ValueError(
            f"{name!r} is no plain name: no separators, colons or control characters, no dot or "
            "blank in front, at most 200 bytes"
        )


def write(
    path: Path,
    name: str,
    data_dir: Path,
    networks: Networks,
    tracking: TrackingOptions,
    offsets_format: OffsetsFormat = "reference",
) -> ReferenceFiles:
    """Measure a recording and write all files. Earlier ones of that name go when these are whole.

    Raises ValueError for the name, and what `analysis.analysed` does; nothing is written then.
    """
    check_name(name)
    crops, work, video = (data_dir / place / name for place in ("pycrop", "pywork", "pyavi"))
    with analysed(path, networks, tracking) as found:
        paths = [cropping.smooth(found.recorded(track).boxes) for track in found.tracks]
        chosen = networks.options.crop_scale
        margin = cropping.CROP_SCALE if chosen is None else chosen
        with renewed([crops, work, video]) as (new_crops, new_work, new_video):
            _write_figures(found, paths, new_work, offsets_format)
            _write_videos(path, found, paths, margin, new_crops, new_video / "video_out.avi")
        return ReferenceFiles(crops, work, video, found.sync)


@contextmanager
def renewed(folders: Sequence[Path]) -> Iterator[list[Path]]:
    """Empty folders beside these, which take their places when the block ends well."""
    mark = secrets.token_hex(4)
    fresh = [folder.with_name(f".{folder.name}.{mark}.new") for folder in folders]
    try:
        for folder in fresh:
            folder.mkdir(parents=True)
        yield fresh
        for new, folder in zip(fresh, folders, strict=True):
            earlier = folder.with_name(f".{folder.name}.{mark}.old")
            if there := folder.exists() or folder.is_symlink():
                folder.rename(earlier)
            try:
                new.rename(folder)
            except BaseException:
                if there:
                    earlier.rename(folder)
                raise
            _remove(earlier)
    finally:
        for folder in fresh:
            _remove(folder)


def _write_figures(
    found: Analysis, paths: Sequence[CropPath], folder: Path, form: OffsetsFormat
) -> None:
    (folder / "offsets.txt").write_text(offsets_text(found.sync.tracks, form))
    _write_json(folder / "faces.json", _faces(found))
    _write_json(folder / "scenes.json", [list(scene) for scene in found.faces.scenes])
    _write_json(folder / "tracks.json", _tracks(found, paths))
    np.savez_compressed(folder / "activesd.npz", allow_pickle=False, **_active_speaker(found))


def offsets_text(tracks: Sequence[TrackResult], form: OffsetsFormat) -> str:
    """A line a track: `TRACK 0: OFFSET 2, CONF 8.147`, or `offset conf min_dist`.

    Offsets have the originals' sign, that of `SyncResult.offset_frames`. A track that was too
    short to measure has no line in the first form, and `nan nan nan` in the second, whose lines
    have no number.
    """
    lines = []
    for number, track in enumerate(tracks):
        if track.offset_frames is None:
            lines += ["nan nan nan"] if form == "plain" else []
        elif form == "plain":
            lines.append(f"{track.offset_frames:d} {track.confidence:.3f} {track.min_dist:.3f}")
        else:
            lines.append(
                f"TRACK {number}: OFFSET {track.offset_frames:d}, CONF {track.confidence:.3f}"
            )
    return "".join(line + "\n" for line in lines)


def _faces(found: Analysis) -> list[list[dict[str, object]]]:
    scale = found.recording.scale
    return [
        [
            {"frame": frame, "bbox": _rounded(face[:4] / scale), "conf": round(float(face[4]), 4)}
            for face in faces
        ]
        for frame, faces in enumerate(found.faces.detections)
    ]


def _tracks(found: Analysis, paths: Sequence[CropPath]) -> list[dict[str, object]]:
    return [
        {
            "track": {
                "frame": track.frames.tolist(),
                "bbox": [_rounded(box) for box in found.recorded(track).boxes],
            },
            "proc_track": {"x": _rounded(path.x), "y": _rounded(path.y), "s": _rounded(path.size)},
        }
        for track, path in zip(found.tracks, paths, strict=True)
    ]


def _active_speaker(found: Analysis) -> Mapping[str, NDArray[np.generic]]:
    """By track number N: `distances_N`, (windows, shifts) float32, whose column j stands for
    `offsets[j]`; `confidences_N`, (windows,) float64. `protocol`, `network`: who measured."""
    reach = found.network.max_shift
    arrays: dict[str, NDArray[np.generic]] = {
        "offsets": np.arange(reach, -reach - 1, -1),
        "protocol": np.array(found.sync.protocol),
        "network": np.array(found.sync.network),
    }
    measured = zip(found.measurement.tables, found.measurement.estimates, strict=True)
    for number, (table, estimate) in enumerate(measured):
        arrays[f"distances_{number}"] = table
        arrays[f"confidences_{number}"] = (
            np.empty(0) if estimate is None else estimate.framewise_confidence
        )
    return arrays


def _write_videos(
    path: Path,
    found: Analysis,
    paths: Sequence[CropPath],
    margin: float,
    crops: Path,
    video: Path,
) -> None:
    """The crops of every track, and the recording with its boxes drawn in, in one more pass."""
    recording, tracks = found.recording, found.tracks
    confidences = [found.confidences(number) for number in range(len(tracks))]
    ends = [(int(track.frames[0]), int(track.frames[-1])) for track in tracks]
    written: dict[int, tuple[ExitStack, ClipWriter]] = {}
    frames = 0
    with ExitStack() as files:
        size = (recording.info.width, recording.info.height)
        drawn = files.enter_context(ClipWriter(video, size=size))
        for frame, picture in shown(path, recording):
            sound = recording.audio[frame * SAMPLES_PER_FRAME : (frame + 1) * SAMPLES_PER_FRAME]
            present = [(n, first) for n, (first, last) in enumerate(ends) if first <= frame <= last]
            for number, first in present:
                if frame == first:
                    own = files.enter_context(ExitStack())
                    clip = ClipWriter(crops / _crop_name(number), size=(CROP_SIZE, CROP_SIZE))
                    written[number] = own, own.enter_context(clip)
                own, writer = written[number]
                face = cropping.crop(picture, *_step(paths[number], frame - first), margin)
                writer.picture(face, (frame - first) / FRAME_RATE)
                writer.sound(sound)
                if frame == ends[number][1]:
                    own.close()
            for number, first in present:
                index = frame - first
                confidence = float(confidences[number][index])
                _draw(picture, number, _step(paths[number], index), confidence, found.network.scale)
            drawn.picture(picture, frame / FRAME_RATE)
            drawn.sound(sound)
            frames += 1
        if frames != len(recording.frames):
            raise Undecodable("the file is not the same any more as when it was first read")


def _draw(
    picture: drawing.Image, number: int, at: tuple[float, float, float], sure: float, scale: Scale
) -> None:
    """The box of a track, from red where the confidence is 0 to green where it is HIGH; with
    SyncNet v2 that is the originals' colour."""
    x, y, size = at
    ink = drawing.shade(sure / scale.confidence_levels[1])
    drawing.box(picture, (x - size, y - size, x + size, y + size), ink)
    above, height = (x - size, y - size - 6), max(8.0, min(picture.shape[:2]) / 45)
    said = f"Track {number}, Conf {sure:.3f}"
    drawing.words(picture, said, above, drawing.WHITE, height=height, rim=drawing.BLACK)


def _step(path: CropPath, index: int) -> tuple[float, float, float]:
    """x, y and size, pixels."""
    return float(path.x[index]), float(path.y[index]), float(path.size[index])


def _crop_name(track: int) -> str:
    return f"{track:05d}.avi"


def _rounded(values: NDArray[np.floating]) -> list[float]:
    return [round(float(value), 3) for value in values]


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value) + "\n")


def _remove(folder: Path) -> None:
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
