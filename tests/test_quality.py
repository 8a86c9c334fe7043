import numpy as np
import pytest

from syncnet_python import quality

BOX = np.array([[10.0, 20.0, 110.0, 140.0]])
RNG = np.random.default_rng(0)


def tone(seconds: float, amplitude: float) -> np.ndarray:
    n = np.arange(int(seconds * 16000))
    return (amplitude * np.sin(2 * np.pi * 200 * n / 16000)).astype(np.int16)


def test_brightness_size_and_sharpness_follow_the_picture() -> None:
    sharp = RNG.integers(80, 120, (200, 200, 3)).astype(np.uint8)
    flat = np.full_like(sharp, 100)
    audio = np.concatenate([tone(1, 8000), tone(1, 80)])
    of_sharp = quality.measure([sharp], BOX, audio)
    of_flat = quality.measure([flat], BOX, audio)
    assert of_flat.brightness == pytest.approx(100, abs=0.5)
    assert of_flat.sharpness == 0 < of_sharp.sharpness
    assert of_flat.face_size == 120
    assert of_flat.snr_db == pytest.approx(40, abs=0.5)


def test_a_recording_without_sound_has_no_signal_to_noise_ratio() -> None:
    face = np.zeros((64, 64, 3), np.uint8)
    assert quality.measure([face], BOX, np.zeros(0, np.int16)).snr_db is None


@pytest.mark.parametrize(
    ("audio", "silent"),
    [
        (np.zeros(32000, np.int16), True),
        (np.zeros(0, np.int16), True),
        (RNG.integers(-2, 3, 32000).astype(np.int16), True),
        (tone(2, 300), False),
        (np.concatenate([np.zeros(48000, np.int16), tone(1, 3000)]), False),
    ],
)
def test_silence_is_told_from_quiet_speech_and_from_pauses(audio: np.ndarray, silent: bool) -> None:
    assert quality.is_silent(audio) is silent
