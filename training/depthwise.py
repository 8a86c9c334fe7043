"""Depthwise convolution in bfloat16 whose gradients are quick on a processor.

oneDNN computes two gradients of a bfloat16 depthwise convolution 10 to 30 times slower than the
forward pass: those of the weight at kernel 5 and of the input at stride 2. The first is written
here as another forward depthwise convolution, in which every sample and channel is a channel and
the output's gradient is the kernel; the second is done in float32.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syncnet_python.networks.efficientnet import PaddedConv2d, _same_padding


def weight_gradient(x: Tensor, grad: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """x: (n, c, h, w), grad: (n, c, oh, ow) -> (c, 1, kernel, kernel) float32."""
    if padding:
        x = F.pad(x, (padding,) * 4)
    n, c, h, w = x.shape
    oh, ow = grad.shape[2:]
    flat = x.permute(2, 3, 0, 1).reshape(1, h, w, n * c).permute(0, 3, 1, 2)
    window = grad.permute(2, 3, 0, 1).reshape(oh, ow, n * c).permute(2, 0, 1).unsqueeze(1)
    out = F.conv2d(flat, window, groups=n * c, dilation=stride)[0, :, :kernel, :kernel]
    return out.reshape(n, c, kernel, kernel).float().sum(0).unsqueeze(1)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        x, small = x.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(x, small)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, small, None, stride, padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        stride, padding, kernel = ctx.stride, ctx.padding, weight.shape[-1]
        grad = grad.contiguous(memory_format=torch.channels_last)
        if stride > 1:
            to_x, _ = _gradients(grad.float(), x.float(), weight.float(), stride, padding, (1, 0))
            to_x = to_x.bfloat16()
            if kernel < 5:
                _, to_weight = _gradients(grad, x, weight, stride, padding, (0, 1))
        else:
            to_x, to_weight = _gradients(grad, x, weight, stride, padding, (1, kernel < 5))
        if kernel >= 5:
            to_weight = weight_gradient(x, grad, kernel, stride, padding)
        return to_x, to_weight.float(), None, None


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, wanted: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """oneDNN's gradients of input and weight; those that are not wanted are undefined."""
    pair: tuple[Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad,
        x,
        weight,
        None,
        [stride, stride],
        [padding, padding],
        [1, 1],
        False,
        [0, 0],
        x.shape[1],
        [bool(wanted[0]), bool(wanted[1]), False],
    )[:2]
    return pair


class QuickDepthwise(PaddedConv2d):
    """A drop-in for the network's own depthwise layers, for training in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        padding = 0 if self.uneven else kernel // 2
        if self.uneven:
            rows = _same_padding(x.shape[2], kernel, stride)
            columns = _same_padding(x.shape[3], kernel, stride)
            x = F.pad(x, (*columns, *rows))
        out: Tensor = _Depthwise.apply(x, self.weight, stride, padding)  # type: ignore[no-untyped-call]
        return out


def make_quick(network: nn.Module) -> None:
    """Turns every depthwise layer of the network into a `QuickDepthwise`, weights unchanged."""
    for module in network.modules():
        if type(module) is PaddedConv2d and module.groups > 1:
            module.__class__ = QuickDepthwise
