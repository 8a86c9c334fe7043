"""Fold batch norms into the convolutions before them, once, when weights are loaded."""

import copy
import itertools
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def fold_batch_norms(network: Network) -> Network:
    """A copy in evaluation mode that computes the same with fewer steps.

    Inside every `nn.Sequential`, a batch norm that directly follows a convolution (or, in one
    dimension, a linear layer) is multiplied into it and replaced by `nn.Identity`, so indices and
    attribute names stay. Other batch norms are left as they are. The networks' own order of
    modules is trusted only within a Sequential, where it is the order of computation.
    """
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        if isinstance(module, nn.Sequential):
            _fold_sequence(module)
    return folded


def _fold_sequence(sequence: nn.Sequential) -> None:
    names = list(sequence._modules)
    for first, second in itertools.pairwise(names):
        layer, norm = sequence._modules[first], sequence._modules[second]
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
                sequence._modules[first] = fuse_conv_bn_eval(layer, norm)
            elif isinstance(layer, nn.Linear):
                sequence._modules[first] = fuse_linear_bn_eval(layer, norm)
            else:
                continue
            sequence._modules[second] = nn.Identity()
