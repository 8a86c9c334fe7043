from pathlib import Path

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
