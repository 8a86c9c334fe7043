"""Throughput of a batch with one worker and with two, over the same clips, in one run.

    python -m benchmarks.batch [--clips 16] [--rounds 3]

What is compared is like with like: one worker with one processor thread, and two workers with one
thread each. A worker that is alone would by default have every core (`one_worker_all_cores`), which
is what a user of `--max-workers 1` gets; that figure stands beside the others, and the ratio to it.
Rounds take turns, so that what else the machine does meets all of them; the medians are compared.
`others_busy` says how many cores other programs kept busy meanwhile: above a tenth or so, the
ratio is theirs as much as ours.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import describe
from evaluation.samples import talking_clip
from service.settings import from_json
from workflows.batch import running as batch
from workflows.batch import workers as batch_workers
from workflows.batch.inputs import Inputs, find
from workflows.batch.results import Outcome, Results
from workflows.batch.running import Order

SECONDS = 4.0
DEMANDED = 1.8
WAYS = {"one_worker": (1, 1), "two_workers": (2, 1), "one_worker_all_cores": (1, 0)}
"""Workers and threads of each; 0 for as many as there are cores."""


@dataclass(slots=True)
class _Times:
    """When outcomes came, and when the first analysis began, on the clock of `time.monotonic`."""

    start: float
    first: float = float("inf")
    last: float = 0.0

    def told(self, done: int, total: int, outcome: Outcome | None) -> None:
        if outcome is not None:
            if isinstance(outcome.result, Exception):
                raise outcome.result
            self.last = time.monotonic()
            self.first = min(self.first, self.last - (outcome.seconds or 0.0))


def measure(clips: int = 16, rounds: int = 3) -> dict[str, Any]:
    """Clips a second of each way, networks loaded, and how many times one worker's two have."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(clips):
            path = Path(folder) / "clips" / f"{number}.mp4"
            path.parent.mkdir(exist_ok=True)
            talking_clip(path, seconds=SECONDS, container="mp4-h264-aac", seed=number)
        inputs = find([str(Path(folder) / "clips")])
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for number in range(rounds):
            for way, (workers, threads) in WAYS.items():
                out = Path(folder) / f"{way}-{number}"
                runs[way].append(_run(inputs, out, workers, threads or batch_workers.cores()))
    rates = {way: median(run["clips_per_second"] for run in runs[way]) for way in WAYS}
    ratio = rates["two_workers"] / rates["one_worker"]
    return {
        "clips": clips,
        "clip_seconds": SECONDS,
        "runs": runs,
        "clips_per_second": rates,
        "two_workers_over_one": round(ratio, 3),
        "two_workers_over_one_with_all_cores": round(
            rates["two_workers"] / rates["one_worker_all_cores"], 3
        ),
        "demanded": DEMANDED,
        "reached": ratio >= DEMANDED,
    }


def _run(inputs: Inputs, out: Path, workers: int, threads: int) -> dict[str, float]:
    settings = from_json('{"model_profile": "bundled"}')  # whatever the environment says
    work = batch_workers.Work(workers, threads)

    def score(orders: Sequence[Order], _: Results) -> Generator[Outcome, None, None]:
        return batch_workers.score(orders, settings, work)

    used, busy = _own_cpu_s(), _busy_s()
    times = _Times(time.monotonic())
    with Results(out) as results:
        batch.run(inputs, results, batch_workers.plan(settings, work), score, times.told)
    seconds, used, busy = time.monotonic() - times.start, _own_cpu_s() - used, _busy_s() - busy
    count = len(inputs.items)
    return {
        "clips_per_second": round(count / (times.last - times.first), 4),
        "with_start_and_loading": round(count / (times.last - times.start), 4),
        "processor_seconds": round(used, 2),
        "others_busy": round(max(0.0, busy - used) / seconds, 2),
    }


def _own_cpu_s() -> float:
    """Processor time of this process and of those it has waited for."""
    return sum(os.times()[:4])


def _busy_s() -> float:
    """Processor time of everything on this machine (Linux)."""
    user, nice, system, _, _, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the throughput of batches.")
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    figures = {"machine": describe(), "batch": measure(options.clips, options.rounds)}
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
