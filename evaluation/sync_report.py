"""What is said of sync networks: headlines, tables and plots from `sync_figures`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from evaluation import detection, plots, sync_figures
from evaluation.detection import Scored
from evaluation.journal import Progress
from evaluation.report import Cell, Headline, Outcome, Plot, Section, Table
from evaluation.statistics import Figure
from evaluation.sync_figures import DISTURBED_S, Recorded, area, seen_truth, stated_truth
from evaluation.sync_trials import Embedder
from syncnet_python.calibration import Thresholds

TARGETS: Mapping[float, float] = {2: 0.85, 4: 0.95}
"""Share of windows whose offset is to be found, by seconds."""

SHIPPED = {
    "real": Thresholds().real,
    "allow": Thresholds().allow,
    "next": Thresholds().next,
}


def outcome(
    networks: Sequence[tuple[str, Embedder]],
    recorded: Mapping[str, Sequence[Recorded]],
    progress: Progress,
) -> Outcome:
    """Everything that is said, without the networks' infos and the failures."""
    found = {
        name: sync_figures.of_network(network, recorded[name], progress)
        for name, network in networks
    }
    headlines = tuple(line for name, of in found.items() for line in _headlines(name, of))
    sections = tuple(section for name, of in found.items() for section in _sections(name, of))
    figures = {name: _plain(of) for name, of in found.items()}
    rows = tuple(_row(name, one) for name, of in recorded.items() for one in of)
    errors = {
        name: [one.found["offset_frames"] - seen_truth(one.item) for one in of if not one.disturbed]
        for name, of in recorded.items()
    }
    drawn = tuple(
        Plot(plots.offset_errors(of, f"Offsets of whole recordings: {name}"))
        for name, of in errors.items()
        if of
    )
    curves: dict[str, dict[float, Figure | None]] = {
        name: {float(length.split()[0]): of["as stated"] for length, of in f["windows"].items()}
        for name, f in found.items()
    }
    overview = Section(
        "Is the offset found?",
        "Windows of each length, wherever they fit, as stated by the collections.",
        plots=(Plot(plots.accuracy_by_length(curves, targets=TARGETS), wide=True), *drawn),
    )
    return Outcome(figures, headlines, (overview, *sections), (), rows)


def _headlines(name: str, of: Mapping[str, Any]) -> list[Headline]:
    lines = [
        Headline(f"{name}: offset within ±1, {s} s windows", of["windows"][f"{s} s"]["as stated"],
                 "%", f"at least {100 * TARGETS[s]:g}%")
        for s in sorted(TARGETS, reverse=True)
        if f"{s} s" in of["windows"]
    ]  # fmt: skip
    for seconds in ("4 s", "2 s"):
        for other, against in of["told"].get(seconds, {}).items():
            target = {"another's": "at least 0.98", "shifted": "at least 0.97"}[other]
            lines.append(
                Headline(
                    f"{name}: AUC own against {other} sound, {seconds}",
                    area(against["scored"]),
                    target=target if seconds == "4 s" else "",
                )
            )
    lines.append(
        Headline(f"{name}: sub-frame error", of["between frames"]["of a shift"], "frames",
                 "under 0.4")
    )  # fmt: skip
    lines.append(Headline(f"{name}: inconclusive", of["inconclusive"], "%", "at most 5%"))
    losses = [f["lost at 2 s"] for f in of["disturbed"].values() if f.get("lost at 2 s")]
    if losses:
        worst = max(losses, key=lambda figure: figure.value)
        lines.append(
            Headline(f"{name}: most lost under a disturbance, 2 s", worst, "%", "at most 10")
        )
    return lines


def _sections(name: str, of: Mapping[str, Any]) -> list[Section]:
    windows = Table(
        "Offset found, %",
        ("window", "as stated %", "as seen %", "each recording alike %", "windows", "recordings"),
        (
            *(
                (
                    length,
                    f["as stated"],
                    f["as seen"],
                    f["each recording alike"],
                    f["as stated"].count,
                    f["recordings"],
                )
                for length, f in of["windows"].items()
            ),
            ("whole", *of["whole recordings"].values(), None, None, of["recordings"]),
        ),
        "Within ±1 frame, or the tolerance that the list gives. Long recordings have many windows; "
        "the third figure, as stated, counts every recording once.",
    )
    sliced = tuple(
        Table(f"Windows of 2 s {by}", ("", "found %", "windows"),
              tuple((n, f, f.count if f else 0) for n, f in of[by].items()))
        for by in ("by source", "by condition", "by turn")
        if any(of[by].values())
    )  # fmt: skip
    sections = [Section(f"{name}: offsets", tables=(windows, *sliced))]
    for other, title in (("another's", "another's sound"), ("shifted", "the same sound shifted")):
        scored = {s: f[other]["scored"] for s, f in of["told"].items() if other in f}
        if not scored:
            continue
        measured = {s: detection.measure(one, SHIPPED) for s, one in scored.items()}
        near = Table(
            "AUC of the distance near no offset",
            ("window", "AUC"),
            tuple((s, f[other]["near"]) for s, f in of["told"].items() if other in f),
            "The lowest distance within a frame of no offset, instead of the score.",
        )
        sections.append(
            Section(
                f"{name}: own sound against {title}",
                tables=(detection.table("By the score", measured), near),
                plots=detection.pictures(scored, SHIPPED, f"Own sound against {title}"),
            )
        )
    if of["disturbed"]:
        columns = ("recordings", *(f"{s} s" for s in DISTURBED_S),
                   *(f"lost at {s} s" for s in DISTURBED_S), "another's", "shifted")  # fmt: skip
        rows: list[tuple[Cell, ...]] = [
            (condition, *(f.get(column) for column in columns))
            for condition, f in of["disturbed"].items()
        ]
        titles = tuple(f"{c} %" if " s" in c else c for c in columns)
        note = "AUC of the score on 2 s: own sound against another's, and against itself shifted."
        table = Table("Under disturbances", ("", *titles), tuple(rows), note)
        sections.append(Section(f"{name}: disturbances", tables=(table,)))
    return sections


def _plain(of: Mapping[str, Any]) -> dict[str, Any]:
    """Plain JSON: Figures as mappings, scored sets as their detection figures."""

    def plain(value: Any) -> Any:
        if isinstance(value, Figure):
            return asdict(value)
        if isinstance(value, Scored):
            return asdict(detection.measure(value, SHIPPED))
        if isinstance(value, Mapping):
            return {str(key): plain(inner) for key, inner in value.items()}
        return value

    result: dict[str, Any] = plain(of)
    return result


def _row(name: str, one: Recorded) -> dict[str, Any]:
    item = one.item
    return {
        "network": name,
        "file": item.name,
        "label": item.label,
        "source": item.source,
        "condition": one.condition,
        "group": item.group,
        "offset": item.offset,
        "stated": stated_truth(item),
        **{key: " ".join(v) if isinstance(v, list) else v for key, v in one.found.items()},
        "right": one.is_right(seen_truth),
        "right as stated": one.is_right(stated_truth),
    }
