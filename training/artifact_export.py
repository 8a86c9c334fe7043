"""Calibrates a trained artifact classifier on what it never learnt from and puts it into models/.

    python -m training.artifact_export --data DIR --teacher DIR --pack DIR [--size 160]

Log-odds s of real become a * s + b, with a and b fitted by logistic regression on the groups that
`splits/artifact.csv` holds out, which have as many reals as fakes. Both are folded into the last
layer, so that the exported network answers calibrated probabilities by itself.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from evaluation.statistics import auc, calibration_error
from syncnet_python.networks import efficientnet
from training.artifact import RUN, split_groups, whole
from training.artifact_data import FAKE, REAL, pack
from training.artifact_student import CLASSES, MEAN, STD, to_input
from training.export import export
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


def fit_scale(scores: NDArray[np.float64], real: NDArray[np.bool_]) -> tuple[float, float]:
    """a, b that make sigmoid(a * score + b) most likely (Platt scaling)."""
    model = LogisticRegression(C=np.inf).fit(scores[:, None], real)
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
    parser.add_argument("--pack", type=Path, required=True, help="as in training")
    parser.add_argument("--checkpoint", type=Path, default=RUN / "checkpoint.pt")
    parser.add_argument("--size", type=int, default=160, help="pixels, as training ended")
    parser.add_argument("--try-sizes", type=int, nargs="*", default=[144, 176])
    parser.add_argument("--version", required=True)
    parser.add_argument("--licence", default="MIT; learnt from research-only data, see the card")
    options = parser.parse_args()

    pairs = pack(options.data, options.teacher, options.pack)
    _, held_out = split_groups(pairs.groups, held_out_names("artifact"))
    images = np.concatenate([pairs.images[held_out, member] for member in (REAL, FAKE)])
    real = np.repeat([True, False], len(held_out))
    state = averaged_network(options.checkpoint)
    network = efficientnet.prepared(efficientnet.from_state(state, LAYOUT))
    scores = {s: log_odds(network, images, s) for s in (options.size, *options.try_sizes)}
    a, b = fit_scale(scores[options.size], real)
    chance = 1 / (1 + np.exp(-(a * scores[options.size] + b)))
    figures = {f"auc at {s}": round(auc(odds, real), 4) for s, odds in sorted(scores.items())}
    fitted = {"scale": a, "shift": b, "calibration error": calibration_error(chance, real)}
    print(json.dumps(figures | {name: round(value, 4) for name, value in fitted.items()}))
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
