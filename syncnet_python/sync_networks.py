"""The sync networks as the pipeline calls them: frames, sound and a track in, distances out."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from syncnet_python import calibration, cropping, offset
from syncnet_python.calibration import SYNCNET_V2
from syncnet_python.embedding import SyncNetEmbedder, count_windows
from syncnet_python.fcn_embedding import FcnEmbedder
from syncnet_python.landmarks import Landmarker
from syncnet_python.media import Frames
from syncnet_python.networks.precision import Precision
from syncnet_python.results import ModelInfo
from syncnet_python.tracking import Track

_NO_WINDOWS: NDArray[np.float32] = np.empty((0, 2 * offset.MAX_SHIFT + 1), np.float32)


class SyncNetV2:
    """SyncNet v2 on the reference's crops. See `pipeline.SyncNetwork`.

    Differs from the reference in keeping the last complete window, which `protocol` says.
    """

    protocol = "syncnet-v2/complete-windows"
    scale = SYNCNET_V2

    def __init__(
        self, state: Mapping[str, Tensor], info: ModelInfo, device: str, precision: Precision
    ) -> None:
        self.info = info
        self._embedder = SyncNetEmbedder(state, device, precision)

    def distances(
        self, frames: Frames, audio: NDArray[np.int16], track: Track
    ) -> NDArray[np.float32]:
        if count_windows(len(track), len(audio), "complete") < 1:
            return _NO_WINDOWS
        embeddings = self._embedder.embed(_TrackCrops(frames, track), audio)
        return offset.distances(embeddings.visual, embeddings.audio)


class _TrackCrops:
    """Crops of a track, made when they are asked for, so that few are held at a time."""

    def __init__(self, frames: Frames, track: Track) -> None:
        self._frames = frames
        self._track = track
        self._path = cropping.smooth(track.boxes)

    def __len__(self) -> int:
        return len(self._track)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        path = self._path
        for index, x, y, size in zip(self._track.frames, path.x, path.y, path.size, strict=True):
            yield cropping.crop(self._frames.bgr(int(index)), x, y, size)


class FcnSyncNet:
    """The bundled FCN-SyncNet on landmarks and mouth crops. See `pipeline.SyncNetwork`.

    Every frame is a window; offsets average over the pairs that exist. Distances lie between 0
    and 2, those of unit vectors.
    """

    protocol = "fcn-syncnet/valid-pairs"

    def __init__(
        self, state: Mapping[str, Tensor], info: ModelInfo, landmarker: Landmarker
    ) -> None:
        self.info = info
        self.scale = calibration.load(info.name)
        self._embedder = FcnEmbedder(state, landmarker)

    def distances(
        self, frames: Frames, audio: NDArray[np.int16], track: Track
    ) -> NDArray[np.float32]:
        if not len(audio):
            return _NO_WINDOWS
        visual = self._embedder.visual(frames, track)
        heard = self._embedder.audio(audio, len(track))
        return offset.distances(visual, heard, padding="valid")
