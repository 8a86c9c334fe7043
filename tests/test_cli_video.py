"""`video` and `correct` on the command line: what is printed and written, and the exit status."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import cli
from evaluation.samples import talking_clip
from service.settings import Settings
from workflows.clips import ClipWriter, chunks, info


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def only_default_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)  # away from any .env


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Seven seconds of a tone that stops from 3 to 5 s."""
    path = tmp_path / "talk.mp4"
    tone = (np.sin(np.arange(7 * 16_000) / 6) * 12_000).astype(np.int16)
    tone[3 * 16_000 : 5 * 16_000] = 0
    with ClipWriter(path, size=(64, 48)) as writer:
        for number in range(175):
            writer.picture(np.full((48, 64, 3), number, np.uint8), number / 25)
            writer.sound(tone[number * 640 : (number + 1) * 640])
    return path


def test_info_prints_what_was_measured(talk: Path) -> None:
    shown = run("video", "info", talk)
    assert shown.exit_code == 0
    for said in ("talk.mp4", "7.000 s", "h264", "64x48, 25 fps", "aac", "16000 Hz, mono"):
        assert said in shown.stdout
    told = json.loads(run("video", "info", talk, "--json").stdout)
    assert told["duration_s"] == 7
    assert [stream["codec"] for stream in told["streams"]] == ["h264", "aac"]


def test_info_of_many_goes_on_after_a_failure(talk: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.mp4").write_bytes(b"Good morning, this is a letter. " * 20)
    result = run("video", "info", tmp_path / "letter.mp4", "absent.mp4", talk, "--json")
    assert result.exit_code == 1
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    codes = [answer.get("error", {}).get("code") for answer in answers]
    assert codes == ["unsupported_media", "no_such_file", None]


def test_extract_audio_writes_a_wav_file(talk: Path, tmp_path: Path) -> None:
    assert run("video", "extract-audio", talk).exit_code == 0
    with wave.open(str(tmp_path / "talk.wav")) as file:
        assert (file.getframerate(), file.getnchannels()) == (16_000, 1)
    result = run(
        "video", "extract-audio", talk, "-o", "b.wav", "--sample-rate", 8000, "--channels", 2,
        "--json",
    )  # fmt: skip
    told = json.loads(result.stdout)
    with wave.open(str(tmp_path / "b.wav")) as file:
        assert (file.getframerate(), file.getnchannels()) == (8000, 2)
        assert told["duration_s"] == pytest.approx(file.getnframes() / 8000)
    assert told["duration_s"] == pytest.approx(7, abs=0.07)


def test_nothing_is_written_over_unasked(talk: Path, tmp_path: Path) -> None:
    was = talk.read_bytes()
    (tmp_path / "talk.wav").write_text("mine")
    for arguments in (
        ("video", "extract-audio", talk),
        ("video", "extract-audio", talk, "--output", talk, "-y"),
        ("correct", talk, "--output", talk, "-y"),
        ("correct", talk, "--output", "talk.ogg"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
    assert (tmp_path / "talk.wav").read_text() == "mine"
    assert talk.read_bytes() == was
    assert run("video", "extract-audio", talk, "-y").exit_code == 0
    assert (tmp_path / "talk.wav").read_bytes()[:4] == b"RIFF"


def test_chunks_by_time_are_written_and_told(talk: Path, tmp_path: Path) -> None:
    command = ("video", "chunk-time", talk, "--output-dir", "out", "--duration", 3, "--overlap", 1)
    shown = run(*command)
    assert shown.exit_code == 0
    assert "talk_002.mp4" in shown.stdout
    again = run(*command)
    assert again.exit_code == 2
    assert "already" in again.output
    told = [json.loads(line) for line in run(*command, "-y", "--json").stdout.splitlines()]
    assert [(chunk["start_s"], chunk["end_s"]) for chunk in told] == [(0, 3), (2, 5), (4, 7)]
    for chunk in told:
        assert info(tmp_path / chunk["file"]).duration_s == pytest.approx(3, abs=0.001)
    longer = run("video", "chunk-time", talk, "--output-dir", "out", "--duration", 5, "-y")
    assert longer.exit_code == 0
    assert "still there: talk_002.mp4" in longer.output


def test_chunks_by_silence_are_written_and_told(talk: Path) -> None:
    command = ("video", "chunk-silence", talk, "--output-dir", "out", "--json")
    told = [json.loads(line) for line in run(*command, "--min-chunk", 2).stdout.splitlines()]
    assert [(chunk["start_s"], chunk["end_s"]) for chunk in told] == [(0, 4), (4, 7)]
    whole = [json.loads(line) for line in run(*command, "-y").stdout.splitlines()]
    assert [(chunk["start_s"], chunk["end_s"]) for chunk in whole] == [(0, 7)]


def test_chunks_that_cannot_be_are_refused_in_a_line(talk: Path) -> None:
    for arguments, status in (
        (("chunk-time", talk, "--output-dir", "out", "--duration", 3, "--overlap", 3), 2),
        (("chunk-silence", talk, "--output-dir", "out", "--threshold", 3), 2),
        (("chunk-time", "absent.mp4", "--output-dir", "out"), 1),
    ):
        result = run("video", *arguments)
        assert result.exit_code == status
        assert len(result.output.splitlines()) == 1, result.output
    result = run("video", "chunk-time", "absent.mp4", "--output-dir", "out", "--json")
    assert json.loads(result.stdout)["error"]["code"] == "no_such_file"
    assert not Path("out").exists()


def test_stopped_chunks_say_what_is_kept(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = chunks.write

    def interrupted(planned, source):  # type: ignore[no-untyped-def]
        yield next(write(planned, source))
        raise KeyboardInterrupt

    monkeypatch.setattr(chunks, "write", interrupted)
    result = run("video", "chunk-time", talk, "--output-dir", "out", "--duration", 2)
    assert result.exit_code == 130
    assert "1 of 4 chunks are whole in out" in result.output.replace("\n", " ")
    assert [path.name for path in Path("out").iterdir()] == ["talk_000.mp4"]


def test_an_output_that_cannot_be_is_refused(talk: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("a file")
    for arguments in (
        ("extract-audio", talk, "--output", tmp_path / "nowhere" / "x.wav"),
        ("extract-audio", talk, "--output", tmp_path, "--overwrite"),
        ("chunk-time", talk, "--output-dir", tmp_path / "note.txt"),
        ("chunk-time", talk, "--output-dir", tmp_path / "note.txt" / "deep"),
    ):
        refused = run("video", *arguments)
        assert refused.exit_code == 2
        assert "Traceback" not in refused.stderr
        assert any(word in refused.stderr for word in ("no folder", "is a folder", "is a file"))


@pytest.mark.slow
def test_a_correction_tells_before_and_after(tmp_path: Path) -> None:
    source = tmp_path / "talk.mp4"
    talking_clip(
        source, seconds=5, seed=3, size=(320, 240), container="mp4-h264-aac", offset_frames=6
    )
    command = ("correct", source, "--profile", "bundled")
    told = json.loads(run(*command, "--json").stdout)
    assert (told["outcome"], told["file"]) == ("corrected", str(source))
    assert told["output"] == str(tmp_path / "talk.corrected.mp4")
    assert told["before"]["offset_frames"] == pytest.approx(6, abs=1)
    assert told["moved_ms"] == 40 * told["before"]["offset_frames"]
    assert told["after"]["offset_frames"] == pytest.approx(0, abs=1)
    refused = run(*command)
    assert (refused.exit_code, "already" in refused.output) == (2, True)
    shown = run("correct", told["output"], "--profile", "bundled")
    assert shown.exit_code == 0
    assert "Nothing needs correcting" in shown.stdout
    assert not (tmp_path / "talk.corrected.corrected.mp4").exists()


@pytest.mark.slow
def test_a_correction_is_refused_with_its_reason(tmp_path: Path) -> None:
    source = tmp_path / "dubbed.mp4"
    talking_clip(source, seconds=4, seed=3, size=(320, 240), container="mp4-h264-aac", dubbed=True)
    command = ("correct", source, "--profile", "bundled", "--tolerance", 0)
    refused = run(*command, "--json")
    assert refused.exit_code == 1
    told = json.loads(refused.stdout)
    assert told["error"]["code"] in ("low_confidence", "inconclusive")
    assert "--force" in told["error"]["advice"]
    assert "error:" in refused.stderr
    assert list(tmp_path.iterdir()) == [source]
