"""Pictures: well-formed SVG with what was asked on it, the same every time, in the page's ink."""

from collections.abc import Callable
from functools import cache
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from evaluation import plots
from evaluation.statistics import Figure

RNG = np.random.default_rng(0)
GENUINE = np.arange(60) % 2 == 0
SCORES = np.clip(RNG.normal(0.4, 0.15, 60) + 0.2 * GENUINE, 0, 1)
CURVES = {"fused": (SCORES, GENUINE), "sync <alone>": (1 - SCORES, GENUINE)}

DRAWN: dict[str, tuple[Callable[[], str], tuple[str, ...]]] = {
    "roc": (
        lambda: plots.roc(CURVES),
        ("fused (AUC 0.", "sync <alone>", "Fakes accepted, %", "Genuine accepted, %", "ROC"),
    ),
    "det": (lambda: plots.det(CURVES), ("fused (EER ", "Genuine refused, %", "DET", "50")),
    "histograms": (
        lambda: plots.histograms(
            {"genuine": SCORES[GENUINE], "fake": SCORES[~GENUINE]}, thresholds={"ALLOW": 0.8}
        ),
        ("genuine (30)", "fake (30)", "ALLOW", "Score (0-1)"),
    ),
    "reliability": (
        lambda: plots.reliability(CURVES),
        ("fused (error 0.", "Genuine among them, %"),
    ),
    "offset errors": (
        lambda: plots.offset_errors([0, 0, 1, -1, 0, 7, -40]),
        ("within ±1", "farther off", "Share of 7 measurements, %", "frames of 40 ms"),
    ),
    "accuracy by length": (
        lambda: plots.accuracy_by_length(
            {"bundled": {1: Figure(0.7, 0.6, 0.8, 50), 4: Figure(0.95, None, None, 20), 9: None}},
            targets={4: 0.95},
        ),
        ("bundled", "target", "Window length, s", "Within ±1 frame, %"),
    ),
    "timeline": (
        lambda: plots.timeline(
            [0, 1, 2, 3],
            [0.1, None, 5.9, 6.0],
            [-0.2, None, 5.5, 5.8],
            [0.4, None, 6.3, 6.2],
            changes=[1.5],
            truth=lambda t: 0.0 if t < 1.5 else 6.0,
        ),
        ("found, 95% band", "true", "change found", "Time, s"),
    ),
    "bars": (
        lambda: plots.bars(
            {"dfdc": Figure(0.77, 0.75, 0.79, 9), "none": None}, "By source", xlabel="AUC", mark=0.5
        ),
        ("dfdc", "By source", "AUC"),
    ),
}


@cache
def drawn(name: str) -> str:
    return DRAWN[name][0]()


def texts(svg: str) -> str:
    return "\n".join(ElementTree.fromstring(svg).itertext())


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_every_picture_says_what_it_shows(name: str) -> None:
    draw, wanted = DRAWN[name]
    svg = drawn(name)
    assert svg.startswith("<svg")
    shown = texts(svg)
    for text in wanted:
        assert text in shown
    assert "currentColor" in svg
    assert plots.INK not in svg
    assert svg == draw(), "the same figures give the same markup"


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_ask_for_nothing_from_outside(name: str) -> None:
    root = ElementTree.fromstring(drawn(name))
    for element in root.iter():
        assert not element.tag.endswith(("script", "image", "foreignObject"))
        for attribute, value in element.attrib.items():
            if attribute.endswith("href"):
                assert value.startswith("#")


def test_names_cannot_break_out_of_the_markup() -> None:
    evil = "</text><script>alert(1)</script>"
    svg = plots.roc({evil: (SCORES, GENUINE)}, evil)
    assert "<script" not in svg
    assert "alert(1)" in texts(svg)


def test_dollars_in_names_are_no_formulas() -> None:
    shown = texts(plots.histograms({"cheap $1 and $2 \\frac": [0.2, 0.4]}))
    assert "cheap $1 and $2 \\frac (2)" in shown


def test_one_label_alone_is_no_curve_and_nothing_is_no_error() -> None:
    alone = {"reals": (np.array([0.5, 0.9]), np.array([True, True]))}
    for svg in (plots.roc(alone), plots.det(alone)):
        assert "reals" not in texts(svg)
    empty = np.array([])
    assert "nobody (0)" not in texts(plots.histograms({"nobody": empty}))
    for svg in (
        plots.reliability({"nobody": (empty, empty.astype(bool))}),
        plots.offset_errors([]),
        plots.accuracy_by_length({}),
        plots.accuracy_by_length({"nobody": {1: None}}),
        plots.timeline([], [], [], []),
        plots.bars({}, "Nothing", xlabel="AUC"),
    ):
        ElementTree.fromstring(svg)


def test_matplotlib_is_left_as_it_was() -> None:
    before = dict(mpl.rcParams)
    plots.roc(CURVES)
    assert dict(mpl.rcParams) == before
