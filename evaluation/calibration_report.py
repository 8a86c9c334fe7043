"""What a calibration is worth and what it cannot tell: figures, notes, and rows for people."""

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation import statistics
from evaluation.calibration_fit import CaptureOffset, FittedMap, Floats, Labels
from syncnet_python.calibration import Calibration, Thresholds
from syncnet_python.results import FRAME_MS
from syncnet_python.score_maps import Identity, Isotonic, Linear, Platt, ScoreMap

ENOUGH = 20
"""Genuine recordings under which the false-reject rate is hardly known."""

LOW_ALLOW = 0.6
"""A threshold for ALLOW under this, the default for "likely real", is worth a warning."""


def quality(maps: Mapping[str, FittedMap]) -> dict[str, float]:
    """How well each map does on recordings that it was not fitted on."""
    figures = {}
    for part, fitted in maps.items():
        if fitted.log_loss is not None:
            figures[f"{part}_log_loss"] = round(fitted.log_loss, 4)
        if fitted.reliability_error is not None:
            figures[f"{part}_reliability_error"] = round(fitted.reliability_error, 4)
    return figures


def rates(
    combined: Floats, genuine: Labels, groups: Sequence[str], chosen: Thresholds
) -> dict[str, float]:
    """What becomes of the recordings at the thresholds, with 95% intervals over groups."""
    figures: dict[str, float] = {}
    names = np.asarray(groups)
    asked = {
        "genuine_not_allowed": (genuine, combined < chosen.allow),
        "genuine_blocked": (genuine, combined < chosen.next),
        "fake_allowed": (~genuine, combined >= chosen.allow),
        "fake_not_blocked": (~genuine, combined >= chosen.next),
    }
    for what, (side, hit) in asked.items():
        if found := statistics.share(hit[side].tolist(), names[side].tolist()):
            figures[what] = round(found.value, 4)
            figures[f"{what}_low"] = round(found.low or 0.0, 4)
            figures[f"{what}_high"] = round(1.0 if found.high is None else found.high, 4)
    if not genuine.all():
        figures["combined_auc"] = round(statistics.auc(combined, genuine), 4)
    return figures


def notes(
    genuine: Labels,
    lag: CaptureOffset,
    sync: FittedMap,
    artifact: FittedMap,
    chosen: Thresholds,
    false_reject: float,
) -> list[str]:
    """What these recordings cannot tell."""
    real = int(genuine.sum())
    said = [f"no capture offset is claimed: {lag.why_not}"] if lag.why_not else []
    if genuine.all():
        said.append(
            "learnt from genuine recordings alone: the capture offset and the false-reject rate "
            "are known, but not how fakes score here; scores were raised so that an ordinary "
            "recording has at least 0.9, they are no probabilities, and no false-accept rate "
            "is known"
        )
    said += [
        f"{part} score: {fitted.note}"
        for part, fitted in (("the lip-sync", sync), ("the artifact", artifact))
        if fitted.note
    ]
    if real < ENOUGH:
        said.append(
            f"only {real} genuine recordings: the false-reject rate is hardly known "
            f"(see its interval); give {ENOUGH} or more"
        )
    if false_reject * (real + 1) < 1:
        said.append(
            f"{real} genuine recordings cannot show a false-reject rate under "
            f"{1 / (real + 1):.1%}; {false_reject:.1%} takes "
            f"{int(np.ceil(1 / false_reject)) - 1} of them"
        )
    if chosen.allow < LOW_ALLOW:
        said.append(
            f"to let so many genuine recordings through, ALLOW begins at {chosen.allow:.2f}: "
            "look at what fakes score before you rely on it"
        )
    return said


def summary(learnt: Calibration) -> list[tuple[str, str]]:
    """What was learnt and how good it is, in rows for people."""
    fitted, figures = learnt.fitted, learnt.fitted.figures
    rows = [
        ("recordings", f"{fitted.genuine} genuine, {fitted.fake} fake, {fitted.groups} people"),
        ("capture offset", _lag_text(learnt)),
        ("lip-sync map", _map_text(learnt.sync_map)),
        ("artifact map", _map_text(learnt.artifact_map)),
    ]
    for part, title in (("sync", "lip-sync"), ("artifact", "artifact")):
        if f"{part}_log_loss" in figures:
            error = figures.get(f"{part}_reliability_error")
            said = f"log loss {figures[f'{part}_log_loss']:.3f} (a coin's is 0.693)"
            said += "" if error is None else f", reliability error {error:.3f}"
            rows.append((f"{title} map, cross-validated", said))
    cuts = learnt.thresholds
    rows.append(
        ("thresholds", f"ALLOW {cuts.allow:.3f}, real {cuts.real:.3f}, NEXT {cuts.next:.3f}")
    )
    titles = {
        "genuine_not_allowed": f"genuine not allowed (asked: {fitted.false_reject:.1%} at most)",
        "genuine_blocked": "genuine blocked",
        "fake_allowed": "fakes allowed",
        "fake_not_blocked": "fakes not blocked",
    }
    for key, title in titles.items():
        if key in figures:
            low, high = figures[f"{key}_low"], figures[f"{key}_high"]
            rows.append((title, f"{figures[key]:.1%} ({low:.1%} to {high:.1%})"))
    if "combined_auc" in figures:
        rows.append(("combined score, genuine against fake", f"AUC {figures['combined_auc']:.3f}"))
    return rows


def _lag_text(learnt: Calibration) -> str:
    if learnt.fitted.capture_interval is None:
        return "none claimed"
    low, high = learnt.fitted.capture_interval
    return (
        f"{learnt.capture_offset:+.2f} frames ({low:+.1f} to {high:+.1f}), "
        f"{learnt.capture_offset * FRAME_MS:+.0f} ms"
    )


def _map_text(fitted: ScoreMap) -> str:
    match fitted:
        case Linear():
            return (
                f"linear: {fitted.reference:.3f} + {fitted.scale:.3f} * "
                f"(score - {fitted.baseline:.3f})"
            )
        case Platt():
            return f"Platt: slope {fitted.slope:.2f}, intercept {fitted.intercept:+.2f}"
        case Isotonic():
            return f"isotonic: {len(fitted.raw)} knots"
        case Identity():
            return "the score as it is"
