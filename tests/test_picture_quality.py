"""PSNR and SSIM of two videos: the figures, the alignment in time, what is refused or said."""

import json
import math
import tracemalloc
from collections.abc import Iterable
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from evaluation.clip_writer import Format, write_clip
from evaluation.picture_quality import (
    METHOD,
    SizesDiffer,
    as_csv,
    as_json,
    as_rows,
    compare,
    fitted,
    frame_quality,
    pictures,
    psnr,
    remarks,
)
from evaluation.samples import talking_clip
from syncnet_python import media
from syncnet_python.errors import NotAVideo

Image = NDArray[np.uint8]
LOSSLESS = Format("matroska", "libx264", "flac", {"qp": "0", "preset": "ultrafast"})
"""Of what is in 4:2:0 already; the same pictures give the same bytes."""


def scene(number: int, size: tuple[int, int] = (96, 64)) -> Image:
    """A picture unlike its neighbours: (height, width, 3)."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    planes = [(3 * x + 5 * number) % 256, (2 * y + 9 * number) % 256, (x + y + 4 * number) % 256]
    return cv2.GaussianBlur(np.stack(planes, axis=2).astype(np.uint8), (0, 0), 2).astype(np.uint8)


def video(
    path: Path,
    numbers: Iterable[int],
    *,
    fps: int = 25,
    start: Fraction = Fraction(0),
    size: tuple[int, int] = (96, 64),
) -> Path:
    """A silent video of these scenes."""
    frames = ((start + Fraction(i, fps), scene(n, size)) for i, n in enumerate(numbers))
    write_clip(path, LOSSLESS, frames, None, size=size, fps=Fraction(fps))
    return path


def noisy(image: Image, deviation: float) -> Image:
    noise = np.random.default_rng(1).normal(0, deviation, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@given(st.integers(1, 200))
def test_psnr_of_a_constant_difference(difference: int) -> None:
    reference = np.full((16, 16, 3), 20, np.uint8)
    other = (reference + difference).astype(np.uint8)
    error, found = frame_quality(reference, other, 1.23456)
    assert error == difference**2
    assert found.psnr == pytest.approx(20 * math.log10(255 / difference))
    assert found.time_s == 1.235


@given(st.integers(0, 99), st.floats(1, 60))
def test_frames_have_scikit_images_figures(number: int, deviation: float) -> None:
    reference = scene(number)
    other = noisy(reference, deviation)
    error, found = frame_quality(reference, other, 0.0)
    expected = peak_signal_noise_ratio(reference, other, data_range=255)  # type: ignore[no-untyped-call]
    assert found.psnr == pytest.approx(float(expected))
    ssim = structural_similarity(reference, other, data_range=255, channel_axis=2)  # type: ignore[no-untyped-call]
    assert found.ssim == pytest.approx(float(ssim))
    assert found.ssim < 1
    assert psnr(error) == found.psnr


@given(st.integers(0, 99))
def test_identical_frames_have_no_psnr(number: int) -> None:
    error, found = frame_quality(scene(number), scene(number), 0.0)
    assert (error, found.psnr) == (0.0, None)
    assert found.ssim == pytest.approx(1)


def test_a_video_is_identical_to_itself(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mkv", range(10))
    found = compare(path, path)
    assert (found.psnr, found.psnr_of_mean_error) == (None, None)
    assert found.identical_frames == len(found.frames) == 10
    assert found.ssim == pytest.approx(1)
    told = json.loads(json.dumps(as_json(found, "a", "b"), allow_nan=False))
    assert told["psnr"] is None
    assert told["identical_frames"] == 10
    assert told["method"] == METHOD
    assert [row[0] for row in as_rows(found)] == ["SSIM"]
    assert any("no bound" in said for said in remarks(found))


def test_identical_frames_are_counted_and_not_in_the_mean(tmp_path: Path) -> None:
    reference = video(tmp_path / "a.mkv", range(10))
    generated = video(tmp_path / "b.mkv", [0, 1, 2, 3, 4, 15, 16, 17, 18, 19])
    found = compare(reference, generated)
    assert found.identical_frames == 5
    last = [frame.psnr for frame in found.frames[5:]]
    assert [frame.psnr for frame in found.frames[:5]] == [None] * 5
    assert None not in last
    assert found.psnr == pytest.approx(np.mean([p for p in last if p is not None]))
    errors = [0.0] * 5 + [255**2 / 10 ** (p / 10) for p in last if p is not None]
    assert found.psnr_of_mean_error == pytest.approx(10 * math.log10(255**2 / np.mean(errors)))
    assert found.ssim == pytest.approx(np.mean([frame.ssim for frame in found.frames]))


def test_figures_are_of_the_frames_that_are_decoded_elsewhere(tmp_path: Path) -> None:
    for name, fields in {"a.mp4": {}, "b.mp4": {"dubbed": True, "still": True}}.items():
        talking_clip(
            tmp_path / name, seconds=0.6, size=(160, 120), container="mp4-h264-aac", **fields
        )
    found = compare(tmp_path / "a.mp4", tmp_path / "b.mp4")
    reference, other = media.read(tmp_path / "a.mp4"), media.read(tmp_path / "b.mp4")
    assert len(found.frames) == len(reference.frames) == 15
    for number in (0, 7, 14):
        a, b = reference.frames.bgr(number), other.frames.bgr(number)
        _, expected = frame_quality(a, b, number / 25)
        assert found.frames[number] == expected


@pytest.mark.parametrize("fps", [50, 75])
def test_frames_are_aligned_by_time_and_not_by_number(tmp_path: Path, fps: int) -> None:
    every = fps // 25
    reference = video(tmp_path / "a.mkv", range(12))
    faster = video(tmp_path / "b.mkv", [n // every for n in range(12 * every)], fps=fps)
    found = compare(reference, faster)
    assert len(found.frames) == found.identical_frames == 12


def test_time_begins_with_the_first_picture(tmp_path: Path) -> None:
    reference = video(tmp_path / "a.mkv", range(10))
    later = video(tmp_path / "b.mkv", range(10), start=Fraction(2))
    assert compare(reference, later).identical_frames == 10


def test_missing_pictures_stand_still(tmp_path: Path) -> None:
    """At 12.5 frames a second, what is shown at 25 is the nearer picture; the later of two."""
    whole = video(tmp_path / "a.mkv", [min((n + 1) // 2 * 2, 10) for n in range(12)])
    frames = ((Fraction(n, 25), scene(n)) for n in range(0, 12, 2))
    half = tmp_path / "b.mkv"
    write_clip(half, LOSSLESS, frames, None, size=(96, 64), fps=Fraction(25, 2))
    found = compare(whole, half)
    assert len(found.frames) == found.identical_frames == 12


@pytest.mark.parametrize("lengths", [(8, 12), (12, 8)])
def test_lengths_that_differ_are_compared_over_what_they_share(
    tmp_path: Path, lengths: tuple[int, int]
) -> None:
    paths = [video(tmp_path / f"{n}.mkv", range(n)) for n in lengths]
    found = compare(*paths)
    assert len(found.frames) == found.identical_frames == 8
    assert (found.reference_s, found.generated_s) == (lengths[0] / 25, lengths[1] / 25)
    assert found.compared_s == 8 / 25
    assert not found.same_length
    assert any("only the first 0.32 s" in said for said in remarks(found))


def test_sizes_that_differ_are_refused_unless_resizing_is_asked_for(tmp_path: Path) -> None:
    reference = video(tmp_path / "a.mkv", range(4))
    generated = video(tmp_path / "b.mkv", range(4), size=(48, 32))
    with pytest.raises(SizesDiffer, match=r"96x64 pixels, the generated 48x32") as refused:
        compare(reference, generated)
    assert "--resize" in refused.value.advice
    found = compare(reference, generated, resize=True)
    assert found.size == (96, 64)
    assert found.resized is not None
    assert asdict(found.resized) == {"size": (48, 32), "to": (96, 64), "interpolation": "cubic"}
    assert any("48x32 pixels (cubic)" in said for said in remarks(found))
    smaller = compare(generated, reference, resize=True)
    assert smaller.size == (48, 32)
    assert smaller.resized is not None
    assert smaller.resized.interpolation == "area"


def test_resizing_asked_for_in_vain_changes_nothing(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mkv", range(4))
    assert compare(path, path, resize=True).resized is None


@given(st.integers(7, 60), st.integers(7, 60))
def test_a_fitted_image_has_the_size(width: int, height: int) -> None:
    image = scene(1)
    assert fitted(image, (width, height)).shape == (height, width, 3)
    assert fitted(image, (96, 64)) is image


def test_worse_pictures_have_lower_figures(tmp_path: Path) -> None:
    talking_clip(tmp_path / "a.mp4", seconds=0.4, size=(160, 120), container="mp4-h264-aac")
    found = []
    for blur in (0.5, 2.0):
        path = tmp_path / f"{blur}.mp4"
        talking_clip(path, seconds=0.4, size=(160, 120), container="mp4-h264-aac", blur=blur)
        found.append(compare(tmp_path / "a.mp4", path))
    assert found[0].psnr is not None
    assert found[1].psnr is not None
    assert found[0].psnr > found[1].psnr
    assert found[0].ssim > found[1].ssim


def test_a_turned_picture_is_compared_as_shown(tmp_path: Path) -> None:
    path = tmp_path / "phone.mp4"
    talking_clip(path, seconds=0.2, size=(120, 160), container="mp4-h264-aac", rotation=90)
    assert next(pictures(path)).shape == (160, 120, 3)


def test_one_row_a_frame(tmp_path: Path) -> None:
    reference = video(tmp_path / "a.mkv", range(3))
    generated = video(tmp_path / "b.mkv", [0, 1, 9])
    header, *rows = as_csv(compare(reference, generated)).splitlines()
    assert header == "time_s,psnr,ssim"
    assert [row.split(",")[0] for row in rows] == ["0.0", "0.04", "0.08"]
    assert [bool(row.split(",")[1]) for row in rows] == [False, False, True]


def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    size = (320, 240)
    peaks = []
    for count in (30, 150):
        path = video(tmp_path / f"{count}.mkv", (n % 7 for n in range(count)), size=size)
        tracemalloc.start()
        assert sum(1 for _ in pictures(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 2 * 320 * 240 * 3


def test_progress_is_told(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mkv", range(3))
    told: list[int] = []
    compare(path, path, progress=told.append)
    assert told == [1, 2, 3]


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.mkv").write_text("not a video at all")
    with pytest.raises(NotAVideo):
        compare(video(tmp_path / "a.mkv", range(3)), tmp_path / "b.mkv")
