"""`score` and what may be chosen about its networks, as a person at a command line meets it."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

import cli
from benchmarks import networks as comparison
from evaluation.samples import talking_clip
from service.settings import Settings
from syncnet_python import weights

SMALL = {"container": "mp4-h264-aac", "size": (320, 240)}


def score(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["score", *map(str, arguments)])


def sync_of(line: str) -> dict[str, object]:
    sync = json.loads(line)["verdict"]["syncnet"]
    assert isinstance(sync, dict)
    return sync


@pytest.fixture(autouse=True)
def only_default_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)  # away from any .env


@pytest.fixture(scope="module")
def leading(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds whose sound leads by four frames."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    talking_clip(path, seconds=2.0, seed=1, offset_frames=4, **SMALL)
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--profile", "bundled", "--facedet-scale", 0.5], "--facedet-scale is for S3FD"),
        (["--network", "fcn", "--facedet-scale", 0.25], "but face_finder finds the faces"),
        (["--network", "fcn", "--crop-scale", 0.4], "--crop-scale is for SyncNet v2"),
        (["--network", "original", "--crop-scale", "nan"], "--crop-scale must be"),
        (["--network", "original", "--facedet-scale", 0], "--facedet-scale must be"),
        (["--vshift", 0], "--vshift must be"),
        (["--vshift", 1000], "--vshift must be"),
    ],
)
def test_an_option_that_does_not_apply_is_refused_by_name_in_one_line(
    arguments: list[object], said: str, tmp_path: Path
) -> None:
    used = score(*arguments, "--heatmap", tmp_path / "maps", "absent.webm")
    assert used.exit_code == 2
    assert used.stdout == ""
    assert used.stderr.count("\n") == 1
    assert said in used.stderr
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--network", "syncnet"], ["--min-track", 0], ["--min-face-size", -1], ["--vshift", 1.5]],
)
def test_values_that_are_none_are_wrong_usage(arguments: list[object]) -> None:
    used = score(*arguments, "absent.webm")
    assert used.exit_code == 2
    assert str(arguments[0]) in used.stderr


@pytest.mark.slow
def test_the_original_is_not_replaced_by_another_where_it_is_not_here(leading: Path) -> None:
    if weights.locate("syncnet_v2") is not None:
        pytest.skip("the published weights of SyncNet v2 are here")
    used = score("--json", "--network", "original", leading)
    assert used.exit_code == 1
    error = json.loads(used.stdout)["error"]
    assert error["code"] == "weights_missing"
    assert "syncnet_v2.model" in error["message"]
    assert "models fetch" in error["advice"]
    assert "models fetch" in used.stderr


@pytest.mark.slow
def test_naming_what_is_the_default_changes_nothing(leading: Path) -> None:
    plain = json.loads(score("--json", "--profile", "bundled", leading).stdout)["verdict"]
    named = score(
        *("--json", "--profile", "bundled", "--network", "fcn", "--vshift", 15),
        *("--min-track", 25, "--min-face-size", 40, leading),
    )
    verdict = json.loads(named.stdout)["verdict"]
    for untimed in (plain, verdict):
        del untimed["timings_ms"]
    assert verdict == plain


@pytest.mark.slow
def test_a_narrower_search_is_narrower_and_says_so(leading: Path) -> None:
    usual = sync_of(score("--json", "--profile", "bundled", leading).stdout)
    narrow = sync_of(score("--json", "--network", "fcn", "--vshift", 6, leading).stdout)
    assert usual["offset_frames"] == narrow["offset_frames"] == 4
    assert narrow["curve"]["offsets"] == list(range(-6, 7))
    assert narrow["curve"]["distances"] == usual["curve"]["distances"][9:22]
    assert narrow["protocol"] == f"{usual['protocol']}/vshift-6"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--min-track", 60], "for 2.4 s"), (["--min-face-size", 500], "more than 500 pixels")],
)
def test_faces_too_short_or_too_small_are_passed_over(
    leading: Path, arguments: list[object], said: str
) -> None:
    used = score("--profile", "bundled", *arguments, leading)
    assert used.exit_code == 1
    assert said in used.stderr


@pytest.mark.slow
def test_fcn_moves_by_exactly_as_much_as_the_sound(tmp_path: Path) -> None:
    files = {shift: tmp_path / f"shifted{shift:+d}.mp4" for shift in comparison.SHIFTS}
    for shift, path in files.items():
        talking_clip(path, seconds=2.4, seed=5, offset_frames=shift, **SMALL)
    used = score("--json", "--network", "fcn", *files.values())
    assert used.exit_code == 0, used.stderr
    found = [sync_of(line) for line in used.stdout.splitlines()]
    offsets = [(int(str(f["offset_frames"])), float(str(f["confidence"]))) for f in found]
    rows = comparison.compared(offsets)
    assert [row["shift"] for row in rows] == [0, 3, -3, 5, -5, 8, -8, 12, -12]
    assert [row["shift"] for row in rows if not row["moved_with_it"]] == [], offsets
    assert abs(offsets[0][0]) <= 1


def test_the_comparison_counts_what_moved_and_not_what_is_beyond_reach() -> None:
    found = [(4, 0.8), (8, 0.8), (1, 0.8), (9, 0.8), (1, 0.8), *[(12, 0.8)] * 4]
    rows = {row["shift"]: row for row in comparison.compared(found)}
    assert rows[3]["moved"] == 4
    assert rows[3]["moved_with_it"] is True
    assert rows[-5]["moved_with_it"] is False, "it moved by 3"
    assert rows[12]["moved_with_it"] is None, "4 + 12 lies beyond 15"
    assert rows[-12]["moved_with_it"] is False


def test_the_comparison_leaves_out_what_random_weights_cannot_say() -> None:
    spent = {"median": 0.1, "fastest": 0.1}
    way = {"s_per_s": spent, "peak_mb": 600, "peak_mb_before_network": 400}
    ways = {key: {"way": w.title, **way} for key, w in comparison.WAYS.items()}
    for key, w in comparison.WAYS.items():
        if w.network == "original":
            ways[key]["no_offsets"] = "speed only"
    ways["fcn"]["offsets"] = comparison.compared([(shift, 0.8) for shift in comparison.SHIFTS])
    figures = {
        "clip": "c",
        "threads": 1,
        "ways": ways,
        "fcn_times_as_fast_as": {key: 5.0 for key in comparison.WAYS if key != "fcn"},
    }
    console = Console(width=160)
    with console.capture() as capture:
        for table in comparison.tables(figures):
            console.print(table)
    lines = capture.get().splitlines()
    assert sum("speed only" in line for line in lines) == 4
    assert sum(line.strip().startswith("FCN-SyncNet ") and "yes" in line for line in lines) == 9
