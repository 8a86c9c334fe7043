"""What `make bench` measured, as it is told in the README and in docs/networks.md."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from evaluation import speed

SHIFTS = (0, 3, -3)
FCN = [
    {"shift": at, "offset": at, "confidence": 0.8, "moved": at, "moved_with_it": True}
    for at in SHIFTS
]
MACHINE = {"cores": 2, "processor": "A Processor"}
NETWORKS: dict[str, Any] = {
    "clip": "a clip",
    "analysed_s": 5.04,
    "threads": 2,
    "syncnet_v2_weights": "random: speed only",
    "ways": {
        name: {
            "way": name,
            "s_per_s": {"median": 0.5, "fastest": 0.4},
            "peak_mb": 600,
            "peak_mb_before_network": 400,
        }
        for name in ("fcn", "original_reference", "original_float32", "original_auto")
    },
    "fcn_times_as_fast_as": {
        "original_reference": 9.7,
        "original_float32": 6.5,
        "original_auto": 3.8,
    },
    "demanded": 5.0,
}
NETWORKS["ways"]["fcn"]["offsets"] = FCN
NETWORKS["ways"]["original_auto"]["no_offsets"] = "the weights are not here: speed only"
FIGURES: dict[str, Any] = {
    "machine": MACHINE,
    "networks": NETWORKS,
    "long": [
        {"video_s": 361.2, "real_time_factor": 12.34, "peak_resident_mb": 976.4},
        {"video_s": 120.0, "real_time_factor": 9.04, "peak_resident_mb": 970.1},
    ],
    "batch": {
        "runs": {"one_worker": [{"others_busy": 0.02}, {"others_busy": 0.05}]},
        "two_workers_over_one": 1.84,
        "two_workers_over_one_with_all_cores": 1.4,
        "demanded": 1.8,
    },
    "stream": {
        "first_ms": 2136,
        "median_ms": 1100,
        "worst_ms": 1400,
        "demanded_ms": 1500.0,
        "within": 1.0,
    },
}


@pytest.fixture
def figures() -> dict[str, Any]:
    return deepcopy(FIGURES)


def test_every_benchmark_has_its_rows(figures: dict[str, Any]) -> None:
    network, fcn, original, long, memory, batch, stream = (row[1] for row in speed.rows(figures))
    assert network == "9.7; 6.5; 3.8 times as fast (5 times demanded)"
    assert fcn == "follows exactly in 3 of 3"
    assert original == "not measured: the weights are not here"
    assert long == "9.0; 12.3 times real time (10 times demanded)"
    assert memory == "970; 976 MB (1000 MB demanded)"
    assert (
        batch == "1.84; 1.40 times (1.8 times demanded; other programs kept up to 0.05 cores busy)"
    )
    assert stream == "median 1.10 s, slowest 1.40 s (1.5 s demanded); the first window 2.14 s"


def test_a_missed_bound_is_said(figures: dict[str, Any]) -> None:
    figures["networks"]["fcn_times_as_fast_as"]["original_reference"] = 4.9
    figures["long"][0] |= {"real_time_factor": 9.96, "peak_resident_mb": 1000.4}
    figures["batch"]["two_workers_over_one"] = 1.799
    figures["stream"] |= {"worst_ms": 1501, "within": 14 / 15}
    network, _, _, long, memory, batch, stream = (row[1] for row in speed.rows(figures))
    assert "5 times demanded, missed" in network
    assert "10 times demanded, missed" in long
    assert "1000 MB demanded, missed" in memory
    assert "1.8 times demanded, missed" in batch
    assert "1.5 s demanded, missed by 7% of windows" in stream


def test_offsets_that_do_not_follow_are_counted(figures: dict[str, Any]) -> None:
    near, wrong = figures["networks"]["ways"]["fcn"]["offsets"][1:]
    near |= {"offset": 4, "moved": 4}
    told = [row[1] for row in speed.rows(figures)][1]
    assert told == "follows exactly in 2 of 3, within ±1 in 3"
    wrong |= {"offset": 9, "moved": 9, "moved_with_it": False}
    told = [row[1] for row in speed.rows(figures)][1]
    assert told == "follows exactly in 1 of 3, within ±1 in 2 (all demanded, missed)"


def test_what_was_not_measured_has_no_row(figures: dict[str, Any], tmp_path: Path) -> None:
    assert list(speed.rows({})) == []
    del figures["networks"], figures["batch"]
    assert [row[0].split(",")[0] for row in speed.rows(figures)] == [
        "`long`",
        "… peak memory",
        "Live window",
    ]
    assert speed.comparison(tmp_path / "none.json") == ""


def test_the_original_stands_beside_where_its_weights_were_there(
    figures: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(figures))
    without = speed.comparison(path)
    assert "SyncNet v2 has random weights." in without
    assert "| +3 | +3 | +3 | 0.800 |" in without

    original = figures["networks"]["ways"]["original_auto"]
    del original["no_offsets"]
    original["offsets"] = [
        {"shift": 0, "offset": 3, "confidence": 10.0, "moved": 0, "moved_with_it": True},
        {"shift": 3, "offset": -1, "confidence": 9.0, "moved": -4, "moved_with_it": False},
        {"shift": -3, "offset": 15, "confidence": 8.0, "moved": 12, "moved_with_it": None},
    ]
    figures["networks"]["syncnet_v2_weights"] = "published"
    path.write_text(json.dumps(figures))
    beside = speed.comparison(path)
    assert "SyncNet v2 has published weights." in beside
    assert "| +3 | +3 | +3 | 0.800 | -1 | -4 (**wrong**) | 9.000 |" in beside
    assert "| -3 | -3 | -3 | 0.800 | +15 | +12 (beyond reach) | 8.000 |" in beside
    assert "SyncNet v2 follows exactly in 1 of 3" in beside
