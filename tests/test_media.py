from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from evaluation.samples import BROWSER, ClipSpec, clip_sound, talking_clip
from syncnet_python import errors, media
from syncnet_python.clocks import FrameClock, SoundClock
from syncnet_python.frames import Frames, Kept, Look, pack, unpack

SMALL: dict[str, Any] = {"size": (160, 120), "seconds": 1.2}


def written(folder: Path, **fields: Any) -> Path:
    path = folder / "clip"
    talking_clip(path, **{**SMALL, **fields})
    return path


def lag_ms(heard: np.ndarray, truth: np.ndarray) -> float:
    """Milliseconds by which `heard` comes late against `truth`, both (samples,) at 16 kHz."""
    length = min(len(heard), len(truth))
    a, b = (np.abs(x[:length].astype(np.float64)) for x in (heard, truth))
    spectrum = np.fft.rfft(a - a.mean(), 2 * length) * np.conj(
        np.fft.rfft(b - b.mean(), 2 * length)
    )
    peak = int(np.argmax(np.fft.irfft(spectrum)))
    return (peak if peak < length else peak - 2 * length) / 16


@pytest.mark.parametrize(
    "container",
    ["webm-vp8-opus", "webm-vp9-opus", "mp4-h264-aac", "mov-h264-aac", "mkv-h264-flac",
     "avi-mpeg4-pcm", "mpeg"],
)  # fmt: skip
def test_every_container_gives_frames_and_sound_on_one_clock(
    tmp_path: Path, container: str
) -> None:
    recording = media.read(written(tmp_path, container=container))
    assert len(recording.frames) == recording.info.frames_used == len(recording.times)
    assert len(recording.frames) == pytest.approx(30, abs=2)
    assert abs(len(recording.audio) - 640 * len(recording.frames)) <= 640
    assert recording.frames.bgr(0).shape == (120, 160, 3)
    truth = clip_sound(ClipSpec(**{**SMALL, "sample_rate": 16000})).samples[:, 0]
    assert abs(lag_ms(recording.audio, truth)) <= 45


def test_a_live_browser_recording_has_no_duration_and_is_read_all_the_same(tmp_path: Path) -> None:
    recording = media.read(written(tmp_path, **BROWSER))
    assert recording.info.codec == "vp8"
    assert recording.info.duration_s == pytest.approx(1.12, abs=0.05)
    assert 24 < recording.info.fps < 31


@pytest.mark.parametrize("start_offset_s", [-0.2, 0.2])
def test_the_sound_starts_with_the_first_frame_whatever_the_streams_do(
    tmp_path: Path, start_offset_s: float
) -> None:
    path = written(tmp_path, container="mkv-h264-flac", start_offset_s=start_offset_s)
    recording = media.read(path)
    truth = clip_sound(ClipSpec(**{**SMALL, "sample_rate": 16000})).samples[:, 0]
    skipped = round(recording.times[0] * 16000)
    assert recording.times[0] == pytest.approx(0.2, abs=0.041)
    assert abs(lag_ms(recording.audio, truth[skipped:])) < 5


@pytest.mark.parametrize("fps", [30, 25, 24, 15])
def test_frames_are_the_nearest_in_time_at_25_a_second(tmp_path: Path, fps: int) -> None:
    recording = media.read(written(tmp_path, container="mp4-h264-aac", fps=Fraction(fps)))
    assert recording.info.fps == pytest.approx(fps, rel=0.01)
    assert len(recording.frames) == pytest.approx(30, abs=1)
    assert np.allclose(np.diff(recording.times), 0.04)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2), (48000, 1), (48000, 2)])
def test_any_sound_becomes_16_khz_mono(tmp_path: Path, rate: int, channels: int) -> None:
    path = written(tmp_path, container="avi-mpeg4-pcm", sample_rate=rate, channels=channels)
    recording = media.read(path)
    truth = clip_sound(ClipSpec(**{**SMALL, "sample_rate": 16000})).samples[:, 0]
    assert recording.audio.dtype == np.int16
    assert abs(len(recording.audio) - 640 * len(recording.frames)) <= 640
    assert abs(lag_ms(recording.audio, truth)) < 2


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_phone_recording_is_turned_upright(tmp_path: Path, rotation: int) -> None:
    upright = media.read(written(tmp_path, container="mp4-h264-aac"))
    turned = media.read(written(tmp_path, container="mp4-h264-aac", rotation=rotation))
    assert (turned.info.width, turned.info.height) == (160, 120)
    a, b = (r.frames.bgr(5).astype(np.float64) for r in (upright, turned))
    assert a.shape == b.shape
    assert np.abs(a - b).mean() < 6


def test_frames_are_kept_small_but_never_enlarged(tmp_path: Path) -> None:
    path = written(tmp_path, container="mp4-h264-aac")
    small = media.read(path, media.Limits(kept_pixels=80 * 60))
    assert small.frames.bgr(0).shape == (60, 80, 3)
    assert (small.info.width, small.info.height) == (160, 120)
    assert media.read(path, media.Limits(kept_pixels=None)).frames.bgr(0).shape == (120, 160, 3)


def test_a_scaled_phone_recording_stands_upright_too(tmp_path: Path) -> None:
    path = written(tmp_path, container="mp4-h264-aac", rotation=90)
    recording = media.read(path, media.Limits(kept_pixels=80 * 60))
    assert recording.frames.bgr(0).shape == (60, 80, 3)
    assert recording.scale == 0.5


def picture(number: int, width: int, height: int, form: str = "yuv420p") -> av.VideoFrame:
    frame = av.VideoFrame(width, height, form)
    frame.pts, frame.time_base = number, Fraction(1, 25)
    return frame


LOOK = Look("yuv420p", 2, 0)


class Watched:
    """A frame clock with what it has kept."""

    def __init__(self, *frames: av.VideoFrame, **limits: Any) -> None:
        self.pictures: list[bytes | memoryview] = []
        self.clock = FrameClock(media.Limits(**limits), self.pictures.append)
        for frame in frames:
            self.clock.add(frame)
        self.clock.finish()

    @property
    def frames(self) -> Frames:
        clock = self.clock
        return Frames(Kept(self.pictures, clock.looks, clock.size, clock.steps), clock.turns)


def test_a_camera_that_changes_its_size_midway_gives_frames_of_one_size() -> None:
    sizes = [(320, 240)] * 5 + [(120, 160)] * 5
    seen = Watched(*(picture(number, *size) for number, size in enumerate(sizes)))
    assert {frame.shape for frame in seen.frames} == {(240, 320, 3)}


@pytest.mark.parametrize("form", ["gbrp16le", "nv12", "yuv422p", "gray"])
def test_every_format_is_kept_at_one_and_a_half_bytes_a_pixel(form: str) -> None:
    seen = Watched(*(picture(number, 64, 48, form) for number in range(3)))
    assert {len(kept) for kept in seen.pictures} == {64 * 48 * 3 // 2}


@pytest.mark.parametrize("size", [(64, 48), (65, 49), (33, 32), (34, 35)])
def test_a_packed_frame_is_the_frame(size: tuple[int, int]) -> None:
    frame = picture(0, *size, "yuvj420p")
    noise = np.random.default_rng(1)
    for plane in frame.planes:
        plane.update(noise.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    frame.colorspace, frame.color_range = 1, 2
    packed, look = pack(frame)
    again = unpack(packed, *size, look)
    assert np.array_equal(again.to_ndarray(format="bgr24"), frame.to_ndarray(format="bgr24"))
    assert (again.colorspace, again.color_range) == (1, 2)


def test_pictures_that_are_the_same_have_one_digest() -> None:
    def kept(shade: int, size: tuple[int, int] = (64, 48), turns: int = 0) -> Frames:
        pixels = np.full((size[0] * size[1] * 3 // 2), shade, np.uint8).tobytes()
        return Frames(Kept([b"", memoryview(pixels)], [LOOK, LOOK], size, [0, 1, 1]), turns)

    one = kept(9)
    assert one.digest(1) == one.digest(2) == one[1:].digest(0) == kept(9).digest(1)
    others = (kept(10), kept(9, (48, 64)), kept(9, turns=1))
    assert len({frames.digest(1) for frames in (one, *others)}) == 4


def test_a_frame_that_is_shown_for_long_is_kept_once() -> None:
    seen = Watched(picture(0, 64, 48), picture(100, 64, 48))
    assert len(seen.frames) > 100
    assert len(seen.pictures) == 2


def test_two_far_apart_frames_do_not_stretch_the_limit() -> None:
    seen = Watched(picture(0, 64, 48), picture(29 * 25, 64, 48), duration_s=30.0)
    assert len(seen.frames) <= 31 * 25


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"duration_s": 0.3}, errors.TooLong),
        ({"frames_per_second": 1, "duration_s": 5.0}, errors.TooManyFrames),
        ({"frame_pixels": 64 * 48 - 1}, errors.TooLargeFrame),
        ({"frame_side": 49}, errors.TooSmallFrame),
        ({"kept_bytes": 64 * 48 * 4}, errors.TooLargeFrame),
    ],
)
def test_frames_are_counted_as_they_come(limits: dict[str, Any], error: type[Exception]) -> None:
    frames = [picture(number, 64, 48) for number in range(10)]
    assert len(Watched(*frames).frames) == 10
    with pytest.raises(error):
        Watched(*frames, **limits)


@pytest.mark.parametrize(
    "size", [(640, 480), (642, 480), (1281, 721), (1920, 1080), (2160, 3840), (4096, 512)]
)
def test_the_longest_recording_is_kept_whole_in_any_size(size: tuple[int, int]) -> None:
    limits = media.Limits()
    seen = Watched(picture(0, *size))
    assert len(seen.pictures[0]) * limits.steps <= limits.pictures
    assert limits.pictures < 410_000_000  # what a decoding process may write at most


def test_frames_that_are_kept_as_they_are_have_a_limit_of_their_own() -> None:
    assert media.Limits(kept_pixels=None).pictures == media.Limits().kept_bytes


def test_frames_that_share_one_time_are_counted_too() -> None:
    frames = [picture(0, 64, 48)] * 200
    with pytest.raises(errors.TooManyFrames):
        Watched(*frames, frames_per_second=50, duration_s=1.0)


def heard(samples: int, rate: int, layout: str = "mono", start: float = 0.0) -> av.AudioFrame:
    channels = 1 if layout == "mono" else 2
    frame = av.AudioFrame.from_ndarray(
        np.full((1, channels * samples), 1000, np.int16), format="s16", layout=layout
    )
    frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
    frame.pts = round(start * rate)
    return frame


def test_sound_may_change_its_channels_and_rate_midway() -> None:
    clock = SoundClock(media.Limits())
    start = 0.0
    for layout, rate in (("mono", 48000), ("stereo", 48000), ("stereo", 44100)):
        clock.add(heard(rate // 10, rate, layout, start))
        start += 0.1
    clock.finish()
    assert sum(len(piece) for piece in clock.samples) == pytest.approx(4800, abs=60)


def test_sound_values_are_counted_as_they_come() -> None:
    clock = SoundClock(media.Limits(duration_s=1.0, sound_values=1000))
    clock.add(heard(900, 48000, "stereo"))
    with pytest.raises(errors.TooMuchSound):
        clock.add(heard(101, 48000, "stereo"))


def test_a_slice_of_frames_is_frames(tmp_path: Path) -> None:
    frames = media.read(written(tmp_path)).frames
    assert len(frames[3:8]) == 5
    assert np.array_equal(frames[3:8][0], frames[3])


@pytest.mark.parametrize(
    ("fields", "error"),
    [({"no_audio": True}, errors.NoAudio), ({"no_video": True}, errors.NoVideo)],
)
def test_a_missing_stream_is_named(
    tmp_path: Path, fields: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        media.read(written(tmp_path, **fields))


def test_a_picture_alone_is_read_where_sound_is_not_needed(tmp_path: Path) -> None:
    recording = media.read(written(tmp_path, no_audio=True), needs_audio=False)
    assert len(recording.audio) == 0
    assert len(recording.frames) == 30


def test_limits_are_held_while_decoding(tmp_path: Path) -> None:
    path = written(tmp_path, **BROWSER)
    with pytest.raises(errors.TooLong):
        media.read(path, media.Limits(duration_s=0.5))
    with pytest.raises(errors.TooLargeFrame):
        media.read(path, media.Limits(frame_pixels=160 * 119))
    with pytest.raises(errors.TooSmallFrame):
        media.read(path, media.Limits(frame_side=121))
    with pytest.raises(errors.TooManyStreams):
        media.read(path, media.Limits(streams=1))


def test_a_codec_that_is_not_on_the_list_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("huffyuv", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv422p"
        frames = [picture(number, 64, 48, "yuv422p") for number in range(5)]
        for frame in frames:
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(errors.Undecodable, match="codec"):
        media.read(path, needs_audio=False)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\n",
        b"\x89PNG\r\n\x1a\n" + bytes(64),
        b"\xff\xd8\xff\xe0" + bytes(64),
        b"<?xml version='1.0'?><MPD></MPD>",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"GIF89a" + bytes(400),
        b"Good morning, this is a letter. " * 20,
    ],
)
def test_what_is_no_video_container_is_refused_unread(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.webm"
    path.write_bytes(content)
    with pytest.raises(errors.NotAVideo):
        media.read(path)


@pytest.mark.parametrize("head", [b"\x1a\x45\xdf\xa3", b"RIFF\0\0\0\0AVI ", b"\0\0\0\x18ftypisom"])
def test_a_container_with_nothing_in_it_is_undecodable(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "clip"
    path.write_bytes(head + bytes(2000))
    with pytest.raises(errors.RecordingError) as caught:
        media.read(path)
    assert caught.value.code in {"undecodable", "no_video"}


def test_a_recording_cut_off_in_the_middle_gives_what_is_there(tmp_path: Path) -> None:
    path = written(tmp_path, **BROWSER)
    whole = media.read(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    half = media.read(path)
    assert 5 < len(half.frames) < len(whole.frames)


@pytest.mark.shared
def test_the_reference_clip_is_read_sample_by_sample(shared: Path) -> None:
    recording = media.read(shared / "data/sync_val/syncnet_example.avi")
    assert len(recording.frames) == 317
    assert len(recording.audio) == 202_880
