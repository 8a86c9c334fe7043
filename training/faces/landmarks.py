"""Train the landmark networks."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from syncnet_python.landmarks import LIPS, MESH_INDICES, eye_distance
from syncnet_python.networks.face_landmarks import FINE_SIZE, FaceLandmarks
from training.faces.cache import Cache
from training.faces.landmark_batches import Batch, LandmarkBatches

_PIXEL = float(FINE_SIZE)


def point_weights() -> Tensor:
    """Lips count three times, eye corners (the scale of every figure) twice. Mean 1."""
    weight = torch.ones(len(MESH_INDICES))
    weight[LIPS] = 3.0
    weight[[MESH_INDICES.index(i) for i in (33, 133, 362, 263)]] = 2.0
    return weight / weight.mean()


def losses(network: FaceLandmarks, batch: Batch) -> dict[str, Tensor]:
    """Absolute errors in pixels of the fine crop, rounded off below a quarter of a pixel.

    lip_shape: of the lips about their own centre, which is what lip reading sees.
    """
    faces = batch.present > 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse_features = network.coarse.features(batch.coarse[faces])
        fine_maps = network.fine.maps(batch.fine)
    anchors = network.coarse.read(coarse_features.float())
    points, presence = network.fine.read(*(part.float() for part in fine_maps))
    points = points[faces]
    error = _rounded(points - batch.points[faces]).mean(dim=(0, 2))
    lips, true_lips = points[:, LIPS], batch.points[faces][:, LIPS]
    shape = _rounded(
        (lips - lips.mean(1, keepdim=True)) - (true_lips - true_lips.mean(1, keepdim=True))
    )
    return {
        "coarse": _rounded(anchors - batch.anchors[faces]).mean(),
        "points": (error * point_weights()).mean(),
        "lip_shape": shape.mean(),
        "presence": F.binary_cross_entropy_with_logits(presence, batch.present),
    }


def _rounded(difference: Tensor) -> Tensor:
    pixels = difference * _PIXEL
    return F.smooth_l1_loss(pixels, torch.zeros_like(pixels), beta=0.25, reduction="none")


def checker(cache: Cache) -> Callable[[FaceLandmarks], dict[str, float]]:
    """Figures on crops that were cut by the labels themselves: the networks without the finder."""
    batches = list(LandmarkBatches(cache, 64, seed=(0,), augment=False).once())

    def check(network: FaceLandmarks) -> dict[str, float]:
        lip, everywhere, coarse = [], [], []
        with torch.inference_mode():
            for batch in batches:
                points, _ = network.fine(batch.fine)
                eyes = eye_distance(batch.points.numpy())[:, None]
                error = torch.linalg.vector_norm(points - batch.points, dim=2).numpy() / eyes
                lip.append(error[:, LIPS].mean(axis=1))
                everywhere.append(error.mean(axis=1))
                anchors = network.coarse(batch.coarse)
                coarse.append((anchors - batch.anchors).abs().mean().item() * _PIXEL)
        return {
            "val_lip_share": float(np.concatenate(lip).mean()),
            "val_all_share": float(np.concatenate(everywhere).mean()),
            "val_coarse_px": float(np.mean(coarse)),
        }

    return check
