from pathlib import Path

import pytest

from syncnet_python import assembly
from syncnet_python.errors import WeightsMissing


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
