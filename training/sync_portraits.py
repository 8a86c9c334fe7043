"""Talking portraits for sync training: clips of `evaluation/samples.py` with seeds of their own.

    python -m training.sync_portraits --out DIR --count 60

A drawn mouth and a formant voice are unlike any recording, and the service's own demonstration is
made of them. Seeds start at 10,000; demonstration and tests use small ones.
"""

import argparse
from pathlib import Path

import numpy as np

from evaluation.samples import talking_clip

FIRST_SEED = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.count):
        rng = np.random.default_rng(seed)
        target = arguments.out / f"portrait_{seed}.mp4"
        if target.exists():
            continue
        partial = target.with_name(f"part_{target.name}")
        talking_clip(
            partial,
            seconds=4.0,
            seed=seed,
            container="mp4-h264-aac",
            fps=int(rng.choice([25, 25, 30])),
            size=(320, 320),
            face_height=float(rng.uniform(0.4, 0.6)),
            brightness=float(rng.uniform(0.6, 1.1)),
            blur=float(rng.choice([0.0, 0.0, 0.7, 1.2])),
            hiss=float(rng.choice([0.0, 0.0, 60.0, 200.0])),
        )
        partial.rename(target)


if __name__ == "__main__":
    main()
