"""Faces without a counterpart, decoded once: genuine ones of many cameras, and heads that were
generated as a whole.

A classifier that has seen one corpus only takes other cameras for forgeries and other generators
for cameras. A genuine face is paired with a forgery made from it, a generated head with any
genuine face.
"""

import csv
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from syncnet_python.face_crops import face_crop, square

NUM_POINTS = 468
CLIPS_OF_ONE_SPEAKER = 40
SMALLEST = 80
"""Pixels of a crop's side; smaller faces would have to be blown up."""
FRAMES_A_CLIP = {"real": 6, "generated": 8}


@dataclass(frozen=True)
class Faces:
    """images: (n, side, side, 3) uint8 BGR; points: (n, 468, 2) float32 fractions of the side."""

    images: NDArray[np.uint8]
    points: NDArray[np.float32]


def pack_faces(files: Iterable[tuple[Path, int]], teacher: Path, target: Path, side: int) -> Faces:
    """The faces of (file, frames wanted of it), or what `target` (.npz) holds already.

    teacher: landmarks, one file for each; frames in which the teacher found no face, and faces
    smaller than `SMALLEST`, are left out.
    """
    if not target.exists():
        found = [
            face
            for path, count in files
            for face in read_faces(path, teacher / f"{path.name}.npz", side, count)
        ]
        target.parent.mkdir(parents=True, exist_ok=True)
        images, points = zip(*found, strict=True)
        np.savez(target, images=np.stack(images), points=np.stack(points))
    with np.load(target) as packed:
        return Faces(packed["images"], packed["points"])


def genuine_files(
    data: Path,
    held_out: Collection[str],
    skip_sources: Sequence[str] = (),
    *,
    held: bool = False,
) -> Iterator[tuple[Path, int]]:
    """Real photographs, then real training clips, at most 40 of one speaker (files without a
    speaker are counted apart). held_out: names of files, or of speakers, that are not wanted;
    held: only they are."""
    with (data / "faces_manifest.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            path = data / row["file"]
            wanted = row["split"] == "faces_real" and (path.name in held_out) == held
            if wanted and not left_out(row["source"], skip_sources):
                yield path, 1
    seen: Counter[str] = Counter()
    for path, speaker in _clips(data, "real", held_out, skip_sources, held=held):
        seen[speaker] += 1
        if seen[speaker] <= CLIPS_OF_ONE_SPEAKER:
            yield path, FRAMES_A_CLIP["real"]


def generated_files(
    data: Path, held_out: Collection[str], skip_sources: Sequence[str] = ()
) -> Iterator[tuple[Path, int]]:
    """Training clips of generated heads, arguments as in `genuine_files`."""
    for path, _ in _clips(data, "generated", held_out, skip_sources):
        yield path, FRAMES_A_CLIP["generated"]


def _clips(
    data: Path,
    kind: str,
    held_out: Collection[str],
    skip_sources: Sequence[str],
    *,
    held: bool = False,
) -> Iterator[tuple[Path, str]]:
    """Clips of sync_train of one kind, each with its speaker."""
    with (data / "sync_manifest.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            path, speaker = data / row["file"], row["speaker"]
            if not speaker or speaker.endswith("_unlabelled"):
                speaker = row["file"]
            wanted = row["file"].startswith("sync_train/") and row["kind"] == kind
            kept_away = path.name in held_out or speaker in held_out
            if wanted and kept_away == held and not left_out(row["source"], skip_sources):
                yield path, speaker


def left_out(source: str, skip_sources: Sequence[str]) -> bool:
    return any(skipped.lower() in source.lower() for skipped in skip_sources)


def read_faces(
    path: Path, labels: Path, side: int, count: int
) -> list[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Up to `count` faces from the middles of equal parts of a clip (one of a photograph), each
    with its landmarks as fractions of the crop."""
    if not labels.exists():
        return []
    with np.load(labels) as table:
        total, found, mesh = len(table["found"]), table["found"], table["points"]
    wanted = {int((i + 0.5) * total / count) for i in range(count)}
    faces = []
    for index, image in frames(path, {i for i in wanted if found[i]}):
        points = mesh[index, :NUM_POINTS, :2]
        box = np.concatenate([points.min(0), points.max(0)])
        left, top, width = square(box)
        if width >= SMALLEST:
            fractions = np.asarray((points - np.array([left, top])) / width, np.float32)
            faces.append((face_crop(image, box, side), fractions))
    return faces


def frames(path: Path, wanted: Collection[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The wanted BGR frames of a clip, or the photograph itself as frame 0, each with its index."""
    if not wanted:
        return
    if path.suffix.lower() in {".jpg", ".jpeg", ".png"}:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise FileNotFoundError(path)
        yield 0, np.asarray(image, np.uint8)
        return
    last = max(wanted)
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                yield index, np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
            if index >= last:
                return
