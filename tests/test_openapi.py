"""The document says of every route what it may be asked and may answer."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
import service_apps as apps
from flask import Flask

from service import keys, openapi, problems
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
    """But the files that the pages are made of."""
    served = {
        (method.lower(), re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS") and not rule.rule.startswith("/static/")
    }
    paths = document(anonymous=True)["paths"]
    assert served == {(method, path) for path, methods in paths.items() for method in methods}


def test_it_is_served_as_it_is(app: Flask) -> None:
    answer = app.test_client().get("/openapi.json")
    assert answer.mimetype == "application/json"
    assert answer.get_json() == document(anonymous=True)
    assert answer.get_json()["openapi"] == "3.1.0"


@pytest.mark.parametrize("anonymous", [True, False])
def test_it_is_valid(anonymous: bool) -> None:
    """By the schema of OpenAPI 3.1, and its schemas by that of JSON Schema 2020-12."""
    described = document(anonymous=anonymous)
    schemathesis.openapi.from_dict(described).validate()
    for name, schema in described["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(schema), name
    named = [of["operationId"] for path in described["paths"].values() for of in path.values()]
    assert len(set(named)) == len(named)


def test_every_link_leads_somewhere() -> None:
    paths = document(anonymous=True)["paths"]
    operations = [operation for methods in paths.values() for operation in methods.values()]
    linked = {
        link["operationId"]
        for operation in operations
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    }
    assert linked == {"get_job", "follow_job", "delete_job"}
    assert linked <= {operation["operationId"] for operation in operations}


def test_null_is_named_where_it_can_be_sent() -> None:
    """JSON has it; a form, a query and a header have not."""
    described = document(anonymous=True)
    null = {"type": "null"}
    schemas = described["components"]["schemas"]
    assert null in schemas["PathFields"]["properties"]["user_consent"]["anyOf"]
    assert schemas["UploadForm"]["properties"]["user_consent"]["type"] == "boolean"
    sent_as_text = [
        *schemas["UploadForm"]["properties"].values(),
        *(parameter["schema"] for parameter in described["paths"]["/score"]["post"]["parameters"]),
    ]
    for schema in sent_as_text:
        assert "anyOf" not in schema
        assert schema.get("default", ...) is not None


def test_every_reference_leads_somewhere() -> None:
    described = document(anonymous=True)
    schemas = described["components"]["schemas"]
    found = set(references(described))
    assert found
    assert found == {f"#/components/schemas/{name}" for name in schemas}


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


def test_the_history_needs_a_key_everywhere() -> None:
    for anonymous in (True, False):
        operation = document(anonymous=anonymous)["paths"]["/jobs"]["get"]
        assert {} not in operation["security"]
        assert "401" in operation["responses"]


def test_where_an_upload_token_is_taken_its_end_is_named() -> None:
    described = document(anonymous=True)["paths"]
    told = {
        re.sub(r"{(\w+)}", r"<\1>", path)
        for path, methods in described.items()
        for operation in methods.values()
        if "`token_expired`" in operation["responses"].get("401", {}).get("description", "")
    }
    assert told == keys.TOKEN_ROUTES


def test_every_schema_has_an_example_that_fits_it() -> None:
    """Where one is missing: `python -m evaluation.examples`."""
    described = document(anonymous=True)
    schemas = described["components"]["schemas"]
    kept = json.loads(openapi.EXAMPLES.read_text())
    assert set(kept) == set(schemas)
    for name, schema in schemas.items():
        assert schema["examples"] == [kept[name]]
        whole = {"$ref": f"#/components/schemas/{name}", "components": described["components"]}
        jsonschema_rs.validator_for(whole).validate(kept[name])


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
    codes = set(re.findall(r"`([a-z_]+)`: ", text))
    assert codes
    assert {code for code in codes if f"`{code}`" not in page} == set()
