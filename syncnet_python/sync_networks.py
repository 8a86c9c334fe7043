"""The sync networks as the pipeline calls them: a track or its sound in, embeddings out."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from syncnet_python import cropping, offset
from syncnet_python import scale as scales
from syncnet_python.audio_features import mfcc
from syncnet_python.embedding import SyncNetEmbedder, count_windows
from syncnet_python.fcn_embedding import FcnEmbedder
from syncnet_python.landmarks import Landmarker
from syncnet_python.media import Frames
from syncnet_python.networks.precision import Precision
from syncnet_python.networks.syncnet import EMBEDDING_SIZE, WINDOW_FRAMES
from syncnet_python.networks.syncnet_fcn import EMBEDDING_DIM
from syncnet_python.pipeline import SyncNetwork
from syncnet_python.results import SAMPLES_PER_FRAME, ModelInfo
from syncnet_python.scale import SYNCNET_V2
from syncnet_python.tracking import Track


class SyncNetV2(SyncNetwork):
    """SyncNet v2 on the reference's crops. See `pipeline.SyncNetwork`.

    Differs from the reference in keeping the last complete window, which `protocol` says.
    crop_scale: as in `cropping.crop`; max_shift: frames of offset searched on either side. Where
    they are not the reference's, `protocol` says so.
    """

    protocol = "syncnet-v2/complete-windows"
    scale = SYNCNET_V2
    padding: offset.Padding = "zero"
    reads_landmarks = False

    def __init__(
        self,
        state: Mapping[str, Tensor],
        info: ModelInfo,
        device: str,
        precision: Precision,
        *,
        crop_scale: float = cropping.CROP_SCALE,
        max_shift: int = offset.MAX_SHIFT,
    ) -> None:
        self.info = info
        self._crop_scale = crop_scale
        if crop_scale != cropping.CROP_SCALE:
            self.protocol += f"/crop-{crop_scale:g}"
        self.max_shift = max_shift
        self.protocol += _reach(max_shift)
        self._embedder = SyncNetEmbedder(state, device, precision)

    def visual(
        self, frames: Frames, track: Track, points: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        windows = max(0, len(track) - WINDOW_FRAMES + 1)
        return self._embedder.visual(_TrackCrops(frames, track, self._crop_scale), windows)

    def audio(self, samples: NDArray[np.int16], num_frames: int) -> NDArray[np.float32]:
        windows = count_windows(num_frames, len(samples), "complete")
        if windows < 1:
            return np.empty((0, EMBEDDING_SIZE), np.float32)
        return self._embedder.audio(mfcc(samples[: num_frames * SAMPLES_PER_FRAME]), windows)


class _TrackCrops:
    """Crops of a track, made when they are asked for, so that few are held at a time."""

    def __init__(self, frames: Frames, track: Track, scale: float) -> None:
        self._frames = frames
        self._track = track
        self._scale = scale
        self._path = cropping.smooth(track.boxes)

    def __len__(self) -> int:
        return len(self._track)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        path = self._path
        for index, x, y, size in zip(self._track.frames, path.x, path.y, path.size, strict=True):
            yield cropping.crop(self._frames.bgr(int(index)), x, y, size, self._scale)


class FcnSyncNet(SyncNetwork):
    """The bundled FCN-SyncNet on landmarks and mouth crops. See `pipeline.SyncNetwork`.

    Every frame is a window; offsets average over the pairs that exist. Distances lie between 0
    and 2, those of unit vectors. max_shift: frames of offset searched on either side; `protocol`
    says where they are not 15.
    """

    protocol = "fcn-syncnet/valid-pairs"
    padding: offset.Padding = "valid"
    reads_landmarks = True

    def __init__(
        self,
        state: Mapping[str, Tensor],
        info: ModelInfo,
        landmarker: Landmarker,
        *,
        max_shift: int = offset.MAX_SHIFT,
    ) -> None:
        self.info = info
        self.max_shift = max_shift
        self.protocol += _reach(max_shift)
        self.scale = scales.load(info.name)
        self._embedder = FcnEmbedder(state, landmarker)

    def visual(
        self, frames: Frames, track: Track, points: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        return self._embedder.visual(frames, track, points)

    def audio(self, samples: NDArray[np.int16], num_frames: int) -> NDArray[np.float32]:
        if not len(samples):
            return np.empty((0, EMBEDDING_DIM), np.float32)
        return self._embedder.audio(samples, num_frames)


def _reach(max_shift: int) -> str:
    """What a protocol's name ends in: another reach gives other figures."""
    return "" if max_shift == offset.MAX_SHIFT else f"/vshift-{max_shift}"
