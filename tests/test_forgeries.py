import csv
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from evaluation import forgeries
from evaluation.samples import talking_clip
from syncnet_python import media
from syncnet_python.results import SAMPLES_PER_FRAME

SECONDS = 2.4


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers, a generated head, and a photograph, laid out as the collection is."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("sync_val", "sync_train", "artifact_val", "lists"):
        (folder / name).mkdir()
    for seed in (1, 2):
        path = folder / "sync_val" / f"{seed}.mkv"
        talking_clip(path, seconds=SECONDS, seed=seed, container="mkv-h264-flac", size=(320, 240))
    talking_clip(folder / "sync_train" / "head.webm", seconds=SECONDS, seed=3, size=(320, 240))
    with av.open(str(folder / "sync_val" / "1.mkv")) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="bgr24")
    cv2.imwrite(str(folder / "artifact_val" / "gan_real_1.jpg"), picture)
    (folder / "lists" / "sync_val.csv").write_text(
        "file,label,source,group,condition\n1.mkv,real,made,one,\n2.mkv,real,made,two,\n"
    )
    (folder / "lists" / "artifact_videos.csv").write_text(
        "file,label,condition,group\n"
        "sync_train/head.webm,fake,EDTalk,head\nsync_val/1.mkv,real,made,one\n"
    )
    return folder


@pytest.mark.slow
def test_every_recording_is_written_genuine_and_forged(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgeries, "LISTS", data / "lists")
    monkeypatch.setattr(
        sys, "argv", ["forgeries", "--data", str(data), "--out", str(tmp_path / "out")]
    )
    forgeries.main()
    with (tmp_path / "out" / "system.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    made = [(row["condition"], row["label"], row["group"]) for row in rows]
    kinds = [("genuine", "real"), ("dubbed", "fake"), ("shifted", "fake"), ("swapped", "fake")]
    expected = [(*kind, group) for group in ("one", "two") for kind in kinds]
    assert made == [*expected, ("generated", "fake", "head")]
    recordings = {row["file"]: media.read(tmp_path / "out" / row["file"]) for row in rows}
    assert all(len(recording.frames) >= 40 for recording in recordings.values())

    own, stranger = (recordings[f"genuine_{n}.webm"].audio.astype(float) for n in (1, 2))
    dub = recordings["dubbed_1.webm"].audio.astype(float)
    count = min(len(own), len(stranger), len(dub))
    assert np.corrcoef(dub[:count], stranger[:count])[0, 1] > 0.8
    assert abs(np.corrcoef(dub[:count], own[:count])[0, 1]) < 0.3

    genuine, swapped = (recordings[f"{k}_2.webm"].frames.bgr(20) for k in ("genuine", "swapped"))
    assert np.abs(genuine.astype(int) - swapped).max() > 30


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_sound_is_shifted_by_five_to_fifteen_frames(data: Path, seed: int) -> None:
    scene = forgeries._scene(data / "sync_val" / "1.mkv", "made", "one")
    forgery = forgeries.shifted(scene, np.random.default_rng(seed))
    first = next(forgery.pictures)
    seen = next(i for i in range(16) if (scene.recording.frames.bgr(i) == first).all())
    missing = len(scene.recording.audio) - len(forgery.samples)
    assert missing % SAMPLES_PER_FRAME == 0
    assert 5 <= abs(missing // SAMPLES_PER_FRAME - seen) <= 15
