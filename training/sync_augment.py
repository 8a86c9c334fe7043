"""Disturbances for sync training: cameras, microphones, rooms, codecs and landmark noise.

Everything keeps lips and sound where they are in time.
"""

import numpy as np
import python_speech_features as psf
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d
from torch import Tensor
from torch.nn import functional as F

from syncnet_python.audio_features import MEL_BANDS, MFCC_PER_FRAME
from syncnet_python.landmarks import LIPS, MESH_INDICES
from syncnet_python.mouth import CROP_SIZE
from syncnet_python.results import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME
from training.sync_features import STORED_SPAN
from training.sync_turns import Turns

_CAMERA_RATES = (10.0, 12.5, 15.0, 15.0, 20.0, 24.0, 30.0)
_WINDOW, _STEP, _NFFT = 400, 160, 512
_MEL_FILTERS = torch.from_numpy(
    psf.get_filterbanks(MEL_BANDS, _NFFT, SAMPLE_RATE).astype(np.float32).T
)

Sounds = NDArray[np.float32]

# The lip point that stands in each point's place in a mirror, by mesh index.
_PAIRS = dict(
    (
        *((61, 291), (146, 375), (91, 321), (181, 405), (84, 314), (185, 409), (40, 270)),
        *((39, 269), (37, 267), (78, 308), (95, 324), (88, 318), (178, 402), (87, 317)),
        *((191, 415), (80, 310), (81, 311), (82, 312), (0, 0), (13, 13), (14, 14), (17, 17)),
    )
)
_OPPOSITE = {**_PAIRS, **{right: left for left, right in _PAIRS.items()}}
_LIP_POINTS = MESH_INDICES[LIPS]
MIRROR = torch.tensor([_LIP_POINTS.index(_OPPOSITE[point]) for point in _LIP_POINTS])


def log_mel(sounds: Tensor) -> Tensor:
    """`audio_features.log_mel` of a batch: (n, frames * 640) float to (n, 4 * frames, 40)."""
    steps = sounds.shape[1] // SAMPLES_PER_FRAME * MFCC_PER_FRAME
    flat = torch.cat([sounds[:, :1], sounds[:, 1:] - 0.97 * sounds[:, :-1]], dim=1)
    windows = F.pad(flat, (0, _WINDOW)).unfold(1, _WINDOW, _STEP)[:, : steps - 1]
    power = torch.fft.rfft(windows, _NFFT).abs().square() / _NFFT
    energies = (power @ _MEL_FILTERS).clamp_min(torch.finfo(torch.float64).eps).log()
    return torch.cat([energies, energies[:, -1:]], dim=1)


def mask_mels(mels: Tensor, rng: np.random.Generator) -> Tensor:
    """Cover a few spans of time or of bands with the clip's mean."""
    for mel in mels:
        steps, bands = mel.shape
        if rng.random() < 0.25:
            width = int(rng.integers(1, 8))
            first = int(rng.integers(0, bands - width))
            mel[:, first : first + width] = mel.mean()
        if rng.random() < 0.2:
            width = int(rng.integers(4, 24))
            first = int(rng.integers(0, steps - width))
            mel[first : first + width] = mel.mean(dim=0, keepdim=True)
    return mels


def disturb_sounds(sounds: Sounds, rng: np.random.Generator) -> Sounds:
    """Rooms, microphones, noise, other voices, codecs. sounds: (n, samples), int16 range."""
    clean = sounds
    out = np.empty_like(sounds)
    for i, sound in enumerate(clean):
        if rng.random() < 0.35:
            sound = _reverberated(sound, rng)
        if rng.random() < 0.6:
            sound = _coloured(sound, rng)
        level = np.sqrt(np.mean(sound**2)) + 1e-3
        if rng.random() < 0.5:
            noise = _coloured(rng.normal(0, 1, sound.size).astype(np.float32), rng, depth=14)
            sound = _mixed(sound, noise, level, rng.uniform(0, 30))
        if rng.random() < 0.3:
            voices = 1 if rng.random() < 0.4 else int(rng.integers(3, 8))
            sound = _mixed(sound, _babble(clean, voices, rng), level, rng.uniform(4, 20))
        if rng.random() < 0.1:
            sound = _companded(sound)
        if rng.random() < 0.15:
            sound = _coded(sound, rng.uniform(14, 30))
        out[i] = sound * np.exp(rng.uniform(-2.5, 0.7))
    return np.clip(out, -32768, 32767)


def _babble(clean: Sounds, voices: int, rng: np.random.Generator) -> Sounds:
    """Some of the batch's voices at once, each as loud as the next, from any moment on."""
    total = np.zeros(clean.shape[1], np.float32)
    for number in rng.integers(0, len(clean), voices):
        voice = np.roll(clean[number], int(rng.integers(clean.shape[1])))
        total += voice / (np.sqrt(np.mean(voice**2)) + 1e-3)
    return total


def _mixed(sound: Sounds, noise: Sounds, level: float, snr_db: float) -> Sounds:
    power = np.sqrt(np.mean(noise**2)) + 1e-3
    return sound + noise * np.float32(level / power * 10 ** (-snr_db / 20))


def _coloured(sound: Sounds, rng: np.random.Generator, depth: float = 8) -> Sounds:
    """Through a smooth random frequency response of up to ±depth dB, and perhaps a narrow band."""
    spectrum = np.fft.rfft(sound)
    hertz = np.linspace(0, SAMPLE_RATE / 2, spectrum.size)
    gain = np.interp(hertz, (0, 250, 500, 1000, 2000, 4000, 8000), rng.uniform(-depth, depth, 7))
    if rng.random() < 0.25:
        gain -= np.clip((hertz - rng.uniform(2800, 5000)) / 20, 0, 60)
    if rng.random() < 0.25:
        gain -= np.clip((rng.uniform(100, 350) - hertz) / 10, 0, 40)
    return np.fft.irfft(spectrum * 10 ** (gain / 20), sound.size).astype(np.float32)


def _reverberated(sound: Sounds, rng: np.random.Generator) -> Sounds:
    """In a room: the direct sound, then an exponentially dying tail (60 dB in 0.15 to 0.7 s)."""
    length = SAMPLE_RATE // 2
    time = np.arange(length) / SAMPLE_RATE
    tail = rng.normal(0, 1, length) * np.exp(-6.9 * time / rng.uniform(0.15, 0.7))
    tail[: int(0.004 * SAMPLE_RATE)] = 0
    tail *= rng.uniform(0.1, 0.7) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    size = sound.size + length
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)
    return np.asarray(wet[: sound.size], np.float32)


def _companded(sound: Sounds) -> Sounds:
    """Telephone coding: mu-law with 6 bits."""
    scaled = np.clip(sound / (np.abs(sound).max() + 1e-3), -1, 1)
    coded = np.sign(scaled) * np.log1p(255 * np.abs(scaled)) / np.log(256)
    coarse = np.round(coded * 31) / 31
    decoded = np.sign(coarse) * np.expm1(np.abs(coarse) * np.log(256)) / 255
    return np.asarray((decoded * (np.abs(sound).max() + 1e-3)).astype(np.float32))


def _coded(sound: Sounds, kept_db: float) -> Sounds:
    """A codec of few bits: of every 32 ms only lines less than `kept_db` below the loudest near
    them in the spectrum survive, in steps of 1.5 dB."""
    size, hop = 512, 256
    padded = np.pad(sound, (size, size + (-sound.size) % hop))
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window
    lines = np.fft.rfft(frames)
    level = 20 * np.log10(np.abs(lines) + 1e-3)
    masked = maximum_filter1d(level, 25, axis=1) - kept_db
    steps = np.round(level / 1.5) * 1.5 - level
    lines *= np.where(level < masked, 0.0, 10 ** (steps / 20))
    decoded = np.fft.irfft(lines, size) * window
    out = np.zeros_like(padded)
    for part in range(2):
        flat = decoded[part::2].reshape(-1)
        out[part * hop : part * hop + flat.size] += flat
    return np.asarray(out[size : size + sound.size], np.float32)


def shift_formants(mels: Tensor, rng: np.random.Generator) -> Tensor:
    """Voices of shorter and longer throats (vocal tract length perturbation, Jaitly and Hinton
    2013): the bands of half the samples are read at up to 14% higher or lower places."""
    bands = torch.arange(mels.shape[2], dtype=torch.float32)
    for mel in mels:
        if rng.random() < 0.5:
            place = (bands * float(rng.uniform(0.88, 1.14))).clamp(max=len(bands) - 1)
            low = place.long().clamp(max=len(bands) - 2)
            part = place - low
            mel[:] = mel[:, low] * (1 - part) + mel[:, low + 1] * part
    return mels


def shown_frames(length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """What a camera of another rate shows at each of `length` frames: times in frames, the nearest
    that the camera took, now and then one it dropped."""
    frames = np.arange(length, dtype=np.float64)
    if rng.random() < 0.4:
        step = FRAME_RATE / float(rng.choice(_CAMERA_RATES))
        phase = rng.uniform(0, step)
        frames = np.round((frames - phase) / step) * step + phase
    if rng.random() < 0.15:
        for lost in rng.integers(1, length, size=max(1, length // 20)):
            frames[lost] = frames[lost - 1]
    return frames


def disturb_shapes(shapes: NDArray[np.float32], turns: Turns, rng: np.random.Generator) -> Tensor:
    """Other mouths, turned heads and worse landmarks. shapes: (n, frames, 40, 2)."""
    count, frames = shapes.shape[:2]
    scale = rng.uniform(0.85, 1.2, (count, 1, 1, 1)) * rng.uniform(0.92, 1.08, (count, 1, 1, 2))
    centre = shapes.mean(axis=(1, 2), keepdims=True)
    out = turns.shapes((shapes - centre) * scale)
    severity = rng.uniform(0, 1, (count, 1, 1, 1)) ** 2
    out += severity * 0.02 * _drift(rng, (count, frames, 1, 2), 3)
    out += severity * 0.008 * rng.normal(0, 1, (count, frames, 1, 2))
    out += severity * 0.006 * _drift(rng, (count, frames, 40, 2), 2)
    out += severity * 0.006 * rng.normal(0, 1, shapes.shape)
    out *= 1 + severity * 0.03 * _drift(rng, (count, frames, 1, 1), 3)
    turn = rng.uniform(-0.12, 0.12, (count, 1, 1)) + 0.03 * severity[..., 0] * _drift(
        rng, (count, frames, 1), 3
    )
    x, y = out[..., 0], out[..., 1]
    out = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 3)
    lost = rng.random(count) < 0.08  # the crop alone must do, too
    out[lost] = out[lost].mean(axis=1, keepdims=True)
    return torch.from_numpy(out.astype(np.float32))


def _drift(rng: np.random.Generator, shape: tuple[int, ...], smooth: int) -> NDArray[np.float64]:
    """Smooth noise along axis 1 with deviation about 1."""
    kernel = np.hanning(2 * smooth + 3)[1:-1]
    noise = rng.normal(0, 1, (shape[0], shape[1] + len(kernel) - 1, *shape[2:]))
    windows = np.lib.stride_tricks.sliding_window_view(noise, len(kernel), axis=1)
    return np.asarray(windows @ (kernel / np.sqrt(np.sum(kernel**2))))


def mirror(lips: Tensor) -> Tensor:
    """Lip shapes (..., 40, 2) as a mirror shows them."""
    return lips[..., MIRROR, :] * torch.tensor([-1.0, 1.0])


def disturb_mouths(mouths: Tensor, turns: Turns, rng: np.random.Generator) -> Tensor:
    """Crops with another place, size, turn, light, sharpness and coding: (n, frames, 64, 64)
    uint8 to (n, frames, 48, 48) float grey levels."""
    count, frames = mouths.shape[:2]
    out = _replaced(mouths.float(), turns, rng)
    for i in range(count):
        if rng.random() < 0.3:
            small = int(rng.integers(14, 40))
            low = F.interpolate(out[i][:, None], (small, small), mode="area")
            out[i] = F.interpolate(low, CROP_SIZE, mode="bilinear")[:, 0]
        if rng.random() < 0.15:
            out[i] = _skipped(out[i], float(rng.uniform(2, 9)))
        if rng.random() < 0.3:
            out[i] = 255 * (out[i] / 255).clamp(1e-3, 1) ** float(np.exp(rng.uniform(-0.6, 0.6)))
    gain = torch.from_numpy(rng.uniform(0.6, 1.3, (count, 1, 1, 1)).astype(np.float32))
    flicker = 1 + 0.03 * _drift(rng, (count, frames, 1, 1), 3) * rng.random((count, 1, 1, 1))
    slope = torch.linspace(-1, 1, CROP_SIZE)
    tilt = torch.from_numpy(rng.normal(0, 0.12, (2, count, 1, 1, 1)).astype(np.float32))
    light = 1 + tilt[0] * slope + tilt[1] * slope[:, None]
    out = out * gain * torch.from_numpy(flicker.astype(np.float32)) * light
    grain = torch.from_numpy(rng.uniform(0, 5, (count, 1, 1, 1)).astype(np.float32) ** 2 / 5)
    out = out + grain * torch.randn(out.shape)
    lost = torch.from_numpy(rng.random(count) < 0.08)  # the points alone must do, too
    return torch.where(lost[:, None, None, None], out.mean(dim=1, keepdim=True), out)


def _skipped(crops: Tensor, least: float) -> Tensor:
    """What a coarse video codec does: blocks that change less than `least` grey levels stay as
    they were. crops: (frames, 48, 48)."""
    kept = [crops[0]]
    for crop in crops[1:]:
        change = F.avg_pool2d((crop - kept[-1]).abs()[None], 6)
        renewed = F.interpolate((change > least).float()[None], CROP_SIZE)[0, 0]
        kept.append(torch.where(renewed > 0, crop, kept[-1]))
    return torch.stack(kept)


def _replaced(mouths: Tensor, turns: Turns, rng: np.random.Generator) -> Tensor:
    """Sample (n, frames, 64, 64) around its centre at 48x48, moved once a clip and a little every
    frame, as the crops of noisy landmarks move."""
    count, frames, side = mouths.shape[:3]
    shape = (count, frames)
    severity = rng.uniform(0, 1, (count, 1)) ** 2
    size = CROP_SIZE / side * np.exp(rng.uniform(-0.13, 0.13, (count, 1)))
    size = size * (1 + 0.02 * severity * _drift(rng, shape, 3))
    turn = rng.uniform(-0.15, 0.15, (count, 1)) + 0.02 * severity * _drift(rng, shape, 3)
    x = rng.uniform(-0.11, 0.11, (count, 1)) + 0.02 * severity * _drift(rng, shape, 3)
    y = rng.uniform(-0.11, 0.11, (count, 1)) + 0.02 * severity * _drift(rng, shape, 3)
    cos, sin, right, low = (
        torch.from_numpy(np.broadcast_to(v, shape).astype(np.float32)).reshape(-1, 1, 1)
        for v in (size * np.cos(turn), size * np.sin(turn), x, y)
    )
    across = (torch.arange(CROP_SIZE) + 0.5) * 2 / CROP_SIZE - 1
    down = across[:, None]
    grid = torch.stack([cos * across - sin * down + right, sin * across + cos * down + low], dim=3)
    grid = turns.places(grid * (STORED_SPAN / 2)) / (STORED_SPAN / 2)
    flat = mouths.reshape(count * frames, 1, side, side)
    moved = F.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    return moved.reshape(count, frames, CROP_SIZE, CROP_SIZE)
