"""Frame and face box -> the square crop that the face classifier judges.

The bundled classifier learnt from DFDC face crops. Over its training images the box of the face
mesh (what the bundled face finder predicts: forehead to chin, cheek to cheek) is 1.026 times as
high as the image (median; 90 % between 0.90 and 1.14) and its centre lies 1.3 % of the side above
the image's, so the numbers below make crops that look like them.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE_PER_BOX = 0.975
"""Side of the crop over the larger side of the face box."""
SHIFT_DOWN = 0.013
"""How far the crop's centre lies below the box's, as a share of the crop's side."""


def square(box: NDArray[np.floating]) -> tuple[int, int, int]:
    """Face box (x1, y1, x2, y2) in pixels -> left, top, side of the crop, whole pixels.

    left and top may be negative. Raises ValueError for a box without area.
    """
    x1, y1, x2, y2 = (float(value) for value in box)
    if not (x2 > x1 and y2 > y1):
        raise ValueError(f"a face box needs x1 < x2 and y1 < y2, not {(x1, y1, x2, y2)}")
    side = SIDE_PER_BOX * max(x2 - x1, y2 - y1)
    left = (x1 + x2 - side) / 2
    top = (y1 + y2 - side) / 2 + SHIFT_DOWN * side
    return round(left), round(top), max(2, round(side))


def face_crop(frame: NDArray[np.uint8], box: NDArray[np.floating], size: int) -> NDArray[np.uint8]:
    """The face in a (size, size, 3) uint8 image, same colour order as the frame.

    frame: (height, width, 3) uint8; box: (4,) x1, y1, x2, y2 in pixels of the frame. Where the
    crop reaches over the frame's edge, the edge pixels repeat; a crop wholly outside it holds
    nothing but them. Shrinks by area, so that no detail folds over.
    """
    left, top, side = square(box)
    height, width = frame.shape[:2]
    rows = slice(*np.clip([top, top + side], 0, height))
    columns = slice(*np.clip([left, left + side], 0, width))
    if (rows.stop - rows.start, columns.stop - columns.start) == (side, side):
        crop = frame[rows, columns]
    else:
        ys = np.clip(np.arange(top, top + side), 0, height - 1)
        xs = np.clip(np.arange(left, left + side), 0, width - 1)
        crop = frame[ys[:, None], xs[None, :]]
    return resize(crop, size)


def resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Any (height, width, 3) uint8 image squeezed into (size, size, 3)."""
    if image.shape[:2] == (size, size):
        return np.ascontiguousarray(image)
    shrinks = min(image.shape[:2]) >= size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=how), np.uint8)
