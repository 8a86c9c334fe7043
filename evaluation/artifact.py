"""How well face classifiers tell touched faces from untouched ones.

Of a video, the faces that the service would look at are judged: twenty frames of the face seen
longest. Of a photograph, the largest face; a ready face crop is judged as it is. Figures are given
for single frames, and for videos by the mean over their frames. Every classifier sees the same
pictures of the same files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation import detection
from evaluation.detection import Scored
from evaluation.inputs import IMAGES, Item
from evaluation.journal import Failure, OpenJournal, Progress, key_of, run
from evaluation.report import Cell, Headline, Outcome, Section, Table
from frame_extractor import CROP_PIXELS, FrameExtractor
from syncnet_python import media, pipeline
from syncnet_python.detectors import FaceDetector
from syncnet_python.errors import NoFace, Undecodable
from syncnet_python.face_crops import face_crop
from syncnet_python.results import ModelInfo

Picture = NDArray[np.uint8]

THRESHOLDS: Mapping[str, float] = {"0.5": 0.5}
"""Above it a face is called real, as `ArtifactResult.is_real` does."""

CODE = (
    "evaluation.artifact",
    "efficientnet_detector",
    "frame_extractor",
    "syncnet_python.detectors",
    "syncnet_python.networks",
    "syncnet_python.face_crops",
    "syncnet_python.media",
    "syncnet_python.pipeline",
    "syncnet_python.tracking",
)
"""What the score of a file depends on beside its weights."""

LIMITS = media.Limits(duration_s=600.0)
WORST = 10


class Classifier(Protocol):
    """What is measured: BGR uint8 pictures of faces -> probability of real (0-1) of each."""

    def predict_frames(self, frames: Sequence[Picture], /) -> list[float]: ...

    def load(self) -> ModelInfo: ...


class FaceReader:
    """Pictures of the face in a file.

    crops: images are face crops already; without them `detector` finds the face. max_frames: of a
    video.
    """

    def __init__(self, detector: FaceDetector | None, max_frames: int = 20) -> None:
        self._detector = detector
        self._extractor = FrameExtractor(max_frames)

    def read(self, path: Path) -> list[Picture]:
        """BGR uint8, one of an image, several of a video in time order.

        Raises Undecodable, NoFace and other RecordingErrors.
        """
        if path.suffix.lower() in IMAGES:
            return [self._of_image(path)]
        if self._detector is None:
            raise Undecodable("a video holds no ready face crops")
        recording = media.read(path, LIMITS, needs_audio=False)
        tracks = pipeline.find_tracks(recording.frames, self._detector)
        return list(self._extractor.face_crops(recording.frames, max(tracks, key=len)).images)

    def _of_image(self, path: Path) -> Picture:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise Undecodable("the file is no image that can be read")
        picture = np.asarray(image, np.uint8)
        if self._detector is None:
            return picture
        boxes = self._detector.detect([picture])[0][:, :4]
        if not len(boxes):
            raise NoFace("no face was found in the image")
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        return face_crop(picture, boxes[int(np.argmax(areas))].astype(np.float64), CROP_PIXELS)


@dataclass(frozen=True, slots=True)
class Measured:
    """Scores of one file's faces, each the probability of real, 0-1."""

    item: Item
    scores: tuple[float, ...]

    @property
    def is_video(self) -> bool:
        return self.item.path.suffix.lower() not in IMAGES

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))


def evaluate(
    items: Sequence[Item],
    classifiers: Sequence[Classifier],
    detector: FaceDetector | None,
    open_journal: OpenJournal,
    progress: Progress = lambda done, total, name: None,
    *,
    finder: ModelInfo | None = None,
    max_frames: int = 20,
    options: Mapping[str, object] | None = None,
) -> Outcome:
    """All figures of all classifiers.

    detector: finds faces (None: images are face crops already); finder: its weights, for the
    journal and the report; options: other settings that scores depend on. Raises ModelError.
    """
    reader = FaceReader(detector, max_frames)
    found: dict[str, list[Measured]] = {}
    networks = [finder] if finder else []
    failures: list[Failure] = []
    for number, classifier in enumerate(classifiers):
        info = classifier.load()
        networks.append(info)
        depends_on = [finder, info] if finder else [info]
        chosen = {"crops": detector is None, "frames": max_frames, **(options or {})}
        key = key_of(depends_on, CODE, **chosen)

        def judge(item: Item, classifier: Classifier = classifier) -> Mapping[str, Any]:
            return {"scores": classifier.predict_frames(reader.read(item.path))}

        def tell(done: int, total: int, name: str, before: int = number) -> None:
            progress(before * total + done, len(classifiers) * total, name)

        measured, failed = run(items, open_journal(key), judge, tell)
        failures += [failure for failure in failed if failure not in failures]
        found[info.name] = [Measured(item, tuple(r["scores"])) for item, r in measured]
    return summary(found, tuple(networks), tuple(failures))


def summary(
    found: Mapping[str, Sequence[Measured]],
    networks: tuple[ModelInfo, ...] = (),
    failures: tuple[Failure, ...] = (),
) -> Outcome:
    """Figures, tables and plots of what was measured. found: by the classifier's name."""
    frames = {name: of_frames(of) for name, of in found.items() if of}
    videos = {
        name: of_files(these)
        for name, of in found.items()
        if (these := [measured for measured in of if measured.is_video])
    }
    figures: dict[str, Any] = {name: {"frames": None, "videos": None} for name in found}
    sections: list[Section] = []
    headlines: list[Headline] = []
    for what, title, scored in (
        ("frames", "Single frames", frames),
        ("videos", "Videos, by the mean over their frames", videos),
    ):
        if not scored:
            continue
        overall = {name: detection.measure(of, THRESHOLDS) for name, of in scored.items()}
        tables = list(detection.tables("All files", overall))
        plots = list(detection.pictures(scored, THRESHOLDS, "Untouched against touched"))
        for name, of in scored.items():
            slices = detection.by_slice(of, THRESHOLDS)
            figures[name][what] = {
                "all": detection.as_figures(overall[name]),
                **{
                    by: {slice_: detection.as_figures(d) for slice_, d in found_in.items()}
                    for by, found_in in slices.items()
                },
            }
            tables += detection.slice_tables(slices, name if len(scored) > 1 else "")
            plots += detection.slice_pictures(slices, name)
            headlines += [
                Headline(f"{name}: AUC, {what}", overall[name].auc),
                Headline(f"{name}: equal error rate, {what}", overall[name].eer, "%"),
            ]
        sections.append(Section(title, tables=tuple(tables), plots=tuple(plots)))
    sections.append(Section("Most mistaken files", tables=tuple(map(worst, found, found.values()))))
    return Outcome(
        figures,
        tuple(headlines),
        tuple(sections),
        networks,
        rows=_rows(found),
        failures=failures,
    )


def of_frames(found: Sequence[Measured]) -> Scored:
    """Every frame for itself; the frames of a file stay in its group."""
    each = [measured.item for measured in found for _ in measured.scores]
    scores = np.array([score for measured in found for score in measured.scores], np.float64)
    return Scored.of(scores, each)


def of_files(found: Sequence[Measured]) -> Scored:
    """Every file by the mean over its frames."""
    means = np.array([measured.mean for measured in found], np.float64)
    return Scored.of(means, [measured.item for measured in found])


def worst(name: str, found: Sequence[Measured]) -> Table:
    """The files on whose wrong side a classifier is surest."""
    wrong = [m for m in found if (m.mean > THRESHOLDS["0.5"]) != m.item.real]
    wrong.sort(key=lambda m: m.mean if m.item.real else 1 - m.mean)
    rows: list[tuple[Cell, ...]] = [
        (m.item.name, m.item.label, m.mean, m.item.source, m.item.condition) for m in wrong[:WORST]
    ]
    note = f"{len(wrong)} of {len(found)} files lie on the wrong side of 0.5."
    return Table(name, ("file", "label", "score", "source", "condition"), tuple(rows), note)


def _rows(found: Mapping[str, Sequence[Measured]]) -> tuple[Mapping[str, Any], ...]:
    """One row a file, with the score of every classifier."""
    rows: dict[str, dict[str, Any]] = {}
    for name, of in found.items():
        for m in of:
            row = rows.setdefault(
                m.item.name,
                {
                    "file": m.item.name,
                    "label": m.item.label,
                    "source": m.item.source,
                    "condition": m.item.condition,
                    "frames": len(m.scores),
                },
            )
            row[name] = round(m.mean, 6)
    return tuple(rows.values())
