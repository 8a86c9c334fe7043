"""Train FCN-SyncNet, the bundled sync network, and write it to models/.

    python -m training.sync --features DIR... --manifest CSV --run DIR --minutes 60
    python -m training.sync --run DIR --export [--average FILE...]

Features come from `training/sync_features.py`; several folders (the teacher's points, the bundled
landmarks') are mixed. Whole speakers are held out to choose the checkpoint; the validation clips
are never read. A run that was stopped goes on from its last checkpoint.

The loss is contrastive (InfoNCE, van den Oord 2018) in two ways. For each frame of a clip the sound
of that frame must stand out from the sound up to 15 frames away and from that of other clips. For
each clip the mean similarity at offset 0 must stand out from the other 30 offsets and from every
offset against every other clip: the very comparison that scoring makes.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from syncnet_python.mouth import CROP_SIZE
from syncnet_python.networks.syncnet_fcn import SyncNetFCN
from training.export import export
from training.sync_augment import log_mel
from training.sync_data import SPLIT, Batch, Batches, Clip, Mixture, load_clips, split
from training.sync_features import STORED_SIZE

REACH = 15
"""Offsets are compared up to this many frames to either side."""

LENGTHS = (22, 25, 30, 40, 50, 50, 60, 60)
PEAK_RATE = 2e-3
EVERY = 240.0  # seconds between two looks at the held-out clips

_NEVER = -9.0  # a similarity lower than any

LICENCE = "weights trained on research-only media among others; see models/syncnet_fcn.md"


class Contrast(nn.Module):
    """The loss, with its two learned temperatures."""

    def __init__(self) -> None:
        super().__init__()
        self.frame_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.clip_scale = nn.Parameter(torch.tensor(math.log(15.0)))

    def forward(self, lips: Tensor, voice: Tensor, delays: Tensor) -> tuple[Tensor, Tensor]:
        """Loss per frame and loss per clip. lips, voice: (batch, frames, 128) unit vectors;
        delays: (batch,), frame u of the sound belongs to frame u + delay of the picture."""
        likeness = torch.einsum("btd,cud->bctu", lips, voice)
        return self._frames(likeness, delays), self._clips(likeness, delays)

    def _frames(self, likeness: Tensor, delays: Tensor) -> Tensor:
        batch, frames = likeness.shape[0], likeness.shape[2]
        clip, time = torch.arange(batch), torch.arange(frames)
        own = likeness[clip, clip]  # b t u
        far = (time[:, None] - time).abs() > REACH
        cross = likeness[:, :, time, time]  # b c t
        same = torch.eye(batch, dtype=torch.bool)[:, None]
        scale = self.frame_scale.exp().clamp(max=60)
        losses = []
        for sides, others, sign in (
            (own, cross.permute(0, 2, 1), 1),
            (own.transpose(1, 2), cross.permute(1, 2, 0), -1),
        ):
            near = sides.masked_fill(far, _NEVER)
            logits = scale * torch.cat([near, others.masked_fill(same, _NEVER)], dim=2)
            partner = time - sign * delays[:, None]
            partner = partner.where((partner >= 0) & (partner < frames), -100)  # heard elsewhere
            losses.append(F.cross_entropy(logits.flatten(0, 1), partner.flatten()))
        return (losses[0] + losses[1]) / 2

    def _clips(self, likeness: Tensor, delays: Tensor) -> Tensor:
        batch = likeness.shape[0]
        offsets = range(-REACH, REACH + 1)
        pooled = torch.stack(
            [likeness.diagonal(k, dim1=2, dim2=3).mean(2) for k in offsets], dim=2
        )  # b c k
        scale = self.clip_scale.exp().clamp(max=60)
        target = torch.arange(batch) * len(offsets) + REACH - delays
        by_lips = F.cross_entropy(scale * pooled.flatten(1), target)
        by_voice = F.cross_entropy(scale * pooled.transpose(0, 1).flatten(1), target)
        return (by_lips + by_voice) / 2


@torch.inference_mode()
def embed(network: SyncNetFCN, clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
    """Undisturbed embeddings of clips of one length: two (clips, frames, 128)."""
    inner = slice((STORED_SIZE - CROP_SIZE) // 2, (STORED_SIZE + CROP_SIZE) // 2)
    crops = torch.from_numpy(np.stack([clip.mouths[:, inner, inner] for clip in clips]))
    lips = network.visual(torch.from_numpy(np.stack([clip.shapes for clip in clips])), crops)
    sound = torch.from_numpy(np.stack([clip.audio for clip in clips]).astype(np.float32))
    return lips, network.audio(log_mel(sound))


def curve(lips: Tensor, voice: Tensor) -> NDArray[np.float64]:
    """Mean similarity where the sound is -15 to 15 frames late: (31,)."""
    likeness = lips @ voice.T
    return np.array([likeness.diagonal(k).mean() for k in range(-REACH, REACH + 1)])


def examine(network: SyncNetFCN, clips: Sequence[Clip], window: int) -> dict[str, float]:
    """On windows whose sound is up to 12 frames off: the share of offsets found within one frame,
    and the share of pairs in which a window with its own sound has more confidence than one with
    another clip's (AUC)."""
    rng = np.random.default_rng(0)
    pieces, delays = [], []
    for clip in clips:
        for first in range(0, len(clip) - window - 3, window):
            low, high = max(-12, -first), min(12, len(clip) - window - first)
            delays.append(int(rng.integers(low, high + 1)))
            pieces.append(clip.cut(first, window, delays[-1]))
    network.eval()
    parts = [embed(network, pieces[i : i + 16]) for i in range(0, len(pieces), 16)]
    network.train()
    lips, voices = (torch.cat(side) for side in zip(*parts, strict=True))
    own = [curve(a, b) for a, b in zip(lips, voices, strict=True)]
    other = [curve(a, b) for a, b in zip(lips, voices.roll(7, 0), strict=True)]
    found = np.array([c.argmax() for c in own]) - REACH
    true, false = (np.array([c.max() - np.median(c) for c in cs]) for cs in (own, other))
    right = np.abs(found + np.array(delays)) <= 1
    return {
        "windows": len(pieces),
        "right": round(float(right.mean()), 4),
        "auc": round(float((true[:, None] > false[None]).mean()), 4),
    }


class Run:
    """A training run with its files: network, its running average, optimiser and clock."""

    def __init__(self, folder: Path, seed: int) -> None:
        torch.manual_seed(seed)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.network, self.loss = SyncNetFCN(), Contrast()
        self.average = copy.deepcopy(self.network)
        everything = [*self.network.parameters(), *self.loss.parameters()]
        self.optimiser = torch.optim.AdamW(everything, PEAK_RATE, weight_decay=0.03)
        self.steps, self.seconds = 0, 0.0

    @property
    def checkpoint(self) -> Path:
        return self.folder / "last.pt"

    def save(self) -> None:
        partial = self.checkpoint.with_suffix(".part")
        torch.save(
            {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "loss": self.loss.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "steps": self.steps,
                "seconds": self.seconds,
            },
            partial,
        )
        partial.replace(self.checkpoint)

    def restore(self, path: Path, *, clock: bool) -> None:
        stored = torch.load(path, weights_only=True)
        self.network.load_state_dict(stored["network"])
        self.average.load_state_dict(stored["average"])
        self.loss.load_state_dict(stored["loss"])
        if clock:
            self.optimiser.load_state_dict(stored["optimiser"])
            self.steps, self.seconds = stored["steps"], stored["seconds"]

    def step(self, batch: Batch, rate: float) -> tuple[float, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            lips = self.network.visual(batch.lips, batch.mouths)
            voice = self.network.audio(batch.mels)
        by_frame, by_clip = self.loss(lips.float(), voice.float(), batch.delays)
        self.optimiser.zero_grad(set_to_none=True)
        (by_frame + by_clip).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimiser.step()
        self.steps += 1
        self._follow(min(0.998, self.steps / (self.steps + 10)))
        return by_frame.item(), by_clip.item()

    @torch.no_grad()
    def _follow(self, keep: float) -> None:
        """The running average of the weights is what is examined and exported."""
        mine, theirs = self.average.state_dict(), self.network.state_dict()
        for name, value in mine.items():
            if value.is_floating_point():
                value.lerp_(theirs[name], 1 - keep)
            else:
                value.copy_(theirs[name])


def train(
    run: Run,
    train_clips: list[Clip],
    held: list[Clip],
    *,
    minutes: float,
    peak: float,
    seed: int,
) -> None:
    """Train until the run has used `minutes`, on a warm-up and a cosine over that time."""
    batches = Batches(train_clips, Mixture(), 32, LENGTHS, seed + run.steps)
    loader = torch.utils.data.DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=4)
    begun, before, shown, sums = time.monotonic(), run.seconds, 0.0, np.zeros(2)
    since = run.steps
    for batch in loader:
        run.seconds = before + time.monotonic() - begun
        spent = min(1.0, run.seconds / (60 * minutes))
        warm = min(1.0, (run.steps + 1) / 100)
        rate = peak * warm * (0.5 + 0.5 * math.cos(math.pi * spent)) + 1e-6
        sums += run.step(batch, rate)
        if run.seconds - shown > EVERY or spent >= 1.0:
            shown = run.seconds
            figures = {f"{w}": examine(run.average, held, w) for w in (50, 70)}
            line = {"steps": run.steps, "seconds": round(run.seconds), "held": figures}
            line["loss"] = (sums / max(1, run.steps - since)).round(3).tolist()
            print(json.dumps(line), flush=True)
            sums, since = np.zeros(2), run.steps
            run.save()
        if spent >= 1.0:
            return


def mean_weights(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of networks that began alike and learned from different batches ("model soup",
    Wortsman 2022): the cheap way to use a second processor."""
    return {
        name: torch.stack([state[name] for state in states]).mean(0)
        if value.is_floating_point()
        else value
        for name, value in states[0].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--features", type=Path, nargs="*", default=[])
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--sources", nargs="*", default=[], help="keep only these sources")
    parser.add_argument("--offsets", type=Path, help="JSON of training/sync_realign.py")
    parser.add_argument("--split", type=Path, default=SPLIT, help="CSV: file, speaker, split")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="begin with the weights of this checkpoint")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=PEAK_RATE, help="peak learning rate")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", action="store_true", help="write models/ instead of training")
    parser.add_argument(
        "--average", type=Path, nargs="*", default=[], help="checkpoints to average into the export"
    )
    parser.add_argument("--version", default="1")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    run = Run(arguments.run, arguments.seed)
    if run.checkpoint.exists():
        run.restore(run.checkpoint, clock=True)
    elif arguments.start:
        run.restore(arguments.start, clock=False)
    if arguments.export:
        others = [torch.load(path, weights_only=True)["average"] for path in arguments.average]
        path = export(
            mean_weights([run.average.state_dict(), *others]),
            name="syncnet_fcn",
            role="sync",
            layout="syncnet_fcn",
            version=arguments.version,
            licence=LICENCE,
        )
        print(f"{path}: {path.stat().st_size:,} bytes after {run.steps} steps")
        return
    delays = json.loads(arguments.offsets.read_text()) if arguments.offsets else {}
    clips = [
        clip
        for folder in arguments.features
        for clip in load_clips(folder, arguments.manifest, arguments.sources, delays)
    ]
    own, held = split(clips, arguments.split)
    print(f"{len(own)} clips to learn from, {len(held)} held out", flush=True)
    train(
        run,
        own,
        held,
        minutes=arguments.minutes,
        peak=arguments.rate,
        seed=arguments.seed,
    )


if __name__ == "__main__":
    main()
