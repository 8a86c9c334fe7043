"""The networks of a profile, built from their weights on first use and kept."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from syncnet_python import cropping, offset, weights
from syncnet_python.detectors import FaceDetector, s3fd
from syncnet_python.detectors.bundled import BundledFaceDetector
from syncnet_python.detectors.s3fd import S3FDDetector
from syncnet_python.errors import ModelError
from syncnet_python.landmarks import Landmarker
from syncnet_python.networks.precision import Precision
from syncnet_python.pipeline import SyncNetwork
from syncnet_python.profiles import Network, Options, Profile, choose
from syncnet_python.results import ModelInfo
from syncnet_python.sync_networks import FcnSyncNet, SyncNetV2

Device = Literal["auto", "cpu", "cuda"]


class Networks:
    """The networks of one profile, each loaded when it is first asked for.

    paths: weights files by registry name; they come before models_dir, and that before the
    bundled folder. network: another sync network than the profile's, as for `profiles.choose`;
    facedet_scale, crop_scale, vshift: as in `profiles.Options`. Raises OptionRefused for those of
    other networks, ModelError from whatever loads.
    """

    def __init__(
        self,
        profile: Profile = "auto",
        models_dir: Path | None = None,
        device: Device = "auto",
        precision: Precision = "auto",
        paths: Mapping[str, Path] | None = None,
        *,
        network: Network | None = None,
        facedet_scale: float | None = None,
        crop_scale: float | None = None,
        vshift: int | None = None,
    ) -> None:
        self.choice = choose(profile, models_dir, paths, network)
        self.options = Options(facedet_scale, crop_scale, vshift)
        self.options.check(self.choice)
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
            scale = self.options.facedet_scale
            chosen = {} if scale is None else {"scale": scale}
            self._detector = DETECTORS[self.choice.face_detector](state, self.device, **chosen)
        return self._detector

    def landmarker(self) -> Landmarker:
        if self._landmarker is None:
            state, _ = self.weights("face_landmarks")
            self._landmarker = Landmarker(state, precision=self.precision)
        return self._landmarker

    def sync(self) -> SyncNetwork:
        if self._sync is None:
            self._sync = SYNC_NETWORKS[self.choice.sync](self)
        return self._sync

    def altered(self) -> tuple[str, ...]:
        """Names of the options by which figures differ from those that everybody else has."""
        usual = Options(s3fd.SCALE, cropping.CROP_SCALE, offset.MAX_SHIFT)
        return tuple(
            field.name
            for field in fields(self.options)
            if getattr(self.options, field.name) not in (None, getattr(usual, field.name))
        )

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
    margin, vshift = networks.options.crop_scale, networks.options.vshift
    return SyncNetV2(
        state,
        info,
        networks.device,
        networks.precision,
        crop_scale=cropping.CROP_SCALE if margin is None else margin,
        max_shift=offset.MAX_SHIFT if vshift is None else vshift,
    )


def _syncnet_fcn(networks: Networks) -> SyncNetwork:
    state, info = networks.weights("syncnet_fcn")
    vshift = networks.options.vshift
    max_shift = offset.MAX_SHIFT if vshift is None else vshift
    return FcnSyncNet(state, info, networks.landmarker(), max_shift=max_shift)


DETECTORS: Mapping[str, Callable[..., FaceDetector]] = {
    "face_finder": lambda state, device: BundledFaceDetector(state),
    "s3fd": S3FDDetector,
}

SYNC_NETWORKS: Mapping[str, Callable[[Networks], SyncNetwork]] = {
    "syncnet_fcn": _syncnet_fcn,
    "syncnet_v2": _syncnet_v2,
}
