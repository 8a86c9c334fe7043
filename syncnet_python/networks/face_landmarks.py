"""Two small convolutional networks that place mesh points on a face.

`coarse` looks at a loose square around a detection and finds a few anchors, enough to turn the
face upright and to its standard size; `fine` looks at that standardised crop and places all points.
Plain 3x3 convolutions: with so few channels a CPU runs them faster than depthwise ones.

Points are (x, y) as a share of the crop's side, 0 at the crop's centre, -0.5 and 0.5 at its
borders. Crops are BGR scaled to -1..1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syncnet_python.networks.blocks import Residual, conv

COARSE_SIZE = 64
FINE_SIZE = 112

NUM_ANCHORS = 11
NUM_POINTS = 126
NUM_LIPS = 40

_REACH = 1.25
"""Side of the grid that `fine` can place points on, over the crop's: chins may lie outside."""


class Coarse(nn.Module):
    """(n, 3, 64, 64) -> (n, NUM_ANCHORS, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv(3, 16, stride=2),
            conv(16, 32, stride=2),
            Residual(32),
            conv(32, 48, stride=2),
            Residual(48),
            conv(48, 64, stride=2),
            nn.Flatten(),
        )
        self.head = nn.Sequential(
            nn.Linear(64 * 4 * 4, 128), nn.ReLU(inplace=True), nn.Linear(128, NUM_ANCHORS * 2)
        )

    def forward(self, crops: Tensor) -> Tensor:
        return self.read(self.features(crops))

    def read(self, features: Tensor) -> Tensor:
        """The head alone. Tenths, because optimisers like outputs around 1."""
        out: Tensor = self.head(features)
        return 0.1 * out.view(-1, NUM_ANCHORS, 2)


class Fine(nn.Module):
    """(n, 3, 112, 112) -> points (n, NUM_POINTS, 2) and presence (n,), a logit.

    Every point has a map of cells; the point is the mean of the cells' places under the softmax
    of its map (integral regression, Sun et al. 2018), which is finer than the cells: 28x28 of
    them for the first NUM_LIPS points, 14x14 for the others.
    """

    def __init__(self) -> None:
        super().__init__()
        self.to_28 = nn.Sequential(conv(3, 16, stride=2), conv(16, 32, stride=2), Residual(32))
        self.to_14 = nn.Sequential(conv(32, 64, stride=2), Residual(64))
        self.to_7 = nn.Sequential(conv(64, 96, stride=2), Residual(96), Residual(96))
        self.from_7 = conv(96, 64, kernel=1)
        self.join_14 = conv(64, 64)
        self.from_14 = conv(64, 48, kernel=1)
        self.from_28 = conv(32, 48, kernel=1)
        self.join_28 = conv(48, 48)
        self.lip_maps = nn.Conv2d(48, NUM_LIPS, 1)
        self.other_maps = nn.Conv2d(64, NUM_POINTS - NUM_LIPS, 1)
        self.presence = nn.Linear(96, 1)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        return self.read(*self.maps(crops))

    def maps(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of the lips (n, NUM_LIPS, 28, 28), of the other points (n, the rest, 14, 14), and
        features of the whole crop (n, 96)."""
        at_28 = self.to_28(crops)
        at_14 = self.to_14(at_28)
        at_7 = self.to_7(at_14)
        at_14 = self.join_14(at_14 + _doubled(self.from_7(at_7)))
        at_28 = self.join_28(self.from_28(at_28) + _doubled(self.from_14(at_14)))
        return self.lip_maps(at_28), self.other_maps(at_14), at_7.mean(dim=(2, 3))

    def read(self, lips: Tensor, others: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """The last step alone: in float32 also where the maps were computed in less."""
        points = torch.cat([_expected_place(lips), _expected_place(others)], dim=1)
        return points, self.presence(pooled)[:, 0]


class FaceLandmarks(nn.Module):
    """Both networks under one state dict: `coarse.*` and `fine.*`."""

    def __init__(self) -> None:
        super().__init__()
        self.coarse = Coarse()
        self.fine = Fine()


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _expected_place(maps: Tensor) -> Tensor:
    """(n, points, rows, columns) -> (n, points, 2)."""
    rows, columns = maps.shape[2:]
    cells = maps.permute(0, 2, 3, 1).flatten(1, 2)  # points last, as channels-last maps lie
    return (_grid(rows, columns).T @ F.softmax(cells, dim=1)).transpose(1, 2)


def _grid(rows: int, columns: int) -> Tensor:
    """Where the centres of the cells lie: (rows * columns, 2) x and y, shares of the side."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    cells = torch.stack([(x + 0.5) / columns, (y + 0.5) / rows], dim=2).flatten(0, 1)
    return (cells - 0.5) * _REACH
