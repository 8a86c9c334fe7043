import pytest
from hypothesis import given
from hypothesis import strategies as st

import fusion
from syncnet_python.calibration import SYNCNET_V2
from syncnet_python.results import (
    ArtifactResult,
    Missing,
    OffsetCurve,
    Quality,
    Statistics,
    SyncResult,
)

unit = st.floats(0, 1)
GOOD = Quality(brightness=120, sharpness=200, face_size=200, snr_db=30)


def sync(
    score: float, *, offset: int = 0, confidence: float = 8.0, min_dist: float = 6.0
) -> SyncResult:
    return SyncResult(
        score=score,
        offset_frames=offset,
        lag_ms=40 * offset,
        confidence=confidence,
        min_dist=min_dist,
        protocol="test",
        network="test",
        num_windows=90,
        curve=OffsetCurve((0,), (min_dist,)),
        framewise_confidence=(),
        tracks=(),
    )


def artifact(score: float, *, consistency: float = 1.0) -> ArtifactResult:
    return ArtifactResult(
        is_real=score > 0.5,
        score=score,
        confidence=max(score, 1 - score),
        consistency=consistency,
        num_frames=1,
        frame_scores=(score,),
        frame_times=(0.0,),
        statistics=Statistics(score, 0.0, score, score),
    )


LATE = Missing("efficientnet", "timeout", "time ran out", "send less")


@given(unit, unit)
def test_the_combined_score_is_the_weighted_mean(a: float, b: float) -> None:
    fused = fusion.fuse(sync(a), artifact(b), scale=SYNCNET_V2)
    assert fused.combined_score == pytest.approx(0.4 * a + 0.6 * b)
    assert not fused.inconclusive


@given(unit, unit)
def test_verdicts_follow_the_score_and_never_contradict_each_other(a: float, b: float) -> None:
    fused = fusion.fuse(sync(a), artifact(b), scale=SYNCNET_V2)
    score = fused.combined_score
    assert score is not None
    assert 0 <= score <= 1
    assert (fused.decision == "ALLOW") == (fused.risk_level == "LOW") == (score >= 0.8)
    assert (fused.decision == "BLOCK") == (fused.risk_level == "CRITICAL") == (score < 0.4)
    assert fused.is_likely_real == (score > 0.6)
    assert fused.reason_codes[-1] == f"DECISION_{fused.decision}"


@pytest.mark.parametrize(
    ("score", "risk", "decision"),
    [
        (0.8, "LOW", "ALLOW"),
        (0.79, "MEDIUM", "NEXT"),
        (0.6, "MEDIUM", "NEXT"),
        (0.59, "HIGH", "NEXT"),
        (0.4, "HIGH", "NEXT"),
        (0.39, "CRITICAL", "BLOCK"),
    ],
)
def test_thresholds_belong_to_the_better_side(score: float, risk: str, decision: str) -> None:
    fused = fusion.fuse(sync(score), artifact(score), scale=SYNCNET_V2)
    assert (fused.risk_level, fused.decision) == (risk, decision)


@given(unit)
def test_a_missing_part_has_no_share_and_forbids_allow(a: float) -> None:
    fused = fusion.fuse(sync(a), None, scale=SYNCNET_V2, missing=(LATE,))
    assert fused.combined_score == pytest.approx(a)
    assert fused.inconclusive
    assert fused.decision in {"NEXT", "BLOCK"}
    assert "MISSING_EFFICIENTNET" in fused.reason_codes
    assert "INCONCLUSIVE" in fused.reason_codes


def test_without_any_part_there_is_no_score_at_all() -> None:
    fused = fusion.fuse(None, None, scale=None, missing=(LATE,))
    assert fused.combined_score is None
    assert fused.risk_level is None
    assert fused.is_likely_real is None
    assert fused.decision == "NEXT"
    assert fused.inconclusive


def test_shares_are_what_the_score_was_made_with() -> None:
    both = {"syncnet": 0.4, "efficientnet": 0.6}
    assert fusion.shares(both, both) == both
    assert fusion.shares({"syncnet"}, both) == {"syncnet": 1.0, "efficientnet": 0.0}
    assert fusion.shares({"syncnet"}, {"syncnet": 0.0, "efficientnet": 1.0}) == {
        "syncnet": 1.0,
        "efficientnet": 0.0,
    }
    assert fusion.shares(set(), both) == {"syncnet": 0.0, "efficientnet": 0.0}


def test_parts_that_weigh_nothing_still_count_when_they_are_all_there_is() -> None:
    assert fusion.combine({"syncnet": 0.7}, {"syncnet": 0.0, "efficientnet": 1.0}) == 0.7


def test_reason_codes_of_syncnet_v2_follow_its_published_levels() -> None:
    best = fusion.sync_reasons(sync(0.95, offset=-2, confidence=10, min_dist=5), SYNCNET_V2)
    middle = fusion.sync_reasons(sync(0.75, offset=5, confidence=7, min_dist=7), SYNCNET_V2)
    worst = fusion.sync_reasons(sync(0.2, offset=-6, confidence=6.9, min_dist=7.1), SYNCNET_V2)
    assert best == ["HIGH_SYNC_SCORE", "LOW_OFFSET", "HIGH_CONFIDENCE", "LOW_DISTANCE"]
    assert middle == ["MEDIUM_SYNC_SCORE", "MEDIUM_OFFSET", "MEDIUM_CONFIDENCE", "MEDIUM_DISTANCE"]
    assert worst == ["LOW_SYNC_SCORE", "HIGH_OFFSET", "LOW_CONFIDENCE", "HIGH_DISTANCE"]


def test_artifacts_and_poor_quality_speak() -> None:
    assert fusion.artifact_reasons(artifact(0.1)) == ["ARTIFACTS_LIKELY"]
    assert fusion.artifact_reasons(artifact(0.5, consistency=0.2)) == [
        "ARTIFACTS_UNDECIDED",
        "ARTIFACTS_VARY",
    ]
    assert fusion.artifact_reasons(artifact(0.9)) == ["NO_ARTIFACTS"]
    assert fusion.quality_reasons(GOOD) == []
    poor = Quality(brightness=20, sharpness=1, face_size=50, snr_db=3)
    assert fusion.quality_reasons(poor) == [
        "DARK_FACE",
        "BLURRED_FACE",
        "SMALL_FACE",
        "NOISY_SOUND",
    ]
