"""Milliseconds a window of the SyncNet v2 embedding stage, beside the reference's arithmetic.

    python -m benchmarks.embedding [--windows N] [--rounds N]

Speed depends on neither the weights nor the pixels, so both are random. The ways are timed in turn,
round after round, so that a busy machine slows all of them alike.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import describe
from syncnet_python.audio_features import mfcc
from syncnet_python.embedding import SyncNetEmbedder
from syncnet_python.networks.precision import inference_dtype
from syncnet_python.networks.syncnet import WINDOW_FRAMES, WINDOW_STEPS, SyncNet
from syncnet_python.results import SAMPLES_PER_FRAME

REFERENCE_BATCH = 20
WINDOWS = 120
ROUNDS = 3


def measure(windows: int = WINDOWS, rounds: int = ROUNDS) -> dict[str, Any]:
    """Median and fastest milliseconds a window of each way, MFCC included."""
    torch.manual_seed(0)
    network = SyncNet().eval()
    state = network.state_dict()
    embedders = {p: SyncNetEmbedder(state, precision=p) for p in ("float32", "auto")}
    crops, audio = _clip(windows + WINDOW_FRAMES - 1)

    def ours(embedder: SyncNetEmbedder) -> None:
        embedder.visual(crops, windows)
        embedder.audio(mfcc(audio), windows)

    ways: dict[str, Callable[[], None]] = {
        "reference": lambda: reference(network, crops, audio, windows),
        "float32": lambda: ours(embedders["float32"]),
        "auto": lambda: ours(embedders["auto"]),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            spent[name].append((time.perf_counter() - begin) * 1000 / windows)
    return {
        "threads": torch.get_num_threads(),
        "windows": windows,
        "auto_is": str(inference_dtype(torch.device("cpu"), "auto")).removeprefix("torch."),
        "ms_per_window": {
            name: {"median": round(statistics.median(t), 2), "fastest": round(min(t), 2)}
            for name, t in spent.items()
        },
    }


@torch.inference_mode()
def reference(
    network: SyncNet, crops: NDArray[np.uint8], audio: NDArray[np.int16], windows: int
) -> None:
    """What the reference computes (evaluate in SyncNetInstance.py): the whole track as float32,
    windows copied out of it in batches of 20, 3-D convolutions, batch norms of their own."""
    video = torch.from_numpy(crops.transpose(3, 0, 1, 2)[None].astype(float)).float()
    features = torch.from_numpy(mfcc(audio)[None, None].astype(float)).float()
    for first in range(0, windows, REFERENCE_BATCH):
        batch = range(first, min(windows, first + REFERENCE_BATCH))
        network.forward_lip(torch.cat([video[:, :, i : i + WINDOW_FRAMES] for i in batch]))
        network.forward_audio(
            torch.cat([features[..., 4 * i : 4 * i + WINDOW_STEPS] for i in batch])
        )


def _clip(frames: int) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (frames, 224, 224, 3), np.uint8)
    # One frame more sound, so that the reference's last window has all its steps.
    audio = rng.normal(0, 3000, (frames + 1) * SAMPLES_PER_FRAME).astype(np.int16)
    return crops, audio


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the SyncNet v2 embedding stage.")
    parser.add_argument("--windows", type=int, default=WINDOWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    figures = measure(options.windows, options.rounds)
    print(json.dumps({"machine": describe(), "embedding": figures}, indent=2))


if __name__ == "__main__":
    main()
