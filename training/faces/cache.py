"""Decode labelled media once into uint8 arrays that training can map into memory.

Two stores of the same faces:

- `faces.raw` (N, FACE_SIZE, FACE_SIZE, 3) BGR: squares around each face, its larger side scaled to
  FACE_HEIGHT pixels; `points.npy` (N, 478, 2) float32: the teacher's mesh in such a square.
- `scenes.raw` (bytes): whole pictures, larger side at most SCENE_SIZE; `scenes.json`: a
  `Scene` for each.

`names.json` gives the file each row of either came from, so that a training run can leave out
sources. Files are taken in sorted order, so the same input gives the same cache.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import BufferedWriter
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

FACE_SIZE = 176
FACE_HEIGHT = 104
SCENE_SIZE = 320
SMALLEST_FACE = 24
"""Faces whose larger side has fewer pixels are no good teachers of landmarks."""

ROWS_PER_SOURCE = 5000
"""Clips of a source with many clips give fewer frames each, so that no source drowns another."""
FACES_PER_CLIP = 40
SCENES_PER_CLIP = 4


@dataclass(frozen=True, slots=True)
class Labelled:
    """A media file and its teacher's labels."""

    media: Path
    labels: Path

    @property
    def source(self) -> str:
        return source_of(self.media.name)


def source_of(name: str) -> str:
    """`grid_s1_swwc5s.mkv` -> `grid`: what `--sources` chooses by."""
    return name.split("_")[0]


def labelled_files(data: Path, splits: list[str], teachers: list[Path]) -> list[Labelled]:
    """Files of those splits that have labels, sorted by name."""
    found = []
    for split in splits:
        for media in sorted((data / split).iterdir()):
            for teacher in teachers:
                labels = teacher / f"{media.name}.npz"
                if labels.exists():
                    found.append(Labelled(media, labels))
                    break
    return found


def square_around(
    image: NDArray[np.uint8], mesh: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Cut a face out. mesh: (478, 2) pixels. Returns the square and the mesh within it."""
    low, high = mesh.min(axis=0), mesh.max(axis=0)
    scale = FACE_HEIGHT / float((high - low).max())
    side = FACE_SIZE / scale
    corner = np.floor((low + high - side) / 2).astype(int)
    side = round(side)
    height, width = image.shape[:2]
    before = np.maximum(-corner, 0)
    after = np.maximum(corner + side - (width, height), 0)
    inside = image[max(corner[1], 0) : corner[1] + side, max(corner[0], 0) : corner[0] + side]
    padded = cv2.copyMakeBorder(
        inside, before[1], after[1], before[0], after[0], cv2.BORDER_REPLICATE
    )
    how = cv2.INTER_AREA if side > FACE_SIZE else cv2.INTER_LINEAR
    scaled = cv2.resize(padded, (FACE_SIZE, FACE_SIZE), interpolation=how)
    factor = FACE_SIZE / side
    return scaled.astype(np.uint8), ((mesh - corner + 0.5) * factor - 0.5).astype(np.float32)


def pictures(media: Path, wanted: set[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The wanted frames of a clip (or photograph) with their numbers, BGR."""
    with av.open(str(media)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                yield number, np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
            if number >= max(wanted):
                return


def evenly(numbers: NDArray[np.int64], count: int) -> list[int]:
    """At most `count` of the numbers, spread over their whole range."""
    if len(numbers) <= count:
        return [int(n) for n in numbers]
    places = np.linspace(0, len(numbers) - 1, count).round().astype(int)
    return [int(numbers[p]) for p in places]


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a whole picture lies in the store, its face's box (4 numbers) or None, its file."""

    offset: int
    height: int
    width: int
    box: list[float] | None
    name: str


def build(files: list[Labelled], out: Path) -> None:
    """Write both stores. A folder that already holds `names.json` is complete and left alone."""
    if (out / "names.json").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    clips = Counter(file.source for file in files)
    points: list[NDArray[np.float32]] = []
    names: list[str] = []
    scenes: list[Scene] = []
    with (out / "faces.raw").open("wb") as faces_raw, (out / "scenes.raw").open("wb") as scenes_raw:
        for file in files:
            per_clip = min(-(-ROWS_PER_SOURCE // clips[file.source]), FACES_PER_CLIP)
            with np.load(file.labels) as labels:
                found, meshes = labels["found"], labels["points"][..., :2]
            faces = set(evenly(np.flatnonzero(found), per_clip))
            whole = set(evenly(np.arange(len(found)), SCENES_PER_CLIP))
            for number, image in pictures(file.media, faces | whole):
                mesh = meshes[number]
                if number in faces and np.ptp(mesh, axis=0).max() >= SMALLEST_FACE:
                    square, inside = square_around(image, mesh)
                    faces_raw.write(square.tobytes())
                    points.append(inside)
                    names.append(file.media.name)
                if number in whole:
                    box = np.concatenate([mesh.min(0), mesh.max(0)]) if found[number] else None
                    scenes.append(_write_scene(image, box, file.media.name, scenes_raw))
    np.save(out / "points.npy", np.asarray(points, np.float32))
    (out / "scenes.json").write_text(json.dumps([asdict(scene) for scene in scenes]))
    (out / "names.json").write_text(json.dumps(names))


def _write_scene(
    image: NDArray[np.uint8], box: NDArray[np.float32] | None, name: str, raw: BufferedWriter
) -> Scene:
    factor = min(1.0, SCENE_SIZE / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    offset = raw.tell()
    raw.write(small.tobytes())
    height, width = small.shape[:2]
    return Scene(offset, height, width, None if box is None else (box * factor).tolist(), name)


@dataclass(frozen=True, slots=True)
class Cache:
    """Both stores, mapped: faces (N, FACE_SIZE, FACE_SIZE, 3), points (N, 478, 2), scene bytes."""

    faces: NDArray[np.uint8]
    points: NDArray[np.float32]
    pixels: NDArray[np.uint8]
    scenes: list[Scene]

    def scene(self, number: int) -> NDArray[np.uint8]:
        """A whole picture, (height, width, 3) BGR."""
        row = self.scenes[number]
        flat = self.pixels[row.offset : row.offset + row.height * row.width * 3]
        return flat.reshape(row.height, row.width, 3)

    def box(self, number: int) -> NDArray[np.float64]:
        """The face's box in that picture. Only for pictures with a face."""
        return np.asarray(self.scenes[number].box, np.float64)


def open_cache(folder: Path, sources: list[str] | None) -> Cache:
    """The cache, restricted to those sources (all of them when None)."""
    names = json.loads((folder / "names.json").read_text())
    scenes = [Scene(**row) for row in json.loads((folder / "scenes.json").read_text())]
    faces = np.memmap(folder / "faces.raw", np.uint8, "r").reshape(-1, FACE_SIZE, FACE_SIZE, 3)
    points = np.load(folder / "points.npy")
    if sources is not None:
        kept = np.flatnonzero([source_of(name) in sources for name in names])
        faces, points = faces[kept], points[kept]
        scenes = [scene for scene in scenes if source_of(scene.name) in sources]
    return Cache(faces, points, np.memmap(folder / "scenes.raw", np.uint8, "r"), scenes)
