"""The networks of a profile, built from their weights on first use and kept."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from syncnet_python import weights
from syncnet_python.detectors import FaceDetector
from syncnet_python.detectors.bundled import BundledFaceDetector
from syncnet_python.detectors.s3fd import S3FDDetector
from syncnet_python.errors import ModelError
from syncnet_python.landmarks import Landmarker
from syncnet_python.networks.precision import Precision
from syncnet_python.pipeline import SyncNetwork
from syncnet_python.profiles import Profile, choose
from syncnet_python.results import ModelInfo
from syncnet_python.sync_networks import FcnSyncNet, SyncNetV2

Device = Literal["auto", "cpu", "cuda"]


class Networks:
    """The networks of one profile, each loaded when it is first asked for.

    paths: weights files by registry name; they come before models_dir, and that before the
    bundled folder. Raises ModelError from whatever loads.
    """

    def __init__(
        self,
        profile: Profile = "auto",
        models_dir: Path | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
        paths: Mapping[str, Path] | None = None,
    ) -> None:
        self.choice = choose(profile, models_dir, paths)
        self.device = resolve_device(device)
        self.precision: Precision = precision
        self._models_dir = models_dir
        self._paths = dict(paths or {})
        self._loaded: dict[str, ModelInfo] = {}
        self._detector: FaceDetector | None = None
        self._sync: SyncNetwork | None = None
        self._landmarker: Landmarker | None = None

    def weights(self, name: str) -> tuple[dict[str, Tensor], ModelInfo]:
        """The state dict of a registry name, from where this profile finds it."""
        state, info = weights.load(name, self._models_dir, self._paths.get(name))
        self._loaded[name] = info
        return state, info

    def face_detector(self) -> FaceDetector:
        if self._detector is None:
            state, _ = self.weights(self.choice.face_detector)
            self._detector = DETECTORS[self.choice.face_detector](state, self.device)
        return self._detector

    def landmarker(self) -> Landmarker:
        if self._landmarker is None:
            self._landmarker = Landmarker(self.weights("face_landmarks")[0])
        return self._landmarker

    def sync(self) -> SyncNetwork:
        if self._sync is None:
            self._sync = SYNC_NETWORKS[self.choice.sync](self)
        return self._sync

    def info(self) -> dict[str, ModelInfo]:
        """What is loaded, by registry name."""
        return dict(self._loaded)


def resolve_device(device: Device) -> str:
    """The device to use: with "auto", CUDA where there is one. Raises ModelError."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("DEVICE is cuda, but there is none here: set it to auto or cpu")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def _syncnet_v2(networks: Networks) -> SyncNetwork:
    state, info = networks.weights("syncnet_v2")
    return SyncNetV2(state, info, networks.device, networks.precision)


def _syncnet_fcn(networks: Networks) -> SyncNetwork:
    state, info = networks.weights("syncnet_fcn")
    return FcnSyncNet(state, info, networks.landmarker())


DETECTORS: Mapping[str, Callable[[dict[str, Tensor], str], FaceDetector]] = {
    "face_finder": lambda state, device: BundledFaceDetector(state),
    "s3fd": S3FDDetector,
}

SYNC_NETWORKS: Mapping[str, Callable[[Networks], SyncNetwork]] = {
    "syncnet_fcn": _syncnet_fcn,
    "syncnet_v2": _syncnet_v2,
}
