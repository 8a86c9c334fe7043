"""Clips to what sync training reads, once: lip and eye points, mouth crops with a margin, sound.

    python -m training.sync_features --clips DIR --out DIR [--teacher DIR]

With `--teacher` the points are the teacher's (see `training/teacher.py`); without it they come
from the bundled face finder and landmarks, the way they come at run time. Clips that are done are
skipped. Each OUT/<file name>.npz holds

- `lips` (frames, 40, 2) and `eyes` (frames, 4, 2) float32, pixels of the decoded frames;
- `mouths` (frames, 64, 64) uint8, grey crops of 1.3 eye distances; the centre 48 are what the
  network sees at run time, the margin is for augmentation;
- `audio` (samples,) int16, 16 kHz, 640 samples a frame.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from syncnet_python import media, mouth, pipeline
from syncnet_python.detectors.bundled import BundledFaceDetector
from syncnet_python.errors import NoFace, SyncNetError
from syncnet_python.fcn_embedding import EYES, locate
from syncnet_python.landmarks import LIPS, MESH_INDICES, Landmarker
from syncnet_python.results import SAMPLES_PER_FRAME

STORED_SIZE = 64
STORED_SPAN = mouth.CROP_SPAN * STORED_SIZE / mouth.CROP_SIZE
LEAST_FOUND = 0.8
VIDEO_SUFFIXES = {".mkv", ".avi", ".mp4", ".webm", ".mov"}

Locate = Callable[[Path, media.Recording], tuple[NDArray[np.float32], NDArray[np.float32], slice]]
"""File and recording to lips, eyes (pixels of the recording's frames) and the frames they cover."""

LIP_INDICES = MESH_INDICES[LIPS]


@dataclass(frozen=True, slots=True)
class TeacherPoints:
    """Points of `training/teacher.py`'s files in `folder`, at the time of each frame."""

    folder: Path

    def __call__(
        self, path: Path, recording: media.Recording
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], slice]:
        with np.load(self.folder / f"{path.name}.npz") as labels:
            points, found = labels["points"][:, :, :2], labels["found"]
            times, height = labels["times"], int(labels["size"][0])
        if found.mean() < LEAST_FOUND:
            raise NoFace(f"the teacher sees a face in {found.mean():.0%} of {path.name}")
        seen = np.flatnonzero(found)
        nearest = np.abs(times[seen][None] - recording.times[:, None]).argmin(axis=1)
        chosen = points[seen[nearest]] * (recording.frames.bgr(0).shape[0] / height)
        every = slice(0, len(recording.frames))
        return chosen[:, LIP_INDICES], chosen[:, mouth.EYE_CORNERS], every


class RuntimePoints:
    """Points as the service finds them: face finder, longest track, landmarks."""

    def __init__(self) -> None:
        self._detector = BundledFaceDetector.bundled()
        self._landmarker = Landmarker.bundled()

    def __call__(
        self, path: Path, recording: media.Recording
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], slice]:
        track = max(pipeline.find_tracks(recording.frames, self._detector), key=len)
        points = locate(self._landmarker, recording.frames, track)
        covered = slice(int(track.frames[0]), int(track.frames[-1]) + 1)
        return points[:, LIPS], points[:, EYES], covered


def extract(path: Path, locate: Locate) -> dict[str, Any]:
    """The arrays of one clip, as in the module's docstring. Raises SyncNetError."""
    recording = media.read(path, media.Limits(duration_s=120))
    lips, eyes, covered = locate(path, recording)
    transforms = mouth.crop_transforms(lips, eyes, STORED_SIZE, STORED_SPAN)
    frames = recording.frames[covered]
    crops = [
        mouth.crop(frames.bgr(i), transform, STORED_SIZE) for i, transform in enumerate(transforms)
    ]
    first = covered.start * SAMPLES_PER_FRAME
    audio = np.zeros(len(crops) * SAMPLES_PER_FRAME, np.int16)
    heard = recording.audio[first : first + audio.size]
    audio[: heard.size] = heard
    return {
        "lips": lips.astype(np.float32),
        "eyes": eyes.astype(np.float32),
        "mouths": np.stack(crops),
        "audio": audio,
    }


def extract_all(paths: Sequence[Path], out: Path, locate: Locate) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for path in paths:
        target = out / f"{path.name}.npz"
        if target.exists():
            continue
        try:
            arrays = extract(path, locate)
        except SyncNetError as error:
            print(f"{path.name}: {error}", flush=True)
            continue
        partial = target.with_suffix(".part.npz")
        np.savez(partial, **arrays)
        partial.rename(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", type=Path)
    arguments = parser.parse_args()
    paths = sorted(p for p in arguments.clips.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
    torch.set_num_threads(1)
    located = TeacherPoints(arguments.teacher) if arguments.teacher else RuntimePoints()
    extract_all(paths, arguments.out, located)


if __name__ == "__main__":
    main()
