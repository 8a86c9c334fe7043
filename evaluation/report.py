"""One evaluation as a JSON file and as one self-contained page.

What an evaluation of any kind (`sync.evaluate`, `artifact.evaluate`, `system.evaluate`) answers is
an Outcome:

    Outcome
    ├── figures      plain JSON of the evaluation's own layout; Figures by `dataclasses.asdict`
    ├── headlines    what a reader wants to know first: Headline(name, Figure, unit, note)
    ├── sections     Section(title, text, headlines, tables, plots), in reading order
    │   ├── tables   Table(title, columns, rows, note): one for the figures, one for each slicing
    │   └── plots    Plot(svg, caption): svg from evaluation.plots
    ├── networks     ModelInfo of every network that answered
    ├── rows         one mapping a measured file (file, label, source, …): `--files` writes them
    ├── failures     Failure(file, code, reason)
    └── calibration  CalibrationInfo, or None

Cells are text, numbers, Figures or None. A column or headline whose unit is "%" shows shares times
a hundred: columns say so by ending in " %".
"""

import csv
import io
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from evaluation.inputs import Item
from evaluation.journal import Failure
from evaluation.statistics import Figure
from syncnet_python.results import CalibrationInfo, ModelInfo

Kind = Literal["sync", "artifact", "system"]
Cell = str | int | float | Figure | None
TITLES: Mapping[Kind, str] = {
    "sync": "Lip-sync: is the offset found, is a stranger's voice told?",
    "artifact": "Face manipulation: are touched faces told from untouched ones?",
    "system": "The whole verdict: are genuine recordings told from fakes?",
}
TEMPLATES = Path(__file__).resolve().parent / "templates"
PACKAGES = ("torch", "numpy", "scikit-learn", "opencv-python-headless", "av")


@dataclass(frozen=True, slots=True)
class Headline:
    """A figure to read first. unit: "%" for a share, else what follows the number. target: what
    was aimed at, in words."""

    name: str
    figure: Figure | None
    unit: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """rows: one cell a column. note: what a reader must know to read it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """svg: markup from `evaluation.plots`, never from outside. caption: one or two sentences.
    wide: takes the whole width of the page."""

    svg: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    text: str = ""
    headlines: tuple[Headline, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an evaluation found; the fields are described above."""

    figures: dict[str, Any]
    headlines: tuple[Headline, ...]
    sections: tuple[Section, ...]
    networks: tuple[ModelInfo, ...]
    rows: tuple[Mapping[str, Any], ...] = ()
    failures: tuple[Failure, ...] = ()
    calibration: CalibrationInfo | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What was asked. kind: "sync", "artifact" or "system"; made: ISO date and time; command:
    what to type for the same again; versions: of what the figures may depend on."""

    kind: Kind
    made: str
    command: str
    items: tuple[Item, ...]
    versions: Mapping[str, str]


def versions() -> dict[str, str]:
    """Of Python and of the packages that figures may depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a checkout that is not installed
            continue
    return found


def counts(items: Sequence[Item]) -> dict[str, dict[str, dict[str, int]]]:
    """Files by source and by condition, each by label; those without one under ""."""
    result: dict[str, dict[str, dict[str, int]]] = {"source": {}, "condition": {}}
    for item in items:
        for field, name in (("source", item.source), ("condition", item.condition)):
            of_name = result[field].setdefault(name, {"real": 0, "fake": 0})
            of_name[item.label] += 1
    return result


def measured(run: Run, outcome: Outcome) -> int:
    """How many files were; one that only failed under a condition, named with it, was."""
    failed = {failure.file for failure in outcome.failures}
    return sum(item.name not in failed for item in run.items)


def as_json(run: Run, outcome: Outcome) -> str:
    """The text of the JSON file. Its layout is in docs/evaluation.md."""
    body = {
        "kind": run.kind,
        "made": run.made,
        "command": run.command,
        "versions": dict(run.versions),
        "files": {
            "listed": len(run.items),
            "measured": measured(run, outcome),
            **{f"by {field}": of for field, of in counts(run.items).items()},
        },
        "networks": [asdict(info) for info in outcome.networks],
        "calibration": asdict(outcome.calibration) if outcome.calibration else None,
        "figures": outcome.figures,
        "failures": [asdict(failure) for failure in outcome.failures],
    }
    return json.dumps(_rounded(body), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_html(run: Run, outcome: Outcome) -> str:
    """The text of the page: no script, no request, every name escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": cell, "svg": Markup}
    template = environment.get_template("report.html")
    return template.render(
        run=run,
        outcome=outcome,
        title=TITLES[run.kind],
        measured=measured(run, outcome),
        about=(*_listed(run.items), _networks(outcome.networks)),
        number=value_text,
        ends=interval_text,
    )


def _listed(items: Sequence[Item]) -> list[Table]:
    """How many files there are of every source and condition."""
    tables = []
    for field, of_field in counts(items).items():
        if set(of_field) == {""}:
            continue
        rows = [(name or "(none)", of["real"], of["fake"]) for name, of in of_field.items()]
        tables.append(Table(f"Files by {field}", (field, "genuine", "fake"), tuple(rows)))
    if not tables:
        real = sum(item.real for item in items)
        return [Table("Files", ("genuine", "fake"), ((real, len(items) - real),))]
    return tables


def _networks(networks: Sequence[ModelInfo]) -> Table:
    rows = [(info.name, info.version, info.origin, info.sha256) for info in networks]
    return Table("Networks", ("name", "version", "origin", "SHA-256"), tuple(rows))


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """One row a measured file, with every column that any of them has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def cell(value: Cell, unit: str = "") -> Markup:
    """A cell as markup: a number to three digits, a share as per cent, a Figure with its interval;
    a dash for None."""
    if value is None:
        return Markup("–")
    if isinstance(value, Figure):
        shown = Markup("<b>{}</b>").format(_number(value.value, unit))
        if value.low is None or value.high is None:
            return shown
        ends = f"{_number(value.low, unit)} to {_number(value.high, unit)}"
        return shown + Markup(' <span class="interval">{}</span>').format(ends)
    if isinstance(value, float):
        return escape(_number(value, unit))
    return escape(f"{value:,}" if isinstance(value, int) else value)


def _number(value: float, unit: str) -> str:
    return f"{100 * value:.1f}" if unit == "%" else f"{value:.3f}"


def value_text(line: Headline) -> str:
    """A headline's value with its unit; a dash where there is none."""
    if line.figure is None:
        return "–"
    unit = "%" if line.unit == "%" else f" {line.unit}".rstrip()
    return _number(line.figure.value, line.unit) + unit


def interval_text(line: Headline) -> str:
    """A headline's 95% interval; empty where there is none."""
    figure = line.figure
    if figure is None or figure.low is None or figure.high is None:
        return ""
    return f"{_number(figure.low, line.unit)} to {_number(figure.high, line.unit)}"


def _rounded(value: Any) -> Any:
    """Floats to six digits: more is not known, and makes files that differ for no reason."""
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value
