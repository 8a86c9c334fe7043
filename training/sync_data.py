"""Cached clips to training batches for the sync network.

A batch is cut from the clips at random: one length for all, its own start, speed and disturbances
for each. What disturbs is in `training/sync_augment.py`.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syncnet_python.mouth import lip_shapes
from syncnet_python.results import SAMPLES_PER_FRAME
from training import sync_augment as augment
from training.sync_augment import log_mel
from training.sync_turns import Turns

SHORTEST = 26
"""Frames a clip needs to be of use."""

LARGEST_DELAY = 12
"""Frames that picture and sound of a sample are cut apart, at most."""

SPLIT = Path(__file__).parent / "splits" / "sync.csv"
"""Which speakers are learnt from."""

_QUIETEST = 50  # peak of int16; below it a clip has no sound


@dataclass(frozen=True, slots=True)
class Clip:
    """shapes: (frames, 40, 2) float32 as `mouth.lip_shapes`; mouths: (frames, 64, 64) uint8;
    audio: (frames * 640,) int16; origin: the data set, as in `ORIGINS`."""

    name: str
    origin: str
    speaker: str
    shapes: NDArray[np.float32]
    mouths: NDArray[np.uint8]
    audio: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.shapes)

    def cut(self, first: int, length: int, delay: int = 0) -> "Clip":
        """Picture of `length` frames from `first` on; sound as long, from `first + delay` on."""
        sound = slice(
            (first + delay) * SAMPLES_PER_FRAME, (first + delay + length) * SAMPLES_PER_FRAME
        )
        picture = slice(first, first + length)
        return replace(
            self,
            shapes=self.shapes[picture],
            mouths=self.mouths[picture],
            audio=self.audio[sound],
        )


@dataclass(frozen=True, slots=True)
class Mixture:
    """How often each origin is drawn, relative to the others."""

    shares: dict[str, float] = field(
        default_factory=lambda: {
            "grid_s1": 0.17,
            "grid": 0.30,
            "arabic": 0.13,
            "generated": 0.40,
            "portrait": 0.10,
        }
    )

    def probabilities(self, clips: Sequence[Clip]) -> NDArray[np.float64]:
        """(len(clips),): within an origin speakers with many clips do not drown the others."""
        per_speaker: dict[tuple[str, str], int] = {}
        for clip in clips:
            key = (clip.origin, clip.speaker)
            per_speaker[key] = per_speaker.get(key, 0) + 1
        weights = np.array([per_speaker[c.origin, c.speaker] ** -0.5 for c in clips])
        for origin in {c.origin for c in clips}:
            mine = np.array([c.origin == origin for c in clips])
            weights[mine] *= self.shares.get(origin, 0.0) / weights[mine].sum()
        return np.asarray(weights / weights.sum())


def load_clips(
    folder: Path,
    manifest: Path,
    sources: Sequence[str] = (),
    delays: Mapping[str, int | None] | None = None,
) -> list[Clip]:
    """Clips of `training/sync_features.py`, sorted by name.

    manifest: CSV with the columns file, kind, speaker, source. sources: keep only clips whose
    source contains one of these texts (all, if empty). delays: frames by which a file's sound is
    late, which is then mended; None leaves the file out.
    """
    clips = []
    with manifest.open(newline="") as table:
        rows = {Path(row["file"]).name: row for row in csv.DictReader(table)}
    for path in sorted(folder.glob("*.npz")):
        name = path.stem
        row = rows.get(name, {"kind": "portrait", "speaker": "portrait", "source": "portrait"})
        delay = (delays or {}).get(name, 0)
        if delay is None or (sources and not any(s in row["source"] for s in sources)):
            continue
        with np.load(path) as arrays:
            clip = Clip(
                name,
                _origin(name, row["kind"]),
                row["speaker"],
                lip_shapes(arrays["lips"], arrays["eyes"]),
                arrays["mouths"],
                arrays["audio"],
            )
        clip = clip.cut(max(0, -delay), len(clip) - abs(delay), delay)
        if len(clip) >= SHORTEST and np.abs(clip.audio.astype(np.int32)).max() > _QUIETEST:
            clips.append(clip)
    return clips


def _origin(name: str, kind: str) -> str:
    if name.startswith("grid_s1_"):
        return "grid_s1"
    for prefix in ("grid", "arabic"):
        if name.startswith(prefix):
            return prefix
    return "generated" if kind == "generated" else kind


def split(clips: Sequence[Clip], table: Path = SPLIT) -> tuple[list[Clip], list[Clip]]:
    """Clips to learn from, and clips held out for choosing between runs and for the scale.

    table: CSV with the columns file, speaker, split ("train", "held", "validation", "excluded");
    a speaker's clips all have one split. Portraits, which are drawn anew, are learnt from. Raises
    ValueError for clips that are not to be learnt from at all, or that the table does not name.
    """
    with table.open(newline="") as lines:
        splits = {row["file"]: row["split"] for row in csv.DictReader(lines)}
    sides: dict[str, list[Clip]] = {"train": [], "held": []}
    for clip in clips:
        side = "train" if clip.origin == "portrait" else splits.get(clip.name, "unnamed")
        if side not in sides:
            raise ValueError(f"{clip.name} is not for training: its split is {side!r}")
        sides[side].append(clip)
    return sides["train"], sides["held"]


@dataclass(frozen=True, slots=True)
class Batch:
    """n samples of one length. lips: (n, frames, 40, 2); mouths: (n, frames, 48, 48) float32 grey
    levels; mels: (n, 4 * frames, 40); delays: (n,) int64, the sound's frame u was recorded with
    the picture's frame u + delay."""

    lips: Tensor
    mouths: Tensor
    mels: Tensor
    delays: Tensor


class Batches(torch.utils.data.IterableDataset[Batch]):
    """Endless batches. Lengths vary from batch to batch; clips that are too short for a batch's
    length are not drawn for it.

    Sound and picture of a sample are cut out `delay` frames apart. Were they cut at the same
    places, the network could align their ends instead of what is said: convolutions see where
    their input ends.
    """

    def __init__(
        self, clips: Sequence[Clip], mixture: Mixture, size: int, lengths: Sequence[int], seed: int
    ) -> None:
        super().__init__()
        self.clips, self.size, self.lengths, self.seed = clips, size, lengths, seed
        self.probabilities = mixture.probabilities(clips)
        self.frames = np.array([len(c) for c in clips])

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng(self.seed)
        torch.manual_seed(self.seed)
        while True:
            yield self.draw(rng, int(rng.choice(self.lengths)))

    def draw(self, rng: np.random.Generator, length: int) -> Batch:
        usable = self.probabilities * (self.frames >= length + 4)
        # as many frames in every batch, so that every step costs the same
        count = round(self.size * 50 / length)
        chosen = rng.choice(len(usable), count, p=usable / usable.sum())
        samples = [self._sample(self.clips[i], length, rng) for i in chosen]
        shapes, crops, sounds, delays = zip(*samples, strict=True)
        heard = torch.from_numpy(augment.disturb_sounds(np.stack(sounds), rng))
        mels = augment.mask_mels(augment.shift_formants(log_mel(heard), rng), rng)
        turns = Turns.draw(count, rng)
        mouths = augment.disturb_mouths(torch.from_numpy(np.stack(crops)), turns, rng)
        lips = augment.disturb_shapes(np.stack(shapes), turns, rng)
        mirrored = torch.from_numpy(rng.random(count) < 0.5)[:, None, None, None]
        return Batch(
            torch.where(mirrored, augment.mirror(lips), lips),
            torch.where(mirrored, mouths.flip(3), mouths),
            mels,
            torch.tensor(delays),
        )

    def _sample(
        self, clip: Clip, length: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32], int]:
        """Picture, sound and delay, perhaps faster or slower than they were recorded."""
        room = len(clip) - 1
        fastest = min(1.12, room / (length + 3))
        speed = rng.uniform(min(0.89, fastest), fastest) if rng.random() < 0.6 else 1.0
        most = int(min(LARGEST_DELAY, max(0, room / speed - length)))
        delay = int(rng.integers(-most, most + 1))
        span = (length + abs(delay)) * speed  # what picture and sound cover together
        first = rng.uniform(0, max(0.0, len(clip) - span))
        first = first if speed != 1.0 else float(int(first))
        picture_from, sound_from = (
            first + max(0, -delay) * speed,
            first + max(0, delay) * speed,
        )
        steps = np.arange(length * SAMPLES_PER_FRAME)
        sound = np.interp(
            sound_from * SAMPLES_PER_FRAME + steps * speed,
            np.arange(clip.audio.size),
            clip.audio,
        )
        shown = picture_from + augment.shown_frames(length, rng) * speed
        frames = np.clip(np.round(shown), 0, room).astype(np.int64)
        return clip.shapes[frames], clip.mouths[frames], sound.astype(np.float32), delay
