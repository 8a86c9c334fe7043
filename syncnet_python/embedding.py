"""Crops and MFCC -> SyncNet embeddings, one pair for every window of five frames.

The lip tower's first layer is more than half of the arithmetic, and its windows overlap by four
frames; see `networks.syncnet.lean` for how the towers are made fast. The audio tower is not run
once over the whole recording and then sliced: its layers pad with zeros at the window's two ends,
which an unbroken run has nowhere but at the recording's.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from syncnet_python.audio_features import MFCC_PER_FRAME, mfcc
from syncnet_python.errors import TrackTooShort
from syncnet_python.networks import syncnet
from syncnet_python.networks.folding import fold_batch_norms
from syncnet_python.networks.precision import Precision, inference_dtype
from syncnet_python.networks.syncnet import EMBEDDING_SIZE, WINDOW_FRAMES, WINDOW_STEPS
from syncnet_python.results import SAMPLES_PER_FRAME

WindowProtocol = Literal["reference", "complete"]
"""Which windows count: "complete", every five frames that have both picture and sound;
"reference", all of them but the last, which the reference drops."""

# The first layer makes 4.6 MB of float32 a window, which should still be in the caches when the
# pooling reads it. Smaller batches lose more at the threads' meeting points.
_VISUAL_BATCH = 8
_AUDIO_BATCH = 64


class Crops(Protocol):
    """Crops that can be counted before they are made: a list, an array, or a lazy sequence."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[NDArray[np.uint8]]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """visual, audio: (windows, 1024) float32; row i belongs to frames i to i + 4 of the track.
    protocol: which windows there are."""

    visual: NDArray[np.float32]
    audio: NDArray[np.float32]
    protocol: WindowProtocol


def count_windows(frames: int, samples: int, protocol: WindowProtocol) -> int:
    """Windows of a track with this many frames and audio samples; below 1, it is too short."""
    complete = min(frames, samples // SAMPLES_PER_FRAME) - WINDOW_FRAMES + 1
    return complete - 1 if protocol == "reference" else complete


class SyncNetEmbedder:
    """SyncNet v2 ready to run.

    state: parameters of syncnet_v2.model; device: a torch device; precision: "float32", or "auto"
    for bfloat16 convolutions where the processor has them (distances then differ by less than
    1 %). Raises WeightsCorrupt for other parameters.
    """

    def __init__(
        self, state: Mapping[str, Tensor], device: str = "cpu", precision: Precision = "auto"
    ) -> None:
        network = syncnet.build(state)
        self._device = torch.device(device)
        self._dtype = inference_dtype(self._device, precision)
        self._lip = self._ready(syncnet.lean(network.netcnnlip), self._dtype)
        self._lip_head = self._ready(fold_batch_norms(network.netfclip), torch.float32)
        self._sound = self._ready(syncnet.lean(network.netcnnaud), self._dtype)
        self._sound_head = self._ready(fold_batch_norms(network.netfcaud), torch.float32)

    def embed(
        self, crops: Crops, audio: NDArray[np.int16], protocol: WindowProtocol = "complete"
    ) -> Embeddings:
        """Embeddings of one track.

        crops: (224, 224, 3) BGR uint8 each, 25 a second; audio: (samples,) int16 mono at 16 kHz
        that starts with the first crop. Raises TrackTooShort where there is no window.
        """
        windows = count_windows(len(crops), len(audio), protocol)
        if windows < 1:
            raise TrackTooShort(
                f"{len(crops)} frames with {len(audio)} audio samples hold no window of "
                f"{WINDOW_FRAMES} frames"
            )
        return Embeddings(self.visual(crops, windows), self.audio(mfcc(audio), windows), protocol)

    def visual(self, crops: Iterable[NDArray[np.uint8]], windows: int) -> NDArray[np.float32]:
        """(windows, 1024) float32 of the first `windows` + 4 crops, (224, 224, 3) BGR uint8 each.

        Crops are taken one batch at a time, so they may be made on the way. Raises ValueError where
        they are fewer.
        """
        embeddings = np.empty((windows, EMBEDDING_SIZE), np.float32)
        source = iter(crops)
        held = list(islice(source, WINDOW_FRAMES - 1))
        for first in range(0, windows, _VISUAL_BATCH):
            count = min(_VISUAL_BATCH, windows - first)
            held += islice(source, count)
            if len(held) < count + WINDOW_FRAMES - 1:
                raise ValueError(f"the crops end before window {windows}")
            frames = torch.from_numpy(np.stack(held)).to(self._device, self._dtype)
            # (n, h, w, 3, 5): the five frames of every window as one more axis, not yet copied.
            stacked = frames.unfold(0, WINDOW_FRAMES, 1).flatten(-2)
            batch = self._run(self._lip, self._lip_head, stacked.permute(0, 3, 1, 2))
            embeddings[first : first + count] = batch
            held = held[count:]
        return embeddings

    def audio(self, features: NDArray[np.floating], windows: int) -> NDArray[np.float32]:
        """(windows, 1024) float32 of MFCC (13, steps), four steps a frame.

        The features of a recording of n frames have 4n - 1 steps; the last one is repeated where
        the last window needs it.
        """
        steps = MFCC_PER_FRAME * (windows - 1) + WINDOW_STEPS
        missing = max(0, steps - features.shape[1])
        padded = np.pad(features.astype(np.float32), ((0, 0), (0, missing)), mode="edge")
        slices = torch.from_numpy(padded).unfold(1, WINDOW_STEPS, MFCC_PER_FRAME)
        inputs = slices.transpose(0, 1)[:windows, None]
        embeddings = np.empty((windows, EMBEDDING_SIZE), np.float32)
        for first in range(0, windows, _AUDIO_BATCH):
            batch = inputs[first : first + _AUDIO_BATCH].to(self._device, self._dtype)
            embeddings[first : first + len(batch)] = self._run(
                self._sound, self._sound_head, batch.contiguous(memory_format=torch.channels_last)
            )
        return embeddings

    @torch.inference_mode()
    def _run(self, tower: nn.Module, head: nn.Module, batch: Tensor) -> NDArray[np.float32]:
        embeddings: NDArray[np.float32] = head(tower(batch).flatten(1).float()).cpu().numpy()
        return embeddings

    def _ready(self, network: nn.Sequential, dtype: torch.dtype) -> nn.Sequential:
        network = network.requires_grad_(False).to(self._device, dtype)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
