"""Many videos: which, what failed, what is kept; JSON and CSV."""

import csv
import io
import json
from pathlib import Path

import pytest

from evaluation import lse_report
from evaluation.journal import Failure
from evaluation.lse import TrackFigures, VideoFigures
from evaluation.lse_protocols import PROTOCOLS
from evaluation.lse_report import Report, as_csv, as_json, as_rows, gather, headlines
from syncnet_python.errors import NoFace, WeightsCorrupt
from syncnet_python.results import ModelInfo

INFO = ModelInfo("syncnet_v2", "2", "published", "0" * 64)


class Counting:
    """A meter that knows the figures of a file by its content, and counts what it is asked."""

    def __init__(self) -> None:
        self.protocol = PROTOCOLS["latentsync"]
        self.network = type("Network", (), {"info": INFO, "windows": "w", "comparable": True})()
        self.asked: list[str] = []

    def video(self, path: Path) -> VideoFigures:
        self.asked.append(path.name)
        content = path.read_text()
        if content == "empty":
            raise NoFace("no face was found in any frame")
        if content == "broken":
            raise ZeroDivisionError("oh")
        if content == "weights":
            raise WeightsCorrupt("another file")
        return video(float(content))


def video(distance: float, tracks: int = 1) -> VideoFigures:
    track = TrackFigures(0, 59, 55, distance, distance / 2, 1)
    return VideoFigures(distance, distance / 2, 25.0, (track,) * tracks)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {"a.mp4": "8", "b.mp4": "6", "c.mp4": "empty", "d.mp4": "broken", "notes.txt": "7"}
    for name, content in files.items():
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text(content)
    return tmp_path / "in"


def test_folders_and_files_are_gathered_once(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    items, failures = gather(
        [folder, folder / "a.mp4", folder / "notes.txt", tmp_path / "no", tmp_path / "empty"]
    )
    names = [str(folder / f"{name}.mp4") for name in "abcd"]
    assert [item.name for item in items] == [*names, str(folder / "notes.txt")]
    assert [failure.file for failure in failures] == [str(tmp_path / "no"), str(tmp_path / "empty")]
    assert failures[0].code == "no_such_file"


def test_failures_are_named_and_left_out_of_the_mean(folder: Path, tmp_path: Path) -> None:
    meter = Counting()
    report = lse_report.measure([folder], meter, {INFO.name: INFO}, output=tmp_path / "out")  # type: ignore[arg-type]
    assert [Path(name).name for name, _ in report.videos] == ["a.mp4", "b.mp4"]
    assert [(Path(f.file).name, f.code) for f in report.failures] == [
        ("c.mp4", "no_face"),
        ("d.mp4", "broken"),
    ]
    assert report.mean is not None
    assert (report.mean.lse_d, report.mean.lse_c, report.mean.count) == (7.0, 3.5, 2)
    stored = json.loads((tmp_path / "out" / "lse.json").read_text())
    assert stored == json.loads(json.dumps(as_json(report), allow_nan=False))
    assert (tmp_path / "out" / "lse.csv").read_text() == as_csv(report)
    assert not list((tmp_path / "out").glob("*.part"))


def test_a_second_run_measures_only_what_is_missing(folder: Path, tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    out = tmp_path / "out"
    before = lse_report.measure([folder], first, {INFO.name: INFO}, output=out)  # type: ignore[arg-type]
    (folder / "e.mp4").write_text("7")
    after = lse_report.measure([folder], second, {INFO.name: INFO}, output=out)  # type: ignore[arg-type]
    assert first.asked == ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]
    assert second.asked == ["d.mp4", "e.mp4"]  # what is not the recording's fault is tried again
    assert after.videos[:2] == before.videos
    assert after.mean is not None
    assert after.mean.count == 3


def test_figures_of_another_protocol_are_not_found_again(folder: Path, tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    second.protocol = PROTOCOLS["wav2lip-lrs"]
    for meter in (first, second):
        lse_report.measure([folder], meter, {INFO.name: INFO}, output=tmp_path / "out")  # type: ignore[arg-type]
    assert second.asked == first.asked


def test_without_a_folder_nothing_is_written(folder: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    report = lse_report.measure([folder], Counting(), {INFO.name: INFO})  # type: ignore[arg-type]
    assert len(report.videos) == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_weights_that_are_wrong_end_the_run(folder: Path) -> None:
    (folder / "b.mp4").write_text("weights")
    with pytest.raises(WeightsCorrupt):
        lse_report.measure([folder], Counting(), {INFO.name: INFO})  # type: ignore[arg-type]


def report(name: str, *, comparable: bool) -> Report:
    videos = (("a", video(8.0, tracks=3)), ("b", video(6.0)))
    failures = (Failure("c", "no_face", "no face, anywhere"),)
    return Report(PROTOCOLS[name], INFO, "w", comparable, {INFO.name: INFO}, videos, failures)


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("comparable", [True, False])
def test_every_output_names_protocol_and_network(name: str, comparable: bool) -> None:
    made = report(name, comparable=comparable)
    told = as_json(made)
    assert (told["protocol"], told["network"], told["comparable"]) == (name, INFO.name, comparable)
    assert PROTOCOLS[name].source == told["protocol_source"]
    assert (told["warning"] is None) == comparable
    said = "\n".join(headlines(made))
    assert name in said
    assert INFO.name in said
    assert ("Not comparable" in said) != comparable
    for row in csv.DictReader(io.StringIO(as_csv(made))):
        assert (row["protocol"], row["network"]) == (name, INFO.name)
        assert row["comparable"] == str(comparable).lower()


def test_the_mean_of_tracks_is_not_that_of_videos() -> None:
    over_tracks, over_videos = (
        as_json(report(name, comparable=True))["mean"] for name in ("wav2lip-real", "latentsync")
    )
    assert over_tracks == {"lse_d": 7.5, "lse_c": 3.75, "over": "tracks", "count": 4}
    assert over_videos == {"lse_d": 7.0, "lse_c": 3.5, "over": "videos", "count": 2}


def test_rows_for_people_and_for_tables() -> None:
    made = report("wav2lip-real", comparable=True)
    assert as_rows(made) == [
        ("a", "8.000", "4.000", "3", "+1 +1 +1", ""),
        ("b", "6.000", "3.000", "1", "+1", ""),
        ("mean over 4 tracks", "7.500", "3.750", "", "", ""),
    ]
    rows = list(csv.DictReader(io.StringIO(as_csv(made))))
    assert [row["lse_d"] for row in rows] == ["8.0", "6.0", ""]
    assert rows[0]["offsets"] == "1 1 1"
    assert rows[2]["failed"] == "no face, anywhere"
