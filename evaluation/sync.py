"""How well the bundled networks tell sync, on clips whose truth is known.

    python -m evaluation.sync --data DIR --json OUT

DIR holds recordings that are in sync but for the exceptions in `TRUTHS`. Everything runs as it
does in the service: decoding, face finder, tracking, landmarks, network, offset, score.
Shares come with Wilson's 95% intervals; areas under the curve with a bootstrap over clips,
because the windows of one clip are not independent.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from syncnet_python import calibration, media, offset, pipeline
from syncnet_python.calibration import Scale
from syncnet_python.detectors.bundled import BundledFaceDetector
from syncnet_python.errors import SyncNetError
from syncnet_python.fcn_embedding import FcnEmbedder, locate
from syncnet_python.landmarks import Landmarker
from syncnet_python.results import FRAME_RATE, SAMPLES_PER_FRAME

SHORTEST = 40
"""Frames (1.6 s) that a clip needs to count."""

SHIFTS = (-12, -7, -3, 3, 7, 12)
WINDOWS_S = (2, 3, 4)
LIMITS = media.Limits(duration_s=120.0)

Estimate = offset.OffsetEstimate


@dataclass(frozen=True, slots=True)
class Truth:
    """offset_frames: sign as in `results.SyncResult`; tolerance: frames either way; stated: what
    the collection says, where that is not what can be seen."""

    offset_frames: int = 0
    tolerance: int = 1
    stated: int | None = None


TRUTHS = {
    "syncnet_example.avi": Truth(offset_frames=3),
    "WDA_KatieHill_000.mkv": Truth(tolerance=3),
    "WDA_AlexandriaOcasioCortez_000.mkv": Truth(tolerance=3),
    # Three GRID recordings whose sound is late, though the corpus is in sync. Counted from lip
    # opening and spectrogram: the lips part for "bin" and "blue", the bursts are heard later.
    "grid_s33_bbac3a.mkv": Truth(offset_frames=-7, stated=0),
    "grid_s34_bbaczs.mkv": Truth(offset_frames=-7, stated=0),
    "grid_s34_bbao8s.mkv": Truth(offset_frames=-9, stated=0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One clip's longest track. visual: (n, 128) embeddings; samples: (n * 640,) int16, the sound
    over those frames; seconds_per_frame: of mouth crops and both embeddings."""

    name: str
    visual: NDArray[np.float32]
    samples: NDArray[np.int16]
    seconds_per_frame: float

    @property
    def truth(self) -> Truth:
        return TRUTHS.get(self.name, Truth())

    def __len__(self) -> int:
        return len(self.visual)


class SoundEmbedder(Protocol):
    def audio(self, samples: NDArray[np.int16], num_frames: int) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Listener:
    """Compares what was seen with any sound."""

    embedder: SoundEmbedder
    scale: Scale

    def compare(self, visual: NDArray[np.float32], samples: NDArray[np.int16]) -> Estimate:
        heard = self.embedder.audio(samples, len(visual))
        return offset.estimate(visual, heard, padding="valid")

    def score(self, estimate: Estimate) -> float:
        return calibration.score(
            self.scale, estimate.confidence, estimate.min_dist, estimate.offset_frames
        )


class Looker:
    """Finds, follows and embeds faces as the service does, with the bundled networks."""

    def __init__(self) -> None:
        self._detector = BundledFaceDetector.bundled()
        self._landmarker = Landmarker.bundled()
        self.embedder, self.info = FcnEmbedder.bundled(self._landmarker)

    def look(self, path: Path) -> Face:
        """Raises SyncNetError where the clip has no face to follow."""
        recording = media.read(path, LIMITS)
        tracks = pipeline.find_tracks(recording.frames, self._detector)
        track = max(tracks, key=len)
        first = int(track.frames[0]) * SAMPLES_PER_FRAME
        samples = recording.audio[first : first + len(track) * SAMPLES_PER_FRAME]
        points = locate(self._landmarker, recording.frames, track)
        begun = time.perf_counter()
        visual = self.embedder.visual(recording.frames, track, points)
        self.embedder.audio(samples, len(track))
        spent = time.perf_counter() - begun
        return Face(path.name, visual, samples, spent / len(track))

    def look_at(self, folder: Path) -> tuple[list[Face], list[dict[str, str]]]:
        """Every recording in a folder; those without a face to follow, with the reason."""
        faces, failed = [], []
        for path in sorted(p for p in folder.iterdir() if p.is_file()):
            try:
                faces.append(self.look(path))
            except SyncNetError as error:
                failed.append({"clip": path.name, "reason": str(error)})
        return faces, failed


def sound(face: Face, first: int, count: int) -> NDArray[np.int16]:
    """The sound of frames `first` to `first + count`."""
    return face.samples[first * SAMPLES_PER_FRAME : (first + count) * SAMPLES_PER_FRAME]


def whole_clips(listener: Listener, faces: Sequence[Face]) -> dict[str, Any]:
    """Is each clip's own offset found?"""
    rows: list[dict[str, Any]] = []
    for face in faces:
        found = listener.compare(face.visual, face.samples)
        truth = face.truth
        stated = truth.offset_frames if truth.stated is None else truth.stated
        rows.append(
            {
                "clip": face.name,
                "frames": len(face),
                "offset_frames": found.offset_frames,
                "confidence": round(found.confidence, 4),
                "min_dist": round(found.min_dist, 4),
                "score": round(listener.score(found), 4),
                "right": abs(found.offset_frames - truth.offset_frames) <= truth.tolerance,
                "right as stated": abs(found.offset_frames - stated) <= truth.tolerance,
            }
        )
    return {
        "right": share([row["right"] for row in rows]),
        "right as stated": share([row["right as stated"] for row in rows]),
        "clips": rows,
    }


def shifted_sound(listener: Listener, faces: Sequence[Face]) -> dict[str, Any]:
    """Is a shift of the sound found within one frame?

    Picture and sound are cut to what remains of both. Where the truth is uncertain, the offset
    found without a shift stands for it. Sums beyond the ±15 frames that are searched are left out.
    "recovered as stated" counts every clip and shift, from what the collections state.
    """
    by_shift: dict[int, list[bool]] = {shift: [] for shift in SHIFTS}
    as_stated: list[bool] = []
    for face in faces:
        unshifted = face.truth.offset_frames
        if face.truth.tolerance > 1:
            unshifted = listener.compare(face.visual, face.samples).offset_frames
        stated = unshifted if face.truth.stated is None else face.truth.stated
        for shift, rights in by_shift.items():
            count = len(face) - abs(shift)
            seen = face.visual[max(0, -shift) : max(0, -shift) + count]
            # the sound of `shift` frames later is heard with each picture, so it leads
            found = listener.compare(seen, sound(face, max(0, shift), count))
            as_stated.append(abs(found.offset_frames - stated - shift) <= 1)
            if abs(unshifted + shift) <= offset.MAX_SHIFT:
                rights.append(abs(found.offset_frames - unshifted - shift) <= 1)
    return {
        "recovered": share([right for rights in by_shift.values() for right in rights]),
        "recovered as stated": share(as_stated),
        "by_shift": {f"{shift:+d}": share(rights) for shift, rights in by_shift.items()},
    }


def own_against_other(listener: Listener, faces: Sequence[Face]) -> dict[str, Any]:
    """Does each clip score higher with its own sound than with every other clip's? Both as long
    as the shorter of the two clips. Also what the confidence is where nobody in view speaks."""
    higher, strange = [], []
    for face in faces:
        own: dict[int, float] = {}  # by length
        for other in faces:
            if other is face:
                continue
            count = min(len(face), len(other))
            seen = face.visual[:count]
            if count not in own:
                own[count] = listener.score(listener.compare(seen, sound(face, 0, count)))
            false = listener.compare(seen, sound(other, 0, count))
            higher.append(own[count] > listener.score(false))
            strange.append(false)
    rng = np.random.default_rng(0)
    noise = [
        listener.compare(face.visual, rng.normal(0, 1000, face.samples.size).astype(np.int16))
        for face in faces
    ]
    silence = [listener.compare(face.visual, np.zeros_like(face.samples)) for face in faces]
    own_sound = [listener.compare(face.visual, face.samples) for face in faces]
    return {
        "higher": share(higher),
        "confidence": {
            "own sound": spread([e.confidence for e in own_sound]),
            "another's sound": spread([e.confidence for e in strange]),
            "noise": spread([e.confidence for e in noise]),
            "silence": spread([e.confidence for e in silence]),
        },
        "score": {
            "own sound": spread([listener.score(e) for e in own_sound]),
            "another's sound": spread([listener.score(e) for e in strange]),
        },
    }


def windows(listener: Listener, faces: Sequence[Face]) -> dict[str, Any]:
    """On windows of 2, 3 and 4 s: are offsets found, and is a clip's own sound told from
    another's? Every window is cut out before its sound is embedded."""
    result: dict[str, Any] = {}
    for seconds in WINDOWS_S:
        size = seconds * FRAME_RATE
        long_enough = [face for face in faces if len(face) >= size]
        right: list[bool] = []
        own: list[list[Estimate]] = []
        other: list[list[Estimate]] = []
        for number, face in enumerate(long_enough):
            own.append([])
            other.append([])
            for step, first in enumerate(range(0, len(face) - size + 1, size)):
                found = _window(listener, face, face, first, first, size)
                error = abs(found.offset_frames - face.truth.offset_frames)
                right.append(error <= face.truth.tolerance)
                own[-1].append(found)
                for stride in (1, 7):
                    strange = long_enough[(number + stride * (step + 1)) % len(long_enough)]
                    if strange is not face:
                        other[-1].append(_window(listener, face, strange, first, 0, size))
        result[f"{seconds} s"] = {
            "right": share(right),
            "clips": len(long_enough),
            "auc of confidence": clustered_auc(own, other, lambda e: e.confidence),
            "auc of score": clustered_auc(own, other, listener.score),
            "median score": {
                "own sound": _median([listener.score(e) for clip in own for e in clip]),
                "another's sound": _median([listener.score(e) for clip in other for e in clip]),
            },
        }
    return result


def _window(
    listener: Listener, face: Face, heard: Face, seen_from: int, heard_from: int, size: int
) -> Estimate:
    return listener.compare(
        face.visual[seen_from : seen_from + size], sound(heard, heard_from, size)
    )


def share(rights: Sequence[bool]) -> dict[str, Any]:
    """A share with Wilson's 95% interval."""
    count, z = len(rights), 1.96
    if not count:
        return {"share": None, "interval": None, "count": 0}
    p = sum(rights) / count
    centre = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(p * (1 - p) / count + z * z / (4 * count**2)) / (1 + z * z / count)
    interval = [round(float(centre - half), 4), round(float(centre + half), 4)]
    return {"share": round(p, 4), "interval": interval, "count": count}


def _median(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 4) if len(values) else None


def spread(values: Sequence[float]) -> dict[str, float]:
    """5th, 50th and 95th percentile."""
    low, middle, high = np.percentile(values, (5, 50, 95))
    return {
        "p5": round(float(low), 4),
        "median": round(float(middle), 4),
        "p95": round(float(high), 4),
    }


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Probability that a positive lies above a negative; ties count half."""
    difference = np.asarray(positive)[:, None] - np.asarray(negative)[None]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def clustered_auc(
    own: Sequence[Sequence[Estimate]],
    other: Sequence[Sequence[Estimate]],
    value: Callable[[Estimate], float],
) -> dict[str, Any]:
    """AUC with a 95% interval from drawing clips (the outer sequences) anew 500 times; None where
    there is nothing to compare."""
    if not any(own) or not any(other):
        return {"auc": None, "interval": None}
    positives = [[value(e) for e in clip] for clip in own]
    negatives = [[value(e) for e in clip] for clip in other]

    def over(chosen: Sequence[int]) -> float:
        return auc(
            [v for i in chosen for v in positives[i]], [v for i in chosen for v in negatives[i]]
        )

    rng = np.random.default_rng(0)
    everyone = range(len(own))
    drawn = [over(rng.choice(len(own), len(own)).tolist()) for _ in range(500)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return {
        "auc": round(over(everyone), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
    }


def evaluate(listener: Listener, faces: Sequence[Face]) -> dict[str, Any]:
    """All figures of clips of at least 1.6 s."""
    long_enough = [face for face in faces if len(face) >= SHORTEST]
    return {
        "whole clips": whole_clips(listener, long_enough),
        "shifted sound": shifted_sound(listener, long_enough),
        "own against other": own_against_other(listener, long_enough),
        "windows": windows(listener, long_enough),
        "ms per frame": round(1000 * float(np.median([f.seconds_per_frame for f in faces])), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--json", type=Path, required=True, help="where to write the figures")
    arguments = parser.parse_args()
    looker = Looker()
    listener = Listener(looker.embedder, calibration.load(looker.info.name))
    faces, failed = looker.look_at(arguments.data)
    report = {
        "network": asdict(looker.info),
        **evaluate(listener, faces),
        "not measured": failed,
    }
    text = json.dumps(report, indent=2)
    arguments.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
