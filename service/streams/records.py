"""What a stream is, as values: kept, and told of."""

from dataclasses import dataclass

Event = tuple[int, str, str]
"""Number, from 1; kind; and data as JSON."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream as it is kept. created_at: epoch seconds; ended: nothing follows."""

    id: str
    owner: str
    created_at: float
    ended: bool


class StreamsFull(Exception):
    """As many streams are followed as may."""
