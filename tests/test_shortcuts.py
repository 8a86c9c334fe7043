import cv2
import numpy as np
import pytest

from evaluation import shortcuts


def pictures(sigma: float) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 128, 128, 3), dtype=np.uint8)
    return [cv2.GaussianBlur(image, (0, 0), sigma) for image in images]


def sharpness(images: list[np.ndarray]) -> np.ndarray:
    """A cheat that takes every soft picture for a forgery."""
    power = [cv2.Laplacian(image, cv2.CV_32F).var() for image in images]
    return np.array(power) / (np.array(power) + 1000)


def test_a_classifier_that_reads_sharpness_is_found_out():
    table = shortcuts.changes(pictures(0.4), pictures(0.8), sharpness)
    assert table["unchanged"]["auc, both sides"] == 1
    assert table["64 pixels"]["auc, reals alone"] < 0.1
    assert table["64 pixels"]["reals accepted"] < table["unchanged"]["reals accepted"]
    assert table["PNG file"] == table["unchanged"]
    assert table["mirrored"]["auc, both sides"] == pytest.approx(1)


@pytest.mark.parametrize("change", shortcuts.CHANGES.values(), ids=list(shortcuts.CHANGES))
def test_changes_keep_size_and_type(change):
    image = pictures(1.0)[0]
    changed = change(image)
    assert (changed.shape, changed.dtype) == (image.shape, image.dtype)


def test_the_probe_finds_a_source_that_is_in_the_score_and_none_that_is_not():
    rng = np.random.default_rng(0)
    sources = ["a"] * 150 + ["b"] * 50
    told = np.where(np.array(sources) == "a", 0.8, 0.3) + rng.normal(0, 0.05, 200)
    assert shortcuts.probe(told, sources)["balanced accuracy"] > 0.95
    untold = shortcuts.probe(rng.random(200), sources)
    assert untold["balanced accuracy"] == pytest.approx(0.5, abs=0.12)
    assert untold["chance"] == 0.5
