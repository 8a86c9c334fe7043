"""Sounds in which nobody speaks, made from a seed: noises of rooms and machines, and music.

    sounds.make("piano", seconds=4.0, rng=np.random.default_rng(0))

The instruments are simple (sums of partials, plucked strings after Karplus and Strong 1983,
frequency modulation after Chowning 1973) but play what sets music apart: notes that stay on their
pitch, chords, runs and a beat.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from syncnet_python.results import SAMPLE_RATE

Floats = NDArray[np.float64]
Maker = Callable[[np.random.Generator, int], Floats]

_MAJOR, _MINOR_SEVENTH = (0, 4, 7), (0, 3, 7, 10)  # semitones of chords
_ROOTS = (48, 50, 52, 53, 55, 57, 59)  # MIDI numbers


def make(kind: str, seconds: float, rng: np.random.Generator) -> NDArray[np.int16]:
    """One sound of `NOISES` or `MUSIC`, of a loudness drawn at random: (samples,) int16 mono at
    16 kHz. Music has a little noise of its own, as a microphone would add."""
    count = round(seconds * SAMPLE_RATE)
    if kind in MUSIC:
        wave = MUSIC[kind](rng, count)
        hiss = 10 ** (-rng.uniform(30, 60) / 20) / 3
        return _stored(wave / np.abs(wave).max() + hiss * _coloured(rng, count, 1.0), rng, -20, -1)
    return _stored(NOISES[kind](rng, count), rng, -45, -3)


def _stored(wave: Floats, rng: np.random.Generator, low: float, high: float) -> NDArray[np.int16]:
    """With its peak at a level between `low` and `high` decibels of full scale."""
    peak = 32767 * 10 ** (rng.uniform(low, high) / 20)
    return np.asarray(np.round(wave / np.abs(wave).max() * peak), np.int16)


def white(rng: np.random.Generator, count: int) -> Floats:
    return rng.normal(size=count)


def pink(rng: np.random.Generator, count: int) -> Floats:
    return _coloured(rng, count, 1.0)


def brown(rng: np.random.Generator, count: int) -> Floats:
    return _coloured(rng, count, 2.0)


def room(rng: np.random.Generator, count: int) -> Floats:
    """A quiet room: dull noise that comes and goes, mains hum, now and then a knock."""
    time = _time(count)
    wave = _coloured(rng, count, rng.uniform(0.8, 2.0))
    for partial in (1, 2, 3, 5):
        phase = rng.uniform(0, 2 * np.pi)
        wave += rng.uniform(0, 0.6) * np.sin(2 * np.pi * 50 * partial * time + phase)
    knots = np.arange(0, count / SAMPLE_RATE + 0.5, 0.5)
    wave *= 1 + 0.3 * np.interp(time, knots, rng.normal(size=len(knots))).clip(-1, 1)
    for _ in range(rng.integers(0, 4)):
        _add(wave, rng.uniform(0, count), rng.uniform(2, 12) * _burst(rng, rng.uniform(5, 50), 4))
    return wave


def typing(rng: np.random.Generator, count: int) -> Floats:
    wave, at = 0.3 * _coloured(rng, count, 1.0), 0.0
    while at < count:
        _add(wave, at, rng.uniform(1, 4) * _burst(rng, rng.uniform(10, 40), 5))
        at += rng.uniform(0.06, 0.4) * SAMPLE_RATE
    return wave


def fan(rng: np.random.Generator, count: int) -> Floats:
    time, turning = _time(count), rng.uniform(80, 300)
    beating = 1 + 0.2 * np.sin(2 * np.pi * rng.uniform(0.5, 12) * time)
    wave = _coloured(rng, count, 1.2) * beating
    for partial in range(1, 6):
        wave += rng.uniform(0, 0.5) * np.sin(2 * np.pi * turning * partial * time)
    return wave


def chords(rng: np.random.Generator, count: int) -> Floats:
    wave = np.zeros(count)
    tempo = rng.uniform(70, 140)
    bar = 60 / tempo * SAMPLE_RATE * rng.choice([2, 4])
    for at in np.arange(0, count, bar):
        root = rng.choice(_ROOTS)
        for interval in _MAJOR if rng.random() < 0.5 else _MINOR_SEVENTH:
            length = int(min(bar * 1.1, count))
            partials = _falling(8, rng.uniform(0.8, 1.6))
            tone = _tone(
                _hertz(root + interval + 12 * int(rng.integers(0, 2))), length, partials, rng
            )
            _add(wave, at, 0.3 * tone * _struck(length, 0.02, 2.0))
    if rng.random() < 0.5:
        _drum(wave, rng, tempo)
    return wave


def piano(rng: np.random.Generator, count: int) -> Floats:
    wave, length = np.zeros(count), int(1.2 * SAMPLE_RATE)
    for at in np.arange(0, count, rng.uniform(0.15, 0.45) * SAMPLE_RATE):
        for _ in range(rng.integers(0, 3)):
            tone = _tone(_note(rng, 48, 76), length, _falling(8, 1.3), rng, stiffness=3e-4)
            _add(wave, at, tone * _struck(length, 0.004, rng.uniform(0.25, 0.8)))
    return wave + 1e-3 * white(rng, count)


def arpeggio(rng: np.random.Generator, count: int) -> Floats:
    wave, step = np.zeros(count), rng.uniform(0.1, 0.25) * SAMPLE_RATE
    root, length = int(rng.integers(50, 60)), int(1.5 * step)
    partials = _falling(12, 1.0)
    if rng.random() < 0.5:
        partials[1::2] = 0
    for number, at in enumerate(np.arange(0, count, step)):
        tone = _tone(_hertz(root + (0, 4, 7, 12, 16, 12, 7, 4)[number % 8]), length, partials, rng)
        _add(wave, at, tone * _struck(length, 0.005, 0.3))
    return wave


def strings(rng: np.random.Generator, count: int) -> Floats:
    wave, at = np.zeros(count), 0.0
    while at < count:
        length = int(rng.uniform(0.4, 1.2) * SAMPLE_RATE)
        vibrato = rng.uniform(0.2, 0.9)
        tone = _tone(_note(rng, 52, 72), length, _falling(13, 0.9), rng, vibrato=vibrato)
        _add(wave, at, tone * np.hanning(length) ** 0.4)
        at += 0.9 * length
    return wave


def bells(rng: np.random.Generator, count: int) -> Floats:
    wave, time = np.zeros(count), _time(int(1.5 * SAMPLE_RATE))
    for at in np.arange(0, count, rng.uniform(0.2, 0.6) * SAMPLE_RATE):
        turns = 2 * np.pi * _note(rng, 60, 84) * time
        _add(wave, at, np.sin(turns + 2 * np.exp(-2 * time) * np.sin(3.5 * turns))
             * np.exp(-2.5 * time))  # fmt: skip
    return wave


def bass_and_drums(rng: np.random.Generator, count: int) -> Floats:
    wave, tempo = np.zeros(count), rng.uniform(90, 150)
    step = 30 / tempo * SAMPLE_RATE
    length = int(1.1 * step)
    for at in np.arange(0, count, step):
        if rng.random() < 0.8:
            tone = _tone(_note(rng, 28, 45), length, _falling(19, 0.8), rng)
            _add(wave, at, tone * _struck(length, 0.005, 0.3))
    _drum(wave, rng, tempo)
    return wave


def plucks(rng: np.random.Generator, count: int) -> Floats:
    wave = np.zeros(count)
    for at in np.arange(0, count, rng.uniform(0.12, 0.35) * SAMPLE_RATE):
        string = rng.uniform(-1, 1, int(SAMPLE_RATE / _note(rng, 48, 70)))
        periods = []
        for _ in range(int(0.8 * SAMPLE_RATE) // len(string)):
            periods.append(string)
            string = 0.498 * (string + np.roll(string, 1))
        _add(wave, at, np.concatenate(periods))
    return wave


NOISES: Mapping[str, Maker] = {
    maker.__name__: maker for maker in (white, pink, brown, room, typing, fan)
}
MUSIC: Mapping[str, Maker] = {
    maker.__name__: maker
    for maker in (chords, piano, arpeggio, strings, bells, bass_and_drums, plucks)
}


def _time(count: int) -> Floats:
    return np.arange(count) / SAMPLE_RATE


def _hertz(midi: float) -> float:
    return float(440 * 2 ** ((midi - 69) / 12))


def _note(rng: np.random.Generator, low: int, high: int) -> float:
    return _hertz(int(rng.integers(low, high)))


def _falling(partials: int, steepness: float) -> Floats:
    return np.arange(1, partials + 1, dtype=np.float64) ** -steepness


def _tone(
    hertz: float,
    count: int,
    partials: Sequence[float] | Floats,
    rng: np.random.Generator,
    vibrato: float = 0.0,
    stiffness: float = 0.0,
) -> Floats:
    """Partials of a note, each in a phase of its own; vibrato: radians of phase at 5.5 Hz;
    stiffness: how far a string's partials are stretched."""
    time, wave = _time(count), np.zeros(count)
    phase = 2 * np.pi * hertz * time + vibrato * np.sin(2 * np.pi * 5.5 * time)
    for number, strength in enumerate(partials, start=1):
        if hertz * number < 0.47 * SAMPLE_RATE:
            stretch = number * np.sqrt(1 + stiffness * number**2)
            wave += strength * np.sin(phase * stretch + rng.uniform(0, 2 * np.pi))
    return wave


def _struck(count: int, attack_s: float, decay_s: float) -> Floats:
    time = _time(count)
    return np.asarray(np.minimum(1.0, time / attack_s) * np.exp(-time / decay_s))


def _burst(rng: np.random.Generator, length_ms: float, decay: float) -> Floats:
    count = max(1, int(length_ms / 1000 * SAMPLE_RATE))
    return rng.normal(size=count) * np.exp(-decay * np.arange(count) / count)


def _drum(wave: Floats, rng: np.random.Generator, tempo: float) -> None:
    """Adds kick, snare and hi-hat, in place."""
    time = _time(int(0.15 * SAMPLE_RATE))
    kick = 0.9 * np.sin(2 * np.pi * (50 + 60 * np.exp(-30 * time)) * time) * np.exp(-20 * time)
    for number, at in enumerate(np.arange(0, len(wave), 30 / tempo * SAMPLE_RATE)):
        if number % 2 == 0:
            _add(wave, at, kick)
        if number % 4 == 2:
            _add(wave, at, 0.5 * _burst(rng, 120, 3))
        _add(wave, at, 0.2 * np.diff(_burst(rng, 50, 3.5), prepend=0.0))


def _add(wave: Floats, at: float, sound: Floats) -> None:
    """Adds a sound from sample `at` on, in place; what reaches over the end is left off."""
    part = wave[int(at) : int(at) + len(sound)]
    part += sound[: len(part)]


def _coloured(rng: np.random.Generator, count: int, slope: float) -> Floats:
    """Noise of deviation 1 whose power falls with frequency to the power of `slope`."""
    spectrum = np.fft.rfft(rng.normal(size=count))
    wave = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 1) ** (slope / 2), count)
    return np.asarray(wave / wave.std())
