"""A full disk is said so, and forgotten as soon as there is room again."""

import errno
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from faults.harness import Service, job_id
from faults.latency import Sampler

SIZE_MIB = 48
BLOCK = 4096
POSTS = 12
PAUSE_S = 0.5  # so that whatever a worker does from time to time is done on a full disk as well

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of `SIZE_MIB` mebibytes; skips where none may be mounted."""
    mount = shutil.which("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)]
    if mount is None or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here: that takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave: int) -> Path:
    """A file that takes all the room but so many bytes."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(16 * BLOCK))
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - the disk is full, as it should be
        filler.truncate(max(0, path.stat().st_size - leave))
    return path


@pytest.mark.parametrize("leave", [4 * BLOCK, 0], ids=["nearly", "to the last byte"])
def test_a_full_disk_is_a_507_until_there_is_room(
    small_disk: Path,
    serve: Callable[..., Service],
    small_clip: bytes,
    figures: Callable[..., None],
    leave: int,
) -> None:
    assert len(small_clip) > 4 * BLOCK
    with tempfile.TemporaryDirectory(dir=small_disk) as folder:
        service = serve(DATA_DIR=folder)
        assert service.post(small_clip).status_code == 200
        before = service.pids("web") + service.pids("worker")
        promised = job_id(service.submit(small_clip))
        filler = fill(small_disk, leave)
        full: list[httpx.Response] = []
        with Sampler(f"{service.url}/health") as health:
            for _ in range(POSTS):
                full.append(service.post(small_clip))
                time.sleep(PAUSE_S)
        filler.unlink()
        after = service.post(small_clip)
        kept = service.wait(promised)
        service.wait_until_no_media()
        figures(
            "room for little" if leave else "no room at all",
            left_bytes=leave,
            posts=len(full),
            statuses=", ".join(sorted({str(answer.status_code) for answer in full})),
            health_p99_ms=health.p99_ms,
            then=after.status_code,
            accepted_before=kept["state"],
        )
        for answer in full:
            assert answer.status_code == 507, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
        assert not health.wrong
        assert after.status_code == 200, after.text
        assert kept["state"] == "succeeded"
        assert service.pids("web") + service.pids("worker") == before
        service.stop()
