"""Write the face finder's weights as the page reads them.

    python -m training.export_page

The page measures faces with `service/page/static/faces.js`, which knows nothing of batch norms
and torch. The same weights always give the same bytes.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from syncnet_python import weights
from syncnet_python.networks.face_finder import FaceFinder
from syncnet_python.networks.folding import fold_batch_norms

FORMAT = "face_finder/1"
PAGE_FILE = (
    Path(__file__).resolve().parent.parent / "service" / "page" / "static" / "face_finder.bin"
)


def page_weights(state: Mapping[str, Tensor], **about: str) -> bytes:
    """The bytes of `face_finder.bin`.

    state: parameters of `FaceFinder`; about: further fields of the header, such as version.
    Length of the header (uint32), the header as JSON, then float16 numbers, all little-endian.
    The header's `layers` are the name, shape and offset (bytes after the header) of every weight
    (outputs, rows, columns, inputs) and bias, batch norms folded in. Raises WeightsCorrupt for
    other parameters, ValueError for numbers that float16 cannot hold.
    """
    tensors = dict(_folded(state))
    layers, offset = [], 0
    for name, values in tensors.items():
        layers.append({"name": name, "shape": list(values.shape), "offset": offset})
        offset += values.nbytes
    header = json.dumps({"format": FORMAT, **about, "layers": layers}, separators=(",", ":"))
    start = header.encode()
    data = b"".join(values.tobytes() for values in tensors.values())
    return len(start).to_bytes(4, "little") + start + data


def _folded(state: Mapping[str, Tensor]) -> list[tuple[str, NDArray[np.float16]]]:
    # In double precision, so that no processor's way of rounding shows in the float16 result.
    network = FaceFinder().double()
    with weights.fitting("face_finder"):
        network.load_state_dict(state)
    tensors = []
    for name, module in fold_batch_norms(network).named_modules():
        if isinstance(module, nn.Conv2d):
            if module.bias is None:
                raise ValueError(f"{name} has no bias: its batch norm was not folded")
            channels_last = module.weight.detach().permute(0, 2, 3, 1)
            tensors.append((f"{name}.weight", _half(name, channels_last)))
            tensors.append((f"{name}.bias", _half(name, module.bias.detach())))
    return tensors


def _half(name: str, values: Tensor) -> NDArray[np.float16]:
    if values.abs().max() > torch.finfo(torch.float16).max:
        raise ValueError(f"{name} has numbers that float16 cannot hold")
    return np.ascontiguousarray(values.numpy().astype("<f2"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=PAGE_FILE, help="default: the page's own file")
    out = parser.parse_args().out
    state, model = weights.load("face_finder")
    partial = out.with_name(f"{out.name}.part")
    partial.write_bytes(page_weights(state, version=model.version, source=model.sha256))
    partial.replace(out)
    print(f"{out}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
