"""The numbers below are what efficientnet-pytorch 0.7.1 (`EfficientNet.from_name`, no fixed image
size) and torchvision 0.29 (`efficientnet_b0`) answer for these weights and images."""

import functools

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from syncnet_python.networks import efficientnet
from syncnet_python.networks.efficientnet import EfficientNetB0, PaddedConv2d

PYTORCH = {
    (64, 64): (-0.14428739249706268, -0.05000176280736923),
    (224, 224): (-0.15140478312969208, -0.060334399342536926),
    (75, 90): (-0.15008006989955902, -0.05297679454088211),
}
TORCHVISION = {
    (64, 64): (-0.1437961310148239, -0.051111944019794464),
    (224, 224): (-0.15169234573841095, -0.06105326488614082),
    (75, 90): (-0.1492546796798706, -0.05354814976453781),
}


@functools.cache
def _formula_state() -> dict[str, Tensor]:
    """Weights from a formula, in efficientnet-pytorch's names, scaled so that signals live on."""
    state = EfficientNetB0(2).state_dict()
    for index, name in enumerate(sorted(state)):
        shape = state[name].shape
        k = torch.arange(state[name].numel(), dtype=torch.float64)
        wave = 2 * torch.frac(torch.sin(k * 12.9898 + index * 78.233) * 43758.5453).abs() - 1
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var"):
            values = 1 + 0.3 * wave
        elif "_bn" in name and name.endswith("weight"):
            values = 1 + 0.2 * wave
        elif len(shape) == 1:
            values = 0.1 * wave
        else:
            values = wave * (4.5 / shape[1:].numel()) ** 0.5
        state[name] = values.reshape(shape).float()
    return state


def formula_state() -> dict[str, Tensor]:
    return dict(_formula_state())


def torchvision_state() -> dict[str, Tensor]:
    theirs = {ours: name for name, ours in efficientnet._torchvision_modules().items()}
    state = {}
    for name, value in formula_state().items():
        module, _, parameter = name.rpartition(".")
        state[f"{theirs[module]}.{parameter}"] = value
    return state


def formula_image(height: int, width: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    c = torch.arange(3)[:, None, None]
    return torch.sin(0.11 * x * (c + 1) + 0.07 * y + 0.3 * c).float()[None]


@pytest.mark.slow
@pytest.mark.parametrize("side", PYTORCH)
def test_answers_as_efficientnet_pytorch(side):
    network = efficientnet.from_state(formula_state(), "efficientnet_b0")
    with torch.inference_mode():
        logits = network(formula_image(*side))
    torch.testing.assert_close(logits, torch.tensor([PYTORCH[side]]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", TORCHVISION)
def test_answers_as_torchvision(side):
    network = efficientnet.from_state(torchvision_state(), "efficientnet_b0_torchvision")
    with torch.inference_mode():
        logits = network(formula_image(*side))
    torch.testing.assert_close(logits, torch.tensor([TORCHVISION[side]]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", efficientnet.LAYOUTS)
def test_prepared_network_computes_the_same_without_batch_norms(layout):
    state = torchvision_state() if layout.endswith("torchvision") else formula_state()
    network = efficientnet.from_state(state, layout)
    ready = efficientnet.prepared(network)
    image = formula_image(64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(ready(image), network(image), atol=1e-5, rtol=1e-4)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in ready.modules())
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("side", [6, 7])
def test_uneven_padding_puts_the_odd_zero_after(kernel, side):
    layer = PaddedConv2d(1, 1, kernel, 2, padding="tf")
    image = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(0))
    outputs = -(-side // 2)
    total = (outputs - 1) * 2 + kernel - side
    padded = torch.zeros(1, 1, side + total, side + total)
    before = total // 2
    padded[..., before : before + side, before : before + side] = image
    torch.testing.assert_close(layer(image), F.conv2d(padded, layer.weight, stride=2))
    assert layer(image).shape[-1] == outputs


def test_parameters_are_those_of_the_paper():
    network = EfficientNetB0(1000)
    assert sum(p.numel() for p in network.parameters()) == 5_288_548
    assert len(network._blocks) == 16


def test_every_torchvision_name_has_one_of_ours():
    names = efficientnet._torchvision_modules()
    modules = {name.rpartition(".")[0] for name in EfficientNetB0().state_dict()}
    assert sorted(names.values()) == sorted(modules)


def test_middle_map_is_at_stride_16():
    network = EfficientNetB0().eval()
    with torch.inference_mode():
        middle, pooled = network.features(torch.zeros(1, 3, 96, 128))
    assert middle.shape == (1, efficientnet.MIDDLE_CHANNELS, 6, 8)
    assert pooled.shape == (1, efficientnet.HEAD_CHANNELS)


def test_drop_connect_is_random_in_training_only_and_keeps_the_mean():
    block = EfficientNetB0(drop_connect=0.8)._blocks[-2]
    assert block.skips
    block._bn0.momentum = block._bn1.momentum = block._bn2.momentum = 0.0
    x = torch.randn(256, 192, 2, 2, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    with torch.no_grad():
        block.train()
        change = (block(x) - x).flatten(1).norm(dim=1)
        block.eval()
        assert torch.equal(block(x), block(x))
    dropped = (change == 0).float().mean()
    assert dropped == pytest.approx(block.drop_connect, abs=0.1)


def test_wrong_weights_are_refused():
    with pytest.raises(KeyError):
        efficientnet.from_state(formula_state(), "efficientnet_b0_torchvision")
    with pytest.raises(KeyError):
        efficientnet.from_state(torchvision_state(), "efficientnet_b0")
    state = formula_state()
    del state["_conv_head.weight"]
    with pytest.raises(RuntimeError, match="_conv_head"):
        efficientnet.from_state(state, "efficientnet_b0")


@pytest.mark.slow
@pytest.mark.parametrize("layout", efficientnet.LAYOUTS)
def test_contributions_are_the_gradient_times_the_map(layout):
    """What the logits change by when one place of the map grows, for each place."""
    names = efficientnet.LAYOUTS[layout].torchvision_names
    state = torchvision_state() if names else formula_state()
    network = efficientnet.from_state(state, layout).double().requires_grad_(False)
    x = formula_image(64, 96).double()
    shown = efficientnet.contributions(network, x, 0, 1)
    assert shown.shape == (len(x), 4, 6)
    assert not shown.requires_grad
    early = network.early(x)
    step = 1e-6
    for row, column in ((0, 0), (2, 3), (3, 5)):
        nudge = torch.zeros_like(early)
        nudge[:, :, row, column] = early[:, :, row, column] * step
        change = (network.logits(early + nudge) - network.logits(early - nudge)) / (2 * step)
        expected = change[:, 0] - change[:, 1]
        torch.testing.assert_close(shown[:, row, column], expected, rtol=1e-4, atol=1e-9)


def test_logits_of_the_early_map_are_the_answer():
    network = efficientnet.from_state(formula_state(), "efficientnet_b0")
    with torch.inference_mode():
        x = formula_image(75, 90)
        assert network.early(x).shape[1:] == (80, 5, 6)
        assert torch.equal(network.logits(network.early(x)), network(x))
