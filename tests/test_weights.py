import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from syncnet_python import weights
from syncnet_python.detectors.bundled import BundledFaceDetector
from syncnet_python.errors import WeightsCorrupt, WeightsMissing
from syncnet_python.fcn_embedding import FcnEmbedder
from syncnet_python.landmarks import Landmarker
from syncnet_python.networks import s3fd, syncnet

BUNDLED = [row for row in weights.registry().values() if row.origin == "bundled"]
PUBLISHED = [row for row in weights.registry().values() if row.origin == "published"]


@pytest.mark.parametrize("row", BUNDLED, ids=lambda row: row.name)
def test_bundled_weights_are_there_and_what_the_registry_says(row: weights.WeightsEntry) -> None:
    path = weights.locate(row.name)
    assert path is not None
    state, info = weights.load(row.name)
    assert info.sha256 == row.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert all(v.dtype == torch.float32 for v in state.values() if v.is_floating_point())


@pytest.mark.parametrize("row", BUNDLED, ids=lambda row: row.name)
def test_every_bundled_model_has_a_card(row: weights.WeightsEntry) -> None:
    assert (weights.BUNDLED_DIR / f"{row.name}.md").is_file()


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.name)
def test_published_weights_can_be_verified(row: weights.WeightsEntry) -> None:
    assert row.url is not None
    assert row.url.startswith("https://")
    assert row.sha256 or row.git_blob


@pytest.mark.parametrize("row", weights.registry().values(), ids=lambda row: row.name)
def test_classifiers_state_their_classes_and_normalisation(row: weights.WeightsEntry) -> None:
    if row.role == "classifier":
        assert set(row.classes) == {"real", "fake"}
        assert row.input_size is not None
        assert len(row.mean) == len(row.std) == 3


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(WeightsMissing, match="known"):
        weights.entry("nonesuch")


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"syncnet_v2\.model"):
        weights.load("syncnet_v2", models_dir=tmp_path)


def test_an_explicit_path_comes_first_and_is_not_replaced_by_another(tmp_path: Path) -> None:
    row = BUNDLED[0]
    copy = tmp_path / "mine.pt"
    assert weights.locate(row.name, explicit=copy) is None
    shutil.copy(weights.BUNDLED_DIR / row.filename, copy)
    assert weights.locate(row.name, explicit=copy) == copy
    weights.load(row.name, explicit=copy)


def test_the_models_folder_comes_before_the_bundled_one(tmp_path: Path) -> None:
    row = BUNDLED[0]
    shutil.copy(weights.BUNDLED_DIR / row.filename, tmp_path)
    assert weights.locate(row.name, models_dir=tmp_path) == tmp_path / row.filename


def test_one_flipped_bit_is_refused(tmp_path: Path) -> None:
    row = BUNDLED[0]
    data = bytearray((weights.BUNDLED_DIR / row.filename).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / row.filename).write_bytes(data)
    with pytest.raises(WeightsCorrupt, match="hash differs"):
        weights.load(row.name, models_dir=tmp_path)


def test_a_truncated_file_is_refused_by_its_size(tmp_path: Path) -> None:
    row = BUNDLED[0]
    data = (weights.BUNDLED_DIR / row.filename).read_bytes()
    (tmp_path / row.filename).write_bytes(data[:-1])
    with pytest.raises(WeightsCorrupt, match="bytes"):
        weights.load(row.name, models_dir=tmp_path)


def test_a_git_blob_id_verifies_a_file_without_a_published_sha256(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hello\n")
    row = replace(PUBLISHED[0], size=None, sha256=None, git_blob=None)
    # `printf 'hello\n' | git hash-object --stdin`
    weights.verify_file(path, replace(row, git_blob="ce013625030ba8dba906f756967f9e9ca394464a"))
    with pytest.raises(WeightsCorrupt):
        weights.verify_file(path, replace(row, git_blob="0" * 40))
    with pytest.raises(WeightsCorrupt, match="no hash"):
        weights.verify_file(path, row)


def test_a_file_with_the_right_hash_that_is_no_state_dict_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "code.pt"
    torch.save(Path.cwd, path)  # a pickled callable: weights_only must refuse it
    row = replace(BUNDLED[0], size=None, sha256=weights.sha256_of(path))
    monkeypatch.setattr(weights, "entry", lambda name: row)
    with pytest.raises(WeightsCorrupt, match="state dict"):
        weights.load(row.name, explicit=path)


def test_a_file_that_holds_one_tensor_is_no_state_dict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tensor.pt"
    torch.save(torch.zeros(3), path)
    row = replace(BUNDLED[0], size=None, sha256=weights.sha256_of(path))
    monkeypatch.setattr(weights, "entry", lambda name: row)
    with pytest.raises(WeightsCorrupt, match="state dict"):
        weights.load(row.name, explicit=path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_what_is_verified_is_what_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    """The file is swapped for another as soon as its hash is known; both formats of torch."""
    path, other = tmp_path / "file.pt", tmp_path / "other.pt"
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
    torch.save({"w": torch.zeros(2)}, other)
    row = replace(BUNDLED[0], size=None, sha256=weights.sha256_of(path))
    monkeypatch.setattr(weights, "entry", lambda name: row)
    load = torch.load

    def swap_and_load(*args: object, **options: object) -> object:
        other.replace(path)
        return load(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "load", swap_and_load)
    state, info = weights.load(row.name, explicit=path)
    assert state["w"].tolist() == [1, 1]
    assert info.sha256 == row.sha256


def test_weights_known_by_their_git_blob_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.pt"
    torch.save({"w": torch.ones(2, dtype=torch.float16)}, path)
    row = replace(BUNDLED[0], size=None, sha256=None, git_blob=weights.git_blob_of(path))
    monkeypatch.setattr(weights, "entry", lambda name: row)
    state, info = weights.load(row.name, explicit=path)
    assert state["w"].dtype == torch.float32
    assert info.sha256 == weights.sha256_of(path)


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone.pt"
    monkeypatch.setattr(weights, "locate", lambda *args: gone)  # removed right after
    with pytest.raises(WeightsMissing, match=r"gone\.pt cannot be read"):
        weights.load(BUNDLED[0].name)


BUILDERS = {
    "face_finder": BundledFaceDetector,
    "face_landmarks": Landmarker,
    "syncnet_fcn": lambda state: FcnEmbedder(state, Landmarker.bundled()),
    "syncnet_v2": syncnet.build,
    "s3fd": s3fd.build,
}


@pytest.mark.parametrize("name", BUILDERS)
def test_parameters_of_another_network_are_refused_by_file_name(name: str) -> None:
    with pytest.raises(WeightsCorrupt, match=weights.entry(name).filename):
        BUILDERS[name]({"another": torch.zeros(1)})


def test_status_reads_no_weights(tmp_path: Path) -> None:
    rows = {row["name"]: row for row in weights.status(tmp_path)}
    assert all(rows[row.name]["available"] for row in BUNDLED)
    assert set(rows) == set(weights.registry())
