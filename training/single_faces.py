"""Genuine faces of other cameras, decoded once.

A classifier that has seen the reals of one corpus only takes other cameras for forgeries. These
faces have no forgeries of their own; each is paired with its self-blended copy.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from syncnet_python.face_crops import face_crop, square

NUM_POINTS = 468
CLIPS_OF_ONE_SPEAKER = 40
HELD_OUT_EVERY = 10


@dataclass(frozen=True)
class Faces:
    """images: (n, side, side, 3) uint8 BGR; points: (n, 468, 2) float32 fractions of the side."""

    images: NDArray[np.uint8]
    points: NDArray[np.float32]

    def parts(self) -> tuple["Faces", "Faces"]:
        """Those to learn from, and every tenth, held out."""
        held_out = np.arange(len(self.images)) % HELD_OUT_EVERY == 0
        return (
            Faces(self.images[~held_out], self.points[~held_out]),
            Faces(self.images[held_out], self.points[held_out]),
        )


def pack_genuine(
    data: Path, teacher: Path, folder: Path, side: int, skip_sources: Sequence[str] = ()
) -> Faces:
    """Faces of the photographs and of the training clips that are real, or what was packed before.

    teacher: landmarks of both, one file for each; faces that the teacher did not find, and those
    whose box is smaller than half the side, are left out.
    """
    target = folder / "genuine.npz"
    if not target.exists():
        images, points = [], []
        for path in files(data, skip_sources):
            face = read_face(path, teacher / f"{path.name}.npz", side)
            if face is not None:
                images.append(face[0])
                points.append(face[1])
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(target, images=np.stack(images), points=np.stack(points))
    with np.load(target) as packed:
        return Faces(packed["images"], packed["points"])


def files(data: Path, skip_sources: Sequence[str] = ()) -> Iterator[Path]:
    """Real photographs, then real clips, at most 40 of one speaker (`_` and digits after the
    corpus's name; files without a speaker are counted apart)."""
    with (data / "faces_manifest.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            if row["split"] == "faces_real" and not left_out(row["source"], skip_sources):
                yield data / row["file"]
    seen: Counter[str] = Counter()
    with (data / "sync_manifest.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            wanted = row["file"].startswith("sync_train/") and row["kind"] == "real"
            if not wanted or left_out(row["source"], skip_sources):
                continue
            speaker = row["speaker"] or row["file"]
            seen[speaker] += 1
            if seen[speaker] <= CLIPS_OF_ONE_SPEAKER:
                yield data / row["file"]


def left_out(source: str, skip_sources: Sequence[str]) -> bool:
    return any(skipped.lower() in source.lower() for skipped in skip_sources)


def read_face(
    path: Path, labels: Path, side: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]] | None:
    """The face of the middle frame and its landmarks as fractions of the crop."""
    if not labels.exists():
        return None
    with np.load(labels) as table:
        frame = len(table["found"]) // 2
        if not table["found"][frame]:
            return None
        points = table["points"][frame, :NUM_POINTS, :2]
    box = np.concatenate([points.min(0), points.max(0)])
    left, top, width = square(box)
    if width < side / 2:
        return None
    image = nth_frame(path, frame)
    fractions = (points - np.array([left, top])) / width
    return face_crop(image, box, side), np.asarray(fractions, np.float32)


def nth_frame(path: Path, index: int) -> NDArray[np.uint8]:
    """BGR frame of a clip, or a photograph as it is."""
    if path.suffix.lower() in {".jpg", ".jpeg", ".png"}:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise FileNotFoundError(path)
        return np.asarray(image, np.uint8)
    with av.open(str(path)) as container:
        for position, frame in enumerate(container.decode(video=0)):
            if position == index:
                return np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
    raise ValueError(f"{path.name} has no frame {index}")
