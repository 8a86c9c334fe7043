"""Which networks answer: chosen by profile from what is there, without loading anything."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from syncnet_python import weights

Profile = Literal["auto", "bundled", "published"]


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


def choose(
    profile: Profile, models_dir: Path | None = None, paths: Mapping[str, Path] | None = None
) -> Choice:
    """Names for a profile. models_dir, paths: where weights may lie, as for `weights.locate`.

    "auto" takes SyncNet v2 where both it and the S3FD that its figures rest on are there, and the
    published classifier where that is there; else the bundled ones.
    """
    if profile != "auto":
        return BUNDLED if profile == "bundled" else PUBLISHED

    def there(*names: str) -> bool:
        given = paths or {}
        return all(weights.locate(name, models_dir, given.get(name)) for name in names)

    sync = PUBLISHED if there(*PUBLISHED.for_sync) else BUNDLED
    classifier = PUBLISHED if there(PUBLISHED.classifier) else BUNDLED
    return replace(sync, classifier=classifier.classifier)
