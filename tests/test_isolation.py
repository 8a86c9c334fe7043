import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from evaluation.clip_writer import Format, write_clip
from evaluation.samples import BROWSER, ClipSpec, clip_frames, clip_sound, talking_clip
from syncnet_python import decoding_process, errors, isolation, media
from syncnet_python.isolation import Decoder
from syncnet_python.media import Limits, Recording

SMALL: dict[str, Any] = {"size": (160, 120), "seconds": 1.0}


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as decoder:
        yield decoder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "small.webm"
    talking_clip(path, **SMALL)
    return path


def program(before: str = "", decode: str = "") -> str:
    """A stem in which `before` runs at first, and `decode` in its copies once the limits are set;
    that ends by returning the answer."""
    lines = "".join(
        f"    {line}\n" for line in (decode or "return real(*args, **kwargs)").split("\n")
    )
    return (
        "import os, signal, socket, sys, time\n"
        f"sys.path.append({isolation._ROOT!r})\n"
        "from syncnet_python import decoding_process\n"
        "real = decoding_process.decode\n"
        f"def decode(*args, **kwargs):\n{lines}"
        "decoding_process.decode = decode\n"
        f"{before}\n"
        "decoding_process.serve(int(sys.argv[1]))\n"
    )


def assert_same(ours: Recording, theirs: Recording) -> None:
    assert len(ours.frames) == len(theirs.frames)
    for a, b in zip(ours.frames, theirs.frames, strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(ours.audio, theirs.audio)
    assert np.array_equal(ours.times, theirs.times)
    assert (ours.info, ours.scale) == (theirs.info, theirs.scale)


CLIPS: dict[str, dict[str, Any]] = {
    "webm vp8 opus": BROWSER,
    "webm vp9 opus": {"container": "webm-vp9-opus"},
    "mp4 h264 aac": {"container": "mp4-h264-aac"},
    "mkv h264 flac": {"container": "mkv-h264-flac"},
    "avi mpeg4 pcm": {"container": "avi-mpeg4-pcm"},
    "avi mjpeg pcm": {"container": Format("avi", "mjpeg", "pcm_s16le", {"color_range": "pc"})},
    "mpeg program stream": {"container": "mpeg"},
    "mpeg transport stream": {
        "container": Format("mpegts", "mpeg2video", "mp2", exact_times=False)
    },
    "turned": {"container": "mp4-h264-aac", "rotation": 90},
    "odd size": {"container": "webm-vp8-opus", "size": (161, 121)},
    "started late": {"container": "mkv-h264-flac", "start_offset_s": 0.2},
}


def written(path: Path, container: Any = "webm-vp8-opus", **fields: Any) -> Path:
    if not isinstance(container, Format):
        talking_clip(path, **{**SMALL, "container": container, **fields})
        return path
    spec = ClipSpec(**{**SMALL, **fields})
    write_clip(
        path, container, clip_frames(spec), clip_sound(spec), size=spec.size, fps=Fraction(25)
    )
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPS)
def test_the_recording_is_the_one_that_is_read_in_process(
    tmp_path: Path, decoder: Decoder, name: str
) -> None:
    path = written(tmp_path / "clip", **CLIPS[name])
    for limits in (Limits(), Limits(kept_pixels=80 * 60), Limits(kept_pixels=None)):
        assert_same(decoder.read(path, limits), media.read(path, limits))


@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("form", ["yuv420p", "yuv422p", "yuv444p"])
def test_colours_are_the_same_in_every_range_and_format(
    tmp_path: Path, decoder: Decoder, form: str, color_range: int
) -> None:
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 162, 122, form
        stream.codec_context.color_range = color_range
        stream.codec_context.colorspace = 1
        noise = np.random.default_rng(5)
        for number in range(10):
            image = noise.integers(0, 256, (122, 162, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, "bgr24").reformat(format=form)
            frame.color_range, frame.colorspace = color_range, 1
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    ours = decoder.read(path, needs_audio=False)
    assert_same(ours, media.read(path, needs_audio=False))


def test_a_camera_may_change_its_size_midway(tmp_path: Path, decoder: Decoder) -> None:
    pieces = []
    for size in ((160, 120), (240, 180)):
        talking_clip(tmp_path / "piece", **{**SMALL, "container": "mpeg", "size": size})
        pieces.append((tmp_path / "piece").read_bytes())
    path = tmp_path / "clip"
    path.write_bytes(b"".join(pieces))
    ours = decoder.read(path)
    assert {frame.shape for frame in ours.frames} == {(120, 160, 3)}
    assert_same(ours, media.read(path))


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"duration_s": 0.5}, errors.TooLong),
        ({"frame_pixels": 160 * 119}, errors.TooLargeFrame),
        ({"frame_side": 121}, errors.TooSmallFrame),
        ({"frames_per_second": 1, "duration_s": 2.0}, errors.TooManyFrames),
        ({"sound_values": 1000}, errors.TooMuchSound),
        ({"streams": 1}, errors.TooManyStreams),
        ({"kept_bytes": 100_000}, errors.TooLargeFrame),
    ],
)
def test_every_limit_is_held(
    clip: Path, decoder: Decoder, limits: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as ours:
        decoder.read(clip, Limits(**limits))
    with pytest.raises(error) as theirs:
        media.read(clip, Limits(**limits))
    assert str(ours.value) == str(theirs.value)


def test_what_is_refused_in_process_is_refused_with_the_same_words(
    tmp_path: Path, decoder: Decoder, clip: Path
) -> None:
    path = tmp_path / "clip.webm"
    for content in (b"", b"#EXTM3U\n", clip.read_bytes()[:200], b"\x1a\x45\xdf\xa3" + bytes(900)):
        path.write_bytes(content)
        with pytest.raises(errors.RecordingError) as ours:
            decoder.read(path)
        with pytest.raises(errors.RecordingError) as theirs:
            media.read(path)
        assert (type(ours.value), str(ours.value)) == (type(theirs.value), str(theirs.value))


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path, decoder: Decoder) -> None:
    with pytest.raises(FileNotFoundError):
        decoder.read(tmp_path / "none")


def test_a_link_is_refused(tmp_path: Path, decoder: Decoder, clip: Path) -> None:
    (tmp_path / "link").symlink_to(clip)
    with pytest.raises(errors.NotAVideo):
        decoder.read(tmp_path / "link")


def test_a_folder_that_became_a_link_is_not_followed_out_of_the_root(
    tmp_path: Path, clip: Path
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "inside", outside):
        folder.mkdir(parents=True)
        (folder / "clip").write_bytes(clip.read_bytes())
    (tmp_path / "name of the root").symlink_to(root)
    with Decoder(root=tmp_path / "name of the root") as decoder:
        assert len(decoder.read(root / "inside" / "clip").frames) > 0
        (root / "inside").rename(root / "elsewhere")
        (root / "inside").symlink_to(outside)
        with pytest.raises(errors.NotAVideo, match="where it was"):
            decoder.read(root / "inside" / "clip")
        assert len(decoder.read(outside / "clip").frames) > 0  # not below the root: its own matter


def test_a_file_that_has_grown_is_refused(clip: Path, decoder: Decoder) -> None:
    size = clip.stat().st_size
    assert len(decoder.read(clip, Limits(file_bytes=size)).frames) > 0
    with pytest.raises(errors.DecoderOverran, match="bytes"):
        decoder.read(clip, Limits(file_bytes=size - 1))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, decoder: Decoder) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(errors.NotAVideo):
        decoder.read(tmp_path / "pipe")


ATTEMPTS = {
    "open a file": "os.open('/etc/passwd', os.O_RDONLY)",
    "open itself": "os.open('/proc/self/environ', os.O_RDONLY)",
    "write a file": "os.open(TARGET, os.O_WRONLY | os.O_CREAT)",
    "remove a file": "os.unlink(TARGET)",
    "rename a file": "os.rename(TARGET, TARGET + '.moved')",
    "make a folder": "os.mkdir(TARGET + '.folder')",
    "make a socket": "socket.socket()",
    "make a pair of sockets": "socket.socketpair()",
    "duplicate a descriptor": "os.dup(0)",
    "start a program": "os.execv('/bin/true', ['true'])",
    "fork": "os.fork()",
    "signal its parent": "os.kill(os.getppid(), signal.SIGTERM)",
    "raise a limit": (
        "__import__('resource').setrlimit(__import__('resource').RLIMIT_NOFILE, (99, 99))"
    ),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_decoding_process_can_do_nothing_else(tmp_path: Path, clip: Path, attempt: str) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"untouched")
    tried = program(
        f"import resource\nTARGET = {str(target)!r}",
        f"try:\n    {ATTEMPTS[attempt]}\nexcept OSError as error:\n    said = error.strerror\n"
        "except ValueError as error:\n    said = str(error)\nelse:\n    said = 'done'\n"
        "return {'kind': 'refused', 'error': 'Undecodable', 'message': said}",
    )
    with Decoder(tried) as decoder, pytest.raises(errors.Undecodable) as caught:
        decoder.read(clip)
    assert str(caught.value) in {
        "Operation not permitted",
        "Too many open files",
        "not allowed to raise maximum limit",
    }
    assert target.read_bytes() == b"untouched"
    assert list(tmp_path.iterdir()) == [target]


def test_a_decoding_process_knows_nothing_of_this_one(
    monkeypatch: pytest.MonkeyPatch, clip: Path
) -> None:
    monkeypatch.setenv("SYNCNET_TEST_SECRET", "hush")
    told = program(
        "real_main = decoding_process.main\n"
        "def main(descriptor):\n"
        "    global listed\n"
        "    listed = ' '.join([os.getcwd(), *sorted(os.environ), *os.listdir('/proc/self/fd')])\n"
        "    real_main(descriptor)\n"
        "decoding_process.main = main",
        "return {'kind': 'refused', 'error': 'Undecodable', 'message': listed}",
    )
    with Decoder(told) as decoder, pytest.raises(errors.Undecodable) as caught:
        decoder.read(clip)
    folder, *known = str(caught.value).split()
    assert folder == "/"
    assert "SYNCNET_TEST_SECRET" not in known
    # its three standard streams, the connection, and the folder that it is listing
    assert len([name for name in known if name.isdigit()]) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("deed", "error"),
    [
        ("signal.raise_signal(signal.SIGSEGV)", errors.DecoderCrashed),
        ("__import__('ctypes').string_at(0)", errors.DecoderCrashed),
        ("os._exit(0)", errors.DecoderCrashed),
        ("raise RuntimeError", errors.DecoderCrashed),
        ("bytearray(2 << 30)", errors.DecoderOverran),
        ("while True: os.write(args[1], bytes(1 << 16))", errors.DecoderOverran),
        ("while True: pass", errors.DecodeTimedOut),
        ("time.sleep(60)", errors.DecodeTimedOut),
    ],
)
def test_whatever_a_decoding_process_does_is_an_error_of_the_recording(
    clip: Path, deed: str, error: type[Exception]
) -> None:
    # within `real`, where memory is asked for and files are written
    hurt = program(
        "from syncnet_python import media\n"
        f"def hurt(*_, **__):\n    args = target\n    {deed}\n"
        "target = []\nmedia.decode = hurt",
        "target[:] = args\nreturn real(*args, **kwargs)",
    )
    limits = Limits(decode_s=1.0, kept_bytes=1, duration_s=1.0)
    with Decoder("import ctypes\n" + hurt) as decoder:
        with pytest.raises(error):
            decoder.read(clip, limits)
        with pytest.raises(error):  # and the one that replaced it
            decoder.read(clip, limits)


# What the kernel says of the process's own memory, opened while that can be done.
WEIGHED = (
    "real_main = decoding_process.main\n"
    "def main(descriptor):\n"
    "    global status\n"
    "    status = open('/proc/self/status')\n"
    "    real_main(descriptor)\n"
    "decoding_process.main = main",
    "said = real(*args, **kwargs)\nstatus.seek(0)\n"
    "peak = next(int(line.split()[1]) for line in status if line.startswith('VmHWM'))\n"
    "result = len(said['steps']) if said['kind'] == 'done' else said['error']\n"
    "return {'kind': 'refused', 'error': 'Undecodable', 'message': f'{result} {peak >> 10}'}",
)


def weighed(path: Path, before: str = "", limits: Limits | None = None) -> tuple[str, int]:
    """The number of frames at 25 a second, or the error; the most memory that was in use, MiB."""
    source = program(f"{WEIGHED[0]}\n{before}", WEIGHED[1])
    with Decoder(source) as decoder, pytest.raises(errors.RecordingError) as caught:
        decoder.read(path, limits, needs_audio=False)
    if isinstance(caught.value, errors.DecoderCrashed):
        return "DecoderCrashed", 0
    result, peak = str(caught.value).split()
    return result, int(peak)


def moving(
    path: Path, codec: str, form: str, size: tuple[int, int], frames: int, **given: str
) -> Path:
    """Stripes that wander, in Matroska, as most codecs can be put there."""
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=25, options=given)
        stream.width, stream.height = size
        stream.pix_fmt = form
        stripes = np.arange(size[0] * size[1], dtype=np.uint32).reshape(size[::-1]) // 64
        grey = np.repeat((stripes % 256).astype(np.uint8)[..., None], 3, axis=2)
        for number in range(frames):
            image = np.ascontiguousarray(np.roll(grey, 8 * number, axis=1))
            frame = av.VideoFrame.from_ndarray(image, "bgr24").reformat(format=form)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


CAMERAS: dict[str, tuple[str, str, dict[str, str]]] = {
    "h264": ("libx264", "yuv420p", {"preset": "veryfast", "x264-params": "ref=5:bframes=3"}),
    "h264 10 bits": ("libx264", "yuv420p10le", {"preset": "ultrafast"}),
    "hevc 10 bits": (
        "libx265",
        "yuv420p10le",
        {"preset": "ultrafast", "x265-params": "log-level=none:ref=4:bframes=4"},
    ),
    "vp8": ("libvpx", "yuv420p", {"deadline": "realtime", "cpu-used": "8"}),
    "vp9": ("libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8"}),
}

MOST_MIB = 400


@pytest.mark.slow
@pytest.mark.parametrize("camera", CAMERAS)
def test_what_cameras_record_in_4k_fits(tmp_path: Path, camera: str) -> None:
    codec, form, options = CAMERAS[camera]
    path = moving(tmp_path / "clip", codec, form, (3840, 2160), 20, **options)
    # As on a machine with more processors, where decoding takes the most memory.
    result, peak = weighed(path, "from syncnet_python import media\nmedia.THREADS = 3")
    assert result == "20"
    assert peak < MOST_MIB


@pytest.mark.slow
def test_whatever_takes_memory_ends_before_it_has_much(clip: Path) -> None:
    hoard = (
        "from syncnet_python import media\n"
        "def hoard(*_, **__):\n"
        "    kept = []\n"
        "    while True: kept.append(bytearray(os.urandom(1 << 16) * 16))\n"
        "media.decode = hoard"
    )
    result, peak = weighed(clip, hoard)
    assert result == "DecoderOverran"
    assert MOST_MIB / 2 < peak < MOST_MIB


@pytest.mark.slow
def test_frames_that_there_was_no_memory_for_are_not_merely_missing(tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "x264-params": "ref=16"}
    path = moving(tmp_path / "clip", "libx264", "yuv444p", (1920, 1080), 40, **options)
    for megabytes in (83, 95, 106):
        result, _ = weighed(path, f"decoding_process.MEMORY = {megabytes} << 20")
        assert result == "DecoderOverran"
    assert weighed(path)[0] == "40"


def test_larger_frames_get_more_memory_where_they_are_accepted() -> None:
    default = decoding_process.memory(Limits())
    assert decoding_process.memory(Limits(frame_pixels=640 * 480)) == default
    assert decoding_process.memory(Limits(frame_pixels=2 * 3840 * 2160)) == 2 * default


def test_a_process_that_uses_up_its_processor_time_is_told_apart(clip: Path) -> None:
    busy = program(
        "import resource\nreal_enter = decoding_process.sandbox.enter\n"
        "def enter(**limits): real_enter(**{**limits, 'cpu_s': 0})\n"
        "decoding_process.sandbox.enter = enter",
        "while True: pass",
    )
    with Decoder(busy) as decoder, pytest.raises(errors.DecoderOverran, match="processor"):
        decoder.read(clip)


def stem_of(decoder: Decoder) -> int:
    return decoder._stem()._process.pid


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def copies(stem: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{stem}/task/{stem}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before it has the file", "while it decodes"])
def test_a_stopped_process_is_killed_at_the_limit(clip: Path, when: str) -> None:
    with Decoder(program(decode="signal.raise_signal(signal.SIGSTOP)")) as decoder:
        stem = stem_of(decoder)
        if when != "while it decodes":
            os.kill(stem, signal.SIGSTOP)
        with pytest.raises(errors.DecodeTimedOut):
            decoder.read(clip, Limits(decode_s=1.0))
        assert alive(stem) == (when == "while it decodes")
        assert not alive(stem) or copies(stem) == []


DONE = {
    "kind": "done",
    "size": [160, 120],
    "turns": 0,
    "looks": [{"format": "yuv420p", "colorspace": 2, "color_range": 1}],
    "pictures": [0],
    "steps": [0],
    "samples": 0,
    "times": [0.0],
    "info": {
        "duration_s": 0.04,
        "width": 160,
        "height": 120,
        "fps": 25.0,
        "codec": "vp8",
        "frames_used": 1,
    },
    "scale": 1.0,
}

NONSENSE: dict[str, Any] = {
    "no memory behind it": DONE,
    "huge": {**DONE, "size": [1 << 30, 1 << 30]},
    "negative": {**DONE, "samples": -2},
    "a step beyond the pictures": {**DONE, "steps": [7]},
    "a look beyond the looks": {**DONE, "pictures": [3]},
    "times that are none": {**DONE, "times": ["soon"]},
    "endless time": {**DONE, "times": [float("inf")]},
    "more": {**DONE, "surprise": 1},
    "an error of ours": {"kind": "refused", "error": "WeightsCorrupt", "message": "no"},
    "an error that is none": {"kind": "refused", "error": "os", "message": "no"},
    "another codec": {**DONE, "info": {**DONE["info"], "codec": "../\n"}},  # type: ignore[dict-item]
    "a list": [],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NONSENSE)
def test_an_answer_that_makes_no_sense_is_not_believed(clip: Path, name: str) -> None:
    source = program(decode=f"inf = float('inf'); return {NONSENSE[name]!r}")
    with Decoder(source) as decoder, pytest.raises(errors.DecoderCrashed):
        decoder.read(clip)


def test_an_answer_that_fits_its_memory_is_believed(clip: Path) -> None:
    source = program(decode=f"os.write(args[1], bytes(160 * 120 * 3 // 2)); return {DONE!r}")
    with Decoder(source) as decoder:
        assert decoder.read(clip).frames.bgr(0).shape == (120, 160, 3)


def test_what_an_error_says_is_made_fit_to_print(clip: Path) -> None:
    said = {"kind": "refused", "error": "Undecodable", "message": "one\ntwo\x1b[2J" + "x" * 999}
    source = program(decode=f"return {json.loads(json.dumps(said))!r}")
    with Decoder(source) as decoder, pytest.raises(errors.Undecodable) as caught:
        decoder.read(clip)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 200


def test_endless_talk_is_broken_off(clip: Path) -> None:
    source = program(decode="return {'kind': 'x' * 20_000_000}")
    with Decoder(source) as decoder, pytest.raises(errors.DecoderCrashed):
        decoder.read(clip)


def test_a_process_that_cannot_start_is_our_fault(clip: Path) -> None:
    with Decoder("raise SystemExit(1)") as decoder, pytest.raises(errors.AnalysisFailed):
        decoder.read(clip)


def test_where_no_process_can_be_started_the_next_file_tries_again(
    clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError("no process more")

    with monkeypatch.context() as patch:
        patch.setattr(isolation.subprocess, "Popen", refuse)
        decoder = Decoder()
        assert "BlockingIOError" in caplog.text
        with pytest.raises(errors.AnalysisFailed):
            decoder.read(clip)
    with decoder:
        assert len(decoder.read(clip).frames) > 0


def test_every_file_has_a_process_of_its_own_and_a_dead_stem_is_replaced(
    clip: Path, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    copy = isolation._Stem.copy

    def noted(*arguments: Any) -> int:
        used.append(copy(*arguments))
        return used[-1]

    monkeypatch.setattr(isolation._Stem, "copy", noted)
    stem = stem_of(decoder)
    decoder.read(clip)
    decoder.read(clip)
    assert stem_of(decoder) == stem
    os.kill(stem, signal.SIGKILL)
    decoder.read(clip)
    assert stem_of(decoder) != stem
    assert len(set(used)) == 3
    assert not any(map(alive, used))


def test_processes_end_with_the_decoder(clip: Path) -> None:
    decoder = Decoder()
    stem = stem_of(decoder)
    decoder.close()
    assert not alive(stem)
    with pytest.raises(errors.AnalysisFailed):
        decoder.read(clip)


def ordered(decoder: Decoder, clip: Path) -> isolation._Child:
    """A process that decodes."""
    with clip.open("rb") as file, isolation._Memory() as memory:
        order = json.dumps({"limits": {}, "needs_audio": True}).encode()
        return decoder._ordered(order, file.fileno(), memory.descriptor, time.monotonic() + 30)


def test_a_process_ends_when_the_other_side_is_gone(clip: Path) -> None:
    with Decoder(program(decode="time.sleep(600)")) as decoder:
        waiting = isolation._Child(decoder._stem(), time.monotonic() + 30)
        for child in (waiting, ordered(decoder, clip)):
            child._connection.shutdown(socket.SHUT_RDWR)
            assert decoder._stem().ended(child.pid, kill=False) == 0
            child._connection.close()


def test_a_process_ends_with_the_stem_though_it_was_stopped(clip: Path) -> None:
    with Decoder(program(decode="signal.raise_signal(signal.SIGSTOP)")) as decoder:
        child = ordered(decoder, clip)
        os.kill(stem_of(decoder), signal.SIGKILL)
        until = time.monotonic() + 30
        while alive(child.pid):
            assert time.monotonic() < until
            time.sleep(0.01)
        child.end()


@pytest.mark.slow
def test_descriptors_and_memory_maps_are_given_back(clip: Path, decoder: Decoder) -> None:
    decoder.read(clip)
    before = len(list(Path("/proc/self/fd").iterdir()))
    maps = Path("/proc/self/maps").read_text().count("memfd:pictures")
    for _ in range(50):
        decoder.read(clip)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert Path("/proc/self/maps").read_text().count("memfd:pictures") == maps


def test_recordings_outlive_the_decoder_and_threads_share_it(clip: Path) -> None:
    found: list[Recording] = []
    with Decoder() as decoder:
        threads = [
            threading.Thread(target=lambda: found.append(decoder.read(clip))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    truth = media.read(clip)
    assert len(found) == 4
    for recording in found:
        assert_same(recording, truth)
