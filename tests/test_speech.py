"""Speech against noise and music, all synthetic; speakers are the matter of `training.speech`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import sounds
from evaluation.voice import speak
from syncnet_python.doubts import LEAST_SPEECH, MELODIC
from syncnet_python.results import SAMPLE_RATE
from syncnet_python.speech import describe, features

SEEDS = range(5)


def test_a_voice_is_speech() -> None:
    heard = [describe(speak(4.0, seed).audio).speech for seed in SEEDS]
    assert min(heard) > LEAST_SPEECH


@pytest.mark.parametrize("kind", [*sounds.NOISES, *sounds.MUSIC])
def test_noise_and_music_are_not_speech(kind: str) -> None:
    made = [sounds.make(kind, 3.0, np.random.default_rng(seed)) for seed in SEEDS]
    silent = sum(describe(sound).speech < LEAST_SPEECH for sound in made)
    assert silent >= (4 if kind != "bass_and_drums" else 3)


@pytest.mark.parametrize("kind", ["piano", "arpeggio", "strings", "plucks"])
def test_a_melody_is_told_from_hum(kind: str) -> None:
    tune = sounds.make(kind, 4.0, np.random.default_rng(1))
    time = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    hum = sum(3000 / n * np.sin(2 * np.pi * 50 * n * time) for n in range(1, 12))
    assert describe(tune).melodic > MELODIC > describe(np.round(hum).astype(np.int16)).melodic


def test_one_second_of_speech_is_enough() -> None:
    voice = speak(2.0, seed=3).audio[:24_000]
    quiet = np.random.default_rng(0).normal(0, 20, 48_000).astype(np.int16)
    assert describe(np.concatenate([quiet, voice, quiet])).speech > LEAST_SPEECH
    assert describe(quiet).speech < LEAST_SPEECH


@settings(deadline=None, max_examples=20)
@given(gain=st.floats(0.05, 1.0), seed=st.integers(0, 20))
def test_loudness_does_not_matter(gain: float, seed: int) -> None:
    sound = sounds.make("plucks", 2.0, np.random.default_rng(seed)).astype(np.float64)
    softer = np.round(sound * 0.9 * gain).astype(np.int16)
    if np.abs(softer).max() > 1000:  # below that, int16's own steps are heard
        loud = np.round(sound * 0.9).astype(np.int16)
        assert describe(softer).melodic == pytest.approx(describe(loud).melodic, abs=0.1)


@settings(deadline=None, max_examples=20)
@given(samples=st.integers(1, 60_000), level=st.sampled_from([0, 1, 3000]))
def test_every_length_and_level_has_numbers(samples: int, level: int) -> None:
    sound = np.random.default_rng(samples).normal(0, 1, samples) * level
    rows = features(sound.astype(np.int16))
    assert rows.shape[1] == 7
    assert len(rows) >= 1
    assert np.isfinite(rows).all()
    assert 0 <= describe(sound.astype(np.int16)).speech <= 1
