import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from evaluation import artifact

SCORES = st.lists(st.integers(0, 20), min_size=2, max_size=60)


def labelled(values: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Scores in 0-1 and labels with both values present."""
    scores = np.array(values) / 20
    real = (np.arange(len(values)) * 7 % 3) == 0
    return scores, real


@given(SCORES)
def test_auc_and_balanced_accuracy_agree_with_scikit_learn(values):
    scores, real = labelled(values)
    assert artifact.auc(scores, real) == pytest.approx(roc_auc_score(real, scores))
    wanted = balanced_accuracy_score(real, scores > 0.5)
    assert artifact.balanced_accuracy(scores, real) == pytest.approx(wanted)


@given(SCORES)
def test_auc_turns_around_with_the_labels(values):
    scores, real = labelled(values)
    assert artifact.auc(scores, ~real) == pytest.approx(1 - artifact.auc(scores, real))


@given(SCORES)
def test_equal_error_rate_lies_where_the_errors_cross(values):
    scores, real = labelled(values)
    rate = artifact.equal_error_rate(scores, real)
    thresholds = np.concatenate([np.unique(scores), [np.inf]])
    refused = np.array([(scores[real] < t).mean() for t in thresholds])
    accepted = np.array([(scores[~real] >= t).mean() for t in thresholds])
    assert refused[refused <= accepted].max(initial=0) <= rate + 1e-9
    assert rate <= refused[refused >= accepted].min() + 1e-9


def test_equal_error_rate_of_known_cases():
    real = np.array([True] * 4 + [False] * 4)
    apart = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1])
    assert artifact.equal_error_rate(apart, real) == pytest.approx(0)
    assert artifact.equal_error_rate(1 - apart, real) == pytest.approx(1)
    assert artifact.equal_error_rate(np.full(8, 0.5), real) == pytest.approx(0.5)
    one_wrong = np.array([0.9, 0.8, 0.7, 0.25, 0.75, 0.3, 0.2, 0.1])
    assert artifact.equal_error_rate(one_wrong, real) == pytest.approx(0.25)


def test_calibration_error_is_the_gap_between_said_and_true():
    real = np.array([True] * 6 + [False] * 4)
    assert artifact.calibration_error(np.full(10, 0.6), real) == pytest.approx(0)
    assert artifact.calibration_error(np.full(10, 1.0), real) == pytest.approx(0.4)


def test_interval_holds_the_value_and_narrows_with_groups():
    rng = np.random.default_rng(0)
    widths = []
    for count in (50, 800):
        real = np.arange(2 * count) % 2 == 0
        scores = 1 / (1 + np.exp(-(rng.normal(0, 1, 2 * count) + real)))
        groups = [str(i // 2) for i in range(2 * count)]
        figure = artifact.with_interval(artifact.auc, scores, real, groups)
        assert figure.low < figure.value < figure.high
        widths.append(figure.high - figure.low)
    assert widths[1] < widths[0] / 2


def test_interval_draws_whole_groups():
    # Copies of one image are no further evidence: 10 copies in one group give the same interval.
    rng = np.random.default_rng(1)
    real = np.arange(80) % 2 == 0
    scores = rng.random(80) * 0.5 + real * 0.2
    groups = [str(i) for i in range(80)]
    once = artifact.with_interval(artifact.auc, scores, real, groups)
    copied = artifact.with_interval(
        artifact.auc, np.repeat(scores, 10), np.repeat(real, 10), np.repeat(groups, 10).tolist()
    )
    assert copied.low == pytest.approx(once.low, abs=0.02)
    assert copied.high == pytest.approx(once.high, abs=0.02)


class Brightness:
    """A classifier that calls bright pictures real."""

    def predict_frames(self, frames):
        return [float(frame.mean()) / 255 for frame in frames]


def write_data(folder: Path) -> None:
    rows = []
    for index in range(6):
        for label, level in (("real", 200), ("fake", 40)):
            name = f"{'dfdc' if index < 4 else 'gan'}_{label}_{index}.png"
            cv2.imwrite(str(folder / name), np.full((8, 8, 3), level + index, np.uint8))
            rows.append(("val", name, label, "", str(index), "test"))
    with (folder / "faces_manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("split", "file", "label", "method", "group", "source"))
        writer.writerows([*rows, ("train", "missing.png", "real", "", "9", "test")])


def test_evaluate_reports_each_kind_of_the_split(tmp_path):
    write_data(tmp_path)
    reports = artifact.evaluate(tmp_path, Brightness(), "val")
    assert set(reports) == {"dfdc", "gan"}
    assert (reports["dfdc"].reals, reports["dfdc"].fakes) == (4, 4)
    assert reports["gan"].auc.value == 1
    assert reports["dfdc"].eer.value == 0
    assert reports["dfdc"].fake_caught == 1
    assert reports["dfdc"].real_accepted == 1


def test_unreadable_image_is_named(tmp_path):
    write_data(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        artifact.evaluate(tmp_path, Brightness(), "train")


def test_one_label_alone_is_refused():
    with pytest.raises(ValueError, match="both real and fake"):
        artifact.report(np.array([0.5, 0.6]), np.array([True, True]), ["a", "b"])


def test_command_writes_json(tmp_path, monkeypatch, capsys):
    from syncnet_python.results import ModelInfo

    class Bundled(Brightness):
        def __init__(self, model_path):
            assert model_path is None

        def load(self):
            return ModelInfo("brightness", "1", "bundled", "0" * 64)

    write_data(tmp_path)
    monkeypatch.setattr("efficientnet_detector.EfficientNetDetector", Bundled)
    out = tmp_path / "out.json"
    artifact.main(["--data", str(tmp_path), "--json", str(out), "--split", "val"])
    written = json.loads(out.read_text())
    assert written["model"]["name"] == "brightness"
    assert written["figures"]["dfdc"]["auc"]["value"] == 1
    assert "gan: AUC 1.000" in capsys.readouterr().out
