"""Fit what tells speech from noise and music, and print it for `syncnet_python/speech.py`.

    python -m training.speech --clips DIR --manifest CSV [--held-out DIR]

Positive: seconds of real speakers of the training split, clean and in noise, of each clip the
half whose loudness beats most (the others may hold a pause). Negative: every second of
`evaluation.sounds`. Then it prints how often speech is refused, in the clips it learnt from and in
held-out ones, and how much of new sounds is caught, also of kinds left out of the fit.
"""

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from evaluation import sounds
from syncnet_python import media
from syncnet_python.doubts import LEAST_SPEECH
from syncnet_python.errors import RecordingError
from syncnet_python.speech import CHANGING_DB, features

RATIOS_DB = (None, 10.0, 5.0)
"""Decibels from speech to noise; None, as recorded."""

PER_KIND = 40
LENGTHS_S = (1.5, 3.0, 4.0, 6.0)

Floats = NDArray[np.float64]
Seconds = Mapping[str, Sequence[Floats]]
"""Feature rows of sounds, by kind."""


def real_clips(manifest: Path, folder: Path) -> Iterator[Path]:
    with manifest.open(newline="") as table:
        for row in csv.DictReader(table):
            path = folder / Path(row["file"]).name
            if row["kind"] == "real" and path.exists():
                yield path


def in_noise(
    samples: NDArray[np.int16], ratio_db: float | None, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Speech with a noise of `evaluation.sounds` so many decibels below it."""
    if ratio_db is None:
        return samples
    kind = rng.choice(list(sounds.NOISES))
    noise = sounds.make(kind, len(samples) / 16_000, rng).astype(np.float64)
    clean = samples.astype(np.float64)
    gain = np.sqrt(np.mean(clean**2) / np.mean(noise**2)) * 10 ** (-ratio_db / 20)
    mixed: NDArray[np.int16] = np.clip(np.round(clean + gain * noise), -32768, 32767).astype(
        np.int16
    )
    return mixed


def spoken(paths: Sequence[Path], rng: np.random.Generator) -> dict[str, list[Floats]]:
    rows: dict[str, list[Floats]] = {_named(ratio): [] for ratio in RATIOS_DB}
    for path in paths:
        try:
            samples = media.read(path, media.Limits(duration_s=120.0)).audio
        except RecordingError:
            continue
        for ratio in RATIOS_DB:
            rows[_named(ratio)].append(features(in_noise(samples, ratio, rng)))
    return rows


def unspoken(rng: np.random.Generator) -> dict[str, list[Floats]]:
    return {
        kind: [features(sounds.make(kind, rng.choice(LENGTHS_S), rng)) for _ in range(PER_KIND)]
        for kind in (*sounds.NOISES, *sounds.MUSIC)
    }


def fit(speech: Seconds, other: Seconds) -> tuple[Floats, float]:
    """Weights (7,) and bias of the logistic regression; both sides weigh alike."""
    positive = [
        rows[rows[:, 0] >= np.median(rows[:, 0])] for kind in speech.values() for rows in kind
    ]
    negative = [rows for kind in other.values() for rows in kind]
    sides = [np.concatenate(side) for side in (positive, negative)]
    values = np.concatenate(sides)
    labels = np.repeat([1, 0], [len(side) for side in sides])
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    model = LogisticRegression(class_weight="balanced", max_iter=500)
    model.fit((values - mean) / deviation, labels)
    weights = model.coef_[0] / deviation
    return weights, float(model.intercept_[0] - weights @ mean)


def refused(clips: Sequence[Floats], weights: Floats, bias: float) -> float:
    """Share of sounds of which no second counts as speech."""
    least = np.log(LEAST_SPEECH / (1 - LEAST_SPEECH))
    spoken = [(rows @ weights + bias > least) & (rows[:, 1] > CHANGING_DB) for rows in clips]
    return float(1 - np.mean([seconds.any() for seconds in spoken]))


def _named(ratio: float | None) -> str:
    return "clean" if ratio is None else f"{ratio:g} dB"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True, help="folder of training clips")
    parser.add_argument("--manifest", type=Path, required=True, help="CSV with file and kind")
    parser.add_argument("--held-out", type=Path, help="folder of other speakers' clips")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    speech = spoken(list(real_clips(arguments.manifest, arguments.clips)), rng)
    other, new = unspoken(rng), unspoken(rng)
    weights, bias = fit(speech, other)
    print("weights", np.round(weights, 3).tolist(), "bias", round(bias, 2))
    tested = {"learnt": speech}
    if arguments.held_out:
        tested["held out"] = spoken(sorted(arguments.held_out.iterdir()), rng)
    for name, clips in tested.items():
        for noise, rows in clips.items():
            print(f"{name}, {noise}: {refused(rows, weights, bias):.3f} of {len(rows)} refused")
    for kind, rows in new.items():
        without = fit(speech, {k: v for k, v in other.items() if k != kind})
        print(f"{kind}: {refused(rows, weights, bias):.2f} of {len(rows)} caught, "
              f"{refused(rows, *without):.2f} unless learnt from")  # fmt: skip


if __name__ == "__main__":
    main()
