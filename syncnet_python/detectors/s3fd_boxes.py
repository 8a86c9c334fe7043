"""From S3FD's outputs to boxes: priors, decoding, suppression. Pure functions.

Boxes are (x1, y1, x2, y2) as fractions of the image's width and height, unless a function says
otherwise.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STRIDES = (4, 8, 16, 32, 64, 128)
"""Pixels of the network's input between neighbouring priors of each map."""

PRIOR_SIDES = (16, 32, 64, 128, 256, 512)
"""Side of each map's square priors, pixels of the network's input."""

_CENTRE_VARIANCE = 0.1
_SIZE_VARIANCE = 0.2


def priors(image_size: tuple[int, int], maps: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """The boxes that the network's offsets start from.

    image_size: (height, width) of the network's input; maps: (rows, columns) of each feature map,
    finest first. Returns (priors, 4) float32: centre x, centre y, width, height as fractions of
    the image; rows, then columns, map after map.
    """
    height, width = image_size
    grids = []
    for (rows, columns), stride, side in zip(maps, STRIDES, PRIOR_SIDES, strict=True):
        grid = np.empty((rows, columns, 4))
        grid[..., 0] = (np.arange(columns) + 0.5) * stride / width
        grid[..., 1] = (np.arange(rows)[:, None] + 0.5) * stride / height
        grid[..., 2:] = side / width, side / height
        grids.append(grid.reshape(-1, 4))
    return np.concatenate(grids).astype(np.float32)


def decode(offsets: NDArray[np.float32], priors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes (n, 4) float32 from offsets (n, 4) and priors (n, 4).

    Centres move by a tenth of the offset times the prior's size; sizes are multiplied by the
    exponential of a fifth of the offset ("SSD: Single Shot MultiBox Detector", equation 2).
    """
    centres = priors[:, :2] + offsets[:, :2] * np.float32(_CENTRE_VARIANCE) * priors[:, 2:]
    sizes = priors[:, 2:] * np.exp(offsets[:, 2:] * np.float32(_SIZE_VARIANCE))
    corner = centres - sizes / 2
    return np.concatenate([corner, corner + sizes], axis=1)


def suppress(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], overlap: float, limit: int
) -> NDArray[np.intp]:
    """Which boxes stay when every box strikes out the weaker ones that overlap it by more than
    `overlap` (intersection over union); at most `limit`.

    boxes: (n, 4) in any unit; scores: (n,). Returns indices, best first.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-scores, kind="stable")
    kept: list[np.intp] = []
    while order.size and len(kept) < limit:
        best, rest = order[0], order[1:]
        kept.append(best)
        corner = np.maximum(boxes[rest, :2], boxes[best, :2])
        opposite = np.minimum(boxes[rest, 2:], boxes[best, 2:])
        shared = np.prod(np.maximum(opposite - corner, 0), axis=1)
        # Compared without a division, which two empty boxes would make 0 / 0.
        order = rest[shared <= overlap * (areas[rest] + areas[best] - shared)]
    return np.array(kept, dtype=np.intp)


def select(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    *,
    min_score: float,
    overlap: float,
    candidates: int,
    limit: int,
) -> NDArray[np.float32]:
    """Detections of one image: boxes that score more than `min_score`, weaker doubles struck out.

    candidates: how many of the best enter suppression; limit: how many may leave it.
    Returns (n, 5) float32: the box and its score, best first.
    """
    likely = np.flatnonzero(scores > min_score)
    likely = likely[np.argsort(-scores[likely], kind="stable")[:candidates]]
    kept = likely[suppress(boxes[likely], scores[likely], overlap, limit)]
    return np.concatenate([boxes[kept], scores[kept, None]], axis=1)
