"""One contract for every kind of storage, and what only folders or only object stores do."""

import errno
import os
import resource
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.jobs.storage import Storage

HOUR = 3600.0


@dataclass
class Place:
    """A storage, its files as they lie there, and the folder of its private copies."""

    storage: Storage
    files: Callable[[], dict[str, bytes]]
    age: Callable[[str, float], None]  # make a key's file look so many seconds older
    scratch: Path


def _folder(tmp_path: Path, prefix: str) -> Place:
    folder = tmp_path / "deep" / "media"
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def age(key: str, seconds: float) -> None:
        then = time.time() - seconds
        os.utime(folder / key, (then, then))

    return Place(
        Storage(f"{prefix}{folder}", scratch),
        lambda: {p.name: p.read_bytes() for p in folder.iterdir()},
        age,
        scratch,
    )


def _memory(tmp_path: Path) -> Place:
    scratch = tmp_path / "scratch"
    root = f"/{uuid4().hex}/media"
    files = fsspec.filesystem("memory")

    def contents() -> dict[str, bytes]:
        return {p.rsplit("/", 1)[-1]: files.cat_file(p) for p in files.find(root)}

    def age(key: str, seconds: float) -> None:
        files.store[f"{root}/{key}"].modified = datetime.now(UTC) - timedelta(seconds=seconds)

    return Place(Storage(f"memory:/{root}", scratch), contents, age, scratch)


@pytest.fixture(params=["path", "file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "memory":
        yield _memory(tmp_path)
        fsspec.filesystem("memory").store.clear()
    else:
        yield _folder(tmp_path, "file://" if request.param == "file" else "")


@pytest.fixture
def folder(tmp_path: Path) -> Place:
    return _folder(tmp_path, "")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Place]:
    yield _memory(tmp_path)
    fsspec.filesystem("memory").store.clear()


def recording(folder: Path, content: bytes = b"a recording") -> Path:
    path = folder / f"Jane Doe {uuid4().hex}.webm"
    path.write_bytes(content)
    return path


# The contract


def test_a_recording_is_taken_over_and_read_as_it_was(place: Place, tmp_path: Path) -> None:
    content = os.urandom(3_000_001)
    path = recording(tmp_path, content)
    key = place.storage.put(path)
    assert not path.exists()
    with place.storage.local(key) as local:
        assert local.read_bytes() == content
        assert stat.S_IMODE(local.stat().st_mode) == 0o600
    with place.storage.local(key) as again:
        assert again.read_bytes() == content
    assert list(place.scratch.iterdir()) == []


def test_an_empty_recording_is_kept_too(place: Place, tmp_path: Path) -> None:
    key = place.storage.put(recording(tmp_path, b""))
    with place.storage.local(key) as local:
        assert local.read_bytes() == b""


def test_nothing_but_the_key_tells_one_from_another(place: Place, tmp_path: Path) -> None:
    keys = [place.storage.put(recording(tmp_path, bytes([i]))) for i in range(3)]
    assert place.files() == {key: bytes([i]) for i, key in enumerate(keys)}
    assert all(len(key) == 32 and int(key, 16) for key in keys)


def test_a_deleted_recording_is_gone_and_may_be_deleted_again(place: Place, tmp_path: Path) -> None:
    key, other = (place.storage.put(recording(tmp_path)) for _ in range(2))
    place.storage.delete(key)
    place.storage.delete(key)
    assert list(place.files()) == [other]
    with pytest.raises(FileNotFoundError) as caught, place.storage.local(key):
        pytest.fail("there is nothing to read")
    assert str(place.scratch.parent) not in str(caught.value)
    assert list(place.scratch.iterdir()) == []


def test_a_recording_never_put_is_missing(place: Place) -> None:
    with pytest.raises(FileNotFoundError), place.storage.local(uuid4().hex):
        pytest.fail("there is nothing to read")
    place.storage.delete(uuid4().hex)
    assert place.storage.keys_older_than(-HOUR) == []


def test_the_sweep_finds_what_is_old_enough(place: Place, tmp_path: Path) -> None:
    old, older, young = (place.storage.put(recording(tmp_path)) for _ in range(3))
    place.age(old, 2 * HOUR)
    place.age(older, 3 * HOUR)
    assert place.storage.keys_older_than(HOUR) == sorted([old, older])
    assert place.storage.keys_older_than(2.5 * HOUR) == [older]
    assert place.storage.keys_older_than(-HOUR) == sorted([old, older, young])


def test_age_counts_from_when_it_was_put(place: Place, tmp_path: Path) -> None:
    path = recording(tmp_path)
    os.utime(path, (0, 0))
    place.storage.put(path)
    assert place.storage.keys_older_than(HOUR) == []


def test_what_fails_on_its_way_in_stays_with_the_sender(place: Place, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        place.storage.put(tmp_path / "nothing.webm")
    assert place.files() == {}


@pytest.mark.parametrize(
    "key", ["", "..", "../../etc/passwd", "/etc/passwd", "A" * 32, "a" * 31, f"{'a' * 32}\n", "*"]
)
def test_only_keys_are_keys(place: Place, key: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        place.storage.delete(key)
    with pytest.raises(ValueError, match="no key"):
        place.storage.local(key)


@given(key=st.text(max_size=40))
def test_no_text_that_is_no_key_reaches_a_file(key: str, tmp_path_factory: Any) -> None:
    storage = Storage(str(tmp_path_factory.getbasetemp() / "properties"))
    with pytest.raises((ValueError, FileNotFoundError)), storage.local(key):
        pytest.fail("there is nothing to read")


# Folders


def test_a_folder_is_private_even_where_it_was_not(tmp_path: Path) -> None:
    for name in ("new", "open"):
        media = tmp_path / name
        if name == "open":
            media.mkdir(mode=0o755)
        storage = Storage(str(media))
        key = storage.put(recording(tmp_path))
        assert stat.S_IMODE(media.stat().st_mode) == 0o700
        assert stat.S_IMODE((media / key).stat().st_mode) == 0o600


def test_a_folder_gives_the_file_itself(folder: Place, tmp_path: Path) -> None:
    path = recording(tmp_path)
    number = path.stat().st_ino
    key = folder.storage.put(path)
    with folder.storage.local(key) as local:
        assert local.stat().st_ino == number
    assert local.exists()


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "media"))
    key = uuid4().hex
    (tmp_path / "media" / key).symlink_to(recording(tmp_path))
    with pytest.raises(FileNotFoundError), storage.local(key):
        pytest.fail("the link was followed")


def test_other_files_in_the_folder_are_passed_over(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "media"))
    (tmp_path / "media" / "README").write_text("mine")
    assert storage.keys_older_than(-HOUR) == []


@pytest.fixture
def another_disk() -> Iterator[Path]:
    """A folder on another file system than the temporary one."""
    path = Path("/dev/shm") / uuid4().hex
    if not os.access(path.parent, os.W_OK):
        pytest.skip("there is no /dev/shm here")
    path.mkdir()
    yield path
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


def test_a_recording_comes_over_from_another_file_system(
    folder: Place, another_disk: Path, tmp_path: Path
) -> None:
    if another_disk.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("both are the same file system")
    path = recording(another_disk, b"from afar")
    key = folder.storage.put(path)
    assert not path.exists()
    assert folder.files() == {key: b"from afar"}
    with folder.storage.local(key) as local:
        assert stat.S_IMODE(local.stat().st_mode) == 0o600


@pytest.fixture
def no_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every copy meets a full disk after a few bytes."""

    def full(source: Any, copy: Any, _length: int = 0) -> None:
        copy.write(source.read(4))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("shutil.copyfileobj", full)


@pytest.mark.usefixtures("no_space")
def test_a_full_disk_says_so_and_keeps_nothing_half(
    folder: Place, another_disk: Path, tmp_path: Path
) -> None:
    if another_disk.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("both are the same file system")
    path = recording(another_disk)
    with pytest.raises(OSError, match="No space left") as caught:
        folder.storage.put(path)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"a recording"
    assert folder.files() == {}


# Object stores


def test_a_copy_is_deleted_also_when_its_use_fails(memory: Place, tmp_path: Path) -> None:
    key = memory.storage.put(recording(tmp_path))
    with pytest.raises(ZeroDivisionError), memory.storage.local(key) as local:
        local.stat().st_size // len(list(memory.files())[1:])
    assert list(memory.scratch.iterdir()) == []
    assert list(memory.files()) == [key]


def test_a_copy_that_does_not_fit_is_an_error_of_the_system(memory: Place, tmp_path: Path) -> None:
    """A limit on file sizes stands in for a full disk: both fail where the copy is written."""
    key = memory.storage.put(recording(tmp_path, bytes(1_000_000)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large") as caught, memory.storage.local(key):
            pytest.fail("there was room")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert list(memory.scratch.iterdir()) == []


def test_copies_of_the_dead_are_removed_and_those_of_the_living_kept(
    memory: Place, tmp_path: Path
) -> None:
    key = memory.storage.put(recording(tmp_path))
    (memory.scratch / "syncnet-media-left").write_bytes(b"of a killed process")
    (memory.scratch / "mine").write_bytes(b"of somebody else")
    with memory.storage.local(key) as local:
        Storage("memory://other", memory.scratch)
        assert sorted(p.name for p in memory.scratch.iterdir()) == sorted([local.name, "mine"])


def test_what_is_no_file_does_not_hold_the_sweep_up(memory: Place) -> None:
    os.mkfifo(memory.scratch / "syncnet-media-pipe")
    (memory.scratch / "syncnet-media-link").symlink_to(memory.scratch / "mine")
    (memory.scratch / "mine").write_bytes(b"of somebody else")
    Storage("memory://other", memory.scratch)
    assert [p.name for p in memory.scratch.iterdir() if not p.is_symlink()] == ["mine"]


def test_the_folder_of_copies_is_private(memory: Place) -> None:
    assert stat.S_IMODE(memory.scratch.stat().st_mode) == 0o700


def test_an_upload_that_breaks_leaves_nothing_there(
    memory: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fsspec.filesystem("memory")
    whole = type(files).put_file

    def breaks(self: Any, path: str, target: str, **options: Any) -> None:
        whole(self, path, target, **options)
        raise ConnectionResetError(errno.ECONNRESET, "gone")

    monkeypatch.setattr(type(files), "put_file", breaks)
    path = recording(tmp_path)
    with pytest.raises(ConnectionResetError):
        memory.storage.put(path)
    assert path.exists()
    assert memory.files() == {}


@pytest.mark.parametrize(
    "url", ["nosuch://bucket/media", "simplecache::memory://media", "nosuch://key:secret@bucket"]
)
def test_an_address_nothing_opens_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"address") as caught:
        Storage(url)
    assert "secret" not in str(caught.value)
