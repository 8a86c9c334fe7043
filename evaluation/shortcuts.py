"""Does the face classifier tell forgeries, or only where a picture comes from?

    python -m evaluation.shortcuts --data DIR --json OUT

A classifier may look good by reading compression, sharpness, colour or the habits of one camera.
So the held-out face crops are changed in ways that make nothing forged: on both sides, where the
AUC should hardly fall, and on the real side alone, where genuine faces should not turn into
forgeries. And a probe tries to tell from the score alone which collection a genuine face is from:
the nearer to chance it stays, the less of that is in the score.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from efficientnet_detector import EfficientNetDetector, as_bgr
from evaluation import inputs
from evaluation.artifact import FaceReader
from evaluation.statistics import auc
from syncnet_python.detectors.bundled import BundledFaceDetector
from syncnet_python.errors import NoFace

Image = NDArray[np.uint8]
Scores = NDArray[np.float64]
FOLDS = 5
KIND = "dfdc"
"""Part of the validation images that is changed: ready crops of one corpus, both sides alike."""

LISTS = Path(__file__).parent / "lists"


def grey(image: Image) -> Image:
    one = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.cvtColor(one, cv2.COLOR_GRAY2BGR), np.uint8)


def coded(quality: int) -> Callable[[Image], Image]:
    """Through a JPEG file of this quality."""

    def change(image: Image) -> Image:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

    return change


def through_png(image: Image) -> Image:
    _, data = cv2.imencode(".png", image)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def coarse(side: int) -> Callable[[Image], Image]:
    """As if the face had been filmed `side` pixels large."""

    def change(image: Image) -> Image:
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, image.shape[1::-1]), np.uint8)

    return change


CHANGES: Mapping[str, Callable[[Image], Image]] = {
    "PNG file": through_png,
    "grey": grey,
    "JPEG, quality 75": coded(75),
    "JPEG, quality 40": coded(40),
    "112 pixels": coarse(112),
    "64 pixels": coarse(64),
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
}


def changes(
    real: Sequence[Image], fake: Sequence[Image], score: Callable[[Sequence[Image]], Scores]
) -> dict[str, dict[str, float]]:
    """By change: AUC with both sides changed, AUC with the reals alone changed, and the share of
    reals above 0.5. The first row is without any."""

    def row(reals: Scores, fakes: Scores, untouched: Scores) -> dict[str, float]:
        labels = np.repeat([True, False], [len(reals), len(fakes)])
        return {
            "auc, both sides": round(auc(np.concatenate([reals, fakes]), labels), 4),
            "auc, reals alone": round(auc(np.concatenate([reals, untouched]), labels), 4),
            "reals accepted": round(float((reals > 0.5).mean()), 4),
        }

    fakes = score(fake)
    table = {"unchanged": row(score(real), fakes, fakes)}
    for name, change in CHANGES.items():
        changed = score([change(image) for image in real])
        table[name] = row(changed, score([change(image) for image in fake]), fakes)
    return table


def probe(scores: Scores, sources: Sequence[str]) -> dict[str, float]:
    """How well a flexible classifier tells the source from the score alone: balanced accuracy over
    five folds (chance is 1 / number of sources)."""
    model = make_pipeline(
        SplineTransformer(n_knots=6), LogisticRegression(class_weight="balanced", max_iter=1000)
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    guessed = cross_val_predict(model, scores[:, None], sources, cv=folds)
    return {
        "balanced accuracy": round(float(balanced_accuracy_score(sources, guessed)), 4),
        "chance": round(1 / len(set(sources)), 4),
    }


def read(data: Path) -> dict[str, list[Image]]:
    """The validation faces by kind and label, such as "dfdc real": ready crops of one corpus, and
    those that are found in the photographs of the others."""
    ready, finder = FaceReader(None), FaceReader(BundledFaceDetector.bundled())
    images: dict[str, list[Image]] = {}
    for name, reader in (("artifact_crops.csv", ready), ("artifact_photos.csv", finder)):
        for item in inputs.read(LISTS / name, data):
            kind = item.path.name.split("_")[0]
            with suppress(NoFace):
                faces = [as_bgr(face) for face in reader.read(item.path)]
                images.setdefault(f"{kind} {item.label}", []).extend(faces)
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the listed files")
    parser.add_argument("--json", type=Path, required=True, help="where to write the figures")
    options = parser.parse_args()
    detector = EfficientNetDetector()

    def score(images: Sequence[Image]) -> Scores:
        return np.array(detector.predict_frames(images), np.float64)

    images = read(options.data)
    reals = {name: score(group) for name, group in images.items() if name.endswith(" real")}
    sources = [name for name, group in reals.items() for _ in group]
    result: dict[str, Any] = {
        "changes": changes(images[f"{KIND} real"], images[f"{KIND} fake"], score),
        "source from the score": probe(np.concatenate(list(reals.values())), sources),
        "mean score of reals": {n: round(float(group.mean()), 4) for n, group in reals.items()},
    }
    text = json.dumps(result, indent=2)
    options.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
