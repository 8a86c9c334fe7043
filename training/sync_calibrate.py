"""Fit what the sync network's figures mean and write models/syncnet_fcn.json.

    python -m training.sync_calibrate --features DIR --manifest CSV [--offsets JSON]

Reads held-out training clips only (`training/sync.py` never learns from them), as the bundled
landmarks see them. Windows of 2 to 4 s with their own sound are set against the same windows
with another clip's sound.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from syncnet_python import offset, weights
from syncnet_python import scale as scales
from syncnet_python.networks.syncnet_fcn import SyncNetFCN
from syncnet_python.scale import Scale
from training.sync import embed
from training.sync_data import Clip, load_clips, split

WINDOW = 100
SHORTEST = 50
_SOFTNESS = 0.02  # keeps the belief from becoming a step where the examples do not overlap

SLACK = 2
"""Frames that lips and voice may be apart and still be called together."""

Floats = NDArray[np.float64]


def figures(clips: Sequence[Clip], network: SyncNetFCN) -> tuple[Floats, Floats]:
    """(confidence, min_dist, offset) of windows with own and with another's sound: two (n, 3)."""
    rng = np.random.default_rng(0)
    own, other = [], []
    for number, clip in enumerate(clips):
        for first in range(0, len(clip) - SHORTEST + 1, WINDOW):
            size = min(WINDOW, len(clip) - first)
            if size < SHORTEST:
                continue
            window = clip.cut(first, size)
            own.append(_figures(window, window, network))
            for _ in range(4):
                strange = clips[(number + int(rng.integers(1, len(clips)))) % len(clips)]
                both = min(size, len(strange))
                heard = strange.cut(int(rng.integers(0, len(strange) - both + 1)), both)
                other.append(_figures(window.cut(0, both), heard, network))
    return np.array(own), np.array(other)


def _figures(seen: Clip, heard: Clip, network: SyncNetFCN) -> tuple[float, float, float]:
    visual, _ = embed(network, [seen])
    _, voice = embed(network, [heard])
    found = offset.estimate(visual[0].numpy(), voice[0].numpy(), padding="valid")
    return found.confidence, found.min_dist, float(found.offset_frames)


def fit(own: Floats, other: Floats) -> Scale:
    """The scale from figures (n, 3) of matches and of mismatches.

    Confidence by logistic regression, both sides weighing alike. Full marks for distance up to the
    matches' upper quartile, none from the mismatches' median on. For reason codes: confidence is
    MEDIUM above 95% of mismatches, HIGH from the matches' lower quartile on; distance likewise.
    """
    values = np.concatenate([own[:, 0], other[:, 0]])
    sides = np.concatenate([np.ones(len(own)), -np.ones(len(other))])
    share = np.concatenate([np.full(len(s), 0.5 / len(s)) for s in (own, other)])
    unit = float(values.std())

    def loss(x: Floats) -> float:
        margin = sides * (values - x[0]) / unit * np.exp(x[1])
        return float((share * np.logaddexp(0, -margin)).sum() + _SOFTNESS * np.exp(x[1]))

    mid, steepness = minimize(loss, [float(values.mean()), 1.0], method="Nelder-Mead").x
    full = float(np.quantile(own[:, 1], 0.75))
    none = float(np.median(other[:, 1]))
    medium = float(np.quantile(other[:, 0], 0.95))
    far = float(np.quantile(other[:, 1], 0.05))
    return Scale(
        confidence_mid=round(float(mid), 4),
        confidence_width=round(unit / float(np.exp(steepness)), 4),
        distance_low=round(full, 4),
        distance_span=round(max(none - full, 0.05), 4),
        confidence_levels=_ascending(medium, float(np.quantile(own[:, 0], 0.25))),
        distance_levels=_ascending(full, far),
        slack=SLACK,
    )


def _ascending(first: float, second: float) -> tuple[float, float]:
    low, high = sorted((first, second))
    return round(low, 4), round(high, 4)


def report(scale: Scale, own: Floats, other: Floats) -> dict[str, float | int]:
    """How the fitted score reads on the examples."""
    good, bad = (
        np.array([scales.score(scale, c, d, int(o)) for c, d, o in rows]) for rows in (own, other)
    )
    return {
        "own windows": len(own),
        "own median score": round(float(np.median(good)), 4),
        "own share >= 0.8": round(float((good >= 0.8).mean()), 4),
        "other windows": len(other),
        "other median score": round(float(np.median(bad)), 4),
        "other share <= 0.4": round(float((bad <= 0.4).mean()), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--offsets", type=Path, help="JSON of training/sync_realign.py")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    state, info = weights.load("syncnet_fcn")
    network = SyncNetFCN().eval()
    network.load_state_dict(state)
    delays = json.loads(arguments.offsets.read_text()) if arguments.offsets else {}
    clips = load_clips(arguments.features, arguments.manifest, delays=delays)
    _, held = split(clips)
    own, other = figures([clip for clip in held if len(clip) >= SHORTEST], network)
    scale = fit(own, other)
    stored = {
        "scale": asdict(scale),
        "fitted": {"sha256": info.sha256, **report(scale, own, other)},
    }
    target = weights.BUNDLED_DIR / "syncnet_fcn.json"
    target.write_text(json.dumps(stored, indent=2) + "\n")
    print(target.read_text())


if __name__ == "__main__":
    main()
