"""Names from strangers lead to no file but those that they may name."""

import contextlib
import http.client
import json
import os
import socket
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from faults.harness import Service
from faults.opened import Watch

pytestmark = pytest.mark.slow

CANARY = "canary.webm"


@dataclass(frozen=True, slots=True)
class House:
    """root: may be read; outside: may not, though links in the root lead there; service: that
    reads them."""

    root: Path
    outside: Path
    service: Service
    listener: socket.socket


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, small_clip: bytes) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    root, outside = folder / "root", folder / "outside"
    for path in (root / "deep", outside / "deep", folder / "root-too", folder / "service"):
        path.mkdir(parents=True)
    for path in (root / "clip.webm", root / "deep" / "clip.webm", root / "名前 with spaces.webm"):
        path.write_bytes(small_clip)
    for path in (outside / CANARY, outside / "deep" / CANARY, folder / "root-too" / CANARY):
        path.write_bytes(small_clip)
    _make_links(root, outside)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Service(folder / "service", VIDEO_ROOT=root) as service,
    ):
        listener.setblocking(False)
        yield House(root, outside, service, listener)


def _make_links(root: Path, outside: Path) -> None:
    """Links that lead out, and files that are no files."""
    for name, target in {
        "out.webm": outside / CANARY,
        "out-relative.webm": Path("..") / "outside" / CANARY,
        "out-folder": outside,
        "up": Path(".."),
        "slash": Path("/"),
        "environ.webm": Path("/proc/self/environ"),
        "passwd.webm": Path("/etc/passwd"),
        "zero.webm": Path("/dev/zero"),
        "stdin.webm": Path("/dev/stdin"),
        "dangling.webm": outside / "nothing.webm",
        "loop.webm": Path("loop.webm"),
        "chain-1.webm": Path("chain-2.webm"),
        "chain-2.webm": Path("out.webm"),
        "in.webm": Path("deep") / "clip.webm",
    }.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "pipe.webm")
    with socket.socket(socket.AF_UNIX) as plug:
        here = Path.cwd()
        os.chdir(root)  # a socket's own name must be short
        try:
            plug.bind("plug.webm")
        finally:
            os.chdir(here)
    with contextlib.suppress(OSError):  # takes root
        os.mknod(root / "device.webm", 0o666 | stat.S_IFCHR, os.makedev(1, 5))


def hostile_paths(house: House) -> list[object]:
    """What is sent as `video_path`. None of it may be answered with a verdict."""
    canary = house.outside / CANARY
    port = house.listener.getsockname()[1]
    ups = [up * depth for up in ("../", "..//", "./../", "deep/../../") for depth in (1, 2, 3, 9)]
    out = ["outside/canary.webm", "root-too/canary.webm", "../etc/passwd", "outside/", "."]
    traversals = [up + name for up in ups for name in out]
    encoded = [
        text.format(name=f"outside/{CANARY}")
        for text in (
            "%2e%2e/{name}",
            "%2e%2e%2f{name}",
            "..%2f{name}",
            "..%252f{name}",
            "%252e%252e%252f{name}",
            "..%c0%af{name}",
            "%c0%ae%c0%ae/{name}",
            "..\\{name}",
            "..%5c{name}",
            "..\u2215{name}",
            "..\uff0f{name}",
            "\uff0e\uff0e/{name}",
            "\u2024\u2024/{name}",
            "\u202e/../{name}",
            ".\u200b./{name}",
            "..;/{name}",
            "....//{name}",
            "..././{name}",
            "~/../{name}",
            "$HOME/../{name}",
            "${{PWD}}/../{name}",
        )
    ]
    absolute = [
        str(canary),
        f"/{canary}",
        f"//{canary}",
        f"{house.root}/../outside/{CANARY}",
        f"{house.root}-too/{CANARY}",
        f"{house.root}/./../root-too/{CANARY}",
        str(house.outside),
        *("/", "/etc/passwd", "/etc/shadow", "/root/.ssh/id_rsa", "/nothing/at/all"),
        *(f"/proc/self/{name}" for name in ("environ", "cmdline", "mem", "maps", "exe", "fd/0")),
        f"/proc/self/root{canary}",
        f"/proc/self/cwd/../..{canary}",
        f"/proc/1/root{canary}",
        f"/proc/{os.getpid()}/root{canary}",
        *(f"/dev/{name}" for name in ("zero", "random", "stdin", "fd/0", "tty", "null", "mem")),
        "/sys/kernel/notes",
        "C:\\Windows\\win.ini",
        "\\\\127.0.0.1\\share\\clip.webm",
    ]
    links = [
        *("out.webm", "out-relative.webm", "environ.webm", "passwd.webm", "zero.webm"),
        *("stdin.webm", "dangling.webm", "loop.webm", "chain-1.webm", "pipe.webm", "plug.webm"),
        *("device.webm", "deep", "deep/", ".", "./", "out-folder", "up", "slash"),
        f"out-folder/{CANARY}",
        f"out-folder/deep/{CANARY}",
        f"out-folder/../outside/{CANARY}",
        f"up/outside/{CANARY}",
        f"up/up/outside/{CANARY}",
        f"deep/../up/outside/{CANARY}",
        f"slash/{canary}",
        "slash/etc/passwd",
        "slash/proc/self/environ",
        "slash/dev/zero",
    ]
    references = [
        f"file://{canary}",
        f"file:{canary}",
        f"FILE://localhost{canary}",
        f"http://127.0.0.1:{port}/clip.webm",
        f"https://127.0.0.1:{port}/clip.webm",
        f"rtmp://127.0.0.1:{port}/clip",
        f"tcp://127.0.0.1:{port}",
        f"udp://127.0.0.1:{port}",
        f"ftp://127.0.0.1:{port}/clip.webm",
        f"gopher://127.0.0.1:{port}/_x",
        f"unix:{house.root}/plug.webm",
        f"concat:{canary}|{canary}",
        f"subfile,,start,0,end,0,,:{canary}",
        f"async:file:{canary}",
        f"cache:file:{canary}",
        f"crypto:{canary}",
        f"data:video/webm;base64,{quote(str(canary))}",
        f"lavfi:movie={canary}",
        *("pipe:", "pipe:0", "fd:0", "-", "--", "-i", "@clip.webm"),
    ]
    commands = [
        f"clip.webm; cat {canary}",
        f"$(cat {canary})",
        f"`cat {canary}`",
        f"| cat {canary}",
        f"clip.webm && cat {canary}",
        f"clip.webm > {house.outside}/made",
        f"clip.webm\ncat {canary}",
        *("*.webm", "cl?p.webm", "{clip,out}.webm", "[c]lip.webm", "'clip.webm'", "%s%s%n", "{0}"),
    ]
    broken: list[object] = [
        *("clip.webm\0", f"clip.webm\0/../../outside/{CANARY}", "\0", "a" * 256, "a/" * 2000),
        *("../" * 1365 + "x", "a" * 4096, "a" * 4097, "a" * 60_000, "", " ", "clip.webm ", "\n"),
        *("clip.webm/..", "clip.webm/../../outside/" + CANARY, "CLIP.WEBM", "\ufeff"),
        *("clip.webm\u0301", "cli\u0440.webm", "\u202egpj.webm", "\U0001f3a5" * 64, "\udc80"),
        *("\ud800", "out\udcff.webm", None, 0, 1.5, True, [], ["clip.webm"], {"path": "clip.webm"}),
    ]
    return [*traversals, *encoded, *absolute, *links, *references, *commands, *broken]


def test_no_hostile_name_is_read(house: House, figures: Callable[..., None]) -> None:
    client = house.service.client
    for name in ("clip.webm", "in.webm", "名前 with spaces.webm", f"{house.root}/deep/clip.webm"):
        answer = client.post("/score", json={"video_path": name})
        assert answer.status_code == 200, (name, answer.text)
    sent = hostile_paths(house)
    statuses: Counter[int] = Counter()
    wrong: list[tuple[object, int, str]] = []
    with Watch(house.outside, house.outside / "deep", house.root.parent / "root-too") as watch:
        for path in sent:
            body = json.dumps({"video_path": path})  # lone surrogates as \ud800: what a client may
            headers = {"Content-Type": "application/json"}
            answer = client.post("/score", content=body, headers=headers)
            statuses[answer.status_code] += 1
            detail = answer.json().get("detail", "")
            quoted = isinstance(path, str) and len(path) > 3 and path in detail
            if answer.status_code not in (400, 403, 404) or quoted:
                wrong.append((path, answer.status_code, answer.text))
        opened = watch.opened()
    with contextlib.suppress(BlockingIOError):
        connection, _ = house.listener.accept()
        connection.close()
        wrong.append(("a connection", 0, ""))
    figures(
        "video_path",
        strings=len(sent),
        answered=", ".join(f"{count}x {status}" for status, count in sorted(statuses.items())),
        files_opened_outside=len(opened),
    )
    assert len(sent) >= 200
    assert wrong == []
    assert opened == set()
    assert not (house.outside / "made").exists()
    assert client.post("/score", json={"video_path": "clip.webm"}).status_code == 200


def test_the_watch_would_have_seen_it(house: House) -> None:
    with Watch(house.outside) as watch:
        (house.outside / CANARY).read_bytes()
        assert watch.opened() == {house.outside / CANARY}


HOSTILE_NAMES = [
    *("..", ".", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "....//x", "/etc/passwd"),
    *("a/b", "a\\b", "a b", "a;b", "a|b", "$(id)", "`id`", "a&b", "a>b", "*", "?", "%00", "a\0b"),
    *("a\nb", "a\r\nX-Injected: 1", "\x1b[31m", "\x7f", "é", "\u202e", "🎥", "x" * 129, "x" * 5000),
    *("' OR 1=1 --", '"; DROP TABLE jobs; --', "${jndi:ldap://127.0.0.1/x}", "{{7*7}}", "<b>", ""),
]


def test_no_hostile_id_becomes_a_path_or_a_line_of_the_log(
    house: House, small_clip: bytes, figures: Callable[..., None]
) -> None:
    """As a job's id, a session, a request id and an idempotency key."""
    service = house.service
    before = len(service.log())
    files = {path for path in service.data_dir.rglob("*") if path.is_file()}
    statuses: Counter[str] = Counter()
    for name in HOSTILE_NAMES:
        for method, path in (("GET", ""), ("GET", "/events"), ("DELETE", "")):
            status = _raw(service, method, f"/jobs/{quote(name, safe='')}{path}")
            statuses[f"job {status}"] += 1
            assert status in (404, 405, 308, 414), (name, status)
        posted = service.client.post(
            "/score",
            data={"session_id": name},
            files={"video": (name or "x", b"no video")},
        )
        statuses[f"session {posted.status_code}"] += 1
        assert posted.status_code == (415 if name in ("..", ".") else 400), (name, posted.text)
        for header in ("X-Request-ID", "Idempotency-Key"):
            if any(ord(char) < 32 or ord(char) > 255 for char in name):
                continue  # cannot be sent
            headers = {header.encode(): name.encode("latin-1")}
            answer = service.client.post(
                "/score",
                files={"video": b"no video"},
                headers=headers,  # type: ignore[arg-type]
            )
            statuses[f"{header} {answer.status_code}"] += 1
            assert answer.status_code in (400, 415), (header, name, answer.text)
            assert name in (".", "..") or answer.headers["X-Request-ID"] != name
            assert "X-Injected" not in answer.headers
    figures(
        "ids",
        strings=len(HOSTILE_NAMES),
        answered=", ".join(f"{count}x {status}" for status, count in sorted(statuses.items())),
    )
    said = service.log()[before:]
    for line in said.splitlines():
        json.loads(line)
    for name in HOSTILE_NAMES:
        assert len(name) < 4 or name not in said
    service.wait_until_no_media()
    made = {path for path in service.data_dir.rglob("*") if path.is_file()} - files
    assert {path.name.rstrip("0123456789") for path in made} <= {
        *("jobs.sqlite-wal", "jobs.sqlite-shm"),
    } | {path.name.rstrip("0123456789") for path in made if "metrics" in path.parts}


def _raw(service: Service, method: str, target: str) -> int:
    """The status of a request whose target nobody tidies up."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    try:
        connection.putrequest(method, target)
        connection.endheaders()
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()
