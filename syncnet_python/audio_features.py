"""Waveforms to features. Pure functions of int16 mono audio at 16 kHz."""

import numpy as np
import python_speech_features as psf
from numpy.typing import NDArray

from syncnet_python.results import SAMPLE_RATE

MFCC_PER_FRAME = 4
"""Feature steps of 10 ms in one video frame of 40 ms."""

MEL_BANDS = 40


def mfcc(audio: NDArray[np.int16]) -> NDArray[np.float64]:
    """Mel-frequency cepstral coefficients as SyncNet v2 reads them: shape (13, steps).

    audio: (samples,) int16. 25 ms windows every 10 ms, python_speech_features' defaults, the
    waveform left in its integer range (SyncNetInstance.py of the reference).
    """
    return np.asarray(psf.mfcc(audio, SAMPLE_RATE).T)


def log_mel(audio: NDArray[np.int16], num_frames: int) -> NDArray[np.float32]:
    """Log mel filter-bank energies, shape (4 * num_frames, 40) float32, natural logarithm.

    audio: (samples,) int16. 25 ms windows every 10 ms, pre-emphasis 0.97; cut, or repeated at the
    end, to exactly four steps a video frame.
    """
    energies = psf.logfbank(
        audio, SAMPLE_RATE, winlen=0.025, winstep=0.01, nfilt=MEL_BANDS, preemph=0.97
    ).astype(np.float32)
    steps = MFCC_PER_FRAME * num_frames
    missing = max(0, steps - len(energies))
    return np.pad(energies, ((0, missing), (0, 0)), mode="edge")[:steps]
