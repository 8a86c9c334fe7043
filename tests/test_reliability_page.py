"""The page of figures says what was measured, for every fault test there is."""

import json
from pathlib import Path

from benchmarks import reliability

ENTRY = {
    "date": "2026-11-21",
    "soak": False,
    "machine": {"processor": "A Processor", "cores": 2, "memory_gb": 8.0},
    "figures": {"kills": {"jobs": 1234, "slowest_s": 2.5}},
}


def test_the_page_is_printed_from_the_figures() -> None:
    kept = {}
    if reliability.FIGURES.exists():
        kept = json.loads(reliability.FIGURES.read_text())
    assert reliability.PAGE.read_text() == reliability.page(kept)


def test_every_fault_test_has_a_row() -> None:
    folder = Path(__file__).parent / "faults"
    there = {path.stem for path in folder.glob("test_*.py")}
    rows = [module for module, _, _ in reliability.TESTS]
    assert there <= set(rows)
    assert len(rows) == len(set(rows)) == 16


def test_a_row_tells_bound_figures_machine_and_day() -> None:
    (row,) = (
        line
        for line in reliability.page({"test_killed_worker": ENTRY}).splitlines()
        if "test_killed_worker" in line
    )
    assert row.startswith("| 5 | SIGKILL")
    assert row.endswith(
        "resumed in 30 s, no media left | **kills**: jobs 1,234, slowest s 2.5 "
        "| A Processor, 2 cores, 8.0 GB | 2026-11-21 |"
    )


def test_what_was_not_measured_is_said_so() -> None:
    rows = [line for line in reliability.page({}).splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 16
    assert all("not yet" in row for row in rows)
