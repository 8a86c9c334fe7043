"""Long recordings: chunk by chunk, merged without counting twice, gone on with after a kill."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import cli
from evaluation.clip_writer import FORMATS, write_recording
from evaluation.samples import ClipSpec, clip_frames, clip_sound, talking_clip
from syncnet_python import media, pipeline
from syncnet_python.assembly import Networks
from syncnet_python.errors import Undecodable
from syncnet_python.results import FRAME_RATE
from workflows.long import processing as long
from workflows.long.journal import ChunkJournal, JournalInUse, JournalRefused
from workflows.long.presets import PRESETS
from workflows.long.records import LongOptions

ROOT = Path(__file__).resolve().parent.parent
SIZE = (320, 240)
OPTIONS = LongOptions(chunk_s=4.0, overlap_s=1.0)
FIGURES = ("offset_frames", "lag_ms", "confidence", "min_dist", "start_s", "end_s", "failure")


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks("bundled", device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "talk.mp4"
    talking_clip(path, seconds=13.0, size=SIZE, container="mp4-h264-aac", offset_frames=4, seed=9)
    return path


@pytest.fixture(scope="module")
def measured(
    clip: Path, networks: Networks, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The output folder and the summary of the clip, measured in one go."""
    folder = tmp_path_factory.mktemp("measured")
    return folder, long.run(clip, folder, networks, OPTIONS, PRESETS["medium"], keep_chunks=True)


@given(total=st.integers(1, 5000), length=st.integers(25, 900), overlap=st.floats(0, 0.5))
def test_every_frame_belongs_to_one_chunk(total: int, length: int, overlap: float) -> None:
    options = LongOptions(length / FRAME_RATE, int(length * overlap) / FRAME_RATE)
    firsts = [0]
    while firsts[-1] + length < total:
        firsts.append(firsts[-1] + options.stride)
    owned = [
        options.own_frames(first, min(first + length, total), last=first == firsts[-1])
        for first in firsts
    ]
    assert [start for start, _ in owned[1:]] == [end for _, end in owned[:-1]]
    assert (owned[0][0], owned[-1][1]) == (0, total)
    for first, (start, end) in zip(firsts, owned, strict=True):
        assert first <= start <= end <= min(first + length, total)


@pytest.mark.parametrize(
    "fields", [{"chunk_s": 0.5}, {"overlap_s": 16.0}, {"overlap_s": -1.0}, {"look_every": 26}]
)
def test_options_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"chunk|faces"):
        LongOptions(**fields)


@pytest.mark.slow
def test_chunks_are_measured_as_recordings_of_their_own(
    clip: Path, networks: Networks, measured: tuple[Path, dict[str, Any]]
) -> None:
    """Although every frame is looked at once, and faces in one of five only."""
    summary = measured[1]
    assert [(chunk["start_s"], chunk["end_s"]) for chunk in summary["chunks"]] == [
        (0, 4), (3, 7), (6, 10), (9, 13),
    ]  # fmt: skip
    whole = media.read(clip)
    for chunk in summary["chunks"]:
        first, end = (round(chunk[side] * FRAME_RATE) for side in ("start_s", "end_s"))
        part = replace(
            whole,
            frames=whole.frames[first:end],
            audio=whole.audio[first * 640 : end * 640],
            times=whole.times[first:end],
        )
        tracks = pipeline.find_tracks(part.frames, networks.face_detector())
        alone = pipeline.measure_sync(part, tracks, networks.sync(), networks.landmarker())
        assert chunk["offset_frames"] == alone.offset_frames
        assert chunk["confidence"] == pytest.approx(alone.confidence, abs=0.04)
        assert abs(chunk["offset_frames"] - 4) <= 1
        assert (chunk["visible_faces"], chunk["speaking_faces"]) == (1, 1)
    assert abs(summary["whole"]["offset_frames"] - 4) <= 1
    assert summary["whole"]["lag_ms"] == 40 * summary["whole"]["offset_frames"]


@pytest.mark.slow
def test_what_chunks_share_is_counted_once(measured: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = measured
    rows = [json.loads(line) for line in (folder / long.JOURNAL).read_text().splitlines()]
    chunks = [row["chunk"] for row in rows if "chunk" in row]
    owned = sum(chunk["counts"][15] for chunk in chunks)  # pairs at offset 0: one a frame
    assert 13 * FRAME_RATE - OPTIONS.look_every < owned <= 13 * FRAME_RATE
    assert summary["whole"]["num_windows"] == owned
    assert [(chunk["own_start_s"], chunk["own_end_s"]) for chunk in chunks] == [
        (0, 3.48), (3.48, 6.48), (6.48, 9.48), (9.48, 13),
    ]  # fmt: skip


@pytest.mark.slow
def test_looking_at_every_frame_finds_the_same_offsets(
    clip: Path, networks: Networks, tmp_path: Path, measured: tuple[Path, dict[str, Any]]
) -> None:
    options = replace(OPTIONS, look_every=1)
    every = long.run(clip, tmp_path, networks, options, PRESETS["none"])
    offsets = [[c["offset_frames"] for c in s["chunks"]] for s in (every, measured[1])]
    assert offsets[0] == offsets[1]
    assert every["whole"]["confidence"] == pytest.approx(
        measured[1]["whole"]["confidence"], abs=0.03
    )
    assert every["protocol"] != measured[1]["protocol"]


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(
    clip: Path, networks: Networks, tmp_path: Path, measured: tuple[Path, dict[str, Any]]
) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from syncnet_python.assembly import Networks
from workflows.long import processing as long
from workflows.long.records import LongOptions
from workflows.long.presets import PRESETS

def progress(done, what):
    if what.startswith("chunk 2,"):
        os.kill(os.getpid(), signal.SIGKILL)

long.run(Path(sys.argv[1]), Path(sys.argv[2]), Networks("bundled", device="cpu"),
         LongOptions(4.0, 1.0), PRESETS["medium"], progress=progress)
"""
    killed = subprocess.run([sys.executable, "-c", script, str(clip), str(tmp_path)], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    journal = tmp_path / long.JOURNAL
    before = journal.read_bytes()
    assert before.count(b'{"chunk"') == 2
    assert not (tmp_path / long.SUMMARY).exists()
    journal.write_bytes(before + b'{"chunk": {"number": 2, "start')  # as power cuts leave it

    summary = long.run(clip, tmp_path, networks, OPTIONS, PRESETS["medium"])
    assert journal.read_bytes().startswith(before)
    assert summary["timings"]["chunks_of_earlier_runs"] == 2
    expected = measured[1]
    for row, same in zip(
        [*summary["chunks"], summary["whole"]],
        [*expected["chunks"], expected["whole"]],
        strict=True,
    ):
        for name in FIGURES:
            if name in same:
                assert row[name] == (
                    pytest.approx(same[name], abs=1e-3)
                    if isinstance(same[name], float)
                    else same[name]
                )


@pytest.mark.slow
def test_a_finished_recording_is_judged_anew_without_being_measured(
    clip: Path, networks: Networks, measured: tuple[Path, dict[str, Any]]
) -> None:
    folder, first = measured
    journal = (folder / long.JOURNAL).read_bytes()
    assert first["whole"]["kept"] == 4
    strict = long.run(clip, folder, networks, OPTIONS, PRESETS["strict"])
    assert (folder / long.JOURNAL).read_bytes() == journal
    assert strict["whole"]["dropped"] == 4
    assert strict["chunks"][0]["reasons"] == ["offset +4 is beyond 2 frames"]
    assert "dropped" in (folder / long.PAGE).read_text()
    assert json.loads((folder / long.SUMMARY).read_text()) == strict


@pytest.mark.slow
def test_kept_chunks_are_recordings_with_the_same_offset(
    networks: Networks, measured: tuple[Path, dict[str, Any]]
) -> None:
    folder, summary = measured
    for chunk in summary["chunks"]:
        part = media.read(folder / chunk["file"])
        assert len(part.frames) == pytest.approx(100, abs=1)
        tracks = pipeline.find_tracks(part.frames, networks.face_detector())
        found = pipeline.measure_sync(part, tracks, networks.sync(), networks.landmarker())
        assert abs(found.offset_frames - chunk["offset_frames"]) <= 1
    left = sorted(path.name for path in (folder / long.CHUNKS / "medium").iterdir())
    assert left == [f"chunk_{number:04d}.mp4" for number in range(4)]


def four_parts() -> Iterator[tuple[ClipSpec, bool]]:
    """Speech, no person, a person and no sound, speech."""
    talk = ClipSpec(seconds=4.0, size=SIZE, sample_rate=16_000, seed=3)
    for spec in (talk, replace(talk, no_face=True), replace(talk, silent=True), talk):
        yield spec, spec.no_face or spec.silent


@pytest.mark.slow
def test_what_a_chunk_lacks_is_named_and_the_rest_goes_on(
    networks: Networks, tmp_path: Path
) -> None:
    path, pictures, sound = tmp_path / "show.mkv", [], []
    for spec, _ in four_parts():
        pictures += [image for _, image in clip_frames(spec)]
        sound.append(clip_sound(spec).samples[:, 0])
    times = (Fraction(i, FRAME_RATE) for i in range(len(pictures)))
    write_recording(
        path, FORMATS["mkv-h264-flac"], pictures, times, np.concatenate(sound), fps=Fraction(25)
    )
    options = LongOptions(chunk_s=4.0, overlap_s=0.0)
    summary = long.run(path, tmp_path / "out", networks, options, PRESETS["none"])
    assert [chunk["state"] for chunk in summary["chunks"]] == ["kept", "failed", "failed", "kept"]
    assert [(f["start_s"], f["end_s"], f["code"]) for f in summary["failures"]] == [
        (4.0, 8.0, "no_face"), (8.0, 12.0, "silent_audio"),
    ]  # fmt: skip
    assert all(failure["message"] and failure["advice"] for failure in summary["failures"])
    assert abs(summary["whole"]["offset_frames"]) <= 1
    assert (summary["whole"]["measured"], summary["whole"]["failed"]) == (2, 2)


@pytest.mark.slow
def test_a_damaged_middle_costs_its_chunks_alone(networks: Networks, tmp_path: Path) -> None:
    path = tmp_path / "damaged.mp4"
    talking_clip(path, seconds=16.0, size=SIZE, container="mp4-h264-aac", seed=3)
    content = bytearray(path.read_bytes())
    begin, end = (round(len(content) * share) for share in (0.3, 0.65))
    content[begin:end] = bytes(end - begin)
    path.write_bytes(content)
    summary = long.run(path, tmp_path / "out", networks, OPTIONS, PRESETS["none"])
    states = [chunk["state"] for chunk in summary["chunks"]]
    assert (states[0], states[-1]) == ("kept", "kept")
    assert "failed" in states
    assert {failure["code"] for failure in summary["failures"]} <= {"undecodable", "silent_audio"}
    for chunk in (summary["chunks"][0], summary["chunks"][-1], summary["whole"]):
        assert abs(chunk["offset_frames"]) <= 1


@pytest.mark.slow
def test_a_file_that_cannot_be_read_is_a_named_error(
    clip: Path, networks: Networks, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[:3000])
    with pytest.raises(Undecodable):
        long.run(cut, tmp_path / "out", networks, OPTIONS, PRESETS["none"])
    assert list((tmp_path / "out").iterdir()) == [], "another recording may use the folder"


def test_the_journal_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chunks.jsonl"
    asked = {"sha256": "a", "networks": {}, "options": {"overlap_s": 5.0}}
    with ChunkJournal(path, asked), pytest.raises(JournalInUse, match="another run"):
        ChunkJournal(path, asked)
    with ChunkJournal(path, asked) as journal:
        assert (journal.chunks, journal.complete) == ([], False)
    refused = {
        "another recording": asked | {"sha256": "b"},
        "other networks": asked | {"networks": {"x": "y"}},
        r"overlap_s 5.0, not 4.0": asked | {"options": {"overlap_s": 4.0}},
    }
    for reason, other in refused.items():
        with pytest.raises(JournalRefused, match=reason):
            ChunkJournal(path, other)
    path.write_text("something else\n")
    with pytest.raises(JournalRefused, match="no journal"):
        ChunkJournal(path, asked)
    assert path.read_text() == "something else\n"


@pytest.mark.slow
def test_the_command_answers_and_refuses_in_one_line(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # away from any .env

    def run(*arguments: object) -> Any:
        given = ["long", str(clip), "--output-dir", "out", "--profile", "bundled", *arguments]
        return CliRunner().invoke(cli.app, [str(a) for a in given])

    done = run("--json", "--preset", "relaxed")
    assert done.exit_code == 0
    summary = json.loads(done.stdout)
    assert summary["preset"]["name"] == "relaxed"
    shown = run()
    assert shown.exit_code == 0
    assert "+4 (+160 ms)" in shown.stdout
    refused = run("--overlap", 2)
    assert refused.exit_code == 2
    assert "overlap_s 5.0, not 2.0" in refused.stderr
    assert "--output-dir" in refused.stderr
    assert run("--overlap", 20).exit_code == 2
