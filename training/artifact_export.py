"""Calibrates a trained artifact classifier on the held-out groups and puts it into models/.

    python -m training.artifact_export --data DIR --pack DIR [--size 96] [--version 0.1]

Log-odds s of real become a * s + b, with a and b fitted by logistic regression on the held-out
groups, which hold as many reals as fakes. Both are folded into the last layer, so that the
exported network answers calibrated probabilities by itself.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.artifact import auc, calibration_error
from syncnet_python.face_crops import resize
from syncnet_python.networks import efficientnet
from training.artifact import RUN, split_groups
from training.artifact_data import read_manifest
from training.artifact_student import CLASSES, MEAN, STD, to_input
from training.export import export
from training.genuine import Faces

LAYOUT = "efficientnet_b0"
FAKE, REAL = CLASSES.index("fake"), CLASSES.index("real")


def averaged_network(checkpoint: Path) -> dict[str, Tensor]:
    """The moving average's classifier, without the head that only training uses."""
    saved = torch.load(checkpoint, weights_only=True)["average"]
    return {name.removeprefix("net."): v for name, v in saved.items() if name.startswith("net.")}


@torch.inference_mode()
def log_odds(
    network: efficientnet.EfficientNetB0, images: list[NDArray[np.uint8]], size: int
) -> NDArray[np.float64]:
    """Log-odds of real of BGR images, squeezed to `size` as the detector squeezes them."""
    scores = []
    for start in range(0, len(images), 50):
        part = np.stack([resize(image, size) for image in images[start : start + 50]])
        logits = network(to_input(part))
        scores.append((logits[:, REAL] - logits[:, FAKE]).double().numpy())
    return np.concatenate(scores)


def fit_scale(scores: NDArray[np.float64], real: NDArray[np.bool_]) -> tuple[float, float]:
    """a, b that make sigmoid(a * score + b) most likely, by Newton's method."""
    inputs = np.stack([scores, np.ones_like(scores)], axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-(inputs @ weights)))
        gradient = inputs.T @ (chance - real)
        curvature = (inputs.T * (chance * (1 - chance))) @ inputs + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return float(weights[0]), float(weights[1])


def fold_scale(state: dict[str, Tensor], a: float, b: float) -> dict[str, Tensor]:
    """The state dict whose log-odds of real are a * s + b where they were s."""
    folded = dict(state)
    folded["_fc.weight"] = state["_fc.weight"] * a
    bias = state["_fc.bias"] * a
    bias[REAL] += b / 2
    bias[FAKE] -= b / 2
    folded["_fc.bias"] = bias
    return folded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pack", type=Path, required=True, help="as in training")
    parser.add_argument("--checkpoint", type=Path, default=RUN / "checkpoint.pt")
    parser.add_argument("--size", type=int, default=96, help="pixels, as in training")
    parser.add_argument("--try-sizes", type=int, nargs="*", default=[80, 112])
    parser.add_argument("--version", default="0.1")
    parser.add_argument("--licence", default="MIT; learnt from research-only data, see the card")
    options = parser.parse_args()

    names = json.loads((options.pack / "groups.json").read_text())
    _, held_out = split_groups(len(names))
    files = read_manifest(options.data / "faces_manifest.csv", "artifact_train")
    images, labels = [], []
    for index in held_out:
        for label, file in files[names[index]].items():
            images.append(np.asarray(cv2.imread(str(options.data / file)), np.uint8))
            labels.append(label == "real")
    real = np.array(labels)
    state = averaged_network(options.checkpoint)
    network = efficientnet.prepared(efficientnet.from_state(state, LAYOUT))
    scores = {}
    for size in sorted({options.size, *options.try_sizes}):
        scores[size] = log_odds(network, images, size)
        print(f"held out at {size} pixels: AUC {auc(scores[size], real):.4f}")
    a, b = fit_scale(scores[options.size], real)
    chance = 1 / (1 + np.exp(-(a * scores[options.size] + b)))
    print(f"scale {a:.3f}, shift {b:.3f}, calibration error {calibration_error(chance, real):.3f}")
    genuine = options.pack / "genuine.npz"
    if genuine.exists():
        with np.load(genuine) as packed:
            _, others = Faces(packed["images"], packed["points"]).parts()
        odds = a * log_odds(network, list(others.images), options.size) + b
        share = (odds > 0).mean()
        print(f"other cameras, held out: {share:.3f} of {len(odds)} reals above 0.5")
    path = export(
        fold_scale(state, a, b),
        name="efficientnet_b0",
        role="classifier",
        layout=LAYOUT,
        version=options.version,
        licence=options.licence,
        classes=list(CLASSES),
        input_size=options.size,
        mean=list(MEAN),
        std=list(STD),
    )
    print(path)


if __name__ == "__main__":
    main()
