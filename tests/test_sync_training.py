"""How sync training cuts, disturbs and compares; no network is trained here."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from syncnet_python import audio_features
from syncnet_python import scale as scales
from syncnet_python.networks.syncnet_fcn import SyncNetFCN
from training import sync_augment
from training.sync import Contrast, curve, mean_weights
from training.sync_calibrate import fit, report
from training.sync_data import SPLIT, Batches, Clip, Mixture, load_clips, split
from training.sync_turns import Turns


def a_clip(name: str = "grid_s9_a.mkv", frames: int = 60, speaker: str = "grid_s9") -> Clip:
    """A clip that counts: frame i has lips at x = i, a mouth of grey level 3 i, sound of 100 i."""
    index = np.arange(frames)
    shapes = np.zeros((frames, 40, 2), np.float32)
    shapes[:, :, 0] = index[:, None]
    mouths = np.broadcast_to((3 * index)[:, None, None], (frames, 64, 64)).astype(np.uint8)
    audio = np.repeat(100 * index, 640).astype(np.int16)
    return Clip(name, "grid", speaker, shapes, mouths, audio)


@pytest.mark.parametrize("delay", [-7, 0, 7])
def test_cut_takes_the_sound_of_a_later_moment(delay: int) -> None:
    piece = a_clip().cut(20, 10, delay)
    assert len(piece) == 10
    assert piece.shapes[0, 0, 0] == 20
    assert piece.mouths[0, 0, 0] == 60
    assert piece.audio[0] == 100 * (20 + delay)
    assert len(piece.audio) == 6400


def test_samples_say_how_far_picture_and_sound_are_apart() -> None:
    batches = Batches([a_clip()], Mixture(), 8, (30,), seed=0)
    rng = np.random.default_rng(1)
    delays = set()
    for _ in range(200):
        shapes, mouths, sound, delay = batches._sample(batches.clips[0], 30, rng)
        assert shapes.shape == (30, 40, 2)
        assert sound.shape == (30 * 640,)
        heard = sound.reshape(30, 640).mean(axis=1) / 100  # which frame is heard, in seconds / 25
        speed = np.polyfit(np.arange(30), heard, 1)[0]
        apart = (heard - shapes[:, 0, 0]) / speed
        # cameras of other rates show the nearest frame they took, up to 1.25 frames away
        assert np.median(apart) == pytest.approx(delay, abs=1.3)
        np.testing.assert_array_equal(mouths[:, 0, 0], (3 * shapes[:, 0, 0]).astype(np.uint8))
        delays.add(delay)
    assert min(delays) == -12
    assert max(delays) == 12


def test_batches_hold_as_many_frames_whatever_their_length() -> None:
    clips = [a_clip(f"grid_s{i}_x.mkv", 70, f"grid_s{i}") for i in range(3)]
    batches = Batches(clips, Mixture(), 8, (25, 50), seed=0)
    rng = np.random.default_rng(0)
    for length in (25, 50):
        batch = batches.draw(rng, length)
        count = 8 * 50 // length
        assert batch.lips.shape == (count, length, 40, 2)
        assert batch.mouths.shape == (count, length, 48, 48)
        assert batch.mels.shape == (count, 4 * length, 40)
        assert batch.delays.shape == (count,)
        for part in (batch.lips, batch.mouths, batch.mels):
            assert torch.isfinite(part).all()


def test_log_mel_of_a_batch_is_the_services() -> None:
    audio = np.random.default_rng(3).normal(0, 3000, (2, 50 * 640)).astype(np.int16)
    batch = sync_augment.log_mel(torch.from_numpy(audio.astype(np.float32)))
    for row, sound in zip(batch, audio, strict=True):
        np.testing.assert_allclose(row.numpy(), audio_features.log_mel(sound, 50), atol=1e-3)


def test_disturbed_sound_stays_where_it_is() -> None:
    """A click remains the loudest moment, within 10 ms, after rooms, filters and codecs."""
    clicks = np.zeros((64, 16_000), np.float32)
    clicks[:, 8000:8040] = 20_000
    heard = sync_augment.disturb_sounds(clicks, np.random.default_rng(0))
    loudness = (heard.reshape(64, 100, 160) ** 2).mean(axis=2)
    assert np.abs(loudness.argmax(axis=1) - 50).max() <= 1


def test_mirroring_twice_changes_nothing_and_once_swaps_the_corners() -> None:
    lips = torch.randn(2, 5, 40, 2)
    mirrored = sync_augment.mirror(lips)
    torch.testing.assert_close(sync_augment.mirror(mirrored), lips)
    torch.testing.assert_close(mirrored[..., 7, 0], -lips[..., 25, 0])
    torch.testing.assert_close(mirrored[..., 7, 1], lips[..., 25, 1])


def test_the_loss_is_low_only_at_the_true_delays() -> None:
    torch.manual_seed(0)
    lips = F.normalize(torch.randn(6, 40, 128), dim=2)
    delays = torch.tensor([0, 3, -3, 7, -12, 12])
    voice = torch.stack([row.roll(-int(d), 0) for row, d in zip(lips, delays, strict=True)])
    loss = Contrast()
    right = torch.stack(loss(lips, voice, delays))
    wrong = torch.stack(loss(lips, voice, delays + 1))
    assert (right + 2 < wrong).all()
    for one, heard, delay in zip(lips, voice, delays, strict=True):
        assert int(curve(one, heard).argmax()) - 15 == -int(delay)


def test_mean_weights_lie_between() -> None:
    first, second = SyncNetFCN().state_dict(), SyncNetFCN().state_dict()
    middle = mean_weights([first, second])
    SyncNetFCN().load_state_dict(middle)
    name = "voice.exit.weight"
    torch.testing.assert_close(middle[name], (first[name] + second[name]) / 2)


def test_speakers_are_split_by_the_table(tmp_path: Path) -> None:
    table = tmp_path / "split.csv"
    rows = [
        f"grid_s{s}_{i}.mkv,grid_s{s},{side}"
        for s, side in ((1, "train"), (30, "held"), (33, "validation"))
        for i in range(5)
    ]
    table.write_text("\n".join(["file,speaker,split", *rows]))
    clips = [a_clip(f"grid_s{s}_{i}.mkv", 30, f"grid_s{s}") for s in (1, 30) for i in range(5)]
    portrait = replace(a_clip("portrait_10000.mp4", 30, "portrait"), origin="portrait")
    train, held = split([*clips, portrait], table)
    assert {clip.speaker for clip in train} == {"grid_s1", "portrait"}
    assert {clip.speaker for clip in held} == {"grid_s30"}
    with pytest.raises(ValueError, match="'validation'"):
        split([a_clip("grid_s33_0.mkv", 30, "grid_s33")], table)
    with pytest.raises(ValueError, match="'unnamed'"):
        split([a_clip("grid_s9_0.mkv", 30, "grid_s9")], table)


def test_the_split_that_ships_divides_speakers_not_clips() -> None:
    with SPLIT.open(newline="") as file:
        rows = list(csv.DictReader(file))
    sides: dict[str, set[str]] = {}
    for row in rows:
        if row["split"] != "excluded":
            sides.setdefault(row["speaker"], set()).add(row["split"])
    assert all(len(of) == 1 for of in sides.values())
    assert len({row["file"] for row in rows}) == len(rows)
    assert {row["split"] for row in rows} == {"train", "held", "validation", "excluded"}


def test_turned_shapes_and_turned_crops_agree() -> None:
    """A crop's pixel comes from the place that its point was turned from."""
    rng = np.random.default_rng(2)
    turns = Turns(np.radians([-30.0, 0.0, 25.0]), np.array([0.8, 1.0, 1.3]))
    points = rng.uniform(-0.4, 0.4, (3, 4, 40, 2))
    turned = turns.shapes(points)
    np.testing.assert_allclose(turned[1], points[1], atol=1e-12)
    grid = torch.from_numpy(turned.reshape(12, 40, 1, 2).astype(np.float32))
    back = turns.places(grid).numpy().reshape(3, 4, 40, 2)
    np.testing.assert_allclose(back, points, atol=0.02)


def test_turns_show_more_of_one_side() -> None:
    """With yaw > 0 the left half of the picture grows and the right one shrinks."""
    x = np.array([-0.3, 0.0, 0.3])
    points = np.stack([x, np.zeros(3)], axis=1)[None, None]
    (turned,) = Turns(np.array([0.4]), np.array([0.8])).shapes(points)[:, 0, :, 0]
    assert turned[1] == pytest.approx(0)
    assert -turned[0] > turned[2] > 0


def test_shifted_formants_move_bands_and_nothing_in_time() -> None:
    mels = torch.zeros(64, 20, 40)
    mels[:, 10, 20] = 1.0
    shifted = sync_augment.shift_formants(mels.clone(), np.random.default_rng(0))
    assert shifted.sum(dim=(0, 2)).nonzero().flatten().tolist() == [10]
    bands = shifted[:, 10].argmax(dim=1)
    assert bands.min() < 20 < bands.max()
    assert (bands == 20).float().mean() > 0.4


def test_blocks_that_hardly_change_stay_as_they_were() -> None:
    crops = torch.full((3, 48, 48), 100.0)
    crops[1, :12, :12] = 160.0
    crops[2] = crops[1] + 1
    kept = sync_augment._skipped(crops, 4.0)
    assert torch.equal(kept[1], crops[1])
    assert torch.equal(kept[2], kept[1])


def write_features(path: Path, frames: int, loud: int) -> None:
    clip = a_clip(frames=frames)
    eyes = np.broadcast_to([[0.0, 0], [2, 0], [8, 0], [10, 0]], (frames, 4, 2))
    np.savez(
        path, lips=clip.shapes, eyes=eyes, mouths=clip.mouths, audio=clip.audio.clip(-loud, loud)
    )


def test_clips_are_chosen_by_source_and_their_sound_is_mended(tmp_path: Path) -> None:
    names = ["a.mkv", "b.mkv", "silent.mkv", "short.mkv", "off.mkv"]
    for name in names:
        frames, loud = (20 if name == "short.mkv" else 40), (0 if name == "silent.mkv" else 9999)
        write_features(tmp_path / f"{name}.npz", frames, loud)
    manifest = tmp_path / "manifest.csv"
    rows = [f"x/{name},real,{name},{'other' if name == 'b.mkv' else 'free'}" for name in names]
    manifest.write_text("\n".join(["file,kind,speaker,source", *rows]))
    delays = {"a.mkv": 3, "off.mkv": None}
    (clip,) = load_clips(tmp_path, manifest, ["free"], delays)
    assert clip.name == "a.mkv"
    assert len(clip) == 37
    assert clip.audio[0] == 300  # the sound was 3 frames late


def normal(rng: np.random.Generator, means: tuple[float, float]) -> NDArray[np.float64]:
    return np.stack([rng.normal(means[0], 0.05, 200), rng.normal(means[1], 0.05, 200)], axis=1)


def test_a_fitted_scale_tells_matches_from_mismatches() -> None:
    rng = np.random.default_rng(0)
    own = np.column_stack([normal(rng, (0.45, 0.85)), np.zeros(200)])
    other = np.column_stack([normal(rng, (0.12, 1.15)), rng.integers(-15, 16, 200)])
    scale = fit(own, other)
    figures = report(scale, own, other)
    assert figures["own share >= 0.8"] > 0.9
    assert figures["other share <= 0.4"] > 0.9
    assert scales.score(scale, 0.28, 1.0, 0) == pytest.approx(0.6, abs=0.15)
