"""What pages have people paste into a shell is pasted into one; where they point to is there."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import ROOT, Server

ADDRESS = re.compile(r"http://(localhost|127\.0\.0\.1):5000")
"""The one that stands on the pages."""

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINE = re.compile(r"^[ \t]*(?:\w+=\$\()?curl ", re.MULTILINE)
ELSEWHERE = "https://example.org/"
"""Blocks with this would ask somebody else; of streams there are tests enough."""

ANSWERS = {
    "README.md": [
        "POST /score 200",
        "POST /score 202",
        "GET /jobs/ID/events 200",
        "GET /jobs/ID 200",
        "DELETE /jobs/ID 204",
        "POST /tokens 201",
        "POST /score 200",
        "GET /health/ready 200",
    ],
    "docs/page.md": ["POST /tokens 201", "GET /jobs 200"],
    "docs/http.md": [
        "POST /score 200",
        "POST /score 200",
        "POST /tokens 201",
        "POST /score 200",
        "POST /score 202",
        "GET /jobs 200",
        "POST /api/analyze 200",
    ],
}
"""What each line with curl is answered, in the order of the page."""

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "models").glob("*.md")),
    ROOT / "service" / "page" / "avsync" / "README.md",
    ROOT / "syncnet_client" / "README.md",
]
LINK = re.compile(r'\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"')
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

# Every answer is noted beside what is shown, and the first that is none ends the script.
CURL = """set -euo pipefail
curl() {
    command curl --no-progress-meter --fail-with-body --max-time 120 \\
        --write-out '%{stderr}answer: %{method} %{url_effective} %{http_code}\\n' "$@"
}
"""

NOTED = re.compile(r"^answer: (\w+) http://[^/]+(/[^ ?]*)\S* (\d+)$", re.MULTILINE)
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def blocks(page: Path) -> list[str]:
    """What people paste: every block of a page with curl in it."""
    return [block for block in BLOCK.findall(page.read_text()) if "curl " in block]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service as `make serve` starts it, with a folder of recordings of its own."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "clips").mkdir()
    with Server(
        folder, VIDEO_ROOT=folder, MODEL_PROFILE="bundled", PROCESSING_TIMEOUT_SECONDS=120
    ) as server:
        yield server


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    command = [sys.executable, "-m", "cli", "keys", "create", "the test"]
    environment = {**os.environ, "DATA_DIR": str(server.data)}
    made = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return made.stdout.strip()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("page", sorted(ANSWERS))
def test_lines_with_curl_work_as_they_stand(
    server: Server, key: str, clip: Callable[[str], Path], tmp_path: Path, page: str
) -> None:
    """One after the other, in one shell, in a checkout with a recording of ours."""
    (tmp_path / "demo").mkdir()
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for place in (
        tmp_path / "demo" / "in_sync.webm",
        tmp_path / "recording.webm",
        server.data.parent / "clips" / "recording.webm",
    ):
        shutil.copy(clip("browser"), place)
    there = f"http://127.0.0.1:{server.port}"
    pasted = [block for block in blocks(ROOT / page) if ELSEWHERE not in block]
    script = CURL + ADDRESS.sub(there, "\n".join(pasted))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "DATA_DIR": str(server.data), "KEY": key},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    answers = [
        f"{method} {ID.sub('ID', path)} {status}"
        for method, path, status in NOTED.findall(done.stderr)
    ]
    assert answers == ANSWERS[page], done.stdout + done.stderr
    assert done.returncode == 0, done.stderr


def test_no_page_has_lines_that_nobody_tries() -> None:
    """But for those that ask somebody else, and those that need Docker."""
    with_curl = {p.relative_to(ROOT).as_posix(): p for p in PAGES if LINE.search(p.read_text())}
    assert set(with_curl) - {"docs/docker.md"} == set(ANSWERS)
    pasted = {name: blocks(with_curl[name]) for name in ANSWERS}
    for name, found in pasted.items():
        assert len(LINE.findall("\n".join(found))) == len(LINE.findall((ROOT / name).read_text()))
    assert sum(ELSEWHERE in block for found in pasted.values() for block in found) == 1


def prose(page: Path) -> str:
    """The text of a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in addresses, as GitHub makes it of them."""
    words = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text) for text in HEADING.findall(prose(page)))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = ["".join(found) for found in LINK.findall(prose(page))]
    lost = []
    for target in targets:
        if re.match(r"https?:|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            lost.append(target)
    assert lost == []


@pytest.mark.slow
def test_a_proxy_on_this_machine_is_believed_about_https(server: Server) -> None:
    """And told once what browsers are to obey, as docs/page.md says of proxies."""
    plain = server.client.get("/")
    secure = server.client.get("/", headers={"X-Forwarded-Proto": "https"})
    assert "Strict-Transport-Security" not in plain.headers
    for name in ("Strict-Transport-Security", "Content-Security-Policy", "Permissions-Policy"):
        assert len(secure.headers.get_list(name)) == 1
