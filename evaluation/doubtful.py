"""How often what cannot be judged is named, and how often good speech is doubted.

    python -m evaluation.doubtful LIST.csv --media DIR --photos DIR

LIST names recordings of good speech (see `evaluation.inputs`), DIR holds photographs of faces.
Each face is heard with noises and music instead of its voice; photographs, still and held in a
moving hand, closed mouths and heads turned to the side are heard with other people's voices.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from evaluation import inputs, sounds
from evaluation.turning import fit_heads, turn
from syncnet_python import doubts, media, mouth, offset, pipeline
from syncnet_python.assembly import Networks
from syncnet_python.errors import RecordingError
from syncnet_python.fcn_embedding import locate
from syncnet_python.landmarks import MESH_INDICES
from syncnet_python.results import FRAME_RATE, SAMPLES_PER_FRAME
from syncnet_python.tracking import Track

FRAMES = 75
CLOSED = 0.035
"""Eye distances between the lips, below which a mouth is closed."""

SIZE = (640, 480)
TURNS_DEG = (-60.0, 60.0)

Image = NDArray[np.uint8]
Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """visual: (n, d) embeddings; points: (n, P, 2); samples: of its own voice, may be empty."""

    visual: NDArray[np.float32]
    points: NDArray[np.float32]
    samples: Samples


@dataclass(slots=True)
class Tally:
    """doubts by kind of recording."""

    found: dict[str, list[tuple[str, ...]]] = field(default_factory=lambda: defaultdict(list))

    def lines(self) -> Iterator[str]:
        for kind, answers in self.found.items():
            names = Counter(name for answer in answers for name in answer)
            share = np.mean([bool(answer) for answer in answers])
            yield f"{kind}: {share:.3f} of {len(answers)} doubted, {dict(names)}"


@dataclass(slots=True)
class Judge:
    """Asks what the service would answer, with the bundled networks."""

    networks: Networks
    tally: Tally = field(default_factory=Tally)

    def ask(self, kind: str, face: Face, samples: Samples) -> None:
        count = min(len(face.visual), len(samples) // SAMPLES_PER_FRAME)
        heard = samples[: count * SAMPLES_PER_FRAME]
        network = self.networks.sync()
        table = offset.distances(
            face.visual[:count], network.audio(heard, count), padding=network.padding
        )
        matched = pipeline.matched(offset.read(table).confidence, count, network.scale)
        found = () if matched else doubts.find(heard, face.points[:count])
        self.tally.found[kind].append(found)

    def look(self, frames: Sequence[Image], samples: Samples | None = None) -> Face | None:
        """A face that is in view throughout; None where there is none."""
        every = list(range(0, len(frames), 8))
        faces = self.networks.face_detector().detect([frames[i] for i in every])
        seen = [(i, found[0, :4]) for i, found in zip(every, faces, strict=True) if len(found)]
        if len(seen) < 0.7 * len(every):
            return None
        at, known = [i for i, _ in seen], np.array([box for _, box in seen])
        numbers = np.arange(len(frames))
        boxes = np.column_stack([np.interp(numbers, at, side) for side in known.T])
        kept, track = _Held(frames), Track(numbers, boxes)
        points = locate(self.networks.landmarker(), kept, track)
        visual = self.networks.sync().visual(kept, track, points)
        return Face(visual, points, np.zeros(0, np.int16) if samples is None else samples)


class _Held(media.Frames):
    """Frames that are pixels already."""

    def __init__(self, images: Sequence[Image]) -> None:
        super().__init__([])
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def bgr(self, index: int) -> Image:
        return self._images[index]


def photograph(image: Image, rng: np.random.Generator, *, held: bool) -> list[Image]:
    """A film of a photograph; held in a hand, it wanders, turns and tilts."""
    scale = rng.uniform(300, 420) / max(image.shape[:2])
    picture = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = picture.shape[:2]
    wall = cv2.GaussianBlur(cv2.resize(picture, SIZE), (0, 0), 25)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / 2, height / 2)
    size = {"shift": (2, 12), "turn": (0.005, 0.04), "scale": (0.005, 0.04), "tilt": (0.005, 0.06)}
    much = {name: rng.uniform(*span) * held for name, span in size.items()}
    names = ("shift", "shift", "turn", "scale", "tilt", "tilt")
    paths = np.array([much[name] * _wander(rng) for name in names]).T
    noise, quality = rng.uniform(0.5, 4.0), int(rng.integers(60, 95))
    frames = []
    for across, down, angle, growth, sideways, upwards in paths:
        turned = (
            corners
            @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            * (1 + growth)
        )
        depth = 1 + np.sign(corners) @ np.array([sideways, upwards])
        places = turned / depth[:, None] + (SIZE[0] / 2 + across, SIZE[1] / 2 + down)
        source = (corners + np.array([width / 2, height / 2])).astype(np.float32)
        view = cv2.getPerspectiveTransform(source, places.astype(np.float32))
        frame = wall.copy()
        cv2.warpPerspective(picture, view, SIZE, frame, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
        frames.append(_filmed(np.asarray(frame, np.uint8), rng, noise, quality))
    return frames


def closed_mouth(frames: Sequence[Image], face: Face, rng: np.random.Generator) -> list[Image]:
    """The longest stretch with a closed mouth, forwards and backwards, by a camera in a hand;
    empty where the mouth is hardly closed."""
    first, end = _longest(_gap(face.points[: len(frames)]) < CLOSED)
    if end - first < 6:
        return []
    order = np.resize([*range(first, end), *range(end - 2, first, -1)], FRAMES)
    noise, quality = rng.uniform(0.5, 3.0), int(rng.integers(60, 95))
    made = []
    for index, across, down in zip(order, 2 * _wander(rng), 2 * _wander(rng), strict=True):
        frame = frames[int(index)]
        moved = cv2.warpAffine(frame, np.array([[1, 0, across], [0, 1, down]]), frame.shape[1::-1],
                               borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
        made.append(_filmed(np.asarray(moved, np.uint8), rng, noise, quality))
    return made


def _gap(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Between the lips, eye distances."""
    upper, lower = (points[:, MESH_INDICES.index(i)] for i in (13, 14))
    eyes = points[:, [MESH_INDICES.index(i) for i in mouth.EYE_CORNERS]]
    across = (eyes[:, 2:].mean(axis=1) - eyes[:, :2].mean(axis=1)).astype(np.float64)
    distance = np.median(np.hypot(across[:, 0], across[:, 1]))
    return np.asarray(np.hypot(*(lower - upper).T) / distance)


def _longest(kept: NDArray[np.bool_]) -> tuple[int, int]:
    """First and end of the longest run."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], kept.astype(int), [0]])))
    runs = edges.reshape(-1, 2)
    if not len(runs):
        return 0, 0
    first, end = runs[int(np.argmax(runs[:, 1] - runs[:, 0]))]
    return int(first), int(end)


def _wander(rng: np.random.Generator) -> NDArray[np.float64]:
    """A slow path of deviation 1."""
    path = gaussian_filter1d(rng.normal(size=FRAMES + 80), 12.0)[40:-40]
    return np.asarray(path / path.std())


def _filmed(image: Image, rng: np.random.Generator, noise: float, quality: int) -> Image:
    """With a camera's noise, and compressed."""
    noisy = np.clip(image + rng.normal(0, noise, image.shape), 0, 255).astype(np.uint8)
    stored = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR), np.uint8)


def speakers(items: Sequence[inputs.Item], judge: Judge) -> Iterator[tuple[list[Image], Face]]:
    """The pictures of each recording and the face in them."""
    for item in items:
        try:
            recording = media.read(item.path, media.Limits(duration_s=120.0))
        except RecordingError:
            continue
        face = judge.look(recording.frames, recording.audio)
        if face is not None:
            yield [recording.frames.bgr(i) for i in range(min(len(face.points), FRAMES))], face


def disguised(
    frames: Sequence[Image], face: Face, rng: np.random.Generator
) -> Iterator[tuple[str, list[Image]]]:
    """A speaker's film with the mouth closed, and with the head turned, by kind."""
    yield "closed mouth", closed_mouth(frames, face, rng)
    heads = fit_heads(face.points[: len(frames)])
    for angle in TURNS_DEG:
        film = zip(frames, heads, strict=True)
        yield f"turned {angle:+g} degrees", [turn(image, head, angle) for image, head in film]


def photographs(
    paths: Sequence[Path], rng: np.random.Generator
) -> Iterator[tuple[str, list[Image]]]:
    for path in paths:
        image = cv2.imread(str(path))
        if image is not None:
            for kind in ("still photograph", "photograph in a hand"):
                held = kind.endswith("hand")
                yield kind, photograph(np.asarray(image, np.uint8), rng, held=held)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("list", type=Path, help="CSV of recordings of good speech")
    parser.add_argument("--media", type=Path, help="folder that its files are relative to")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--count", type=int, default=25, help="of each kind of picture")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    judge = Judge(Networks("bundled"))
    faces: list[Face] = []
    films: Counter[str] = Counter()
    mute: list[tuple[str, Face]] = []

    def keep(kind: str, frames: Sequence[Image]) -> None:
        films[kind] += bool(frames)
        if frames and films[kind] <= arguments.count and (face := judge.look(frames)):
            mute.append((kind, face))

    for frames, speaker in speakers(inputs.read(arguments.list, arguments.media), judge):
        faces.append(speaker)
        judge.ask("good speech", speaker, speaker.samples)
        for kind, film in disguised(frames, speaker, rng):
            keep(kind, film)
    photos = sorted(arguments.photos.iterdir())
    drawn = [photos[i] for i in rng.permutation(len(photos))[: arguments.count]]
    for kind, film in photographs(drawn, rng):
        keep(kind, film)
    voices = [face.samples for face in faces if len(face.visual) >= FRAMES]
    for number, (kind, face) in enumerate(mute):
        judge.ask(kind, face, voices[(7 * number + 3) % len(voices)])
    for kind in (*sounds.NOISES, *sounds.MUSIC):
        for face in faces:
            judge.ask(kind, face, sounds.make(kind, len(face.visual) / FRAME_RATE, rng))
    for line in judge.tally.lines():
        print(line)


if __name__ == "__main__":
    main()
