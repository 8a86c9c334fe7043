"""Many recordings at once: what is to be done, what came of it, and the sum of it.

`run` neither scores nor waits itself: `batch_workers.score` does so in processes of this machine,
`batch_jobs.score` as durable jobs on every worker machine. What is done stays done: a later run
takes up only what is missing.
"""

import contextlib
import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal

from workflows.batch.inputs import Inputs, Item
from workflows.batch.results import CSV, JSONL, SUMMARY, Kept, Outcome, Results, final, write_json


@dataclass(frozen=True, slots=True)
class Order:
    """A file to be scored. key: as of `Outcome`; attempt: how many jobs were made for this key and
    have led nowhere."""

    item: Item
    key: str
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """How a batch is done, for its summary.

    mode: in processes of this machine, or as jobs; options: what the outcomes depend on, which a
    file is scored anew for; about: the rest, such as how many workers there are.
    """

    mode: Literal["processes", "jobs"]
    options: Mapping[str, Any]
    about: Mapping[str, Any]


Score = Callable[[Sequence[Order], Results], Generator[Outcome, None, None]]
"""What scores, for the batch of these results: every order's outcome, as they come. What is not
about one file is raised and ends the batch."""

Told = Callable[[int, int, Outcome | None], None]
"""Called with how many files are done, how many there are, and the outcome that was kept now; once
before the first one."""


def run(
    inputs: Inputs, results: Results, plan: Plan, score: Score, told: Told, *, again: bool = False
) -> dict[str, Any]:
    """Score what is missing, and return the summary, which is in the folder then, as it is where
    this is interrupted. again: score everything, whatever is there."""
    if again:
        results.forget()
    keys = {item.path: key_of(item, plan.options) for item in inputs.items}
    todo, done = _divided(inputs.items, results, keys)
    results.begin(inputs.items, inputs.columns, done)
    told(len(done), len(inputs.items), None)
    clock = _Clock()
    finished = False
    try:
        with contextlib.closing(score(todo, results)) as outcomes:
            for count, outcome in enumerate(outcomes, len(done) + 1):
                clock.heard(results.put(outcome))
                told(count, len(inputs.items), outcome)
        finished = True
    finally:
        results.finish(inputs.items)
        known = [(item, k) for item in inputs.items if (k := results.get(item))]
        current = [(item, kept) for item, kept in known if kept.key == keys[item.path]]
        summary = {
            **_counts(inputs, current, earlier=len(done)),
            "throughput": clock.throughput(),
            "mode": plan.mode,
            **plan.about,
            "options": dict(plan.options),
            "models": {name: dict(info) for _, k in current for name, info in k.models.items()},
            "started": _moment(clock.began),
            "finished": _moment(datetime.now(UTC)),
            "whole": finished,
            "results": [JSONL, CSV],
        }
        write_json(results.folder / SUMMARY, summary)
    return summary


def key_of(item: Item, options: Mapping[str, Any]) -> str:
    """What an outcome is found again by: the file's path, size and time, and the options."""
    try:
        stat = item.path.stat()
        seen = [stat.st_size, stat.st_mtime_ns]
    except OSError:
        seen = []
    text = json.dumps([str(item.path), seen, options], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _divided(
    items: Sequence[Item], results: Results, keys: Mapping[Path, str]
) -> tuple[list[Order], list[Item]]:
    """What is to be scored, and the items that need not be."""
    todo, done = [], []
    for item in items:
        key, kept = keys[item.path], results.get(item)
        known = kept if kept and kept.key == key else None
        if known and (known.error is None or final(known.error)):
            done.append(item)
        else:
            todo.append(Order(item, key, known.attempt + 1 if known else 0))
    return todo, done


class _Clock:
    """Times of one run. Each file's seconds are in its row."""

    def __init__(self) -> None:
        self.began = datetime.now(UTC)
        self._began = time.monotonic()
        self.files = 0
        self.video_s = 0.0

    def heard(self, kept: Kept) -> None:
        self.files += 1
        self.video_s += float(kept.flat.get("duration_s") or 0.0)

    def throughput(self) -> dict[str, float]:
        seconds = time.monotonic() - self._began
        return {
            "seconds": round(seconds, 3),
            "files": self.files,
            "files_per_minute": round(60 * self.files / seconds, 2),
            "video_seconds_per_second": round(self.video_s / seconds, 2),
        }


def _counts(
    inputs: Inputs, current: Sequence[tuple[Item, Kept]], *, earlier: int
) -> dict[str, Any]:
    """current: what is known of the inputs as they are and under these options."""
    scored = [kept for _, kept in current if kept.error is None]
    failed = [(item, kept.error) for item, kept in current if kept.error is not None]
    return {
        "files": {
            "total": len(inputs.items),
            "scored": len(scored),
            "failed": len(failed),
            "not_done": len(inputs.items) - len(current),
            "of_earlier_runs": earlier,
            "left_out": inputs.left_out,
        },
        "by_risk": dict(sorted(Counter(str(k.flat["risk"]) for k in scored).items())),
        "by_decision": dict(sorted(Counter(str(k.flat["decision"]) for k in scored).items())),
        "inconclusive": sum(bool(k.flat["inconclusive"]) for k in scored),
        "failures": dict(sorted(Counter(error["code"] for _, error in failed).items())),
        "failed_files": [{"file": item.file, **error} for item, error in failed],
        "seconds": _spread([k.seconds for k in scored if k.seconds is not None]),
    }


def _spread(values: list[float]) -> dict[str, float] | None:
    """Mean, median and 95th percentile (nearest rank); None of nothing."""
    if not values:
        return None
    ranked = sorted(values)
    figures = {
        "mean": fmean(ranked),
        "median": median(ranked),
        "p95": ranked[math.ceil(0.95 * len(ranked)) - 1],
        "max": ranked[-1],
    }
    return {name: round(figure, 3) for name, figure in figures.items()}


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
