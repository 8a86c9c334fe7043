"""A small anchor-free face finder: is the centre of a face here, and how large is that face?

One output cell per 8x8 pixels, after CenterNet (Zhou et al. 2019, "Objects as Points"), with a
feature pyramid in small: cells see as far as stride 32 and as sharp as stride 8.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syncnet_python.networks.blocks import Residual, conv

STRIDE = 8
"""Pixels between output cells."""

MULTIPLE = 32
"""Height and width of the input must be multiples of this."""

UNIT = 32.0
"""Face size in pixels whose logarithm is output as 0."""


class FaceFinder(nn.Module):
    """(n, 3, h, w) BGR scaled to -1..1 -> (n, 5, h/8, w/8).

    Channels: logit that a face's centre is near; from the cell's centre to the face's centre
    in face widths and heights (x, y); natural logarithm of its width and height in UNITs.
    `decode` turns the last four into boxes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.to_8 = nn.Sequential(
            conv(3, 16, stride=2), conv(16, 24, stride=2), conv(24, 48, stride=2), Residual(48)
        )
        self.to_16 = nn.Sequential(conv(48, 96, stride=2), Residual(96))
        self.to_32 = nn.Sequential(conv(96, 128, stride=2), Residual(128))
        self.from_32 = conv(128, 64, kernel=1)
        self.from_16 = conv(96, 64, kernel=1)
        self.join_16 = conv(64, 64)
        self.down_16 = conv(64, 48, kernel=1)
        self.join_8 = conv(48, 48)
        self.head = nn.Conv2d(48, 5, 1)
        self.head.bias = nn.Parameter(torch.tensor([-3.0, 0, 0, 0, 0]))  # start from "no face"

    def forward(self, images: Tensor) -> Tensor:
        at_8 = self.to_8(images)
        at_16 = self.to_16(at_8)
        at_32 = self.to_32(at_16)
        wide = self.join_16(self.from_16(at_16) + _doubled(self.from_32(at_32)))
        out: Tensor = self.head(self.join_8(at_8 + _doubled(self.down_16(wide))))
        return out


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def decode(output: Tensor) -> Tensor:
    """Network output (n, 5, rows, columns) -> boxes (n, rows, columns, 4) in input pixels."""
    _, _, rows, columns = output.shape
    shift_x, shift_y, log_width, log_height = output[:, 1:].unbind(dim=1)
    width, height = UNIT * log_width.exp(), UNIT * log_height.exp()
    x = cell_centres(columns) + shift_x * width
    y = cell_centres(rows)[:, None] + shift_y * height
    return torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=-1)


def cell_centres(count: int) -> Tensor:
    """Input pixel coordinates of the centres of a row of cells."""
    return torch.arange(count) * float(STRIDE) + (STRIDE - 1) / 2
