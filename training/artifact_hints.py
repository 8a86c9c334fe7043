"""Texture energies, and a linear teacher on them, for the artifact classifier.

How much fine detail each part of a face has, band by band, says a good deal about forgery: a
swapped face is softer than the skin and hair around it. A linear model on the logarithms of these
energies learns that in a minute, where a convolutional network needs hours to find out that the
logarithm matters. So the network is given the energies as a second thing to predict on its middle
feature map, and the linear model's opinion as a soft label beside the hard one.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

FLOOR = 0.05
"""Added to energies, in squared grey levels, before the logarithm."""
BANDS = 15
NUM_ENERGIES = 2 * 3 * BANDS + 3
FOLDS = 5
_GREY = torch.tensor([[0.114, 0.587, 0.299], [-0.081, -0.419, 0.5], [0.5, -0.331, -0.169]])
"""BGR -> Y, Cr, Cb."""


def band_filters() -> Tensor:
    """The 4x4 discrete cosine transform without its constant, (15, 1, 4, 4)."""
    k = torch.arange(4.0)
    basis = torch.cos(torch.pi * k[:, None] * (2 * k[None] + 1) / 8)
    basis = basis / basis.norm(dim=1, keepdim=True)
    products = torch.einsum("ia,jb->ijab", basis, basis).reshape(16, 1, 4, 4)
    return products[1:]


def energies(images: NDArray[np.uint8], grid: int) -> Tensor:
    """(n, h, w, 3) BGR uint8 -> (n, 93, grid, grid): log energy of 15 bands of Y, Cr and Cb at
    full and half scale, and their means at quarter scale over 50."""
    filters = band_filters()
    pixels = torch.from_numpy(images).float() @ _GREY.T
    planes = pixels.permute(0, 3, 1, 2).reshape(-1, 1, *images.shape[1:3])
    maps = []
    for _ in range(2):
        bands = F.conv2d(planes, filters, stride=2, padding=1)
        power = F.adaptive_avg_pool2d(bands.square(), grid)
        maps.append((power + FLOOR).log().reshape(len(images), 3 * BANDS, grid, grid))
        planes = F.avg_pool2d(planes, 2)
    maps.append(F.adaptive_avg_pool2d(planes, grid).reshape(len(images), 3, grid, grid) / 50)
    return torch.cat(maps, 1)


def teacher_opinions(
    images: NDArray[np.uint8], learn: NDArray[np.int64], strength: float = 1e-3
) -> NDArray[np.float32]:
    """images: (n, 2, h, w, 3), real and fake of each pair -> (n, 2) log-odds of real.

    Every opinion comes from a model that has seen neither the pair (five folds over pairs) nor
    any pair outside `learn`, whose rows are NaN. strength: scikit-learn's C.
    """
    tables = [_table(images, learn, member) for member in (0, 1)]
    fold = np.random.default_rng(0).permutation(len(learn)) % FOLDS
    opinions = np.full((len(images), 2), np.nan, np.float32)
    for part in range(FOLDS):
        known, asked = fold != part, fold == part
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
        label = np.repeat([1, 0], known.sum())
        model.fit(np.concatenate([table[known] for table in tables]), label)
        for member, table in enumerate(tables):
            opinions[learn[asked], member] = model.decision_function(table[asked])
    return opinions


def _table(images: NDArray[np.uint8], rows: NDArray[np.int64], member: int) -> NDArray[np.float32]:
    parts = [
        energies(images[rows[start : start + 100], member], 8).flatten(1).numpy()
        for start in range(0, len(rows), 100)
    ]
    return np.concatenate(parts)


def read_opinions(
    images: NDArray[np.uint8], learn: NDArray[np.int64], folder: Path
) -> NDArray[np.float32]:
    """The teacher's opinions, kept in `folder` once they are known."""
    path = folder / "opinions.npy"
    if not path.exists():
        np.save(path, teacher_opinions(images, learn))
    return np.asarray(np.load(path), np.float32)
