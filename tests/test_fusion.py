from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fusion
from syncnet_python.calibration import Thresholds
from syncnet_python.results import (
    ArtifactResult,
    Doubt,
    Missing,
    OffsetChange,
    OffsetCurve,
    Quality,
    Statistics,
    SyncResult,
)
from syncnet_python.scale import SYNCNET_V2

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
        subframe_offset=float(offset),
        timeline=(),
        changes=(),
        doubts=(),
        raw_score=score,
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
        temporal_consistency=1.0,
        raw_score=score,
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


@given(unit, unit)
def test_lips_and_voice_that_cannot_be_compared_have_no_share(a: float, b: float) -> None:
    silent = replace(sync(a), doubts=("NO_SPEECH", "MOUTH_STILL"))
    fused = fusion.fuse(silent, artifact(b), scale=SYNCNET_V2)
    assert fused.combined_score == pytest.approx(b)
    assert fused.weights == {"syncnet": 0.0, "efficientnet": 1.0}
    assert fused.inconclusive
    assert fused.decision in {"NEXT", "BLOCK"}
    assert fused.reason_codes[:2] == ("NO_SPEECH", "MOUTH_STILL")
    assert "INCONCLUSIVE" in fused.reason_codes
    assert not any(code.endswith(("SYNC_SCORE", "OFFSET")) for code in fused.reason_codes)


@pytest.mark.parametrize("doubt", get_args(Doubt))
def test_lip_sync_alone_without_anything_to_compare_scores_nothing(doubt: Doubt) -> None:
    silent = replace(sync(0.95), doubts=(doubt,))
    fused = fusion.fuse(silent, None, scale=SYNCNET_V2, weights={"syncnet": 1.0})
    assert fused.combined_score is None
    assert fused.risk_level is None
    assert fused.is_likely_real is None
    assert fused.decision == "NEXT"
    assert fused.inconclusive
    assert fused.reason_codes == (doubt, "INCONCLUSIVE", "DECISION_NEXT")


SPLICE = (OffsetChange(time_s=2.0, before=0.1, after=6.0),)


@given(unit, unit)
def test_an_offset_that_jumps_is_a_finding_and_not_a_doubt(a: float, b: float) -> None:
    whole = fusion.fuse(sync(a), artifact(b), scale=SYNCNET_V2)
    spliced = fusion.fuse(replace(sync(a), changes=SPLICE), artifact(b), scale=SYNCNET_V2)
    assert "OFFSET_CHANGES" in spliced.reason_codes
    assert not spliced.inconclusive
    assert spliced.combined_score == whole.combined_score
    assert spliced.decision != "ALLOW"
    assert spliced.risk_level != "LOW"
    if whole.decision != "ALLOW":
        assert (spliced.decision, spliced.risk_level) == (whole.decision, whole.risk_level)


def test_jumps_of_figures_that_say_nothing_say_nothing() -> None:
    noise = replace(sync(0.9), changes=SPLICE, doubts=("MUSIC",))
    assert "OFFSET_CHANGES" not in fusion.fuse(noise, None, scale=SYNCNET_V2).reason_codes


@given(unit, st.lists(unit, min_size=3, max_size=3).map(sorted))
def test_other_thresholds_move_every_answer(score: float, levels: list[float]) -> None:
    low, middle, high = levels
    chosen = Thresholds(allow=high, real=middle, next=low)
    fused = fusion.fuse(sync(score), artifact(score), scale=SYNCNET_V2, thresholds=chosen)
    combined = fused.combined_score
    assert combined is not None
    assert (fused.decision == "ALLOW") == (fused.risk_level == "LOW") == (combined >= high)
    assert (fused.decision == "BLOCK") == (fused.risk_level == "CRITICAL") == (combined < low)
    assert fused.is_likely_real == (combined > middle)


def test_thresholds_out_of_order_are_refused() -> None:
    for wrong in ({"allow": 0.5}, {"next": 0.7}, {"real": -0.1, "next": -0.2}, {"allow": 1.2}):
        with pytest.raises(ValueError, match="out of order"):
            Thresholds(**wrong)


def test_an_offset_that_the_set_up_always_adds_is_held_against_nobody() -> None:
    late = replace(sync(0.95, offset=7), subframe_offset=6.8)
    codes = [fusion.sync_reasons(late, SYNCNET_V2, lag)[1] for lag in (0.0, 6.9, -6.9)]
    assert codes == ["HIGH_OFFSET", "LOW_OFFSET", "HIGH_OFFSET"]
    verdict = fusion.fuse(late, None, scale=SYNCNET_V2, capture_offset=4.0)
    assert "MEDIUM_OFFSET" in verdict.reason_codes


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
