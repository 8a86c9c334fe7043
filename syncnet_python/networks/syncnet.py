"""SyncNet v2: a lip tower and an audio tower that meet in one 1024-dimensional space.

Architecture and parameter names of the published weights (Chung and Zisserman, "Out of time:
automated lip sync in the wild", 2016; syncnet_v2.model), so that they load as they are.
`lean` rewrites a tower into one that computes the same function in less time.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from syncnet_python import weights
from syncnet_python.networks.folding import fold_batch_norms

EMBEDDING_SIZE = 1024
WINDOW_FRAMES = 5
"""Frames the lip tower looks at."""

WINDOW_STEPS = 20
"""MFCC steps of 10 ms the audio tower looks at: as long as five frames."""


class SyncNet(nn.Module):
    """Both towers, layer by layer as published.

    The spatial sizes are fixed: 224x224 pixels come to 1x1 in the lip tower, 13 coefficients by
    20 steps come to 1x1 in the audio tower.
    """

    def __init__(self) -> None:
        super().__init__()
        self.netcnnlip = nn.Sequential(
            *_conv3d(3, 96, kernel=(5, 7, 7), stride=2),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2)),
            *_conv3d(96, 256, kernel=(1, 5, 5), stride=2, padding=1),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            *_conv3d(256, 256, kernel=(1, 3, 3), padding=1),
            *_conv3d(256, 256, kernel=(1, 3, 3), padding=1),
            *_conv3d(256, 256, kernel=(1, 3, 3), padding=1),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2)),
            *_conv3d(256, 512, kernel=(1, 6, 6)),
        )
        self.netcnnaud = nn.Sequential(
            *_conv2d(1, 64, kernel=(3, 3), padding=1),
            nn.Identity(),  # the published numbering counts a pooling of 1x1 here
            *_conv2d(64, 192, kernel=(3, 3), padding=1),
            nn.MaxPool2d(3, stride=(1, 2)),
            *_conv2d(192, 384, kernel=(3, 3), padding=1),
            *_conv2d(384, 256, kernel=(3, 3), padding=1),
            *_conv2d(256, 256, kernel=(3, 3), padding=1),
            nn.MaxPool2d(3, stride=2),
            *_conv2d(256, 512, kernel=(5, 4)),
        )
        self.netfclip = _head()
        self.netfcaud = _head()

    def forward_lip(self, windows: Tensor) -> Tensor:
        """(n, 3, 5, 224, 224) BGR, 0-255 -> (n, 1024)."""
        embeddings: Tensor = self.netfclip(self.netcnnlip(windows).flatten(1))
        return embeddings

    def forward_audio(self, windows: Tensor) -> Tensor:
        """(n, 1, 13, 20) MFCC, time last -> (n, 1024)."""
        embeddings: Tensor = self.netfcaud(self.netcnnaud(windows).flatten(1))
        return embeddings


def build(state: Mapping[str, Tensor]) -> SyncNet:
    """The network with these weights, in evaluation mode.

    Raises WeightsCorrupt where names or shapes are not those of the published file.
    """
    network = SyncNet()
    with weights.fitting("syncnet_v2"):
        network.load_state_dict(state)
    return network.eval()


def lean(tower: nn.Sequential) -> nn.Sequential:
    """The same function of a convolutional tower, with fewer passes over memory.

    - Batch norms are folded into the convolutions before them.
    - 3-D convolutions become 2-D. The first spans all five frames, so time joins the channels:
      (n, 3, 5, h, w) is read as (n, 15, h, w), colour by colour. The others span one frame.
    - ReLU follows max-pooling instead of preceding it. Both are monotonic, so the order does not
      matter, and the pooled map is a quarter the size.

    tower: `netcnnlip` or `netcnnaud`, which is left as it is.
    """
    layers: list[nn.Module] = []
    for module in fold_batch_norms(tower):
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            layers += [_as_conv2d(module), nn.ReLU(inplace=True)]
        elif isinstance(module, nn.MaxPool2d | nn.MaxPool3d):
            layers.insert(-1, _as_pool2d(module))
    return nn.Sequential(*layers).requires_grad_(False).eval()


def _as_conv2d(conv: nn.Conv2d | nn.Conv3d) -> nn.Conv2d:
    weight = conv.weight.flatten(1, -3)
    flat = nn.Conv2d(
        weight.shape[1],
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        stride=_spatial(conv.stride),
        padding=_spatial(conv.padding),
    )
    flat.weight = nn.Parameter(weight)
    flat.bias = conv.bias
    return flat


def _as_pool2d(pool: nn.MaxPool2d | nn.MaxPool3d) -> nn.MaxPool2d:
    return nn.MaxPool2d(
        _spatial(pool.kernel_size), stride=_spatial(pool.stride), padding=_spatial(pool.padding)
    )


def _spatial(size: int | tuple[int, ...] | str | None) -> tuple[int, int]:
    """Height and width of a size that torch lets one write as one number or as several."""
    if isinstance(size, tuple):
        return (size[-2], size[-1])
    if isinstance(size, int):
        return (size, size)
    raise TypeError(f"{size!r} is no size in pixels")


def _conv3d(
    inputs: int, outputs: int, *, kernel: tuple[int, int, int], stride: int = 1, padding: int = 0
) -> tuple[nn.Module, ...]:
    """Convolution, batch norm, ReLU; stride and padding act on space, never on time."""
    return (
        nn.Conv3d(inputs, outputs, kernel, (1, stride, stride), (0, padding, padding)),
        nn.BatchNorm3d(outputs),
        nn.ReLU(),
    )


def _conv2d(
    inputs: int, outputs: int, *, kernel: tuple[int, int], padding: int = 0
) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, kernel, padding=padding),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _head() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, EMBEDDING_SIZE)
    )
