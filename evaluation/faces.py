"""How well the bundled face finder and landmarks agree with their teacher on checking clips.

    python -m evaluation.faces --data DATA --teacher LABELS --json OUT

DATA holds the split's folder (`sync_val`), LABELS the `.npz` files of `training/teacher.py`. Frames
are taken as they are coded, not resampled, because the teacher saw those.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from syncnet_python.detectors.bundled import BundledFaceDetector, overlap
from syncnet_python.landmarks import LIPS, MESH_INDICES, Landmarker, eye_distance

Images = list[NDArray[np.uint8]]

SAME_FACE = 0.5
"""Intersection over union from which a box is the teacher's face."""

NOTHING_EVERY = 10
"""Every how many frames the face is painted over to count false alarms."""

FACE_SHARES = (0.1, 0.15, 0.2, 0.3, 0.5, 0.8)
"""Face heights over the frame's at which finding is counted, on one frame of every clip."""


@dataclass(frozen=True, slots=True)
class ClipFigures:
    """One clip. Counts are frames; errors are lengths in eye distances.

    labelled: frames where the teacher saw a face; found: of those, with any box; matched: of
    those, with a box on the teacher's face; boxes: all boxes in labelled frames.
    lip_error, point_error: mean distance to the teacher's points, lips or all; iou: of matched
    boxes; lip_motion_error: root mean square over points and neighbouring frames of the difference
    between the found and the teacher's step; lip_motion: the same of the teacher's steps;
    mouth_opening_error, mouth_opening: mean absolute error and deviation of the distance between
    points 13 and 14. painted: frames with the face painted over; alarms: boxes found in them.
    finder_ms, landmarks_ms: processor time per frame, cutting and scaling included.
    """

    clip: str
    labelled: int
    found: int
    matched: int
    boxes: int
    iou: float
    lip_error: float
    point_error: float
    lip_motion_error: float
    lip_motion: float
    mouth_opening_error: float
    mouth_opening: float
    presence: float
    painted: int
    alarms: int
    finder_ms: float
    landmarks_ms: float


def decode(path: Path) -> Images:
    with av.open(str(path)) as container:
        return [
            np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
            for frame in container.decode(video=0)
        ]


def paint_over(frame: NDArray[np.uint8], mesh: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The frame with the head's surroundings drawn in from its border, so that no face is left."""
    low, high = mesh.min(axis=0), mesh.max(axis=0)
    pad = (high - low) * (0.15, 0.2)
    height, width = frame.shape[:2]
    x1, y1 = np.maximum(low - pad, 0).astype(int)
    x2, y2 = np.minimum(high + pad, (width, height)).astype(int)
    painted = frame.copy()
    left, right = frame[y1:y2, max(x1 - 1, 0)], frame[y1:y2, min(x2, width - 1)]
    share = np.linspace(0, 1, x2 - x1)[None, :, None]
    painted[y1:y2, x1:x2] = left[:, None] * (1 - share) + right[:, None] * share
    return painted


def nothing(seed: int = 0, count: int = 300) -> Images:
    """Pictures without a face: noise of all grains, stripes, slopes and shapes. 240 x 320."""
    rng = np.random.default_rng(seed)
    images = []
    for number in range(count):
        small = rng.integers(0, 256, (*rng.integers(2, 120, 2), 3)).astype(np.uint8)
        how = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[number % 3]
        image = np.asarray(cv2.resize(small, (320, 240), interpolation=how), np.uint8)
        for _ in range(int(rng.integers(0, 12))):
            centre = tuple(int(v) for v in rng.integers(0, 320, 2))
            axes = tuple(int(v) for v in rng.integers(4, 120, 2))
            colour = tuple(int(v) for v in rng.integers(0, 256, 3))
            if rng.random() < 0.5:
                cv2.ellipse(image, centre, axes, int(rng.integers(180)), 0, 360, colour, -1)
            else:
                cv2.rectangle(image, centre, axes, colour, -1)
        images.append(image)
    return images


def placed(
    frame: NDArray[np.uint8], mesh: NDArray[np.float32], share: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The frame pasted on grey, 480 x 640, so that its face has that share of the height.

    Returns the picture and the face's box in it.
    """
    box = np.concatenate([mesh.min(axis=0), mesh.max(axis=0)]).astype(np.float64)
    scale = share * 480 / (box[3] - box[1])
    centre = (box[:2] + box[2:]) / 2
    matrix = np.array([[scale, 0, 320 - scale * centre[0]], [0, scale, 240 - scale * centre[1]]])
    small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    shift = np.array([[1.0, 0, matrix[0, 2]], [0, 1, matrix[1, 2]]])
    grey = (127.0, 127.0, 127.0)
    picture = cv2.warpAffine(small, shift, (640, 480), borderValue=grey)
    return np.asarray(picture, np.uint8), box * scale + np.tile(matrix[:, 2], 2)


def found_by_size(clips: list[tuple[Path, Path]], finder: BundledFaceDetector) -> dict[str, float]:
    """Share of faces matched at each of FACE_SHARES, one frame from the middle of each clip."""
    matched: dict[float, list[bool]] = {share: [] for share in FACE_SHARES}
    for path, labels in clips:
        with np.load(labels) as teacher:
            seen = np.flatnonzero(teacher["found"])
            number = int(seen[len(seen) // 2])
            mesh = teacher["points"][number, :, :2]
        frame = decode(path)[number]
        for share in FACE_SHARES:
            picture, box = placed(frame, mesh, share)
            (faces,) = finder.detect([picture])
            matched[share].append(bool((overlap(box, faces[:, :4]) > SAME_FACE).any()))
    return {f"matched_at_{share:.2f}_of_height": float(np.mean(m)) for share, m in matched.items()}


def check_clip(
    path: Path, labels: Path, finder: BundledFaceDetector, landmarker: Landmarker
) -> ClipFigures:
    frames = decode(path)
    with np.load(labels) as teacher:
        seen = np.flatnonzero(teacher["found"][: len(frames)])
        mesh = teacher["points"][seen][:, :, :2]
    frames_seen = [frames[i] for i in seen]
    began = time.process_time()
    faces = finder.detect(frames_seen)
    finder_ms = (time.process_time() - began) / max(len(seen), 1) * 1000
    true_boxes = np.concatenate([mesh.min(axis=1), mesh.max(axis=1)], axis=1)
    shares = [overlap(b, f[:, :4]) for b, f in zip(true_boxes, faces, strict=True)]
    hit = np.array([s.size > 0 and s.max() > SAME_FACE for s in shares], bool)
    boxes = np.array([f[s.argmax(), :4] for f, s, h in zip(faces, shares, hit, strict=True) if h])
    began = time.process_time()
    result = landmarker.examine(
        [f for f, h in zip(frames_seen, hit, strict=True) if h], boxes.reshape(-1, 4)
    )
    landmarks_ms = (time.process_time() - began) / max(int(hit.sum()), 1) * 1000
    truth = mesh[hit][:, list(MESH_INDICES)]
    eyes = eye_distance(truth)[:, None]
    error = np.linalg.norm(result.points - truth, axis=2) / eyes
    following = np.diff(seen[hit]) == 1
    steps = (np.diff(result.points[:, LIPS], axis=0) / eyes[1:, :, None])[following]
    true_steps = (np.diff(truth[:, LIPS], axis=0) / eyes[1:, :, None])[following]
    opening, true_opening = _opening(result.points) / eyes[:, 0], _opening(truth) / eyes[:, 0]
    painted = [paint_over(frames[i], m) for i, m in zip(seen, mesh, strict=True)][::NOTHING_EVERY]
    return ClipFigures(
        clip=path.name,
        labelled=len(seen),
        found=sum(len(f) > 0 for f in faces),
        matched=int(hit.sum()),
        boxes=sum(len(f) for f in faces),
        iou=_mean([float(s.max()) for s, h in zip(shares, hit, strict=True) if h]),
        lip_error=_mean(error[:, LIPS]),
        point_error=_mean(error),
        lip_motion_error=_root_mean_square(steps - true_steps),
        lip_motion=_root_mean_square(true_steps),
        mouth_opening_error=_mean(np.abs(opening - true_opening)),
        mouth_opening=float(true_opening.std()) if len(true_opening) else float("nan"),
        presence=_mean(result.presence),
        painted=len(painted),
        alarms=sum(len(f) for f in finder.detect(painted)),
        finder_ms=finder_ms,
        landmarks_ms=landmarks_ms,
    )


def _opening(points: NDArray[np.float32]) -> NDArray[np.float64]:
    upper, lower = MESH_INDICES.index(13), MESH_INDICES.index(14)
    return np.asarray(np.linalg.norm(points[:, upper] - points[:, lower], axis=1), np.float64)


def _mean(values: NDArray[np.floating] | list[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _root_mean_square(vectors: NDArray[np.floating]) -> float:
    """Of the vectors' lengths."""
    return float(np.sqrt(np.mean(np.sum(vectors**2, axis=-1)))) if len(vectors) else float("nan")


def summary(clips: list[ClipFigures]) -> dict[str, float]:
    """Over all frames, clips weighted by their labelled frames (motion: in squares)."""
    frames = np.array([c.labelled for c in clips], float)
    matched = np.array([c.matched for c in clips], float)

    def over(field: str, weight: NDArray[np.float64]) -> float:
        values = np.array([getattr(c, field) for c in clips], float)
        known = ~np.isnan(values) & (weight > 0)
        return float(np.average(values[known], weights=weight[known]))

    def over_squares(field: str) -> float:
        values = np.array([getattr(c, field) for c in clips], float) ** 2
        known = ~np.isnan(values) & (matched > 0)
        return float(np.sqrt(np.average(values[known], weights=matched[known])))

    labelled = float(frames.sum())
    painted = max(sum(c.painted for c in clips), 1)
    return {
        "clips": float(len(clips)),
        "labelled_frames": labelled,
        "found_share": sum(c.found for c in clips) / labelled,
        "matched_share": sum(c.matched for c in clips) / labelled,
        "boxes_per_frame": sum(c.boxes for c in clips) / labelled,
        "iou": over("iou", matched),
        "lip_error": over("lip_error", matched),
        "worst_clip_lip_error": float(np.nanmax([c.lip_error for c in clips])),
        "point_error": over("point_error", matched),
        "lip_motion_error": over_squares("lip_motion_error"),
        "lip_motion": over_squares("lip_motion"),
        "mouth_opening_error": over("mouth_opening_error", matched),
        "mouth_opening": over("mouth_opening", matched),
        "presence": over("presence", matched),
        "alarms_per_painted_frame": sum(c.alarms for c in clips) / painted,
        "finder_ms": over("finder_ms", frames),
        "landmarks_ms": over("landmarks_ms", matched),
    }


def labelled_clips(data: Path, teacher: Path, split: str) -> Iterator[tuple[Path, Path]]:
    for path in sorted((data / split).iterdir()):
        labels = teacher / f"{path.name}.npz"
        if labels.exists():
            yield path, labels


def main() -> None:
    parser = argparse.ArgumentParser(prog="evaluation.faces", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--split", default="sync_val")
    parser.add_argument("--models", type=Path, help="folder of the weights; default: bundled")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    finder = BundledFaceDetector.bundled(options.models)
    landmarker = Landmarker.bundled(options.models)
    files = list(labelled_clips(options.data, options.teacher, options.split))
    clips = [check_clip(path, labels, finder, landmarker) for path, labels in files]
    if not clips:
        parser.error(f"no clip of {options.data / options.split} has labels in {options.teacher}")
    empty = nothing()
    total = summary(clips)
    total["alarms_per_generated_image"] = sum(map(len, finder.detect(empty))) / len(empty)
    total |= found_by_size(files, finder)
    options.json.write_text(
        json.dumps({"summary": total, "clips": [asdict(c) for c in clips]}, indent=2) + "\n"
    )
    for key, value in total.items():
        print(f"{key:28} {value:.4f}")


if __name__ == "__main__":
    main()
