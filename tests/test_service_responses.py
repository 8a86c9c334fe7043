"""The body of an answer: all of the verdict, and the flat copies that the browser client reads."""

import dataclasses
import json
from typing import Any

import pytest
import service_doubles as doubles

from service.jobs.records import Job
from service.responses import VerdictBody, accepted, dump, job_body, verdict_body
from syncnet_python import errors
from syncnet_python.results import Verdict

JOB = Job(
    state="succeeded",
    progress=1.0,
    id="j",
    session_id="s",
    request_id="r",
    created_at=1_000_000.5,
    started_at=1_000_001.0,
    finished_at=1_000_002.5,
    verdict=doubles.VERDICT,
)


def body_of(verdict: Verdict) -> dict[str, Any]:
    job = dataclasses.replace(JOB, verdict=verdict)
    body: dict[str, Any] = json.loads(dump(verdict_body(job, ttl_seconds=300, request_time_ms=7)))
    return body


def test_every_field_of_the_verdict_is_answered_under_its_name() -> None:
    body = body_of(doubles.VERDICT)
    sent = json.loads(json.dumps(dataclasses.asdict(doubles.VERDICT)))
    del sent["reference"]
    assert {name: body[name] for name in sent} == sent


def test_the_body_is_what_the_document_says() -> None:
    VerdictBody.model_validate_json(json.dumps(body_of(doubles.VERDICT)))
    assert set(body_of(doubles.VERDICT)) == set(VerdictBody.model_fields)


def test_flat_copies_repeat_the_nested_figures() -> None:
    body = body_of(doubles.VERDICT)
    for name in ("offset_frames", "lag_ms", "confidence", "min_dist"):
        assert body[name] == getattr(doubles.SYNC, name)
    assert body["score"] == doubles.VERDICT.combined_score
    assert (body["session_id"], body["request_id"], body["job_id"]) == ("s", "r", "j")
    assert (body["processing_time_ms"], body["request_time_ms"]) == (2000, 7)


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
    assert body_of(doubles.VERDICT)["ttl_ms"] == 1_000_002_500 + 300_000


def test_a_verdict_is_the_same_whenever_it_is_fetched() -> None:
    first, second = (dump(job_body(JOB, ttl_seconds=300)) for _ in range(2))
    assert first == second
    body = json.loads(first)
    assert body["result"]["request_time_ms"] == body["result"]["processing_time_ms"] == 2000
    assert body["created"] == "1970-01-12T13:46:40.500000Z"
    assert body["finished"] == "1970-01-12T13:46:42.500000Z"


def test_a_failed_job_has_a_problem_and_no_result() -> None:
    job = dataclasses.replace(JOB, state="failed", verdict=None, error=errors.NoFace("as said"))
    body = json.loads(dump(job_body(job, ttl_seconds=300)))
    assert body["result"] is None
    assert (body["error"]["status"], body["error"]["code"]) == (422, "no_face")
    assert (body["error"]["detail"], body["error"]["request_id"]) == ("as said", "r")


def test_without_a_verdict_there_is_no_body_of_one() -> None:
    with pytest.raises(ValueError, match="no verdict"):
        verdict_body(dataclasses.replace(JOB, verdict=None), ttl_seconds=300)


def test_links_lead_from_the_root() -> None:
    assert json.loads(dump(accepted(JOB)))["links"] == {
        "self": "/jobs/j",
        "events": "/jobs/j/events",
    }
