"""JSON and page of an evaluation: complete, escaped, self-contained."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evaluation import plots, report
from evaluation.inputs import Item
from evaluation.journal import Failure
from evaluation.report import Headline, Outcome, Plot, Run, Section, Table
from evaluation.statistics import Figure
from syncnet_python.results import CalibrationInfo, ModelInfo

EVIL = '<img src=x onerror="alert(1)">.mp4'
FIGURE = Figure(0.91234567, 0.85, 0.95, 1234)


def run() -> Run:
    items = (
        Item(Path("a.mp4"), "a.mp4", True, "grid", "quiet"),
        Item(Path("b.mp4"), EVIL, False, "grid", ""),
        Item(Path("c.mp4"), "c.mp4", True, "voxceleb", "noise"),
    )
    command = "syncnet-service evaluate system list.csv"
    return Run("system", "2025-01-02 03:04 UTC", command, items, {"python": "3.11.9"})


def outcome() -> Outcome:
    table = Table(
        "By source",
        ("source", "AUC", "EER %", "files"),
        (("grid", FIGURE, FIGURE, 1200), ("voxceleb", None, Figure(0.5, None, None, 2), 0.25)),
        "A note.",
    )
    section = Section(
        "Fused score",
        "What it is.",
        headlines=(Headline("Inner", Figure(2.5, 2.0, 3.0, 7), "frames"),),
        tables=(table,),
        plots=(Plot(plots.offset_errors([0, 1]), "A caption.", wide=True),),
    )
    return Outcome(
        figures={"auc": {"value": 0.9123456789, "low": None}, "by source": {}},
        headlines=(
            Headline("AUC", FIGURE),
            Headline("EER", FIGURE, "%", "target: 5%"),
            Headline("None", None),
        ),
        sections=(section,),
        networks=(ModelInfo("net", "7", "bundled", "ab" * 32),),
        rows=({"file": "a.mp4", "score": 0.5}, {"file": EVIL, "reason": "x, y"}),
        failures=(Failure(EVIL, "no_face", "no face & nothing else"),),
        calibration=CalibrationInfo("Kiosk <1>", "cd" * 32, "2025-01-01", 1.5),
    )


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_json_holds_everything_there_is_to_know() -> None:
    body = json.loads(report.as_json(run(), outcome()))
    assert body["kind"] == "system"
    assert body["command"] == "syncnet-service evaluate system list.csv"
    assert body["versions"] == {"python": "3.11.9"}
    assert body["files"]["listed"] == 3
    assert body["files"]["measured"] == 2
    assert body["files"]["by source"]["grid"] == {"real": 1, "fake": 1}
    assert body["files"]["by condition"][""] == {"real": 0, "fake": 1}
    assert body["networks"][0]["sha256"] == "ab" * 32
    assert body["calibration"]["name"] == "Kiosk <1>"
    assert body["figures"]["auc"] == {"value": 0.912346, "low": None}
    assert body["failures"] == [
        {"file": EVIL, "code": "no_face", "reason": "no face & nothing else"}
    ]


def test_a_file_counts_as_measured_unless_it_failed_itself() -> None:
    failures = [Failure(name, "no_face", "nobody") for name in (EVIL, EVIL, "a.mp4 (yaw +25)")]
    assert report.measured(run(), replace(outcome(), failures=tuple(failures))) == 2


def test_the_page_shows_everything_there_is_to_know() -> None:
    page = Page(report.as_html(run(), outcome()))
    for said in (
        "2 of 3 files measured",
        "0.912",
        "91.2%",
        "85.0 to 95.0",
        "n = 1,234",
        "target: 5%",
        "2.500 frames",
        "Fused score",
        "A note.",
        "A caption.",
        "Share of 2 measurements",
        "voxceleb",
        "ab" * 32,
        "Kiosk <1>",
        "cd" * 32,
        "no_face",
        "no face & nothing else",
        "syncnet-service evaluate system list.csv",
        "python 3.11.9",
        EVIL,
    ):
        assert said in page.text


def test_the_page_is_whole_in_itself() -> None:
    page = Page(report.as_html(run(), outcome()))
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "img", "iframe", "object"}
        assert not any(name.startswith("on") for name in attributes)
        for name in ("href", "src", "xlink:href"):
            if name in attributes:
                assert str(attributes[name]).startswith("#")
    ids = [str(a["id"]) for t, a in page.tags if t == "section" and "id" in a]
    links = [str(a["href"])[1:] for t, a in page.tags if t == "a" and "href" in a]
    assert len(ids) == len(set(ids))
    assert set(links) <= set(ids)


def test_an_empty_outcome_is_a_page_too() -> None:
    empty = Outcome({}, (), (), ())
    bare = Run("sync", "2025-01-02", "x", (Item(Path("a"), "a"),), {})
    page = Page(report.as_html(bare, empty))
    assert "No operator's calibration was applied." in page.text
    assert "Not measured" not in page.text
    assert json.loads(report.as_json(bare, empty))["calibration"] is None


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "", "–"),
        (1200, "", "1,200"),
        (0.5, "", "0.500"),
        (0.5, "%", "50.0"),
        ("<b>", "", "&lt;b&gt;"),
        (Figure(0.5, None, None, 2), "%", "<b>50.0</b>"),
        (
            Figure(0.5, 0.25, 0.75, 2),
            "",
            '<b>0.500</b> <span class="interval">0.250 to 0.750</span>',
        ),
    ],
)
def test_cells(value: report.Cell, unit: str, shown: str) -> None:
    assert str(report.cell(value, unit)) == shown


def test_a_csv_of_files_has_every_column() -> None:
    assert report.as_csv(outcome().rows).splitlines() == [
        "file,score,reason",
        "a.mp4,0.5,",
        '"<img src=x onerror=""alert(1)"">.mp4",,"x, y"',
    ]


def test_versions_name_what_is_installed() -> None:
    versions = report.versions()
    assert {"python", "torch", "numpy", "scikit-learn"} <= set(versions)
