"""Which networks answer: chosen by profile from what is there, without loading anything; and what
may be chosen about them."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Literal

from syncnet_python import weights

Profile = Literal["auto", "bundled", "published"]
Network = Literal["original", "fcn"]
"""Sync networks by the names people have for them: SyncNet v2, and FCN-SyncNet."""

LARGEST_SCALE = 4.0
WIDEST_VSHIFT = 250
"""Frames, ten seconds."""


class OptionRefused(ValueError):
    """An option has a value that nothing can have, or does not apply to the chosen networks.

    option: its keyword; reason: the rest of the sentence.
    """

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(option, reason)
        self.option, self.reason = option, reason

    def __str__(self) -> str:
        return f"{self.option} {self.reason}"


@dataclass(frozen=True, slots=True)
class Choice:
    """Registry names of the networks that work together. landmarks: only where the sync network
    looks at them."""

    face_detector: str
    sync: str
    classifier: str
    landmarks: str | None = None

    @property
    def for_sync(self) -> tuple[str, ...]:
        """What lip-sync cannot be scored without."""
        names = (self.face_detector, self.landmarks, self.sync)
        return tuple(name for name in names if name is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """All that may answer."""
        return (*self.for_sync, self.classifier)


BUNDLED = Choice("face_finder", "syncnet_fcn", "efficientnet_b0", "face_landmarks")
PUBLISHED = Choice("s3fd", "syncnet_v2", "deepfakedetector_b0_v3")


@dataclass(frozen=True, slots=True)
class Options:
    """What the reference's scripts let their callers choose; None leaves it as it is.

    facedet_scale: factor on frames before S3FD searches them, above 0 (0.25); crop_scale: how much
    of the face box is added around it in SyncNet v2's crops, 0 or more (0.4); vshift: frames of
    offset searched on either side, 1 or more (15). Raises OptionRefused for other values.
    """

    facedet_scale: float | None = None
    crop_scale: float | None = None
    vshift: int | None = None

    def __post_init__(self) -> None:
        scale, margin, vshift = astuple(self)
        if scale is not None and not 0 < scale <= LARGEST_SCALE:
            raise OptionRefused("facedet_scale", f"must be above 0 and at most {LARGEST_SCALE:g}")
        if margin is not None and not 0 <= margin <= LARGEST_SCALE:
            raise OptionRefused("crop_scale", f"must be between 0 and {LARGEST_SCALE:g}")
        if vshift is not None and not 1 <= vshift <= WIDEST_VSHIFT:
            raise OptionRefused("vshift", f"must be between 1 and {WIDEST_VSHIFT}")

    def check(self, choice: Choice) -> None:
        """Raises OptionRefused for an option of other networks than the chosen ones."""
        if self.facedet_scale is not None and choice.face_detector != PUBLISHED.face_detector:
            raise OptionRefused(
                "facedet_scale", f"is for S3FD, but {choice.face_detector} finds the faces"
            )
        if self.crop_scale is not None and choice.sync != PUBLISHED.sync:
            raise OptionRefused(
                "crop_scale", f"is for SyncNet v2, but {choice.sync} crops the mouth by landmarks"
            )


def choose(
    profile: Profile,
    models_dir: Path | None = None,
    paths: Mapping[str, Path] | None = None,
    network: Network | None = None,
) -> Choice:
    """Names for a profile. models_dir, paths: where weights may lie, as for `weights.locate`.

    "auto" takes SyncNet v2 where both it and the S3FD that its figures rest on are there, and the
    published classifier where that is there; else the bundled ones.
    network: the sync network, whatever the profile says, there or not. "original" brings S3FD with
    it; "fcn" brings the bundled finder, unless the profile is "published".
    """
    choice = _of_profile(profile, models_dir, paths)
    if network is None:
        return choice
    sync = PUBLISHED if network == "original" else BUNDLED
    detector = PUBLISHED if profile == "published" else sync
    return replace(sync, face_detector=detector.face_detector, classifier=choice.classifier)


def _of_profile(
    profile: Profile, models_dir: Path | None, paths: Mapping[str, Path] | None
) -> Choice:
    if profile != "auto":
        return BUNDLED if profile == "bundled" else PUBLISHED

    def there(*names: str) -> bool:
        given = paths or {}
        return all(weights.locate(name, models_dir, given.get(name)) for name in names)

    sync = PUBLISHED if there(*PUBLISHED.for_sync) else BUNDLED
    classifier = PUBLISHED if there(PUBLISHED.classifier) else BUNDLED
    return replace(sync, classifier=classifier.classifier)
