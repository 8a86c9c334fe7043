"""How fast `syncnet-service long` is, and how much memory it takes, by the length of the recording.

    python -m benchmarks.long [--minutes N ...] [--clip FILE]

A long recording is made of a short one by writing its encoded packets again and again with rising
times, which costs nothing beside decoding it. Every length is measured by a process of its own. If
memory is bounded, its peak is the same for all of them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av

from benchmarks.machine import describe, peak_mb
from evaluation.samples import talking_clip

MINUTES = (2.0, 6.0)
CLIP_S = 19.2  # whole pictures and whole packets of AAC, so that repeating adds no drift
SIZE = (640, 480)


def repeat(clip: Path, target: Path, seconds: float) -> None:
    """Write the clip's packets again and again until the recording is so long."""
    with av.open(str(target), "w") as written, av.open(str(clip)) as source:
        picture, sound = source.streams.video[0], source.streams.audio[0]
        streams = {s.index: written.add_stream_from_template(s) for s in (picture, sound)}
        start = end = 0.0
        ends = dict.fromkeys(streams, -(1 << 62))
        while end < seconds:
            start = end
            source.seek(0)
            for packet in source.demux(picture, sound):
                if packet.dts is None or packet.pts is None or packet.duration is None:
                    continue
                if packet.stream.index == picture.index:
                    shown = packet.pts + packet.duration
                    end = max(end, start + float(shown * packet.time_base))
                shift = round(start / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                # The sound begins before the picture and ends after it: what would be twice, goes.
                if packet.dts >= ends[packet.stream.index]:
                    ends[packet.stream.index] = packet.dts + packet.duration
                    packet.stream = streams[packet.stream.index]
                    written.mux(packet)


def measure(minutes: Sequence[float] = MINUTES, clip: Path | None = None) -> list[dict[str, Any]]:
    """Real-time factor and peak memory of each length, with what was found in the whole."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if clip is None:
            clip = place / "clip.mp4"
            talking_clip(
                clip, seconds=CLIP_S, size=SIZE, container="mp4-h264-aac", offset_frames=3, seed=5
            )
        figures = []
        for length in minutes:
            recording = place / f"{length:g}.mp4"
            repeat(clip, recording, length * 60)
            figures.append({"minutes": length, **_run(recording, place / f"{length:g}")})
            recording.unlink()
        return figures


def _run(recording: Path, output_dir: Path) -> dict[str, Any]:
    """The command in a process of its own. The time is that of the whole process, networks and
    all; processor_s is what it took of all cores."""
    command = [sys.executable, "-m", "cli", "long", str(recording), "--json"]
    command += ["--output-dir", str(output_dir), "--profile", "bundled", "--device", "cpu"]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with _watched(process.pid) as peaks:
        answer = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the command ended with {process.returncode}")
    summary = json.loads(answer)
    whole = summary["whole"]
    return {
        "video_s": whole["end_s"],
        "took_s": round(took, 1),
        "real_time_factor": round(whole["end_s"] / took, 2),
        "processor_s": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_resident_mb": round(max(peaks), 1),
        "chunks": whole["chunks"],
        "failed": whole["failed"],
        "offset_frames": whole["offset_frames"],
        "confidence": whole["confidence"],
    }


@contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """Its peaks of resident memory so far, MB, one every half second. Not from its end: there the
    kernel tells no less than the peak of the process that it was forked from."""
    peaks: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            with suppress(OSError, KeyError):  # it has just ended
                peaks.append(peak_mb(pid))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield peaks
    finally:
        ended.set()
        watching.join()


def main() -> None:
    parser = argparse.ArgumentParser(description="Time `syncnet-service long`.")
    parser.add_argument("--minutes", type=float, nargs="+", default=list(MINUTES))
    parser.add_argument("--clip", type=Path, help="repeat this recording, not one made here")
    options = parser.parse_args()
    figures = measure(options.minutes, options.clip)
    print(json.dumps({"machine": describe(), "long": figures}, indent=2))


if __name__ == "__main__":
    main()
