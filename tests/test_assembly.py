from pathlib import Path

import numpy as np
import parity
import pytest
from numpy.typing import NDArray
from torch import Tensor

from syncnet_python import assembly, weights
from syncnet_python.detectors import s3fd
from syncnet_python.errors import WeightsMissing
from syncnet_python.profiles import OptionRefused
from syncnet_python.results import ModelInfo


def test_networks_load_once_and_say_what_they_are() -> None:
    networks = assembly.Networks("bundled", device="cpu")
    assert networks.info() == {}
    assert networks.face_detector() is networks.face_detector()
    assert networks.info()["face_finder"].origin == "bundled"
    assert networks.sync() is networks.sync()
    assert set(networks.info()) == {"face_finder", "face_landmarks", "syncnet_fcn"}


def test_published_networks_that_are_not_here_are_named(tmp_path: Path) -> None:
    networks = assembly.Networks("published", models_dir=tmp_path, device="cpu")
    with pytest.raises(WeightsMissing, match=r"sfd_face\.pth"):
        networks.face_detector()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-in weights for the published networks."""
    states = {"syncnet_v2": parity.syncnet_state, "s3fd": parity.s3fd_state}

    def load(name: str, *where: object) -> tuple[dict[str, Tensor], ModelInfo]:
        return states[name](), ModelInfo(name, "test", "published", "0" * 64)

    monkeypatch.setattr(weights, "load", load)


@pytest.mark.slow
@pytest.mark.usefixtures("published")
def test_options_reach_the_networks_they_belong_to(monkeypatch: pytest.MonkeyPatch) -> None:
    scales: list[float] = []
    resize = s3fd.network_input

    def seen(frame: NDArray[np.uint8], scale: float) -> NDArray[np.float32]:
        scales.append(scale)
        return resize(frame, scale)

    monkeypatch.setattr(s3fd, "network_input", seen)
    chosen = {"facedet_scale": 1.0, "crop_scale": 0.6, "vshift": 4}
    networks = assembly.Networks("bundled", device="cpu", network="original", **chosen)  # type: ignore[arg-type]
    assert networks.altered() == ("facedet_scale", "crop_scale", "vshift")
    assert networks.sync().protocol == "syncnet-v2/complete-windows/crop-0.6/vshift-4"
    frames = [np.random.default_rng(0).integers(0, 256, (160, 200, 3)).astype(np.uint8)]
    for made in (networks, assembly.Networks("published", device="cpu")):
        made.face_detector().detect(frames)
    assert scales == [1.0, 0.25]


@pytest.mark.usefixtures("published")
def test_the_reference_options_are_those_of_everybody() -> None:
    named = assembly.Networks("published", facedet_scale=0.25, crop_scale=0.4, vshift=15)
    assert named.altered() == ()
    assert named.sync().protocol == assembly.Networks("published").sync().protocol


def test_fcn_searches_as_far_as_it_is_told() -> None:
    networks = assembly.Networks("published", device="cpu", network="fcn", vshift=20)
    assert networks.choice.face_detector == "s3fd"
    assert networks.sync().protocol == "fcn-syncnet/valid-pairs/vshift-20"
    assert networks.altered() == ("vshift",)


def test_options_of_other_networks_are_refused_before_anything_is_loaded() -> None:
    with pytest.raises(OptionRefused, match="facedet_scale is for S3FD"):
        assembly.Networks("bundled", facedet_scale=0.25)
    with pytest.raises(OptionRefused, match="crop_scale is for SyncNet v2"):
        assembly.Networks("published", network="fcn", crop_scale=0.4)
