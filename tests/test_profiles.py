import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from syncnet_python import assembly, profiles, weights


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / weights.entry(name).filename).write_bytes(b"")
    return folder


def test_every_choice_is_registered_and_can_be_built() -> None:
    for choice in (profiles.BUNDLED, profiles.PUBLISHED):
        assert weights.entry(choice.face_detector).role == "face_detector"
        assert weights.entry(choice.sync).role == "sync"
        assert weights.entry(choice.classifier).role == "classifier"
        assert choice.face_detector in assembly.DETECTORS
        assert choice.sync in assembly.SYNC_NETWORKS


def test_named_profiles_do_not_look_at_what_is_there(tmp_path: Path) -> None:
    assert profiles.choose("bundled", files(tmp_path, "s3fd", "syncnet_v2")) == profiles.BUNDLED
    assert profiles.choose("published", tmp_path) == profiles.PUBLISHED


def test_auto_takes_syncnet_v2_only_together_with_its_detector(tmp_path: Path) -> None:
    assert profiles.choose("auto", tmp_path) == profiles.BUNDLED
    files(tmp_path, "syncnet_v2")
    assert profiles.choose("auto", tmp_path).sync == "syncnet_fcn"
    files(tmp_path, "s3fd")
    choice = profiles.choose("auto", tmp_path)
    assert (choice.face_detector, choice.sync) == ("s3fd", "syncnet_v2")
    assert choice.classifier == "efficientnet_b0"


def test_auto_takes_the_published_classifier_by_itself(tmp_path: Path) -> None:
    path = files(tmp_path, "deepfakedetector_b0_v3") / "best_model-v3.pt"
    choice = profiles.choose("auto", paths={"deepfakedetector_b0_v3": path})
    assert choice.classifier == "deepfakedetector_b0_v3"
    assert choice.sync == "syncnet_fcn"


@pytest.mark.parametrize("profile", get_args(profiles.Profile))
def test_a_network_by_name_comes_whatever_the_profile_says(
    profile: profiles.Profile, tmp_path: Path
) -> None:
    usual = profiles.choose(profile, tmp_path)
    original = profiles.choose(profile, tmp_path, network="original")
    assert original == replace(profiles.PUBLISHED, classifier=usual.classifier)
    fcn = profiles.choose(profile, tmp_path, network="fcn")
    finder = "s3fd" if profile == "published" else "face_finder"
    bundled = replace(profiles.BUNDLED, classifier=usual.classifier)
    assert fcn == replace(bundled, face_detector=finder)


def test_options_belong_to_networks() -> None:
    every = profiles.Options(facedet_scale=0.5, crop_scale=0.3, vshift=20)
    every.check(profiles.PUBLISHED)
    profiles.Options(vshift=20).check(profiles.BUNDLED)
    for name in ("facedet_scale", "crop_scale"):
        with pytest.raises(profiles.OptionRefused, match=name) as refused:
            profiles.Options(**{name: 0.4}).check(profiles.BUNDLED)
        assert refused.value.option == name
    s3fd_fcn = profiles.choose("published", network="fcn")
    profiles.Options(facedet_scale=0.5).check(s3fd_fcn)


@pytest.mark.parametrize(
    "wrong",
    [
        {"facedet_scale": 0.0},
        {"facedet_scale": math.inf},
        {"crop_scale": -0.1},
        {"crop_scale": math.nan},
        {"vshift": 0},
        {"vshift": 251},
    ],
)
def test_options_that_nothing_can_have_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(profiles.OptionRefused) as refused:
        profiles.Options(**wrong)  # type: ignore[arg-type]
    assert [refused.value.option] == list(wrong)
    again = pickle.loads(pickle.dumps(refused.value))
    assert str(again) == str(refused.value)
