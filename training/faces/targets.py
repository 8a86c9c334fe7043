"""What the face finder should answer for a picture whose faces are known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncnet_python.networks.face_finder import STRIDE, UNIT, cell_centres

Box = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Target:
    """heat: (rows, columns) of cells, how near a face's centre is, 0-1; counted: same shape, 0
    where a face is too hidden to count either way; boxes: (4, rows, columns), the network's last
    channels; weight: (rows, columns), how much each cell's box counts."""

    heat: NDArray[np.float64]
    counted: NDArray[np.float64]
    boxes: NDArray[np.float64]
    weight: NDArray[np.float64]


def target(boxes: Sequence[Box], ignored: Sequence[Box], rows: int, columns: int) -> Target:
    """boxes, ignored: (4,) each, in pixels of a picture of rows x columns.

    Heat falls off from a face's centre as a Gaussian whose deviation is an eighth of the face's
    size, but no less than 0.75 cells; the nearest cell gets 1, wherever the centre lies within it.
    """
    y = cell_centres(rows // STRIDE).numpy()[:, None]
    x = cell_centres(columns // STRIDE).numpy()[None]
    heat = np.zeros((rows // STRIDE, columns // STRIDE))
    counted, places = np.ones_like(heat), np.zeros((4, *heat.shape))
    for box in ignored:
        inside = (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])
        counted[inside] = 0
    for box in boxes:
        centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        deviation = np.maximum(size / 8, 0.75 * STRIDE)
        away_x, away_y = centre[0] - x, centre[1] - y
        bump = np.exp(-0.5 * ((away_x / deviation[0]) ** 2 + (away_y / deviation[1]) ** 2))
        bump /= max(bump.max(), 0.1)  # less only where the centre lies outside the picture
        nearer = bump > heat
        heat = np.maximum(heat, bump)
        values = [away_x / size[0], away_y / size[1], *np.log(size / UNIT)]
        for place, value in zip(places, values, strict=True):
            place[nearer] = np.broadcast_to(value, heat.shape)[nearer]
    return Target(heat, counted, places, np.where(heat > 0.4, heat, 0.0) * counted)
