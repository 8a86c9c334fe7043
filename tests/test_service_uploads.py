"""Uploads: private, of limited size, gone when they should be."""

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from serving import ROOT

from service.request_errors import TooLarge
from service.settings import Settings
from service.uploads import UploadStore

LIMIT = Settings(_env_file=None, max_video_size_mb=100 / 2**20)
"""100 bytes."""

LARGE = Settings(_env_file=None, max_video_size_mb=1)

KILLED = """
import os, signal, sys
from pathlib import Path
from service.settings import Settings
from service.uploads import UploadStore
upload = UploadStore(Path(sys.argv[1]), Settings()).create()
upload.write(b"left")
upload.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_upload_holds_what_was_written_and_is_discarded(tmp_path: Path) -> None:
    upload = UploadStore(tmp_path, LIMIT).create()
    upload.write(b"recor")
    upload.write(b"ding")
    upload.seek(0)
    assert upload.path.read_bytes() == upload.read() == b"recording"
    assert (upload.size, upload.sha256()) == (9, hashlib.sha256(b"recording").hexdigest())
    upload.discard()
    assert upload.closed
    assert not upload.path.exists()
    upload.discard()


@pytest.mark.parametrize("sizes", [[101], [100, 1], [50, 50, 50], [0, 200]])
def test_a_byte_too_many_is_refused_and_not_kept(tmp_path: Path, sizes: list[int]) -> None:
    upload = UploadStore(tmp_path, LIMIT).create()
    *accepted, last = sizes
    for size in accepted:
        upload.write(bytes(size))
    with pytest.raises(TooLarge, match="MAX_VIDEO_SIZE_MB"):
        upload.write(bytes(last))
    upload.flush()
    assert upload.path.stat().st_size <= 100
    upload.discard()


def test_the_limit_itself_is_accepted(tmp_path: Path) -> None:
    upload = UploadStore(tmp_path, LIMIT).create()
    assert upload.write(bytes(99)) + upload.write(bytes(1)) == 100
    upload.discard()


def test_files_and_folder_are_the_users_own(tmp_path: Path) -> None:
    store = UploadStore(tmp_path, LIMIT)
    upload = store.create()
    assert upload.path.stat().st_mode & 0o777 == 0o600
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert upload.path.is_absolute()
    upload.discard()


def test_a_full_disk_does_not_keep_an_upload_from_being_discarded(tmp_path: Path) -> None:
    upload = UploadStore(tmp_path, LARGE).create()
    upload.write(b"x")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, upload.fileno())
    os.close(full)
    upload.discard()
    assert not upload.path.exists()


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False)
    (left,) = tmp_path.rglob("tmp*")
    assert left.read_bytes() == b"left"
    store = UploadStore(tmp_path, LIMIT)
    assert list(tmp_path.iterdir()) == [store.folder]
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_living_process_holds_is_left_alone(tmp_path: Path) -> None:
    first = UploadStore(tmp_path, LIMIT)
    upload = first.create()
    second = UploadStore(tmp_path, LIMIT)
    assert upload.path.exists()
    assert first.folder != second.folder
    second.close()
    assert upload.path.exists()
    upload.discard()
    first.close()


def test_only_folders_of_uploads_are_swept(tmp_path: Path) -> None:
    """Nothing of another name, no link, and nothing that a link points to."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "kept").touch()
    (tmp_path / "syncnet-uploads-link").symlink_to(tmp_path / "other")
    (tmp_path / "syncnet-uploads-file").touch()
    UploadStore(tmp_path, LIMIT).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other",
        "syncnet-uploads-file",
        "syncnet-uploads-link",
    ]
    assert (tmp_path / "other" / "kept").exists()


def test_the_folder_is_locked_for_as_long_as_it_is_used(tmp_path: Path) -> None:
    store = UploadStore(tmp_path, LIMIT)
    descriptor = os.open(store.folder, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    store.close()
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_the_folder_is_made_where_it_is_missing(tmp_path: Path) -> None:
    store = UploadStore(tmp_path / "deep" / "uploads", LIMIT)
    assert (tmp_path / "deep" / "uploads").stat().st_mode & 0o777 == 0o700
    store.close()
