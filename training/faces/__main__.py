"""Command line of `training.faces`; see the package."""

import argparse
from pathlib import Path

import cv2
import torch

from syncnet_python.networks.face_finder import FaceFinder
from syncnet_python.networks.face_landmarks import FaceLandmarks
from training.export import export
from training.faces import finder, landmarks
from training.faces.cache import build, labelled_files, open_cache
from training.faces.landmark_batches import LandmarkBatches
from training.faces.loop import Run, train
from training.faces.scenes import SceneBatches

RUNS = Path(__file__).resolve().parents[1] / "runs" / "faces"
TRAIN_SPLITS = ["sync_train", "faces_real", "artifact_train"]
LICENCE = "MIT; learnt from research-only data, see the card"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="training.faces", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    caching = commands.add_parser("cache", help="decode labelled media once")
    caching.add_argument("--data", type=Path, required=True)
    caching.add_argument("--teacher", type=Path, nargs="+", required=True)
    caching.add_argument("--cache", type=Path, required=True)
    for name in ("landmarks", "finder"):
        command = commands.add_parser(name, help=f"train and export the {name}")
        command.add_argument("--cache", type=Path, required=True)
        command.add_argument("--sources", nargs="*", help="such as grid lfw dfdc; default: all")
        command.add_argument("--minutes", type=float, default=30, help="of processor time")
        command.add_argument("--threads", type=int, default=1)
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--version", default="1")
        command.add_argument("--runs", type=Path, default=RUNS)
    return parser.parse_args()


def train_landmarks(options: argparse.Namespace) -> None:
    cache = open_cache(options.cache / "train", options.sources)
    network = FaceLandmarks().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train(
        Run(
            network=network,
            batches=lambda step: iter(LandmarkBatches(cache, 32, (options.seed, step))),
            losses=landmarks.losses,
            check=landmarks.checker(open_cache(options.cache / "val", None)),
            folder=options.runs,
            name="landmarks",
            minutes=options.minutes,
        )
    )
    export(
        network.state_dict(),
        name="face_landmarks",
        role="landmarks",
        layout="face_landmarks",
        version=options.version,
        licence=LICENCE,
    )


def train_finder(options: argparse.Namespace) -> None:
    cache = open_cache(options.cache / "train", options.sources)
    network = FaceFinder().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train(
        Run(
            network=network,
            batches=lambda step: iter(SceneBatches(cache, 24, (options.seed, step))),
            losses=finder.losses,
            check=finder.checker(open_cache(options.cache / "val", None)),
            folder=options.runs,
            name="finder",
            minutes=options.minutes,
        )
    )
    export(
        network.state_dict(),
        name="face_finder",
        role="face_detector",
        layout="face_finder",
        version=options.version,
        licence=LICENCE,
    )


def main() -> None:
    options = parse()
    if options.command == "cache":
        build(labelled_files(options.data, TRAIN_SPLITS, options.teacher), options.cache / "train")
        build(labelled_files(options.data, ["sync_val"], options.teacher), options.cache / "val")
        return
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    cv2.setNumThreads(options.threads)
    (train_landmarks if options.command == "landmarks" else train_finder)(options)


if __name__ == "__main__":
    main()
