"""Write the README's measured parts: one request with its real answer, and the table of figures.

    python -m evaluation.readme

Figures are read from models/*.figures.json and benchmarks/results.json, which the evaluations and
`make bench` write; the answer comes from the service itself. Nothing in between is typed by hand.
"""

import argparse
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evaluation.samples import DEMO, talking_clip

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
LONGEST_LIST = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--figures-only", action="store_true", help="leave the request as it is")
    readme = ROOT / "README.md"
    text = readme.read_text()
    if not parser.parse_args().figures_only:
        text = replaced(text, "request", request_and_answer())
    text = replaced(text, "figures", table())
    readme.write_text(text)


def replaced(text: str, name: str, content: str) -> str:
    """`text` with what stands between `<!-- name -->` and `<!-- /name -->` replaced."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    head, _, rest = text.partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise ValueError(f"the README has no place called {name}")
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
    body = inline_lists(json.dumps(shortened(answer.get_json()), indent=2, ensure_ascii=False))
    return (
        "```sh\ncurl -F video=@demo/in_sync.webm http://localhost:5000/score\n```\n\n"
        f"<details open><summary>The answer (long lists shortened)</summary>\n\n"
        f"```json\n{body}\n```\n\n</details>"
    )


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


def inline_lists(text: str) -> str:
    """Indented JSON with every list of plain values on one line."""
    return re.sub(r"\[[^][{}]+\]", lambda found: "[" + " ".join(found[0][1:-1].split()) + "]", text)


def table() -> str:
    rows = [*sync_rows(), *artifact_rows(), *face_rows(), *speed_rows()]
    return "\n".join(["| What | Figure |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])


def sync_rows() -> Iterator[tuple[str, str]]:
    figures = read(MODELS / "syncnet_fcn.figures.json")
    if not figures:
        return
    whole = figures["whole clips"]
    yield (
        "Sync: offset of whole clips within ±1 frame, as the corpora state",
        percent(whole["right as stated"]),
    )
    yield (
        "… with three clips counted as late as their lips show (see the card)",
        percent(whole["right"]),
    )
    shifted = figures["shifted sound"]
    yield (
        "Sync: sound shifted by ±3, ±7, ±12 frames, found within ±1, as the corpora state",
        percent(shifted["recovered as stated"]),
    )
    yield "… with the same three clips as their lips show", percent(shifted["recovered"])
    higher = figures["own against other"]["higher"]
    yield "Sync: own sound scores higher than another's", percent(higher)
    for length, window in figures["windows"].items():
        both = f"{percent(window['right'])}; AUC {interval(window['auc of score'], 'auc')}"
        yield f"Sync: {length} windows, offset found; own sound against another's", both


def artifact_rows() -> Iterator[tuple[str, str]]:
    kinds = {"dfdc": "face swaps (DFDC)", "gan": "StyleGAN faces", "composite": "photo composites"}
    for kind, figure in read(MODELS / "efficientnet_b0.figures.json").get("figures", {}).items():
        name = f"Artifacts: {kinds.get(kind, kind)}, one frame"
        yield name, f"AUC {interval(figure['auc'], 'value')}"


def face_rows() -> Iterator[tuple[str, str]]:
    figures = read(MODELS / "faces.figures.json").get("summary", {})
    if figures:
        yield "Faces: frames where the face is found", f"{100 * figures['matched_share']:.1f}%"
        yield (
            "Lip points: distance to the teacher's",
            f"{100 * figures['lip_error']:.1f}% of the eye distance",
        )


def speed_rows() -> Iterator[tuple[str, str]]:
    figures = read(ROOT / "benchmarks" / "results.json")
    if not figures:
        return
    service, machine = figures["service"], figures["machine"]
    on = f"{machine['cores']} cores of {machine['processor']}"
    yield "Four-second WebM, warm", f"{service['webm_4s']['median_s']:.2f} s ({on})"
    if "syncnet_example" in service:
        yield "SyncNet's 12.7 s example, warm", f"{service['syncnet_example']['median_s']:.2f} s"
    yield "First request, networks loaded", f"{service['first_request_s']:.2f} s"
    per_window = figures["embedding"]["ms_per_window"]
    fast = figures["embedding"]["auto_is"]
    yield (
        f"SyncNet v2 embedding, a window: the reference's way; ours in float32; in {fast}",
        (
            " ms; ".join(
                f"{per_window[way]['median']:.1f}" for way in ("reference", "float32", "auto")
            )
            + " ms"
        ),
    )
    yield "Largest process", f"{service['peak_memory_mb']['largest']:.0f} MB"


def read(path: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return figures


def percent(share: dict[str, Any]) -> str:
    low, high = (100 * edge for edge in share["interval"])
    return f"{100 * share['share']:.1f}% ({low:.1f} to {high:.1f}, n = {share['count']})"


def interval(figure: dict[str, Any], key: str) -> str:
    low, high = figure.get("interval") or (figure["low"], figure["high"])
    return f"{figure[key]:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
