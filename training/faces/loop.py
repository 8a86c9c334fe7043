"""One training run: time budget, schedule, checkpoints and a log of JSON lines."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

N = TypeVar("N", bound=nn.Module)
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Run(Generic[N, B]):
    """What a run needs.

    batches: from the step a run starts or goes on at, which belongs to their seed; losses: batch
    -> named terms whose sum is minimised; check: -> figures on the validation media; folder:
    where log and checkpoint go; minutes: of processor time, checks not counted, so that a busy
    machine makes a run longer but not worse.
    """

    network: N
    batches: Callable[[int], Iterator[B]]
    losses: Callable[[N, B], dict[str, Tensor]]
    check: Callable[[N], dict[str, float]]
    folder: Path
    name: str
    minutes: float
    rate: float = 2e-3
    decay: float = 1e-4
    check_every: float = 240.0
    """Seconds of processor time between checks; a checkpoint follows each."""


def train(run: Run[N, B]) -> N:
    """Train until the budget is spent; goes on from the checkpoint where there is one.

    The learning rate warms up over a hundredth of the budget and falls to nothing along half a
    cosine. The budget counts all calls together.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    checkpoint, log = run.folder / f"{run.name}.ckpt", run.folder / f"{run.name}.jsonl"
    optimiser = torch.optim.AdamW(
        run.network.parameters(), lr=run.rate, weight_decay=run.decay, betas=(0.9, 0.99)
    )
    spent, step = 0.0, 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        run.network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        spent, step = saved["spent"], saved["step"]
    budget, next_check = run.minutes * 60, spent + run.check_every
    means: dict[str, float] = {}
    batches = run.batches(step)
    run.network.train()
    while spent < budget:
        began = time.process_time()
        share = spent / budget
        warm = min(1.0, share / 0.01 + 0.02)
        for group in optimiser.param_groups:
            group["lr"] = (
                run.rate * warm * 0.5 * (1 + float(torch.cos(torch.tensor(share * 3.1416))))
            )
        terms = run.losses(run.network, next(batches))
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(run.network.parameters(), 5.0)
        optimiser.step()
        for key, value in terms.items():
            means[key] = 0.98 * means.get(key, value.item()) + 0.02 * value.item()
        step += 1
        spent += time.process_time() - began
        if spent >= next_check or spent >= budget:
            next_check = spent + run.check_every
            run.network.eval()
            figures = run.check(run.network)
            run.network.train()
            row = {"step": step, "minutes": round(spent / 60, 2), **means, **figures}
            with log.open("a") as file:
                file.write(json.dumps({k: round(v, 5) for k, v in row.items()}) + "\n")
            partial = checkpoint.with_suffix(".part")
            torch.save(
                {
                    "network": run.network.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "spent": spent,
                    "step": step,
                },
                partial,
            )
            partial.replace(checkpoint)
    return run.network.eval()
