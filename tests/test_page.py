"""The pages and their files: what is served to whom, how, and under which policy."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import service_apps as apps
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.openapi import document
from service.page import assets, docs, views

PAGES = {"/": "text/html", "/history": "text/html", "/docs": "text/html"}
FILES = {"/avsync.js": "text/javascript", "/avsync.d.ts": "text/plain"} | {
    f"/static/{name}": assets.KINDS[Path(name).suffix]
    for name in sorted(assets.names(views.STATIC))
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    folder = tmp_path_factory.mktemp("app")
    with apps.application(folder, allow_anonymous=False, api_key="the key of the house") as app:
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def policy_of(answer: TestResponse) -> dict[str, list[str]]:
    said = (directive.split() for directive in answer.headers["Content-Security-Policy"].split(";"))
    return {name: values for name, *values in said}


@pytest.mark.parametrize("path", PAGES | FILES)
def test_pages_and_their_files_need_no_key(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.mimetype == (PAGES | FILES)[path]
    assert answer.data
    assert client.head(path).status_code == 200


@pytest.mark.parametrize("path", PAGES | FILES)
def test_nothing_is_loaded_from_elsewhere_nor_run_in_the_text(
    client: FlaskClient, path: str
) -> None:
    answer = client.get(path)
    policy = policy_of(answer)
    assert policy.pop("default-src") == ["'none'"]
    for name in ("base-uri", "form-action", "frame-ancestors"):
        assert policy.pop(name) == ["'none'"]
    loaded = ("script", "style", "img", "media", "connect", "worker", "manifest")
    assert set(policy) == {f"{kind}-src" for kind in loaded}
    for sources in policy.values():
        assert set(sources) <= {"'self'", "blob:", "data:"}
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == ["'self'"]
    assert answer.headers["Permissions-Policy"] == "camera=(self), microphone=(self)"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_keeps_to_its_policy(client: FlaskClient, path: str) -> None:
    text = client.get(path).text
    for script in re.findall(r"<script[^>]*>", text):
        assert "src=" in script
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    for address in re.findall(r'(?:src|href)="([^"]*)"', text):
        assert address.startswith(("#", "/", "data:")), address
        if address.startswith("/") and "#" not in address:
            assert client.get(address).status_code == 200, address


def test_every_style_is_for_something() -> None:
    sheets = "".join(path.read_text() for path in views.STATIC.glob("*.css"))
    selectors = re.findall(r"([^{}]+)\{", re.sub(r"/\*.*?\*/", "", sheets, flags=re.DOTALL))
    named = set(re.findall(r"\.([a-z][\w-]*)", "".join(selectors)))
    used = "".join(
        path.read_text()
        for path in (*views.STATIC.glob("*.js"), *views.STATIC.parent.rglob("*.html"))
    )
    made = tuple(re.findall(r"([a-z]+-)\$\{", used))  # their ends follow from data
    unused = {name for name in named if not re.search(rf"\b{name}\b", used)}
    assert {name for name in unused if not name.startswith(made)} == set()


@pytest.mark.parametrize("path", PAGES | FILES)
def test_what_a_browser_has_is_not_sent_again(client: FlaskClient, path: str) -> None:
    for encoding in ("gzip", "identity"):
        wanted = {"Accept-Encoding": encoding}
        first = client.get(path, headers=wanted)
        assert first.headers["Cache-Control"] == "no-cache"
        again = client.get(path, headers=wanted | {"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]


def test_what_shrinks_is_packed_for_those_who_can_unpack_it(client: FlaskClient) -> None:
    plain = client.get("/docs")
    packed = client.get("/docs", headers={"Accept-Encoding": "br, gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data) / 3
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["ETag"] != packed.headers["ETag"]
    refused = client.get("/docs", headers={"Accept-Encoding": "gzip;q=0, identity"})
    assert "Content-Encoding" not in refused.headers


def test_what_does_not_shrink_is_left_as_it_is() -> None:
    assert assets.made(bytes(range(256)), "application/octet-stream").packed is None
    assert assets.made(b"a" * 1000, "text/plain").packed is not None
    assert assets.made(b"a", "text/plain").tag != assets.made(b"b", "text/plain").tag


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/no-such-file.js",
        "/static/../views.py",
        "/static/%2e%2e/views.py",
        "/static//etc/passwd",
        "/static/texts",
        "/static/..%2ftemplates%2fdocs.html",
    ],
)
def test_nothing_but_the_files_of_the_pages_is_served(client: FlaskClient, path: str) -> None:
    key = {"X-API-Key": "the key of the house"}
    answer = client.get(path, headers=key)
    assert answer.status_code in (308, 404)
    if answer.status_code == 404:
        assert answer.get_json()["code"] == "not_found"


# The interface


def test_the_interface_names_every_route_and_every_field(client: FlaskClient) -> None:
    described = document(anonymous=False)
    text = client.get("/docs").text
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert f"<code>{method.upper()} {path}</code>" in text
            assert f'id="{operation["operationId"]}"' in text
            for status in operation["responses"]:
                assert f'<th scope="row">{status}</th>' in text
    for name, schema in described["components"]["schemas"].items():
        assert f'id="{name}"' in text
        for field in schema.get("properties", {}):
            assert f"<code>{field}</code>" in text


def test_every_link_within_the_interface_leads_somewhere(client: FlaskClient) -> None:
    text = client.get("/docs").text
    named = re.findall(r'\sid="([^"]+)"', text)
    assert len(named) == len(set(named))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(named)


def test_it_says_where_a_key_is_needed(tmp_path: Path) -> None:
    with apps.application(tmp_path) as app:
        for_anybody = app.test_client().get("/docs").text
    assert for_anybody == docs.render(document(anonymous=True))
    needs = docs.render(document(anonymous=False))
    assert needs.count("Needs a key.") > for_anybody.count("Needs a key.") > 0


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "#/components/schemas/Links"}, '<a href="#Links">Links</a>'),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
        ({"type": "array", "items": {"type": "number"}}, "list of number"),
        (
            {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}]},
            "list of number, string",
        ),
        ({"enum": ["LOW", "HIGH"]}, "<code>&#34;LOW&#34;</code> or <code>&#34;HIGH&#34;</code>"),
        ({"const": True}, "<code>true</code>"),
        ({"type": "string", "format": "date-time"}, "date-time"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "object of number"),
        ({"type": "object"}, "object"),
        ({}, "anything"),
    ],
)
def test_what_a_value_is_is_said_in_words(schema: dict[str, object], said: str) -> None:
    assert docs.kind(schema) == said


def test_what_the_document_says_is_text_and_no_markup() -> None:
    assert docs.coded("a `<b>` & c") == "a <code>&lt;b&gt;</code> &amp; c"
    assert docs.limits({"minimum": 1, "maxLength": 5}) == "At least 1, at most 5 characters."
    assert docs.limits({"type": "string"}) == ""
    assert json.loads(docs.pretty({"list": [1, 2], "text": "<"})) == {"list": [1, 2], "text": "<"}


def test_the_script_may_be_loaded_by_pages_of_an_origin_that_is_named(tmp_path: Path) -> None:
    origin = {"Origin": "https://app.example.org"}
    with apps.application(tmp_path, cors_origins=tuple(origin.values())) as app:
        client = app.test_client()
        first = client.get("/avsync.js", headers=origin)
        again = client.get("/avsync.js", headers=origin | {"If-None-Match": first.headers["ETag"]})
        stranger = client.get("/avsync.js", headers={"Origin": "https://example.com"})
    assert (first.status_code, again.status_code, stranger.status_code) == (200, 304, 200)
    for answer in (first, again):
        assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"]
    assert "Access-Control-Allow-Origin" not in stranger.headers
