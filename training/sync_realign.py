"""Find training clips whose sound is not where it should be, and by how much.

    python -m training.sync_realign --features DIR --manifest CSV --checkpoint FILE --out JSON

Dubbed or badly cut clips teach the wrong thing. A first network, trained on everything, compares
each clip's picture with its sound; where another offset of two frames or more clearly wins, it is
written down, and `training/sync.py --offsets` moves the sound, or leaves the clip out where it is
further off than `LARGEST`.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from syncnet_python.networks.syncnet_fcn import SyncNetFCN
from training.sync import REACH, curve, embed
from training.sync_data import Clip, load_clips

LARGEST = 6
"""Frames that the sound is moved, at most."""

_CUT = 4  # frames that picture and sound are cut apart, so that their ends cannot be matched
_MARGIN = 0.1  # similarity, for a clip of 50 frames, by which the other offset must win


def delay(network: SyncNetFCN, clip: Clip) -> int:
    """How many frames late the sound is (negative: early); 0 where nothing clearly says else."""
    total: NDArray[np.float64] = np.zeros(2 * REACH + 1)
    for cut in (-_CUT, _CUT):
        window = clip.cut(max(0, -cut), len(clip) - _CUT, cut)
        lips, voice = embed(network, [window])
        total += np.roll(curve(lips[0], voice[0]), cut) / 2
    reliable = total[_CUT:-_CUT]  # what was not rolled over the ends
    middle = len(reliable) // 2
    best = int(reliable.argmax())
    margin = reliable[best] - reliable[middle]
    if abs(best - middle) < 2 or margin < _MARGIN * (50 / len(clip)) ** 0.5:
        return 0
    return best - middle


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = SyncNetFCN().eval()
    network.load_state_dict(torch.load(arguments.checkpoint, weights_only=True)["average"])
    clips = load_clips(arguments.features, arguments.manifest)
    late = {clip.name: delay(network, clip) for clip in clips}
    found = {
        name: frames if abs(frames) <= LARGEST else None for name, frames in late.items() if frames
    }
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    origins = Counter(clip.origin for clip in clips if clip.name in found)
    print(f"{len(found)} of {len(clips)} clips are off: {dict(origins)}")


if __name__ == "__main__":
    main()
