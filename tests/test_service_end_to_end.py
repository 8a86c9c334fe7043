"""The service as a user starts it, with the bundled networks and real recordings."""

import base64
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from serving import Server, children

from evaluation.samples import talking_clip
from syncnet_python import profiles

pytestmark = pytest.mark.slow

MAX_DURATION_S = 6
MAX_FRAME_PIXELS = 640 * 480

BAD: dict[str, dict[str, Any]] = {
    "no_video": {"no_video": True},
    "no_audio": {"no_audio": True},
    "silent_audio": {"silent": True},
    "no_face": {"no_face": True},
    "track_too_short": {"seconds": 0.6},
    "too_long": {"seconds": MAX_DURATION_S + 1.5, "size": (160, 120)},
    "too_large_frame": {"size": (648, 484)},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with Server(
        folder,
        MODEL_PROFILE="bundled",
        MAX_DURATION_SECONDS=MAX_DURATION_S,
        MAX_FRAME_PIXELS=MAX_FRAME_PIXELS,
        PROCESSING_TIMEOUT_SECONDS=120,
        VIDEO_ROOT=folder,
    ) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "server" in request.fixturenames:
        server: Server = request.getfixturevalue("server")
        assert server.stored() == []


def assert_code(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def scoring(server: Server) -> list[int]:
    """Process ids of what the local worker has started: the processes with the networks."""
    return [pid for worker in children(server.worker()) for pid in children(worker)]


def test_nothing_is_loaded_before_the_first_recording_and_all_of_it_after(
    tmp_path: Path, clip: Callable[[str], Path]
) -> None:
    with Server(tmp_path, MODEL_PROFILE="bundled", PROCESSING_TIMEOUT_SECONDS=120) as server:
        server.wait_ready()
        before = server.client.get("/health").json()
        assert before["syncnet_available"] is True
        assert before["models_loaded"] is False
        assert scoring(server) == []
        assert server.post(clip("browser").read_bytes()).status_code == 200
        while not (after := server.client.get("/health").json())["models_loaded"]:
            time.sleep(0.1)  # workers tell every few seconds
        loaded = {name for name, row in after["detectors"].items() if row["loaded"]}
        bundled = profiles.BUNDLED
        assert loaded >= {bundled.face_detector, bundled.sync, bundled.classifier}
        status = Path(f"/proc/{server.worker()}/status").read_text()
        (resident,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        assert int(resident.split()[1]) < 120_000  # kB: the networks are in the other process


def test_models_can_be_loaded_at_start(tmp_path: Path) -> None:
    with Server(tmp_path, MODEL_PROFILE="bundled", PRELOAD_MODELS="true") as server:
        while not server.client.get("/health").json()["models_loaded"]:
            time.sleep(0.1)


def test_a_browsers_recording_is_scored_in_full(
    server: Server, clip: Callable[[str], Path]
) -> None:
    answer = server.post(
        clip("browser").read_bytes(),
        url="/api/avsync/score",
        session_id="visit-1",
        user_consent="true",
        metadata='{"page": "check"}',
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["inconclusive"] is False
    assert body["missing"] == []
    sync, artifact = body["syncnet"], body["efficientnet"]
    assert abs(sync["offset_frames"]) <= 1
    assert sync["lag_ms"] == 40 * sync["offset_frames"]
    assert len(sync["curve"]["offsets"]) == len(sync["curve"]["distances"]) == 31
    assert len(sync["framewise_confidence"]) == sync["num_windows"] > 0
    assert [track["chosen"] for track in sync["tracks"]] == [True]
    assert len(artifact["frame_scores"]) == len(artifact["frame_times"]) == artifact["num_frames"]
    assert 1 <= artifact["num_frames"] <= 20
    combined = 0.4 * sync["score"] + 0.6 * artifact["score"]
    assert body["combined_score"] == body["score"] == pytest.approx(combined, abs=1e-6)
    assert body["is_likely_real"] is (combined > 0.6)
    assert f"DECISION_{body['decision']}" in body["reason_codes"]
    assert body["weights"] == {"syncnet": 0.4, "efficientnet": 0.6}
    assert (body["video"]["width"], body["video"]["height"]) == (640, 480)
    assert body["video"]["codec"] == "vp8"
    assert all(len(model["sha256"]) == 64 for model in body["models"].values())
    assert {model["origin"] for model in body["models"].values()} == {"bundled"}
    assert sum(body["timings_ms"].values()) <= body["processing_time_ms"] + 10
    assert body["session_id"] == "visit-1"


def test_the_same_recording_by_its_path_gets_the_same_score(
    server: Server, clip: Callable[[str], Path]
) -> None:
    content = clip("synced").read_bytes()
    path = server.data.parent / "clip.mp4"
    path.write_bytes(content)
    by_path = server.client.post("/score", json={"video_path": path.name}).json()
    uploaded = server.post(content).json()
    assert by_path["combined_score"] == uploaded["combined_score"]
    assert path.exists()


def test_the_most_suspicious_frame_is_drawn_on_demand(
    server: Server, clip: Callable[[str], Path]
) -> None:
    content = clip("browser").read_bytes()
    (server.data.parent / "drawn.webm").write_bytes(content)
    by_path = {"video_path": "drawn.webm", "heatmap": True}
    answers = (
        server.post(content, heatmap="true"),
        server.client.post("/score", json=by_path),
    )
    for answer in answers:
        assert answer.status_code == 200, answer.text
        face = answer.json()["efficientnet"]
        drawn = face["heatmap"]
        at = face["frame_times"].index(drawn["time_s"])
        assert drawn["score"] == face["frame_scores"][at] == min(face["frame_scores"])
        data = base64.b64decode(drawn["png"], validate=True)
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (224, 224, 3)
        assert len(drawn["png"]) < 100_000
        assert np.ptp(picture.astype(int), axis=2).max() > 30, "nothing is coloured"
    assert face["frame_times"] == sorted(face["frame_times"])
    assert 0 < face["temporal_consistency"] <= 1
    assert server.post(content).json()["efficientnet"]["heatmap"] is None


def test_a_dubbed_recording_is_less_in_sync(server: Server, clip: Callable[[str], Path]) -> None:
    own, dubbed = (server.post(clip(n).read_bytes()).json() for n in ("synced", "dubbed"))
    assert dubbed["syncnet"]["confidence"] < own["syncnet"]["confidence"]
    assert dubbed["syncnet"]["score"] < own["syncnet"]["score"]


@pytest.mark.parametrize("code", BAD)
def test_a_bad_recording_is_told_what_is_wrong_with_it(
    server: Server, tmp_path: Path, code: str
) -> None:
    talking_clip(tmp_path / "clip", **{"seconds": 2.0, **BAD[code]})
    assert_code(server.post((tmp_path / "clip").read_bytes()), 422, code)


@pytest.mark.parametrize(
    "content", [b"", b"no video at all", b"#EXTM3U\nfile:///etc/passwd\n", b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_video_is_told_so_whatever_its_name(server: Server, content: bytes) -> None:
    assert_code(server.post(content, name="recording.mp4"), 415, "unsupported_media")


def test_a_damaged_recording_is_told_so(server: Server) -> None:
    assert_code(server.post(b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 8), 422, "undecodable")


@pytest.mark.parametrize(("code", "part"), [("no_audio", "syncnet"), ("silent_audio", "syncnet")])
def test_the_part_that_can_be_measured_is_answered_on_demand(
    server: Server, tmp_path: Path, code: str, part: str
) -> None:
    talking_clip(tmp_path / "clip", seconds=2.0, **BAD[code])
    answer = server.post((tmp_path / "clip").read_bytes(), partial="true")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["inconclusive"] is True
    assert body["decision"] != "ALLOW"
    assert [(missing["part"], missing["code"]) for missing in body["missing"]] == [(part, code)]
    assert body[part] is None
    assert body["combined_score"] == pytest.approx(body["efficientnet"]["score"])


def cpu_ticks(pid: int) -> int:
    """Processor time that a process has taken, in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_the_scoring_process_killed_meanwhile_costs_no_request(
    server: Server, clip: Callable[[str], Path]
) -> None:
    content = clip("browser").read_bytes()
    assert server.post(content).status_code == 200
    (killed,) = scoring(server)
    idle = cpu_ticks(killed)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(server.post, content)
        while cpu_ticks(killed) < idle + 10:  # a tenth of a second into the analysis
            time.sleep(0.01)
        os.kill(killed, signal.SIGKILL)
        assert answer.result().status_code == 200, answer.result().text
    assert scoring(server) != [killed]


def test_the_deadline_covers_everything(tmp_path: Path, clip: Callable[[str], Path]) -> None:
    """Half a second is too little to load the networks, whether a worker took the job or not."""
    with Server(tmp_path, MODEL_PROFILE="bundled", PROCESSING_TIMEOUT_SECONDS=0.5) as server:
        for _ in range(3):
            answer = server.post(clip("browser").read_bytes())
            assert (answer.status_code, answer.json()["code"]) in ((408, "timeout"), (503, "busy"))
        assert server.stored() == []


def test_weights_that_are_missing_are_named(tmp_path: Path, clip: Callable[[str], Path]) -> None:
    with Server(tmp_path, MODEL_PROFILE="published", PROCESSING_TIMEOUT_SECONDS=120) as server:
        answer = server.post(clip("browser").read_bytes())
        assert_code(answer, 503, "weights_missing")
        assert "syncnet-service models" in answer.json()["advice"]


def test_weights_of_another_hash_are_refused(tmp_path: Path, clip: Callable[[str], Path]) -> None:
    weights = tmp_path / "sfd_face.pth"
    weights.write_bytes(b"another file under that name")
    with Server(
        tmp_path,
        MODEL_PROFILE="published",
        S3FD_MODEL_PATH=weights,
        PROCESSING_TIMEOUT_SECONDS=120,
    ) as server:
        assert_code(server.post(clip("browser").read_bytes()), 503, "weights_corrupt")


def test_the_other_part_is_answered_where_one_lacks_its_weights(
    tmp_path: Path, clip: Callable[[str], Path]
) -> None:
    weights = tmp_path / "best_model-v3.pt"
    weights.write_bytes(b"damaged")
    with Server(
        tmp_path, EFFICIENTNET_MODEL_PATH=weights, PROCESSING_TIMEOUT_SECONDS=120
    ) as server:
        body = server.post(clip("browser").read_bytes()).json()
    assert body["efficientnet"] is None
    assert body["inconclusive"] is True
    assert body["decision"] in ("NEXT", "BLOCK")
    assert [(m["part"], m["code"]) for m in body["missing"]] == [
        ("efficientnet", "weights_corrupt")
    ]
    assert body["combined_score"] == pytest.approx(body["syncnet"]["score"])
