"""An operator's calibration: what scores mean on the cameras and microphones in use.

One JSON file says how late that set-up's sound always is, how raw scores map to a probability of
genuine, and from where on a recording is let through. It belongs to the networks that it was
fitted for, named by the hashes of their weights, and is refused beside others.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Protocol

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from syncnet_python import scale as scales
from syncnet_python.errors import CalibrationMismatch, CalibrationUnusable
from syncnet_python.results import ArtifactResult, CalibrationInfo, SyncResult
from syncnet_python.scale import Figures, Scale
from syncnet_python.score_maps import ScoreMap
from syncnet_python.weights import entry

MAX_BYTES = 1 << 20
"""Largest file that is read as a calibration; one has a few thousand bytes."""

_SHARE_ERROR = 1e-6  # of shares that people write as decimal fractions

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Map = Annotated[ScoreMap, Field(discriminator="kind")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Lowest combined scores (0-1) of each answer; 0 <= next <= real <= allow <= 1.

    allow: decision ALLOW and risk LOW from here; real: likely real above it, risk MEDIUM from
    here; next: decision NEXT and risk HIGH from here, below it BLOCK and CRITICAL.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    allow: float = 0.8
    real: float = 0.6
    next: float = 0.4

    def __post_init__(self) -> None:
        if not 0 <= self.next <= self.real <= self.allow <= 1:
            raise ValueError("thresholds are out of order: not 0 <= next <= real <= allow <= 1")


@dataclass(frozen=True, slots=True)
class Fit:
    """How a calibration was fitted, for people; nothing is computed from it.

    genuine, fake: recordings learnt from; groups: people, or whatever recordings were kept
    together by; false_reject: the share of genuine recordings not let through that was asked for;
    capture_interval: 95% interval of the capture offset, frames, None where none is claimed;
    figures: how good it is, by name; notes: what it cannot tell, in sentences.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    genuine: int
    fake: int
    groups: int
    false_reject: float
    capture_interval: tuple[float, float] | None
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was learnt about one set-up.

    name: the operator's own; made: the day; networks: SHA-256 of the weights it was fitted for,
    by registry name; capture_offset: frames that the set-up always adds, sign as
    `results.SyncResult.offset_frames`; sync_map, artifact_map: raw score to probability of
    genuine; weights: shares of the parts that the thresholds were fitted with;
    sha256: of the file it was read from, empty for one that was not read.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,128}$")]
    made: date
    networks: Mapping[str, Sha256]
    capture_offset: Annotated[float, Field(ge=-50, le=50)]
    sync_map: Map
    artifact_map: Map
    thresholds: Thresholds
    weights: Mapping[str, Annotated[float, Field(ge=0, le=1)]]
    fitted: Fit
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.networks:
            raise ValueError("no networks are named that it was fitted for")
        if set(self.weights) != {"syncnet", "efficientnet"}:
            raise ValueError("weights are not those of syncnet and efficientnet")
        if abs(sum(self.weights.values()) - 1) > _SHARE_ERROR:
            raise ValueError("weights do not add up to 1")

    @property
    def info(self) -> CalibrationInfo:
        """What every answer says about it."""
        return CalibrationInfo(
            self.name, self.sha256, self.made.isoformat(), float(self.capture_offset)
        )


@dataclass(frozen=True, slots=True)
class _File:
    """The file: what it is and in which version, then the calibration."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    version: Literal[1]
    calibration: Calibration
    format: Literal["syncnet-service calibration"] = "syncnet-service calibration"


_FILE = TypeAdapter(_File)


def load(path: Path) -> Calibration:
    """Read and check a calibration file. Raises CalibrationUnusable, in one line."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CalibrationUnusable(f"{path.name} is too large for a calibration")
        content = path.read_bytes()
        calibration = _FILE.validate_json(content, strict=True).calibration
    except OSError as error:
        raise CalibrationUnusable(f"{path.name} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        message = f"{path.name} is no calibration: {where + ': ' if where else ''}{reason}"
        raise CalibrationUnusable(" ".join(message.split())) from error
    return replace(calibration, sha256=hashlib.sha256(content).hexdigest())


def save(calibration: Calibration, path: Path) -> Calibration:
    """Write the file, whole or not at all, and return the calibration as `load` would."""
    document = asdict(_File(1, calibration))
    del document["calibration"]["sha256"]
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps(document, indent=2, default=date.isoformat) + "\n")
    loaded = load(draft)
    draft.replace(path)
    return loaded


def check(
    calibration: Calibration, networks: Mapping[str, str], weights: Mapping[str, float]
) -> None:
    """Refuse a calibration of other networks or other shares than those that answer.

    networks: SHA-256 by registry name. Raises CalibrationMismatch.
    """
    for name, sha256 in networks.items():
        fitted = calibration.networks.get(name)
        if fitted is None:
            known = ", ".join(calibration.networks)
            raise CalibrationMismatch(
                f"calibration {calibration.name!r} was fitted for {known}, but {name} answers"
            )
        if fitted != sha256:
            raise CalibrationMismatch(
                f"calibration {calibration.name!r} was fitted for {name} {fitted[:12]}, "
                f"but {sha256[:12]} answers"
            )
    for name, share in weights.items():
        if abs(calibration.weights[name] - share) > _SHARE_ERROR:
            raise CalibrationMismatch(
                f"calibration {calibration.name!r} was fitted with {name} weighing "
                f"{calibration.weights[name]:g}, not {share:g}"
            )


def check_registered(
    calibration: Calibration, names: Iterable[str], weights: Mapping[str, float]
) -> None:
    """`check` before anything is loaded, by the hashes in the registry; what has none there is
    left for later. names: of the networks that are to answer. Raises CalibrationMismatch."""
    known = {name: entry(name).sha256 for name in names}
    check(calibration, {name: sha for name, sha in known.items() if sha is not None}, weights)


def corrected_offset(subframe_offset: float, capture_offset: float) -> int:
    """The offset that is left once the set-up's own is taken off, in whole frames.

    Rounded after the difference, not before: what is left below half a frame is the error of
    measuring, and the score without a calibration counts whole frames too. Half a frame falls to
    the side of zero.
    """
    left = round(subframe_offset - capture_offset, 6)  # 3.4 - 2.9 is half a frame, not more
    return math.floor(left + 0.5) if left < 0 else math.ceil(left - 0.5)


def of_sync(calibration: Calibration, sync: SyncResult, scale: Scale) -> SyncResult:
    """The result with its score calibrated; the measured offsets stay as they are."""
    raw = lag_free_score(sync, scale, calibration.capture_offset)
    return replace(sync, score=calibration.sync_map(raw))


class LaggedFigures(Figures, Protocol):
    """What one comparison gave, with its offset between whole frames."""

    @property
    def subframe_offset(self) -> float: ...


def lag_free_score(found: LaggedFigures, scale: Scale, capture_offset: float) -> float:
    """The raw score as it would be had the set-up no capture offset: what `sync_map` takes."""
    left = corrected_offset(found.subframe_offset, capture_offset)
    return scales.as_recorded(scale, found, left)


def of_artifact(calibration: Calibration, artifact: ArtifactResult) -> ArtifactResult:
    """The result with its score calibrated; the scores of single frames stay as they are."""
    score = calibration.artifact_map(artifact.raw_score)
    return replace(artifact, score=score, is_real=score > 0.5, confidence=abs(2 * score - 1))
