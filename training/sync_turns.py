"""Turned heads for sync training: lips and mouth crops as seen from the side.

Around the mouth the face is a cylinder of about an eye distance's radius, with an upright axis.
In the frame of the eyes (`syncnet_python.mouth`), which shrinks with the cosine of the turn, a
point at x with depth z(x) = sqrt(radius^2 - x^2) then moves to x + tan(yaw) * (z(x) - z(0)), and
heights grow by 1 / cos(yaw). What does not change over time is left out: the network removes it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LARGEST = np.radians(38.0)
SHARE = 0.4
"""How many samples are turned at all."""

_RADII = (0.6, 1.3)  # eye distances: lips bend more than cheeks
_SOLVED = 4  # steps, after which the inverse is right to a hundredth of a pixel


@dataclass(frozen=True, slots=True, eq=False)
class Turns:
    """yaw: (n,) radians, > 0 shows more of the picture's left side; radius: (n,) eye distances."""

    yaw: NDArray[np.float64]
    radius: NDArray[np.float64]

    @classmethod
    def draw(cls, count: int, rng: np.random.Generator) -> "Turns":
        yaw = rng.uniform(-LARGEST, LARGEST, count) * (rng.random(count) < SHARE)
        return cls(yaw, rng.uniform(*_RADII, count))

    def shapes(self, shapes: NDArray[np.floating]) -> NDArray[np.float64]:
        """Lip shapes (n, frames, points, 2), eye distances around the mouth's centre, turned."""
        radius, yaw = self.radius[:, None, None], self.yaw[:, None, None]
        x, y = shapes[..., 0], shapes[..., 1]
        bulge = np.sqrt(np.clip(radius**2 - x**2, 0, None)) - radius
        return np.stack([x + np.tan(yaw) * bulge, y / np.cos(yaw)], axis=3)

    def places(self, grid: Tensor) -> Tensor:
        """Where a turned crop's pixels come from. grid: (n * frames, height, width, 2), eye
        distances around the mouth's centre, frames of one sample in a row."""
        frames = len(grid) // len(self.yaw)
        yaw, radius = (
            torch.from_numpy(np.repeat(v, frames).astype(np.float32))[:, None, None]
            for v in (self.yaw, self.radius)
        )
        wanted, x = grid[..., 0], grid[..., 0]
        for _ in range(_SOLVED):
            bulge = (radius**2 - x**2).clamp_min(0).sqrt() - radius
            x = wanted - yaw.tan() * bulge
        return torch.stack([x, grid[..., 1] * yaw.cos()], dim=3)
