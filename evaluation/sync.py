"""How well sync networks tell sync, on recordings whose truth is known.

Every recording goes through what the service does: decoding, face finder, tracking, landmarks,
network, offset, score. Then windows of it are compared with their own sound, with the same sound
shifted, and with other people's (`evaluation.sync_trials`); the same under named disturbances
(`evaluation.conditions`), written as files and decoded again. Every network that is present sees
the same files and the same windows.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation import conditions as disturbances
from evaluation import sync_report
from evaluation.conditions import CONDITIONS, Studio
from evaluation.inputs import Item
from evaluation.journal import Failure, Journal, OpenJournal, Progress, key_of, run
from evaluation.report import Outcome
from evaluation.sync_figures import Recorded
from evaluation.sync_trials import Seen
from syncnet_python import doubts, media, pipeline
from syncnet_python.assembly import SYNC_NETWORKS, Networks
from syncnet_python.detectors import FaceDetector
from syncnet_python.errors import RecordingError, WeightsMissing
from syncnet_python.fcn_embedding import locate
from syncnet_python.landmarks import Landmarker
from syncnet_python.pipeline import SyncNetwork
from syncnet_python.results import TrackResult

LIMITS = media.Limits(duration_s=120.0)

CODE = (
    "evaluation.sync",
    "evaluation.conditions",
    "evaluation.turning",
    "syncnet_python.alignment",
    "syncnet_python.audio_features",
    "syncnet_python.cropping",
    "syncnet_python.detectors",
    "syncnet_python.doubts",
    "syncnet_python.embedding",
    "syncnet_python.fcn_embedding",
    "syncnet_python.landmarks",
    "syncnet_python.media",
    "syncnet_python.mouth",
    "syncnet_python.networks",
    "syncnet_python.offset",
    "syncnet_python.pipeline",
    "syncnet_python.scale",
    "syncnet_python.scenes",
    "syncnet_python.speech",
    "syncnet_python.sync_networks",
    "syncnet_python.timeline",
    "syncnet_python.tracking",
)
"""What a measured recording depends on beside its weights."""


@dataclass(frozen=True, slots=True)
class Look:
    """Finds, follows and embeds the face that speaks, as the service does."""

    detector: FaceDetector
    landmarker: Landmarker
    network: SyncNetwork

    def at(self, path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What was found, as plain JSON, and its arrays `visual` and `samples`, see
        `sync_trials.Seen`. Raises RecordingError."""
        recording = media.read(path, LIMITS)
        tracks = pipeline.find_tracks(recording.frames, self.detector)
        result = pipeline.measure_sync(recording, tracks, self.network, self.landmarker)
        track = next(t for t, of in zip(tracks, result.tracks, strict=True) if of.chosen)
        points = locate(self.landmarker, recording.frames, track)
        begun = time.perf_counter()
        visual = self.network.visual(recording.frames, track, points)
        samples = pipeline.sound_of(track, recording)
        self.network.audio(samples, len(track))
        spent = time.perf_counter() - begun
        found = {
            "frames": len(track),
            "offset_frames": result.offset_frames,
            "subframe_offset": result.subframe_offset,
            "confidence": result.confidence,
            "min_dist": result.min_dist,
            "score": result.score,
            "doubts": list(result.doubts),
            "changes": len(result.changes),
            "turn_deg": doubts.describe(points).turn_deg,
            "face_pixels": _face_size(result.tracks),
            "ms_per_frame": 1000 * spent / len(track),
        }
        return found, {"visual": visual, "samples": samples}


def evaluate(
    items: Sequence[Item],
    networks: Networks,
    open_journal: OpenJournal,
    progress: Progress = lambda done, total, name: None,
    *,
    conditions: Sequence[str] = (),
) -> Outcome:
    """All figures of every sync network that is present.

    networks: whose face finder and landmarks are used; conditions: names of
    `conditions.CONDITIONS` to measure under beside none. Raises ModelError; ValueError for an
    unknown condition.
    """
    unknown = [name for name in conditions if name not in CONDITIONS]
    if unknown:
        raise ValueError(f"no condition is called {unknown[0]!r}: {', '.join(CONDITIONS)}")
    present = list(_present(networks))
    total = len(present) * (1 + len(conditions)) * len(items)
    recorded: dict[str, list[Recorded]] = {}
    failures: dict[tuple[str, str], Failure] = {}
    done = 0
    for network in present:
        look = Look(networks.face_detector(), networks.landmarker(), network)
        infos = [*(i for n, i in networks.info().items() if n not in SYNC_NETWORKS), network.info]
        listed = ",".join(sorted(item.name for item in items)) if conditions else ""
        journal = open_journal(key_of(infos, CODE, voices=listed))
        studio = Studio(look.detector, look.landmarker)
        found = recorded.setdefault(network.info.name, [])
        for condition in ("", *conditions):

            def tell(now: int, _: int, name: str, before: int = done) -> None:
                progress(before + now, total, name)

            measured, failed = _recorded(items, condition, look, studio, journal, tell)
            found += measured
            failures |= {(failure.file, failure.code): failure for failure in failed}
            done += len(items)
    progress(total, total, "")
    named = [(network.info.name, network) for network in present]
    outcome = sync_report.outcome(named, recorded, progress)
    loaded = tuple(networks.info().values())
    return replace(outcome, networks=loaded, failures=tuple(failures.values()))


def _present(networks: Networks) -> Iterator[SyncNetwork]:
    """The profile's own network first, then every other whose weights are here."""
    names = sorted(SYNC_NETWORKS, key=lambda name: name != networks.choice.sync)
    for name in names:
        try:
            yield networks.sync() if name == networks.choice.sync else SYNC_NETWORKS[name](networks)
        except WeightsMissing:
            if name == networks.choice.sync:
                raise


def _recorded(
    items: Sequence[Item],
    condition: str,
    look: Look,
    studio: Studio,
    journal: Journal,
    progress: Progress,
) -> tuple[list[Recorded], list[Failure]]:
    """All under one condition, from the journal, or measured and put there."""

    def measure(item: Item) -> dict[str, Any]:
        found, arrays = _measure(item, condition, look, studio, items)
        journal.save_arrays(item.path, condition, **arrays)
        return found

    measured, failures = run(items, journal, measure, progress, part=condition)
    recorded = []
    for item, found in measured:
        with np.load(journal.arrays(item.path, condition)) as stored:
            seen = Seen(item, stored["visual"], stored["samples"], int(found["frames"]))
        recorded.append(Recorded(seen, condition or item.condition, bool(condition), found))
    return recorded, failures


def _measure(
    item: Item, condition: str, look: Look, studio: Studio, items: Sequence[Item]
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    if not condition:
        return look.at(item.path)
    if not studio.voices:
        studio.voices = list(_voices(items))
    recording = media.read(item.path, LIMITS)
    with TemporaryDirectory() as folder:
        target = Path(folder) / "disturbed.mkv"
        disturbances.write(condition, item.name, item.group, recording, studio, target)
        return look.at(target)


def _voices(items: Sequence[Item]) -> Iterator[tuple[str, NDArray[np.int16]]]:
    """Group and sound of every recording that can be decoded."""
    for item in items:
        try:
            yield item.group, media.read(item.path, LIMITS).audio
        except RecordingError:
            continue


def _face_size(tracks: Sequence[TrackResult]) -> float:
    x1, y1, x2, y2 = next(track.mean_box for track in tracks if track.chosen)
    return max(x2 - x1, y2 - y1)
