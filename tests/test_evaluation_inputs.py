"""What is to be evaluated: folders, CSVs, and what is wrong with them."""

from pathlib import Path

import pytest

from evaluation import inputs
from evaluation.inputs import InputError, Item


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def listed(folder: Path, text: str) -> Path:
    path = folder / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_folder_gives_its_media_files_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.webm", "a.MP4", "notes.txt", ".hidden.mp4", ".cache/c.mp4", "deep/d.mkv")
    items = inputs.read(tmp_path, suffixes=inputs.VIDEOS)
    assert [item.name for item in items] == ["a.MP4", "b.webm", "deep/d.mkv"]
    assert all(item.real for item in items)
    assert [item.source for item in items] == ["", "", "deep"]
    assert len({item.group for item in items}) == 3


def test_sub_folders_say_what_is_fake(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.mp4", "Fake/phone/b.mp4", "genuine/phone/c.mp4", "d.mp4")
    found = {item.name: (item.real, item.source) for item in inputs.read(tmp_path)}
    assert found == {
        "real/a.mp4": (True, ""),
        "Fake/phone/b.mp4": (False, "phone"),
        "genuine/phone/c.mp4": (True, "phone"),
        "d.mp4": (True, ""),
    }


def test_a_csv_says_what_is_true_of_its_files(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "sub/b.mp4")
    path = listed(
        tmp_path,
        "file,label,source,condition,group,offset,tolerance,stated,licence\n"
        "a.mp4,real,grid,quiet,s1,-7,2,0,CC BY\n"
        "\n"
        "sub/b.mp4, FAKE ,,,,,,,\n",
    )
    assert inputs.read(path) == [
        Item(tmp_path / "a.mp4", "a.mp4", True, "grid", "quiet", "s1", -7.0, 2.0, 0.0),
        Item(tmp_path / "sub/b.mp4", "sub/b.mp4", False, group="sub/b.mp4"),
    ]


def test_a_csv_may_lie_elsewhere_than_its_media_and_begin_with_a_mark(tmp_path: Path) -> None:
    touch(tmp_path / "media", "ä.mp4")
    path = listed(tmp_path, "\ufefffile\nä.mp4\n")
    (item,) = inputs.read(path, tmp_path / "media")
    assert item.path == tmp_path / "media" / "ä.mp4"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,label\na.mp4,real\n", "line 1: there is no column 'file'"),
        ("file,lable\na.mp4,fake\n", "line 1: column 'lable': do you mean 'label'"),
        ("file,label\na.mp4,real\nb.mp4,fake\n", "line 3: there is no file b.mp4"),
        ("file,label\na.mp4,genuin\n", "line 2: the label is 'genuin'"),
        ("file,label\n,real\n", "line 2: the file is not named"),
        ("file,offset\na.mp4,three\n", "line 2: the offset is 'three'"),
        ("file,offset\na.mp4,nan\n", "line 2: the offset is 'nan'"),
        ("file,tolerance\na.mp4,-1\n", "line 2: the tolerance is -1"),
        ("file\na.mp4,real\n", "line 2: more fields than"),
        ("file\n", "lists no file"),
        ("", "line 1: there is no column 'file'"),
        ('file\n"a.mp4\n', "is no CSV in UTF-8"),
    ],
)
def test_a_bad_csv_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    touch(tmp_path, "a.mp4")
    with pytest.raises(InputError, match=said):
        inputs.read(listed(tmp_path, text))


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a folder nor a CSV"):
        inputs.read(tmp_path / "nothing")
    touch(tmp_path, "notes.txt")
    with pytest.raises(InputError, match="no media file"):
        inputs.read(tmp_path)
    (tmp_path / "latin.csv").write_bytes(b"file\n\xe4.mp4\n")
    with pytest.raises(InputError, match="UTF-8"):
        inputs.read(tmp_path / "latin.csv")
