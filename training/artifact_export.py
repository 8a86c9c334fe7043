"""Calibrates a trained artifact classifier on what it never learnt from and puts it into models/.

    python -m training.artifact_export --data DIR --teacher DIR --pack DIR [--size 160]

Log-odds s of real become a * s + b, with a and b fitted by logistic regression on what
`splits/artifact.csv` holds out: pairs of the corpus, and genuine faces of other cameras with
forgeries made from them, both weighing alike, because a service sees more cameras than one corpus.
The two are folded into the last layer, so that the exported network answers probabilities itself.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from evaluation.statistics import auc, calibration_error
from syncnet_python.networks import efficientnet
from training.artifact import RUN, SEED, split_groups, whole
from training.artifact_data import FAKE, REAL, SIDE, pack
from training.artifact_student import CLASSES, MEAN, STD, to_input
from training.composites import compose
from training.export import export
from training.self_blended import self_blend
from training.single_faces import Faces, genuine_files, pack_faces
from training.splits import held_out_names

LAYOUT = "efficientnet_b0"


def averaged_network(checkpoint: Path) -> dict[str, Tensor]:
    """The moving average's classifier, without the head that only training uses."""
    saved = torch.load(checkpoint, weights_only=True)["average"]
    return {name.removeprefix("net."): v for name, v in saved.items() if name.startswith("net.")}


@torch.inference_mode()
def log_odds(
    network: efficientnet.EfficientNetB0, images: NDArray[np.uint8], size: int
) -> NDArray[np.float64]:
    """Log-odds of real of (n, side, side, 3) BGR images: mean of each and its mirror image, as the
    detector takes it."""
    real, fake = CLASSES.index("real"), CLASSES.index("fake")
    scores = []
    for start in range(0, len(images), 50):
        part = whole(images[start : start + 50], size)
        logits = network(to_input(part)) + network(to_input(part[:, :, ::-1]))
        scores.append((logits[:, real] - logits[:, fake]).double().numpy() / 2)
    return np.concatenate(scores)


def forged(faces: Faces) -> NDArray[np.uint8]:
    """One forgery of each face, always the same: self-blended, or with a part of another's."""
    rng = np.random.default_rng(SEED)
    made = []
    for number, (image, points) in enumerate(zip(faces.images, faces.points, strict=True)):
        donor = int(rng.integers(len(faces.images)))
        made.append(
            compose(image, points, faces.images[donor], faces.points[donor], rng)[0]
            if number % 2
            else self_blend(image, points, rng)[0]
        )
    return np.stack(made)


def fit_scale(
    scores: NDArray[np.float64], real: NDArray[np.bool_], weight: NDArray[np.float64] | None = None
) -> tuple[float, float]:
    """a, b that make sigmoid(a * score + b) most likely (Platt scaling)."""
    model = LogisticRegression(C=np.inf).fit(scores[:, None], real, sample_weight=weight)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def fold_scale(state: dict[str, Tensor], a: float, b: float) -> dict[str, Tensor]:
    """The state dict whose log-odds of real are a * s + b where they were s."""
    real, fake = CLASSES.index("real"), CLASSES.index("fake")
    folded = dict(state)
    folded["_fc.weight"] = state["_fc.weight"] * a
    bias = state["_fc.bias"] * a
    bias[real] += b / 2
    bias[fake] -= b / 2
    folded["_fc.bias"] = bias
    return folded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--more-teacher", type=Path, help="as in training")
    parser.add_argument("--pack", type=Path, required=True, help="as in training")
    parser.add_argument("--checkpoint", type=Path, default=RUN / "checkpoint.pt")
    parser.add_argument("--size", type=int, default=160, help="pixels, as training ended")
    parser.add_argument("--try-sizes", type=int, nargs="*", default=[144, 176])
    parser.add_argument("--measure-only", action="store_true", help="print, and export nothing")
    parser.add_argument("--version", required=True)
    parser.add_argument("--licence", default="MIT; learnt from research-only data, see the card")
    options = parser.parse_args()

    pairs = pack(options.data, options.teacher, options.pack)
    names = held_out_names("artifact")
    _, held_out = split_groups(pairs.groups, names)
    others = pack_faces(
        genuine_files(options.data, names, held=True),
        options.more_teacher or options.teacher,
        options.pack / "genuine_held_out.npz",
        SIDE,
    )
    domains = {
        "corpus": [pairs.images[held_out, member] for member in (REAL, FAKE)],
        "other cameras": [others.images, forged(others)],
    }
    state = averaged_network(options.checkpoint)
    network = efficientnet.prepared(efficientnet.from_state(state, LAYOUT))
    real = [np.repeat([True, False], len(sides[0])) for sides in domains.values()]
    weight = np.concatenate([np.full(len(labels), 1 / len(labels)) for labels in real])
    for size in (*options.try_sizes, options.size):  # the last is the one that is exported
        odds = [log_odds(network, np.concatenate(sides), size) for sides in domains.values()]
        for name, scores, labels in zip(domains, odds, real, strict=True):
            print(f"{size} pixels, {name}: AUC {auc(scores, labels):.4f}")
    a, b = fit_scale(np.concatenate(odds), np.concatenate(real), weight)
    print(f"scale {a:.3f}, shift {b:.3f}")
    for name, scores, labels in zip(domains, odds, real, strict=True):
        chance = 1 / (1 + np.exp(-(a * scores + b)))
        genuine, forgeries = (float((chance[of] > 0.5).mean()) for of in (labels, ~labels))
        error = calibration_error(chance, labels)
        print(
            f"{name}: calibration error {error:.3f}, accepted: {genuine:.3f} of the genuine, "
            f"{forgeries:.3f} of the forged"
        )
    if options.measure_only:
        return
    path = export(
        fold_scale(state, a, b),
        name="efficientnet_b0",
        role="classifier",
        layout=LAYOUT,
        version=options.version,
        licence=options.licence,
        classes=list(CLASSES),
        input_size=options.size,
        flip=True,
        mean=list(MEAN),
        std=list(STD),
    )
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
