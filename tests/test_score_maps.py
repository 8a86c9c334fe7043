"""Maps from a raw score to a probability: between 0 and 1, never falling, whole after JSON."""

import json
import math
from dataclasses import asdict
from itertools import pairwise
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from syncnet_python.score_maps import Identity, Isotonic, Linear, Platt, ScoreMap

STORED: TypeAdapter[ScoreMap] = TypeAdapter(Annotated[ScoreMap, Field(discriminator="kind")])

unit = st.floats(0, 1)
linear = st.builds(Linear, st.floats(-2, 2), st.floats(0, 20), st.floats(-1, 2))
platt = st.builds(Platt, st.floats(0, 1e6), st.floats(-1e6, 1e6))


@st.composite
def isotonic(draw: st.DrawFn) -> Isotonic:
    raw = sorted(draw(st.lists(unit, min_size=1, max_size=8, unique=True)))
    heights = sorted(draw(st.lists(unit, min_size=len(raw), max_size=len(raw))))
    return Isotonic(tuple(raw), tuple(heights))


maps = st.one_of(st.just(Identity()), linear, platt, isotonic())


@given(maps, st.floats(-1, 2), st.floats(-1, 2))
def test_a_better_score_is_never_believed_less(fitted: ScoreMap, one: float, other: float) -> None:
    low, high = fitted(min(one, other)), fitted(max(one, other))
    assert 0 <= low <= high <= 1


@given(maps, unit)
def test_a_map_is_the_same_after_json(fitted: ScoreMap, raw: float) -> None:
    back = STORED.validate_json(json.dumps(asdict(fitted)), strict=True)
    assert back == fitted
    assert back(raw) == fitted(raw)


@given(isotonic())
def test_an_isotonic_map_goes_through_its_knots(fitted: Isotonic) -> None:
    for raw, probability in zip(fitted.raw, fitted.probability, strict=True):
        assert fitted(raw) == pytest.approx(probability, abs=1e-12)
    for (x0, x1), (y0, y1) in zip(pairwise(fitted.raw), pairwise(fitted.probability), strict=True):
        assert y0 <= fitted((x0 + x1) / 2) <= y1 + 1e-12


def test_the_forms_are_what_they_are_called() -> None:
    assert Identity()(0.3) == 0.3
    assert Linear(reference=0.9, scale=2.0, baseline=0.5)(0.4) == pytest.approx(0.7)
    assert Platt(slope=4.0, intercept=-2.0)(0.75) == pytest.approx(1 / (1 + math.exp(-1)))
    assert Isotonic((0.2, 0.6), (0.1, 0.9))(0.5) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Linear(0.5, -0.1, 0.5), "falls"),
        (lambda: Platt(-1.0, 0.0), "falls"),
        (lambda: Isotonic((0.1, 0.5), (0.6, 0.4)), "falls"),
        (lambda: Isotonic((0.5, 0.1), (0.4, 0.6)), "do not ascend"),
        (lambda: Isotonic((0.1, 0.1), (0.4, 0.6)), "do not ascend"),
        (lambda: Isotonic((), ()), "at least one knot"),
        (lambda: Isotonic((0.1, 0.2), (0.5,)), "for each"),
        (lambda: Isotonic((0.1, 0.2), (-0.1, 0.5)), "outside"),
        (lambda: Isotonic((0.1, 0.2), (0.1, 1.5)), "outside"),
        (lambda: Linear(math.nan, 1.0, 0.5), "not finite"),
        (lambda: Platt(math.inf, 0.0), "not finite"),
        (lambda: Isotonic((0.1, math.nan), (0.1, 0.2)), "not finite"),
    ],
)
def test_what_is_no_map_is_refused(make: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "platt", "slope": 1.0}',
        '{"kind": "platt", "slope": 1.0, "intercept": NaN}',
        '{"kind": "platt", "slope": "1", "intercept": 0.0}',
        '{"kind": "platt", "slope": 1.0, "intercept": 0.0, "more": 1}',
        '{"kind": "spline"}',
        '{"slope": 1.0, "intercept": 0.0}',
    ],
)
def test_what_a_file_may_not_say(text: str) -> None:
    with pytest.raises(ValidationError):
        STORED.validate_json(text, strict=True)
