"""The sample clips: that the files are what they claim, and that their truth can be measured."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.clip_writer import FORMATS
from evaluation.samples import (
    BROWSER,
    ClipSpec,
    clip_frames,
    clip_mouth,
    clip_sound,
    clip_times,
    talking_clip,
)
from evaluation.talking_head import Mouth, Pose, render
from evaluation.voice import CONTROL_RATE, speak

SMALL: dict[str, Any] = {"size": (320, 240), "seconds": 2.0}


def decode(path: Path) -> tuple[list[av.VideoFrame], NDArray[np.int16] | None, float]:
    """Frames, mono 16 kHz samples and the time of the first sample."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0)) if container.streams.video else []
    chunks, start = [], 0.0
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return frames, None, 0.0
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
        for number, frame in enumerate(container.decode(audio=0)):
            if number == 0:
                start = frame.time or 0.0
            chunks += [part.to_ndarray()[0] for part in resampler.resample(frame)]
        chunks += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return frames, np.concatenate(chunks), start


def pixels(frame: av.VideoFrame) -> NDArray[np.uint8]:
    return np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)


def loudness(audio: NDArray[np.int16], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the level in the 40 ms about each time."""
    padded = np.pad(audio.astype(np.float64), 640)
    centres = np.round(times * 16_000).astype(int) + 640
    level = [np.sqrt(np.mean(padded[max(c - 320, 0) : c + 320] ** 2) + 1e-9) for c in centres]
    return np.log(np.asarray(level) + 50.0)


def lip_gap(
    frames: list[NDArray[np.uint8]], middle: float = 0.5, face_height: float = 0.42
) -> NDArray[np.float64]:
    """How dark it is between the lips of the face whose centre is at `middle` of the width."""
    height, width = frames[0].shape[:2]
    unit = face_height * height
    rows = slice(round(height / 2 + 0.12 * unit), round(height / 2 + 0.36 * unit))
    columns = slice(round(middle * width - 0.18 * unit), round(middle * width + 0.18 * unit))
    mouths = [f[rows, columns].max(axis=2).astype(np.float64) for f in frames]
    return np.asarray([np.clip(110.0 - mouth, 0.0, None).mean() for mouth in mouths])


def best_lag(picture: NDArray[np.float64], sound: NDArray[np.float64], reach: int) -> int:
    """Frames by which `sound` comes before `picture` where the two agree best."""
    inner = slice(reach, -reach)
    scores = [
        np.corrcoef(picture[inner], np.roll(sound, lag)[inner])[0, 1]
        for lag in range(-reach, reach + 1)
    ]
    return int(np.argmax(scores)) - reach


@pytest.mark.parametrize("seed", range(8))
def test_voice_and_jaw_move_together(seed: int) -> None:
    voice = speak(6.0, seed)
    times = np.arange(150) / 25
    level = loudness(voice.audio, times)
    jaw, rounding = voice.mouth(times)

    assert voice.audio.shape == (96_000,)
    assert 0 <= min(jaw.min(), rounding.min()) <= max(jaw.max(), rounding.max()) <= 1
    assert np.corrcoef(level, jaw)[0, 1] > 0.55
    assert abs(best_lag(jaw, level, 12)) <= 1
    assert jaw.max() > 0.6
    assert jaw.min() < 0.05


def test_voice_has_pauses_pitch_and_formants() -> None:
    voice = speak(8.0, 5)
    blocks = voice.audio.astype(np.float64)[: 8 * 16_000 // 800 * 800].reshape(-1, 800)
    level = np.sqrt(np.mean(blocks**2, axis=1))
    assert np.mean(level < 30) > 0.05, "a speaker pauses"

    loud = blocks[np.argsort(level)[-20:]] * np.hanning(800)
    repeats = []
    for block in loud:
        correlation = np.correlate(block, block, "full")[799:]
        repeats.append(np.max(correlation[16_000 // 260 : 16_000 // 80]) / correlation[0])
    assert np.median(repeats) > 0.5, "voiced sound repeats at a pitch of 80-260 Hz"

    spectrum = np.mean(np.abs(np.fft.rfft(loud)) ** 2, axis=0)
    bands = [spectrum[lo // 20 : hi // 20].sum() for lo, hi in ((200, 1000), (1000, 4000))]
    assert 0.001 < bands[1] / bands[0] < 1.0, "most energy in the first formant, not all"


def test_voice_is_fixed_by_its_seed() -> None:
    assert np.array_equal(speak(1.0, 3).audio, speak(1.0, 3).audio)
    assert not np.array_equal(speak(1.0, 3).audio, speak(1.0, 4).audio)


def test_mouth_is_interpolated_between_control_values() -> None:
    voice = speak(1.0, 0)
    jaw, _ = voice.mouth(np.array([0.5, 0.5 + 0.5 / CONTROL_RATE, 100.0]))
    assert jaw[0] == voice.jaw[500]
    assert jaw[1] == pytest.approx((voice.jaw[500] + voice.jaw[501]) / 2)
    assert jaw[2] == voice.jaw[-1]


def test_lips_part_as_the_jaw_opens() -> None:
    pose = Pose(0.0, 0.0, 0.0, 105.0)
    frames = [render(Mouth(jaw, 0.2), pose, 320, 240) for jaw in (0.0, 0.4, 0.7, 1.0)]
    gap = lip_gap(frames)
    assert gap[0] < 1.0
    assert np.all(np.diff(gap) > 1.0)
    assert all(f.shape == (240, 320, 3) and f.dtype == np.uint8 for f in frames)
    assert np.array_equal(frames[0][:110], frames[3][:110]), "eyes and forehead keep still"


def test_rounding_narrows_the_mouth() -> None:
    pose = Pose(0.0, 0.0, 0.0, 105.0)

    def dark_columns(rounding: float) -> int:
        mouth = render(Mouth(0.7, rounding), pose, 320, 240)[135:165, 120:200]
        return int(np.sum((mouth.max(axis=2) < 70).any(axis=0)))

    assert dark_columns(1.0) < 0.9 * dark_columns(0.0)


def test_head_is_placed_mirrored_and_turned() -> None:
    def centre_of_change(pose: Pose) -> NDArray[np.float64]:
        closed, opened = (render(Mouth(j, 0.2), pose, 320, 240).astype(int) for j in (0.0, 1.0))
        return np.asarray(np.argwhere(np.abs(closed - opened).sum(axis=2) > 60).mean(axis=0))

    straight = centre_of_change(Pose(0.0, 0.0, 0.0, 80.0))
    moved = centre_of_change(Pose(30.0, -20.0, 0.0, 80.0))
    assert moved - straight == pytest.approx([-20.0, 30.0], abs=1.5)
    assert straight[0] > 120, "the mouth lies under the face's centre"
    turned = centre_of_change(Pose(0.0, 0.0, 90.0, 80.0))
    assert turned[1] < 160 - 10, "a quarter turn clockwise brings the mouth to the left"


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_containers_carry_what_they_claim(name: Any, tmp_path: Path) -> None:
    path = tmp_path / "clip"
    form = FORMATS[name]
    talking_clip(path, container=name, channels=2, seed=2, **SMALL)
    with av.open(str(path)) as container:
        assert form.container in container.format.name
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.codec.name == {"libvpx": "vp8", "libvpx-vp9": "vp9", "libx264": "h264"}.get(
            form.video, form.video
        )
        assert audio.codec.name == {"libopus": "opus"}.get(form.audio, form.audio)
        assert (audio.rate, audio.channels) == (48_000, 2)
        assert container.duration == pytest.approx(2.0 * av.time_base, rel=0.03)
    frames, sound, start = decode(path)
    assert len(frames) == 50
    assert (frames[0].width, frames[0].height) == (320, 240)
    assert np.diff([f.time for f in frames]) == pytest.approx(0.04, abs=0.002)
    assert frames[0].time - start == pytest.approx(0.0, abs=0.02)
    assert sound is not None
    assert sound.size == pytest.approx(32_000, abs=1600)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("container", "rate", "channels", "fps"),
    [
        ("webm-vp8-opus", 8_000, 1, 15),
        ("webm-vp9-opus", 24_000, 2, 30),
        ("mp4-h264-aac", 44_100, 1, Fraction(30_000, 1001)),
        ("mkv-h264-flac", 22_050, 2, 24),
        ("avi-mpeg4-pcm", 11_025, 1, 15),
    ],
)
def test_rates_and_channels(
    container: Any, rate: int, channels: int, fps: Any, tmp_path: Path
) -> None:
    path = tmp_path / "clip"
    spec = talking_clip(
        path, container=container, sample_rate=rate, channels=channels, fps=fps, **SMALL
    )
    with av.open(str(path)) as file:
        opened = file.streams.audio[0]
        # Opus decodes at 48 kHz whatever went in; the other codecs keep their rate
        assert opened.rate == (48_000 if "opus" in container else rate)
        assert opened.channels == channels
    frames, _, _ = decode(path)
    assert [f.time for f in frames] == pytest.approx([float(t) for t in clip_times(spec)], abs=2e-3)
    assert len(frames) == int(2 * Fraction(fps))


@pytest.mark.slow
def test_browser_recording(tmp_path: Path) -> None:
    path = tmp_path / "recording.webm"
    spec = talking_clip(path, seed=4, **SMALL, **BROWSER)
    with av.open(str(path)) as container:
        assert container.duration is None
        assert container.streams.video[0].duration is None
        assert container.streams.video[0].frames == 0
    frames, sound, start = decode(path)
    times = np.asarray([f.time for f in frames])
    assert times == pytest.approx([float(t) for t in clip_times(spec)], abs=2e-3)
    assert start == pytest.approx(0.0, abs=0.01)
    assert times[0] == pytest.approx(0.08, abs=0.02)
    assert np.unique(np.round(np.diff(times), 3)).size > 8, "no two intervals alike"
    assert np.diff(times).max() > 0.055, "pictures were dropped"
    assert sound is not None
    assert sound.size > 31_000


@pytest.mark.slow
def test_sound_may_start_after_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "late.webm"
    talking_clip(path, start_offset_s=-0.3, **SMALL)
    frames, sound, start = decode(path)
    assert frames[0].time == pytest.approx(0.0, abs=0.002)
    assert start == pytest.approx(0.3, abs=0.01)
    assert sound is not None
    assert sound.size == pytest.approx(1.7 * 16_000, abs=600)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_metadata(rotation: int, tmp_path: Path) -> None:
    path = tmp_path / "phone.mp4"
    spec = talking_clip(
        path, container="mp4-h264-aac", rotation=rotation, size=(240, 320), seconds=0.4
    )
    frames, _, _ = decode(path)
    stored = frames[0]
    assert stored.rotation % 360 == rotation
    assert (stored.width, stored.height) == ((240, 320) if rotation == 180 else (320, 240))
    shown = np.rot90(pixels(stored), stored.rotation // 90).astype(int)
    _, upright = next(clip_frames(spec))
    assert np.abs(shown - upright).mean() < 6, "turned as its metadata says, it stands upright"


@pytest.mark.slow
@pytest.mark.parametrize("offset", [-7, 0, 5])
def test_offset_of_a_file_is_the_one_asked_for(offset: int, tmp_path: Path) -> None:
    path = tmp_path / "clip.webm"
    talking_clip(path, offset_frames=offset, seed=6, seconds=5.0, size=(320, 240))
    frames, sound, start = decode(path)
    assert sound is not None
    times = np.asarray([f.time for f in frames])
    gap = lip_gap([pixels(f) for f in frames])
    assert abs(best_lag(gap, loudness(sound, times - start), 15) - offset) <= 1


def test_shifted_sound_is_the_same_sound() -> None:
    spec = ClipSpec(sample_rate=16_000)
    ahead = ClipSpec(sample_rate=16_000, offset_frames=10)
    assert np.array_equal(clip_sound(spec).samples[6_400:], clip_sound(ahead).samples[:-6_400])


def test_dubbed_clip_keeps_its_picture_and_changes_its_voice() -> None:
    own, dubbed = ClipSpec(seed=6, seconds=6.0), ClipSpec(seed=6, seconds=6.0, dubbed=True)
    times = np.arange(150) / 25
    jaw = clip_mouth(own, times)[0]
    assert np.array_equal(jaw, clip_mouth(dubbed, times)[0])

    def agreement(spec: ClipSpec) -> float:
        sound = clip_sound(spec).samples[::3, 0]
        return float(np.corrcoef(loudness(sound, times), jaw)[0, 1])

    assert agreement(own) > agreement(dubbed) + 0.3


def test_missing_streams_and_silence(tmp_path: Path) -> None:
    talking_clip(tmp_path / "mute.webm", no_audio=True, size=(320, 240), seconds=0.4)
    talking_clip(tmp_path / "blind.webm", no_video=True, seconds=0.4)
    talking_clip(tmp_path / "silent.webm", silent=True, size=(320, 240), seconds=0.4)
    assert decode(tmp_path / "mute.webm")[1] is None
    frames, sound, _ = decode(tmp_path / "blind.webm")
    assert not frames
    assert sound is not None
    _, silence, _ = decode(tmp_path / "silent.webm")
    assert silence is not None
    assert np.abs(silence).max() <= 1


def test_still_photograph_does_not_move_its_lips() -> None:
    def movement(**fields: Any) -> float:
        frames = [f for _, f in clip_frames(ClipSpec(seed=6, **SMALL, **fields))]
        return float(np.std(lip_gap(frames)))

    assert movement(still=True) < 0.25 * movement()


@pytest.mark.slow
def test_two_faces_and_who_speaks() -> None:
    def movement(**fields: Any) -> tuple[float, float]:
        spec = ClipSpec(seed=6, faces=2, face_height=0.4, **SMALL, **fields)
        frames = [f for _, f in clip_frames(spec)]
        left, right = (lip_gap(frames, middle, 0.4) for middle in (0.25, 0.75))
        return float(np.std(left)), float(np.std(right))

    left, right = movement()
    assert left > 2 * right
    left, right = movement(speaker=1)
    assert right > 2 * left
    left, right = movement(listener="moving")
    assert 0.4 < left / right < 2.5


def test_light_blur_noise_and_emptiness() -> None:
    def first(**fields: Any) -> NDArray[np.float64]:
        _, frame = next(clip_frames(ClipSpec(**SMALL, **fields)))
        return frame.astype(np.float64)

    plain = first()
    assert first(brightness=0.2).mean() < 0.3 * plain.mean()
    assert np.abs(np.diff(first(blur=3.0), axis=0)).mean() < np.abs(np.diff(plain, axis=0)).mean()
    assert np.abs(first(no_face=True) - plain).mean() > 30
    clean, noisy = clip_sound(ClipSpec()), clip_sound(ClipSpec(hiss=500.0))
    assert np.std(noisy.samples.astype(float) - clean.samples) == pytest.approx(500, rel=0.6)


@pytest.mark.parametrize(
    "fields",
    [
        {"offset_frames": 51},
        {"faces": 3},
        {"speaker": 1},
        {"channels": 6},
        {"rotation": 45},
        {"rotation": 90, "container": "webm-vp8-opus"},
        {"variable_frame_rate": True, "container": "avi-mpeg4-pcm"},
        {"live": True, "container": "mp4-h264-aac"},
    ],
)
def test_contradictory_fields_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is|needs|holds|only"):
        ClipSpec(**fields)
