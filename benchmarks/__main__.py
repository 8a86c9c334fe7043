"""`make bench`: every timed figure as JSON, with the machine it was measured on.

python -m benchmarks [--example FILE] [--minutes N ...] [--json FILE]
"""

import argparse
import json
from pathlib import Path

from benchmarks import batch, embedding, long, networks, service, stream
from benchmarks.machine import describe

EXAMPLE = Path(__file__).resolve().parents[2] / "shared/data/sync_val/syncnet_example.avi"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure speed and memory.")
    parser.add_argument("--example", type=Path, default=EXAMPLE if EXAMPLE.exists() else None)
    parser.add_argument(
        "--minutes", type=float, nargs="+", default=long.MINUTES, help="of the long recordings"
    )
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results.json"))
    options = parser.parse_args()
    figures = {
        "machine": describe(),
        "service": service.measure(options.example),
        "embedding": embedding.measure(),
        "networks": networks.measure(),
        "batch": batch.measure(clips=8, rounds=2),
        "long": long.measure(options.minutes),
        "stream": stream.measure(),
    }
    text = json.dumps(figures, indent=2)
    options.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
