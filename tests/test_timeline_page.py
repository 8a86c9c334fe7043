"""The page of a long recording: whole, escaped, readable without colours, without requests."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from workflows.long.timeline_page import clock, render

HOSTILE = '<script>alert("x")</script>&\'.mp4'
VOID = {"meta", "line", "rect", "path", "br"}


def chunk(number: int, state: str, **fields: Any) -> dict[str, Any]:
    start = 25.0 * number
    row = {
        "number": number,
        "start_s": start,
        "end_s": start + 30,
        "own_start_s": start + 2.5 * bool(number),
        "own_end_s": start + 27.5,
        "state": state,
        "reasons": [],
        "visible_faces": 2,
        "speaking_faces": 1,
        "still_s": 0.0,
        "failure": None,
        "doubts": [],
        "changes": [],
    }
    if state == "failed":
        row["failure"] = {"code": "no_face", "message": f"nobody {HOSTILE}", "advice": "Look."}
    else:
        row |= {"offset_frames": -3, "lag_ms": -120, "confidence": 0.41, "min_dist": 0.81}
    return row | fields


def summary(*chunks: dict[str, Any], **whole: Any) -> dict[str, Any]:
    states = [row["state"] for row in chunks]
    return {
        "file": {"name": HOSTILE, "sha256": "0" * 64},
        "protocol": "fcn-syncnet/valid-pairs/faces-every-5",
        "networks": [{"name": "syncnet_fcn", "version": "1", "origin": "bundled", "sha256": "0"}],
        "options": {"chunk_duration_s": 30.0, "overlap_s": 5.0},
        "preset": {
            "name": "high",
            "syncnet_confidence": 4.0,
            "least_confidence": 0.2938,
            "largest_offset": 5,
        },
        "whole": {
            "end_s": chunks[-1]["end_s"],
            "chunks": len(chunks),
            "kept": states.count("kept"),
            "failed": states.count("failed"),
            "offset_frames": -3,
            "lag_ms": -120,
            "confidence": 0.4,
            "min_dist": 0.8,
            "num_windows": 1400,
        }
        | whole,
        "chunks": list(chunks),
        "failures": [],
        "timings": {"real_time_factor": 11.5},
    }


class Elements(HTMLParser):
    """Every element, and that each is closed where it was opened."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


THREE = (
    chunk(0, "kept", doubts=["MUSIC"], changes=[{"time_s": 12.0, "before": 0.0, "after": 6.0}]),
    chunk(1, "failed"),
    chunk(2, "dropped", reasons=["confidence 0.210 is below 0.294"], still_s=2.4),
)


def test_the_page_needs_nothing_but_itself_and_runs_nothing() -> None:
    page = render(summary(*THREE))
    elements = Elements(page).found
    assert not {tag for tag, _ in elements} & {"script", "link", "img", "iframe", "object"}
    targets = {values["href"] for tag, values in elements if tag == "a"}
    assert targets == {"#chunk-0", "#chunk-1", "#chunk-2"}
    assert targets <= {f"#{values['id']}" for _, values in elements if "id" in values}
    assert not re.search(r"https?:|url\(|@import", page)
    assert "prefers-color-scheme: dark" in page


def test_what_comes_from_outside_is_escaped() -> None:
    page = render(summary(*THREE))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3  # title, heading, failure


def test_every_chunk_is_in_the_chart_and_in_the_table_by_state() -> None:
    page = render(summary(*THREE))
    elements = Elements(page).found
    rows = [values for tag, values in elements if tag == "tr" and "id" in values]
    assert [row["tabindex"] for row in rows] == ["0", "0", "0"]
    labels = [values["aria-label"] or "" for tag, values in elements if tag == "a"]
    assert "kept: offset -3 frames, confidence 0.410" in labels[0]
    assert "not measured: nobody" in labels[1]
    shapes = [values["class"] for tag, values in elements if tag == "path"]
    assert shapes == ["kept", "kept", "failed", "dropped", "dropped"]
    for said in (
        "MUSIC",
        "the offset changes at 0:12 from +0.0 to +6.0",
        "(no_face)",
        "confidence 0.210 is below 0.294",
        "the picture stands still for 2.4 s",
        "0.294 or more (4 on SyncNet&#39;s own scale)",
        "1 of 3",
    ):
        assert said in page, said


def test_marks_stay_inside_the_chart_and_follow_each_other() -> None:
    chunks = [
        chunk(n, "kept", offset_frames=15 * (-1) ** n, confidence=0.01 * n) for n in range(300)
    ]
    elements = Elements(render(summary(*chunks))).found
    columns = [values for tag, values in elements if tag == "rect"]
    edges = [(float(c["x"] or 0), float(c["width"] or 0)) for c in columns]
    assert len(edges) == 300
    assert edges == sorted(edges)
    assert all(x >= 56 and x + width <= 970.1 for x, width in edges)


def test_a_recording_without_figures_and_without_an_end_has_a_page_too() -> None:
    nothing = dict.fromkeys(("offset_frames", "lag_ms", "confidence", "min_dist"))
    found = summary(chunk(0, "failed"), **nothing, num_windows=0)
    found["preset"] |= {"name": "none", "least_confidence": None, "largest_offset": None}
    found["failures"] = [
        {"start_s": 30.0, "end_s": None, "code": "undecodable", "message": "broken", "advice": ""}
    ]
    page = render(found)
    Elements(page)
    assert "nothing could be measured" in page
    assert "From 0:30 on: broken (undecodable)" in page


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (59.96, "1:00"), (3.48, "0:03.5"), (600, "10:00"), (3723.5, "1:02:03.5")],
)
def test_times_are_read_as_on_a_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown
