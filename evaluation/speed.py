"""What `make bench` measured, as Markdown: rows for the README's table of figures, and FCN-SyncNet
beside the original for docs/networks.md.

A figure that something is demanded of says so, and says "missed" where it is missed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.tables import Row, markdown
from syncnet_python import weights

BENCHMARKS = weights.BUNDLED_DIR.parent / "benchmarks" / "results.json"
REAL_TIME = 10.0
"""How many times as fast as it is played a long recording has to be measured."""

LONG_MB = 1000.0
"""Resident memory that a long recording may take."""

PUBLISHED, FLOAT32, DEPLOYED = "original_reference", "original_float32", "original_auto"
"""Ways of running the original, as benchmarks/networks.py names them."""

FCN = "fcn"


def rows(figures: Mapping[str, Any]) -> Iterator[Row]:
    """Rows of what there is in `figures`, the content of benchmarks/results.json."""
    if "service" in figures:
        yield from _service_rows(figures["service"], figures["machine"])
    if "embedding" in figures:
        yield from _embedding_rows(figures["embedding"])
    if "networks" in figures:
        yield from _network_rows(figures["networks"])
    if figures.get("long"):
        yield from _long_rows(figures["long"])
    if "batch" in figures:
        yield from _batch_rows(figures["batch"])
    if "stream" in figures:
        yield from _stream_rows(figures["stream"])


def _service_rows(service: Mapping[str, Any], machine: Mapping[str, Any]) -> Iterator[Row]:
    yield "Four-second WebM, warm", f"{service['webm_4s']['median_s']:.2f} s ({_on(machine)})"
    if "syncnet_example" in service:
        yield "SyncNet's 12.7 s example, warm", f"{service['syncnet_example']['median_s']:.2f} s"
    yield "First request, networks loaded", f"{service['first_request_s']:.2f} s"
    yield "Largest process of the service", f"{service['peak_memory_mb']['largest']:.0f} MB"


def _embedding_rows(embedding: Mapping[str, Any]) -> Iterator[Row]:
    per_window, fast = embedding["ms_per_window"], embedding["auto_is"]
    figured = " ms; ".join(
        f"{per_window[way]['median']:.1f}" for way in ("reference", "float32", "auto")
    )
    what = f"SyncNet v2 embedding, a window: the reference's way; ours in float32; in {fast}"
    yield what, f"{figured} ms"


def _network_rows(networks: Mapping[str, Any]) -> Iterator[Row]:
    ratio = networks["fcn_times_as_fast_as"]
    yield (
        "Sync stage: FCN-SyncNet against SyncNet v2 as published; ours in float32; as we run it",
        f"{ratio[PUBLISHED]:.1f}; {ratio[FLOAT32]:.1f}; {ratio[DEPLOYED]:.1f} times as fast "
        f"({_bound(networks['demanded'], ratio[PUBLISHED] >= networks['demanded'], ' times')})",
    )
    fcn = networks["ways"][FCN]["offsets"]
    shifts = sorted({abs(row["shift"]) for row in fcn})
    told = ", ".join(f"±{shift}" if shift else "0" for shift in shifts)
    yield f"… FCN-SyncNet on sound moved by {told} frames", _followed(fcn)
    original = networks["ways"][DEPLOYED]
    said = _followed(original["offsets"]) if "offsets" in original else _unmeasured(original)
    yield "… SyncNet v2 on the same", said


def _followed(moved: Sequence[Mapping[str, Any]]) -> str:
    exactly = sum(row["moved"] == row["shift"] for row in moved)
    near = sum(row["moved_with_it"] is True for row in moved)
    beyond = sum(row["moved_with_it"] is None for row in moved)
    text = f"follows exactly in {exactly} of {len(moved)}"
    if near != exactly or near + beyond < len(moved):
        text += f", within ±1 in {near}"
        text += f", {beyond} beyond reach" if beyond else ""
    return text if near + beyond == len(moved) else f"{text} (all demanded, missed)"


def _unmeasured(way: Mapping[str, Any]) -> str:
    return f"not measured: {way['no_offsets'].removesuffix(': speed only')}"


def _long_rows(runs: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """The bound holds of the longest, in which starting and loading count least."""
    runs = sorted(runs, key=lambda run: run["video_s"])
    lengths = "; ".join(f"{run['video_s']:.0f} s" for run in runs)
    times = "; ".join(f"{run['real_time_factor']:.1f}" for run in runs)
    met = runs[-1]["real_time_factor"] >= REAL_TIME
    yield (
        f"`long`, {lengths} of video, starting and loading included",
        f"{times} times real time ({_bound(REAL_TIME, met, ' times')})",
    )
    peaks = [run["peak_resident_mb"] for run in runs]
    told = "; ".join(f"{peak:.0f}" for peak in peaks)
    yield "… peak memory", f"{told} MB ({_bound(LONG_MB, max(peaks) <= LONG_MB, ' MB')})"


def _batch_rows(batch: Mapping[str, Any]) -> Iterator[Row]:
    ratio, demanded = batch["two_workers_over_one"], batch["demanded"]
    whole = batch["two_workers_over_one_with_all_cores"]
    busy = max(run["others_busy"] for runs in batch["runs"].values() for run in runs)
    yield (
        "`batch`, clips a second of two workers against one with one thread; with all cores",
        f"{ratio:.2f}; {whole:.2f} times ({_bound(demanded, ratio >= demanded, ' times')}; "
        f"other programs kept up to {busy:.2f} cores busy)",
    )


def _stream_rows(stream: Mapping[str, Any]) -> Iterator[Row]:
    """The first window of a stream, which has nothing to be remembered from, is told by itself."""
    demanded = stream["demanded_ms"]
    text = (
        f"median {stream['median_ms'] / 1000:.2f} s, slowest {stream['worst_ms'] / 1000:.2f} s "
        f"({_bound(demanded / 1000, stream['worst_ms'] <= demanded, ' s')}"
    )
    if stream["within"] < 1:
        text += f" by {100 * (1 - stream['within']):.0f}% of windows"
    text += f"); the first window {stream['first_ms'] / 1000:.2f} s"
    yield "Live window, from its segment's last byte to the answer", text


def comparison(path: Path = BENCHMARKS) -> str:
    """FCN-SyncNet beside the original: speed and memory, then offsets. Empty without figures."""
    figures = read(path)
    if "networks" not in figures:
        return ""
    networks = figures["networks"]
    ways, ratios = networks["ways"], networks["fcn_times_as_fast_as"]
    columns: Row = ("Way", "s per s of video", "fastest", "FCN-SyncNet is faster")
    speed = [
        (
            way["way"],
            f"{way['s_per_s']['median']:.3f}",
            f"{way['s_per_s']['fastest']:.3f}",
            f"{ratios[key]:.1f} times" if key in ratios else "–",
            f"{way['peak_mb']} MB",
            f"{way['peak_mb'] - way['peak_mb_before_network']} MB",
        )
        for key, way in ways.items()
    ]
    missed = ratios[PUBLISHED] < networks["demanded"]
    parts = [
        f"Measured on {networks['clip']}, of which {networks['analysed_s']:g} s are compared, with "
        f"{networks['threads']} threads on {_on(figures['machine'])}. SyncNet v2 has "
        f"{networks['syncnet_v2_weights'].partition(':')[0]} weights.",
        markdown((*columns, "peak memory", "of which network and stage"), speed),
        f"{networks['demanded']:g} times as fast as the original as published are demanded: "
        f"{'missed' if missed else 'reached'}.",
        _shifted(ways[FCN], ways[DEPLOYED]),
    ]
    return "\n\n".join(parts)


def _shifted(fcn: Mapping[str, Any], original: Mapping[str, Any]) -> str:
    """Offsets of both networks by shift; those of one that was not measured are left out."""
    beside = {row["shift"]: row for row in original.get("offsets", ())}
    columns: Row = ("Sound moved by", "FCN-SyncNet: offset", "moved", "confidence")
    if beside:
        columns += ("SyncNet v2: offset", "moved", "confidence")
    lines = []
    for row in fcn["offsets"]:
        cells = (f"{row['shift']:+d}", *_cells(row))
        lines.append((*cells, *_cells(beside[row["shift"]])) if beside else cells)
    table = markdown(columns, lines)
    told = [f"FCN-SyncNet {_followed(fcn['offsets'])}."]
    told += [f"SyncNet v2 {_followed(original['offsets'])}." if beside else _said(original)]
    return f"{table}\n\n{' '.join(told)}"


def _cells(row: Mapping[str, Any]) -> Row:
    wrong = " (**wrong**)" if row["moved_with_it"] is False else ""
    wrong = " (beyond reach)" if row["moved_with_it"] is None else wrong
    return f"{row['offset']:+d}", f"{row['moved']:+d}{wrong}", f"{row['confidence']:.3f}"


def _said(way: Mapping[str, Any]) -> str:
    return f"SyncNet v2's offsets: {_unmeasured(way)}."


def _bound(value: float, met: bool, unit: str) -> str:
    return f"{value:g}{unit} demanded" + ("" if met else ", missed")


def _on(machine: Mapping[str, Any]) -> str:
    return f"{machine['cores']} cores of {machine['processor']}"


def read(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; empty where there is no such file."""
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content
