"""Detections frame by frame -> face tracks. Pure.

The greedy tracker of the reference (track_shot in run_pipeline.py): a face joins a track when it
overlaps the track's last face enough. The reference removes faces from a list while it walks over
it, so it skips the face after each one removed when a track begins, and lets a track take two faces
of one frame. Here every frame gives a track one face at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TrackingOptions:
    """What makes a track; the defaults are the reference's.

    iou_threshold: intersection over union that the next face must exceed, 0-1;
    num_failed_det: frames from one detection to the next, at most;
    min_track: detections, at least; min_face_size: pixels that the larger of mean width and mean
    height must exceed.
    """

    iou_threshold: float = 0.5
    num_failed_det: int = 25
    min_track: int = 100
    min_face_size: float = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One face, frame by frame without gaps.

    frames: (n,) int64, consecutive; boxes: (n, 4) float64 x1, y1, x2, y2 in pixels, interpolated
    linearly where the face was missed.
    """

    frames: NDArray[np.int64]
    boxes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(slots=True)
class _Open:
    """A track that may still grow: the frames and boxes of its detections."""

    frames: list[int]
    boxes: list[NDArray[np.float64]]


def track_faces(
    detections: Sequence[NDArray[np.floating]],
    options: TrackingOptions | None = None,
    *,
    first_frame: int = 0,
) -> list[Track]:
    """Follow every face through one scene.

    detections: per frame (n, 4 or more), of which the first four columns are the box, best first;
    first_frame: number of the scene's first frame. Returns tracks by their first frame.
    """
    options = options or TrackingOptions()
    tracks: list[_Open] = []
    growing: list[_Open] = []
    for frame, faces in enumerate(detections, first_frame):
        growing = [t for t in growing if frame - t.frames[-1] <= options.num_failed_det]
        free = [np.asarray(face[:4], np.float64) for face in faces]
        # Older tracks choose first, and take the first face that fits: the order of the reference,
        # which follows one track to its end before it begins the next.
        for track in growing:
            for position, box in enumerate(free):
                if iou(box, track.boxes[-1]) > options.iou_threshold:
                    track.frames.append(frame)
                    track.boxes.append(free.pop(position))
                    break
        begun = [_Open([frame], [box]) for box in free]
        growing += begun
        tracks += begun
    full = [_without_gaps(track) for track in tracks if len(track.frames) >= options.min_track]
    return [track for track in full if _mean_size(track) > options.min_face_size]


def iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over union of two boxes (4,), 0-1; 0 where both are empty."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return float(shared / union) if union > 0 else 0.0


def _without_gaps(track: _Open) -> Track:
    frames = np.arange(track.frames[0], track.frames[-1] + 1, dtype=np.int64)
    boxes = np.stack(track.boxes)
    sides = [np.interp(frames, track.frames, boxes[:, side]) for side in range(4)]
    return Track(frames, np.stack(sides, axis=1))


def _mean_size(track: Track) -> float:
    """The larger of mean width and mean height, pixels."""
    return float((track.boxes[:, 2:] - track.boxes[:, :2]).mean(axis=0).max())
