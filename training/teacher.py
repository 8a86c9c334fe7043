"""Label faces with mediapipe's face mesh: the teacher of the bundled face finder and landmarks.

Runs in a virtual environment of its own (`pip install mediapipe==0.10.21 av`), because mediapipe
needs numpy < 2 and is never a dependency of the service:

    python training/teacher.py OUT_FOLDER FILE...

For every video or photograph it writes OUT_FOLDER/<name>.npz with

- `points`: (N, 478, 3) float32, x and y in pixels of the decoded frame, z in the teacher's scale,
- `found`: (N,) bool, whether the teacher saw a face in that frame,
- `times`: (N,) float64, presentation time of each frame in seconds,
- `size`: (2,) int64, height and width of the frames.

Files already labelled are skipped, so a run that was stopped goes on where it was.
"""

import sys
from pathlib import Path

import av
import mediapipe as mp
import numpy as np

PHOTOGRAPHS = {".jpg", ".jpeg", ".png", ".webp"}


def label(path: Path, target: Path) -> None:
    """Write every frame's face mesh; frames without a face hold zeros and `found` False."""
    mesh = mp.solutions.face_mesh.FaceMesh(
        static_image_mode=path.suffix.lower() in PHOTOGRAPHS,
        max_num_faces=1,
        refine_landmarks=True,
        min_detection_confidence=0.5,
    )
    points, found, times = [], [], []
    height = width = 0
    with mesh, av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            image = frame.to_ndarray(format="rgb24")
            height, width = image.shape[:2]
            faces = mesh.process(image).multi_face_landmarks
            found.append(bool(faces))
            times.append(frame.time or 0.0)
            points.append(
                [(p.x * width, p.y * height, p.z * width) for p in faces[0].landmark]
                if faces
                else np.zeros((478, 3))
            )
    partial = target.with_suffix(".tmp.npz")
    np.savez_compressed(
        partial,
        points=np.asarray(points, np.float32),
        found=np.asarray(found, bool),
        times=np.asarray(times, np.float64),
        size=np.asarray([height, width], np.int64),
    )
    partial.rename(target)


def main(arguments: list[str]) -> None:
    out = Path(arguments[0])
    out.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(arguments[1:], 1):
        path = Path(name)
        target = out / f"{path.name}.npz"
        if target.exists():
            continue
        label(path, target)
        if number % 50 == 0:
            print(f"{number} of {len(arguments) - 1}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
