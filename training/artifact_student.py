"""The network under training: EfficientNet-B0 with two heads that only training uses, how its
first layer starts, how its batch norms are settled, and the moving average that is kept."""

from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from syncnet_python.networks.efficientnet import MIDDLE_CHANNELS, EfficientNetB0
from training.artifact_hints import NUM_ENERGIES
from training.depthwise import make_quick

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
CLASSES = ("fake", "real")


class Student(nn.Module):
    """The classifier and, for training only, two heads on its middle feature map: where the
    forgery lies, and how much fine detail there is."""

    def __init__(self) -> None:
        super().__init__()
        self.net = EfficientNetB0(len(CLASSES), dropout=0.1, drop_connect=0.0)
        for module in self.net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.05
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        self.where = nn.Conv2d(MIDDLE_CHANNELS, 1, 1)
        self.texture = nn.Conv2d(MIDDLE_CHANNELS, NUM_ENERGIES, 1)
        make_quick(self.net)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x: (n, 3, h, w) -> logits (n, 2), region logits (n, h / 16, w / 16), energies (n, 93,
        h / 16, w / 16), standardised."""
        with torch.autocast("cpu", torch.bfloat16):
            middle, pooled = self.net.features(x)
        logits = self.net._fc(self.net._dropout(pooled.float()))
        middle = middle.float()
        return logits, self.where(middle).squeeze(1), self.texture(middle)


def whitening_filters(images: NDArray[np.uint8], count: int) -> Tensor:
    """First-layer weights (count, 3, 3, 3) that see every detail equally strongly.

    Random filters answer mostly to local brightness, because natural images have little power in
    fine detail, and fine detail is where blending and resampling show. These are the principal
    components of 3x3 patches, each scaled to unit variance, and negatives of the finer ones.
    images: (n, h, w, 3) BGR uint8, at the scale the network will see.
    """
    patches = F.unfold(to_input(images), 3, stride=2).transpose(1, 2).reshape(-1, 27).double()
    patches = patches - patches.mean(0)
    power, components = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (components / (power + 1e-6).sqrt()).T
    filters = torch.cat([filters, -filters[: count - len(filters)]])
    return filters.reshape(count, 3, 3, 3).float()


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


def learning_mode(student: Student, settled: bool) -> None:
    """Training mode, except that settled batch norms keep the statistics that they have.

    Sharpness differs so much between faces that one face can dominate a batch's statistics. With
    them settled, every face is judged alone, in training as at run time.
    """
    student.train()
    if settled:
        for module in student.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


class Average:
    """Exponential moving average of a network, batch statistics included."""

    def __init__(self, model: Student, decay: float = 0.997) -> None:
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
