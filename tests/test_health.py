"""Health: what the database says, never waited for, and what follows from it."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import service_apps as apps
from serving import Server
from sqlalchemy.exc import OperationalError

from service import health, networks
from service.health import Pulse, why_not_ready
from service.jobs.records import WorkerInfo
from service.settings import Settings
from syncnet_python import weights
from syncnet_python.profiles import PUBLISHED

ALIVE = WorkerInfo("a", True, ("syncnet_fcn",), 3)
DEAD = WorkerInfo("b", False, ("face_finder",), 9)


def counted(answer: Callable[[], list[WorkerInfo]]) -> tuple[Pulse, list[None]]:
    """A pulse, and one entry for each time that it has read."""
    reads: list[None] = []

    def read() -> list[WorkerInfo]:
        reads.append(None)
        return answer()

    return Pulse(read), reads


def test_the_database_is_read_once_for_all_who_ask_together() -> None:
    pulse, reads = counted(lambda: [ALIVE])
    assert [pulse.workers() for _ in range(200)] == 200 * [[ALIVE]]
    assert len(reads) <= 2


def test_what_was_read_is_not_believed_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    pulse, reads = counted(lambda: [ALIVE])
    pulse.workers()
    monkeypatch.setattr(health, "FRESH_S", 0.0)
    pulse.workers()
    assert len(reads) == 2


def test_a_database_that_hangs_is_asked_by_one_thread_and_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "PATIENCE_S", 0.01)
    monkeypatch.setattr(health, "FRESH_S", 0.0)
    answered = threading.Event()

    def hang() -> list[WorkerInfo]:
        answered.wait()
        return [ALIVE]

    pulse, reads = counted(hang)
    assert [pulse.workers() for _ in range(5)] == 5 * [None]
    assert len(reads) == 1
    answered.set()
    monkeypatch.setattr(health, "PATIENCE_S", 60.0)
    assert pulse.workers() == [ALIVE]


def test_a_database_that_fails_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FRESH_S", 0.0)
    answers: list[list[WorkerInfo] | Exception] = [
        OperationalError("select", {}, Exception("gone")),
        [ALIVE],
    ]

    def read() -> list[WorkerInfo]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    pulse = Pulse(read)
    assert pulse.workers() is None
    assert pulse.workers() == [ALIVE]


@pytest.mark.parametrize(
    ("workers", "draining", "weights_there", "reasons"),
    [
        ([ALIVE, DEAD], False, True, []),
        ([ALIVE], True, True, ["draining"]),
        ([DEAD], False, True, ["no_worker"]),
        ([], True, True, ["draining", "no_worker"]),
        (None, False, True, ["database"]),
        ([ALIVE], False, False, ["weights"]),
    ],
)
def test_ready_is_who_would_score_a_recording(
    workers: list[WorkerInfo] | None, draining: bool, weights_there: bool, reasons: list[str]
) -> None:
    told = why_not_ready(workers, draining=draining, weights_there=weights_there)
    assert told == reasons


@pytest.mark.slow
def test_a_worker_without_the_weights_of_its_profile_says_so_at_its_start(tmp_path: Path) -> None:
    """And how to get them; meanwhile the service is not ready."""
    absent = networks.missing(Settings(_env_file=None, model_profile="published"))
    if not absent:
        pytest.skip("the published weights are here")
    with Server(tmp_path, MODEL_PROFILE="published") as server:
        while server.client.get("/health/ready").json()["reasons"] != ["weights"]:
            time.sleep(0.1)
    (line,) = [line for line in server.log.read_text().splitlines() if "MODEL_PROFILE" in line]
    for said in (*absent, "MODEL_PROFILE=published", "syncnet-service models fetch"):
        assert said in line


@pytest.mark.parametrize(
    ("here", "scores"),
    [
        ([], False),
        (["s3fd", "syncnet_v2"], True),
        (["s3fd", "deepfakedetector_b0_v3"], True),
        (["syncnet_v2", "deepfakedetector_b0_v3"], False),
        (["s3fd", "syncnet_v2", "deepfakedetector_b0_v3"], True),
    ],
)
def test_a_detector_and_one_part_score_a_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: list[str], scores: bool
) -> None:
    weights.registry()  # before its folder is another
    monkeypatch.setattr(weights, "BUNDLED_DIR", tmp_path)
    for name in here:
        (tmp_path / weights.entry(name).filename).touch()
    settings = Settings(_env_file=None, model_profile="published")
    assert networks.can_score(settings) is scores
    assert set(networks.missing(settings)) == set(PUBLISHED.names) - set(here)


def test_only_workers_of_this_machine_need_its_weights(tmp_path: Path) -> None:
    """The others have weights of their own."""
    nowhere = tmp_path / "nowhere.pth"
    for local_worker, reasons in ((True, ["weights"]), (False, [])):
        folder = tmp_path / str(local_worker)
        folder.mkdir()
        published = {"model_profile": "published", "s3fd_model_path": nowhere}
        with apps.application(folder, local_worker=local_worker, **published) as app:
            apps.jobs_of(app).store.beat("here-0", [])
            assert app.test_client().get("/health/ready").get_json()["reasons"] == reasons


def test_only_what_a_living_worker_has_loaded_is_loaded() -> None:
    told = health.report(Settings.model_construct(), [ALIVE, DEAD], None)
    assert (told["status"], told["models_loaded"]) == ("healthy", True)
    loaded = {name for name, row in told["detectors"].items() if row["loaded"]}
    assert loaded == {"syncnet_fcn"}
    for none_alive in ([DEAD], [], None):
        told = health.report(Settings.model_construct(), none_alive, None)
        assert (told["status"], told["models_loaded"]) == ("degraded", False)
