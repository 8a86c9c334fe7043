"""Downloads from a real server on loopback that behaves as badly as servers do."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import CONTENT, Behaviour, entry, serve

from syncnet_python import fetching, weights
from syncnet_python.errors import WeightsCorrupt, WeightsMissing


@pytest.fixture
def server() -> Iterator[tuple[Behaviour, str]]:
    with serve() as running:
        yield running


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_download_lands_in_place_and_progress_reaches_the_end(
    server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, url = server
    seen: list[tuple[int, int | None]] = []
    folder = tmp_path / "new" / "models"
    path = fetching.fetch(entry(url), folder, lambda *step: seen.append(step))
    assert path == folder / "weights.pth"
    assert path.read_bytes() == CONTENT
    assert left_in(folder) == ["weights.pth"]
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert behaviour.requests == [None]


def test_a_right_file_is_not_downloaded_again_and_a_wrong_one_is_replaced(
    server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, url = server
    (tmp_path / "weights.pth").write_bytes(CONTENT)
    fetching.fetch(entry(url), tmp_path)
    assert behaviour.requests == []
    (tmp_path / "weights.pth").write_bytes(b"?" + CONTENT[1:])
    fetching.fetch(entry(url), tmp_path)
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_a_part_is_continued(server: tuple[Behaviour, str], tmp_path: Path) -> None:
    behaviour, url = server
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:300_000])
    seen: list[int] = []
    path = fetching.fetch(entry(url), tmp_path, lambda done, total: seen.append(done))
    assert path.read_bytes() == CONTENT
    assert behaviour.requests == ["bytes=300000-"]
    assert behaviour.sent == len(CONTENT) - 300_000
    assert seen[0] == 300_000


def test_connections_that_break_are_continued(
    server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, url = server
    behaviour.breaks, behaviour.break_after = 3, 100_000
    path = fetching.fetch(entry(url), tmp_path)
    assert path.read_bytes() == CONTENT
    assert behaviour.requests[0] is None
    assert len(behaviour.requests) == 4
    assert behaviour.sent == len(CONTENT), "no byte is sent twice"


def test_a_download_given_up_keeps_its_part_for_the_next_run(
    server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, url = server
    behaviour.breaks, behaviour.break_after = fetching.ATTEMPTS, 50_000
    with pytest.raises(fetching.FetchFailed, match="broke off"):
        fetching.fetch(entry(url), tmp_path)
    assert left_in(tmp_path) == ["weights.pth.part"]
    part = (tmp_path / "weights.pth.part").read_bytes()
    assert part == CONTENT[: len(part)]
    assert len(part) == 50_000 * fetching.ATTEMPTS
    assert fetching.fetch(entry(url), tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server: tuple[Behaviour, str], tmp_path: Path) -> None:
    behaviour, url = server
    behaviour.ranges = False
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:300_000])
    assert fetching.fetch(entry(url), tmp_path).read_bytes() == CONTENT
    assert behaviour.requests == ["bytes=300000-"]


def test_a_complete_part_needs_no_server(tmp_path: Path) -> None:
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    row = entry("http://127.0.0.1:9/weights.pth")
    assert fetching.fetch(row, tmp_path).read_bytes() == CONTENT


def test_a_complete_part_of_unknown_size_is_recognised(
    server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    _, url = server
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    assert fetching.fetch(entry(url, size=None), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("old", [b"x" * 300_000, b"x" * len(CONTENT), b"x" * 900_000])
def test_a_part_of_another_file_is_dropped_and_the_download_starts_over(
    server: tuple[Behaviour, str], tmp_path: Path, old: bytes
) -> None:
    _, url = server
    (tmp_path / "weights.pth.part").write_bytes(old)
    assert fetching.fetch(entry(url), tmp_path).read_bytes() == CONTENT
    assert left_in(tmp_path) == ["weights.pth"]


def test_wrong_bytes_leave_nothing_behind(server: tuple[Behaviour, str], tmp_path: Path) -> None:
    behaviour, url = server
    behaviour.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(WeightsCorrupt, match=r"removed.*hash differs"):
        fetching.fetch(entry(url), tmp_path)
    assert left_in(tmp_path) == []


def test_wrong_bytes_do_not_replace_a_file_that_was_there(
    server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, url = server
    behaviour.content = CONTENT[::-1]
    (tmp_path / "weights.pth").write_bytes(b"mine")
    with pytest.raises(WeightsCorrupt):
        fetching.fetch(entry(url), tmp_path)
    assert left_in(tmp_path) == ["weights.pth"]
    assert (tmp_path / "weights.pth").read_bytes() == b"mine"


@pytest.mark.parametrize("length", [True, False])
def test_too_many_bytes_are_refused_while_they_arrive(
    server: tuple[Behaviour, str], tmp_path: Path, length: bool
) -> None:
    behaviour, url = server
    behaviour.content, behaviour.length = CONTENT * 3, length
    with pytest.raises(WeightsCorrupt, match="more than"):
        fetching.fetch(entry(url), tmp_path)
    assert left_in(tmp_path) == []


def test_too_few_bytes_are_refused(server: tuple[Behaviour, str], tmp_path: Path) -> None:
    behaviour, url = server
    behaviour.content = CONTENT[:-5]
    with pytest.raises(WeightsCorrupt, match="bytes"):
        fetching.fetch(entry(url), tmp_path)
    assert left_in(tmp_path) == []


def test_a_git_blob_id_is_enough(server: tuple[Behaviour, str], tmp_path: Path) -> None:
    behaviour, url = server
    blob = hashlib.sha1(f"blob {len(CONTENT)}\0".encode() + CONTENT).hexdigest()
    row = entry(url, size=None, sha256=None, git_blob=blob)
    behaviour.length = False
    totals: set[int | None] = set()
    assert fetching.fetch(row, tmp_path, lambda done, total: totals.add(total)).is_file()
    assert totals == {None}
    behaviour.content = CONTENT + b"?"
    (tmp_path / "weights.pth").unlink()
    with pytest.raises(WeightsCorrupt, match="hash differs"):
        fetching.fetch(row, tmp_path)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_refusal_is_named(server: tuple[Behaviour, str], tmp_path: Path, status: int) -> None:
    behaviour, url = server
    behaviour.status = status
    with pytest.raises(fetching.FetchFailed, match=f"answered {status}"):
        fetching.fetch(entry(url), tmp_path)
    assert left_in(tmp_path) == []
    assert len(behaviour.requests) == 1


def test_a_refusal_keeps_the_part(server: tuple[Behaviour, str], tmp_path: Path) -> None:
    behaviour, url = server
    behaviour.status = 500
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:10])
    with pytest.raises(fetching.FetchFailed):
        fetching.fetch(entry(url), tmp_path)
    assert (tmp_path / "weights.pth.part").read_bytes() == CONTENT[:10]


def test_an_answer_from_another_byte_is_not_appended(
    server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    behaviour, url = server
    behaviour.shift = 7
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:1000])
    with pytest.raises(fetching.FetchFailed, match=r"from byte 1,007"):
        fetching.fetch(entry(url), tmp_path)
    assert (tmp_path / "weights.pth.part").read_bytes() == CONTENT[:1000]


def test_redirects_are_followed(server: tuple[Behaviour, str], tmp_path: Path) -> None:
    behaviour, url = server
    behaviour.redirect = True
    assert fetching.fetch(entry(url), tmp_path).read_bytes() == CONTENT


def test_nobody_listening_is_a_named_error(server: tuple[Behaviour, str], tmp_path: Path) -> None:
    with pytest.raises(fetching.FetchFailed, match="broke off"):
        fetching.fetch(entry("http://127.0.0.1:9/weights.pth"), tmp_path)
    with pytest.raises(fetching.FetchFailed):
        fetching.fetch(entry("nonsense://127.0.0.1/weights.pth"), tmp_path)


def test_a_folder_that_cannot_be_written_is_a_named_error(
    server: tuple[Behaviour, str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(fetching.FetchFailed, match="cannot be written"):
        fetching.fetch(entry(server[1]), tmp_path / "file")


def test_bundled_weights_are_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="comes with the package"):
        fetching.fetch(entry(None), tmp_path)


def test_the_other_s3fd_is_refused_by_content_and_named(
    server: tuple[Behaviour, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behaviour, url = server
    other = b"another network under the same name"
    behaviour.content = other
    beginning = hashlib.sha256(other).hexdigest()[:10]
    (text,) = weights.LOOKALIKES.values()
    assert list(weights.LOOKALIKES) == ["619a316812"]  # the hash is part of that file's name
    monkeypatch.setattr(weights, "LOOKALIKES", {beginning: text})
    with pytest.raises(WeightsCorrupt, match=r"s3fd-619a316812\.pth"):
        fetching.fetch(entry(url), tmp_path)
    assert left_in(tmp_path) == []
    (tmp_path / "sfd_face.pth").write_bytes(other)
    with pytest.raises(WeightsCorrupt, match=r"s3fd-619a316812\.pth"):
        weights.verify_file(tmp_path / "sfd_face.pth", entry(url))
