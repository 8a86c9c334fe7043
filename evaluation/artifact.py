"""How well a face classifier tells touched faces from untouched ones.

    python -m evaluation.artifact --data DIR --json OUT [--model FILE] [--split artifact_val]

DIR holds `faces_manifest.csv` with the columns split, file, label ("real" or "fake") and group;
the kind of manipulation is the part of a file's name before the first underscore. All figures are
of single face crops. Intervals are 95 % percentile bootstrap intervals over groups, because the
images of one group (a recording and its forgery) are no independent evidence.
"""

import argparse
import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]

RESAMPLES = 2000
BINS = 10


class Classifier(Protocol):
    """What is measured: BGR uint8 pictures -> probability of real (0-1) of each."""

    def predict_frames(self, frames: Sequence[NDArray[np.uint8]], /) -> list[float]: ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of the manifest. kind: of manipulation; group: what belongs together."""

    path: Path
    real: bool
    kind: str
    group: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of one kind of manipulation.

    auc: chance that a real face scores above a fake one (0-1, 0.5 is guessing); eer: rate at
    which as many reals as fakes are taken for the other (0-1, lower is better);
    balanced_accuracy, real_accepted, fake_caught: at the threshold 0.5; calibration_error: mean
    distance between predicted and actual share of reals over 10 equal bins (0-1).
    """

    reals: int
    fakes: int
    auc: Figure
    eer: Figure
    balanced_accuracy: Figure
    real_accepted: float
    fake_caught: float
    calibration_error: float


def read_samples(data: Path, split: str) -> list[Sample]:
    """The images of a split, in the order of the manifest."""
    with (data / "faces_manifest.csv").open(newline="") as file:
        return [
            Sample(
                path=data / row["file"],
                real=row["label"] == "real",
                kind=Path(row["file"]).name.split("_")[0],
                group=row["group"] or row["file"],
            )
            for row in csv.DictReader(file)
            if row["split"] == split
        ]


def auc(scores: Scores, real: Labels) -> float:
    """Area under the ROC curve; ties count half (Mann-Whitney)."""
    fakes = np.sort(scores[~real])
    reals = scores[real]
    wins = np.searchsorted(fakes, reals, "left") + np.searchsorted(fakes, reals, "right")
    return float(wins.mean() / (2 * len(fakes)))


def equal_error_rate(scores: Scores, real: Labels) -> float:
    """Where the share of refused reals equals that of accepted fakes, between thresholds by a
    straight line."""
    thresholds = np.concatenate([np.unique(scores), [np.inf]])
    refused = np.searchsorted(np.sort(scores[real]), thresholds, "left") / real.sum()
    accepted = 1 - np.searchsorted(np.sort(scores[~real]), thresholds, "left") / (~real).sum()
    after = int(np.argmax(refused >= accepted))
    if after == 0:
        return float(refused[0] + accepted[0]) / 2
    gap = accepted - refused
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(refused[after - 1] + share * (refused[after] - refused[after - 1]))


def balanced_accuracy(scores: Scores, real: Labels) -> float:
    """Mean of the shares of reals and of fakes that fall on their side of 0.5."""
    right = (scores > 0.5) == real
    return float((right[real].mean() + right[~real].mean()) / 2)


def calibration_error(scores: Scores, real: Labels) -> float:
    """Expected calibration error over 10 bins of equal width, weighted by their contents."""
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    gaps = [
        abs(scores[bins == b].mean() - real[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    return float(np.sum(gaps))


def with_interval(
    measure: Callable[[Scores, Labels], float],
    scores: Scores,
    real: Labels,
    groups: Sequence[str],
    seed: int = 0,
) -> Figure:
    """The figure and its 95 % interval, drawing whole groups with replacement."""
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(member, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(member[order])) + 1)
    rng = np.random.default_rng(seed)
    values: list[float] = []
    while len(values) < RESAMPLES:
        drawn = rng.integers(0, len(members), len(members))
        rows = np.concatenate([members[i] for i in drawn])
        if real[rows].any() and not real[rows].all():
            values.append(measure(scores[rows], real[rows]))
    low, high = np.quantile(values, [0.025, 0.975])
    return Figure(measure(scores, real), float(low), float(high))


def report(scores: Scores, real: Labels, groups: Sequence[str]) -> Report:
    """All figures of one kind. scores: (n,) probability of real; real: (n,) bool, both values."""
    if real.all() or not real.any():
        raise ValueError("needs both real and fake images")
    return Report(
        reals=int(real.sum()),
        fakes=int((~real).sum()),
        auc=with_interval(auc, scores, real, groups),
        eer=with_interval(equal_error_rate, scores, real, groups),
        balanced_accuracy=with_interval(balanced_accuracy, scores, real, groups),
        real_accepted=float((scores[real] > 0.5).mean()),
        fake_caught=float((scores[~real] <= 0.5).mean()),
        calibration_error=calibration_error(scores, real),
    )


def evaluate(data: Path, classifier: Classifier, split: str = "artifact_val") -> dict[str, Report]:
    """kind of manipulation -> figures, for every kind in the split that has both labels.

    Raises FileNotFoundError for an image that the manifest names and that cannot be read.
    """
    samples = read_samples(data, split)
    scores = np.array(_score(samples, classifier), np.float64)
    real = np.array([sample.real for sample in samples], bool)
    kinds = np.array([sample.kind for sample in samples])
    reports = {}
    for kind in dict.fromkeys(kinds.tolist()):
        rows = np.flatnonzero(kinds == kind)
        groups = [samples[i].group for i in rows]
        reports[kind] = report(scores[rows], real[rows], groups)
    return reports


def _score(samples: Sequence[Sample], classifier: Classifier) -> list[float]:
    scores: list[float] = []
    for start in range(0, len(samples), 32):
        images = []
        for sample in samples[start : start + 32]:
            image = cv2.imread(str(sample.path), cv2.IMREAD_COLOR)
            if image is None:
                raise FileNotFoundError(f"not a readable image: {sample.path}")
            images.append(np.asarray(image, np.uint8))
        scores += classifier.predict_frames(images)
    return scores


def main(arguments: Sequence[str] | None = None) -> None:
    from efficientnet_detector import EfficientNetDetector

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="a registered weights file; else the bundled")
    parser.add_argument("--split", default="artifact_val")
    options = parser.parse_args(arguments)
    detector = EfficientNetDetector(options.model)
    reports = evaluate(options.data, detector, options.split)
    info = detector.load()
    figures = {kind: asdict(figure) for kind, figure in reports.items()}
    result = {"model": asdict(info), "split": options.split, "figures": figures}
    options.json.write_text(json.dumps(result, indent=2) + "\n")
    for kind, figure in reports.items():
        value = figure.auc
        print(f"{kind}: AUC {value.value:.3f} ({value.low:.3f} to {value.high:.3f})")


if __name__ == "__main__":
    main()
