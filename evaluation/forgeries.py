"""A collection to evaluate the whole service on: genuine recordings and four kinds of forgery.

    python -m evaluation.forgeries --data DIR --out DIR
    syncnet-service evaluate system DIR/system.csv

From the recordings of `lists/sync_val.csv`, whose speakers no network has learnt from: as they
are; with the sound of another speaker ("dubbed"); with their own sound shifted by 5 to 15 frames
("shifted"); with the face of a stranger's photograph over theirs ("swapped", `evaluation.swap`).
And the talking heads of `lists/artifact_videos.csv`, by generators that the artifact classifier
was kept from ("generated"). All are cut to four seconds and pass through the same encoder, so that
coding tells nothing.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from evaluation import inputs
from evaluation.clip_writer import FormatName, write_recording
from evaluation.conditions import Studio
from evaluation.swap import swap
from syncnet_python import media
from syncnet_python.detectors import FaceDetector
from syncnet_python.detectors.bundled import BundledFaceDetector
from syncnet_python.errors import RecordingError
from syncnet_python.landmarks import Landmarker
from syncnet_python.media import Recording
from syncnet_python.results import FRAME_RATE, SAMPLES_PER_FRAME

LONGEST = 4 * FRAME_RATE
SHORTEST = 2 * FRAME_RATE
SHIFTS = (5, 15)

DONORS = "gan_real_*.jpg"
"""Photographs that nothing has learnt from."""

FORM: FormatName = "webm-vp8-opus"
SUFFIX = "webm"
LIMITS = media.Limits(duration_s=120.0)
LISTS = Path(__file__).parent / "lists"

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One recording of at least two seconds, decoded."""

    name: str
    source: str
    speaker: str
    recording: Recording

    @property
    def length(self) -> int:
        """Frames that are used."""
        return min(LONGEST, len(self.recording.frames))

    def sound(self, first: int = 0) -> Samples:
        """The sound from a frame on."""
        return self.recording.audio[max(0, first) * SAMPLES_PER_FRAME :]


@dataclass(frozen=True, slots=True, eq=False)
class Forgery:
    """What is to be written: pictures, and sound that starts with them. label: real or fake."""

    scene: Scene
    label: str
    condition: str
    pictures: Iterator[NDArray[np.uint8]]
    samples: Samples


def genuine(scene: Scene) -> Forgery:
    return Forgery(scene, "real", "genuine", _pictures(scene), scene.sound())


def dubbed(scene: Scene, scenes: Sequence[Scene]) -> Forgery:
    """With the sound of the next recording of another speaker that is long enough."""
    after = scenes[scenes.index(scene) + 1 :]
    strangers = [s for s in (*after, *scenes) if s.speaker != scene.speaker]
    voice = next((s for s in strangers if s.length >= scene.length), strangers[0])
    return Forgery(scene, "fake", "dubbed", _pictures(scene), voice.sound())


def shifted(scene: Scene, rng: np.random.Generator) -> Forgery:
    """Sound earlier or later by 5 to 15 frames; what is then missing at the end is cut off."""
    shift = int(rng.integers(SHIFTS[0], SHIFTS[1] + 1)) * int(rng.choice([-1, 1]))
    shift = max(-scene.length // 3, min(scene.length // 3, shift))
    pictures = _pictures(scene, max(0, -shift))
    return Forgery(scene, "fake", "shifted", pictures, scene.sound(shift))


def swapped(scene: Scene, studio: Studio, donor: "Donor") -> Forgery:
    """Raises NoFace, TrackTooShort where the recording shows nobody."""
    track, points = studio.face(scene.recording.frames)
    steady = gaussian_filter1d(points.astype(np.float64), 1.0, axis=0, mode="nearest")
    places = dict(zip(track.frames.tolist(), steady, strict=True))

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for index, picture in enumerate(_pictures(scene)):
            at = places.get(index)
            yield picture if at is None else swap(picture, at, donor.image, donor.points)

    return Forgery(scene, "fake", "swapped", pictures(), scene.sound())


def generated(scene: Scene) -> Forgery:
    return Forgery(scene, "fake", "generated", _pictures(scene), scene.sound())


@dataclass(frozen=True, slots=True, eq=False)
class Donor:
    """image: (height, width, 3) uint8 BGR; points: (n, 2) its landmarks in pixels."""

    image: NDArray[np.uint8]
    points: NDArray[np.float32]


def read_donors(folder: Path, detector: FaceDetector, landmarker: Landmarker) -> list[Donor]:
    """The photographs of a folder in which a face is found."""
    donors = []
    for path in sorted(folder.glob(DONORS)):
        image = np.asarray(cv2.imread(str(path)), np.uint8)
        boxes = detector.detect([image])[0][:1, :4]
        if len(boxes):
            donors.append(Donor(image, landmarker.locate([image], boxes)[0]))
    return donors


def read_scenes(data: Path) -> tuple[list[Scene], list[Scene]]:
    """Recordings of real speakers, and generated heads, of two seconds or more."""
    real = [
        _scene(item.path, item.source, item.group)
        for item in inputs.read(LISTS / "sync_val.csv", data / "sync_val")
    ]
    heads = [
        _scene(item.path, item.condition, item.group)
        for item in inputs.read(LISTS / "artifact_videos.csv", data)
        if not item.real
    ]
    return [s for s in real if s.length >= SHORTEST], [s for s in heads if s.length >= SHORTEST]


def write(forgery: Forgery, target: Path) -> None:
    """As a browser would record it, at 25 frames a second."""
    count = min(forgery.scene.length, len(forgery.samples) // SAMPLES_PER_FRAME)
    pictures = list(islice(forgery.pictures, count))
    times = [Fraction(index, FRAME_RATE) for index in range(len(pictures))]
    samples = forgery.samples[: len(pictures) * SAMPLES_PER_FRAME]
    write_recording(target, FORM, pictures, times, samples, fps=Fraction(FRAME_RATE))


def _pictures(scene: Scene, first: int = 0) -> Iterator[NDArray[np.uint8]]:
    for index in range(first, min(first + LONGEST, len(scene.recording.frames))):
        yield scene.recording.frames.bgr(index)


def _scene(path: Path, source: str, speaker: str) -> Scene:
    return Scene(path.name, source, speaker, media.read(path, LIMITS))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    detector, landmarker = BundledFaceDetector.bundled(), Landmarker.bundled()
    studio = Studio(detector, landmarker)
    scenes, heads = read_scenes(options.data)
    donors = read_donors(options.data / "artifact_val", detector, landmarker)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "system.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("file", "label", "condition", "source", "group"))
        for scene in (*scenes, *heads):
            rng = np.random.default_rng(crc32(scene.name.encode()))
            if scene in heads:
                made = [generated(scene)]
            else:
                donor = donors[int(rng.integers(len(donors)))]
                made = [genuine(scene), dubbed(scene, scenes), shifted(scene, rng)]
                try:
                    made.append(swapped(scene, studio, donor))
                except RecordingError as error:
                    print(f"{scene.name}: not swapped: {error}")
            for forgery in made:
                name = f"{forgery.condition}_{Path(scene.name).stem}.{SUFFIX}"
                if not (options.out / name).exists():  # a run that was stopped goes on
                    write(forgery, options.out / f"part_{name}")
                    (options.out / f"part_{name}").rename(options.out / name)
                rows.writerow((name, forgery.label, forgery.condition, scene.source, scene.speaker))


if __name__ == "__main__":
    main()
