"""docs/reliability.md, printed from what the fault tests measured in their last run.

make faults
python -m benchmarks.reliability [--json FILE] [--page FILE]
"""

import argparse
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "benchmarks" / "reliability.json"
PAGE = ROOT / "docs" / "reliability.md"

TESTS: tuple[tuple[str, str, str], ...] = (
    (
        "test_corruption",
        "WebM, MP4, AVI and MPEG, cut off at 500 places and with 3,000 bytes flipped",
        "no 5xx, no dead worker, 10 s each",
    ),
    (
        "test_bombs",
        "Small files of enormous content: pictures, frames, seconds, audio streams",
        "the right 4xx in 5 s, decoder under 400 MB",
    ),
    (
        "test_references",
        "Playlists, concat scripts, SDP and references to files and addresses",
        "nothing opened, nothing connected",
    ),
    (
        "test_paths",
        "200 hostile `video_path` strings and ids",
        "nothing outside the root is read",
    ),
    (
        "test_killed_worker",
        "SIGKILL of a scoring worker at random moments",
        "one result of every job, resumed in 30 s, no media left",
    ),
    (
        "test_postgres",
        "Two machines on one Postgres, one of them killed and never restarted",
        "one result of every job, taken over in 30 s, no media left",
    ),
    (
        "test_stopped_decoder",
        "SIGSTOP of a decoder",
        "killed at its limit ± 2 s",
    ),
    (
        "test_overload",
        "50 posts at once with a queue of 8",
        "refused in 200 ms, every accepted one finished, `/health` p99 100 ms",
    ),
    (
        "test_slow_uploads",
        "50 uploads at 10 bytes a second; bodies over the limit",
        "`/health` p99 500 ms; refused early, with and without a length",
    ),
    (
        "test_disk_full",
        "A full disk",
        "507, and recovery without a restart",
    ),
    (
        "test_drain",
        "SIGTERM under load",
        "not ready in 1 s, out in 25 s, nothing accepted is lost",
    ),
    (
        "test_idempotency",
        "50 parallel posts with one idempotency key",
        "one job",
    ),
    (
        "test_endurance",
        "1,000 scores in a row",
        "memory within 30 MiB of the hundredth, descriptors unchanged",
    ),
    (
        "test_privacy",
        "10,000 lines of log and metrics",
        "no name, key, path or session id",
    ),
    (
        "test_contract",
        "schemathesis over `/openapi.json`",
        "no undocumented status, no 5xx",
    ),
    (
        "test_weights",
        "One flipped byte in each weights file",
        "refused at load with its name",
    ),
)
"""Module of tests/faults, what is done to the service, and what must hold."""


def page(kept: dict[str, Any]) -> str:
    """The text of docs/reliability.md.

    kept: as the fault tests write it, by module: date, machine, soak (the long forms), and
    figures: values by name, of each test that keeps some.
    """
    lines = [
        "# Reliability",
        "",
        "What was done to the service, what must hold, and what was measured when it was last",
        "tried. `make faults` does all of it in under 15 minutes, `make soak` its long forms;",
        "each prints this page with `python -m benchmarks.reliability`. What must hold is asserted",
        "by the test of that name in `tests/faults`.",
        "",
        "| | What | Bound | Measured | Machine | Date |",
        "|---|---|---|---|---|---|",
    ]
    for number, (module, what, bound) in enumerate(TESTS, 1):
        entry = kept.get(module)
        last = f"{_measured(entry)} | {_machine(entry)} | {entry['date']}" if entry else _NOT
        lines.append(f"| {number} | {what} (`{module}`) | {bound} | {last} |")
    return "\n".join(lines) + "\n"


_NOT = "not yet | – | –"


def _measured(entry: dict[str, Any]) -> str:
    parts = []
    for name, values in entry["figures"].items():
        told = ", ".join(f"{key.replace('_', ' ')} {_text(value)}" for key, value in values.items())
        parts.append(f"**{name}**: {told}")
    return "<br>".join(parts)


def _text(value: str | int | float) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text.replace("|", "\\|")


def _machine(entry: dict[str, Any]) -> str:
    machine = entry["machine"]
    form = ", long form" if entry["soak"] else ""
    return f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB{form}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the figures of the fault tests.")
    parser.add_argument("--json", type=Path, default=FIGURES)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    kept = json.loads(options.json.read_text()) if options.json.exists() else {}
    options.page.write_text(page(kept))


if __name__ == "__main__":
    main()
