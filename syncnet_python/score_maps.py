"""Maps from a raw score to the probability that a recording is genuine: what an operator fits.

Every map takes 0-1 to 0-1 and never falls: a recording that looks better is never believed less.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import ConfigDict

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """The score as it is."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    kind: Literal["identity"] = "identity"

    def __call__(self, raw: float) -> float:
        return _unit(raw)


@dataclass(frozen=True, slots=True)
class Linear:
    """`reference + scale * (raw - baseline)`, held between 0 and 1: FCN-SyncNet's form.

    reference: what a raw score of `baseline` comes to; scale: >= 0, how much a difference counts.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    reference: float
    scale: float
    baseline: float
    kind: Literal["linear"] = "linear"

    def __post_init__(self) -> None:
        _need_finite(self.reference, self.scale, self.baseline)
        if self.scale < 0:
            raise ValueError("a map that falls: scale is below 0")

    def __call__(self, raw: float) -> float:
        return _unit(self.reference + self.scale * (raw - self.baseline))


@dataclass(frozen=True, slots=True)
class Platt:
    """`1 / (1 + exp(-(slope * raw + intercept)))` (Platt 1999). slope: >= 0."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    slope: float
    intercept: float
    kind: Literal["platt"] = "platt"

    def __post_init__(self) -> None:
        _need_finite(self.slope, self.intercept)
        if self.slope < 0:
            raise ValueError("a map that falls: slope is below 0")

    def __call__(self, raw: float) -> float:
        # Beyond ±60 the answer is 0 or 1 to the last digit, and exp would overflow before long.
        return 1 / (1 + math.exp(-min(max(self.slope * raw + self.intercept, -60.0), 60.0)))


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Straight lines between knots, flat beyond the outer ones (Zadrozny and Elkan 2002).

    raw: at least one, strictly ascending; probability: one for each, 0-1, never falling.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    raw: tuple[float, ...]
    probability: tuple[float, ...]
    kind: Literal["isotonic"] = "isotonic"

    def __post_init__(self) -> None:
        _need_finite(*self.raw, *self.probability)
        if not self.raw or len(self.raw) != len(self.probability):
            raise ValueError("an isotonic map needs a probability for each of at least one knot")
        if any(b <= a for a, b in pairwise(self.raw)):
            raise ValueError("the knots of an isotonic map do not ascend")
        if any(b < a for a, b in pairwise(self.probability)):
            raise ValueError("a map that falls: the probabilities of an isotonic map descend")
        if not 0 <= self.probability[0] <= self.probability[-1] <= 1:
            raise ValueError("a probability of an isotonic map lies outside 0 to 1")

    def __call__(self, raw: float) -> float:
        knots = tuple(zip(self.raw, self.probability, strict=True))
        if raw <= knots[0][0]:
            return knots[0][1]
        for (x0, y0), (x1, y1) in pairwise(knots):
            if raw <= x1:
                # between the two by construction, which rounding alone would not promise
                return min(max(y0 + (raw - x0) / (x1 - x0) * (y1 - y0), y0), y1)
        return knots[-1][1]


ScoreMap = Identity | Linear | Platt | Isotonic
"""Any of the maps; call it with a raw score. `kind` tells them apart in a file."""


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _need_finite(*values: float) -> None:
    if not all(math.isfinite(value) for value in values):
        raise ValueError("a number of a map is not finite")
