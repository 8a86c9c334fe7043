"""Put trained weights into models/ and their row into the registry."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from syncnet_python.weights import BUNDLED_DIR, sha256_of


def export(
    state: dict[str, Tensor],
    *,
    name: str,
    role: str,
    layout: str,
    version: str,
    licence: str,
    **fields: Any,
) -> Path:
    """Write models/<name>.pt (a plain state dict, float16 where floating) and register it.

    fields: further columns of `weights.WeightsEntry`, such as classes or input_size.
    """
    path = BUNDLED_DIR / f"{name}.pt"
    half = {
        k: v.detach().cpu().contiguous().to(torch.float16 if v.is_floating_point() else v.dtype)
        for k, v in state.items()
    }
    partial = path.with_suffix(".pt.part")
    torch.save(half, partial)
    partial.replace(path)
    row = {
        "name": name,
        "role": role,
        "origin": "bundled",
        "layout": layout,
        "filename": path.name,
        "version": version,
        "licence": licence,
        "size": path.stat().st_size,
        "sha256": sha256_of(path),
        **fields,
    }
    table = BUNDLED_DIR / "registry.json"
    rows = [old for old in json.loads(table.read_text()) if old["name"] != name]
    bundled_first = sorted([*rows, row], key=lambda r: (r["origin"], r["name"]))
    table.write_text(json.dumps(bundled_first, indent=2) + "\n")
    return path
