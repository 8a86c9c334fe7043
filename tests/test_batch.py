"""Batches: what is found, what is kept, what a second run does, and what dying workers cost."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import service_doubles as doubles
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

import cli
from evaluation.samples import talking_clip
from service.settings import Settings
from syncnet_python.errors import NoFace
from syncnet_python.profiles import OptionRefused, Options
from workflows.batch import running as batch
from workflows.batch import workers as batch_workers
from workflows.batch.inputs import InputError, Inputs, Item, find
from workflows.batch.results import COLUMNS, CSV, JSONL, SUMMARY, Outcome, Results, cell
from workflows.batch.running import Order, Plan
from workflows.batch.workers import Work

ROOT = Path(__file__).resolve().parent.parent
WORK = Work(workers=2, threads=1)
PLAN = Plan("processes", {"networks": "doubles"}, {"workers": 2})


@pytest.fixture(autouse=True)
def only_default_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)  # away from any .env


def put(path: Path, words: str = "answer") -> Path:
    """A recording that tells the double what to do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(words)
    return path


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / JSONL).read_text().splitlines()]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / CSV).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds; the test's own timeout ends a wait that never does."""
    while not condition():
        time.sleep(0.01)


def scoring_processes() -> set[int]:
    """Those that this process has started."""
    found = set()
    for task in Path("/proc/self/task").glob("*/children"):
        for pid in task.read_text().split():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except FileNotFoundError:
                continue
            if b"service.scoring.process" in command:
                found.add(int(pid))
    return found


# What is found.


def test_a_folder_gives_the_videos_below_it_and_says_how_many_files_are_none(
    tmp_path: Path,
) -> None:
    for name in ("b.mp4", "a/c.WEBM", "a/notes.txt", ".hidden.mp4", ".git/d.mp4", "out/e.mp4"):
        put(tmp_path / "clips" / name)
    found = find([str(tmp_path / "clips")], without=tmp_path / "clips/out")
    assert [Path(item.file).name for item in found.items] == ["c.WEBM", "b.mp4"]
    assert found.left_out == 1


def test_a_pattern_gives_the_videos_that_it_matches_each_once(tmp_path: Path) -> None:
    for name in ("a.mp4", "x/b.mp4", "x/c.txt"):
        put(tmp_path / name)
    found = find([str(tmp_path / "**/*"), str(tmp_path / "a.mp4")])
    assert [item.path for item in found.items] == [tmp_path / "a.mp4", tmp_path / "x/b.mp4"]
    assert found.left_out == 1


def test_what_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    put(tmp_path / "a.mp4")
    put(tmp_path / "empty/notes.txt")
    sources = [str(tmp_path / name) for name in ("a.mp4", "gone.mp4", "empty", "*.webm")]
    found = find(sources)
    assert [item.path.name for item in found.items] == ["a.mp4", "gone.mp4"]
    assert found.empty == tuple(sources[2:])
    with pytest.raises(InputError, match=r"no recording was found in .*gone"):
        find(sources[1:])


@pytest.mark.parametrize("header", ["file", "path", "File", "\ufefffile"])
def test_a_csv_names_files_relative_to_itself_and_carries_its_columns(
    tmp_path: Path, header: str
) -> None:
    listed = tmp_path / "lists/clips.csv"
    put(listed, f"{header},speaker,take\n../a.mp4,Ann,1\n/elsewhere/b.any,Ben,\n")
    found = find([str(listed)])
    assert found.items == (
        Item("../a.mp4", tmp_path / "a.mp4", {"speaker": "Ann", "take": "1"}),
        Item("/elsewhere/b.any", Path("/elsewhere/b.any"), {"speaker": "Ben", "take": ""}),
    )
    assert found.columns == ("speaker", "take")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name\na.mp4\n", "no column `file` or `path`"),
        ("file\na.mp4,1\n", "line 2: more fields"),
        ("file,x\n,1\n", "line 2: the file is not named"),
        ("file\na.mp4\n./a.mp4\n", "line 3: ./a.mp4 is listed before, in line 2"),
        ("file\n", "no recording was found"),
        ('file\n"a.mp4\n', "is no CSV"),
    ],
)
def test_a_csv_that_cannot_be_used_is_one_clear_error(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        find([str(put(tmp_path / "list.csv", text))])


# What is kept.


@given(st.text())
@example("=HYPERLINK()")
@example("-2+3")
@example("\t=1")
@example(" @SUM(1)")
def test_no_cell_is_a_formula(text: str) -> None:
    written = cell(text)
    assert isinstance(written, str)
    first = written.lstrip(" ")[:1]
    assert first not in tuple("=+-@\t\r\n＝＋－＠") or float(written) == float(text)
    assert written.removeprefix("'") == text.replace("\0", "").removeprefix("'")


@pytest.mark.parametrize("number", [-2, 0.25, "-2", "+3.5e-2"])
def test_numbers_stay_numbers(number: object) -> None:
    assert cell(number) == number


def outcome(path: Path, result: Any = doubles.VERDICT, key: str = "k", **fields: Any) -> Outcome:
    return Outcome(Item(path.name, path), key, result, 0.5, **fields)


def test_a_line_that_a_kill_has_cut_off_is_dropped_and_the_rest_is_kept(tmp_path: Path) -> None:
    one, two = outcome(tmp_path / "1.mp4"), outcome(tmp_path / "2.mp4", NoFace("nobody"))
    with Results(tmp_path) as results:
        results.put(one)
        results.put(two)
    whole = (tmp_path / JSONL).read_bytes()
    for cut in (whole[:-1], whole + b'{"file": "3.mp4", "ver', whole + b"\0\0\0\n" + b"[]\n"):
        (tmp_path / JSONL).write_bytes(cut)
        with Results(tmp_path) as results:
            assert results.get(one.item) is not None
            results.put(replace(two, key="new"))
            kept = results.get(two.item)
            assert kept is not None
            assert kept.key == "new"
        assert rows(tmp_path)[0]["file"] == "1.mp4"


def test_a_new_outcome_takes_the_place_of_the_old_one_and_other_files_stay(tmp_path: Path) -> None:
    files = [outcome(tmp_path / f"{n}.mp4") for n in range(3)]
    with Results(tmp_path) as results:
        for each in reversed(files):
            results.put(each)
        results.put(replace(files[1], result=NoFace("nobody")))
        results.finish([each.item for each in files[:2]])
    assert [(row["file"], "error" in row) for row in rows(tmp_path)] == [
        ("2.mp4", False),
        ("0.mp4", False),
        ("1.mp4", True),
    ]


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with Results(tmp_path), pytest.raises(InputError, match="another run"):
        Results(tmp_path)
    with Results(tmp_path) as later:
        assert later.id


# What is done.


class Desk:
    """Runs batches of recordings that tell the double what to do."""

    def __init__(self, folder: Path) -> None:
        self.clips, self.out = folder / "clips", folder / "out"
        self.asked: list[list[str]] = []
        self.settings = Settings(_env_file=None)
        self.timeout_s = 60.0

    def run(self, source: Path | None = None, **options: Any) -> dict[str, Any]:
        def score(orders: Sequence[Order], _: Results) -> Any:
            self.asked.append([order.item.path.name for order in orders])
            work = Work(workers=2, threads=1, timeout_s=self.timeout_s)
            return batch_workers.score(orders, self.settings, work, build=doubles.BUILD)

        with Results(self.out) as results:
            found = find([str(source or self.clips)])
            return batch.run(found, results, PLAN, score, lambda *_: None, **options)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    yield Desk(tmp_path)
    assert scoring_processes() == set()


def test_a_failed_file_stops_nothing(desk: Desk) -> None:
    for name, words in {
        "1.mp4": "answer",
        "2.mp4": "raise NoFace nobody there",
        "3.mp4": "break",
        "4.mp4": "answer",
    }.items():
        put(desk.clips / name, words)
    summary = desk.run()
    assert summary["files"] | {"of_earlier_runs": 0, "left_out": 0} == {
        "total": 4,
        "scored": 2,
        "failed": 2,
        "not_done": 0,
        "of_earlier_runs": 0,
        "left_out": 0,
    }
    assert summary["failures"] == {"analysis_failed": 1, "no_face": 1}
    assert summary["by_risk"] == {"LOW": 2}
    assert summary == json.loads((desk.out / SUMMARY).read_text())
    first, second, *_ = rows(desk.out)
    assert first["verdict"]["combined_score"] == doubles.VERDICT.combined_score
    assert first["seconds"] >= 0
    assert second["error"] == {
        "code": "no_face",
        "message": "nobody there",
        "advice": NoFace.advice,
    }
    assert [row["error_code"] for row in table(desk.out)] == ["", "no_face", "analysis_failed", ""]
    assert table(desk.out)[0]["offset_frames"] == "-2"


def test_columns_of_the_input_are_in_the_output(desk: Desk, tmp_path: Path) -> None:
    put(desk.clips / "1.mp4")
    put(desk.clips / "2.mp4", "raise NoFace nobody")
    listed = put(
        desk.clips / "list.csv",
        "speaker,file,score\n=cmd|'/c calc'!A1,2.mp4,7\nAnn,1.mp4,8\nBen,missing.mp4,9\n",
    )
    summary = desk.run(listed)
    assert summary["failures"] == {"no_face": 1, "no_such_file": 1}
    found = table(desk.out)
    assert list(found[0]) == [*COLUMNS, "speaker", "input_score"]
    assert [(row["file"], row["speaker"], row["input_score"]) for row in found] == [
        ("2.mp4", "'=cmd|'/c calc'!A1", "7"),
        ("1.mp4", "Ann", "8"),
        ("missing.mp4", "Ben", "9"),
    ]
    assert rows(desk.out)[0]["columns"]["speaker"] == "=cmd|'/c calc'!A1"
    put(desk.clips / "missing.mp4")
    assert desk.run(listed)["failures"] == {"no_face": 1}
    assert desk.asked[1] == ["missing.mp4"]


def test_a_second_run_does_only_what_is_missing(desk: Desk) -> None:
    put(desk.clips / "1.mp4")
    put(desk.clips / "2.mp4", "raise NoFace nobody")
    put(desk.clips / "3.mp4", "raise DeadlineExceeded too slow")
    put(desk.clips / "4.mp4")
    desk.run()
    before = (desk.out / JSONL).read_bytes().splitlines()
    put(desk.clips / "4.mp4", "raise TooLong seven hours")
    put(desk.clips / "5.mp4")
    summary = desk.run()
    assert sorted(desk.asked[1]) == ["3.mp4", "4.mp4", "5.mp4"]
    assert summary["files"]["of_earlier_runs"] == 2
    assert (desk.out / JSONL).read_bytes().splitlines()[:2] == before[:2]
    assert [row["error_code"] for row in table(desk.out)] == [
        "", "no_face", "timeout", "too_long", "",
    ]  # fmt: skip
    desk.run(again=True)
    assert len(desk.asked[2]) == 5
    assert len(rows(desk.out)) == 5


def test_other_options_need_new_outcomes(tmp_path: Path) -> None:
    item = Item("a.mp4", put(tmp_path / "a.mp4"))

    def key(work: Work = WORK, **settings: Any) -> str:
        plan = batch_workers.plan(Settings(_env_file=None, **settings), work)
        return batch.key_of(item, plan.options)

    others = [
        key(min_face_size=41),
        key(model_profile="published"),
        key(replace(WORK, partial=True)),
        key(replace(WORK, network="original")),
        key(replace(WORK, options=Options(vshift=20))),
    ]
    assert len({key(), *others}) == 6
    assert key(replace(WORK, workers=7, timeout_s=1.0), log_level="error") == key()


def test_an_option_of_other_networks_is_refused() -> None:
    work = replace(WORK, options=Options(crop_scale=0.5))
    with pytest.raises(OptionRefused, match="crop_scale"):
        batch_workers.plan(Settings(_env_file=None, model_profile="bundled"), work)


def test_a_worker_that_is_killed_costs_its_file_one_more_try(desk: Desk, tmp_path: Path) -> None:
    marker, go = tmp_path / "held", tmp_path / "go"
    os.mkfifo(go)
    put(desk.clips / "1.mp4", f"until {marker} {go}")
    put(desk.clips / "2.mp4")

    def kill() -> None:
        wait_until(marker.exists)
        pid = int(marker.read_text())
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists())
        go.write_text("go")  # waits for the second try to read it

    thread = threading.Thread(target=kill)
    thread.start()
    summary = desk.run()
    thread.join()
    assert summary["files"]["scored"] == 2


def test_a_file_that_kills_every_worker_has_failed_and_the_others_are_scored(desk: Desk) -> None:
    put(desk.clips / "1.mp4", f"signal {int(signal.SIGKILL)}")
    for name in ("2.mp4", "3.mp4", "4.mp4"):
        put(desk.clips / name, "pid")
    summary = desk.run()
    assert summary["failures"] == {"worker_died": 1}
    assert summary["files"]["scored"] == 3
    first, *others = rows(desk.out)
    assert "ended unexpectedly" in first["error"]["message"]
    assert all(row["verdict"]["timings_ms"]["pid"] for row in others)


@pytest.mark.slow
def test_a_file_that_takes_too_long_is_given_up(desk: Desk, tmp_path: Path) -> None:
    put(desk.clips / "1.mp4", f"hold {tmp_path / 'held'}")
    put(desk.clips / "2.mp4")
    desk.timeout_s = 2.0
    summary = desk.run()
    assert summary["failures"] == {"timeout": 1}
    assert summary["files"]["scored"] == 1


def test_what_is_done_is_kept_where_the_run_is_interrupted(desk: Desk, tmp_path: Path) -> None:
    marker = tmp_path / "held"
    put(desk.clips / "1.mp4")
    put(desk.clips / "2.mp4", f"hold {marker}")
    put(desk.clips / "3.mp4")

    def told(done: int, total: int, outcome: Outcome | None) -> None:
        if done == 2:
            wait_until(marker.exists)
            raise KeyboardInterrupt

    def score(orders: Sequence[Order], _: Results) -> Any:
        return batch_workers.score(orders, desk.settings, Work(2, 1), build=doubles.BUILD)

    with Results(desk.out) as results, pytest.raises(KeyboardInterrupt):
        batch.run(find([str(desk.clips)]), results, PLAN, score, told)
    assert scoring_processes() == set()
    summary = json.loads((desk.out / SUMMARY).read_text())
    assert summary["whole"] is False
    assert summary["files"]["not_done"] == 1
    assert [row["file"][-5:] for row in table(desk.out)] == ["1.mp4", "3.mp4"]
    put(desk.clips / "2.mp4")
    assert desk.run()["files"]["scored"] == 3
    assert desk.asked == [["2.mp4"]]


def test_a_name_that_is_no_text_is_an_error_of_its_file(desk: Desk) -> None:
    put(desk.clips / "1.mp4")
    put(desk.clips / os.fsdecode(b"\xff.mp4"))
    assert desk.run()["failures"] == {"unusable_name": 1}


def test_the_figures_of_a_summary(tmp_path: Path) -> None:
    items = [Item(f"{n}.mp4", put(tmp_path / f"{n}.mp4")) for n in range(20)]

    def score(orders: Sequence[Order], _: Results) -> Any:
        for number, order in enumerate(orders, 1):
            yield Outcome(order.item, order.key, doubles.VERDICT, float(number))

    with Results(tmp_path / "out") as results:
        summary = batch.run(Inputs(tuple(items)), results, PLAN, score, lambda *_: None)
    assert summary["seconds"] == {"mean": 10.5, "median": 10.5, "p95": 19.0, "max": 20.0}
    assert summary["models"]["syncnet"]["name"] == "syncnet_double"
    assert summary["throughput"]["files"] == 20


# The command.


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["batch", *map(str, arguments)])


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people who speak, one picture of nobody, and no video at all."""
    folder = tmp_path_factory.mktemp("clips")
    small = {"seconds": 2.0, "size": (320, 240), "container": "mp4-h264-aac"}
    talking_clip(folder / "a.mp4", **small, offset_frames=4)
    talking_clip(folder / "b.mp4", **small, seed=1)
    talking_clip(folder / "nobody.mp4", **small, no_face=True)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


LOCAL = ("--max-workers", 2, "--threads", 1, "--profile", "bundled", "--vshift", 10)


def test_nothing_found_is_one_line_and_status_2(tmp_path: Path) -> None:
    put(tmp_path / "clips/notes.txt")
    for source in ("clips", "nowhere", "*.mp4"):
        said = run(source, "--output-dir", "out")
        assert said.exit_code == 2
        assert "no recording was found" in said.stderr
        assert "Traceback" not in said.stderr
    assert not (tmp_path / "out").exists()


def test_options_that_jobs_cannot_follow_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "clips/a.mp4")
    said = run("clips", "--output-dir", "out", "--jobs", "--profile", "bundled")
    assert said.exit_code == 2
    assert "--profile" in said.stderr


@pytest.mark.slow
def test_the_command_scores_a_folder(clips: Path, tmp_path: Path) -> None:
    first = run(clips, "--output-dir", "out", *LOCAL)
    assert first.exit_code == 1, first.stderr
    assert "no_face" in first.stdout
    found = {Path(row["file"]).name: row for row in table(tmp_path / "out")}
    assert found["a.mp4"]["offset_frames"] == "4"
    assert found["b.mp4"]["offset_frames"] == "0"
    assert found["nobody.mp4"]["error_code"] == "no_face"
    assert found["broken.mp4"]["error_code"] == "unsupported_media"
    verdicts = [row["verdict"] for row in rows(tmp_path / "out") if "verdict" in row]
    assert [len(verdict["syncnet"]["curve"]["offsets"]) for verdict in verdicts] == [21, 21]
    again = run(clips, "--output-dir", "out", *LOCAL, "--json")
    summary = json.loads(again.stdout)
    assert again.exit_code == 1
    assert summary["files"]["of_earlier_runs"] == 4
    assert summary["threads_per_worker"] == 1
    assert set(summary["models"]) == set(summary["options"]["networks"])


@pytest.mark.slow
def test_weights_that_are_missing_end_the_batch_at_once(clips: Path, tmp_path: Path) -> None:
    said = run(clips / "a.mp4", "--output-dir", "out", "--profile", "published", "--threads", 1)
    assert said.exit_code == 1
    assert said.stderr.count("models fetch") == 1
    assert rows(tmp_path / "out") == []


@pytest.mark.slow
def test_ctrl_c_ends_the_workers_and_says_how_to_go_on(clips: Path, tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"many{number}.mp4").write_bytes((clips / "a.mp4").read_bytes())
    command = [sys.executable, "-m", "cli", "batch", str(tmp_path), "--output-dir", "out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*command, *map(str, LOCAL)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has them ignore it, and their children too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    results = tmp_path / "out" / JSONL
    wait_until(lambda: results.exists() and results.stat().st_size > 0)
    workers = [
        int(pid)
        for task in Path(f"/proc/{process.pid}/task").glob("*/children")
        for pid in task.read_text().split()
    ]
    assert len(workers) == 2
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on" in said
    assert "Traceback" not in said
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    done = len(rows(tmp_path / "out"))
    assert 1 <= done < 6
    rest = run(tmp_path, "--output-dir", "out", *LOCAL, "--json")
    assert json.loads(rest.stdout)["throughput"]["files"] == 6 - done
    assert rest.exit_code == 0
