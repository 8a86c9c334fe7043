import csv
from pathlib import Path

import av
import cv2
import numpy as np

from training import single_faces
from training.artifact_data import SIDE, Pairs, PairSampler, Recipe

BOX = (60, 40, 180, 180)


def write_labels(path: Path, frames: int = 1, found: bool = True, box=BOX) -> None:
    corners = np.array([[box[0], box[1]], [box[2], box[3]]], np.float32)
    points = np.zeros((frames, 478, 3), np.float32)
    points[:, ::2, :2], points[:, 1::2, :2] = corners
    np.savez(
        path,
        points=points,
        found=np.full(frames, found),
        times=np.arange(frames) / 25,
        size=np.array([240, 240]),
    )


def photograph() -> np.ndarray:
    image = np.full((240, 240, 3), 30, np.uint8)
    x1, y1, x2, y2 = BOX
    image[y1:y2, x1:x2] = (40, 90, 200)
    return image


def write_clip(path: Path, frames: int) -> None:
    """Frame i is of grey level 20 i."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width = stream.height = 240
        stream.pix_fmt = "bgr0"
        for index in range(frames):
            image = np.full((240, 240, 3), 20 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))


def test_face_is_cut_as_at_run_time_with_its_landmarks(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), photograph())
    write_labels(tmp_path / "a.png.npz")
    ((image, points),) = single_faces.read_faces(
        tmp_path / "a.png", tmp_path / "a.png.npz", SIDE, 1
    )
    assert image.shape == (SIDE, SIDE, 3)
    # The first point is the box's upper left corner: colour changes there.
    left, top = np.round(points[0] * SIDE).astype(int)
    assert tuple(image[max(top, 0) + 5, left + 5]) == (40, 90, 200)
    assert tuple(image[max(top, 0) + 5, left - 5]) == (30, 30, 30)


def test_middles_of_equal_parts_of_a_clip_are_taken(tmp_path):
    write_clip(tmp_path / "a.mkv", 9)
    write_labels(tmp_path / "a.mkv.npz", frames=9)
    faces = single_faces.read_faces(tmp_path / "a.mkv", tmp_path / "a.mkv.npz", SIDE, 3)
    assert [int(image.mean()) for image, _ in faces] == [20, 80, 140]


def test_unlabelled_unfound_and_small_faces_are_left_out(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), photograph())
    write_labels(tmp_path / "unfound.npz", found=False)
    write_labels(tmp_path / "small.npz", box=(10, 10, 60, 70))
    for labels in ("none", "unfound", "small"):
        path = tmp_path / f"{labels}.npz"
        assert single_faces.read_faces(tmp_path / "a.png", path, SIDE, 1) == []


def write_manifests(folder: Path) -> None:
    rows = [("faces_real", f"{i}.png", "real", "", "", "photographs") for i in range(12)]
    rows.append(("artifact_val", "val.png", "real", "", "", "photographs"))
    rows.append(("faces_real", "closed.png", "real", "", "", "Closed set"))
    with (folder / "faces_manifest.csv").open("w", newline="") as file:
        header = ("split", "file", "label", "method", "group", "source")
        csv.writer(file).writerows([header, *rows])
    clips = [("sync_train", f"sync_train/{i}.mkv", "real", "one", "clips") for i in range(50)]
    clips += [("sync_train", "sync_train/held.mkv", "real", "held", "clips")]
    clips += [("sync_train", "sync_train/u1.mkv", "real", "tv_unlabelled", "clips")]
    clips += [("sync_train", "sync_train/fake.mkv", "generated", "", "clips")]
    clips += [("sync_train", "sync_train/left.mkv", "generated", "", "clips")]
    clips += [("sync_val", "sync_val/val.mkv", "real", "two", "clips")]
    with (folder / "sync_manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("split", "file", "kind", "speaker", "source"), *clips])


def test_files_are_of_one_kind_with_few_clips_of_one_speaker(tmp_path):
    write_manifests(tmp_path)
    held_out = {"3.png", "held", "left.mkv"}
    genuine = list(single_faces.genuine_files(tmp_path, held_out, ["closed"]))
    names = [path.name for path, _ in genuine]
    assert names[:11] == [f"{i}.png" for i in range(12) if i != 3]
    clips = [name for name in names if name.endswith(".mkv")]
    assert clips == [f"{i}.mkv" for i in range(single_faces.CLIPS_OF_ONE_SPEAKER)] + ["u1.mkv"]
    generated = [path.name for path, _ in single_faces.generated_files(tmp_path, held_out)]
    assert generated == ["fake.mkv"]


def test_packed_faces_are_kept(tmp_path):
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), photograph())
        write_labels(tmp_path / f"{index}.png.npz")
    files = [(tmp_path / f"{index}.png", 1) for index in range(3)]
    faces = single_faces.pack_faces(files, tmp_path, tmp_path / "pack" / "a.npz", SIDE)
    assert len(faces.images) == len(faces.points) == 3
    (tmp_path / "0.png").unlink()
    again = single_faces.pack_faces(files, tmp_path, tmp_path / "pack" / "a.npz", SIDE)
    np.testing.assert_array_equal(again.images, faces.images)


def test_sampler_pairs_a_genuine_face_with_a_forgery_made_from_it():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    image = cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    points = rng.uniform(0.2, 0.8, (1, 468, 2)).astype(np.float32)
    black = Pairs(
        ("a",),
        np.zeros((1, 2, SIDE, SIDE, 3), np.uint8),
        np.zeros((1, 40, 40), np.uint8),
        points,
    )
    faces = single_faces.Faces(image[None], points)
    sampler = PairSampler(black, np.array([0]), Recipe(0, 0, 0, genuine=1.0, generated=0), 0, faces)
    images, regions = sampler.batch(6, 96)
    assert (images.reshape(12, -1).max(axis=1) > 100).all()
    assert (regions.reshape(6, -1).max(axis=1) > 0.3).all()
    assert (images[:6] != images[6:]).any(axis=(1, 2, 3)).all()
