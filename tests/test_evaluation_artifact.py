"""Face classifiers on files: which pictures they see, and what is said of their scores."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from evaluation import artifact, statistics
from evaluation.artifact import FaceReader, Measured
from evaluation.inputs import Item
from evaluation.journal import Journal
from evaluation.report import Outcome
from syncnet_python.detectors.bundled import BundledFaceDetector
from syncnet_python.errors import NoFace, Undecodable
from syncnet_python.face_crops import face_crop
from syncnet_python.results import ModelInfo


class Brightness:
    """A classifier that calls bright pictures real."""

    def __init__(self, name: str = "brightness", fails_above: float = 1.0) -> None:
        self.info = ModelInfo(name, "1", "bundled", name.encode().hex().ljust(64, "0"))
        self.seen: list[NDArray[np.uint8]] = []
        self.fails_above = fails_above

    def load(self) -> ModelInfo:
        return self.info

    def predict_frames(self, frames: Sequence[NDArray[np.uint8]]) -> list[float]:
        self.seen += frames
        scores = [float(frame.mean()) / 255 for frame in frames]
        if max(scores) > self.fails_above:
            raise ZeroDivisionError("too bright")
        return scores


@pytest.fixture(autouse=True, scope="module")
def few_draws() -> Iterator[None]:
    """Enough for intervals that hold their values."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 50)
        yield


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    """Bright reals and dark fakes of two sources; one of the fakes is as bright as a real."""
    folder = tmp_path_factory.mktemp("items")
    found = []
    for index in range(6):
        source = "phone" if index < 4 else "studio"
        for real, level in ((True, 200), (False, 210 if index == 5 else 40)):
            path = folder / f"{'real' if real else 'fake'}_{index}.png"
            cv2.imwrite(str(path), np.full((8, 8, 3), level + index, np.uint8))
            condition = "" if real else "swap"
            found.append(Item(path, path.name, real, source, condition, group=str(index)))
    return found


def evaluated(
    folder: Path, items: Sequence[Item], *classifiers: Brightness, **options: Any
) -> Outcome:
    def open_journal(key: Mapping[str, str]) -> Journal:
        return Journal(folder / "journal", key)

    return artifact.evaluate(items, classifiers, None, open_journal, **options)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, items: list[Item]) -> Outcome:
    return evaluated(tmp_path_factory.mktemp("evaluated"), items, Brightness())


def test_every_source_and_condition_has_its_figures(outcome: Outcome) -> None:
    frames = outcome.figures["brightness"]["frames"]
    assert outcome.figures["brightness"]["videos"] is None
    assert frames["all"]["genuine"] == frames["all"]["fakes"] == 6
    assert frames["all"]["auc"]["value"] == pytest.approx(1 - 6 / 36)
    assert set(frames["by source"]) == {"phone", "studio"}
    assert frames["by source"]["phone"]["auc"]["value"] == 1
    assert frames["by source"]["phone"]["eer"]["value"] == 0
    assert frames["by source"]["studio"]["auc"]["value"] == 0.5
    # only fakes were swapped: they are held against the genuine files of the same sources
    assert set(frames["by condition"]) == {"swap"}
    assert frames["by condition"]["swap"]["genuine"] == 6
    at = frames["all"]["at"]["0.5"]
    assert at["false_reject"]["value"] == 0
    assert at["false_accept"]["value"] == pytest.approx(1 / 6)
    assert 0 < at["false_accept"]["low"] < 1 / 6 < at["false_accept"]["high"] < 1


def test_the_page_shows_what_was_measured(outcome: Outcome, items: list[Item]) -> None:
    assert [section.title for section in outcome.sections] == [
        "Single frames",
        "Most mistaken files",
    ]
    worst = outcome.sections[-1].tables[0]
    assert [row[0] for row in worst.rows] == ["fake_5.png"]
    assert [line.figure.value for line in outcome.headlines if line.figure] == [
        outcome.figures["brightness"]["frames"]["all"][name]["value"] for name in ("auc", "eer")
    ]
    assert outcome.networks == (Brightness().info,)
    assert [row["file"] for row in outcome.rows] == [item.name for item in items]
    assert outcome.rows[0]["brightness"] == pytest.approx(200 / 255, abs=1e-5)


def test_all_classifiers_see_the_same_files(tmp_path: Path, items: list[Item]) -> None:
    first, second = Brightness("first"), Brightness("second")
    told: list[tuple[int, int]] = []
    outcome = evaluated(
        tmp_path,
        items,
        first,
        second,
        progress=lambda done, total, name: told.append((done, total)),
    )
    assert all(np.array_equal(a, b) for a, b in zip(first.seen, second.seen, strict=True))
    assert set(outcome.figures) == {"first", "second"}
    assert set(outcome.rows[0]) >= {"first", "second"}
    assert told[-1] == (24, 24)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.slow
def test_what_was_measured_is_not_measured_again(tmp_path: Path, items: list[Item]) -> None:
    before = evaluated(tmp_path, items, Brightness())
    again = Brightness()
    assert evaluated(tmp_path, items, again) == before
    assert again.seen == []
    other = Brightness("another")
    evaluated(tmp_path, items, other)
    assert len(other.seen) == len(items)
    larger = Brightness()
    evaluated(tmp_path, items, larger, max_frames=30)
    assert len(larger.seen) == len(items)


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path, items: list[Item]) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    listed = [Item(broken, "broken.png", group="b"), *items]
    outcome = evaluated(tmp_path, listed, Brightness("a"), Brightness("b", fails_above=0.83))
    assert [(f.file, f.code) for f in outcome.failures] == [
        ("broken.png", "undecodable"),
        ("fake_5.png", "broken"),
    ]
    assert len(outcome.rows) == len(items)


def test_nothing_measured_is_said_and_not_made_up(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    outcome = evaluated(tmp_path, [Item(broken, "broken.png", group="b")], Brightness())
    assert outcome.figures == {"brightness": {"frames": None, "videos": None}}
    assert outcome.headlines == ()
    assert len(outcome.failures) == 1


def test_videos_are_judged_by_the_mean_over_their_frames() -> None:
    found = [
        Measured(Item(Path("a.mp4"), "a.mp4", True, group="a"), (0.9, 0.3, 0.9)),
        Measured(Item(Path("b.mp4"), "b.mp4", False, group="b"), (0.1, 0.6, 0.2)),
        Measured(Item(Path("c.png"), "c.png", True, group="c"), (0.7,)),
    ]
    outcome = artifact.summary({"net": found})
    videos, frames = (outcome.figures["net"][name]["all"] for name in ("videos", "frames"))
    assert (videos["genuine"], videos["fakes"]) == (1, 1)
    assert videos["auc"]["value"] == 1
    assert (frames["genuine"], frames["fakes"]) == (4, 3)
    assert frames["auc"]["value"] == pytest.approx((3 + 2 + 3 + 3) / 12)


@pytest.fixture(scope="module")
def detector() -> BundledFaceDetector:
    return BundledFaceDetector.bundled()


def test_the_face_of_a_photograph_is_found(tmp_path: Path, detector: BundledFaceDetector) -> None:
    portrait = skimage.data.astronaut()[:, :, ::-1]
    cv2.imwrite(str(tmp_path / "a.jpg"), portrait)
    (crop,) = FaceReader(detector).read(tmp_path / "a.jpg")
    assert crop.shape == (224, 224, 3)
    (box,) = detector.detect([np.ascontiguousarray(portrait)])[0][:1, :4]
    assert 170 < (box[0] + box[2]) / 2 < 270, "the astronaut's face, not her suit"
    assert 60 < (box[1] + box[3]) / 2 < 180
    expected = face_crop(np.ascontiguousarray(portrait), box, 224)
    assert np.abs(crop.astype(int) - expected).mean() < 12, "that face, but for the file's losses"
    cv2.imwrite(str(tmp_path / "b.png"), skimage.data.coffee())
    with pytest.raises(NoFace):
        FaceReader(detector).read(tmp_path / "b.png")


def test_ready_crops_are_taken_as_they_are(tmp_path: Path) -> None:
    crop = np.random.default_rng(0).integers(0, 255, (50, 40, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), crop)
    (read,) = FaceReader(None).read(tmp_path / "a.png")
    assert np.array_equal(read, crop)
    (tmp_path / "b.mp4").write_bytes(b"video")
    with pytest.raises(Undecodable, match="no ready face crops"):
        FaceReader(None).read(tmp_path / "b.mp4")


@pytest.mark.slow
def test_the_frames_of_a_video_are_those_the_service_sees(
    clip: Callable[[str], Path], detector: BundledFaceDetector
) -> None:
    crops = FaceReader(detector, max_frames=5).read(clip("synced"))
    assert [crop.shape for crop in crops] == [(224, 224, 3)] * 5
