"""The request of the front end that was there before the page, byte for byte."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import Server

pytestmark = pytest.mark.slow

BOUNDARY = "----WebKitFormBoundaryq3Vx0Yb7KpZr2LdA"

HEAD = (
    "POST /api/avsync/score HTTP/1.1\r\n"
    "Host: 127.0.0.1\r\n"
    "Connection: close\r\n"
    "Content-Length: {length}\r\n"
    'sec-ch-ua-platform: "Linux"\r\n'
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/130.0.0.0 Safari/537.36\r\n"
    "Accept: application/json, text/plain, */*\r\n"
    "Content-Type: multipart/form-data; boundary=" + BOUNDARY + "\r\n"
    "Origin: http://localhost:3000\r\n"
    "Sec-Fetch-Site: same-site\r\n"
    "Sec-Fetch-Mode: cors\r\n"
    "Sec-Fetch-Dest: empty\r\n"
    "Referer: http://localhost:3000/\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-US,en;q=0.9\r\n"
    "\r\n"
)

READ = {  # by the front end, of every verdict
    "combined_score",
    "score",
    "risk_level",
    "is_likely_real",
    "decision",
    "reason_codes",
    "confidence",
    "offset_frames",
    "lag_ms",
    "min_dist",
    "processing_time_ms",
    "ttl_ms",
    "session_id",
}


def request(recording: bytes, consent: str = "true") -> bytes:
    """What Chromium writes for a FormData of these four, in this order."""
    fields = {
        "session_id": "session_1732190400000_k3j9x2m1p",
        "user_consent": consent,
        "metadata": json.dumps(
            {"timestamp": 1732190400000, "userAgent": "Mozilla/5.0", "mimeType": "video/webm"},
            separators=(",", ":"),
        ),
    }
    body = (
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="video"; filename="recording.webm"\r\n'
        "Content-Type: video/webm;codecs=vp8,opus\r\n"
        "\r\n"
    ).encode() + recording
    for name, value in fields.items():
        body += (
            f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}'
        ).encode()
    body += f"\r\n--{BOUNDARY}--\r\n".encode()
    return HEAD.format(length=len(body)).encode() + body


def replay(port: int, sent: bytes) -> tuple[bytes, dict[str, str], bytes]:
    """The status line, the headers and the body of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        connection.sendall(sent)
        received = b""
        while more := connection.recv(65536):
            received += more
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = dict(line.decode().lower().split(": ", 1) for line in lines)
    return status, headers, body


def test_it_is_answered_with_the_fields_that_it_reads(
    server: Server, clip: Callable[[str], Path]
) -> None:
    status, headers, body = replay(server.port, request(clip("browser").read_bytes()))
    assert status == b"HTTP/1.1 200 OK", body
    assert headers["content-type"] == "application/json"
    assert int(headers["content-length"]) == len(body)
    verdict = json.loads(body)
    assert set(verdict) >= READ
    assert verdict["session_id"] == "session_1732190400000_k3j9x2m1p"
    assert verdict["inconclusive"] is False
    assert verdict["lag_ms"] == 40 * verdict["offset_frames"]


def test_without_consent_it_is_refused(server: Server, clip: Callable[[str], Path]) -> None:
    status, headers, body = replay(server.port, request(clip("browser").read_bytes(), "false"))
    assert status == b"HTTP/1.1 403 FORBIDDEN"
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["error"] == "no_consent"
