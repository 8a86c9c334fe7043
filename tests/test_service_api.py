"""The routes over real HTTP, with an analysis that does as it is told (tests/service_doubles.py).

What the analysis itself answers is tested in test_service_end_to_end.py.
"""

import hashlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from faults import processes
from serving import Server, children

APPLICATION = "service_doubles:make_app()"
CLIENT_FIELDS = {
    *("offset_frames", "confidence", "min_dist", "score", "lag_ms", "decision", "reason_codes"),
    *("session_id", "ttl_ms", "processing_time_ms", "request_time_ms", "debug", "job_id"),
}


def descendants(pid: int) -> list[int]:
    """Process ids of everything that a process has started, and of what that has."""
    return [one for child in children(pid) for one in (child, *descendants(child))]


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose files may be scored by path, beside one whose files may not."""
    folder = tmp_path_factory.mktemp("videos") / "root"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "clip.webm").write_bytes(b"answer")
    (folder / "large.webm").write_bytes(bytes(1024 * 1024 + 1))
    outside = folder.parent / "outside.webm"
    outside.write_bytes(b"answer")
    (folder / "leak.webm").symlink_to(outside)
    (folder / "inner.webm").symlink_to(folder / "deep" / "clip.webm")
    (folder / "loop.webm").symlink_to(folder / "loop.webm")
    (folder.parent / "root-too").mkdir()
    (folder.parent / "root-too" / "clip.webm").write_bytes(b"answer")
    os.mkfifo(folder / "pipe.webm")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with Server(
        folder,
        APPLICATION,
        MAX_VIDEO_SIZE_MB=1,
        PROCESSING_TIMEOUT_SECONDS=100,
        CORS_ORIGINS="https://app.example.org",
        VIDEO_ROOT=root,
        RATE_LIMIT_PER_MINUTE=0,
    ) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test on the shared server, whatever was answered, no upload is left."""
    yield
    if "server" in request.fixturenames:
        server: Server = request.getfixturevalue("server")
        wait_until(lambda: server.stored() == [])


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["code"] == problem["error"] == code
    assert problem["type"].endswith(f":{code}")
    assert problem["message"] == problem["detail"] != ""
    assert problem["title"] != ""
    assert problem["advice"] != ""
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["instance"].endswith(f":{problem['request_id']}")
    return problem


# What is answered


def test_a_recording_gets_its_verdict(server: Server) -> None:
    before = time.time() * 1000
    answer = server.post(b"answer", session_id="abc-1")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["combined_score"] == body["score"] == 0.84
    assert (body["risk_level"], body["decision"], body["is_likely_real"]) == ("LOW", "ALLOW", True)
    assert body["session_id"] == "abc-1"
    assert body["request_id"] == answer.headers["x-request-id"]
    assert before + 300_000 <= body["ttl_ms"] <= time.time() * 1000 + 300_000
    assert 0 <= body["processing_time_ms"] <= body["request_time_ms"]
    assert body["syncnet"]["curve"]["offsets"] == list(range(-15, 16))
    assert body["efficientnet"]["statistics"]["max"] == 0.85
    assert body["models"]["syncnet"]["origin"] == "bundled"
    assert body["video"]["codec"] == "vp8"


def test_the_browser_client_finds_every_field_it_reads(server: Server) -> None:
    answer = server.post(
        b"answer",
        url="/api/avsync/score",
        session_id="abc",
        user_consent="true",
        metadata=json.dumps({"browser": "any"}),
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) >= CLIENT_FIELDS
    assert (body["offset_frames"], body["lag_ms"]) == (-2, -80)
    assert body["debug"]["num_results"] == len(body["debug"]["all_results"]) == 1
    assert body["debug"]["all_results"][0]["confidence"] == 7.25


def test_a_session_is_named_where_the_sender_named_none(server: Server) -> None:
    first, second = (server.post(b"answer").json()["session_id"] for _ in range(2))
    assert first != second


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 1_000_000])
def test_every_byte_arrives_as_it_was_sent(server: Server, size: int, seed: int) -> None:
    """Line ends and dashes in it, as in any recording, make work for the form parser."""
    random = Random(seed)
    content = b"digest\n" + bytes(random.choices(b"\r\n--ab\0" if seed % 2 else range(256), k=size))
    answer = server.post(content)
    assert answer.status_code == 200, answer.text
    assert answer.json()["reason_codes"] == [hashlib.sha256(content).hexdigest()]


def test_the_name_of_the_file_plays_no_part(server: Server) -> None:
    answer = server.post(b"pid", name="../../etc/passwd\n.txt")
    (path,) = answer.json()["reason_codes"]
    assert Path(path).is_relative_to(server.data)
    assert "passwd" not in path


def test_an_upload_is_private_while_it_is_scored(server: Server, tmp_path: Path) -> None:
    marker, go = tmp_path / "held", tmp_path / "go"
    os.mkfifo(go)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(server.post, f"until {marker} {go}".encode())
        wait_until(marker.exists)
        (upload,) = server.stored()
        assert upload.stat().st_mode & 0o077 == 0
        assert upload.parent.stat().st_mode & 0o077 == 0
        go.write_text("go")
        assert answer.result().status_code == 200


@pytest.mark.parametrize("where", ["form", "query"])
def test_partial_is_passed_on(server: Server, where: str) -> None:
    if where == "form":
        answer = server.post(b"other", partial="true")
    else:
        answer = server.post(b"other", url="/score?partial=true")
    assert "partial=True" in assert_problem(answer, 415, "unsupported_media")["detail"]


@pytest.mark.parametrize("where", ["form", "query"])
def test_a_heat_map_is_drawn_on_demand_alone(server: Server, where: str) -> None:
    """A large one comes through whole: the limits on what passes between processes allow it."""
    plain = server.post(b"map 1000000")
    assert plain.status_code == 200
    assert plain.json()["efficientnet"]["heatmap"] is None
    if where == "form":
        answer = server.post(b"map 1000000", heatmap="true")
    else:
        answer = server.post(b"map 1000000", url="/score?heatmap=true")
    drawn = answer.json()["efficientnet"]["heatmap"]
    assert (drawn["time_s"], drawn["score"]) == (0.5, 0.75)
    assert drawn["png"] == "A" * 1_000_000


# Consent


def test_the_browser_route_needs_consent(server: Server) -> None:
    assert_problem(server.post(b"answer", url="/api/avsync/score"), 403, "no_consent")


@pytest.mark.parametrize("url", ["/score", "/api/avsync/score"])
def test_consent_refused_is_respected_everywhere(server: Server, url: str) -> None:
    assert_problem(server.post(b"answer", url=url, user_consent="false"), 403, "no_consent")


# Files on the server


@pytest.mark.parametrize("name", ["deep/clip.webm", "inner.webm", "deep/../deep/clip.webm", "{}"])
def test_a_file_under_the_root_is_scored_and_kept(server: Server, root: Path, name: str) -> None:
    path = name.format(root / "deep" / "clip.webm")
    answer = server.client.post("/score", json={"video_path": path, "session_id": "s"})
    assert answer.status_code == 200, answer.text
    assert (root / "deep" / "clip.webm").exists()


@pytest.mark.parametrize(
    "name",
    [
        "leak.webm",
        "../outside.webm",
        "../root-too/clip.webm",
        "deep/../../outside.webm",
        "/etc/passwd",
        "/proc/self/environ",
        "/no/such/file",
        "..",
    ],
)
def test_nothing_outside_the_root_is_read(server: Server, name: str) -> None:
    answer = server.client.post("/score", json={"video_path": name})
    assert_problem(answer, 403, "path_refused")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["none.webm", "deep", ".", "pipe.webm", "loop.webm", "a\0b", "n" * 300, "file:deep/clip.webm"],
)
def test_what_is_no_file_is_not_found(server: Server, name: str) -> None:
    answer = server.client.post("/score", json={"video_path": name})
    assert_problem(answer, 404, "no_such_file")


def test_a_large_file_on_the_server_is_too_large(server: Server) -> None:
    answer = server.client.post("/score", json={"video_path": "large.webm"})
    assert_problem(answer, 413, "too_large")


def test_paths_need_consent_on_the_browser_route(server: Server) -> None:
    body = {"video_path": "deep/clip.webm"}
    answer = server.client.post("/api/avsync/score", json=body)
    assert_problem(answer, 403, "no_consent")
    answer = server.client.post("/api/avsync/score", json={**body, "user_consent": True})
    assert answer.status_code == 200


# Malformed requests


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"session_id": "a b"}, "session_id"),
        ({"session_id": "../x"}, "session_id"),
        ({"session_id": "a\n"}, "session_id"),
        ({"session_id": "x" * 129}, "session_id"),
        ({"session_id": ""}, "session_id"),
        ({"user_consent": "perhaps"}, "user_consent"),
        ({"partial": "perhaps"}, "partial"),
        ({"metadata": "[]"}, "metadata"),
        ({"metadata": "{"}, "metadata"),
        ({"metadata": "[" * 8000}, "metadata"),
        ({"metadata": json.dumps({"k": "v" * 8192})}, "metadata"),
    ],
)
def test_a_wrong_field_is_named_and_not_quoted(
    server: Server, fields: dict[str, str], named: str
) -> None:
    answer = server.client.post("/score", files={"video": b"answer"}, data=fields)
    problem = assert_problem(answer, 400, "malformed_request")
    assert problem["detail"].startswith(named)
    for value in fields.values():
        assert len(value) < 3 or value not in problem["detail"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"video_path": ""}', b'{"video_path": 3}', b"[" * 60000]
)
def test_malformed_json(server: Server, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = server.client.post("/score", content=body, headers=headers)
    assert_problem(answer, 400, "malformed_request")


def test_a_recording_is_needed(server: Server) -> None:
    client = server.client
    answers = [
        client.post("/score"),
        client.post("/score", content=b"answer", headers={"content-type": "video/webm"}),
        client.post("/score", files={"other": b"answer"}),
        client.post("/score", files={"other": b""}, data={"video": "answer"}),
        client.post("/score", files=[("video", b"answer"), ("video", b"answer")]),
        client.post("/score", content=b"x", headers={"content-type": "multipart/form-data"}),
        client.post(
            "/score",
            content=b"--b\r\nno end",
            headers={"content-type": "multipart/form-data; boundary=b"},
        ),
    ]
    for answer in answers:
        assert_problem(answer, 400, "malformed_request")


def test_unknown_routes_and_methods_are_problems_too(server: Server) -> None:
    assert_problem(server.client.get("/nowhere"), 404, "not_found")
    answer = server.client.get("/score")
    assert_problem(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]


# Size


@pytest.mark.slow
def test_a_recording_of_the_largest_size_is_accepted(server: Server) -> None:
    assert server.post(b"answer".ljust(1024 * 1024)).status_code == 200


@pytest.mark.parametrize("extra", [1, 1024 * 1024, 2 * 1024 * 1024])
def test_a_byte_more_is_too_large(server: Server, extra: int) -> None:
    problem = assert_problem(server.post(bytes(1024 * 1024 + extra)), 413, "too_large")
    assert problem["title"] == "The recording is too large"


def test_size_is_enforced_while_reading_what_has_no_length(server: Server) -> None:
    def body() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="video"; filename="v"\r\n\r\n'
        for _ in range(32):
            yield bytes(64 * 1024)
        yield b"\r\n--b--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert_problem(server.client.post("/score", content=body(), headers=headers), 413, "too_large")


@pytest.mark.parametrize(("url", "status"), [("/nowhere", 404), ("/health", 405), ("/score", 400)])
def test_a_refused_sender_is_heard_out(server: Server, url: str, status: int) -> None:
    """Three times over one connection: the answer arrives though nobody wanted the body."""
    for _ in range(3):
        answer = server.client.post(url, content=bytes(2 * 1024 * 1024))
        assert answer.status_code == status


def test_text_fields_and_json_are_limited_too(server: Server) -> None:
    assert_problem(server.post(b"answer", other="x" * 300_000), 413, "too_large")
    body = {"video_path": "deep/clip.webm", "other": "x" * 70_000}
    assert_problem(server.client.post("/score", json=body), 413, "too_large")


# What goes wrong in the analysis


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("NotAVideo", 415, "unsupported_media"),
        ("Undecodable", 422, "undecodable"),
        ("NoVideo", 422, "no_video"),
        ("NoAudio", 422, "no_audio"),
        ("SilentAudio", 422, "silent_audio"),
        ("NoFace", 422, "no_face"),
        ("TrackTooShort", 422, "track_too_short"),
        ("TooLong", 422, "too_long"),
        ("TooLargeFrame", 422, "too_large_frame"),
        ("WeightsMissing", 503, "weights_missing"),
        ("WeightsCorrupt", 503, "weights_corrupt"),
        ("DeadlineExceeded", 408, "timeout"),
        ("AnalysisFailed", 500, "analysis_failed"),
    ],
)
def test_errors_of_the_analysis(server: Server, kind: str, status: int, code: str) -> None:
    problem = assert_problem(server.post(f"raise {kind} as said".encode()), status, code)
    assert problem["detail"] == "as said"


@pytest.mark.slow
def test_what_crashes_every_scoring_process_is_given_up(server: Server) -> None:
    answer = server.post(f"signal {int(signal.SIGSEGV)}".encode())
    assert_problem(answer, 500, "analysis_failed")
    assert server.post(b"answer").status_code == 200


def test_the_scoring_process_killed_meanwhile_costs_nobody_an_answer(
    server: Server, tmp_path: Path
) -> None:
    marker, go = tmp_path / "held", tmp_path / "go"
    os.mkfifo(go)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(server.post, f"until {marker} {go}".encode())
        wait_until(marker.exists)
        first = int(marker.read_text())
        assert first in descendants(server.worker())
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: int(marker.read_text()) != first)
        go.write_text("go")
        assert answer.result().status_code == 200


def test_a_sender_who_goes_away_leaves_nothing_behind(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(
            b"POST /score HTTP/1.1\r\nHost: test\r\nContent-Length: 500000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            b'Content-Disposition: form-data; name="video"; filename="v"\r\n\r\n' + bytes(200_000)
        )
        wait_until(lambda: server.stored() != [])
    wait_until(lambda: server.stored() == [])


# Headers


@pytest.mark.parametrize("offered", ["abc-123", "A.b_c"])
def test_a_request_id_is_taken_and_returned(server: Server, offered: str) -> None:
    answer = server.post(b"answer", headers={"X-Request-ID": offered})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == offered


@pytest.mark.parametrize("offered", ["a b", "x" * 129, "a/b", ""])
def test_a_bad_request_id_is_replaced(server: Server, offered: str) -> None:
    answer = server.client.get("/health", headers={"X-Request-ID": offered})
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] not in ("", offered)


def test_only_the_origins_of_the_settings_may_call(server: Server) -> None:
    allowed = "https://app.example.org"
    for origin, expected in [(allowed, allowed), ("https://evil.example.org", None)]:
        answer = server.client.get("/health", headers={"Origin": origin})
        assert answer.headers.get("access-control-allow-origin") == expected
    answer = server.post(b"raise NoFace x", headers={"Origin": allowed})
    assert answer.headers["access-control-allow-origin"] == allowed
    preflight = server.client.options(
        "/api/avsync/score",
        headers={"Origin": allowed, "Access-Control-Request-Method": "POST"},
    )
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == allowed


# The log


@pytest.mark.slow
def test_the_log_has_one_line_for_each_request_and_nothing_private(server: Server) -> None:
    answer = server.post(
        b"raise NoFace",
        name="private-name.webm",
        headers={"X-Request-ID": "logged-1"},
        session_id="private-session",
        metadata='{"private": "secret"}',
    )
    assert answer.status_code == 422
    server.post(b"break secret", name="private.webm", headers={"X-Request-ID": "logged-2"})
    server.client.get("/private-path?private=1", headers={"X-Request-ID": "logged-3"})
    server.client.post(
        "/score",
        json={"video_path": "private/secret.webm"},
        headers={"X-Request-ID": "logged-4"},
    )
    log = server.log.read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    for number, status in [(1, 422), (2, 500), (3, 404), (4, 404)]:
        (line,) = (line for line in lines if line.get("request_id") == f"logged-{number}")
        assert line["status"] == status
        assert line["ms"] >= 0
    assert "secret" not in log
    assert "private" not in log


# A life of a server


@pytest.mark.slow
def test_the_deadline_is_enforced(tmp_path: Path) -> None:
    marker = tmp_path / "held"
    with Server(tmp_path, APPLICATION, PROCESSING_TIMEOUT_SECONDS=4) as server:
        first = server.post(b"pid").json()["timings_ms"]["pid"]
        assert_problem(server.post(f"hold {marker}".encode()), 408, "timeout")
        wait_until(lambda: server.stored() == [])
        second = server.post(b"pid").json()["timings_ms"]["pid"]
        assert second != first
        running = descendants(server.worker())
        assert second in running
        assert first not in running
        partial = server.post(b"partial")
        assert partial.status_code == 200
        body = partial.json()
        assert (body["inconclusive"], body["decision"]) == (True, "NEXT")
        assert [part["code"] for part in body["missing"]] == ["timeout"]


@pytest.mark.slow
def test_who_waits_in_the_queue_for_too_long_is_told_so(tmp_path: Path) -> None:
    """And with an idempotency key finds the same job again."""
    key = {"Idempotency-Key": "again"}
    with (
        Server(tmp_path, APPLICATION, PROCESSING_TIMEOUT_SECONDS=3) as server,
        ThreadPoolExecutor() as pool,
    ):
        wait_until(lambda: server.post(b"answer").status_code == 200)  # the worker is there
        (local_worker,) = children(server.worker())
        os.kill(local_worker, signal.SIGSTOP)  # so that nobody's turn comes
        waiting = [pool.submit(server.post, b"answer", headers=sent) for sent in ({}, key)]
        for answer in waiting:
            assert_problem(answer.result(), 503, "busy")
            assert int(answer.result().headers["retry-after"]) > 0
        os.kill(local_worker, signal.SIGCONT)
        later = server.post(b"answer", headers=key)
        assert later.status_code == 200
        assert later.headers["idempotency-replayed"] == "true"
        wait_until(lambda: server.stored() == [])


@pytest.mark.slow
def test_ending_politely_lets_go_of_who_waits_and_loses_nothing(tmp_path: Path) -> None:
    marker, go = tmp_path / "held", tmp_path / "go"
    os.mkfifo(go)
    with Server(tmp_path, APPLICATION) as server, ThreadPoolExecutor() as pool:
        answer = pool.submit(server.post, f"until {marker} {go}".encode())
        wait_until(marker.exists)
        server.process.send_signal(signal.SIGTERM)
        promised = answer.result()
        assert promised.status_code == 202
        location = promised.headers["location"]
        assert promised.json()["links"]["self"] == location
        go.write_text("go")
        server.process.wait()
    with Server(tmp_path, APPLICATION) as server:
        wait_until(lambda: server.client.get(location).json()["state"] != "queued")
        job = server.client.get(location).json()
        assert (job["state"], job["result"]["decision"]) == ("succeeded", "ALLOW")
        assert server.stored() == []


@pytest.mark.slow
def test_what_a_killed_server_was_receiving_is_swept_at_the_next_start(tmp_path: Path) -> None:
    with (
        Server(tmp_path, APPLICATION) as server,
        socket.create_connection(("127.0.0.1", server.port)) as connection,
    ):
        worker = server.worker()
        connection.sendall(
            b"POST /score HTTP/1.1\r\nHost: test\r\nContent-Length: 500000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            b'Content-Disposition: form-data; name="video"; filename="v"\r\n\r\n' + bytes(200_000)
        )
        wait_until(lambda: server.stored() != [])
        (left,) = server.stored()
        server.process.kill()
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not processes.alive(worker))
    assert left.exists()
    with Server(tmp_path, APPLICATION) as server:
        assert not left.exists()
        assert server.post(b"answer").status_code == 200


@pytest.mark.slow
def test_paths_are_off_unless_a_root_is_set(tmp_path: Path, root: Path) -> None:
    with Server(tmp_path, APPLICATION) as server:
        answer = server.client.post("/score", json={"video_path": str(root / "inner.webm")})
        assert_problem(answer, 403, "path_refused")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("MAX_VIDEO_SIZE_MB", "ten", "MAX_VIDEO_SIZE_MB=ten: Input should be a valid number"),
        ("VIDEO_ROOT", "/no/such/folder", "VIDEO_ROOT=/no/such/folder: Path does not point"),
    ],
)
def test_a_bad_setting_ends_the_start_with_one_line(
    tmp_path: Path, setting: str, value: str, said: str
) -> None:
    with (
        pytest.raises(RuntimeError, match="ended at start"),
        Server(tmp_path, APPLICATION, **{setting: value}),
    ):
        pass
    (line,) = (tmp_path / "server.log").read_text().splitlines()
    assert line.startswith(f"settings: {said}")


@pytest.mark.slow
def test_interrupting_ends_everything_at_once(tmp_path: Path) -> None:
    """Ctrl-C: nothing is left running, and the recording of what was in hand is kept for it."""
    marker = tmp_path / "held"
    with Server(tmp_path, APPLICATION) as server, ThreadPoolExecutor() as pool:
        pool.submit(server.post, f"hold {marker}".encode())
        wait_until(marker.exists)
        running = descendants(server.process.pid)
        assert int(marker.read_text()) in running
        server.process.send_signal(signal.SIGINT)
        server.process.wait()
        wait_until(lambda: not any(map(processes.alive, running)))
        assert [path.parent.name for path in server.stored()] == ["media"]
