"""<av-verify> in a page of another origin, whose policy is strict, with an upload token."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect
from serving import ROOT, Server, free_port

from browser.conftest import KEY, Come, address
from browser.inspection import findings_in_light_and_dark, overflow, photograph, tab_to
from browser.media import FakeCamera
from browser.site import Site
from browser.visitor import LOCALES, SCORED_MS, Visitor

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "service" / "page" / "avsync" / "avsync.js"
README = SCRIPT.with_name("README.md")

LISTENER = """
globalThis.told = [];
for (const kind of ["consent", "recording", "progress", "result", "error"]) {
  addEventListener(kind, ({ detail }) => {
    const { state, seconds, phase, stage, code, status, sessionId } = detail;
    const verdict = kind === "result" ? detail : null;
    const size = detail.recording?.size ?? null;
    told.push({ kind, state, seconds, phase, stage, code, status, sessionId, size, verdict });
  });
}
"""

PAGE = """<!doctype html>
<html lang="{lang}">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Shop</title>
    <script src="/listener.js"></script>
    <script type="module" src="{service}/avsync.js"></script>
  </head>
  <body>
    <main>
      <h1>Shop</h1>
      <av-verify endpoint="{service}" session-id="order-9" token="{token}"></av-verify>
    </main>
  </body>
</html>
"""


class Words:
    """What the element says in a language, from the table in its script."""

    def __init__(self, lang: str) -> None:
        column = {"en": 1, "es": 2}[lang]
        self._table = {
            key: cells[column]
            for line in SCRIPT.read_text().splitlines()
            if len(cells := line.rstrip("`;").split("|")) == 3
            for key in cells[0].split(",")
        }

    def __call__(self, key: str) -> str:
        return self._table[key]


@pytest.fixture(scope="module")
def site(elsewhere: str, locked: Server) -> Iterator[Site]:
    """It may load the script, call the service, and play what it records; nothing else."""
    service = address(locked)
    policy = (
        f"default-src 'none'; script-src 'self' {service}; connect-src {service}; media-src blob:"
    )
    with Site(elsewhere, policy) as site:
        site.pages["/listener.js"] = ("text/javascript", LISTENER)
        yield site


@pytest.fixture
def shop(come: Come, site: Site, locked: Server, elsewhere: str) -> Callable[..., Visitor]:
    """`shop(lang="es")`: a visitor of a page with the element; its token is good for `uploads`."""

    def make(lang: str = "en", *, uploads: int = 1, **fields: Any) -> Visitor:
        html = PAGE.format(lang=lang, service=address(locked), token=token(locked, uploads))
        site.pages["/"] = ("text/html", html)
        visitor = come(lang=lang, url=elsewhere, **fields)
        visitor.page.goto(elsewhere)
        expect(button(visitor, "agree", lang)).to_be_visible()
        return visitor

    return make


def token(service: Server, uploads: int = 1, session_id: str | None = "order-9") -> str:
    """As the integrator's own server asks for one."""
    answer = service.client.post(
        "/tokens",
        json={"uploads": uploads} | ({"session_id": session_id} if session_id else {}),
        headers={"Authorization": f"Bearer {KEY}"},
    )
    assert answer.status_code == 201, answer.text
    text: str = answer.json()["token"]
    return text


def element(visitor: Visitor) -> Locator:
    return visitor.page.locator("av-verify")


def button(visitor: Visitor, key: str, lang: str = "en") -> Locator:
    return element(visitor).get_by_role("button", name=Words(lang)(key), exact=True)


def heading(visitor: Visitor, key: str) -> Locator:
    return element(visitor).get_by_role("heading", name=Words("en")(key), exact=True)


def told(visitor: Visitor, kind: str) -> list[dict[str, Any]]:
    """What the page was told by events of that kind."""
    events: list[dict[str, Any]] = visitor.page.evaluate(
        "(kind) => told.filter((event) => event.kind === kind)", kind
    )
    return events


def waits_for(visitor: Visitor, kind: str) -> dict[str, Any]:
    """The first event of that kind."""
    visitor.page.wait_for_function(
        "(kind) => told.some((event) => event.kind === kind)", arg=kind, timeout=SCORED_MS
    )
    return told(visitor, kind)[0]


@pytest.mark.parametrize("lang", LOCALES)
def test_from_consent_to_the_result(
    shop: Callable[..., Visitor], locked: Server, screens: Path, lang: str
) -> None:
    visitor = shop(lang)
    page, words = visitor.page, Words(lang)
    found = findings_in_light_and_dark(page)
    if lang == "en":
        photograph(page, "element", screens)
    assert visitor.asked() == []
    assert told(visitor, "consent") == []
    button(visitor, "agree", lang).click()
    expect(button(visitor, "start", lang)).to_be_visible()
    assert waits_for(visitor, "consent")["sessionId"] == "order-9"
    assert len(visitor.asked()) == 1
    found += findings_in_light_and_dark(page)
    page.set_viewport_size({"width": 320, "height": 640})
    assert overflow(page) <= 0
    button(visitor, "start", lang).click()
    verdict = waits_for(visitor, "result")["verdict"]
    assert visitor.camera_is_off()

    started, ended = told(visitor, "recording")
    assert (started["state"], ended["state"]) == ("started", "ended")
    assert started["seconds"] == 4
    assert ended["size"] > 100_000
    phases = [event["phase"] for event in told(visitor, "progress")]
    assert phases[0] == "upload"
    assert "running" in phases
    assert told(visitor, "error") == []

    assert verdict["session_id"] == "order-9"
    level = verdict["risk_level"] or "none"
    expect(element(visitor).get_by_role("heading", name=words(level))).to_be_visible()
    expect(element(visitor)).to_contain_text(words("note"))
    assert overflow(page) <= 0
    found += findings_in_light_and_dark(page)
    assert found == []

    button(visitor, "erase", lang).click()
    expect(element(visitor).get_by_role("heading", name=words("erased"))).to_be_visible()
    with_key = {"Authorization": f"Bearer {KEY}"}
    gone = locked.client.get(f"/jobs/{verdict['job_id']}", headers=with_key)
    assert gone.status_code == 410


def test_the_whole_way_by_keyboard(shop: Callable[..., Visitor]) -> None:
    visitor = shop()
    page = visitor.page
    tab_to(page, button(visitor, "agree"))
    page.keyboard.press("Enter")
    expect(button(visitor, "start")).to_be_visible()
    tab_to(page, button(visitor, "start"))
    page.keyboard.press("Space")
    waits_for(visitor, "result")
    tab_to(page, button(visitor, "erase"))
    page.keyboard.press("Enter")
    expect(heading(visitor, "erased")).to_be_focused()


def test_a_camera_that_is_denied(
    shop: Callable[..., Visitor], launch: Callable[..., Browser], camera: FakeCamera
) -> None:
    browser = launch("--use-fake-ui-for-media-stream=deny", *camera.arguments())
    visitor = shop(browser=browser)
    button(visitor, "agree").click()
    expect(element(visitor).get_by_role("alert")).to_have_text(Words("en")("denied"))
    assert waits_for(visitor, "error")["code"] == "denied"


def test_a_token_is_good_for_as_many_uploads_as_were_asked_for(
    shop: Callable[..., Visitor],
) -> None:
    """Meanwhile the person writes elsewhere on the page, and goes on writing."""
    visitor = shop(uploads=1)
    visitor.complaints.expect("status of 403")
    button(visitor, "agree").click()
    button(visitor, "start").click()
    waits_for(visitor, "result")
    button(visitor, "again").click()
    button(visitor, "start").click()
    visitor.page.evaluate("document.querySelector('h1').after(document.createElement('input'))")
    visitor.page.locator("input").focus()
    refused = waits_for(visitor, "error")
    expect(visitor.page.locator("input")).to_be_focused()
    assert (refused["code"], refused["status"]) == ("token_used_up", 403)
    expect(element(visitor).get_by_role("alert")).to_have_text(Words("en")("403"))


def test_what_is_taken_out_of_the_page_lets_go_of_the_camera(
    shop: Callable[..., Visitor],
) -> None:
    """Put in again elsewhere, it begins anew, and leaves the focus where it is."""
    visitor = shop()
    button(visitor, "agree").click()
    expect(button(visitor, "start")).to_be_visible()
    assert not visitor.camera_is_off()
    visitor.page.evaluate("document.body.append(document.querySelector('av-verify'))")
    assert visitor.camera_is_off()
    expect(button(visitor, "agree")).to_be_visible()
    expect(heading(visitor, "consent")).not_to_be_focused()
    button(visitor, "agree").click()
    expect(button(visitor, "start")).to_be_visible()
    assert not visitor.camera_is_off()
    visitor.page.evaluate("document.querySelector('av-verify').remove()")
    assert visitor.camera_is_off()
    assert told(visitor, "error") == []


LATE = """() => {
  globalThis.permits = [];
  const { mediaDevices: devices } = navigator;
  const open = devices.getUserMedia;
  devices.getUserMedia = async (wished) => {
    await new Promise((permit) => permits.push(permit));
    return open(wished);
  };
}"""
"""From now on the owner takes time to allow the camera, until a test calls `permits`."""

TRACKS = "streams.map((s) => s.getTracks().some((track) => track.readyState === 'live'))"
"""Of every stream that a page was given, in their order, whether it is on."""


def test_a_camera_that_is_allowed_too_late_is_switched_off(shop: Callable[..., Visitor]) -> None:
    """What was left while the browser still asked does not come back into what is shown now."""
    visitor = shop()
    page = visitor.page
    page.evaluate(LATE)
    button(visitor, "agree").click()
    button(visitor, "cancel").click()
    button(visitor, "agree").click()
    expect(heading(visitor, "camera")).to_be_focused()
    page.evaluate("permits[0]()")
    page.wait_for_function(f"() => {TRACKS}.length === 1 && !{TRACKS}[0]")
    expect(button(visitor, "start")).to_be_hidden()
    page.evaluate("permits[1]()")
    expect(button(visitor, "start")).to_be_visible()
    assert page.evaluate(TRACKS) == [False, True]
    button(visitor, "cancel").click()
    expect(button(visitor, "agree")).to_be_visible()
    assert visitor.camera_is_off()
    assert told(visitor, "error") == []


def test_a_double_click_is_one(shop: Callable[..., Visitor]) -> None:
    visitor = shop()
    button(visitor, "agree").dblclick()
    button(visitor, "start").dblclick()
    assert waits_for(visitor, "recording")["state"] == "started"
    button(visitor, "cancel").click()
    expect(button(visitor, "agree")).to_be_visible()
    assert visitor.camera_is_off()
    assert len(visitor.asked()) == len(told(visitor, "consent")) == 1


def test_what_a_page_does_with_it_before_consent(shop: Callable[..., Visitor]) -> None:
    """It says where recordings go, wherever that is; it can be hidden, and be there twice."""
    visitor = shop()
    page = visitor.page
    page.evaluate("document.querySelector('av-verify').after(document.createElement('av-verify'))")
    first, second = element(visitor).first, element(visitor).last
    expect(second).to_contain_text(f"{visitor.url.removeprefix('http://')} ")
    second.evaluate("(it) => it.setAttribute('endpoint', 'https://avsync.example.org/sub/')")
    expect(second).to_contain_text(" avsync.example.org ")
    second.evaluate("(it) => it.setAttribute('lang', 'es')")
    expect(second.get_by_role("button", name=Words("es")("agree"))).to_be_visible()
    first.get_by_role("button", name=Words("en")("agree")).click()
    expect(first.get_by_role("button", name=Words("en")("start"))).to_be_visible()
    expect(second.get_by_role("button", name=Words("es")("agree"))).to_be_visible()
    second.evaluate("(it) => (it.hidden = true)")
    expect(second).to_be_hidden()
    expect(first).to_be_visible()


def test_the_example_of_the_readme(
    come: Come, site: Site, locked: Server, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands there, with another address; its policy lets it hold a script of its own."""
    service = address(locked)
    (example,) = re.findall(r"```html\n(.+?)```", README.read_text(), re.DOTALL)
    assert len(example.splitlines()) <= 10
    html = f"<!doctype html><title>Example</title>{example}"
    html = html.replace("https://avsync.example.org", service)
    monkeypatch.setattr(
        site,
        "policy",
        f"default-src 'none'; script-src 'unsafe-inline' {service}; connect-src 'self' {service}; "
        "media-src blob:",
    )
    site.pages["/example"] = ("text/html", html)
    site.pages["/my-server/upload-token"] = ("text/plain", token(locked, session_id=None))
    visitor = come(url=elsewhere)
    visitor.page.goto(f"{elsewhere}/example")
    button(visitor, "agree").click()
    button(visitor, "start").click()
    with visitor.page.expect_console_message(timeout=SCORED_MS) as message:
        pass
    decision, job = message.value.text.split()
    with_key = {"Authorization": f"Bearer {KEY}"}
    verdict = locked.client.get(f"/jobs/{job}", headers=with_key).json()["result"]
    assert (verdict["decision"], verdict["session_id"]) == (decision, "visitor-17")


def test_an_origin_that_may_not_is_told_nothing(come: Come, locked: Server) -> None:
    """Its own policy would let it ask; the service lets only the origins of CORS_ORIGINS."""
    service, origin = address(locked), f"http://localhost:{free_port()}"
    with Site(origin, f"default-src 'none'; connect-src {service}") as site:
        site.pages["/"] = ("text/html", "<!doctype html><title>Other shop</title>")
        visitor = come(url=origin)
        visitor.complaints.expect("CORS policy", "net::ERR_FAILED")
        visitor.page.goto(origin)
        for path in ("/health", "/avsync.js", "/jobs"):
            outcome = visitor.page.evaluate(
                "(url) => fetch(url).then(() => 'answered', () => 'refused')", service + path
            )
            assert outcome == "refused", path
