"""What a client writes is in no line of the log and in no metric, wherever it writes it."""

import json
import re
import socket
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from typer.testing import CliRunner

import cli
from faults.harness import Service

pytestmark = pytest.mark.slow

LINES = 10_000
SENDERS = 8

MARK = "jane-doe-1987"
"""Part of every name, key, path, session and metadata that is sent here, in a form that every place
accepts."""

SECRET = "c0ffee1987"
"""The same for places where no hyphen may be."""

MARKED = re.compile("jane.{0,3}doe|c0ffee1987|1987", re.IGNORECASE)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that writes down as much as it can, and reads a folder that tells a name."""
    folder = tmp_path_factory.mktemp("service")
    root = folder / f"videos-of-{MARK}"
    root.mkdir()
    with Service(
        folder,
        LOG_LEVEL="debug",
        VIDEO_ROOT=root,
        MAX_QUEUE=64,
        MAX_QUEUE_PER_KEY=64,
        CORS_ORIGINS="*",
        WEBHOOK_SECRET="whsec_" + "A" * 44,
    ) as service:
        yield service


def marked_requests(recording: bytes, key: str) -> list[Callable[[httpx.Client], httpx.Response]]:
    """Requests with a mark in every place where a client can put text; most of them wrong."""
    name = f"{MARK}.webm"
    form = {
        "session_id": MARK,
        "user_consent": "true",
        "metadata": json.dumps({"name": MARK, SECRET: [MARK]}),
    }
    everywhere = {
        "User-Agent": MARK,
        "Referer": f"https://{MARK}.example/{SECRET}",
        "Cookie": f"{SECRET}={MARK}",
        "X-Forwarded-For": MARK,
        "Origin": f"https://{MARK}.example",
        "Accept-Language": MARK,
        f"X-{MARK}": MARK,
        "Idempotency-Key": MARK,
        "X-Request-ID": f"not an id {MARK}",
    }

    def post(
        content: bytes, route: str = "/score", filename: str = name, **more: object
    ) -> Callable[[httpx.Client], httpx.Response]:
        given: dict[str, object] = {"data": form, "headers": everywhere, **more}
        files = {"video": (filename, content)}
        return lambda client: client.post(route, files=files, **given)  # type: ignore[arg-type]

    def get(route: str, **more: object) -> Callable[[httpx.Client], httpx.Response]:
        headers = {**everywhere, **more}
        return lambda client: client.get(route, headers=headers)  # type: ignore[arg-type]

    def path(video_path: object) -> Callable[[httpx.Client], httpx.Response]:
        body = {"video_path": video_path, "session_id": MARK}
        return lambda client: client.post("/score", json=body, headers=everywhere)

    fresh = {**everywhere, "Idempotency-Key": f"{MARK}-{uuid.uuid4()}"}
    garbage = b"\x1a\x45\xdf\xa3" + MARK.encode() * 40
    return [
        post(recording, headers=fresh),
        post(garbage, headers=fresh),
        post(MARK.encode()),
        post(f"#EXTM3U\n/{MARK}/{SECRET}\n".encode(), filename=f"../../{MARK}"),
        post(
            recording,
            f"/score?session_id={MARK}&{MARK}={SECRET}",
            data={"session_id": f"no {MARK}"},
        ),
        post(recording, data={"metadata": f"{{{MARK}"}),
        post(recording, data={"partial": MARK, SECRET: MARK}),
        post(recording, "/api/avsync/score", data={"session_id": MARK, "user_consent": MARK}),
        post(recording, data={**form, "webhook_url": f"http://127.0.0.1:9/{MARK}"}),
        post(recording, data={**form, "webhook_url": f"http://{MARK}.invalid/{SECRET}?a={MARK}"}),
        post(recording, headers={**fresh, "Prefer": f"respond-async, {SECRET}"}),
        path(f"{MARK}.webm"),
        path(f"../{MARK}/{SECRET}"),
        path(f"/{MARK}\0{SECRET}"),
        path([MARK, {SECRET: MARK}]),
        lambda client: client.post(
            "/score", content=f'{{"{MARK}', headers={"Content-Type": "application/json"}
        ),
        lambda client: client.post(
            "/score", content=MARK, headers={"Content-Type": f"text/{MARK}"}
        ),
        get(f"/{MARK}/{SECRET}?key={MARK}"),
        get(f"/jobs/{MARK}"),
        get(f"/jobs/{MARK}/events?session_id={MARK}"),
        lambda client: client.delete(f"/jobs/{MARK}", headers=everywhere),
        lambda client: client.request(SECRET.upper(), f"/score?{MARK}", headers=everywhere),
        lambda client: client.options(f"/score?{MARK}", headers=everywhere),
        get("/health", Authorization=f"Bearer {key}"),
        get("/jobs/x", Authorization=f"Bearer {key}"),
        get("/jobs/x", Authorization=f"Bearer {SECRET}"),
        get("/jobs/x", Authorization=f"Basic {SECRET}"),
        get("/jobs/x", **{"X-API-Key": MARK}),
        get("/metrics", Authorization=f"Bearer {key}"),
    ]


RAW = (
    f"GET /{MARK} HTTP/1.1\r\nHost: {MARK}\r\n{MARK} {SECRET}: {MARK}\r\n\r\n",
    f"{SECRET} /{MARK}\r\n\r\n",
    f"GET /{MARK} HTTP/9.{SECRET}\r\n\r\n",
    f"GET /{MARK * 500} HTTP/1.1\r\n\r\n",
    f"POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {MARK}\r\n\r\n",
    f"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: {MARK}\r\n\r\n",
    "POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    f"Transfer-Encoding: chunked\r\n\r\n{MARK}\r\n{MARK}",
    "POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    "Content-Length: 999\r\n\r\n--b\r\n"
    f'Content-Disposition: form-data; name="{MARK}"\r\n\r\n{MARK}',
    f"{MARK}\x00{SECRET}\r\n\r\n",
)
"""What a web server refuses, or what breaks off, before any view sees it."""


def test_nothing_that_a_client_writes_is_logged_or_counted(
    service: Service, brief_clip: bytes, figures: Callable[..., None]
) -> None:
    made = CliRunner().invoke(
        cli.app, ["keys", "create", MARK, "--json"], env={"DATA_DIR": str(service.data_dir)}
    )
    key = json.loads(made.stdout)["key"]
    (service.data_dir.parent / f"videos-of-{MARK}" / f"{MARK}.webm").write_bytes(brief_clip)
    statuses: dict[int, int] = {}
    metrics = ""

    def send(number: int) -> list[int]:
        requests = marked_requests(brief_clip, key)
        with httpx.Client(base_url=service.url, timeout=120) as client:
            return [ask(client).status_code for ask in requests]

    with ThreadPoolExecutor(SENDERS) as pool:
        while min(service.log().count("\n"), metrics.count("\n")) < LINES // 2:
            for answered in pool.map(send, range(SENDERS)):
                for status in answered:
                    statuses[status] = statuses.get(status, 0) + 1
            for raw in RAW:
                send_raw(service.port, raw.encode())
            metrics += httpx.get(f"{service.url}/metrics").text
    service.stop()
    lines = service.log().splitlines()

    secrets = (key, key.split("_", 2)[2], str(service.data_dir.parent))
    told = [line for line in lines if any(secret in line for secret in secrets)]
    told += [line for line in [*lines, *metrics.splitlines()] if MARKED.search(content(line))]
    assert told == []
    assert not [status for status in statuses if status >= 500]
    assert {200, 202, 400, 401, 403, 404, 405, 415, 422} <= set(statuses)
    assert {json.loads(line)["level"] for line in lines} >= {"info", "warning"}
    figures(
        "privacy",
        log_lines=len(lines),
        metric_lines=metrics.count("\n"),
        requests=sum(statuses.values()),
        told=len(told),
    )


def content(line: str) -> str:
    """What may not hold a mark: everything but the times and the ids that the service makes."""
    without_ids = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "", line)
    without_figures = re.sub(r'"(ts|ms)": ("[^"]*"|\d+)', "", without_ids)
    return re.sub(r"[0-9.e+-]+$", "", without_figures)


def send_raw(port: int, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(30)
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
