"""EfficientNet-B0 (Tan & Le 2019, https://arxiv.org/abs/1905.11946), one network for two layouts.

Two families of published weights differ in three things only, and all three are arguments here:

    layout                 parameter names                     stride-2 padding   batch-norm eps
    efficientnet-pytorch   _conv_stem, _blocks.N.*, _fc        "tf": uneven       1e-3
    torchvision            features.*, classifier.1            "even": k // 2     1e-5

The modules carry efficientnet-pytorch's names; `from_torchvision_names` renames the other ones.
"""

import copy
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

Padding = Literal["tf", "even"]

STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
MIDDLE_BLOCK = 10
"""Index of the last block at stride 16 before the network halves once more (112 channels)."""
MIDDLE_CHANNELS = 112
EARLY_BLOCK = 7
"""Index of the last block of the first stage at stride 16 (80 channels)."""


class Stage(NamedTuple):
    """One row of the paper's table 1: blocks that share a kernel and a width."""

    expand: int
    kernel: int
    stride: int
    out_channels: int
    repeats: int


STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)


class PaddedConv2d(nn.Conv2d):
    """Convolution whose padding follows one of the two conventions.

    "even": k // 2 zeros on every side. "tf": output side = ceil(side / stride), and the odd zero
    goes to the right and the bottom, so at stride 2 the two conventions sample different pixels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        *,
        groups: int = 1,
        bias: bool = False,
        padding: Padding,
    ) -> None:
        uneven = padding == "tf" and stride > 1
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            stride,
            0 if uneven else kernel // 2,
            groups=groups,
            bias=bias,
        )
        self.uneven = uneven

    def forward(self, x: Tensor) -> Tensor:
        if self.uneven:
            kernel, stride = self.kernel_size[0], self.stride[0]
            rows = _same_padding(x.shape[2], kernel, stride)
            columns = _same_padding(x.shape[3], kernel, stride)
            x = F.pad(x, (*columns, *rows))
        return super().forward(x)


def _same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


class MBConv(nn.Module):
    """Mobile inverted bottleneck with squeeze-and-excitation (paper, section 4).

    drop_connect: probability that a training sample skips the block's own path (0-1).
    """

    def __init__(
        self,
        in_channels: int,
        stage: Stage,
        stride: int,
        *,
        padding: Padding,
        eps: float,
        drop_connect: float,
    ) -> None:
        super().__init__()
        wide = in_channels * stage.expand
        squeezed = max(1, in_channels // 4)
        self.skips = stride == 1 and in_channels == stage.out_channels
        self.drop_connect = drop_connect
        if stage.expand != 1:
            self._expand_conv = PaddedConv2d(in_channels, wide, 1, padding=padding)
            self._bn0 = _batch_norm(wide, eps)
        self._depthwise_conv = PaddedConv2d(
            wide, wide, stage.kernel, stride, groups=wide, padding=padding
        )
        self._bn1 = _batch_norm(wide, eps)
        self._se_reduce = PaddedConv2d(wide, squeezed, 1, bias=True, padding=padding)
        self._se_expand = PaddedConv2d(squeezed, wide, 1, bias=True, padding=padding)
        self._project_conv = PaddedConv2d(wide, stage.out_channels, 1, padding=padding)
        self._bn2 = _batch_norm(stage.out_channels, eps)
        self.expands = stage.expand != 1

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x
        if self.expands:
            out = F.silu(self._bn0(self._expand_conv(out)), inplace=True)
        out = F.silu(self._bn1(self._depthwise_conv(out)), inplace=True)
        gate = F.silu(self._se_reduce(F.adaptive_avg_pool2d(out, 1)), inplace=True)
        out = out * torch.sigmoid(self._se_expand(gate))
        out = self._bn2(self._project_conv(out))
        if not self.skips:
            return out
        if self.training and self.drop_connect > 0:
            keep = 1 - self.drop_connect
            mask = torch.rand(out.shape[0], 1, 1, 1, device=out.device) < keep
            out = out * (mask.to(out.dtype) / keep)
        return x + out


def _batch_norm(channels: int, eps: float) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=eps, momentum=0.01)


class EfficientNetB0(nn.Module):
    """Images -> class logits.

    padding, eps: see the module's table. dropout: before the last layer, in training only;
    drop_connect: of the last block, growing linearly from 0 at the first, in training only.
    """

    def __init__(
        self,
        num_classes: int = 2,
        *,
        padding: Padding = "tf",
        eps: float = 1e-3,
        dropout: float = 0.2,
        drop_connect: float = 0.2,
    ) -> None:
        super().__init__()
        self._conv_stem = PaddedConv2d(3, STEM_CHANNELS, 3, 2, padding=padding)
        self._bn0 = _batch_norm(STEM_CHANNELS, eps)
        total = sum(stage.repeats for stage in STAGES)
        blocks: list[MBConv] = []
        channels = STEM_CHANNELS
        for stage in STAGES:
            for repeat in range(stage.repeats):
                blocks.append(
                    MBConv(
                        channels,
                        stage,
                        stage.stride if repeat == 0 else 1,
                        padding=padding,
                        eps=eps,
                        drop_connect=drop_connect * len(blocks) / total,
                    )
                )
                channels = stage.out_channels
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = PaddedConv2d(channels, HEAD_CHANNELS, 1, padding=padding)
        self._bn1 = _batch_norm(HEAD_CHANNELS, eps)
        self._dropout = nn.Dropout(dropout)
        self._fc = nn.Linear(HEAD_CHANNELS, num_classes)

    def early(self, x: Tensor) -> Tensor:
        """x: (n, 3, h, w) -> what EARLY_BLOCK answers, (n, 80, h/16, w/16)."""
        x = F.silu(self._bn0(self._conv_stem(x)), inplace=True)
        for block in self._blocks[: EARLY_BLOCK + 1]:
            x = block(x)
        return x

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (n, 3, h, w) -> (middle (n, 112, h/16, w/16), pooled (n, 1280))."""
        return self._late(self.early(x))

    def _late(self, early: Tensor) -> tuple[Tensor, Tensor]:
        """What `features` answers, from what `early` does."""
        x = middle = early
        for index, block in enumerate(self._blocks[EARLY_BLOCK + 1 :], EARLY_BLOCK + 1):
            x = block(x)
            if index == MIDDLE_BLOCK:
                middle = x
        x = F.silu(self._bn1(self._conv_head(x)), inplace=True)
        return middle, F.adaptive_avg_pool2d(x, 1).flatten(1)

    def logits(self, early: Tensor) -> Tensor:
        """Class logits (n, classes) from what `early` answers."""
        _, pooled = self._late(early)
        logits: Tensor = self._fc(self._dropout(pooled))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, 3, h, w) float, normalised as the weights entry says -> logits (n, classes)."""
        return self.logits(self.early(x))


class Layout(NamedTuple):
    """What a family of weights fixes besides its parameters' names."""

    padding: Padding
    eps: float
    torchvision_names: bool


LAYOUTS: Mapping[str, Layout] = {
    "efficientnet_b0": Layout("tf", 1e-3, torchvision_names=False),
    "efficientnet_b0_torchvision": Layout("even", 1e-5, torchvision_names=True),
}
"""By the registry's `layout` column."""


def from_state(state: Mapping[str, Tensor], layout: str) -> EfficientNetB0:
    """The network of a state dict, in evaluation mode; the number of classes is read from it.

    Raises KeyError for an unknown layout or a missing parameter, RuntimeError where names or
    shapes differ.
    """
    padding, eps, renames = LAYOUTS[layout]
    if renames:
        state = from_torchvision_names(state)
    network = EfficientNetB0(state["_fc.weight"].shape[0], padding=padding, eps=eps)
    network.load_state_dict(state)
    return network.eval()


def from_torchvision_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a torchvision `efficientnet_b0` state dict. Raises KeyError for a name it has not."""
    renamed = _torchvision_modules()
    result: dict[str, Tensor] = {}
    for name, value in state.items():
        module, _, parameter = name.rpartition(".")
        result[f"{renamed[module]}.{parameter}"] = value
    return result


def _torchvision_modules() -> dict[str, str]:
    """torchvision's module name -> ours."""
    names = {
        "features.0.0": "_conv_stem",
        "features.0.1": "_bn0",
        f"features.{len(STAGES) + 1}.0": "_conv_head",
        f"features.{len(STAGES) + 1}.1": "_bn1",
        "classifier.1": "_fc",
    }
    index = 0
    for row, stage in enumerate(STAGES, start=1):
        for repeat in range(stage.repeats):
            theirs, ours = f"features.{row}.{repeat}.block", f"_blocks.{index}"
            first = 0
            if stage.expand != 1:
                names[f"{theirs}.0.0"] = f"{ours}._expand_conv"
                names[f"{theirs}.0.1"] = f"{ours}._bn0"
                first = 1
            names[f"{theirs}.{first}.0"] = f"{ours}._depthwise_conv"
            names[f"{theirs}.{first}.1"] = f"{ours}._bn1"
            names[f"{theirs}.{first + 1}.fc1"] = f"{ours}._se_reduce"
            names[f"{theirs}.{first + 1}.fc2"] = f"{ours}._se_expand"
            names[f"{theirs}.{first + 2}.0"] = f"{ours}._project_conv"
            names[f"{theirs}.{first + 2}.1"] = f"{ours}._bn2"
            index += 1
    return names


def contributions(network: EfficientNetB0, x: Tensor, wanted: int, other: int) -> Tensor:
    """Where each image speaks for class `wanted` rather than `other`: (n, h/16, w/16) float32,
    > 0 where a place speaks for `wanted`.

    Grad-CAM (Selvaraju et al. 2017), with each place's own gradient instead of the mean over all
    places (HiResCAM, Draelos and Carin 2020, https://arxiv.org/abs/2011.08891) and on what
    `early` answers. The last map has a few places a side, each of which sees the whole face. Of
    the forms and maps that were compared on face swaps this is one whose ranks agreed, if weakly
    (correlations of 0.1-0.2), with what painting over a place does to the score, in each way of
    painting over that was tried: a hint where to look, no proof of what the network used.

    network: in float32, parameters without gradients; x: (n, 3, h, w) on its device.
    """
    with torch.no_grad():
        early = network.early(x)
    with torch.enable_grad():
        early.requires_grad_()
        logits = network.logits(early)
        (gradient,) = torch.autograd.grad((logits[:, wanted] - logits[:, other]).sum(), early)
    return (gradient * early).sum(1).detach()


_NORM_OF_BLOCK = {"_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
_NORM_OF_NETWORK = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}


def prepared(network: EfficientNetB0) -> EfficientNetB0:
    """A copy for inference: every batch norm multiplied into the convolution before it, and
    channels last in memory, which both float32 and bfloat16 convolutions prefer."""
    ready = copy.deepcopy(network).eval()
    _fold(ready, _NORM_OF_NETWORK)
    for block in ready._blocks:
        _fold(block, _NORM_OF_BLOCK)
    return ready.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _fold(module: nn.Module, norms: Mapping[str, str]) -> None:
    for convolution, norm in norms.items():
        if hasattr(module, convolution):
            pair = getattr(module, convolution), getattr(module, norm)
            setattr(module, convolution, fuse_conv_bn_eval(*pair))
            setattr(module, norm, nn.Identity())
