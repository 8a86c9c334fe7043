"""Hours of video in bounded memory: measured chunk by chunk, gone on with after a kill, summed up.

`run` writes into the output folder `chunks.jsonl` as it goes and, at the end, the figures
(`processing_summary.json`), a page (`timeline.html`) and, where asked, the chunks that are kept.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from syncnet_python import offset
from syncnet_python import scale as scales
from syncnet_python.assembly import Networks
from syncnet_python.errors import RecordingError
from syncnet_python.results import FRAME_MS
from syncnet_python.weights import sha256_of
from workflows import clips
from workflows.long import timeline_page
from workflows.long.chunks import analyse
from workflows.long.journal import ChunkJournal
from workflows.long.presets import Judgement, Preset, judge, least_confidence
from workflows.long.records import Chunk, CutOff, LongOptions

SUMMARY, PAGE, JOURNAL, CHUNKS = (
    "processing_summary.json",
    "timeline.html",
    "chunks.jsonl",
    "chunks",
)

Progress = Callable[[float, str], None]
"""Called with the share that is done, 0-1, and what is being done."""


def run(
    file: Path,
    output_dir: Path,
    networks: Networks,
    options: LongOptions,
    preset: Preset,
    *,
    keep_chunks: bool = False,
    progress: Progress = lambda done, what: None,
) -> dict[str, Any]:
    """Measure a recording, or go on with it, and write what was found; the summary.

    preset: which chunks stay; another one on a finished recording measures nothing again.
    keep_chunks: write those as recordings of their own, into a folder named after the preset.
    Raises RecordingError where the file cannot be read at all, JournalRefused, ModelError,
    OSError.
    """
    network = networks.sync()
    networks.face_detector()
    networks.landmarker()
    protocol = _protocol(network.protocol, options)
    identity = {
        "sha256": sha256_of(file),
        "protocol": protocol,
        "networks": {name: info.sha256 for name, info in networks.info().items()},
        "options": _asked(options),
    }
    output_dir.mkdir(parents=True, exist_ok=True)
    with ChunkJournal(output_dir / JOURNAL, identity) as journal:
        resumed = len(journal.chunks)
        if not journal.complete:
            _measure(file, networks, options, journal, progress)
        chunks, cut_off = journal.chunks, journal.cut_off
        judged = [_judged(chunk, preset, network.scale) for chunk in chunks]
        files = _write_kept(file, output_dir, preset, chunks, judged, progress, wanted=keep_chunks)
        least = least_confidence(preset, network.scale)
        summary = {
            "file": {"name": file.name, "sha256": identity["sha256"]},
            "protocol": protocol,
            "networks": [asdict(info) for info in networks.info().values()],
            "options": identity["options"],
            "preset": {
                "name": preset.name,
                "syncnet_confidence": preset.confidence,
                "least_confidence": None if least is None else round(least, 4),
                "largest_offset": preset.offset,
            },
            "whole": _whole(chunks, judged, protocol, options),
            "chunks": [
                _described(*row, files.get(row[0].number))
                for row in zip(chunks, judged, strict=True)
            ],
            "failures": _failures(chunks, cut_off),
            "timings": _timings(chunks, resumed),
        }
        text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
        plain: dict[str, Any] = json.loads(text)  # what is returned is what is written
        _write(output_dir / SUMMARY, text + "\n")
        _write(output_dir / PAGE, timeline_page.render(plain))
    return plain


def _measure(
    file: Path,
    networks: Networks,
    options: LongOptions,
    journal: ChunkJournal,
    progress: Progress,
) -> None:
    """Bring the journal to its end, or take it away where the file cannot be read at all."""
    cut_off = None
    try:
        for found, done in analyse(file, networks, options, known=len(journal.chunks)):
            if isinstance(found, CutOff):
                cut_off = found
            else:
                journal.add(found)
                progress(done, f"chunk {found.number + 1}, to {found.end_s:.0f} s")
    except RecordingError:
        journal.discard()
        raise
    journal.finish(cut_off)


def _protocol(network: str, options: LongOptions) -> str:
    """Only figures of one protocol can be compared, and how often faces were looked for is part
    of it."""
    return network if options.look_every == 1 else f"{network}/faces-every-{options.look_every}"


def _asked(options: LongOptions) -> dict[str, float]:
    return {
        "chunk_duration_s": options.chunk_s,
        "overlap_s": options.overlap_s,
        "min_track": options.tracking.min_track,
        "min_face_size": options.tracking.min_face_size,
        "look_every": options.look_every,
    }


def _judged(chunk: Chunk, preset: Preset, scale: scales.Scale) -> Judgement | None:
    """None for a chunk that could not be measured."""
    figures = chunk.figures
    if figures is None:
        return None
    return judge(preset, scale, figures.offset_frames, figures.confidence)


def _whole(
    chunks: Sequence[Chunk],
    judged: Sequence[Judgement | None],
    protocol: str,
    options: LongOptions,
) -> dict[str, Any]:
    """The figures of all rows together, each counted in the one chunk that it belongs to."""
    kept = sum(bool(judgement and judgement.kept) for judgement in judged)
    failed = sum(judgement is None for judgement in judged)
    whole: dict[str, Any] = {
        "start_s": 0.0,
        "end_s": chunks[-1].end_s,
        "chunks": len(chunks),
        "measured": len(chunks) - failed,
        "failed": failed,
        "kept": kept,
        "dropped": len(chunks) - failed - kept,
        "visible_faces": max(chunk.visible_faces for chunk in chunks),
        "speaking_faces": max(chunk.speaking_faces for chunk in chunks),
        "protocol": f"{protocol}/merged-{options.chunk_s:g}-{options.overlap_s:g}",
        "num_windows": 0,
        **dict.fromkeys(
            ("offset_frames", "subframe_offset", "lag_ms", "confidence", "min_dist", "curve")
        ),
    }
    sums = np.sum([chunk.sums for chunk in chunks], axis=0)
    counts = np.sum([chunk.counts for chunk in chunks], axis=0)
    if not counts.any():
        return whole
    means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    estimate = offset.read(means[None].astype(np.float32))
    return whole | {
        "offset_frames": estimate.offset_frames,
        "subframe_offset": offset.subframe(estimate.curve),
        "lag_ms": estimate.offset_frames * FRAME_MS,
        "confidence": round(estimate.confidence, 6),
        "min_dist": round(estimate.min_dist, 6),
        "num_windows": int(counts.max()),
        "curve": {
            "offsets": list(estimate.curve.offsets),
            "distances": [round(distance, 6) for distance in estimate.curve.distances],
        },
    }


def _described(chunk: Chunk, judgement: Judgement | None, file: str | None) -> dict[str, Any]:
    state = "failed" if judgement is None else "kept" if judgement.kept else "dropped"
    row: dict[str, Any] = {
        "number": chunk.number,
        "start_s": chunk.start_s,
        "end_s": chunk.end_s,
        "own_start_s": chunk.own_start_s,
        "own_end_s": chunk.own_end_s,
        "state": state,
        "reasons": list(judgement.reasons) if judgement else [],
        "visible_faces": chunk.visible_faces,
        "speaking_faces": chunk.speaking_faces,
        "still_s": chunk.still_s,
        "failure": asdict(chunk.failure) if chunk.failure else None,
        "file": file,
        "took_s": chunk.took_s,
    }
    if chunk.figures:
        figures = asdict(chunk.figures)
        rounded = {name: round(figures[name], 6) for name in ("confidence", "min_dist", "score")}
        row |= figures | rounded
    return row


def _failures(chunks: Sequence[Chunk], cut_off: CutOff | None) -> list[dict[str, Any]]:
    """What could not be measured, with the reasons; end_s: None where nobody knows it."""
    found: list[dict[str, Any]] = [
        {"start_s": chunk.start_s, "end_s": chunk.end_s, **asdict(chunk.failure)}
        for chunk in chunks
        if chunk.failure
    ]
    if cut_off:
        found.append({"start_s": cut_off.start_s, "end_s": None, **asdict(cut_off.failure)})
    return found


def _timings(chunks: Sequence[Chunk], resumed: int) -> dict[str, Any]:
    """took_s: of all runs together; real_time_factor: seconds of video in a second."""
    took, video = sum(chunk.took_s for chunk in chunks), chunks[-1].end_s
    return {
        "video_s": video,
        "took_s": round(took, 3),
        "real_time_factor": round(video / took, 2) if took else None,
        "chunks_of_earlier_runs": resumed,
    }


def _write_kept(
    file: Path,
    output_dir: Path,
    preset: Preset,
    chunks: Sequence[Chunk],
    judged: Sequence[Judgement | None],
    progress: Progress,
    *,
    wanted: bool,
) -> dict[int, str]:
    """The files of the chunks that stay, by number, relative to the output folder; those that are
    there already are left alone."""
    if not wanted:
        return {}
    folder = output_dir / CHUNKS / preset.name
    folder.mkdir(parents=True, exist_ok=True)
    places = {
        chunk.number: folder / f"chunk_{chunk.number:04d}.mp4"
        for chunk, judgement in zip(chunks, judged, strict=True)
        if judgement and judgement.kept
    }
    missing = [chunk for chunk in chunks if (to := places.get(chunk.number)) and not to.exists()]
    with _unfinished(folder) as unfinished:
        parts = [
            clips.Part(chunk.start_s, chunk.end_s, unfinished / places[chunk.number].name)
            for chunk in missing
        ]
        for number, part in enumerate(clips.cut_all(file, parts), 1):
            part.target.replace(folder / part.target.name)
            progress(number / len(parts), f"writing {part.target.name}")
    return {number: str(place.relative_to(output_dir)) for number, place in places.items()}


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A folder for files that are not whole yet, and what a kill left of it is taken away."""
    place = folder / ".unfinished"
    place.mkdir(exist_ok=True)
    try:
        yield place
    finally:
        for left in place.iterdir():
            left.unlink()
        place.rmdir()


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
