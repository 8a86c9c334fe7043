"""The document says of every route what it may be asked and may answer."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import service_apps as apps
from flask import Flask

from service import problems
from service.openapi import document
from service.responses import VerdictBody
from service.schemas import ScoreFields

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    with apps.application(tmp_path_factory.mktemp("app")) as app:
        yield app


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_route_and_method_is_described(app: Flask) -> None:
    served = {
        (method.lower(), re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    paths = document(anonymous=True)["paths"]
    assert served == {(method, path) for path, methods in paths.items() for method in methods}


def test_it_is_served_as_it_is(app: Flask) -> None:
    answer = app.test_client().get("/openapi.json")
    assert answer.mimetype == "application/json"
    assert answer.get_json() == document(anonymous=True)
    assert answer.get_json()["openapi"] == "3.1.0"


def test_every_reference_leads_somewhere() -> None:
    described = document(anonymous=True)
    schemas = described["components"]["schemas"]
    found = set(references(described))
    assert found
    assert found == {f"#/components/schemas/{name}" for name in schemas} - {
        "#/components/schemas/ProgressEvent"  # named by the text of the events alone
    }


def test_what_is_asked_and_answered_are_the_models_that_do_it() -> None:
    schemas = document(anonymous=True)["components"]["schemas"]
    assert set(schemas["VerdictBody"]["properties"]) == set(VerdictBody.model_fields)
    assert set(schemas["VerdictBody"]["required"]) >= {"syncnet", "score", "job_id"}
    for name, extra in (("UploadForm", {"video"}), ("PathFields", {"video_path"})):
        assert set(schemas[name]["properties"]) == {*ScoreFields.model_fields, *extra}
        assert schemas[name]["required"] == list(extra)


def test_every_code_that_scoring_can_end_in_is_named() -> None:
    answers = document(anonymous=True)["paths"]["/score"]["post"]["responses"]
    for problem in (*problems.of_the_analysis(), *problems.of_the_queue(), problems.INTERNAL):
        answer = answers[str(problem.status)]
        assert f"`{problem.code}`" in answer["description"]
        assert "Retry-After" in answer.get("headers", {}) or problem.retry_after_s is None


def test_who_is_asked_for_a_key_is_told_so() -> None:
    for anonymous in (True, False):
        paths = document(anonymous=anonymous)["paths"]
        assert ({} in paths["/score"]["post"]["security"]) is anonymous
        assert "401" in paths["/score"]["post"]["responses"]
        assert paths["/health"]["get"]["security"] == []
        assert "401" not in paths["/health"]["get"]["responses"]


def test_the_page_lists_every_code() -> None:
    page = (ROOT / "docs" / "http.md").read_text()
    answers = document(anonymous=True)["paths"]
    text = " ".join(
        answer["description"]
        for methods in answers.values()
        for operation in methods.values()
        for status, answer in operation["responses"].items()
        if int(status) >= 400
    )
    never_answered = {"error", "model", "calibration", "recording", "too_few_recordings"}
    codes = set(re.findall(r"`([a-z_]+)`: ", text)) - never_answered
    assert codes
    assert {code for code in codes if f"`{code}`" not in page} == set()
