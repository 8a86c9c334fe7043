"""gunicorn as this service runs it: heads of requests, draining, figures of several processes."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving import GUNICORN, ROOT, Server

from service.headers import ALWAYS, UNLESS_SET

pytestmark = pytest.mark.slow

APPLICATION = "service_doubles:make_app()"
THREADS = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One web process with few threads."""
    folder = tmp_path_factory.mktemp("server")
    with Server(folder, APPLICATION, WEB_THREADS=THREADS) as started:
        yield started


def connect(server: Server, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(sent)
    return connection


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other side closes, however it does that."""
    received = b""
    with connection, contextlib.suppress(ConnectionResetError):
        while more := connection.recv(65536):
            received += more
    return received


def test_half_a_head_holds_no_thread(server: Server) -> None:
    waiting = [connect(server, head) for head in (b"", b"GET /hea") for _ in range(2 * THREADS)]
    assert server.client.get("/health/live").status_code == 200
    for connection in waiting:  # none was answered, none was closed
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        connection.setblocking(True)
    for connection in waiting[2 * THREADS :]:
        connection.sendall(b"lth/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200 OK\r\n")
    for connection in waiting[: 2 * THREADS]:
        connection.close()


def test_a_head_that_never_ends_is_not_waited_for(server: Server) -> None:
    begun = connect(server, b"GET /health/live HTTP/1.1\r\nX: ")
    silent = connect(server)
    assert read_all(begun) == b""
    assert read_all(silent) == b""


def test_a_second_request_on_the_connection_may_come_with_the_first(server: Server) -> None:
    one = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert read_all(connect(server, one + one + last)).count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /marked HTTP/1.1\r\nmarked header: marked\r\n\r\n", 400),
        (b"marked marked\r\n\r\n", 400),
        (b"GET /%s HTTP/1.1\r\n\r\n" % (b"marked" * 1000), 414),
        (b"GET / HTTP/1.1\r\nmarked: %s\r\n\r\n" % (b"marked" * 2000), 431),
        (b"GET / HTTP/1.1\r\nmarked: %s" % (b"marked" * 6000), 431),
        (b"POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: marked\r\n\r\n", 400),
        (b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: marked\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nExpect: marked\r\n\r\n", 417),
        (
            b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nmarked\r\n",
            400,
        ),
    ],
)
def test_what_is_no_request_is_a_problem_too(server: Server, sent: bytes, status: int) -> None:
    connection = connect(server, sent)
    head, _, body = read_all(connection).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].startswith(f"HTTP/1.1 {status} ")
    headers = {
        name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])
    }
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    problem = json.loads(body)
    assert (problem["status"], problem["request_id"]) == (status, headers["x-request-id"])
    for name, value in (ALWAYS | UNLESS_SET).items():
        assert headers[name.lower()] == value
    assert b"marked" not in body
    said = server.log.read_text()
    assert headers["x-request-id"] in said
    assert "marked" not in said


def test_told_to_end_it_refuses_the_new_and_lets_go_of_those_who_wait(tmp_path: Path) -> None:
    with Server(tmp_path, APPLICATION) as server:
        kept = httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60)
        while kept.get("/health/ready").status_code != 200:
            time.sleep(0.05)
        marker = tmp_path / "held"
        answers: list[httpx.Response] = []
        waiting = threading.Thread(
            target=lambda: answers.append(server.post(f"hold {marker}".encode()))
        )
        waiting.start()
        while not marker.exists():  # a scoring process is at it
            time.sleep(0.05)
        begun = connect(server, b"GET /health/ready HTTP/1.1\r\nHost: x\r\n")
        server.process.send_signal(signal.SIGTERM)
        waiting.join()
        (answer,) = answers
        assert answer.status_code == 202
        assert re.fullmatch(r"/jobs/[0-9a-f-]{36}", answer.headers["Location"])
        begun.sendall(b"\r\n")
        told = read_all(begun)
        assert told.startswith(b"HTTP/1.1 503 ")
        assert b'"draining"' in told
        with pytest.raises(ConnectionRefusedError):
            connect(server)
        kept.close()
        assert server.process.wait(25) == 0


def test_all_web_processes_count_together(tmp_path: Path) -> None:
    with Server(tmp_path, APPLICATION, WEB_CONCURRENCY=2) as server:
        pids = set()
        for _ in range(40):
            answer = httpx.get(f"http://127.0.0.1:{server.port}/health/live")
            assert answer.status_code == 200
        told = server.client.get("/metrics").text
        assert '{method="GET",route="/health/live",status="200"} 40.0' in told
        files = {path.name for path in (server.data / "metrics").glob("counter_*.db")}
        pids = {name.removesuffix(".db").rpartition("_")[2] for name in files}
        assert len(pids) >= 2, "one process has answered everything"
    with Server(tmp_path, APPLICATION) as server:
        assert "/health/live" not in server.client.get("/metrics").text


def test_a_public_service_without_a_key_ends_in_one_line(tmp_path: Path) -> None:
    environment = {**os.environ, "DATA_DIR": str(tmp_path), "HOST": "0.0.0.0", "PORT": "0"}
    ended = subprocess.run(
        [GUNICORN, "app:app", "-c", "gunicorn_config.py"],
        cwd=ROOT,
        env={**environment, "PORT": "5999"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode != 0
    assert [line for line in ended.stderr.splitlines() if not line.startswith("{")] == [
        line for line in ended.stderr.splitlines() if "syncnet-service keys create NAME" in line
    ]
    assert "Booting worker" not in ended.stderr
