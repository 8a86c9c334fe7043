"""The bundled sync network: lips and sound to embeddings at 25 a second, any length at once.

After SyncNet (Chung and Zisserman 2016), but fully convolutional in time, so that a recording is
embedded in one pass instead of window by window, and small enough for a laptop. The picture side
sees both the shape of the lips (points) and their look (crops: teeth and tongue have no points).

Everything is normalised inside, over about three seconds around each moment: where the lips are
in the face, the light on the mouth and the microphone's loudness and colour are not what they say.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from syncnet_python.audio_features import MEL_BANDS, MFCC_PER_FRAME
from syncnet_python.mouth import CROP_SIZE, NUM_LIPS

EMBEDDING_DIM = 128

_WIDTH = 192
_LOOK = 128  # features of one mouth crop
_NEIGHBOURHOOD = 75  # frames that the normalisation averages over
_LIP_SCALE = 4.0  # brings lip movement, in eye distances, to about 1
_MEL_SCALE = 3.0  # nats
_MEL_RANGE = 12.0  # nats below the loudest; what is fainter is the recording's noise floor


class SyncNetFCN(nn.Module):
    """Two encoders whose unit vectors lie close where lips and sound belong together."""

    def __init__(self) -> None:
        super().__init__()
        self.look = MouthEncoder(_LOOK)
        self.lips = TemporalEncoder(2 * 2 * NUM_LIPS + _LOOK, 5, dilations=(1, 2, 1))
        self.spectrum = SpectrumEncoder()
        self.voice = TemporalEncoder(self.spectrum.features, 3, dilations=(1, 2, 1))

    def visual(self, shapes: Tensor, mouths: Tensor) -> Tensor:
        """Unit vectors (batch, frames, 128) of what the lips do.

        shapes: (batch, frames, 40, 2) float, `mouth.lip_shapes`;
        mouths: (batch, frames, 48, 48) grey levels, float or uint8.
        """
        return self.visual_from_looks(shapes, self.looks(mouths, *brightness(mouths)))

    def looks(self, mouths: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """Per-frame features (batch, frames, 128) of mouth crops; mean, deviation: (batch, frames)
        grey levels, from `brightness`. Frames are independent here, so a long recording can pass
        through in chunks."""
        batch, frames = mouths.shape[:2]
        lit = (mouths.float() - mean[..., None, None]) / deviation[..., None, None]
        features: Tensor = self.look(lit.reshape(batch * frames, 1, CROP_SIZE, CROP_SIZE))
        return features.reshape(batch, frames, -1)

    def visual_from_looks(self, shapes: Tensor, looks: Tensor) -> Tensor:
        """As `visual`, with the mouth crops' features (batch, frames, 128) already made."""
        points = shapes.flatten(2).transpose(1, 2)
        points = (points - _local_mean(points, _NEIGHBOURHOOD)) * _LIP_SCALE
        motion = F.pad(points[:, :, 1:] - points[:, :, :-1], (1, 0)) * _LIP_SCALE
        return self._unit(self.lips(torch.cat([points, motion, looks.transpose(1, 2)], dim=1)))

    def audio(self, mels: Tensor) -> Tensor:
        """Unit vectors (batch, frames, 128) of what is heard.

        mels: (batch, 4 * frames, 40), `audio_features.log_mel`.
        """
        bands = mels.transpose(1, 2)
        bands = torch.maximum(bands, bands.amax(dim=(1, 2), keepdim=True) - _MEL_RANGE)
        bands = bands - _local_mean(bands, _NEIGHBOURHOOD * MFCC_PER_FRAME)
        return self._unit(self.voice(self.spectrum(bands[:, None] / _MEL_SCALE)))

    @staticmethod
    def _unit(features: Tensor) -> Tensor:
        return F.normalize(features.transpose(1, 2), dim=2)


class MouthEncoder(nn.Module):
    """One grey 48x48 crop to a vector; where in the crop something is stays in the features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_block2d(1, 48, stride=4, kernel=7),
            *_block2d(48, 64, stride=2),
            *_block2d(64, 64, stride=1),
            *_block2d(64, 96, stride=2),
            nn.Flatten(),
            nn.Linear(96 * (CROP_SIZE // 16) ** 2, features),
        )

    def forward(self, crops: Tensor) -> Tensor:
        """(n, 1, 48, 48) to (n, features)."""
        vectors: Tensor = self.layers(crops)
        return vectors


class SpectrumEncoder(nn.Module):
    """Log mel bands to 25 feature vectors a second; early layers also slide over frequency,
    because voices differ by a shift of it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_block2d(1, 24, stride=2),
            *_block2d(24, 48, stride=2),
            *_block2d(48, 64, stride=(2, 1)),
        )
        self.features = 64 * (MEL_BANDS // 8)

    def forward(self, bands: Tensor) -> Tensor:
        """(batch, 1, 40, 4 * frames) to (batch, features, frames)."""
        vectors: Tensor = self.layers(bands)
        return vectors.flatten(1, 2)


class TemporalEncoder(nn.Module):
    """Features over time to embeddings over time: (batch, features, frames) to
    (batch, 128, frames)."""

    def __init__(self, features: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.entry = nn.Sequential(*_block1d(features, kernel, 1))
        self.blocks = nn.ModuleList(
            nn.Sequential(*_block1d(_WIDTH, 3, dilation)) for dilation in dilations
        )
        self.exit = nn.Conv1d(_WIDTH, EMBEDDING_DIM, 1)

    def forward(self, features: Tensor) -> Tensor:
        hidden: Tensor = self.entry(features)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        embedded: Tensor = self.exit(hidden)
        return embedded


def brightness(mouths: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the grey levels around each frame: two (batch, frames) float tensors.

    mouths: (batch, frames, 48, 48).
    """
    pixels = mouths.flatten(2).float()
    mean = _local_mean(pixels.mean(2)[:, None], _NEIGHBOURHOOD)[:, 0]
    square = _local_mean(pixels.square().mean(2)[:, None], _NEIGHBOURHOOD)[:, 0]
    return mean, (square - mean.square()).clamp_min(1.0).sqrt()


def _local_mean(series: Tensor, steps: int) -> Tensor:
    """Running mean over about `steps` steps of (batch, channels, time); shorter at the ends."""
    half = steps // 2
    return F.avg_pool1d(series, 2 * half + 1, 1, half, count_include_pad=False)


def _block2d(
    inputs: int, outputs: int, stride: int | tuple[int, int], kernel: int = 3
) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def _block1d(inputs: int, kernel: int, dilation: int) -> tuple[nn.Module, ...]:
    reach = dilation * (kernel // 2)
    conv = nn.Conv1d(inputs, _WIDTH, kernel, padding=reach, dilation=dilation, bias=False)
    return conv, nn.BatchNorm1d(_WIDTH), nn.ReLU(inplace=True)
