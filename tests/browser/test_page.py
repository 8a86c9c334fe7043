"""The way through the page, from consent to the report that is kept of it."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Route, expect
from serving import Server

from browser.conftest import Come
from browser.gated import Gate
from browser.inspection import tab_to
from browser.media import fake_camera
from browser.visitor import LOCALES, SCORED_MS, Texts, Visitor

pytestmark = pytest.mark.slow

FIRST_LOAD_BYTES = 100_000

LANGUAGES = {"en": "English", "es": "Español"}

LOADED = """() => performance.getEntries()
    .filter((entry) => ["navigation", "resource"].includes(entry.entryType))
    .map((entry) => [entry.name, entry.transferSize])"""


def downloaded(visitor: Visitor, key: str, folder: Path) -> Path:
    """The file that a button hands out."""
    with visitor.page.expect_download() as download:
        visitor.button(key).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def opened_alone(browser: Browser, report: Path, lang: str) -> tuple[str, list[str]]:
    """The text of a saved page, opened without network and scripts, and what else it asked for."""
    context = browser.new_context(offline=True, java_script_enabled=False, locale=LOCALES[lang])
    page = context.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    text = page.locator("body").inner_text()
    context.close()
    others = [url for url in requests if not url.startswith("data:") and url != report.as_uri()]
    return text, others


@pytest.mark.parametrize("lang", LOCALES)
def test_from_consent_to_the_report(
    come: Come, server: Server, chromium: Browser, tmp_path: Path, lang: str
) -> None:
    visitor = come(lang=lang)
    visitor.comes()
    assert visitor.page.locator("html").get_attribute("lang") == lang
    visitor.button("consent.camera").click()
    visitor.sees("consent.agree.missing")
    assert visitor.asked() == [], "nothing touches the camera before consent"

    visitor.turns_the_camera_on()
    (wish,) = visitor.asked()
    assert wish["audio"] is True
    assert (wish["video"]["width"], wish["video"]["height"]) == (640, 480)
    visitor.waits_until_ready()
    for reading in ("face", "light", "sound"):
        name = visitor.page.get_by_text(visitor.t(f"check.{reading}"), exact=True)
        shown = visitor.page.get_by_role("listitem").filter(has=name)
        expect(shown).to_contain_text(visitor.t("check.good"))

    job = visitor.job(visitor.records)
    assert visitor.camera_is_off()
    visitor.sees_the_result()
    verdict = server.client.get(f"/jobs/{job}").json()["result"]
    visitor.sees(f"risk.{verdict['risk_level']}")
    visitor.sees(f"decision.{verdict['decision']}")
    for code in verdict["reason_codes"][:-1]:  # the last is the decision
        visitor.sees(f"reason.{code}")
    assert server.stored() == [], "the recording is deleted"
    assert (verdict["video"]["width"], verdict["video"]["height"]) == (640, 480)
    assert verdict["efficientnet"] is not None

    report = downloaded(visitor, "keep.json", tmp_path)
    assert report.suffix == ".json"
    assert_holds(json.loads(report.read_text()), verdict)
    page = downloaded(visitor, "keep.html", tmp_path)
    assert page.suffix == ".html"
    text, others = opened_alone(chromium, page, lang)
    assert others == []
    for key in ("title", f"risk.{verdict['risk_level']}", "reasons.title", "never_proof"):
        assert visitor.t(key) in text
    networks = [model["name"] for model in verdict["models"].values()]
    for told in (verdict["job_id"], verdict["session_id"], *networks):
        assert told in text

    visitor.button("keep.delete").click()
    visitor.button("keep.delete.yes").click()
    visitor.is_told("keep.deleted")
    assert server.client.get(f"/jobs/{job}").status_code == 410


def assert_holds(report: Any, verdict: dict[str, Any]) -> None:
    """All of the verdict, but how long the answer took and until when it may be relied on."""
    passing = ("ttl_ms", "request_time_ms")
    assert {name: report[name] for name in verdict if name not in passing} == {
        name: value for name, value in verdict.items() if name not in passing
    }


def test_a_file_that_is_chosen(come: Come, server: Server, clip: Callable[[str], Path]) -> None:
    visitor = come()
    visitor.comes("/#session=visit-7")
    assert visitor.page.url == visitor.url + "/"
    skip = visitor.page.get_by_role("link", name=visitor.t("skip"))
    tab_to(visitor.page, skip)
    skip.press("Enter")  # to another fragment of the address, which names no session
    job = visitor.job(lambda: visitor.chooses(clip_file(clip("browser"))))
    visitor.sees_the_result()
    assert visitor.asked() == []
    assert server.client.get(f"/jobs/{job}").json()["result"]["session_id"] == "visit-7"
    visitor.page.evaluate("location.hash = 'session=visit-8'")  # somebody else's link, in this tab
    expect(visitor.heading("consent.title")).to_be_visible()
    expect(visitor.heading("result.title")).to_be_hidden()


def test_a_file_that_is_dropped(come: Come, clip: Callable[[str], Path]) -> None:
    visitor = come()
    visitor.comes()
    content = base64.b64encode(clip("browser").read_bytes()).decode()
    visitor.drops("mine.webm", content)
    visitor.sees("consent.agree.missing")
    visitor.agrees()
    visitor.drops("mine.webm", content)
    visitor.sees_the_result()
    assert visitor.asked() == []


def clip_file(path: Path) -> dict[str, Any]:
    """As it is chosen from a disk."""
    return {"name": "mine.webm", "mimeType": "video/webm", "buffer": path.read_bytes()}


def test_the_check_says_what_is_wrong(
    come: Come, launch: Callable[..., Browser], tmp_path: Path
) -> None:
    """A dark room with nobody in it, who says nothing; the check advises and holds nobody up."""
    nobody = fake_camera(tmp_path, seconds=2.0, no_face=True, silent=True, brightness=0.2)
    browser = launch("--use-fake-ui-for-media-stream", *nobody.arguments())
    visitor = come(browser=browser)
    visitor.comes()
    visitor.turns_the_camera_on()
    for problem in ("NO_FACE", "TOO_DARK", "SILENT"):
        visitor.sees(f"check.{problem}")
    expect(visitor.button("check.anyway")).to_be_enabled()
    visitor.button("back").click()
    expect(visitor.heading("consent.title")).to_be_visible()
    assert visitor.camera_is_off()


def test_a_recording_is_stopped_and_begun_again(come: Come) -> None:
    visitor = come()
    visitor.comes()
    visitor.turns_the_camera_on()
    visitor.waits_until_ready()
    visitor.button("check.go").click()
    visitor.button("record.start").click()
    visitor.button("record.stop").click()
    visitor.is_told("record.stopped")
    visitor.button("record.start").click()
    expect(visitor.heading("send.title")).to_be_visible()
    visitor.sees_the_result()


def test_the_first_load_is_light(come: Come) -> None:
    """By the browser's own count, headers included: page, styles, scripts, one table of texts."""
    visitor = come()
    visitor.comes()
    loaded: list[tuple[str, int]] = visitor.page.evaluate(LOADED)
    assert all(name.startswith(visitor.url) for name, _ in loaded), "nothing from elsewhere"
    texts = [name for name, _ in loaded if name.endswith(".json")]
    assert texts == [f"{visitor.url}/static/texts/en.json"]
    assert not any("faces.js" in name or name.endswith(".bin") for name, _ in loaded)
    assert len(loaded) > 3
    assert sum(size for _, size in loaded) < FIRST_LOAD_BYTES, loaded


def test_the_whole_way_by_keyboard(come: Come, tmp_path: Path) -> None:
    visitor = come()
    visitor.comes()
    page = visitor.page
    tab_to(page, page.get_by_role("checkbox", name=visitor.t("consent.agree")))
    page.keyboard.press("Space")
    tab_to(page, visitor.button("consent.camera"))
    page.keyboard.press("Enter")
    visitor.waits_until_ready()
    tab_to(page, visitor.button("check.go"))
    page.keyboard.press("Space")
    expect(visitor.heading("record.title")).to_be_visible()
    tab_to(page, visitor.button("record.start"))
    page.keyboard.press("Enter")
    visitor.sees_the_result()
    slider = page.get_by_role("slider", name=visitor.t("time.slider"))
    tab_to(page, slider)
    longest = float(slider.get_attribute("aria-valuemax") or 0)
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuenow", near(longest))
    page.keyboard.press("PageDown")
    expect(slider).to_have_attribute("aria-valuenow", near(longest - 1))
    tab_to(page, visitor.button("keep.json"))
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    download.value.save_as(tmp_path / "report.json")
    tab_to(page, visitor.button("keep.again"))
    page.keyboard.press("Space")
    expect(visitor.heading("consent.title")).to_be_focused()


def near(seconds: float) -> re.Pattern[str]:
    """That many seconds with two digits, give or take a tenth."""
    around = (f"{seconds + step / 100:.2f}" for step in range(-10, 11))
    return re.compile("^(" + "|".join(map(re.escape, around)) + ")$")


def test_a_click_into_the_chart_seeks_the_recording(
    come: Come, clip: Callable[[str], Path]
) -> None:
    visitor = come()
    visitor.comes()
    visitor.chooses(clip_file(clip("browser")))
    visitor.sees_the_result()
    video = visitor.page.get_by_label(visitor.t("time.video"), exact=True)
    slider = visitor.page.get_by_role("slider", name=visitor.t("time.slider"))
    expect(slider.get_by_role("img")).to_be_visible()
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    # The first click may come while the browser still looks for the recording's end.
    for share, seconds in ((0.25, r"^(0\.[5-9]|1\.[0-4])\d$"), (0.75, r"^(2\.[5-9]|3\.[0-4])\d$")):
        visitor.page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        expect(slider).to_have_attribute("aria-valuenow", re.compile(seconds))
        shown = float(slider.get_attribute("aria-valuenow") or -1)
        assert video.evaluate("(video) => video.currentTime") == pytest.approx(shown, abs=0.05)


def test_the_heat_map_is_drawn_on_request(
    come: Come, server: Server, clip: Callable[[str], Path]
) -> None:
    visitor = come()
    visitor.comes()
    visitor.chooses(clip_file(clip("browser")))
    visitor.sees_the_result()
    job = visitor.job(visitor.button("heat.ask").click)
    drawn = visitor.page.get_by_role("img", name=visitor.t.like("heat.alt"))
    expect(drawn).to_be_visible(timeout=120_000)
    assert drawn.evaluate("(image) => image.naturalWidth") == 224
    assert server.client.get(f"/jobs/{job}").status_code == 410, "the picture is deleted"


def test_what_is_printed_are_no_buttons(come: Come, clip: Callable[[str], Path]) -> None:
    visitor = come()
    visitor.comes()
    visitor.chooses(clip_file(clip("browser")))
    visitor.sees_the_result()
    page = visitor.page
    page.evaluate("globalThis.print = () => { globalThis.printed = true; }")
    visitor.button("keep.print").click()
    page.wait_for_function("globalThis.printed")
    page.emulate_media(media="print")
    expect(page.locator("button:visible").filter(has_not=page.locator("img"))).to_have_count(0)
    expect(visitor.heading("reasons.title")).to_be_visible()
    assert page.pdf().startswith(b"%PDF")


def test_the_language_can_be_switched(come: Come) -> None:
    visitor = come(lang="en")
    visitor.comes()
    visitor.button("consent.camera").click()
    visitor.sees("consent.agree.missing")
    speaks(visitor, "es")
    visitor.sees("consent.agree.missing")
    expect(visitor.heading("consent.title")).to_be_visible()
    expect(visitor.page).to_have_title(re.compile(re.escape(visitor.t("title"))))
    visitor.page.reload()
    expect(visitor.heading("consent.title")).to_be_visible()


def speaks(visitor: Visitor, lang: str) -> None:
    """The page, from now on."""
    visitor.page.get_by_role("button", name=LANGUAGES[lang], exact=True).click()
    visitor.t = Texts(lang)
    expect(visitor.page.locator("html")).to_have_attribute("lang", lang)


def test_the_language_can_be_switched_on_the_way(come: Come, gate: Gate) -> None:
    """No word of the other one stays, and nothing of what was done is lost."""
    visitor = come()
    visitor.comes()
    visitor.turns_the_camera_on()
    visitor.waits_until_ready()
    speaks(visitor, "es")
    visitor.is_told("check.ready")
    visitor.button("check.go").click()
    visitor.button("record.start").click()
    visitor.button("record.stop").click()
    visitor.is_told("record.stopped")
    speaks(visitor, "en")
    visitor.is_told("record.stopped")
    with gate.held("syncnet"):
        visitor.button("record.start").click()
        expect(visitor.heading("send.title")).to_be_visible()
        visitor.is_told("stage.syncnet")
        speaks(visitor, "es")
        visitor.is_told("stage.syncnet")
        stages = visitor.page.get_by_role("listitem")
        expect(stages.filter(has_text=visitor.t("stage.upload"))).to_be_visible()
    visitor.sees_the_result()
    slider = visitor.page.get_by_role("slider", name=visitor.t("time.slider"))
    slider.press("PageUp")
    expect(slider).to_have_attribute("aria-valuenow", near(1.0))
    with gate.held("decode"):
        visitor.button("heat.ask").click()
        visitor.is_told("heat.wait")
        speaks(visitor, "en")
        visitor.is_told("heat.wait")
    slider = visitor.page.get_by_role("slider", name=visitor.t("time.slider"))
    expect(slider).to_have_attribute("aria-valuenow", near(1.0))
    drawn = visitor.page.get_by_role("img", name=visitor.t.like("heat.alt"))
    expect(drawn).to_be_visible(timeout=SCORED_MS)


def test_the_last_language_that_was_asked_for_is_spoken(come: Come) -> None:
    """However late the texts of another one come."""
    visitor = come()
    visitor.comes()
    routes: list[Route] = []
    visitor.page.route("**/texts/es.json", lambda route: routes.append(route))
    visitor.page.get_by_role("button", name=LANGUAGES["es"]).click()
    speaks(visitor, "en")
    with visitor.page.expect_response("**/texts/es.json"):
        for route in routes:
            route.continue_()
    expect(visitor.heading("consent.title")).to_be_visible()
    expect(visitor.page.locator("html")).to_have_attribute("lang", "en")


def test_a_browser_without_our_languages_is_spoken_to_in_english(
    chromium: Browser, come: Come
) -> None:
    english = come()
    context = chromium.new_context(locale="fi-FI")
    page = context.new_page()
    page.goto(english.url)
    expect(page.get_by_role("heading", name=english.t("consent.title"))).to_be_visible()
    context.close()


def test_how_long_a_result_is_kept_is_what_is_set(come: Come, serve: Callable[..., Server]) -> None:
    server = serve(RETENTION_SECONDS=7200)
    visitor = come(url=f"http://127.0.0.1:{server.port}")
    visitor.comes()
    visitor.sees("consent.kept")
    expect(visitor.page.get_by_text(visitor.t("consent.kept", time="2 hours"))).to_be_visible()
