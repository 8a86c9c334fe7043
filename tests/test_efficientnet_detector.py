import base64
import functools
import hashlib
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import spearmanr

import efficientnet_detector
from efficientnet_detector import EfficientNetDetector, aggregate, temporal_consistency
from syncnet_python import face_crops, heat_map, weights
from syncnet_python.assembly import Networks
from syncnet_python.errors import WeightsCorrupt, WeightsMissing
from syncnet_python.networks import efficientnet
from syncnet_python.weights import WeightsEntry

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
probability = st.floats(0, 1)


@functools.cache
def _random_state(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    network = efficientnet.EfficientNetB0(dropout=0, drop_connect=0).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # so that one batch sets the statistics and signals live on
    pictures = np.stack([picture(i)[..., ::-1] for i in range(16)])
    inputs = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - 0.4
    with torch.no_grad():
        logits = network(inputs * 4)
        network._fc.weight /= logits.std()
        network._fc.bias.copy_(-logits.mean(0) / logits.std())
    return network.state_dict()


def random_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """A network that answers differently, and undecidedly, to different pictures."""
    return {name: value.clone() for name, value in _random_state(seed).items()}


@pytest.fixture
def register(tmp_path, monkeypatch):
    """Writes a weights file and makes the registry hold nothing but it and earlier ones."""
    rows: dict[str, WeightsEntry] = {}
    monkeypatch.setattr(weights, "registry", lambda: rows)
    monkeypatch.setattr(weights, "BUNDLED_DIR", tmp_path)

    def add(state, name="efficientnet_b0", **fields):
        path = tmp_path / f"{name}.pt"
        torch.save(state, path)
        row = WeightsEntry(
            name=name,
            role="classifier",
            origin="bundled",
            layout="efficientnet_b0",
            filename=path.name,
            version="test",
            licence="MIT",
            sha256=weights.sha256_of(path),
            classes=("fake", "real"),
            input_size=64,
            mean=MEAN,
            std=STD,
        )
        rows[name] = replace(row, **fields)
        return path

    return add


def picture(seed: int = 0, height: int = 64, width: int = 64) -> np.ndarray:
    """A smooth colourful BGR picture."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)


def detector(**options) -> EfficientNetDetector:
    return EfficientNetDetector(device="cpu", precision="float32", **options)


def by_hand(state, bgr, *, mean=MEAN, std=STD, layout="efficientnet_b0") -> torch.Tensor:
    """Class probabilities, in the network's order, of a picture of the input size."""
    rgb = torch.tensor(bgr[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    inputs = (rgb - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.inference_mode():
        return efficientnet.from_state(state, layout)(inputs).softmax(1)[0]


def test_answers_what_the_network_says_of_the_normalised_rgb_picture(register):
    state = random_state()
    register(state)
    frames = [picture(seed) for seed in range(3)]
    scores = detector().predict_frames(frames)
    wanted = [float(by_hand(state, frame)[1]) for frame in frames]
    assert scores == pytest.approx(wanted, abs=1e-4)
    assert np.std(scores) > 0.01


def test_pil_and_array_of_one_picture_agree_and_colours_matter(register):
    register(random_state())
    bgr = picture()
    classifier = detector()
    pil = Image.fromarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    as_array, as_pil, swapped = classifier.predict_frames([bgr, pil, bgr[..., ::-1]])
    assert as_pil == pytest.approx(as_array, abs=1e-6)
    assert abs(swapped - as_array) > 1e-3


def test_a_network_that_sees_red_only_sees_the_red_of_both_kinds(register):
    state = random_state()
    state["_conv_stem.weight"][:, 1:] = 0
    register(state)
    classifier = detector()
    plain = picture()
    less_blue, less_red = plain.copy(), plain.copy()
    less_blue[..., 0] //= 2
    less_red[..., 2] //= 2
    pil_less_red = Image.fromarray(np.ascontiguousarray(less_red[..., ::-1]))
    base, blue, red, pil = classifier.predict_frames([plain, less_blue, less_red, pil_less_red])
    assert blue == pytest.approx(base, abs=1e-6)
    assert abs(red - base) > 1e-3
    assert pil == pytest.approx(red, abs=1e-6)


def test_class_order_comes_from_the_registry(register):
    state = random_state()
    register(state)
    score = detector().predict_frames([picture()])[0]
    register(state, classes=("real", "fake"))
    assert detector().predict_frames([picture()])[0] == pytest.approx(1 - score, abs=1e-6)


def test_size_and_normalisation_come_from_the_registry(register):
    state = random_state()
    register(state, input_size=96, mean=(0.1, 0.2, 0.3), std=(1.0, 0.9, 0.8))
    frame = picture(height=96, width=96)
    wanted = by_hand(state, frame, mean=(0.1, 0.2, 0.3), std=(1.0, 0.9, 0.8))[1]
    assert detector().predict_frames([frame])[0] == pytest.approx(float(wanted), abs=1e-4)


def test_torchvision_layout_in_a_file_known_by_its_git_blob(register, tmp_path):
    theirs = {ours: name for name, ours in efficientnet._torchvision_modules().items()}
    state = {}
    for name, value in random_state().items():
        module, _, parameter = name.rpartition(".")
        state[f"{theirs[module]}.{parameter}"] = value
    path = register(
        state,
        name="published",
        layout="efficientnet_b0_torchvision",
        classes=("real", "fake"),
        sha256=None,
    )
    data = path.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    register(
        state,
        name="published",
        layout="efficientnet_b0_torchvision",
        classes=("real", "fake"),
        sha256=None,
        git_blob=blob,
    )
    register(random_state(1))
    renamed = tmp_path / "some-name.bin"
    renamed.write_bytes(data)
    classifier = detector(model_path=renamed)
    score = classifier.predict_frames([picture()])[0]
    wanted = by_hand(state, picture(), layout="efficientnet_b0_torchvision")[0]
    assert score == pytest.approx(float(wanted), abs=1e-4)
    assert classifier.info.name == "published"


def test_any_size_is_squeezed_to_the_input(register):
    register(random_state())
    frames = [picture(height=100, width=50), picture(height=20, width=30), picture()]
    classifier = detector()
    together = classifier.predict_frames(frames)
    alone = [classifier.predict_frames([frame])[0] for frame in frames]
    assert together == pytest.approx(alone, abs=1e-5)


def test_more_frames_than_a_batch_keep_their_order(register):
    register(random_state())
    classifier = detector()
    frames = [picture(seed) for seed in range(efficientnet_detector.BATCH + 3)]
    scores = classifier.predict_frames(frames)
    assert len(scores) == len(frames)
    assert scores[-1] == pytest.approx(classifier.predict_frames(frames[-1:])[0], abs=1e-5)
    assert classifier.predict_frames([]) == []


def test_predict_image_and_judge_say_the_same_score(register):
    register(random_state())
    classifier = detector()
    one = classifier.predict_image(picture())
    assert one.probabilities["real"] == one.score
    assert one.probabilities["fake"] == pytest.approx(1 - one.score)
    assert one.is_real == (one.score > 0.5)
    judged = classifier.judge([picture()], [0.4])
    assert judged.score == pytest.approx(one.score)
    assert judged.confidence == pytest.approx(one.confidence)
    assert judged.frame_times == (0.4,)


def test_weights_are_read_on_first_use_and_once_by_all_threads(register, monkeypatch):
    register(random_state())
    reads = []
    read = weights.load
    monkeypatch.setattr(weights, "load", lambda *a, **k: reads.append(a) or read(*a, **k))
    classifier = detector()
    assert classifier.info is None
    assert not reads
    threads = [threading.Thread(target=classifier.load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) == 1
    assert classifier.info.name == "efficientnet_b0"
    assert classifier.load() is classifier.info


def test_from_networks_takes_the_profile_s_file(register, tmp_path):
    path = register(random_state())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = path.rename(elsewhere / path.name)
    found = Networks("bundled", models_dir=elsewhere, device="cpu")
    assert EfficientNetDetector.from_networks(found).load().sha256 == weights.sha256_of(moved)
    with pytest.raises(WeightsMissing):
        EfficientNetDetector.from_networks(Networks("bundled", device="cpu")).load()


def test_unknown_files_are_refused_by_name(register, tmp_path):
    register(random_state())
    stranger = tmp_path / "stranger.pt"
    torch.save(random_state(5), stranger)
    with pytest.raises(WeightsCorrupt, match="stranger"):
        detector(model_path=stranger).load()
    with pytest.raises(WeightsMissing, match="nowhere"):
        detector(model_path=tmp_path / "nowhere.pt").load()


def test_weights_that_do_not_fit_their_row_are_refused(register):
    register(random_state(), layout="efficientnet_b0_torchvision")
    with pytest.raises(WeightsCorrupt, match="does not fit"):
        detector().load()
    register(random_state(), classes=("cat", "dog"))
    with pytest.raises(WeightsCorrupt, match="registry"):
        detector().load()


def test_pictures_of_another_kind_are_refused(register):
    register(random_state())
    classifier = detector()
    for shape, kind in (((8, 8), np.uint8), ((8, 8, 3), np.float32)):
        with pytest.raises(ValueError, match="BGR"):
            classifier.predict_frames([np.zeros(shape, kind)])


def test_aggregate():
    result = aggregate([0.2, 0.6, 0.4], [0.0, 1.0, 2.0])
    assert result.score == pytest.approx(0.4)
    assert not result.is_real
    assert result.confidence == pytest.approx(0.2)
    assert result.consistency == pytest.approx(1 - 2 * np.std([0.2, 0.6, 0.4]))
    assert result.statistics.min == 0.2
    assert result.statistics.max == 0.6
    assert aggregate([0.0, 1.0], [0, 1]).consistency == pytest.approx(0)
    assert aggregate([0.9, 0.9], [0, 1]).consistency == pytest.approx(1)


def test_aggregate_puts_frames_in_time_order():
    result = aggregate([0.2, 0.6, 0.4], [2.0, 0.0, 1.0])
    assert result.frame_times == (0.0, 1.0, 2.0)
    assert result.frame_scores == (0.6, 0.4, 0.2)
    assert result.temporal_consistency == pytest.approx(0.8)
    assert result.raw_score == result.score
    assert result.heatmap is None


@given(probability, st.integers(1, 40))
def test_frames_that_agree_are_consistent_in_time(score, count):
    assert temporal_consistency([score] * count) == 1


@given(st.lists(probability, min_size=1, max_size=40))
def test_consistency_in_time_is_a_share_and_blind_to_its_direction(scores):
    value = temporal_consistency(scores)
    assert 0 <= value <= 1
    assert temporal_consistency(scores[::-1]) == pytest.approx(value)
    assert temporal_consistency([1 - score for score in scores]) == pytest.approx(value)


@given(st.lists(probability, min_size=2, max_size=40))
def test_a_drift_is_the_most_consistent_order_and_costs_its_height_once(scores):
    drift = temporal_consistency(sorted(scores))
    assert drift >= temporal_consistency(scores) - 1e-12
    assert drift == pytest.approx(1 - (max(scores) - min(scores)) / (len(scores) - 1))


@given(probability, probability, st.integers(2, 40))
def test_flicker_costs_its_whole_height(a, b, count):
    flicker = [a, b] * count
    assert temporal_consistency(flicker) == pytest.approx(1 - abs(a - b))
    assert aggregate([0.0, 1.0] * count, range(2 * count)).temporal_consistency == 0


@pytest.mark.slow
def test_flips_average_the_logits_of_the_picture_and_its_mirror_image(register):
    state = random_state()
    register(state, flip=True)
    frames = [picture(seed) for seed in range(efficientnet_detector.BATCH + 2)]
    scores = detector().predict_frames(frames)
    for frame, score in list(zip(frames, scores, strict=True))[-3:]:
        odds = [
            np.log(float(real) / float(fake))
            for fake, real in (by_hand(state, frame), by_hand(state, frame[:, ::-1]))
        ]
        assert score == pytest.approx(1 / (1 + np.exp(-np.mean(odds))), abs=1e-4)
        assert abs(odds[0] - odds[1]) > 1e-3
    mirrored = detector().predict_frames([frame[:, ::-1].copy() for frame in frames])
    assert mirrored == pytest.approx(scores, abs=1e-5)


def test_published_weights_answer_for_the_picture_alone():
    published = [row for row in weights.registry().values() if row.origin == "published"]
    assert not any(row.flip for row in published)


def decoded(heatmap):
    return cv2.imdecode(np.frombuffer(base64.b64decode(heatmap.png), np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.slow
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("layout", efficientnet.LAYOUTS)
def test_the_heat_map_is_of_the_most_suspicious_frame(register, layout, flip):
    state = random_state()
    if layout == "efficientnet_b0_torchvision":
        theirs = {ours: name for name, ours in efficientnet._torchvision_modules().items()}
        split = {name: name.rpartition(".") for name in state}
        state = {f"{theirs[m]}.{p}": state[name] for name, (m, _, p) in split.items()}
    register(state, layout=layout, flip=flip)
    classifier = detector()
    frames = [picture(seed, 80, 72) for seed in range(4)]
    plain = classifier.judge(frames, [3.0, 2.0, 1.0, 0.0])
    judged = classifier.judge(frames, [3.0, 2.0, 1.0, 0.0], heatmap=True)
    assert plain == replace(judged, heatmap=None)
    worst = int(np.argmin(judged.frame_scores))
    assert judged.heatmap.score == judged.frame_scores[worst] == judged.statistics.min
    assert judged.heatmap.time_s == judged.frame_times[worst]
    drawn = decoded(judged.heatmap)
    expected = [
        heat_map.overlay(f, heat_map.strength(classifier._loaded().speaks_for_fake(f)))
        for f in reversed(frames)
    ]
    assert [np.array_equal(drawn, other) for other in expected] == [i == worst for i in range(4)]
    assert np.ptp(drawn.astype(int), axis=2).max() > 30, "nothing is coloured"


def test_a_heat_map_leaves_the_scores_alone_and_needs_no_gradients_kept(register):
    register(random_state())
    classifier = detector()
    before = classifier.predict_frames([picture()])
    first = classifier.judge([picture()], [0.0], heatmap=True)
    assert classifier.predict_frames([picture()]) == before
    assert classifier.judge([picture()], [0.0], heatmap=True) == first
    network = classifier._loaded()._network
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())


def test_the_heat_map_of_a_network_in_bfloat16_is_nearly_that_in_float32(register, monkeypatch):
    register(random_state())
    exact = detector()._loaded().speaks_for_fake(picture())
    monkeypatch.setattr(
        efficientnet_detector, "inference_dtype", lambda device, precision: torch.bfloat16
    )
    classifier = detector()
    near = classifier._loaded().speaks_for_fake(picture())
    assert classifier._loaded()._network._fc.weight.dtype == torch.bfloat16
    assert near.dtype == exact.dtype == np.float32
    assert np.corrcoef(near.ravel(), exact.ravel())[0, 1] > 0.95


def test_with_flips_the_heat_map_of_the_mirror_image_is_the_mirror_image(register):
    register(random_state(), flip=True)
    classifier = detector()._loaded()
    shares = classifier.speaks_for_fake(picture())
    mirrored = classifier.speaks_for_fake(np.ascontiguousarray(picture()[:, ::-1]))
    assert mirrored[:, ::-1] == pytest.approx(shares, abs=1e-5)


def test_aggregate_needs_scores_and_their_times():
    with pytest.raises(ValueError, match="at least one"):
        aggregate([], [])
    with pytest.raises(ValueError, match="1 scores, 2 times"):
        aggregate([0.5], [0.0, 1.0])


def test_bundled_weights_answer_a_probability():
    classifier = EfficientNetDetector(device="cpu")
    scores = classifier.predict_frames([picture(seed, 224, 224) for seed in range(4)])
    assert all(0 < score < 1 for score in scores)
    assert classifier.info.name == "efficientnet_b0"
    assert weights.entry("efficientnet_b0").classes == ("fake", "real")


@pytest.mark.shared
@pytest.mark.slow
def test_bundled_weights_tell_face_swaps_better_than_chance():
    folder = SHARED / "data" / "artifact_val"
    if not folder.is_dir():
        pytest.skip("needs the checking media beside the checkout")
    scores = {}
    classifier = EfficientNetDetector(device="cpu")
    for label in ("real", "fake"):
        files = sorted(folder.glob(f"dfdc_{label}_*.jpg"))[:120]
        scores[label] = np.array(classifier.predict_frames([cv2.imread(str(f)) for f in files]))
    wins = (scores["real"][:, None] > scores["fake"][None]).mean()
    assert wins > 0.65


@pytest.mark.shared
@pytest.mark.slow
def test_the_heat_map_points_at_what_the_bundled_weights_object_to():
    """Painting over the places that it colours makes face swaps look more real than painting over
    others does: ranks of colour and effect agree, in the mean over swaps that are found out."""
    folder = SHARED / "data" / "artifact_val"
    if not folder.is_dir():
        pytest.skip("needs the checking media beside the checkout")
    classifier = detector()
    agreement = []
    for file in sorted(folder.glob("dfdc_fake_*.jpg"))[::15]:
        crop = face_crops.resize(cv2.imread(str(file)), 112)
        cell = 16
        painted = []
        for row, column in np.ndindex(7, 7):
            mask = np.zeros((112, 112), np.uint8)
            mask[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = 255
            painted.append(cv2.inpaint(crop, mask, 3, cv2.INPAINT_TELEA))
        scores = np.array(classifier.predict_frames([crop, *painted]))
        if scores[0] < 0.4:
            odds = np.log(scores / (1 - scores))
            shares = heat_map.strength(classifier._loaded().speaks_for_fake(crop))
            places = cv2.resize(shares, (112, 112), interpolation=cv2.INTER_LINEAR)
            places = cv2.resize(places, (7, 7), interpolation=cv2.INTER_AREA)
            agreement.append(spearmanr(places.ravel(), odds[1:] - odds[0]).statistic)
    print(f"mean rank correlation {np.mean(agreement):.3f} over {len(agreement)}")
    assert len(agreement) >= 10
    assert np.mean(agreement) > 0.1
