"""What a sync network's figures mean: (confidence, min_dist, offset) to a score of 0-1.

SyncNet v2's scale follows from the interpretation its authors give; every other network has a
file of its own beside its weights, fitted so that the score means the same.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from syncnet_python.errors import WeightsMissing
from syncnet_python.results import OffsetCurve
from syncnet_python.weights import BUNDLED_DIR


@dataclass(frozen=True, slots=True)
class Scale:
    """How the figures of one network spread.

    confidence_mid: confidence that is as likely of a match as of none; confidence_width: how
    quickly the belief rises around it. distance_low: min_dist of a good match, full marks up to
    there; distance_span: how much more makes no match at all.
    For reason codes, each ascending: confidence_levels, from which confidence is MEDIUM and HIGH;
    distance_levels, up to which min_dist is LOW and MEDIUM.
    slack: frames that voice and lips may be apart and still be called together, because people
    hardly notice it (ITU-R BT.1359: 90 ms early, 185 ms late is acceptable); the score looks no
    farther for the match. None: wherever it is, as SyncNet's figures are read.
    """

    confidence_mid: float
    confidence_width: float
    distance_low: float
    distance_span: float
    confidence_levels: tuple[float, float]
    distance_levels: tuple[float, float]
    slack: int | None = None


class Figures(Protocol):
    """What one comparison of lips and voice gave; see `results.SyncResult`."""

    @property
    def offset_frames(self) -> int: ...
    @property
    def confidence(self) -> float: ...
    @property
    def min_dist(self) -> float: ...
    @property
    def curve(self) -> OffsetCurve: ...


SYNCNET_V2 = Scale(
    confidence_mid=2.0,
    confidence_width=2.0,
    distance_low=5.0,
    distance_span=10.0,
    confidence_levels=(7.0, 10.0),
    distance_levels=(5.0, 7.0),
)


def score(scale: Scale, confidence: float, min_dist: float, offset: float) -> float:
    """How well voice and lips belong together, 0-1.

    confidence, min_dist: as in `results.SyncResult`, of the network that `scale` describes;
    offset: frames, of which parts count too.
    """
    belief = 1 / (
        1 + math.exp(-_clip((confidence - scale.confidence_mid) / scale.confidence_width, -60, 60))
    )
    closeness = 1 - _clip((min_dist - scale.distance_low) / scale.distance_span, 0, 1)
    return 0.5 * belief + 0.3 * closeness + 0.2 * math.exp(-abs(offset) / 10)


def as_recorded(scale: Scale, found: Figures, left: int | None = None) -> float:
    """How well voice and lips belong together as they were recorded, 0-1.

    left: frames of the offset that the recording set-up does not explain; all of it by default.
    """
    left = found.offset_frames if left is None else left
    if scale.slack is None:
        return score(scale, found.confidence, found.min_dist, left)
    lag, curve = found.offset_frames - left, found.curve
    near = [
        distance
        for at, distance in zip(curve.offsets, curve.distances, strict=True)
        if abs(at - lag) <= scale.slack
    ]
    distance = min(near, default=found.min_dist)
    return score(scale, found.confidence + found.min_dist - distance, distance, left)


def named(network: str) -> Scale:
    """The scale of a sync network by its registry name. Raises WeightsMissing as `load`."""
    return SYNCNET_V2 if network == "syncnet_v2" else load(network)


def load(name: str, folder: Path = BUNDLED_DIR) -> Scale:
    """The scale of the bundled network `name`, from `<name>.json` in the models folder.

    Raises WeightsMissing where the file is absent or holds no scale.
    """
    path = folder / f"{name}.json"
    try:
        stored = json.loads(path.read_text())["scale"]
        for key in ("confidence_levels", "distance_levels"):
            low, high = stored[key]
            stored[key] = (float(low), float(high))
        return Scale(**stored)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsMissing(f"the scale of {name} cannot be read: {path.name}") from error


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
