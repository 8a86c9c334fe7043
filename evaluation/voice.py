"""A synthetic voice whose mouth is known: source-filter speech with its articulation.

Syllables of no language are drawn at irregular times from a seed. Every speech sound names both
what the mouth does (jaw, lip rounding) and what is heard (formants, voicing, noise), so sound and
articulation agree by construction and the true offset between them is zero.

Sound production follows the cascade formant synthesiser of Klatt (1980), "Software for a
cascade/parallel formant synthesizer", with the glottal pulse of Rosenberg (1971), type B.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

SAMPLE_RATE = 16_000
CONTROL_RATE = 1_000
"""Control values (jaw, formants, amplitudes) a second."""

_PER_CONTROL = SAMPLE_RATE // CONTROL_RATE
_BLOCK = 5 * _PER_CONTROL  # samples between two settings of the formant filters
_BANDWIDTHS = (70.0, 100.0, 150.0, 250.0, 300.0, 500.0)  # Hz, of formants 1 to 6
_HIGH_FORMANTS = (3500.0, 4500.0, 6000.0)  # Hz; they hardly move and keep the voice bright
_LEVEL = 2600.0  # root mean square of the finished voice, of 32767
_HISS = 8.0  # root mean square of the microphone's own noise

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Phone:
    """One speech sound. seconds: shortest and longest; jaw, rounding: 0-1; formants: Hz;
    voice: level of the glottal source, 0-1; noise: level 0-1 in the band `noise_hz` (centre,
    width)."""

    seconds: tuple[float, float]
    jaw: float
    rounding: float
    formants: tuple[float, float, float]
    voice: float = 0.0
    noise: float = 0.0
    noise_hz: tuple[float, float] = (4000.0, 2000.0)


_S_BAND, _SH_BAND, _F_BAND = (5500.0, 1500.0), (2900.0, 1000.0), (4200.0, 5000.0)
_BANDS = (_S_BAND, _SH_BAND, _F_BAND)
_VOWEL = (0.08, 0.24)

VOWELS = (
    Phone(_VOWEL, 1.00, 0.10, (780, 1250, 2600), voice=1.0),  # a
    Phone(_VOWEL, 0.65, 0.00, (540, 1850, 2500), voice=0.9),  # e
    Phone(_VOWEL, 0.35, 0.00, (300, 2250, 3000), voice=0.7),  # i
    Phone(_VOWEL, 0.65, 0.80, (480, 900, 2450), voice=0.9),  # o
    Phone(_VOWEL, 0.30, 1.00, (320, 800, 2300), voice=0.7),  # u
    Phone(_VOWEL, 0.85, 0.05, (680, 1700, 2450), voice=1.0),  # æ
)
CONSONANTS = (
    Phone((0.07, 0.11), 0.0, 0.2, (270, 1100, 2200), voice=0.25),  # m
    Phone((0.07, 0.10), 0.0, 0.2, (250, 1000, 2200), voice=0.06),  # b
    Phone((0.08, 0.12), 0.0, 0.2, (300, 1100, 2300)),  # p
    Phone((0.06, 0.10), 0.18, 0.2, (300, 1700, 2600)),  # t
    Phone((0.07, 0.13), 0.12, 0.1, (300, 1700, 2600), noise=0.5, noise_hz=_S_BAND),  # s
    Phone((0.07, 0.13), 0.15, 0.7, (320, 1800, 2500), noise=0.6, noise_hz=_SH_BAND),  # sh
    Phone((0.07, 0.11), 0.06, 0.1, (300, 1100, 2300), noise=0.2, noise_hz=_F_BAND),  # f
    Phone((0.05, 0.08), 0.20, 0.1, (350, 1500, 2600), voice=0.35),  # l, n
    Phone((0.06, 0.10), 0.12, 1.0, (300, 700, 2200), voice=0.4),  # w
)
_PAUSE = Phone((0.15, 0.50), 0.02, 0.15, (500, 1450, 2450))
_BURST = Phone((0.012, 0.025), 0.15, 0.2, (400, 1500, 2500), noise=0.35, noise_hz=_F_BAND)


@dataclass(frozen=True, slots=True)
class Utterance:
    """A voice and the mouth that made it, starting at the same instant.

    audio: (n,) int16, 16 kHz mono; jaw, rounding: (m,) float64, 0-1, `CONTROL_RATE` a second:
    jaw 0 closed lips, 1 wide open; rounding 0 spread, 1 narrow lips.
    """

    audio: NDArray[np.int16]
    jaw: Floats
    rounding: Floats

    def mouth(self, times: Floats) -> tuple[Floats, Floats]:
        """Jaw and rounding at `times` (seconds, any shape); held constant beyond the ends."""
        clock = np.arange(self.jaw.size) / CONTROL_RATE
        return np.interp(times, clock, self.jaw), np.interp(times, clock, self.rounding)


def speak(seconds: float, seed: int) -> Utterance:
    """`seconds` of speech. The seed fixes the words, their timing and the speaker."""
    rng = np.random.default_rng([seed, 0x5EED])
    steps = round(seconds * CONTROL_RATE)
    phones, lengths, stress = _syllables(rng, steps)
    rows = np.repeat(np.arange(len(phones)), lengths)[:steps]
    stressed = stress[rows]

    def track(values: list[float], sigma_ms: float) -> Floats:
        """The phones' values over time; the organ that makes them needs time to move."""
        return gaussian_filter1d(np.asarray(values, np.float64)[rows], sigma_ms, mode="nearest")

    jaw = track([phone.jaw for phone in phones], 22) * gaussian_filter1d(stressed, 40)
    rounding = track([phone.rounding for phone in phones], 35)
    loudness = gaussian_filter1d(stressed**2, 15) * _wander(rng, steps, 0.15)
    formants = [
        track([phone.formants[k] for phone in phones], 26) * _wander(rng, steps, 0.04)
        for k in range(3)
    ]
    sound = _voiced(rng, track([phone.voice for phone in phones], 6) * loudness, formants)
    for band in _BANDS:
        level = [phone.noise * (phone.noise_hz == band) for phone in phones]
        sound += _noise(rng, track(level, 6), band)
    sound *= _LEVEL / max(float(np.sqrt(np.mean(sound**2))), 1e-9)
    sound = sound + rng.normal(0.0, _HISS, sound.size)
    audio = np.clip(np.round(sound), -32768, 32767).astype(np.int16)
    return Utterance(audio, np.clip(jaw, 0.0, 1.0), np.clip(rounding, 0.0, 1.0))


def _syllables(
    rng: np.random.Generator, steps: int
) -> tuple[list[Phone], NDArray[np.int64], Floats]:
    """Phrases of syllables and pauses, at least `steps` control values long: the phones, their
    lengths in control values and their stress (0-1)."""
    phones: list[Phone] = []
    lengths: list[int] = []
    stress: list[float] = []

    def say(phone: Phone, emphasis: float) -> None:
        shortest, longest = phone.seconds
        drawn = shortest + (longest - shortest) * rng.beta(1.6, 2.4)
        phones.append(phone)
        lengths.append(round(drawn * CONTROL_RATE))
        stress.append(emphasis)

    while sum(lengths) < steps:
        for _ in range(int(rng.integers(2, 8))):
            emphasis = float(rng.uniform(0.65, 1.0))
            onset = CONSONANTS[rng.integers(len(CONSONANTS))]
            say(onset, emphasis)
            if not onset.voice and not onset.noise:  # a stop: the air held back is let go
                say(_BURST, emphasis)
            say(VOWELS[rng.integers(len(VOWELS))], emphasis)
            if rng.random() < 0.2:
                say(CONSONANTS[rng.integers(len(CONSONANTS))], emphasis)
        say(_PAUSE, 0.8)
    return phones, np.asarray(lengths, np.int64), np.asarray(stress, np.float64)


def _wander(rng: np.random.Generator, steps: int, depth: float) -> Floats:
    """A slow random factor about 1 at the control rate, with relative deviation `depth`."""
    drift = gaussian_filter1d(rng.normal(0.0, 1.0, steps), 60)
    return 1.0 + depth * np.clip(drift / max(float(drift.std()), 1e-9), -2.5, 2.5)


def _voiced(rng: np.random.Generator, level: Floats, formants: list[Floats]) -> Floats:
    """The glottal source at `level`, through resonators that follow the formants (Hz); level and
    formants at the control rate, the result at 16 kHz, full voice at about 1."""
    base = rng.uniform(105.0, 210.0)
    tract = 1.0 + 0.15 * (base - 105.0) / 105.0  # high voices come from short vocal tracts
    jitter = gaussian_filter1d(rng.normal(0.0, 1.0, level.size), 4) * 0.02
    pitch = base * (_wander(rng, level.size, 0.1) + jitter)
    phase = np.cumsum(np.repeat(pitch, _PER_CONTROL)) / SAMPLE_RATE
    flow = _glottal_flow(phase % 1.0)
    breath = rng.normal(0.0, 0.02, flow.size) * (0.3 + flow)
    source = (np.diff(flow, prepend=flow[0]) * 8.0 + breath) * np.repeat(level, _PER_CONTROL)
    tracks = [*formants, *(np.full_like(level, centre) for centre in _HIGH_FORMANTS)]
    for track, width in zip(tracks, _BANDWIDTHS, strict=True):
        source = _resonate(source, np.minimum(track * tract, 7500.0), width)
    return source


def _glottal_flow(phase: Floats) -> Floats:
    """Air through the vocal folds, 0-1, over one cycle (phase 0-1): opening for two fifths,
    closing for one, shut for the rest."""
    rising = 0.5 * (1.0 - np.cos(np.pi * phase / 0.4))
    falling = np.cos(0.5 * np.pi * (phase - 0.4) / 0.2)
    return np.asarray(np.where(phase < 0.4, rising, np.where(phase < 0.6, falling, 0.0)))


def _resonator(centre: float, width: float) -> tuple[Floats, Floats]:
    """Two-pole resonator with unit gain at 0 Hz (Klatt 1980, equation 2): lfilter's b and a."""
    radius = np.exp(-np.pi * width / SAMPLE_RATE)
    b = 2.0 * radius * np.cos(2.0 * np.pi * centre / SAMPLE_RATE)
    c = -(radius**2)
    return np.array([1.0 - b - c]), np.array([1.0, -b, -c])


def _resonate(sound: Floats, centres: Floats, width: float) -> Floats:
    """`sound` through one resonator whose centre (control rate, Hz) moves."""
    out = np.empty_like(sound)
    state = np.zeros(2)
    for start in range(0, sound.size, _BLOCK):
        numerator, denominator = _resonator(float(centres[start // _PER_CONTROL]), width)
        block = slice(start, start + _BLOCK)
        out[block], state = lfilter(numerator, denominator, sound[block], zi=state)
    return out


def _noise(rng: np.random.Generator, level: Floats, band: tuple[float, float]) -> Floats:
    """Turbulence at `level` (control rate) in a band (centre and width in Hz), at 16 kHz."""
    numerator, denominator = _resonator(*band)
    white = rng.normal(0.0, 1.0, level.size * _PER_CONTROL)
    hiss = np.asarray(lfilter(numerator, denominator, white), np.float64)
    return hiss * (0.5 / float(hiss.std())) * np.repeat(level, _PER_CONTROL)
