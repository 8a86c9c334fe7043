"""What is never learnt from, as files beside this module: one CSV a network, `name,why`.

A name is a group (a recording and its forgeries), a file or a speaker, as the manifests have them.
Everything else of the training parts is learnt from.
"""

import csv
from importlib.resources import files


def held_out_names(network: str) -> frozenset[str]:
    """Names in `<network>.csv`."""
    table = (files(__name__) / f"{network}.csv").read_text()
    return frozenset(row["name"] for row in csv.DictReader(table.splitlines()))
