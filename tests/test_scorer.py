"""The supervision of scoring processes: deadlines, crashes, replacement, and who dies with whom."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import service_doubles as doubles

from service.scoring import channel
from service.scoring.channel import describe, restore
from service.scoring.scorer import Busy, Cancelled, ProcessDied, Scorer
from service.settings import load
from syncnet_python import errors
from syncnet_python.results import Verdict

ROOT = Path(__file__).resolve().parents[1]
LONG_S = 60.0
"""Seconds that no test here should ever take."""


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds; the test's own timeout ends a wait that never does."""
    while not condition():
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether the process exists and is more than an exit status waiting to be read."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def kinds_of_error() -> list[type[errors.SyncNetError]]:
    found = [errors.SyncNetError]
    for kind in found:
        found += [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return found


class Desk:
    """A scorer and a folder of files that tell the double what to do."""

    def __init__(self, scorer: Scorer, folder: Path) -> None:
        self.scorer = scorer
        self.folder = folder
        self._numbers = itertools.count()

    def file(self, words: str) -> Path:
        path = self.folder / f"{next(self._numbers)}.order"
        path.write_text(words)
        return path

    def score(self, words: str, *, seconds: float = LONG_S, partial: bool = False) -> Verdict:
        return self.scorer.score(
            self.file(words), "test", partial=partial, deadline=time.monotonic() + seconds
        )

    def pid(self) -> int:
        """The process id of a scoring process, after it has answered."""
        return int(self.score("pid").timings_ms["pid"])


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    scorers: list[Scorer] = []

    def make(**options: object) -> Desk:
        scorer = Scorer(options.pop("options", {}), build=doubles.BUILD, **options)  # type: ignore[arg-type]
        scorers.append(scorer)
        return Desk(scorer, tmp_path)

    yield make
    for scorer in scorers:
        scorer.close()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk()


def test_a_verdict_arrives_as_it_was_sent(desk: Desk) -> None:
    assert desk.score("answer") == doubles.VERDICT


def test_a_heat_map_is_asked_for_and_arrives_whole(desk: Desk, tmp_path: Path) -> None:
    path = desk.file("map 4000000")
    deadline = time.monotonic() + LONG_S
    with_map, without = (
        desk.scorer.score(path, "test", partial=False, heatmap=wanted, deadline=deadline)
        for wanted in (True, False)
    )
    assert with_map.efficientnet is not None
    assert with_map.efficientnet.heatmap is not None
    assert len(with_map.efficientnet.heatmap.png) == 4_000_000
    assert without == doubles.VERDICT


def test_nothing_runs_before_the_first_request(desk: Desk) -> None:
    assert desk.scorer._slots[0]._child is None
    assert desk.scorer.loaded() == frozenset()


def test_one_process_serves_all_requests_and_tells_what_it_loaded(desk: Desk) -> None:
    first = desk.pid()
    assert desk.pid() == first
    assert first != os.getpid()
    assert desk.scorer.loaded() == {"syncnet_double"}


def test_preloading_needs_no_request(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(preload=True)
    wait_until(lambda: desk.scorer.loaded() == {"syncnet_double"})


def test_weights_that_are_missing_at_preload_are_told_to_every_request(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk(preload=True, options={"missing": "no weights"})
    for _ in range(2):
        with pytest.raises(errors.WeightsMissing, match=r"^no weights$"):
            desk.score("answer")


@pytest.mark.parametrize("kind", kinds_of_error(), ids=lambda kind: kind.__name__)
def test_every_error_keeps_its_class_and_message(kind: type[errors.SyncNetError]) -> None:
    error = restore(describe(kind("größer — as said")))
    assert type(error) is kind
    assert error.message == "größer — as said"


def test_an_error_of_the_analysis_reaches_the_caller_and_costs_no_process(desk: Desk) -> None:
    pid = desk.pid()
    with pytest.raises(errors.NoFace, match=r"^nobody there$"):
        desk.score("raise NoFace nobody there")
    assert desk.pid() == pid


def test_what_broke_is_named_without_quoting_it(desk: Desk) -> None:
    pid = desk.pid()
    with pytest.raises(errors.AnalysisFailed) as caught:
        desk.score("break secret.mp4")
    assert "ZeroDivisionError" in caught.value.message
    assert "secret" not in caught.value.message
    assert desk.pid() == pid


def test_the_deadline_kills_the_process_and_the_next_request_is_served(
    desk: Desk, tmp_path: Path
) -> None:
    first = desk.pid()
    marker = tmp_path / "held"
    with pytest.raises(errors.DeadlineExceeded):
        desk.score(f"hold {marker}", seconds=1.0)
    assert int(marker.read_text()) == first
    assert not is_running(first)
    assert desk.pid() != first


@pytest.mark.slow
def test_a_replacement_loads_the_networks_before_anybody_asks(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(errors.DeadlineExceeded):
        desk.score(f"hold {tmp_path / 'held'}", seconds=2.0)
    wait_until(lambda: desk.scorer.loaded() == {"syncnet_double"})


def test_a_stopped_process_is_killed_at_the_deadline_too(desk: Desk) -> None:
    first = desk.pid()
    os.kill(first, signal.SIGSTOP)
    with pytest.raises(errors.DeadlineExceeded):
        desk.score("answer", seconds=0.5)
    assert not is_running(first)
    assert desk.score("answer") == doubles.VERDICT


def test_the_part_that_was_ready_is_answered_at_the_deadline(desk: Desk) -> None:
    first = desk.pid()
    assert desk.score("partial", seconds=1.0) == doubles.PARTIAL
    assert not is_running(first)
    assert desk.pid() != first


def test_whether_a_part_is_enough_is_passed_on(desk: Desk) -> None:
    with pytest.raises(errors.NotAVideo, match="partial=True"):
        desk.score("other", partial=True)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_crash_costs_one_request(desk: Desk, number: signal.Signals) -> None:
    first = desk.pid()
    with pytest.raises(ProcessDied, match="ended unexpectedly"):
        desk.score(f"signal {int(number)}")
    assert desk.pid() != first


def test_a_process_killed_while_idle_costs_no_request(desk: Desk) -> None:
    first = desk.pid()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: desk.scorer.loaded() == frozenset())
    assert desk.pid() != first


@pytest.mark.slow
@pytest.mark.parametrize("words", ["{}", "no json", '{"kind": "done", "verdict": null}'])
def test_a_process_that_answers_nonsense_is_replaced(desk: Desk, words: str) -> None:
    first = desk.pid()
    with pytest.raises(errors.AnalysisFailed, match="no report"):
        desk.score(f"nonsense {words}")
    assert not is_running(first)
    assert desk.pid() != first


def test_waiting_for_a_free_process_ends_at_the_deadline(desk: Desk, tmp_path: Path) -> None:
    marker = tmp_path / "held"
    with ThreadPoolExecutor() as pool:
        held = pool.submit(desk.score, f"hold {marker}")
        wait_until(marker.exists)
        with pytest.raises(Busy, match="Other recordings"):
            desk.score("answer", seconds=0.2)
        os.kill(int(marker.read_text()), signal.SIGKILL)
        assert isinstance(held.exception(), errors.AnalysisFailed)


def test_a_cancelled_analysis_ends_at_once(desk: Desk, tmp_path: Path) -> None:
    marker = tmp_path / "held"
    with ThreadPoolExecutor() as pool:
        held = pool.submit(desk.score, f"hold {marker}")
        wait_until(marker.exists)
        desk.scorer.cancel("another")
        assert not held.done()
        desk.scorer.cancel("test")
        assert isinstance(held.exception(), Cancelled)
    assert not is_running(int(marker.read_text()))
    desk.scorer.cancel("test")
    assert desk.score("answer") == doubles.VERDICT


def test_stages_are_told_as_they_begin(desk: Desk) -> None:
    stages: list[str] = []
    desk.scorer.score(
        desk.file("answer"),
        "test",
        partial=False,
        deadline=time.monotonic() + LONG_S,
        on_stage=stages.append,
    )
    assert stages == ["decode"]


def test_an_analysis_that_its_caller_breaks_off_answers_nobody_else(desk: Desk) -> None:
    first = desk.pid()

    def refuse(_: str) -> None:
        raise ValueError("the database is away")

    with pytest.raises(ValueError, match="away"):
        desk.scorer.score(
            desk.file("answer"),
            "test",
            partial=False,
            deadline=time.monotonic() + LONG_S,
            on_stage=refuse,
        )
    assert not is_running(first)
    with pytest.raises(errors.NoFace, match=r"^the second$"):
        desk.score("raise NoFace the second")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stage", "partial", "done", "failed"])
def test_an_answer_to_another_order_is_refused(desk: Desk, kind: str) -> None:
    first = desk.pid()
    report: channel.Stage | channel.Partial | channel.Done | channel.Failed = {
        "stage": channel.Stage(name="decode"),
        "partial": channel.Partial(verdict=doubles.VERDICT),
        "done": channel.Done(verdict=doubles.VERDICT),
        "failed": channel.describe(errors.NoFace("nobody")),
    }[kind]
    about = channel.About(number=1, report=report)  # what the pid was asked for with
    with pytest.raises(ProcessDied, match="another order"):
        desk.score(f"nonsense {about.model_dump_json()}")
    assert not is_running(first)
    assert desk.score("answer") == doubles.VERDICT


def test_an_analysis_without_time_costs_no_process(desk: Desk) -> None:
    first = desk.pid()
    for seconds in (0.0, -1.0):
        with pytest.raises(errors.DeadlineExceeded, match="before the analysis began"):
            desk.score("answer", seconds=seconds)
    assert desk.pid() == first


def test_requests_wait_their_turn(desk: Desk) -> None:
    with ThreadPoolExecutor(max_workers=6) as pool:
        verdicts = list(pool.map(desk.score, ["pid"] * 6))
    assert len({verdict.timings_ms["pid"] for verdict in verdicts}) == 1


def test_processes_work_side_by_side(make_desk: Callable[..., Desk], tmp_path: Path) -> None:
    desk = make_desk(processes=2)
    markers = [tmp_path / "one", tmp_path / "two"]
    with ThreadPoolExecutor() as pool:
        held = [pool.submit(desk.score, f"hold {marker}") for marker in markers]
        wait_until(lambda: all(marker.exists() for marker in markers))
        pids = {int(marker.read_text()) for marker in markers}
        assert len(pids) == 2
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert all(isinstance(future.exception(), errors.AnalysisFailed) for future in held)
    assert not any(is_running(pid) for pid in pids)


def test_a_polite_request_to_end_waits_for_the_answer(desk: Desk, tmp_path: Path) -> None:
    marker, go = tmp_path / "held", tmp_path / "go"
    os.mkfifo(go)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(desk.score, f"until {marker} {go}")
        wait_until(marker.exists)
        os.kill(int(marker.read_text()), signal.SIGTERM)
        go.write_text("go")
        assert answer.result() == doubles.VERDICT


def test_threads_are_set_before_the_numerical_libraries_load(
    make_desk: Callable[..., Desk],
) -> None:
    pid = make_desk(threads=1).pid()
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert b"OMP_NUM_THREADS=1" in environment


SECRETS = [
    "API_KEY",
    "api_key",
    "WEBHOOK_SECRET",
    "DATABASE_URL",
    "Storage_Url",
    "AWS_SECRET_ACCESS_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "PGPASSWORD",
    "SOMETHING_NEW",
    "MY_PATH",
]


def test_secrets_of_the_environment_do_not_reach_the_scoring_process(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "hidden")
    assert b"hidden" not in Path(f"/proc/{desk.pid()}/environ").read_bytes()


def test_what_the_libraries_are_set_up_with_does(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["PATH", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_WAIT_POLICY"]
    for name in names:
        monkeypatch.setenv(name, f"the {name}")
    environment = Path(f"/proc/{desk.pid()}/environ").read_bytes().split(b"\0")
    assert {f"{name}=the {name}".encode() for name in names} <= set(environment)


def test_a_scoring_process_reads_no_settings_but_those_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {
        "API_KEY": "0123456789abcdef",
        "DATABASE_URL": "postgresql://u:p@h/n",
        "WEBHOOK_SECRET": "whsec_" + "A" * 32,
        "MAX_DURATION_SECONDS": "7",
    }
    from service.scoring import engine  # not before: it loads torch

    (tmp_path / ".env").write_text("".join(f"{name}={text}\n" for name, text in secrets.items()))
    monkeypatch.chdir(tmp_path)
    for name, text in secrets.items():
        monkeypatch.setenv(name.lower(), text)
    assert load().api_key is not None  # they are there to be read
    settings = engine._given({"scorer_threads": 3, "calibration_file": None})
    assert (settings.api_key, settings.database_url, settings.webhook_secret) == (None,) * 3
    assert (settings.max_duration_seconds, settings.scorer_threads) == (30, 3)


PARENT = """
import sys, time
from pathlib import Path
from service.scoring.scorer import Scorer
Scorer({}, build="service_doubles:build").score(
    Path(sys.argv[1]), "test", partial=False, deadline=time.monotonic() + 600
)
"""


def test_the_scoring_process_dies_with_its_parent(desk: Desk, tmp_path: Path) -> None:
    """However suddenly the parent dies, and whatever the scoring process is doing."""
    marker = tmp_path / "held"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(desk.file(f"hold {marker}"))], env=environment
    )
    wait_until(marker.exists)
    child = int(marker.read_text())
    assert is_running(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_running(child))


def test_closing_leaves_no_process_and_no_thread_behind(make_desk: Callable[..., Desk]) -> None:
    before = set(threading.enumerate())
    desk = make_desk()
    pid = desk.pid()
    desk.scorer.close()
    assert not is_running(pid)
    wait_until(lambda: set(threading.enumerate()) <= before)
