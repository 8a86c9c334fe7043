"""Train the face finder."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from syncnet_python.detectors.bundled import BundledFaceDetector, overlap
from syncnet_python.networks.face_finder import FaceFinder
from training.faces.cache import Cache
from training.faces.scenes import Scenes


def losses(network: FaceFinder, scenes: Scenes) -> dict[str, Tensor]:
    """heat: cross entropy against soft targets, weighted by the error of the probability (quality
    focal loss, Li et al. 2020, equation 5, with exponent 1), so that the many easy cells count
    little; box: absolute errors in face sizes near the centres. Both per face."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(scenes.images)
    output = output.float()
    logit = output[:, 0]
    wrong = (torch.sigmoid(logit) - scenes.heat).abs().detach()
    entropy = F.binary_cross_entropy_with_logits(logit, scenes.heat, reduction="none")
    cells = scenes.weight.sum().clamp(min=1.0)
    error = (output[:, 1:] - scenes.boxes).abs().sum(dim=1)
    return {
        "heat": (wrong * entropy * scenes.counted).sum() / cells,
        "box": 2.0 * (error * scenes.weight).sum() / cells,
    }


def checker(cache: Cache) -> Callable[[FaceFinder], dict[str, float]]:
    """Figures on whole validation pictures: how many faces are found, how well they are boxed."""

    def check(network: FaceFinder) -> dict[str, float]:
        detector = BundledFaceDetector(network.state_dict())
        found, matched, share, extra = [], [], [], []
        for best, box, count in _answers(detector, cache):
            found.append(count > 0)
            extra.append(max(0, count - 1))
            common = float(overlap(box, best[None, :4])[0]) if count else 0.0
            matched.append(common > 0.5)
            share.append(common)
        return {
            "val_found": float(np.mean(found)),
            "val_matched": float(np.mean(matched)),
            "val_iou": float(np.mean(share)),
            "val_extra": float(np.mean(extra)),
        }

    return check


def _answers(
    detector: BundledFaceDetector, cache: Cache
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64], int]]:
    """Per picture: the surest box, the teacher's box, the number of boxes."""
    for number, scene in enumerate(cache.scenes):
        if scene.box is not None:
            faces = detector.detect([cache.scene(number)])[0]
            best = faces[0] if len(faces) else np.zeros(5, np.float32)
            yield best, cache.box(number), len(faces)
