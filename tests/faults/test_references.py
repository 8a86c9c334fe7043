"""Files that name other files and addresses: nothing is opened, nothing is connected."""

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evaluation.samples import talking_clip
from faults.harness import Service

pytestmark = pytest.mark.slow

EXTENSIONS = ("webm", "mp4", "mov", "avi", "mkv", "mpeg")


class Listener:
    """An address that counts who connects."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.connections = 0
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()


class Opened:
    """Counts how often a file is opened, by whoever, with inotify(7)."""

    _NONBLOCK, _OPEN = 0x800, 0x20
    _EVENT = 16  # bytes, for a file that is watched by itself

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(self._NONBLOCK)
        if libc.inotify_add_watch(self._descriptor, os.fsencode(path), self._OPEN) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")

    def count(self) -> int:
        """Since the last call. Those of one process that follow each other count as one."""
        try:
            return len(os.read(self._descriptor, 1 << 16)) // self._EVENT
        except BlockingIOError:
            return 0

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def opened(secret: Path) -> Iterator[Opened]:
    opened = Opened(secret)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording beside the service that a file may not lead to."""
    path = tmp_path_factory.mktemp("secret") / "secret.mp4"
    talking_clip(path, container="mp4-h264-aac", seconds=1.2, size=(160, 120))
    return path


def playlist(url: str) -> bytes:
    lines = ("#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:2,", url, "#EXT-X-ENDLIST")
    return "\n".join(lines).encode()


def bare_playlist(url: str) -> bytes:
    return f"{url}\n".encode()


def concat(url: str) -> bytes:
    return f"ffconcat version 1.0\nfile '{url}'\n".encode()


def dash(url: str) -> bytes:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
        f"<Period><AdaptationSet><Representation><BaseURL>{url}</BaseURL></Representation>"
        "</AdaptationSet></Period></MPD>"
    ).encode()


def svg(url: str) -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/></svg>'.encode()


SCRIPTS = {"m3u8": playlist, "url": bare_playlist, "ffconcat": concat, "mpd": dash, "svg": svg}


def session(listener: Listener) -> bytes:
    return (
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=video {listener.port} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    ).encode()


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def outside(secret: Path, kind: bytes, target: str) -> bytes:
    """The recording `secret` without its media data: every track's lie where `target` says."""
    reference = box(
        kind, b"\0\0\0\0", alias(target) if kind == b"alis" else target.encode() + b"\0"
    )
    data = secret.read_bytes()
    kept = [part for part in boxes(data) if part[4:8] != b"mdat"]
    return b"".join(rewritten(part, reference) for part in kept)


def alias(target: str) -> bytes:
    """A Macintosh alias record with an absolute path, as QuickTime writes and FFmpeg reads it."""
    name = Path(target).name.encode()[:63]
    head = bytearray(150)
    head[4:8] = struct.pack(">HH", 150, 2)
    head[50] = len(name)
    head[51 : 51 + len(name)] = name
    path = target.encode()
    return (
        bytes(head)
        + struct.pack(">hH", 2, len(path))
        + path
        + b"\0" * (len(path) % 2)
        + b"\xff\xff\0\0"
    )


def boxes(data: bytes) -> Iterator[bytes]:
    while data:
        length = struct.unpack(">I", data[:4])[0]
        yield data[:length]
        data = data[length:]


def rewritten(part: bytes, reference: bytes) -> bytes:
    """A box with every data reference within it replaced."""
    kind, body = part[4:8], part[8:]
    if kind == b"dref":
        return box(b"dref", b"\0\0\0\0", struct.pack(">I", 1), reference)
    if kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        return box(kind, *(rewritten(inner, reference) for inner in boxes(body)))
    return part


def targets(secret: Path, listener: Listener) -> list[str]:
    address = f"127.0.0.1:{listener.port}"
    return [
        str(secret),
        f"file:{secret}",
        f"file://{secret}",
        f"http://{address}/a.ts",
        f"tcp://{address}",
        f"concat:{secret}|{secret}",
        f"subfile,,start,0,end,0,,:{secret}",
        f"crypto:http://{address}/",
    ]


def hostile(secret: Path, listener: Listener) -> dict[str, bytes]:
    found = {"sdp": session(listener)}
    for target in targets(secret, listener):
        for name, script in SCRIPTS.items():
            found[f"{name} {target.partition(':')[0][:12]}{len(found)}"] = script(target)
        for kind in (b"url ", b"urn ", b"alis"):
            found[f"dref {kind.decode()}{len(found)}"] = outside(secret, kind, target)
    return found


def test_what_counts_does_count(secret: Path, opened: Opened) -> None:
    secret.read_bytes()
    assert opened.count() > 0
    own = Listener()
    with socket.create_connection(("127.0.0.1", own.port)) as connection:
        assert connection.recv(1) == b""
    own.close()
    assert own.connections == 1


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_nothing_that_a_file_names_is_opened(
    service: Service,
    figures: Callable[..., None],
    listener: Listener,
    secret: Path,
    opened: Opened,
    extension: str,
) -> None:
    files = hostile(secret, listener)
    whole = service.post(secret)
    assert whole.status_code == 200  # so that a file that led there would be scored
    opened.count()
    answers = {
        name: service.post(content, f"clip.{extension}", partial="true")
        for name, content in files.items()
    }
    times_opened = opened.count()
    codes = {name: answer.json().get("code", "scored") for name, answer in answers.items()}
    figures(
        extension,
        sent=len(answers),
        refused=sum(answer.status_code in (415, 422) for answer in answers.values()),
        opened=times_opened,
        connections=listener.connections,
    )
    assert {answer.status_code for answer in answers.values()} <= {415, 422}, codes
    assert times_opened == 0
    assert listener.connections == 0
