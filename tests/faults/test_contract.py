"""What /openapi.json says is what the service does: schemathesis asks, and compares."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.engine import events, from_schema
from schemathesis.specs.openapi import checks

from faults.harness import Service, job_id

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

KEY = "a-key-of-this-test-alone"
WEBHOOK_SECRET = "whsec_" + "QUJD" * 10
CLIP = "clip.mp4"
EXAMPLES = 100
SOAK_EXAMPLES = 2000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, small_clip: bytes) -> Iterator[Service]:
    """With everything switched on, and with a key, so that its absence is tried as well."""
    folder = tmp_path_factory.mktemp("contract")
    root = folder / "root"
    root.mkdir()
    (root / CLIP).write_bytes(small_clip)
    with Service(
        folder,
        API_KEY=KEY,
        ALLOW_ANONYMOUS="false",
        VIDEO_ROOT=root,
        WEBHOOK_SECRET=WEBHOOK_SECRET,
    ) as service:
        yield service


def config(*, examples: int, deterministic: bool) -> schemathesis.Config:
    """Of every check that schemathesis has."""
    return schemathesis.Config.from_dict(
        {
            "headers": {"X-API-Key": KEY},
            "cache": {"enabled": False},
            "continue-on-failure": True,
            "request-timeout": 60,
            "generation": {
                "max-examples": examples,
                "deterministic": deterministic,
                "database": "none",
                "no-shrink": True,
                "with-security-parameters": False,  # else nearly all would be refused for the key
            },
            # What is well formed may still lack consent, or be no recording; it is never a 400.
            "checks": {
                "positive_data_acceptance": {
                    "expected-statuses": ["2xx", 401, 403, 404, 409, 410, 415, 422, 429]
                },
                # Hundreds of fields are refused as too much before any of them is read.
                "negative_data_rejection": {
                    "expected-statuses": [400, 401, 403, 404, 405, 409, 413, 415, 422, 429]
                },
            },
        }
    )


def with_recording(body: Any, recording: bytes | None) -> Any:
    """The body of a request that is scored, where it names one and there is a recording."""
    scored = isinstance(body, dict) and ("video" in body or "video_path" in body)
    if recording is None or not scored:
        return body
    wanted = {name: body[name] for name in ("session_id", "metadata") if name in body}
    wanted["user_consent"] = True
    return wanted | ({"video": recording} if "video" in body else {"video_path": CLIP})


def without_waiting(query: Any, wanted: bool) -> Any:
    return query | {"async": "true"} if wanted and isinstance(query, dict) else query


def test_nothing_is_answered_but_what_is_documented(
    service: Service,
    small_clip: bytes,
    brief_clip: bytes,
    figures: Callable[..., None],
    soak: bool,
) -> None:
    """Neither a status nor a body, whatever is sent: what fits the document, what just does not,
    and what earlier answers lead to."""
    settings = config(examples=SOAK_EXAMPLES if soak else EXAMPLES, deterministic=not soak)
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json", config=settings)

    @schema.hook
    def before_generate_body(_: Any, strategy: Any) -> Any:
        """Now and then a recording, for nothing would ever be scored else."""
        recordings = st.sampled_from([None, None, None, None, brief_clip, small_clip])
        return st.tuples(strategy, recordings).map(lambda drawn: with_recording(*drawn))

    @schema.hook
    def before_generate_query(_: Any, strategy: Any) -> Any:
        """Now and then without waiting, which leads on to the routes of a job."""
        return st.tuples(strategy, st.booleans()).map(lambda drawn: without_waiting(*drawn))

    answered: Counter[tuple[str, int]] = Counter()
    failed: Counter[str] = Counter()
    examples: list[str] = []
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            failed["engine"] += 1
            examples.append(repr(event))
        if not isinstance(event, events.ScenarioFinished):
            continue
        told = event.recorder
        for case_id, interaction in told.interactions.items():
            label = told.cases[case_id].value.operation.label
            failed["no answer"] += interaction.response is None
            if interaction.response is not None:
                answered[label, interaction.response.status_code] += 1
        for case_id, checked in told.checks.items():
            for check in checked:
                if found := check.failure_info:
                    failed[check.name] += 1
                    answer = told.interactions[case_id].response
                    status = answer and answer.status_code
                    said = f"{check.name} ({status}): {found.failure.message}"
                    examples.append(f"{said}\n{found.code_sample}")

    statuses: Counter[int] = Counter()
    for (_, status), count in answered.items():
        statuses[status] += count
    scored = sum(answered[f"POST {path}", 200] for path in ("/score", "/api/avsync/score"))
    figures(
        "requests",
        sent=statuses.total(),
        operations=len({label for label, _ in answered}),
        scored=scored,
        answered=", ".join(f"{count}x {status}" for status, count in sorted(statuses.items())),
        server_errors=sum(count for status, count in statuses.items() if status >= 500),
        against_the_document=failed.total(),
    )
    assert failed.total() == 0, "\n\n".join(examples[:10])
    assert max(statuses) < 500
    described = {
        f"{method.upper()} {path}"
        for path, methods in schema.raw_schema["paths"].items()
        for method in methods
    }
    # The document's own route is left out by schemathesis.
    assert {label for label, _ in answered} == described - {"GET /openapi.json"}
    assert scored > 0
    assert answered["POST /score", 202] > 0
    assert answered["GET /jobs/{job_id}", 200] > 0


CONFORMANCE = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


def test_a_job_is_as_documented_from_its_beginning_to_its_end(
    service: Service, small_clip: bytes, figures: Callable[..., None]
) -> None:
    """The answers that need a certain moment, which chance alone would seldom meet."""
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    service.client.headers["X-API-Key"] = KEY
    seen: list[int] = []

    def conforms(answer: httpx.Response, method: str, path: str, status: int) -> httpx.Response:
        assert answer.status_code == status, answer.text
        answer.request.read()  # what schemathesis has to look at
        schema[path][method].Case(headers=dict(answer.request.headers)).validate_response(
            answer, checks=CONFORMANCE
        )
        seen.append(status)
        return answer

    key = {"Idempotency-Key": str(uuid.uuid4())}
    begun = conforms(service.submit(small_clip, headers=key), "POST", "/score", 202)
    job = f"/jobs/{job_id(begun)}"
    route = "/jobs/{job_id}"
    conforms(service.client.get(job), "GET", route, 200)
    told = conforms(service.client.get(f"{job}/events"), "GET", f"{route}/events", 200)
    assert "event: result" in told.text
    ended = conforms(service.client.get(job), "GET", route, 200)
    assert ended.json()["state"] == "succeeded"
    unchanged = {"If-None-Match": ended.headers["ETag"]}
    conforms(service.client.get(job, headers=unchanged), "GET", route, 304)
    conforms(service.post(small_clip, headers=key), "POST", "/score", 200)
    conforms(service.post(b"another", headers=key), "POST", "/score", 422)
    conforms(service.post(bytes(11 * 2**20)), "POST", "/score", 413)
    failed = job_id(conforms(service.submit(b"no video"), "POST", "/score", 202))
    assert service.wait(failed)["error"]["code"] == "unsupported_media"
    conforms(service.job(failed), "GET", route, 200)
    conforms(service.client.delete(job), "DELETE", route, 204)
    conforms(service.client.delete(job), "DELETE", route, 204)
    conforms(service.client.get(job), "GET", route, 410)
    conforms(service.client.get(f"{job}/events"), "GET", f"{route}/events", 410)
    conforms(service.post(small_clip, headers=key), "POST", "/score", 410)
    figures("one job", answers=len(seen), statuses=", ".join(map(str, sorted(set(seen)))))
