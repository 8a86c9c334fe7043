"""Weights and a clip that follow from a formula.

NumPy never changes the legacy `RandomState` stream, so the numbers are the same on every version
and machine, and outputs of two implementations can be compared.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SYNCNET_INPUT_SCALE = {"netcnnlip.0.weight": 1 / 128, "netcnnaud.0.weight": 1 / 10}
S3FD_INPUT_SCALE = {"vgg.0.weight": 1 / 128}


def fill(
    shapes: Mapping[str, Sequence[int]], input_scale: Mapping[str, float]
) -> dict[str, NDArray[Any]]:
    """A state dict of float32 arrays, int64 for `num_batches_tracked`.

    shapes: parameter name -> shape; input_scale: parameter name -> factor, for first layers fed
    with pixels of 0-255, so that activations stay near one.
    """
    state: dict[str, NDArray[Any]] = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = np.zeros(shape, np.int64)
            continue
        rng = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
        value = _values(name, tuple(shape), rng)
        state[name] = np.asarray(value * input_scale.get(name, 1.0)).astype(np.float32)
    return state


def _values(name: str, shape: tuple[int, ...], rng: np.random.RandomState) -> NDArray[Any]:
    if name.endswith("running_mean"):
        return np.asarray(0.1 * rng.standard_normal(shape))
    if name.endswith("running_var"):
        return np.asarray(1.0 + 0.2 * rng.random_sample(shape))
    if name.endswith("weight") and len(shape) > 1:
        return np.asarray(rng.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:])))
    if name.endswith("weight"):  # the gain of a norm
        return np.asarray(1.0 + 0.1 * rng.standard_normal(shape))
    return np.asarray(0.05 * rng.standard_normal(shape))


def clip(frames: int = 60) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """BGR frames (frames, 224, 224, 3) uint8 at 25 a second, and mono int16 audio at 16 kHz of the
    same length."""
    y, x = np.mgrid[0:224, 0:224]
    video = np.empty((frames, 224, 224, 3), np.uint8)
    for t in range(frames):
        for c in range(3):
            video[t, :, :, c] = (3 * x + 5 * y + 7 * t * (c + 1) + (x * y) // 97) % 256
    n = np.arange(frames * 640)
    seconds = n / 16000
    sweep = np.sin(2 * np.pi * (120 * seconds + 40 * seconds**2))
    tone = sweep * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * seconds))
    noise = np.random.RandomState(5).standard_normal(len(n))
    return video, (6000 * tone + 300 * noise).astype(np.int16)
