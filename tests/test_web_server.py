"""gunicorn as this service runs it: heads of requests, draining, figures of several processes."""

import contextlib
import json
import os
import re
import resource
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]
from serving import GUNICORN, ROOT, Server

from service import web_server
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


def read_answer(connection: socket.socket) -> bytes:
    """One answer of /health/live, to the end of its body."""
    received = b""
    while not received.endswith(b"}\n"):
        more = connection.recv(65536)
        assert more, received
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


def answered_soon(server: Server) -> None:
    """Sooner than any thread is let go of that somebody holds."""
    assert httpx.get(f"http://127.0.0.1:{server.port}/health/live", timeout=3).status_code == 200


LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"


def test_the_beginning_of_a_second_request_holds_no_thread(server: Server) -> None:
    waiting = [connect(server, LIVE + b"\r\nG") for _ in range(3 * THREADS)]
    for connection in waiting:
        assert read_answer(connection).startswith(b"HTTP/1.1 200 OK\r\n")
    answered_soon(server)
    for connection in waiting:
        connection.sendall(LIVE[1:] + b"Connection: close\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("framing", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"])
def test_a_body_that_nobody_reads_holds_no_thread(server: Server, framing: bytes) -> None:
    waiting = [connect(server, LIVE + framing + b"\r\n\r\nf") for _ in range(3 * THREADS)]
    for connection in waiting:
        answer = read_answer(connection)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in answer
    answered_soon(server)
    for connection in waiting:
        assert read_all(connection) == b""


def test_a_connection_goes_on_after_a_body_that_was_read(server: Server) -> None:
    asked = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    last = LIVE + b"Connection: close\r\n\r\n"
    answers = read_all(connect(server, asked + last))
    assert answers.startswith(b"HTTP/1.1 4")
    assert b"HTTP/1.1 200 OK\r\n" in answers


def test_who_does_not_close_holds_nobody_up(server: Server) -> None:
    last = [connect(server, LIVE + b"Connection: close\r\n\r\n") for _ in range(3 * THREADS)]
    for connection in last:
        assert read_answer(connection).startswith(b"HTTP/1.1 200 OK\r\n")
    answered_soon(server)
    for connection in last:
        connection.close()


def test_who_does_not_take_the_answer_is_let_go(server: Server) -> None:
    stubborn = []
    for _ in range(THREADS):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                connection.send(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        stubborn.append(connection)
    url = f"http://127.0.0.1:{server.port}/health/live"
    assert httpx.get(url, timeout=40).status_code == 200
    for connection in stubborn:
        connection.close()


def test_the_oldest_of_too_many_halves_goes(server: Server) -> None:
    begun = [connect(server, LIVE) for _ in range(web_server.MAX_PARTIAL)]
    newer = [connect(server, LIVE) for _ in range(10)]
    for connection in begun[:10]:
        assert read_all(connection) == b""
    for connection in [*begun[10:], *newer]:
        connection.sendall(b"Connection: close\r\n\r\n")
    for connection in [*begun[10:], *newer]:
        assert read_all(connection).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_process_without_descriptors_left_lives_on(tmp_path: Path) -> None:
    with Server(tmp_path, APPLICATION) as server:
        pid = server.worker()
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 10, limits[1]))
        crowd = [connect(server) for _ in range(40)]
        while "nobody can be accepted" not in server.log.read_text():
            time.sleep(0.05)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        answered_soon(server)
        for connection in crowd:
            connection.close()
        assert server.worker() == pid


def test_connections_that_ask_for_nothing_make_room(tmp_path: Path) -> None:
    with Server(tmp_path, APPLICATION, GUNICORN_CMD_ARGS="--worker-connections 80") as server:
        crowd = [connect(server) for _ in range(200)]
        answered_soon(server)
        for connection in crowd:
            connection.close()


def test_as_many_descriptors_as_may_be_and_fewer_connections(tmp_path: Path) -> None:
    command = (
        "import resource, gunicorn_config as c;"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE), c.worker_connections)"
    )
    for soft, hard, connections in ((256, 4096, 1000), (256, 512, 320), (128, 128, 64)):
        told = subprocess.run(
            [sys.executable, "-c", command],
            cwd=ROOT,
            env={**os.environ, "DATA_DIR": str(tmp_path)},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),  # noqa: B023
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert told.stdout.split() == [str(hard), str(hard), str(connections)]


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> Iterator[web_server.DrainingWorker]:
    """A web process that has not begun to accept."""
    worker = web_server.DrainingWorker(1, os.getpid(), [], None, 30, Config(), None)
    worker.poller = selectors.DefaultSelector()
    yield worker
    worker.poller.close()
    worker.tmp.close()


def test_halves_are_not_looked_at_at_every_turn(
    idle: web_server.DrainingWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []
    monkeypatch.setattr(web_server, "LOOK_S", 60.0)
    monkeypatch.setattr(idle, "_look", lambda conn, until: looked.append(conn))
    for _ in range(50):
        idle._partial["a connection"] = time.monotonic() + 60
        idle.wait_for_and_dispatch_events(0)
    assert looked == ["a connection"]


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


def test_a_worker_that_runs_on_goes_on_counting(tmp_path: Path) -> None:
    """`syncnet-service worker` is not ended with the service, and its figures count all along."""
    folder = tmp_path / "data" / "metrics"
    folder.mkdir(parents=True)
    (folder / "counter_1.db").write_bytes(b"of a process that is no more")
    command = (
        "from service import metrics;"
        "metrics.observe_job('cancelled', None, 1.0); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", command],
        cwd=ROOT,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        with Server(tmp_path, APPLICATION) as server:
            told = server.client.get("/metrics").text
            assert not (folder / "counter_1.db").exists()
        worker.communicate(b"\n")
    assert 'syncnet_jobs_total{code="",risk="",state="cancelled"} 1.0' in told
    with Server(tmp_path, APPLICATION) as server:
        assert 'state="cancelled"' not in server.client.get("/metrics").text


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
