"""Pictures of figures, as SVG markup for a page.

Text and axes take the colour of the text around them (`currentColor`), so that they are readable
on paper and in the dark; the data's colours are Okabe & Ito's (2008), which the colour-blind can
tell apart, and curves differ in their dashes too. Matplotlib's object interface only: nothing
global is changed, and the same figures always give the same markup.
"""

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from scipy.special import ndtri

from evaluation import statistics
from evaluation.statistics import Figure, Labels, Scores

Scored = tuple[Scores, Labels]
"""Scores, and which of them are of genuine ones."""

BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
)
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW)
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1.5, 2)))
INK = "#010203"
"""Stands for the colour of the text around the picture."""

SIZE = (5.2, 3.9)
WIDE = (10.4, 3.6)
CHARACTERS = 9.4
"""Of a title that fit into an inch."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "syncnet",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
}
DET_TICKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9, 0.98)


def roc(curves: Mapping[str, Scored], title: str = "Genuine against fake") -> str:
    """Receiver operating characteristic of each scoring, with its area. Scorings that lack
    genuine ones or fakes are left out."""

    def draw(axes: Axes) -> None:
        for number, (name, (scores, genuine)) in enumerate(_complete(curves).items()):
            accepted, kept = statistics.roc(scores, genuine)
            area = statistics.auc(scores, genuine)
            axes.plot(100 * accepted, 100 * kept, **_line(number), label=f"{name} (AUC {area:.3f})")
        axes.plot([0, 100], [0, 100], color=INK, alpha=0.4, linewidth=1, linestyle=":")
        axes.set(xlim=(-1, 101), ylim=(-1, 101))
        axes.set(xlabel="Fakes accepted, %", ylabel="Genuine accepted, %")
        _legend(axes, loc="lower right")

    return _svg(draw, f"{title}: ROC")


def det(curves: Mapping[str, Scored], title: str = "Genuine against fake") -> str:
    """Detection-error trade-off on normal-deviate axes (Martin et al. 1997), where normally
    distributed scores give straight lines; the diagonal marks equal errors."""

    def draw(axes: Axes) -> None:
        lowest = 0.05
        for number, (name, (scores, genuine)) in enumerate(_complete(curves).items()):
            accepted, refused = statistics.det(scores, genuine)
            # An error never seen is drawn at half of one: 0 has no place on these axes.
            floor = 0.5 / max(genuine.sum(), (~genuine).sum())
            lowest = min(lowest, floor)
            at = [ndtri(np.clip(rate, floor, 1 - floor)) for rate in (accepted, refused)]
            eer = 100 * statistics.equal_error_rate(scores, genuine)
            axes.plot(*at, **_line(number), label=f"{name} (EER {eer:.1f}%)")
        span = ndtri(max(lowest, 5e-4)), ndtri(0.95)
        axes.plot(span, span, color=INK, alpha=0.4, linewidth=1, linestyle=":")
        ticks = [tick for tick in DET_TICKS if span[0] <= ndtri(tick) <= span[1]]
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks([float(ndtri(t)) for t in ticks], [f"{100 * t:g}" for t in ticks])
        axes.set(xlim=span, ylim=span)
        axes.set(xlabel="Fakes accepted, %", ylabel="Genuine refused, %")
        _legend(axes, loc="upper right")

    return _svg(draw, f"{title}: error trade-off (DET)")


def histograms(
    groups: Mapping[str, Sequence[float] | Scores],
    title: str = "Scores",
    *,
    xlabel: str = "Score (0-1)",
    limits: tuple[float, float] = (0.0, 1.0),
    thresholds: Mapping[str, float] | None = None,
) -> str:
    """How the scores of each group spread, as shares of that group, with the thresholds that
    count."""

    def draw(axes: Axes) -> None:
        edges = np.linspace(*limits, 31)
        for number, (name, values) in enumerate(groups.items()):
            if not len(values):
                continue
            counts, _ = np.histogram(np.clip(values, *limits), edges)
            axes.stairs(
                100 * counts / len(values),
                edges,
                fill=True,
                alpha=0.28,
                color=COLOURS[number % len(COLOURS)],
            )
            axes.stairs(
                100 * counts / len(values), edges, **_line(number), label=f"{name} ({len(values)})"
            )
        for name, value in (thresholds or {}).items():
            axes.axvline(value, color=INK, linewidth=1, linestyle=(0, (4, 2)), alpha=0.7)
            axes.annotate(
                name,
                (value, 1),
                xycoords=("data", "axes fraction"),
                xytext=(2, -2),
                textcoords="offset points",
                rotation=90,
                va="top",
                fontsize=8,
            )
        axes.set(xlim=limits, xlabel=xlabel, ylabel="Share of the group, %")
        _legend(axes, loc="upper left", bbox_to_anchor=(0, -0.18), ncols=3, borderaxespad=0)

    return _svg(draw, title)


def reliability(
    curves: Mapping[str, Scored], title: str = "Does the score mean what it says?"
) -> str:
    """Share of genuine ones by score, over ten bins; the size of a dot says how many it stands
    for. On the diagonal a score is a probability."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 100], color=INK, alpha=0.4, linewidth=1, linestyle=":")
        for number, (name, (scores, genuine)) in enumerate(curves.items()):
            if not len(scores):
                continue
            bins = statistics.reliability(scores, genuine)
            counts = np.asarray(bins.counts)
            colour = COLOURS[number % len(COLOURS)]
            error = statistics.calibration_error(scores, genuine)
            true = 100 * np.asarray(bins.true)
            axes.plot(bins.said, true, **_line(number), label=f"{name} (error {error:.3f})")
            axes.scatter(bins.said, true, s=12 + 160 * counts / counts.sum(), color=colour)
            ends = np.array(
                [statistics.wilson(p, n) for p, n in zip(bins.true, bins.counts, strict=True)]
            )
            axes.vlines(bins.said, *(100 * ends.T), color=colour, alpha=0.45, linewidth=1)
        axes.set(xlim=(-0.02, 1.02), ylim=(-2, 102))
        axes.set(xlabel="Score (0-1)", ylabel="Genuine among them, %")
        _legend(axes, loc="upper left")

    return _svg(draw, title)


def offset_errors(
    errors: Sequence[float] | Scores,
    title: str = "Errors of the offset",
    *,
    tolerance: float = 1.0,
    reach: int = 15,
) -> str:
    """Found minus true offset in frames; those beyond ±reach are counted at the ends."""

    def draw(axes: Axes) -> None:
        values = np.clip(np.asarray(errors, np.float64), -reach, reach)
        edges = np.arange(-reach - 0.5, reach + 1)
        counts, _ = np.histogram(values, edges)
        at = np.arange(-reach, reach + 1)
        right = np.abs(at) <= tolerance
        shares = 100 * counts / max(len(values), 1)
        axes.bar(at[right], shares[right], width=0.85, color=BLUE, label=f"within ±{tolerance:g}")
        axes.bar(at[~right], shares[~right], width=0.85, color=ORANGE, label="farther off")
        axes.set(xlim=(-reach - 0.7, reach + 0.7))
        axes.set(
            xlabel="Error, frames of 40 ms (found − true)",
            ylabel=f"Share of {len(values)} measurements, %",
        )
        _legend(axes, loc="upper left")

    return _svg(draw, title)


def accuracy_by_length(
    curves: Mapping[str, Mapping[float, Figure | None]],
    title: str = "Offset found within ±1 frame",
    *,
    targets: Mapping[float, float] | None = None,
    ylabel: str = "Within ±1 frame, %",
) -> str:
    """Shares against window length in seconds, with their 95% intervals; a wide picture. curves:
    by name, then by seconds; targets: share aimed at, by seconds."""

    def draw(axes: Axes) -> None:
        for number, (name, points) in enumerate(curves.items()):
            there = {at: figure for at, figure in sorted(points.items()) if figure is not None}
            at = np.array(list(there)) + 0.05 * number  # so that bars of two curves stay apart
            values = np.array([figure.value for figure in there.values()])
            ends = [(f.low or f.value, f.high or f.value) for f in there.values()]
            low, high = np.array(ends).reshape(-1, 2).T
            bars = 100 * np.maximum(0, [values - low, high - values])
            line = _line(number)
            axes.errorbar(
                at, 100 * values, bars, **line, marker="o", markersize=4, capsize=3, label=name
            )
        if targets:
            at_target = list(targets)
            aims = [100 * share for share in targets.values()]
            axes.scatter(at_target, aims, marker="_", s=140, color=INK, label="target", zorder=3)
        axes.set(xlabel="Window length, s", ylabel=ylabel)
        axes.set_ylim(top=101)
        _legend(axes, loc="lower right")

    return _svg(draw, title, WIDE)


def timeline(
    times: Sequence[float],
    offsets: Sequence[float | None],
    low: Sequence[float | None],
    high: Sequence[float | None],
    title: str = "Offset through the recording",
    *,
    changes: Sequence[float] = (),
    truth: Callable[[float], float] | None = None,
) -> str:
    """The offset moment by moment in frames, with its confidence band; None leaves a gap.
    changes: seconds at which a jump was found; truth: offset at a time, where it is known."""

    def draw(axes: Axes) -> None:
        middle, bottom, top = (np.array(v, np.float64) for v in (offsets, low, high))
        axes.fill_between(times, bottom, top, color=BLUE, alpha=0.22, linewidth=0)
        axes.plot(times, middle, color=BLUE, marker="o", markersize=4, label="found, 95% band")
        if truth is not None and len(times):
            fine = np.linspace(times[0], times[-1], 400)
            known = [truth(float(t)) for t in fine]
            axes.plot(fine, known, color=GREEN, linestyle=DASHES[1], linewidth=1.4, label="true")
        for number, moment in enumerate(changes):
            label = "change found" if number == 0 else None
            axes.axvline(moment, color=ORANGE, linestyle=DASHES[2], label=label)
        axes.set(xlabel="Time, s", ylabel="Offset, frames of 40 ms")
        axes.margins(y=0.2)
        _legend(axes, loc="best")

    return _svg(draw, title, WIDE)


def bars(
    figures: Mapping[str, Figure | None],
    title: str,
    *,
    xlabel: str,
    percent: bool = False,
    mark: float | None = None,
) -> str:
    """One bar a name with its 95% interval, such as an area by source. mark: a value to compare
    with, such as 0.5 for guessing."""

    def draw(axes: Axes) -> None:
        there = {name: figure for name, figure in figures.items() if figure is not None}
        by = 100 if percent else 1
        for row, figure in enumerate(there.values()):
            axes.barh(row, by * figure.value, height=0.62, color=BLUE, alpha=0.75)
            if figure.low is not None and figure.high is not None:
                axes.plot([by * figure.low, by * figure.high], [row, row], color=INK, linewidth=1.4)
        axes.set_yticks(range(len(there)), list(there))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlim=(0, by), xlabel=xlabel)
        if mark is not None:
            axes.axvline(by * mark, color=INK, linewidth=1, linestyle=":")

    height = 1.2 + 0.34 * max(1, len(figures))
    return _svg(draw, title, (SIZE[0], height))


def _complete(curves: Mapping[str, Scored]) -> dict[str, Scored]:
    return {n: (s, g) for n, (s, g) in curves.items() if g.any() and not g.all()}


def _line(number: int) -> dict[str, Any]:
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number % len(DASHES)],
    }


def _legend(axes: Axes, **options: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**options)


def _svg(draw: Callable[[Axes], None], title: str, size: tuple[float, float] = SIZE) -> str:
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=size, layout="constrained")
        axes = canvas.add_subplot()
        axes.set_title(textwrap.fill(title, round(CHARACTERS * size[0]), break_on_hyphens=False))
        draw(axes)
        canvas.patch.set_alpha(0)
        axes.patch.set_alpha(0)
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    markup = text.getvalue()
    return markup[markup.index("<svg") :].replace(INK, "currentColor")
