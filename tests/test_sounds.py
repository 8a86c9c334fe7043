import numpy as np
import pytest

from evaluation import sounds
from syncnet_python.quality import is_silent

KINDS = [*sounds.NOISES, *sounds.MUSIC]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [0.3, 2.0])
def test_a_sound_is_as_long_as_asked_and_follows_from_its_seed(kind: str, seconds: float) -> None:
    first, again = (sounds.make(kind, seconds, np.random.default_rng(4)) for _ in range(2))
    assert first.dtype == np.int16
    assert len(first) == round(seconds * 16_000)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, sounds.make(kind, seconds, np.random.default_rng(5)))
    assert not is_silent(first)


def test_a_note_stays_on_its_pitch() -> None:
    tune = sounds.strings(np.random.default_rng(0), 16_000)
    spectrum = np.abs(np.fft.rfft(tune[:4096] * np.hanning(4096)))
    assert np.sort(spectrum)[-20:].sum() > 0.3 * spectrum.sum()
