"""Every step in light and dark, in both languages, on a phone, a tablet and a desk."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, ViewportSize, expect
from serving import Server

from browser.conftest import Come, address
from browser.gated import Gate
from browser.inspection import (
    findings,
    findings_in_light_and_dark,
    moving,
    overflow,
    photograph,
)
from browser.visitor import LOCALES, Visitor
from evaluation.samples import talking_clip

pytestmark = pytest.mark.slow

NARROW: ViewportSize = {"width": 320, "height": 640}


@pytest.fixture
def recording(clip: Callable[[str], Path]) -> dict[str, Any]:
    return {
        "name": "mine.webm",
        "mimeType": "video/webm",
        "buffer": clip("browser").read_bytes(),
    }


class Inspector:
    """Looks at each step of a visit; what is wrong is told in the end, all of it."""

    def __init__(self, visitor: Visitor, folder: Path | None) -> None:
        self._visitor = visitor
        self._folder = folder
        self.found: list[str] = []

    def looks_at(self, step: str, *, whole: bool = True) -> None:
        page = self._visitor.page
        self.found += [f"{step}: {finding}" for finding in findings_in_light_and_dark(page)]
        if self._folder is None:
            page.set_viewport_size(NARROW)
            wide = {320: overflow(page)}
            self.found += [f"{step}, narrow: {finding}" for finding in findings(page)]
            page.set_viewport_size({"width": 1280, "height": 800})
        else:
            wide = photograph(page, step, self._folder, whole=whole)
        self.found += [f"{step}: {w} px: {by} too wide" for w, by in wide.items() if by > 0]


@contextmanager
def uploads_held(visitor: Visitor) -> Iterator[None]:
    """Meanwhile recordings are on their way, and go on afterwards."""
    routes: list[Route] = []
    pattern = "**/api/avsync/score"
    visitor.page.route(pattern, lambda route: routes.append(route))  # no builtin is taken
    yield
    for route in routes:
        route.continue_()
    visitor.page.unroute(pattern)


@pytest.mark.parametrize("lang", LOCALES)
def test_every_step(come: Come, gate: Gate, screens: Path, lang: str) -> None:
    visitor = come(lang=lang)
    inspector = Inspector(visitor, screens if lang == "en" else None)
    visitor.comes()
    inspector.looks_at("consent")
    visitor.turns_the_camera_on()
    visitor.waits_until_ready()
    inspector.looks_at("check")
    visitor.button("check.go").click()
    expect(visitor.heading("record.title")).to_be_visible()
    inspector.looks_at("record")
    with gate.held("syncnet"):
        with uploads_held(visitor):
            visitor.button("record.start").click()
            inspector.found += findings(visitor.page)  # while it counts down or records
            expect(visitor.heading("send.title")).to_be_visible()
            visitor.is_told("stage.upload")
            inspector.looks_at("upload")
        visitor.is_told("stage.syncnet")
        inspector.looks_at("job")
    visitor.sees_the_result()
    expect(visitor.heading("keep.title")).to_be_visible()
    expect(visitor.page.get_by_role("img", name=visitor.t.like("crops.alt")).first).to_be_visible()
    inspector.looks_at("result")
    assert inspector.found == []


@pytest.mark.parametrize("lang", LOCALES)
def test_what_went_wrong_and_what_is_unsure(
    come: Come, screens: Path, tmp_path: Path, lang: str
) -> None:
    visitor = come(lang=lang)
    inspector = Inspector(visitor, screens if lang == "en" else None)
    visitor.comes()
    visitor.chooses({"name": "a.webm", "mimeType": "video/webm", "buffer": b"no video"})
    visitor.sees_the_problem("unsupported_media")
    inspector.looks_at("problem")
    visitor.button("error.restart").click()
    talking_clip(tmp_path / "still.webm", still=True)
    visitor.chooses(tmp_path / "still.webm")
    visitor.sees_the_result()
    expect(visitor.heading("keep.title")).to_be_visible()
    inspector.looks_at("inconclusive")
    visitor.button("keep.delete").click()
    expect(visitor.button("keep.delete.yes")).to_be_visible()
    inspector.found += findings_in_light_and_dark(visitor.page)
    assert inspector.found == []


@pytest.mark.parametrize("lang", LOCALES)
def test_the_access_code(come: Come, locked: Server, recording: dict[str, Any], lang: str) -> None:
    visitor = come(lang=lang, url=address(locked))
    visitor.complaints.expect("status of 401")
    inspector = Inspector(visitor, None)
    visitor.comes()
    visitor.chooses(recording)
    visitor.sees_the_problem("unauthorized")
    inspector.looks_at("access code")
    assert inspector.found == []


def test_the_description_of_the_interface(come: Come, screens: Path) -> None:
    """Which is the same in every language."""
    visitor = come()
    inspector = Inspector(visitor, screens)
    visitor.page.goto(visitor.url + "/docs")
    expect(visitor.page.get_by_role("heading", level=1)).to_be_visible()
    inspector.looks_at("docs", whole=False)
    assert inspector.found == []


def test_nothing_moves_for_whoever_wants_it_still(
    come: Come, gate: Gate, recording: dict[str, Any]
) -> None:
    visitor = come(reduced_motion="reduce")
    visitor.comes()
    assert moving(visitor.page) == []
    with gate.held("syncnet"):
        visitor.chooses(recording)
        visitor.is_told("stage.syncnet")
        assert moving(visitor.page) == []
    visitor.sees_the_result()
    assert moving(visitor.page) == []
    smooth = "getComputedStyle(document.documentElement).scrollBehavior"
    assert visitor.page.evaluate(smooth) == "auto"


def test_each_step_is_read_from_its_heading(
    come: Come, gate: Gate, recording: dict[str, Any]
) -> None:
    """The focus goes where the page has changed, and a screen reader with it."""
    visitor = come()
    visitor.comes()
    with gate.held("syncnet"):
        visitor.chooses(recording)
        expect(visitor.heading("send.title")).to_be_focused()
    visitor.sees_the_result()
    expect(visitor.heading("result.title")).to_be_focused()
    steps = visitor.page.get_by_role("navigation", name=visitor.t("step.label"))
    current = steps.get_by_role("listitem").filter(has_text=visitor.t("step.result"))
    expect(current).to_have_attribute("aria-current", "step")


def test_text_may_be_twice_as_large(come: Come) -> None:
    """WCAG 1.4.4: nothing is cut off or runs out of the window at 200 %."""
    visitor = come(viewport={"width": 1280, "height": 800})
    visitor.comes()
    visitor.page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert overflow(visitor.page) <= 0
