"""Write what is measured into README.md, models/README.md, a card and docs/networks.md.

    python -m evaluation.readme

One request with its real answer, from the service itself; tables of figures, from models/figures
and benchmarks/results.json, which `make figures` and `make bench` write. Nothing in between is
typed by hand.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from evaluation import speed, summary
from evaluation.samples import DEMO, talking_clip
from service.page.docs import pretty

ROOT = Path(__file__).resolve().parent.parent
LONGEST_LIST = 4
FIRST = (
    *("combined_score", "risk_level", "decision", "reason_codes", "inconclusive"),
    *("offset_frames", "confidence", "min_dist"),
)
"""Fields that are shown before all of them are."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--figures-only", action="store_true", help="leave the request as it is")
    readme, models = ROOT / "README.md", ROOT / "models" / "README.md"
    text = readme.read_text()
    if not parser.parse_args().figures_only:
        text = replaced(text, "request", request_and_answer())
    readme.write_text(replaced(text, "figures", summary.short()))
    models.write_text(replaced(models.read_text(), "figures", summary.full()))
    card = ROOT / "models" / "efficientnet_b0.md"
    card.write_text(replaced(card.read_text(), "shortcuts", summary.shortcuts()))
    networks = ROOT / "docs" / "networks.md"
    networks.write_text(replaced(networks.read_text(), "comparison", speed.comparison()))


def replaced(text: str, name: str, content: str) -> str:
    """`text` with what stands between `<!-- name -->` and `<!-- /name -->` replaced."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    head, _, rest = text.partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise ValueError(f"the page has no place called {name}")
    return f"{head}{begin}\n{content.strip()}\n{end}{tail}"


def request_and_answer() -> str:
    """What the service answers about the first clip of `make demo`."""
    from app import close, create_app

    app = create_app()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "in_sync.webm"
            talking_clip(path, **DEMO[path.name])
            with path.open("rb") as video:
                answer = app.test_client().post("/score", data={"video": (video, path.name)})
    finally:
        close(app)
    return shown(shortened(answer.get_json()))


def shown(answer: Any) -> str:
    """The request, of its answer what most come for, and on request the rest."""
    return (
        "```sh\ncurl -F video=@demo/in_sync.webm http://localhost:5000/score\n```\n\n"
        "The answer, beside much else:\n\n"
        f"{block({name: answer[name] for name in FIRST})}\n\n"
        "<details><summary>The whole answer (long lists shortened)</summary>\n\n"
        f"{block(answer)}\n\n</details>"
    )


def block(value: Any) -> str:
    """As JSON on a page."""
    return f"```json\n{pretty(value)}\n```"


def shortened(value: Any) -> Any:
    """The same answer with long lists cut and figures rounded, for reading."""
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        numbers = all(isinstance(item, int | float) for item in value)
        if numbers and len(value) > LONGEST_LIST:
            return [*shortened(value[:LONGEST_LIST]), f"… {len(value)} in all"]
        return [shortened(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
