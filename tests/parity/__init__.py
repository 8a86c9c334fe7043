"""Figures of the original implementation, to hold ours against.

joonson/syncnet_python (MIT licence), its networks and functions called as published, gave the
numbers in this folder on weights and stimuli that follow from a formula, so no media and no
trained weights are needed to repeat the comparison:

- `*_shapes.json`: every parameter's published name and shape;
- `syncnet_formula.*`: 60 formula frames: MFCC, every 8th embedding, distances, offset;
- `s3fd_boxes.npz`: priors of a 160x120 image; offsets, scores and the detections made of them.
  `formula_loc` and `formula_conf`, of a formula image, are of our own network, which was equal to
  the original's bit by bit on a photograph that is not ours to distribute;
- `tracking_*`: detections of 260 frames, their tracks, a smoothed path and four crops.
"""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parity.formula import S3FD_INPUT_SCALE, SYNCNET_INPUT_SCALE, fill

HERE = Path(__file__).parent


def numbers(name: str) -> dict[str, NDArray[Any]]:
    with np.load(HERE / f"{name}.npz") as stored:
        return dict(stored)


def record(name: str) -> Any:
    return json.loads((HERE / f"{name}.json").read_text())


@functools.cache
def syncnet_state() -> dict[str, Tensor]:
    return _state("syncnet_v2_shapes", SYNCNET_INPUT_SCALE)


@functools.cache
def s3fd_state() -> dict[str, Tensor]:
    return _state("s3fd_shapes", S3FD_INPUT_SCALE)


def relative_error(ours: NDArray[Any], original: NDArray[Any]) -> float:
    """Largest difference over the largest value."""
    return float(np.abs(ours - original).max() / np.abs(original).max())


def _state(shapes: str, input_scale: dict[str, float]) -> dict[str, Tensor]:
    arrays = fill(record(shapes), input_scale)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
