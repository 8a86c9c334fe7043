"""FCN-SyncNet beside the original: offsets of a shifted clip, speed of the sync stage, memory.

    python -m benchmarks.networks [FILE] [--json] [--models-dir DIR] [--rounds N]

FILE is a recording of somebody who talks; without one, a clip of known offset is made. Its sound is
moved by whole frames against its picture, and every network must move by as many, within one.

The sync stage is everything between face tracks and the offset: crops, and for FCN-SyncNet the
landmarks they are cut by; features of the sound; embeddings of both; distances; the curve. Every
way has a process of its own, and they are timed in turn, round after round, so that a busy machine
slows all of them alike; ratios are of the fastest rounds, which other work disturbs least.

Where the published weights of SyncNet v2 are not here, its architecture is timed with random ones:
speed and memory do not depend on them, offsets do and are left out.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from os import getpid
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import embedding
from benchmarks.machine import describe, peak_mb
from evaluation.samples import talking_clip
from syncnet_python import cropping, media, offset, pipeline, weights
from syncnet_python.assembly import Networks
from syncnet_python.embedding import count_windows
from syncnet_python.errors import SyncNetError, TrackTooShort
from syncnet_python.networks import syncnet
from syncnet_python.networks.syncnet import SyncNet
from syncnet_python.profiles import Network
from syncnet_python.results import FRAME_RATE, SAMPLES_PER_FRAME, ModelInfo
from syncnet_python.sync_networks import SyncNetV2
from syncnet_python.tracking import Track

SHIFTS = (0, 3, -3, 5, -5, 8, -8, 12, -12)
"""Frames by which the sound is made to lead the picture."""

MARGIN = max(SHIFTS)
"""Frames at either end whose sound is kept for the shifts, so that all of it is real."""

TOLERANCE = 1
DEMANDED = 5.0
"""How many times as fast as the original FCN-SyncNet has to be."""

ROUNDS = 5
CLIP_S = 6.0

Arithmetic = Literal["auto", "float32", "reference"]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to get from tracks to an offset. arithmetic: "reference" computes as the published
    scripts do, on the same crops; the others as `embedding.SyncNetEmbedder` does."""

    title: str
    network: Network
    arithmetic: Arithmetic


WAYS: Mapping[str, Way] = {
    "fcn": Way("FCN-SyncNet (landmarks included)", "fcn", "float32"),
    "original_reference": Way("SyncNet v2 as published", "original", "reference"),
    "original_float32": Way("SyncNet v2 here, float32", "original", "float32"),
    "original_auto": Way("SyncNet v2 here, precision auto", "original", "auto"),
}
BASELINE = "original_reference"
"""The original as it is published."""

DEPLOYED = "original_auto"
"""The original as `--network original` runs it."""

SHIFTED = ("fcn", DEPLOYED)


@dataclass(frozen=True, slots=True)
class Job:
    """What a process measures. track: without MARGIN at either end; random: SyncNet v2 with random
    weights."""

    way: Way
    path: Path
    track: Track
    models_dir: Path | None
    random: bool


class Bench:
    """One way, ready to run, in a process of its own."""

    def __init__(self, job: Job) -> None:
        self._track = job.track
        self._recording = media.read(job.path, _limits(job.way.network))
        self.before_mb = peak_mb(getpid())
        if job.way.arithmetic == "reference":
            published = _original(job).eval()
            self._stage: Callable[[], object] = lambda: self._as_published(published)
        else:
            self._network = _network(job)
            self._stage = lambda: self.estimate(0)

    def seconds(self) -> float:
        """Of the stage, once, for each second of video."""
        begin = time.perf_counter()
        self._stage()
        return (time.perf_counter() - begin) * FRAME_RATE / len(self._track)

    def estimate(self, shift: int) -> tuple[int, float]:
        """Offset and confidence where the sound leads by `shift` frames more than it does."""
        table = self._network.distances(self._recording.frames, self._sound(shift), self._track)
        found = offset.read(table)
        return found.offset_frames, found.confidence

    def _sound(self, shift: int) -> NDArray[np.int16]:
        first, end = int(self._track.frames[0]) + shift, int(self._track.frames[-1]) + 1 + shift
        return self._recording.audio[first * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]

    def _as_published(self, network: SyncNet) -> None:
        path, frames = cropping.smooth(self._track.boxes), self._recording.frames
        steps = zip(self._track.frames, path.x, path.y, path.size, strict=True)
        crops = np.stack([cropping.crop(frames.bgr(int(i)), x, y, s) for i, x, y, s in steps])
        sound = self._sound(0)
        windows = count_windows(len(crops), len(sound), "reference")
        embedding.reference(network, crops, sound, windows)


def _limits(network: Network) -> media.Limits:
    """The original's figures are those of whole frames."""
    return media.Limits() if network == "fcn" else media.Limits(kept_pixels=None)


def _original(job: Job) -> SyncNet:
    if not job.random:
        return syncnet.build(weights.load("syncnet_v2", job.models_dir)[0])
    torch.manual_seed(0)
    return SyncNet()


def _network(job: Job) -> pipeline.SyncNetwork:
    if job.way.network == "fcn":
        return Networks("bundled", job.models_dir, "cpu").sync()
    info = ModelInfo("syncnet_v2", "random" if job.random else "2", "published", "")
    precision: Literal["auto", "float32"] = "auto" if job.way.arithmetic == "auto" else "float32"
    return SyncNetV2(_original(job).state_dict(), info, "cpu", precision)


_bench: Bench | None = None


def _open(job: Job) -> None:
    global _bench
    _bench = Bench(job)


def _ask(question: Callable[[Bench], Any]) -> Any:
    if _bench is None:
        raise RuntimeError("the process has nothing to measure")
    return question(_bench)


def _offsets(bench: Bench) -> list[tuple[int, float]]:
    return [bench.estimate(shift) for shift in SHIFTS]


def _memory(bench: Bench) -> tuple[float, float]:
    return bench.before_mb, peak_mb(getpid())


def measure(
    path: Path | None = None, *, models_dir: Path | None = None, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Figures of every way. path: a recording; one is made by default. Raises SyncNetError."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if path is None:
            path = Path(folder) / "clip.mp4"
            talking_clip(path, seconds=CLIP_S, container="mp4-h264-aac", seed=2)
            name = f"a made clip of {CLIP_S:g} s, offset 0"
        else:
            name = path.name
        random = weights.locate("syncnet_v2", models_dir) is None
        tracks = {network: _track(path, network, models_dir) for network in ("fcn", "original")}
        pools = {
            key: stack.enter_context(
                ProcessPoolExecutor(
                    1,
                    get_context("spawn"),
                    _open,
                    (Job(way, path, tracks[way.network], models_dir, random),),
                )
            )
            for key, way in WAYS.items()
        }
        spent: dict[str, list[float]] = {key: [] for key in WAYS}
        for turn in range(rounds + 1):
            for key, pool in pools.items():
                seconds = pool.submit(_ask, Bench.seconds).result()
                if turn:  # the first is for warming up
                    spent[key].append(seconds)
        figures = {key: _figures(key, spent[key], pools[key], random) for key in WAYS}
    fcn = figures["fcn"]["s_per_s"]["fastest"]
    return {
        "clip": name,
        "analysed_s": round(len(tracks["fcn"]) / FRAME_RATE, 2),
        "threads": torch.get_num_threads(),
        "syncnet_v2_weights": "random: speed only" if random else "published",
        "ways": figures,
        "fcn_times_as_fast_as": {
            key: round(figures[key]["s_per_s"]["fastest"] / fcn, 1) for key in WAYS if key != "fcn"
        },
        "demanded": DEMANDED,
    }


def _track(path: Path, network: Network, models_dir: Path | None) -> Track:
    """The longest face, without MARGIN frames at either end. The original's own detector finds it
    where that is here, and the bundled one elsewhere."""
    recording = media.read(path, _limits(network))
    own = network == "original" and weights.locate("s3fd", models_dir) is not None
    detector = Networks(models_dir=models_dir, device="cpu", network="original" if own else "fcn")
    track = max(pipeline.find_tracks(recording.frames, detector.face_detector()), key=len)
    inner = slice(MARGIN, len(track) - MARGIN)
    if len(track) < 2 * MARGIN + FRAME_RATE:
        raise TrackTooShort(f"no face is in view for {2 * MARGIN + FRAME_RATE} frames")
    return Track(track.frames[inner], track.boxes[inner])


def _figures(
    key: str, spent: list[float], pool: ProcessPoolExecutor, random: bool
) -> dict[str, Any]:
    way = WAYS[key]
    before, peak = pool.submit(_ask, _memory).result()
    figures: dict[str, Any] = {
        "way": way.title,
        "s_per_s": {
            "median": round(statistics.median(spent), 4),
            "fastest": round(min(spent), 4),
        },
        "peak_mb": round(peak),
        "peak_mb_before_network": round(before),
    }
    if way.network == "original" and random:
        figures["no_offsets"] = "the published weights of SyncNet v2 are not here: speed only"
    elif key in SHIFTED:
        figures["offsets"] = compared(pool.submit(_ask, _offsets).result())
    return figures


def compared(found: list[tuple[int, float]]) -> list[dict[str, Any]]:
    """By shift, how far the offset moved. found: (offset, confidence) by SHIFTS, of which the first
    is 0. moved_with_it: None where the offset would be beyond those that are searched."""
    own = found[0][0]
    return [
        {
            "shift": shift,
            "offset": at,
            "confidence": round(confidence, 3),
            "moved": at - own,
            "moved_with_it": abs(at - own - shift) <= TOLERANCE
            if abs(own + shift) <= offset.MAX_SHIFT
            else None,
        }
        for shift, (at, confidence) in zip(SHIFTS, found, strict=True)
    ]


def tables(figures: Mapping[str, Any]) -> list[Table]:
    """The same figures for people: speed and memory, then offsets."""
    ways = figures["ways"]
    speed = Table(title=f"Sync stage, {figures['clip']}, {figures['threads']} threads", box=None)
    for title in (
        "way",
        "s per s of video",
        "fastest",
        "FCN is faster",
        "peak MB",
        "without network",
    ):
        speed.add_column(title, justify="left" if title == "way" else "right")
    for key, way in ways.items():
        ratio = figures["fcn_times_as_fast_as"].get(key)
        only = " (random weights: speed only)" if "no_offsets" in way else ""
        speed.add_row(
            way["way"] + only,
            f"{way['s_per_s']['median']:.3f}",
            f"{way['s_per_s']['fastest']:.3f}",
            "-" if ratio is None else f"{ratio:.1f} times",
            f"{way['peak_mb']}",
            f"{way['peak_mb_before_network']}",
        )
    shifted = Table(title="Sound moved by whole frames", box=None)
    for title in ("network", "shift", "offset", "confidence", "moved", "with it"):
        shifted.add_column(title, justify="left" if title == "network" else "right")
    said = {True: "yes", False: "NO", None: "beyond reach"}
    for key in SHIFTED:
        title = "FCN-SyncNet" if WAYS[key].network == "fcn" else "SyncNet v2"
        for row in ways[key].get("offsets", ()):
            shifted.add_row(
                title,
                f"{row['shift']:+d}",
                f"{row['offset']:+d}",
                f"{row['confidence']:.3f}",
                f"{row['moved']:+d}",
                said[row["moved_with_it"]],
            )
        if reason := ways[key].get("no_offsets"):
            shifted.add_row(title, "-", "-", "-", "-", reason)
    return [speed, shifted]


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare FCN-SyncNet with the original.")
    parser.add_argument("file", type=Path, nargs="?", help="somebody who talks; made by default")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--models-dir", type=Path, help="folder of downloaded weights")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    try:
        figures = measure(options.file, models_dir=options.models_dir, rounds=options.rounds)
    except (SyncNetError, OSError) as error:
        sys.exit(f"error: {error}")
    if options.json:
        print(json.dumps({"machine": describe(), "networks": figures}, indent=2))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    for table in tables(figures):
        console.print(table)
    ratios = figures["fcn_times_as_fast_as"]
    console.print(
        f"FCN-SyncNet is {ratios[BASELINE]:.1f} times as fast as the original as published "
        f"({DEMANDED:g} are demanded), and {ratios[DEPLOYED]:.1f} times as fast as this project "
        "runs the original."
    )


if __name__ == "__main__":
    main()
