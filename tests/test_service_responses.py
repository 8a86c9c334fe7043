"""The body of an answer: all of the verdict, and the flat copies that the browser client reads."""

import dataclasses
import json
import time

import service_doubles as doubles

from service.responses import verdict_body
from syncnet_python.results import Verdict


def body_of(verdict: Verdict) -> dict[str, object]:
    return verdict_body(
        verdict,
        session_id="s",
        request_id="r",
        ttl_seconds=300,
        processing_time_ms=5,
        request_time_ms=7,
    )


def test_every_field_of_the_verdict_is_answered_under_its_name() -> None:
    body = json.loads(json.dumps(body_of(doubles.VERDICT), allow_nan=False))
    sent = json.loads(json.dumps(dataclasses.asdict(doubles.VERDICT)))
    del sent["reference"]
    assert {name: body[name] for name in sent} == sent


def test_flat_copies_repeat_the_nested_figures() -> None:
    body = body_of(doubles.VERDICT)
    for name in ("offset_frames", "lag_ms", "confidence", "min_dist"):
        assert body[name] == getattr(doubles.SYNC, name)
    assert body["score"] == doubles.VERDICT.combined_score
    assert (body["session_id"], body["request_id"]) == ("s", "r")
    assert (body["processing_time_ms"], body["request_time_ms"]) == (5, 7)


def test_only_faces_that_were_measured_are_results() -> None:
    assert len(doubles.SYNC.tracks) == 2
    debug = body_of(doubles.VERDICT)["debug"]
    figures = {"offset_frames": -2, "confidence": 7.25, "min_dist": 6.5, "chosen": True}
    assert debug == {"num_results": 1, "all_results": [figures]}


def test_what_was_not_measured_is_null_and_not_made_up() -> None:
    verdict = dataclasses.replace(doubles.VERDICT, syncnet=None, combined_score=None)
    body = body_of(verdict)
    for name in ("score", "combined_score", "offset_frames", "lag_ms", "confidence", "min_dist"):
        assert body[name] is None
    assert body["debug"] == {"num_results": 0, "all_results": []}


def test_the_verdict_may_be_relied_on_for_as_long_as_is_set() -> None:
    before = int(time.time() * 1000)
    ttl = body_of(doubles.VERDICT)["ttl_ms"]
    assert isinstance(ttl, int)
    assert before + 300_000 <= ttl <= time.time() * 1000 + 300_000
