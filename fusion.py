"""Scores to a verdict: combined score, risk level, decision, reason codes. Pure functions.

Nothing is made up here: a part that was not measured has no share in the combined score, and its
absence makes the verdict inconclusive, with a decision of at best NEXT. The same holds for lips and
voice that cannot be compared. An offset that jumps is no doubt but a finding: it forbids ALLOW.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from syncnet_python.calibration import Thresholds, corrected_offset
from syncnet_python.results import (
    ArtifactResult,
    Decision,
    Missing,
    Quality,
    Risk,
    SyncResult,
)
from syncnet_python.scale import Scale

DEFAULT_WEIGHTS: Mapping[str, float] = {"syncnet": 0.4, "efficientnet": 0.6}

DEFAULT_THRESHOLDS = Thresholds()

# Below these a recording is poor enough to say so: grey levels, Laplacian variance, pixels, dB.
DARK_BELOW = 50.0
BLURRED_BELOW = 15.0
SMALL_FACE_BELOW = 80.0
NOISY_BELOW_DB = 10.0


@dataclass(frozen=True, slots=True)
class Fused:
    """The part of `results.Verdict` that follows from the scores."""

    combined_score: float | None
    risk_level: Risk | None
    is_likely_real: bool | None
    decision: Decision
    reason_codes: tuple[str, ...]
    inconclusive: bool
    weights: Mapping[str, float]


def shares(present: Collection[str], weights: Mapping[str, float]) -> dict[str, float]:
    """What each part counts for in the combined score: 0 where it is absent, 1 in all.

    weights: non-negative, by name. Where all present parts weigh nothing, they count alike;
    without any part, nothing counts.
    """
    total = sum(weights[name] for name in present)
    if total <= 0:
        return {name: (name in present) / max(len(present), 1) for name in weights}
    return {name: weight * (name in present) / total for name, weight in weights.items()}


def combine(scores: Mapping[str, float], weights: Mapping[str, float]) -> float | None:
    """Mean of the scores that there are (each 0-1), weighted by `shares`; None without any."""
    if not scores:
        return None
    counted = shares(scores, weights)
    return sum(counted[name] * score for name, score in scores.items())


def fuse(
    sync: SyncResult | None,
    artifact: ArtifactResult | None,
    *,
    scale: Scale | None,
    quality: Quality | None = None,
    missing: tuple[Missing, ...] = (),
    weights: Mapping[str, float] = DEFAULT_WEIGHTS,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    capture_offset: float = 0.0,
) -> Fused:
    """The verdict on what was measured.

    scale: levels of the sync network that answered; needed where `sync` is given.
    capture_offset: frames that the set-up always adds, which are held against nobody.
    Of a sync part with doubts nothing counts but the doubts.
    """
    doubts = sync.doubts if sync is not None else ()
    comparable = sync if not doubts else None
    parts = {"syncnet": comparable, "efficientnet": artifact}
    scores = {name: part.score for name, part in parts.items() if part is not None}
    combined = combine(scores, weights)
    inconclusive = combined is None or bool(missing) or bool(doubts)
    spliced = comparable is not None and bool(comparable.changes)
    risk, decision = _answer(combined, thresholds)
    if (inconclusive or spliced) and decision == "ALLOW":
        decision = "NEXT"
    if spliced and risk == "LOW":
        risk = "MEDIUM"
    reasons = [*(f"MISSING_{part.part.upper()}" for part in missing), *doubts]
    if comparable is not None and scale is not None:
        reasons += sync_reasons(comparable, scale, capture_offset)
    if artifact is not None:
        reasons += artifact_reasons(artifact)
    if quality is not None:
        reasons += quality_reasons(quality)
    if inconclusive:
        reasons.append("INCONCLUSIVE")
    return Fused(
        combined_score=combined,
        risk_level=risk,
        is_likely_real=None if combined is None else combined > thresholds.real,
        decision=decision,
        reason_codes=(*reasons, f"DECISION_{decision}"),
        inconclusive=inconclusive,
        weights=shares(scores, weights),
    )


def _answer(combined: float | None, thresholds: Thresholds) -> tuple[Risk | None, Decision]:
    """Risk and decision by the score alone."""
    if combined is None:
        return None, "NEXT"
    if combined >= thresholds.allow:
        return "LOW", "ALLOW"
    if combined >= thresholds.next:
        return "MEDIUM" if combined >= thresholds.real else "HIGH", "NEXT"
    return "CRITICAL", "BLOCK"


def sync_reasons(sync: SyncResult, scale: Scale, capture_offset: float = 0.0) -> list[str]:
    """How score, offset, confidence and distance read, in that order, and whether the offset
    jumps. capture_offset: as in `fuse`."""
    low_distance, high_distance = scale.distance_levels
    medium_confidence, high_confidence = scale.confidence_levels
    offset = corrected_offset(sync.subframe_offset, capture_offset)
    reasons = [
        f"{_rising(sync.score, 0.75, 0.90)}_SYNC_SCORE",
        f"{_falling(abs(offset), 2, 5)}_OFFSET",
        f"{_rising(sync.confidence, medium_confidence, high_confidence)}_CONFIDENCE",
        f"{_falling(sync.min_dist, low_distance, high_distance)}_DISTANCE",
    ]
    if sync.changes:
        reasons.append("OFFSET_CHANGES")
    return reasons


def artifact_reasons(artifact: ArtifactResult) -> list[str]:
    """What the face classifier says, where it says anything."""
    reasons = []
    if artifact.score < 0.4:
        reasons.append("ARTIFACTS_LIKELY")
    elif artifact.score < 0.6:
        reasons.append("ARTIFACTS_UNDECIDED")
    else:
        reasons.append("NO_ARTIFACTS")
    if artifact.consistency < 0.5:
        reasons.append("ARTIFACTS_VARY")
    return reasons


def quality_reasons(quality: Quality) -> list[str]:
    """What about the recording itself makes the verdict less sure."""
    codes = {
        "DARK_FACE": quality.brightness < DARK_BELOW,
        "BLURRED_FACE": quality.sharpness < BLURRED_BELOW,
        "SMALL_FACE": quality.face_size < SMALL_FACE_BELOW,
        "NOISY_SOUND": quality.snr_db is not None and quality.snr_db < NOISY_BELOW_DB,
    }
    return [code for code, holds in codes.items() if holds]


def _rising(value: float, medium: float, high: float) -> str:
    return "HIGH" if value >= high else "MEDIUM" if value >= medium else "LOW"


def _falling(value: float, low: float, medium: float) -> str:
    return "LOW" if value <= low else "MEDIUM" if value <= medium else "HIGH"
