"""An interrupted evaluation goes on where it stopped, and never takes old results for new."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.inputs import Item
from evaluation.journal import Failure, Journal, hash_sources, key_of, run
from syncnet_python.errors import NoFace, WeightsMissing
from syncnet_python.results import ModelInfo

ROOT = Path(__file__).resolve().parent.parent
KEY = {"network": "abc"}


@pytest.fixture
def files(tmp_path: Path) -> list[Item]:
    items = []
    for number in range(4):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(bytes([number]) * 100)
        items.append(Item(path, path.name, group=path.name))
    return items


def test_results_come_back_in_another_journal_of_the_same_folder(
    tmp_path: Path, files: list[Item]
) -> None:
    Journal(tmp_path / "j", KEY).put(files[0].path, {"score": 0.25, "name": "ä"})
    again = Journal(tmp_path / "j", KEY)
    assert again.get(files[0].path) == {"score": 0.25, "name": "ä"}
    assert again.get(files[1].path) is None


def test_content_counts_and_not_the_name(tmp_path: Path, files: list[Item]) -> None:
    journal = Journal(tmp_path / "j", KEY)
    journal.put(files[0].path, {"score": 1})
    moved = tmp_path / "moved.mp4"
    files[0].path.rename(moved)
    assert journal.get(moved) == {"score": 1}
    moved.write_bytes(b"other content")
    assert journal.get(moved) is None
    assert Journal(tmp_path / "j", KEY).get(moved) is None


def test_another_key_another_result(tmp_path: Path, files: list[Item]) -> None:
    path = files[0].path
    Journal(tmp_path / "j", KEY).put(path, {"score": 1})
    other = Journal(tmp_path / "j", {"network": "def"})
    assert other.get(path) is None
    other.put(path, {"score": 2})
    assert Journal(tmp_path / "j", KEY).get(path) == {"score": 1}
    assert Journal(tmp_path / "j", {"network": "def"}).get(path) == {"score": 2}


def test_parts_of_a_file_are_kept_apart(tmp_path: Path, files: list[Item]) -> None:
    journal = Journal(tmp_path / "j", KEY)
    journal.put(files[0].path, {"score": 1})
    journal.put(files[0].path, {"score": 2}, part="noise")
    assert journal.get(files[0].path) == {"score": 1}
    assert journal.get(files[0].path, part="noise") == {"score": 2}
    assert journal.arrays(files[0].path) != journal.arrays(files[0].path, "noise")


def test_a_fresh_journal_forgets(tmp_path: Path, files: list[Item]) -> None:
    path = files[0].path
    journal = Journal(tmp_path / "j", KEY)
    journal.put(path, {"score": 1})
    journal.save_arrays(path, x=np.zeros(3))
    other = Journal(tmp_path / "j", {"network": "def"})
    other.save_arrays(path, x=np.ones(3))
    fresh = Journal(tmp_path / "j", KEY, fresh=True)
    assert fresh.get(path) is None
    assert not fresh.arrays(path).exists()
    assert other.arrays(path).exists()
    fresh.put(path, {"score": 3})
    assert Journal(tmp_path / "j", KEY).get(path) == {"score": 3}


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_a_line_that_was_cut_off_is_passed_over(
    tmp_path: Path, files: list[Item], cut: int
) -> None:
    journal = Journal(tmp_path / "j", KEY)
    journal.put(files[0].path, {"score": 0})
    whole = (tmp_path / "j" / "results.jsonl").read_bytes()
    journal.put(files[1].path, {"score": 1})
    both = (tmp_path / "j" / "results.jsonl").read_bytes()
    end = len(whole) + cut if cut > 0 else len(both) + cut - 1
    (tmp_path / "j" / "results.jsonl").write_bytes(both[:end])
    after = Journal(tmp_path / "j", KEY)
    assert after.get(files[0].path) == {"score": 0}
    assert after.get(files[1].path) is None
    after.put(files[2].path, {"score": 2})
    last = Journal(tmp_path / "j", KEY)
    assert [last.get(item.path) for item in files[:3]] == [{"score": 0}, None, {"score": 2}]


def test_arrays_come_back(tmp_path: Path, files: list[Item]) -> None:
    journal = Journal(tmp_path / "j", KEY)
    assert not journal.arrays(files[0].path).exists()
    path = journal.save_arrays(files[0].path, visual=np.arange(6).reshape(2, 3))
    assert path == Journal(tmp_path / "j", KEY).arrays(files[0].path)
    with np.load(path) as stored:
        assert stored["visual"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing unfinished is left"


def test_a_result_that_has_lost_its_arrays_is_measured_again(
    tmp_path: Path, files: list[Item]
) -> None:
    journal = Journal(tmp_path / "j", KEY)
    for item in files[:2]:
        journal.save_arrays(item.path, "noise", x=np.zeros(3))
        journal.put(item.path, {"score": 1}, "noise")
    journal.put(files[0].path, {"score": 2})
    journal.arrays(files[0].path, "noise").unlink()
    again = Journal(tmp_path / "j", KEY)
    assert [again.get(item.path, "noise") for item in files[:2]] == [None, {"score": 1}]
    assert again.get(files[0].path) == {"score": 2}


def test_a_run_of_a_part_says_so_in_its_failures(tmp_path: Path, files: list[Item]) -> None:
    def measure(item: Item) -> dict[str, Any]:
        raise NoFace("nobody")

    journal = Journal(tmp_path / "j", KEY)
    _, failures = run(files[:1], journal, measure, part="noise")
    assert failures == [Failure("0.mp4 (noise)", "no_face", "nobody")]
    measured, _ = run(files[:1], journal, lambda item: {"score": 1})
    assert measured == [(files[0], {"score": 1})]


def test_a_run_names_failures_and_goes_on(tmp_path: Path, files: list[Item]) -> None:
    calls: list[str] = []

    def measure(item: Item) -> dict[str, Any]:
        calls.append(item.name)
        if item.name == "1.mp4":
            raise NoFace("nobody")
        if item.name == "2.mp4":
            raise ZeroDivisionError("oh")
        return {"score": len(calls)}

    measured, failures = run(files, Journal(tmp_path / "j", KEY), measure)
    assert [item.name for item, _ in measured] == ["0.mp4", "3.mp4"]
    assert failures == [
        Failure("1.mp4", "no_face", "nobody"),
        Failure("2.mp4", "broken", "ZeroDivisionError: oh"),
    ]
    again = run(files, Journal(tmp_path / "j", KEY), measure)
    assert again == (measured, failures)
    assert calls == ["0.mp4", "1.mp4", "2.mp4", "3.mp4", "2.mp4"], "only what broke is tried again"


def test_a_file_that_is_gone_does_not_stop_the_others(tmp_path: Path, files: list[Item]) -> None:
    files[1].path.unlink()
    measured, failures = run(files, Journal(tmp_path / "j", KEY), lambda item: {})
    assert [item.name for item, _ in measured] == ["0.mp4", "2.mp4", "3.mp4"]
    assert [(failure.file, failure.code) for failure in failures] == [("1.mp4", "broken")]


def test_missing_networks_end_a_run(tmp_path: Path, files: list[Item]) -> None:
    def measure(item: Item) -> dict[str, Any]:
        raise WeightsMissing("not here")

    with pytest.raises(WeightsMissing):
        run(files, Journal(tmp_path / "j", KEY), measure)


def test_progress_tells_how_far_it_is(tmp_path: Path, files: list[Item]) -> None:
    told: list[tuple[int, int, str]] = []
    run(files, Journal(tmp_path / "j", KEY), lambda item: {}, lambda *said: told.append(said))
    assert told == [*((i, 4, f"{i}.mp4") for i in range(4)), (4, 4, "")]


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path, files: list[Item]) -> None:
    """The process is killed, with no chance to clean up, while it measures the third file."""
    program = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from evaluation.inputs import Item
        from evaluation.journal import Journal, run

        folder, doomed = Path(sys.argv[1]), sys.argv[2] == "doomed"

        def measure(item):
            if doomed and item.name == "2.mp4":
                os.kill(os.getpid(), signal.SIGKILL)
            print("measured", item.name, flush=True)
            return {"size": item.path.stat().st_size}

        items = [Item(folder / f"{i}.mp4", f"{i}.mp4") for i in range(4)]
        measured, failures = run(items, Journal(folder / "j", {"network": "abc"}), measure)
        print(len(measured), len(failures))
        """
    )

    def start(how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, str(tmp_path), how]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120
        )

    killed = start("doomed")
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout.splitlines() == ["measured 0.mp4", "measured 1.mp4"]
    resumed = start("spared")
    assert resumed.stdout.splitlines() == ["measured 2.mp4", "measured 3.mp4", "4 0"]


def test_keys_follow_networks_options_and_code(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "measuring").mkdir()
    (tmp_path / "measuring" / "__init__.py").write_text("")
    (tmp_path / "measuring" / "part.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    info = ModelInfo("net", "1", "bundled", "a" * 64)
    key = key_of([info], ["measuring"], crops=True)
    assert key["net"] == "a" * 64
    assert key["crops"] == "True"
    assert key_of([info], ["measuring"], crops=True) == key
    assert key_of([info], ["measuring"], crops=False) != key
    (tmp_path / "measuring" / "part.py").write_text("x = 2\n")
    assert key_of([info], ["measuring"], crops=True) != key
    with pytest.raises(ModuleNotFoundError, match="nonesuch"):
        hash_sources(["nonesuch"])
