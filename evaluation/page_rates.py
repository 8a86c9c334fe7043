"""Write the few error rates that the page shows beside a verdict, from models/figures.

    python -m evaluation.page_rates

The page shows a row only where the weights that answered are those that were measured, so every
part names the SHA-256 of its own.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.speed import read
from evaluation.summary import CROPS, FOLDER, PHOTOS, VIDEOS

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "service" / "page" / "static" / "rates.json"

SYNC_LENGTH = "4 s"
"""Of the windows that lip-sync is shown for: as long as the page records."""

_SYNC = {"another's": "other_voice", "shifted": "shifted_sound"}
_FACES = (
    (CROPS, "frames", "face swap", "face_swap"),
    (PHOTOS, "frames", "generated photograph", "generated_photo"),
    (PHOTOS, "frames", "photo composite", "photo_composite"),
    (VIDEOS, "videos", None, "talking_head"),
)
_SYSTEM = ("dubbed", "shifted", "swapped", "generated")

Row = dict[str, Any]


def rates(folder: Path = FOLDER) -> dict[str, Any]:
    """What the page shows, by part: `verdict`, and `parts` by the name of the network.

    A row says what genuine recordings were compared `against`, and at which `threshold`; `refused`
    is the share of genuine ones below it, `accepted` that of fakes above, each with its 95%
    interval (`low`, `high`) and `count`; null where there were none to compare.
    """
    parts: dict[str, Any] = {}
    sync = read(folder / "sync.json")
    for name, found in sync.get("figures", {}).items():
        told = found["told"][SYNC_LENGTH]
        rows = [_row(_SYNC[other], pair["scored"]) for other, pair in told.items()]
        parts[name] = {"sha256": _hashes(sync)[name], "rows": rows}
    for file, unit, condition, against in _FACES:
        measured = read(folder / f"{file}.json")
        for name, units in measured.get("figures", {}).items():
            found = units[unit]
            detection = found["by condition"][condition] if condition else found["all"]
            part = parts.setdefault(name, {"sha256": _hashes(measured)[name], "rows": []})
            part["rows"].append(_row(against, detection))
    return {"verdict": _verdict(read(folder / "system.json")), "parts": parts}


def text(folder: Path = FOLDER) -> str:
    """The file as it is written."""
    return json.dumps(rates(folder), indent=1, allow_nan=False) + "\n"


def main() -> None:
    beside = TARGET.with_name(f".{TARGET.name}")
    beside.write_text(text())
    beside.replace(TARGET)


def _verdict(measured: Mapping[str, Any]) -> dict[str, Any]:
    figures = measured["figures"]
    kinds = {"all": figures["all"]["fused"]}
    kinds |= {name: figures["by condition"][name] for name in _SYSTEM}
    return {
        "networks": _hashes(measured),
        "rows": [_row(against, detection) for against, detection in kinds.items()],
    }


def _row(against: str, detection: Mapping[str, Any]) -> Row:
    """Of the first threshold, above which a recording counts as likely real."""
    at = next(iter(detection["at"].values()))
    return {
        "against": against,
        "threshold": at["threshold"],
        "refused": _short(at["false_reject"]),
        "accepted": _short(at["false_accept"]),
    }


def _short(figure: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Three digits are more than the samples determine."""
    if figure is None:
        return None
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in figure.items()}


def _hashes(measured: Mapping[str, Any]) -> dict[str, str]:
    return {network["name"]: network["sha256"] for network in measured["networks"]}


if __name__ == "__main__":
    main()
