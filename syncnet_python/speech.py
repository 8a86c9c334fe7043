"""Is somebody heard to speak, or is it noise or music? Small rules on the sound alone. Pure.

A second of sound is told by what sets speech apart: its loudness beats at the pace of syllables
(3-8 Hz; Scheirer and Slaney 1997), its spectrum keeps changing shape, it is voiced in part, and
its pitch glides where an instrument holds its notes. A logistic regression weighs these; see
`training/speech.py`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncnet_python.results import SAMPLE_RATE

Floats = NDArray[np.float64]

_RATE = 50  # spectra a second
_WINDOW = 640  # samples: 40 ms, two periods of the deepest voice
_TRANSFORM = 1024  # samples; leaves room for the autocorrelation's longest lag
_STEP = _RATE // 2  # spectra from one judged second to the next
_BANDS_HZ = np.geomspace(200, 5000, 17)
_RANGE_DB = 35.0  # below the recording's loudest; what is fainter is background
_SYLLABLES_HZ = slice(3, 9)
_PITCH_HZ = (70.0, 400.0)
_VOICED = 0.5  # autocorrelation at the pitch, of 1
_STEADY = 0.012  # change of pitch between two spectra, as a share: a fifth of a semitone
_SUSTAIN = 5  # spectra after which a note still sounds and a vowel has moved on
_SMOOTH = 17  # bins that the coarse shape of a spectrum is averaged over
_FAINT = 1e-3

CHANGING_DB = 2.6
"""How far bands deviate from the mean shape of the spectrum, at least, in speech and melodies."""

# Fitted on seconds of the training speakers' speech, clean and in noise, against noises and music.
_WEIGHTS = np.array([2.115, -0.799, 0.729, 5.656, -7.586, -12.566, 10.422])
_BIAS = -12.0


@dataclass(frozen=True, slots=True)
class Sound:
    """speech: probability that the second most like speech is speech, 0-1; melodic: how much of
    the sound holds a steady pitch while its spectrum changes, 0-1: music does, hum does not."""

    speech: float
    melodic: float


def describe(audio: NDArray[np.int16]) -> Sound:
    """What kind of sound this is.

    audio: (samples,) int16 mono at 16 kHz, at least one sample.
    """
    rows = features(audio)
    changing = rows[:, 1] > CHANGING_DB
    likely = changing / (1 + np.exp(-(rows @ _WEIGHTS + _BIAS)))
    return Sound(float(likely.max()), float((rows[:, 3] * rows[:, 4] * changing).mean()))


def features(audio: NDArray[np.int16]) -> Floats:
    """What each second of the sound is like, two a second: (seconds, 7) float64.

    Columns: beat of the loudness at 3-8 Hz, dB; how far bands deviate from the mean shape of the
    spectrum over time, dB; how far they move in 80 ms, dB; share of the loud spectra that is
    voiced; share of the voiced ones with a steady pitch; likeness of a spectrum's lines with those
    100 ms later, -1..1; autocorrelation of the most strongly voiced tenth.
    audio: as for `describe`.
    """
    power = _power(audio)
    level = 10 * np.log10(power[:, _bin(200) : _bin(5000)].sum(axis=1) + _FAINT)
    loud = level > level.max() - _RANGE_DB
    level = np.maximum(level, level.max() - _RANGE_DB)
    bands = _bands(power)
    shape = bands - bands.mean(axis=1, keepdims=True)
    strength, pitch = _pitches(power)
    lines = _lines(power)
    rows = []
    for first in range(0, max(1, len(level) - _STEP), _STEP):
        part = slice(first, first + _RATE)
        rows.append(
            (
                _beat(level[part]),
                float(shape[part].std(axis=0).mean()),
                _mean(np.abs(shape[part][4:] - shape[part][:-4])),
                *_voicing(strength[part], pitch[part], loud[part]),
                _likeness(lines[part], loud[part]),
                float(np.percentile(strength[part][loud[part]], 90)) if loud[part].any() else 0.0,
            )
        )
    return np.array(rows)


def _power(audio: NDArray[np.int16]) -> Floats:
    """Power spectra, (spectra, bins), at least one."""
    padded = np.pad(audio.astype(np.float64), (0, max(0, _WINDOW - len(audio))))
    every = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[:: SAMPLE_RATE // _RATE]
    return np.asarray(np.abs(np.fft.rfft(every * np.hanning(_WINDOW), _TRANSFORM)) ** 2)


def _bin(hertz: float) -> int:
    return round(hertz * _TRANSFORM / SAMPLE_RATE)


def _bands(power: Floats) -> Floats:
    """Levels in 16 bands, dB, no fainter than 45 dB under the loudest."""
    sums = np.add.reduceat(power, [_bin(edge) for edge in _BANDS_HZ], axis=1)[:, :-1]
    levels = 10 * np.log10(sums + _FAINT)
    return np.asarray(np.maximum(levels, levels.max() - _RANGE_DB - 10))


def _beat(level: Floats) -> float:
    """Modulation at the pace of syllables, dB."""
    spectrum = np.abs(np.fft.rfft(level - level.mean(), _RATE)) / len(level)
    return float(np.sqrt((spectrum[_SYLLABLES_HZ] ** 2).sum()))


def _pitches(power: Floats) -> tuple[Floats, Floats]:
    """Strength of the autocorrelation's first high peak (about 0-1), and its pitch in Hz."""
    heard = power.copy()
    heard[:, : _bin(60)] = 0
    heard[:, _bin(4000) :] = 0
    lags = np.arange(int(SAMPLE_RATE / _PITCH_HZ[1]), int(SAMPLE_RATE / _PITCH_HZ[0]) + 1)
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(_WINDOW), _TRANSFORM)) ** 2)
    raw = np.fft.irfft(heard, axis=1)
    alike = raw[:, lags] / (raw[:, :1] + _FAINT) / (window[lags] / window[0])
    peaks = (alike[:, 1:-1] >= alike[:, :-2]) & (alike[:, 1:-1] >= alike[:, 2:])
    heights = np.where(peaks, alike[:, 1:-1], -1.0)
    first = (heights >= 0.9 * heights.max(axis=1, keepdims=True)).argmax(axis=1) + 1
    row = np.arange(len(alike))
    before, top, after = alike[row, first - 1], alike[row, first], alike[row, first + 1]
    bend = before - 2 * top + after
    between = np.where(bend < 0, (before - after) / (2 * np.minimum(bend, -1e-9)), 0.0)
    return top, SAMPLE_RATE / (lags[first] + between.clip(-0.5, 0.5))


def _voicing(strength: Floats, pitch: Floats, loud: NDArray[np.bool_]) -> tuple[float, float]:
    """Share of loud spectra that is voiced; share of these whose pitch stays."""
    voiced = (strength > _VOICED) & loud
    steps = np.abs(np.diff(np.log(pitch)))[voiced[1:] & voiced[:-1]]
    return float(voiced.sum() / max(1, loud.sum())), _mean(steps < _STEADY)


def _lines(power: Floats) -> Floats:
    """The spectra less their coarse shape, unit vectors: where harmonics and tones stand."""
    heard = np.log(power[:, _bin(100) : _bin(3000)] + _FAINT)
    sums = np.cumsum(np.pad(heard, ((0, 0), (_SMOOTH // 2 + 1, _SMOOTH // 2)), mode="edge"), axis=1)
    fine = heard - (sums[:, _SMOOTH:] - sums[:, :-_SMOOTH]) / _SMOOTH
    return np.asarray(fine / (np.linalg.norm(fine, axis=1, keepdims=True) + _FAINT))


def _likeness(lines: Floats, loud: NDArray[np.bool_]) -> float:
    alike = (lines[_SUSTAIN:] * lines[:-_SUSTAIN]).sum(axis=1)
    return _mean(alike[loud[_SUSTAIN:] & loud[:-_SUSTAIN]])


def _mean(values: NDArray[np.floating] | NDArray[np.bool_]) -> float:
    return float(values.mean()) if values.size else 0.0
