"""Security headers: on every answer, whatever it is about."""

import pytest
from flask import Flask, Response

from service import headers


@pytest.fixture
def app() -> Flask:
    made = Flask("test", static_folder=None)
    headers.register(made)

    @made.get("/page")
    def page() -> Response:
        answer = Response("<p>a page</p>")
        answer.headers["Content-Security-Policy"] = "default-src 'self'"
        answer.headers["Cache-Control"] = "max-age=60"
        answer.headers["Referrer-Policy"] = "unsafe-url"
        return answer

    @made.get("/broken")
    def broken() -> str:
        raise ZeroDivisionError

    made.config["PROPAGATE_EXCEPTIONS"] = False
    made.add_url_rule("/plain", "plain", lambda: "plain")
    return made


@pytest.mark.parametrize(
    ("path", "status"), [("/plain", 200), ("/no/such/route", 404), ("/broken", 500)]
)
def test_every_answer_has_them(app: Flask, path: str, status: int) -> None:
    answer = app.test_client().get(path)
    assert answer.status_code == status
    for name, value in (headers.ALWAYS | headers.UNLESS_SET).items():
        assert answer.headers.getlist(name) == [value]
    assert "Strict-Transport-Security" not in answer.headers


def test_a_page_may_say_what_it_embeds_but_not_whom_it_tells(app: Flask) -> None:
    answer = app.test_client().get("/page")
    assert answer.headers.getlist("Content-Security-Policy") == ["default-src 'self'"]
    assert answer.headers["Cache-Control"] == "max-age=60"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_browsers_are_held_to_https_where_they_came_by_it(app: Flask) -> None:
    answer = app.test_client().get("/plain", base_url="https://scores.example")
    assert answer.headers["Strict-Transport-Security"] == headers.HSTS
