"""From what each place of a face speaks for, to a picture that shows it.

The places come from Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391), see
`contributions` of `networks.efficientnet`.
"""

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

from syncnet_python.face_crops import resize

SIDE = 224
"""Pixels of the picture."""

OPACITY = 0.8
"""Share of the colour where a place speaks loudest."""

COLOURS = cv2.COLORMAP_VIRIDIS
"""Blue over green to yellow: told apart with any colour vision, and no colour of a face."""

_SMOOTHING = 0.5
"""Deviation of the filter, in places: enough that the grid does not show."""


def strength(contributions: NDArray[np.floating]) -> NDArray[np.float32]:
    """How loudly each place speaks, as a share of the loudest, 0-1.

    contributions: (rows, columns), > 0 where a place speaks for what is shown; what speaks against
    it counts as nothing, and where nothing speaks for it all are 0. Raises ValueError for what is
    not finite.
    """
    if not np.isfinite(contributions).all():
        raise ValueError("contributions must be finite numbers")
    positive = np.maximum(contributions, 0)
    loudest = positive.max()
    if loudest < np.finfo(np.float32).tiny:
        return np.zeros(positive.shape, np.float32)
    shares = (positive / loudest).astype(np.float32)  # before the filter: nothing overflows in it
    smooth = cv2.GaussianBlur(shares, (0, 0), _SMOOTHING)
    return np.asarray(smooth / smooth.max(), np.float32)


def overlay(crop: NDArray[np.uint8], shares: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The crop in grey, with colour over the places that speak: (SIDE, SIDE, 3) uint8 BGR.

    crop: (height, width, 3) uint8 BGR; shares: (rows, columns) 0-1 over the whole crop. Where a
    share is 0 nothing lies over the crop; both colour and opacity grow with it.
    """
    grey = cv2.cvtColor(resize(crop, SIDE), cv2.COLOR_BGR2GRAY)[..., None]
    grown = cv2.resize(shares.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    grown = np.clip(grown, 0, 1)  # cubic interpolation overshoots
    colour = cv2.applyColorMap(np.round(grown * 255).astype(np.uint8), COLOURS)
    opacity = OPACITY * grown[..., None]
    return np.round((1 - opacity) * grey + opacity * colour).astype(np.uint8)


def png_base64(image: NDArray[np.uint8]) -> str:
    """A (height, width, 3) uint8 BGR picture as a PNG file in base64."""
    _, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return base64.b64encode(data.tobytes()).decode("ascii")
