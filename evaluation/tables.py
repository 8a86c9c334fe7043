"""Markdown tables."""

from collections.abc import Sequence

Row = tuple[str, ...]


def markdown(columns: Row, rows: Sequence[Row]) -> str:
    return "\n".join(
        f"| {' | '.join(cells)} |" for cells in (columns, ("---",) * len(columns), *rows)
    )
