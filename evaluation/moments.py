"""How well the offset is followed through a recording: between frames, over time, over splices.

    python -m evaluation.moments LIST.csv --media DIR

LIST names recordings of known offset (see `evaluation.inputs`). Their sound is moved by parts of
a frame, played a little too fast, and moved from the middle on; the bundled networks say what they
see. Recordings of one group are also joined, two or three at a time, to get longer ones.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation import inputs
from syncnet_python import media, offset, pipeline, timeline
from syncnet_python.assembly import Networks
from syncnet_python.errors import RecordingError
from syncnet_python.fcn_embedding import locate
from syncnet_python.pipeline import SyncNetwork
from syncnet_python.results import FRAME_RATE, SAMPLES_PER_FRAME

FRACTIONS = (-6.7, -3.3, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 2.6, 5.4)
"""Frames by which the sound is made to lead."""

JUMPS = (6, -6)
RATES = (1.005, 0.995)
JOINED = 150
SHORTEST = 40
"""Frames of a recording that counts."""

Rows = NDArray[np.float32]
Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """visual: (windows, d); samples: the sound over them; truth: its offset, None where it is not
    known to a frame."""

    name: str
    group: str
    truth: float | None
    visual: Rows
    samples: Samples


@dataclass(frozen=True, slots=True)
class Listener:
    network: SyncNetwork

    def table(self, visual: Rows, samples: Samples) -> Rows:
        heard = self.network.audio(samples, len(visual))
        return offset.distances(visual[: len(heard)], heard, padding=self.network.padding)

    def offset(self, visual: Rows, samples: Samples) -> float:
        return offset.subframe(offset.read(self.table(visual, samples)).curve)

    def moments(self, rows: Rows) -> list[tuple[float, float, float, float]]:
        """(seconds, offset, low, high) of the moments that say something."""
        found = timeline.moments(rows, np.arange(len(rows)) / FRAME_RATE, self.network.scale)
        return [
            (m.time_s, m.offset, m.low, m.high)
            for m in found
            if m.offset is not None and m.low is not None and m.high is not None
        ]

    def changes(self, rows: Rows) -> list[float]:
        found = timeline.changes(rows, np.arange(len(rows)) / FRAME_RATE, self.network.scale)
        return [change.time_s for change in found]


def look(items: Sequence[inputs.Item], networks: Networks) -> Iterator[Face]:
    """The longest track of each recording; those without a face are left out."""
    for item in items:
        try:
            recording = media.read(item.path, media.Limits(duration_s=120.0))
            tracks = pipeline.find_tracks(recording.frames, networks.face_detector())
        except RecordingError:
            continue
        track = max(tracks, key=len)
        points = locate(networks.landmarker(), recording.frames, track)
        visual = networks.sync().visual(recording.frames, track, points)
        first = int(track.frames[0]) * SAMPLES_PER_FRAME
        samples = recording.audio[first : first + len(visual) * SAMPLES_PER_FRAME]
        if len(visual) >= SHORTEST:
            truth = item.offset if item.tolerance <= 1 else None
            yield Face(item.name, item.group or item.name, truth, visual, samples)


def leading(face: Face, frames: float) -> tuple[Rows, Samples]:
    """Picture and sound made to lead by so many frames more, cut to what they share."""
    lost = int(np.ceil(abs(frames)))
    first = max(0, -int(np.floor(frames)))
    count = len(face.visual) - lost
    start = first * SAMPLES_PER_FRAME + round(frames * SAMPLES_PER_FRAME)
    sound = face.samples[start : start + count * SAMPLES_PER_FRAME]
    return face.visual[first : first + count], sound


def between_frames(listener: Listener, faces: Sequence[Face]) -> None:
    relative, absolute, own_bands, true_bands = [], [], [], []
    for face in faces:
        own = listener.offset(face.visual, face.samples)
        for lead in FRACTIONS:
            visual, samples = leading(face, lead)
            found = listener.offset(visual, samples)
            relative.append(abs(found - own - lead))
            for _, _, low, high in listener.moments(listener.table(visual, samples)):
                own_bands.append(low <= round(own + lead, 1) <= high)
                if face.truth is not None:
                    true_bands.append(low <= round(face.truth + lead, 1) <= high)
            if face.truth is not None:
                absolute.append(abs(found - face.truth - lead))
    print(
        f"between frames: mean error {np.mean(relative):.3f} frames from the unmoved recording's "
        f"offset ({len(relative)}), {np.mean(absolute):.3f} from the stated one ({len(absolute)})"
    )
    print(
        f"moments: bands hold the recording's own offset in {np.mean(own_bands):.3f} "
        f"({len(own_bands)}), the stated one in {np.mean(true_bands):.3f} ({len(true_bands)})"
    )


def drift(listener: Listener, faces: Sequence[Face]) -> None:
    found, inside, jumps = [], [], 0
    for face in faces:
        own = listener.offset(face.visual, face.samples)
        for rate in RATES:
            places = np.arange(int(len(face.samples) / max(rate, 1.0))) * rate
            sound = np.interp(places, np.arange(len(face.samples)), face.samples).astype(np.int16)
            visual = face.visual[: len(sound) // SAMPLES_PER_FRAME]
            rows = listener.table(visual, sound)
            moments = listener.moments(rows)
            jumps += len(listener.changes(rows))
            slope = (rate - 1) * FRAME_RATE
            inside += [
                low <= round(own + slope * time, 1) <= high for time, _, low, high in moments
            ]
            if len(moments) >= 6:
                at, offsets = zip(*(m[:2] for m in moments), strict=True)
                found.append(np.polyfit(at, offsets, 1)[0] / slope)
    print(
        f"drift of 0.5%: bands hold it in {np.mean(inside):.3f} ({len(inside)}), slope "
        f"{np.median(found):.2f} of the true one (median of {len(found)}), {jumps} changes seen"
    )


def joined(faces: Sequence[Face], rng: np.random.Generator) -> list[Face]:
    """Recordings of one group in a row, of faces whose offset is the same."""
    groups: dict[tuple[str, float], list[Face]] = {}
    for face in faces:
        if face.truth is not None:
            groups.setdefault((face.group, face.truth), []).append(face)
    several = [members for members in groups.values() if len(members) >= 3]
    rows = []
    for number in range(JOINED if several else 0):
        members = several[number % len(several)]
        chosen = [members[i] for i in rng.permutation(len(members))[: 2 + number % 2]]
        rows.append(
            Face(
                "+".join(face.name for face in chosen),
                chosen[0].group,
                chosen[0].truth,
                np.concatenate([face.visual for face in chosen]),
                np.concatenate([face.samples for face in chosen]),
            )
        )
    return rows


def splices(listener: Listener, faces: Sequence[Face], name: str) -> None:
    false, seen, near, shift = [], [], [], []
    for face in faces:
        false.append(len(listener.changes(listener.table(face.visual, face.samples))) > 0)
        middle = len(face.visual) // 2
        for jump in JUMPS:
            cut = middle * SAMPLES_PER_FRAME
            later = cut + jump * SAMPLES_PER_FRAME
            sound = np.concatenate([face.samples[:cut], face.samples[later:]])
            count = min(len(face.visual), len(sound) // SAMPLES_PER_FRAME)
            sound = sound[: count * SAMPLES_PER_FRAME]
            times = listener.changes(listener.table(face.visual[:count], sound))
            distance = min((abs(time - middle / FRAME_RATE) for time in times), default=np.inf)
            seen.append(bool(times))
            near.append(distance <= 1.0)
            if times:
                shift.append(distance)
    print(
        f"{name}: {np.mean(false):.3f} of {len(false)} unspliced flagged; spliced by 6 frames, "
        f"{np.mean(seen):.3f} of {len(seen)} flagged, {np.mean(near):.3f} within 1 s "
        f"(median {np.median(shift):.2f} s)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("list", type=Path, help="CSV of recordings")
    parser.add_argument("--media", type=Path, help="folder that its files are relative to")
    arguments = parser.parse_args()
    networks = Networks("bundled")
    faces = list(look(inputs.read(arguments.list, arguments.media), networks))
    listener = Listener(networks.sync())
    between_frames(listener, faces)
    drift(listener, [face for face in faces if len(face.visual) >= 6 * FRAME_RATE])
    long_enough = [face for face in faces if len(face.visual) >= 5 * FRAME_RATE]
    splices(listener, long_enough, "recordings of 5 s and more")
    splices(listener, joined(faces, np.random.default_rng(0)), "joined recordings")


if __name__ == "__main__":
    main()
