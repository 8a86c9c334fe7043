"""What was asked with a key before: found, compared, deleted."""

import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect
from serving import Server

from browser.conftest import KEY, Come, address
from browser.inspection import findings_in_light_and_dark, photograph
from browser.visitor import LOCALES, Visitor

pytestmark = pytest.mark.slow

WITH_KEY = {"Authorization": f"Bearer {KEY}"}
CLIPS = {
    "own": ("synced", "visit-a"),
    "dubbed": ("dubbed", "visit-a"),
    "later": ("synced", "visit-b"),
}
MANY = 22  # more than one page of the list


@dataclass(frozen=True, slots=True)
class Past:
    """Verdicts by the names of CLIPS."""

    verdicts: dict[str, dict[str, Any]]

    def job(self, name: str) -> str:
        job_id: str = self.verdicts[name]["job_id"]
        return job_id


@pytest.fixture(scope="module")
def past(locked: Server, clip: Callable[[str], Path]) -> Past:
    """Three results of one key."""
    verdicts = {}
    for name, (recording, session) in CLIPS.items():
        content = clip(recording).read_bytes()
        answer = locked.post(content, headers=WITH_KEY, session_id=session)
        assert answer.status_code == 200, answer.text
        verdicts[name] = answer.json()
    return Past(verdicts)


@pytest.fixture
def reader(come: Come, locked: Server, past: Past) -> Callable[..., Visitor]:
    """`reader(lang="es")`: somebody who sees the list of these results."""

    def make(**fields: Any) -> Visitor:
        visitor = come(url=address(locked), **fields)
        visitor.page.goto(f"{visitor.url}/history")
        gives_the_key(visitor, KEY)
        expect(visitor.heading("history.list")).to_be_visible()
        return visitor

    return make


def gives_the_key(visitor: Visitor, key: str) -> None:
    visitor.page.get_by_label(visitor.t("history.key"), exact=True).fill(key)
    visitor.button("history.key.use").click()


def entry(visitor: Visitor, job_id: str) -> Locator:
    """A job in the list."""
    return visitor.page.locator(f"[data-job='{job_id}']")


def filters(visitor: Visitor, **values: str) -> None:
    """By session, since and until; risk by its name in the interface."""
    for name, value in values.items():
        field = visitor.page.get_by_label(visitor.t(f"history.{name}"), exact=True)
        if name == "risk":
            field.select_option(value)
        else:
            field.fill(value)
    visitor.button("history.apply").click()


def test_without_the_right_key_there_is_nothing(come: Come, locked: Server, past: Past) -> None:
    visitor = come(url=address(locked))
    visitor.complaints.expect("status of 401")
    visitor.page.goto(f"{visitor.url}/history")
    expect(visitor.heading("history.list")).to_be_hidden()
    gives_the_key(visitor, "a key that is not theirs")
    alert = visitor.page.get_by_role("alert")
    expect(alert).to_contain_text(visitor.t("problem.unauthorized"))
    expect(visitor.heading("history.list")).to_be_hidden()
    gives_the_key(visitor, KEY)
    expect(entry(visitor, past.job("own"))).to_be_visible()
    visitor.page.reload()
    expect(entry(visitor, past.job("own"))).to_be_visible()
    visitor.button("history.key.forget").click()
    expect(entry(visitor, past.job("own"))).to_have_count(0)
    visitor.page.reload()
    expect(visitor.heading("history.list")).to_be_hidden()


def test_results_are_found_by_session(reader: Callable[..., Visitor], past: Past) -> None:
    visitor = reader()
    filters(visitor, session="visit-b")
    expect(entry(visitor, past.job("own"))).to_have_count(0)
    expect(entry(visitor, past.job("later"))).to_be_visible()
    visitor.is_told("history.found.one")
    visitor.button("history.clear").click()
    expect(entry(visitor, past.job("own"))).to_be_visible()
    entry(visitor, past.job("own")).get_by_role("button", name=visitor.t("history.only")).click()
    expect(entry(visitor, past.job("later"))).to_have_count(0)
    expect(entry(visitor, past.job("dubbed"))).to_be_visible()


def test_results_are_found_by_risk(reader: Callable[..., Visitor], past: Past) -> None:
    visitor = reader()
    risks = {name: verdict["risk_level"] for name, verdict in past.verdicts.items()}
    assert len(set(risks.values())) > 1, risks
    for risk in set(risks.values()):
        filters(visitor, risk=risk)
        for name in risks:
            expected = 1 if risks[name] == risk else 0
            expect(entry(visitor, past.job(name))).to_have_count(expected)


def test_results_are_found_by_date(reader: Callable[..., Visitor], past: Past) -> None:
    visitor = reader(timezone_id="Pacific/Auckland")
    today: str = visitor.page.evaluate("new Date().toLocaleDateString('sv')")
    tomorrow = datetime.date.fromisoformat(today) + datetime.timedelta(days=1)
    filters(visitor, since=str(tomorrow))
    visitor.is_told("history.empty")
    filters(visitor, since="2020-01-01", until="2020-01-02")
    visitor.is_told("history.empty")
    day = datetime.date.fromisoformat(today)
    filters(visitor, since=str(day - datetime.timedelta(days=1)), until=today)
    expect(entry(visitor, past.job("own"))).to_be_visible()


def test_a_result_is_opened_without_its_recording(
    reader: Callable[..., Visitor], past: Past, tmp_path: Path
) -> None:
    visitor = reader()
    entry(visitor, past.job("dubbed")).get_by_role("button", name=visitor.t("history.open")).click()
    expect(visitor.heading("result.title")).to_be_focused()
    visitor.sees("result.saved")
    visitor.sees("reason.LOW_SYNC_SCORE")
    expect(visitor.page.locator("video")).to_have_count(0)
    with visitor.page.expect_download() as download:
        visitor.button("keep.json").click()
    download.value.save_as(tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["syncnet"] == past.verdicts["dubbed"]["syncnet"]
    visitor.button("close").click()
    expect(visitor.heading("result.title")).to_be_hidden()


@pytest.mark.parametrize("lang", LOCALES)
def test_two_results_are_compared(
    reader: Callable[..., Visitor],
    past: Past,
    lang: str,
    screens: Path,
) -> None:
    visitor = reader(lang=lang)
    page = visitor.page
    filters(visitor, session="visit-a")
    expect(page.get_by_role("checkbox")).to_have_count(2)
    found = findings_in_light_and_dark(page)
    if lang == "en":
        wide = photograph(page, "history", screens)
        assert all(by <= 0 for by in wide.values()), wide
    compare = visitor.button("history.compare")
    expect(compare).to_be_disabled()
    for name in ("own", "dubbed"):
        entry(visitor, past.job(name)).get_by_role("checkbox").check()
    compare.click()
    expect(visitor.heading("history.compare.title")).to_be_focused()
    row = page.get_by_role("row").filter(
        has=page.get_by_role("rowheader", name=visitor.t("figures.offset"), exact=True)
    )
    shown = [cell.replace("−", "-") for cell in row.get_by_role("cell").all_inner_texts()]
    offsets = [past.verdicts[name]["syncnet"]["subframe_offset"] for name in ("dubbed", "own")]
    assert [float(cell.replace(",", ".")) for cell in shown] == [
        pytest.approx(offset, abs=0.051) for offset in offsets
    ], "newest first"
    found += findings_in_light_and_dark(page)
    if lang == "en":
        wide = photograph(page, "compare", screens)
        assert all(by <= 0 for by in wide.values()), wide
    assert found == []


def test_no_more_than_two_are_compared(reader: Callable[..., Visitor], past: Past) -> None:
    visitor = reader()
    for name in ("own", "dubbed"):
        entry(visitor, past.job(name)).get_by_role("checkbox").check()
    expect(entry(visitor, past.job("later")).get_by_role("checkbox")).to_be_disabled()
    entry(visitor, past.job("own")).get_by_role("checkbox").uncheck()
    expect(entry(visitor, past.job("later")).get_by_role("checkbox")).to_be_enabled()
    expect(visitor.button("history.compare")).to_be_disabled()


def test_a_result_is_deleted(
    reader: Callable[..., Visitor], locked: Server, clip: Callable[[str], Path]
) -> None:
    sent = locked.post(clip("synced").read_bytes(), headers=WITH_KEY, session_id="visit-c")
    job = sent.json()["job_id"]
    visitor = reader()
    delete = entry(visitor, job).get_by_role("button", name=visitor.t("history.delete"))
    delete.click()
    visitor.button("cancel").click()
    expect(entry(visitor, job)).to_be_visible()
    delete.click()
    visitor.button("keep.delete.yes").click()
    expect(entry(visitor, job)).to_have_count(0)
    expect(visitor.page.get_by_role("status")).to_contain_text(visitor.t("history.deleted"))
    assert locked.client.get(f"/jobs/{job}", headers=WITH_KEY).status_code == 410
    expect(visitor.heading("history.list")).to_be_focused()


def test_older_results_come_on_request(reader: Callable[..., Visitor], locked: Server) -> None:
    for _ in range(MANY):
        refused = locked.post(b"no video", headers=WITH_KEY, session_id="many")
        assert refused.status_code == 415, refused.text
    visitor = reader()
    filters(visitor, session="many")
    entries = visitor.page.locator("[data-job]")
    expect(entries).to_have_count(20)
    visitor.page.get_by_label(visitor.t("history.session"), exact=True).fill("not yet applied")
    visitor.button("history.more").dblclick()
    expect(entries).to_have_count(MANY)
    named = visitor.page.get_by_role("button", name=visitor.t.like("history.delete.of")).all()
    assert len({button.get_attribute("aria-label") for button in named}) == MANY
    expect(visitor.button("history.more")).to_be_hidden()
    expect(entries.first).to_contain_text(visitor.t("state.failed"))
