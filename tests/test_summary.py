import json
from pathlib import Path

import numpy as np
import pytest

from evaluation import detection, speed, summary
from evaluation.detection import Scored
from evaluation.readme import ROOT, replaced

FIGURE = {"value": 0.912, "low": 0.88, "high": 0.94, "count": 50}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Figures of one classifier on two kinds of forgery."""
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0.7, 0.2, 40), rng.normal(0.4, 0.2, 40)]).clip(0, 1)
    kinds = [*["swap", "composite"] * 40]
    names = [str(i) for i in range(80)]
    scored = Scored(scores, np.arange(80) < 40, names, ["made"] * 80, kinds)
    limits = {"0.5": 0.5}
    found = {"all": detection.as_figures(detection.measure(scored, limits))}
    for by, slices in detection.by_slice(scored, limits).items():
        found[by] = {name: detection.as_figures(of) for name, of in slices.items()}
    figures = {"efficientnet_b0": {"frames": found, "videos": None}}
    (tmp_path / "artifact_crops.json").write_text(json.dumps({"figures": figures}))
    return tmp_path


def test_tables_have_a_row_a_kind_and_one_for_all(folder: Path) -> None:
    page = summary.full(folder)
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[2:]] == [
        "| all, face crops",
        "| swap, face crops",
        "| composite, face crops",
    ]
    assert {row.count("|") for row in rows} == {9}
    assert "40 + 40" in rows[2]


def test_what_was_not_measured_has_no_row(folder: Path, tmp_path: Path) -> None:
    assert "Lip-sync" not in summary.short(folder, tmp_path / "none.json")
    (folder / "artifact_crops.json").unlink()
    assert summary.full(folder) == ""


def test_figures_are_written_with_interval_and_count() -> None:
    assert summary.percent(FIGURE) == "91.2% (88.0 to 94.0, n = 50)"
    assert summary.interval(FIGURE) == "0.912 (0.880 to 0.940)"
    open_ended = FIGURE | {"low": None, "high": None}
    assert summary.percent(open_ended) == "91.2% (n = 50)"
    assert summary.interval(open_ended, 1) == "0.9"
    assert summary.percent(None) == summary.interval(None) == "–"


@pytest.mark.parametrize(
    ("page", "place", "table"),
    [
        ("README.md", "figures", summary.short),
        ("models/README.md", "figures", summary.full),
        ("models/efficientnet_b0.md", "shortcuts", summary.shortcuts),
        ("docs/networks.md", "comparison", speed.comparison),
    ],
)
def test_the_published_tables_are_the_measured_ones(page, place, table) -> None:
    text = (ROOT / page).read_text()
    assert replaced(text, place, table()) == text
