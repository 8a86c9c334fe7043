"""An engine whose behaviour the file under analysis chooses, for tests of the supervision.

What is tested with it is how the service bears with an analysis that hangs, crashes or fails; the
analysis itself is tested with the real one.
"""

import ctypes
import hashlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from flask import Flask
from pydantic import JsonValue

from syncnet_python import errors
from syncnet_python.results import (
    ArtifactResult,
    CalibrationInfo,
    HeatMap,
    Missing,
    ModelInfo,
    OffsetCurve,
    OffsetMoment,
    Quality,
    Statistics,
    SyncResult,
    TrackResult,
    Verdict,
    VideoInfo,
)

BUILD = "service_doubles:build"

TRACK = TrackResult(
    first_frame=0,
    last_frame=99,
    num_frames=100,
    mean_box=(10.0, 20.0, 110.0, 120.0),
    offset_frames=-2,
    confidence=7.25,
    min_dist=6.5,
    chosen=True,
)
SYNC = SyncResult(
    score=0.9,
    offset_frames=-2,
    lag_ms=-80,
    confidence=7.25,
    min_dist=6.5,
    protocol="test",
    network="syncnet_double",
    num_windows=3,
    curve=OffsetCurve(
        offsets=tuple(range(-15, 16)), distances=tuple(10 + abs(i + 2) / 3 for i in range(-15, 16))
    ),
    framewise_confidence=(7.0, 7.25, 7.5),
    tracks=(
        TRACK,
        replace(TRACK, offset_frames=None, confidence=None, min_dist=None, chosen=False),
    ),
    subframe_offset=-2.2,
    timeline=(
        OffsetMoment(time_s=1.0, offset=-2.3, low=-2.6, high=-2.0, confidence=7.0),
        OffsetMoment(time_s=2.0, offset=None, low=None, high=None, confidence=1.5),
    ),
    changes=(),
    doubts=(),
    raw_score=0.85,
)
ARTIFACT = ArtifactResult(
    is_real=True,
    score=0.8,
    confidence=0.6,
    consistency=0.95,
    num_frames=2,
    frame_scores=(0.75, 0.85),
    frame_times=(0.5, 1.5),
    statistics=Statistics(mean=0.8, std=0.05, min=0.75, max=0.85),
    temporal_consistency=0.9,
    raw_score=0.75,
)
VERDICT = Verdict(
    combined_score=0.84,
    risk_level="LOW",
    is_likely_real=True,
    decision="ALLOW",
    reason_codes=("HIGH_SYNC_SCORE", "LOW_OFFSET", "DECISION_ALLOW"),
    inconclusive=False,
    missing=(),
    weights={"syncnet": 0.4, "efficientnet": 0.6},
    syncnet=SYNC,
    efficientnet=ARTIFACT,
    quality=Quality(brightness=120.0, sharpness=80.0, face_size=140.0, snr_db=25.0),
    video=VideoInfo(duration_s=4.0, width=640, height=480, fps=29.97, codec="vp8", frames_used=100),
    models={"syncnet": ModelInfo("syncnet_double", "1", "bundled", "0" * 64)},
    calibration=CalibrationInfo(
        name="front door", sha256="1" * 64, made="2026-11-21", capture_offset=-2.0
    ),
    timings_ms={"decode": 120.5},
)
PARTIAL = replace(
    VERDICT,
    combined_score=0.9,
    decision="NEXT",
    inconclusive=True,
    missing=(Missing("efficientnet", "timeout", "out of time", "Send a shorter recording."),),
    efficientnet=None,
)


class DoubleEngine:
    """Does what the first line of the file says: a word, and what it needs."""

    def __init__(self) -> None:
        self._loaded: tuple[str, ...] = ()

    def preload(self) -> None:
        self._loaded = ("syncnet_double",)

    def loaded(self) -> tuple[str, ...]:
        return self._loaded

    def score(
        self,
        path: Path,
        reference: str,
        *,
        partial: bool,
        heatmap: bool,
        on_partial: Callable[[Verdict], None],
        on_stage: Callable[[str], None],
    ) -> Verdict:
        self.preload()
        on_stage("decode")
        content = path.read_bytes()
        word, _, rest = content.partition(b"\n")[0].decode().strip().partition(" ")
        match word:
            case "answer":
                return VERDICT
            case "map":  # as many characters as the file says
                drawn = HeatMap(time_s=0.5, score=0.75, png="A" * int(rest)) if heatmap else None
                return replace(VERDICT, efficientnet=replace(ARTIFACT, heatmap=drawn))
            case "pid":  # where the file lay, and who read it
                return replace(VERDICT, timings_ms={"pid": os.getpid()}, reason_codes=(str(path),))
            case "digest":
                return replace(VERDICT, reason_codes=(hashlib.sha256(content).hexdigest(),))
            case "hold":  # for ever, in compiled code, after telling the process id
                _tell(Path(rest))
                ctypes.CDLL(None).pause()
            case "partial":
                on_partial(PARTIAL)
                threading.Event().wait()
            case "until":  # a file appears
                marker, _, go = rest.partition(" ")
                _tell(Path(marker))
                with Path(go).open() as pipe:  # a named pipe: opening waits for the other side
                    pipe.read()
                return VERDICT
            case "signal":
                os.kill(os.getpid(), int(rest))
                signal.pause()
            case "raise":
                kind, _, message = rest.partition(" ")
                raise getattr(errors, kind)(message)
            case "break":
                raise ZeroDivisionError(rest)
            case "nonsense":
                Connection(int(sys.argv[1])).send_bytes(rest.encode())
                signal.pause()
        raise errors.NotAVideo(f"{partial=}")


def _tell(marker: Path) -> None:
    """Write this process's id in one step, so that a reader sees all of it or nothing."""
    draft = marker.with_suffix(".draft")
    draft.write_text(str(os.getpid()))
    draft.rename(marker)


def build(options: Mapping[str, JsonValue]) -> DoubleEngine:
    if message := options.get("missing"):
        raise errors.WeightsMissing(str(message))
    return DoubleEngine()


def make_app() -> Flask:
    """The application with the double in place of the analysis, set up from the environment."""
    from app import create_app

    return create_app(engine=BUILD)
