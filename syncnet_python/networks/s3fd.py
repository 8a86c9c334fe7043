"""S3FD, the single-shot scale-invariant face detector: VGG-16 with a detector at six strides.

Architecture and parameter names of the published weights (Zhang et al., "S3FD: Single Shot
Scale-invariant Face Detector", 2017; sfd_face.pth), so that they load as they are.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syncnet_python import weights

_NORMALISED_AT = {16: "L2Norm3_3", 23: "L2Norm4_3", 30: "L2Norm5_3"}
"""Where a feature map leaves `vgg` (before this layer), and the norm it passes."""

_BACKGROUND_SCORES = 3
"""Background scores of the finest map: the largest counts (max-out background label, section 3.3),
since most false alarms are small."""


class L2Norm(nn.Module):
    """Scales every pixel's feature vector to a learnt length per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        length = x.pow(2).sum(dim=1, keepdim=True).sqrt() + 1e-10
        return self.weight[:, None, None] * (x / length)


class S3FD(nn.Module):
    """Maps images to box offsets and scores at every prior; boxes are made in
    `detectors.s3fd_boxes`."""

    def __init__(self) -> None:
        super().__init__()
        self.vgg = nn.ModuleList(_vgg())
        self.L2Norm3_3 = L2Norm(256)
        self.L2Norm4_3 = L2Norm(512)
        self.L2Norm5_3 = L2Norm(512)
        self.extras = nn.ModuleList(
            [
                nn.Conv2d(1024, 256, 1),
                nn.Conv2d(256, 512, 3, stride=2, padding=1),
                nn.Conv2d(512, 128, 1),
                nn.Conv2d(128, 256, 3, stride=2, padding=1),
            ]
        )
        channels = (256, 512, 512, 1024, 512, 256)
        scores = (_BACKGROUND_SCORES + 1, 2, 2, 2, 2, 2)
        self.loc = nn.ModuleList(nn.Conv2d(c, 4, 3, padding=1) for c in channels)
        self.conf = nn.ModuleList(
            nn.Conv2d(c, n, 3, padding=1) for c, n in zip(channels, scores, strict=True)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
        """images: (n, 3, h, w) float32 RGB, 0-255, less the training mean.

        Returns offsets (n, priors, 4), probabilities (n, priors, 2) of background and face, and
        the (rows, columns) of the six maps that the priors run over, finest first.
        """
        maps = self._maps(images)
        offsets = [_rows(head(m)) for head, m in zip(self.loc, maps, strict=True)]
        raw = [head(m) for head, m in zip(self.conf, maps, strict=True)]
        background = raw[0][:, :_BACKGROUND_SCORES].amax(dim=1, keepdim=True)
        raw[0] = torch.cat([background, raw[0][:, _BACKGROUND_SCORES:]], dim=1)
        scores = [_rows(r) for r in raw]
        sizes = [(m.shape[2], m.shape[3]) for m in maps]
        return (
            torch.cat([o.flatten(1, 2) for o in offsets], dim=1),
            torch.cat([s.flatten(1, 2) for s in scores], dim=1).softmax(dim=2),
            sizes,
        )

    def _maps(self, x: Tensor) -> list[Tensor]:
        """The six feature maps, at strides 4, 8, 16, 32, 64 and 128."""
        maps = []
        for position, layer in enumerate(self.vgg):
            if norm := _NORMALISED_AT.get(position):
                maps.append(self.get_submodule(norm)(x))
            x = layer(x)
        maps.append(x)
        for position, layer in enumerate(self.extras):
            x = F.relu(layer(x))
            if position % 2 == 1:
                maps.append(x)
        return maps


def build(state: Mapping[str, Tensor]) -> S3FD:
    """The network with these weights, in evaluation mode.

    Raises WeightsCorrupt where names or shapes are not those of the published file.
    """
    network = S3FD()
    with weights.fitting("s3fd"):
        network.load_state_dict(state)
    return network.requires_grad_(False).eval()


def _rows(x: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, h, w, c): priors run over rows, then columns, then their own values."""
    return x.permute(0, 2, 3, 1)


def _vgg() -> list[nn.Module]:
    layers: list[nn.Module] = []
    inputs = 3
    # The third pooling rounds up, as the network that gave the weights did.
    stages = ((64, 2, False), (128, 2, False), (256, 3, True), (512, 3, False), (512, 3, False))
    for outputs, depth, round_up in stages:
        for _ in range(depth):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2, ceil_mode=round_up))
    layers += [nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU()]
    layers += [nn.Conv2d(1024, 1024, 1), nn.ReLU()]
    return layers
