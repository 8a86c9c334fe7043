"""Which chunks of a recording are good enough to be kept, as training material for instance. Pure.

The figures of the presets are those that people use with SyncNet v2, and on its scale. Another
network's confidence has another unit, so a threshold is carried over by what it says: it is the
confidence at which that network's `scale.Scale` believes in the match as firmly as SyncNet v2's
does at the preset's figure,

    (confidence - mid) / width  =  (preset's confidence - 2) / 2.

For the bundled FCN-SyncNet, 6, 4, 2.5 and 1.5 become about 0.342, 0.294, 0.258 and 0.234. Offsets
are frames with every network and stay as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from syncnet_python.scale import SYNCNET_V2, Scale

PresetName = Literal["strict", "high", "medium", "relaxed", "none"]


@dataclass(frozen=True, slots=True)
class Preset:
    """confidence: at least, on SyncNet v2's scale; offset: frames either way, at most. None sets
    no bound."""

    name: PresetName
    confidence: float | None
    offset: int | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """kept: whether a chunk stays; reasons: why not, a sentence for each bound that it misses."""

    kept: bool
    reasons: tuple[str, ...] = ()


PRESETS: Mapping[PresetName, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset("strict", 6.0, 2),
            Preset("high", 4.0, 5),
            Preset("medium", 2.5, 8),
            Preset("relaxed", 1.5, 12),
            Preset("none", None, None),
        )
    }
)


def least_confidence(preset: Preset, scale: Scale) -> float | None:
    """The preset's confidence on the scale of the network that answers; None for no bound."""
    if preset.confidence is None:
        return None
    firmness = (preset.confidence - SYNCNET_V2.confidence_mid) / SYNCNET_V2.confidence_width
    return scale.confidence_mid + firmness * scale.confidence_width


def judge(preset: Preset, scale: Scale, offset_frames: int, confidence: float) -> Judgement:
    """Whether what was measured of a chunk is good enough.

    scale: of the network; offset_frames, confidence: as in `results.SyncResult`. Bounds themselves
    are good enough.
    """
    reasons = []
    least = least_confidence(preset, scale)
    if least is not None and confidence < least:
        reasons.append(f"confidence {confidence:.3f} is below {least:.3f}")
    if preset.offset is not None and abs(offset_frames) > preset.offset:
        reasons.append(f"offset {offset_frames:+d} is beyond {preset.offset} frames")
    return Judgement(not reasons, tuple(reasons))
