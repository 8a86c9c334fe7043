"""The summary of a long recording as a page: a chart of every chunk and the table under it.

One file without scripts or requests; every text in it is escaped.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Path(__file__).resolve().parent / "templates"

_WIDTH, _HEIGHT, _LEFT, _RIGHT = 1000, 390, 56, 970
_OFFSETS, _CONFIDENCES = (34.0, 180.0), (222.0, 352.0)  # top and bottom of each panel
_SAID = {"kept": "kept", "dropped": "dropped", "failed": "not measured"}
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
_MOST_TIMES = 9


def render(summary: Mapping[str, Any]) -> str:
    """The text of the page. summary: what `long.run` returns."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("timeline.html").render(
        summary=summary,
        whole=summary["whole"],
        cards=_cards(summary),
        plot=_plot(summary),
        rows=[_row(chunk) for chunk in summary["chunks"]],
        preset_said=_preset(summary["preset"]),
        cut_off=next((fail for fail in summary["failures"] if fail["end_s"] is None), None),
        clock=clock,
    )


def clock(seconds: float) -> str:
    """1:02:03 or 2:03; tenths where there are any."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    shown = f"{rest // 10:02d}" + (f".{rest % 10}" if rest % 10 else "")
    return f"{hours}:{minutes:02d}:{shown}" if hours else f"{minutes}:{shown}"


def _cards(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    whole, preset = summary["whole"], summary["preset"]
    measured = whole["offset_frames"] is not None
    speed = summary["timings"]["real_time_factor"]
    values = [
        (
            "Offset",
            f"{whole['offset_frames']:+d} frames" if measured else "–",
            f"{whole['lag_ms']:+d} ms" if measured else "nothing could be measured",
        ),
        ("Confidence", _number(whole["confidence"]), f"{whole['num_windows']:,} windows"),
        ("Smallest distance", _number(whole["min_dist"]), ""),
        ("Kept", f"{whole['kept']} of {whole['chunks']}", f"preset {preset['name']}"),
        ("Not measured", f"{whole['failed']}", "chunk" if whole["failed"] == 1 else "chunks"),
        ("Speed", f"{speed:g}" if speed else "–", "times real time"),
    ]
    return [{"name": name, "value": value, "small": small} for name, value, small in values]


def _preset(preset: Mapping[str, Any]) -> str:
    if preset["least_confidence"] is None:
        return "Preset none: every chunk that could be measured is kept."
    return (
        f"Preset {preset['name']} keeps a confidence of {preset['least_confidence']:.3f} or more "
        f"({preset['syncnet_confidence']:g} on SyncNet's own scale) and an offset of up to "
        f"{preset['largest_offset']} frames."
    )


def _row(chunk: Mapping[str, Any]) -> dict[str, Any]:
    failure, measured = chunk["failure"], chunk["state"] != "failed"
    notes = list(chunk["reasons"])
    if failure:
        notes.append(f"{failure['message']} ({failure['code']})")
    if measured:
        notes += chunk["doubts"]
        notes += [
            f"the offset changes at {clock(change['time_s'])} "
            f"from {change['before']:+.1f} to {change['after']:+.1f}"
            for change in chunk["changes"]
        ]
    if chunk["still_s"]:
        notes.append(f"the picture stands still for {chunk['still_s']:.1f} s")
    return {
        "number": chunk["number"],
        "start": clock(chunk["start_s"]),
        "end": clock(chunk["end_s"]),
        "state": chunk["state"],
        "said": _SAID[chunk["state"]],
        "offset": f"{chunk['offset_frames']:+d}" if measured else "–",
        "lag": f"{chunk['lag_ms']:+d}" if measured else "–",
        "confidence": _number(chunk["confidence"]) if measured else "–",
        "min_dist": _number(chunk["min_dist"]) if measured else "–",
        "faces": f"{chunk['speaking_faces']}, {chunk['visible_faces']}",
        "notes": "; ".join(notes),
    }


def _plot(summary: Mapping[str, Any]) -> dict[str, Any]:
    end, preset = summary["whole"]["end_s"], summary["preset"]
    measured = [chunk for chunk in summary["chunks"] if chunk["state"] != "failed"]
    offsets = [abs(chunk["offset_frames"]) for chunk in measured]
    reach = max([5, *offsets, preset["largest_offset"] or 0])
    least = preset["least_confidence"] or 0.0
    found = [chunk["confidence"] for chunk in measured]
    highest = _rounded_up(max([least, 1e-3 if found else 1.0, *found]))
    offset_ticks = [
        _tick(_offset_y(value, reach), f"{value:+d}" if value else "0", marked=not value)
        for value in (reach, 0, -reach)
    ]
    heights = [_tick(_confidence_y(value, highest), f"{value:g}") for value in (highest, 0)]
    if least:
        heights.append(_tick(_confidence_y(least, highest), f"{least:.2f}", marked=True))
    sound_leads = "Offset, frames (above 0: the sound leads)"
    panels = [
        {"title": sound_leads, "top": _OFFSETS[0], "ticks": offset_ticks},
        {"title": "Confidence", "top": _CONFIDENCES[0], "ticks": heights},
    ]
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "left": _LEFT,
        "right": _RIGHT,
        "top": _OFFSETS[0],
        "bottom": _CONFIDENCES[1],
        "panels": panels,
        "times": _times(end),
        "marks": [_mark(chunk, end, reach, highest) for chunk in summary["chunks"]],
    }


def _mark(chunk: Mapping[str, Any], end: float, reach: int, highest: float) -> dict[str, Any]:
    """A chunk stands where its own part lies. Its state shows in the shape too, not in the colour
    alone."""
    left, right = _time_x(chunk["own_start_s"], end), _time_x(chunk["own_end_s"], end)
    x, state = (left + right) / 2, chunk["state"]
    said = f"{clock(chunk['start_s'])} to {clock(chunk['end_s'])}, {_SAID[state]}"
    if state == "failed":
        middle = (_OFFSETS[1] + _CONFIDENCES[0]) / 2  # between the panels: it has no value
        shapes = [
            f"M{x - 5:.1f} {middle - 3:.1f}l2 -2l3 3l3 -3l2 2l-3 3l3 3l-2 2l-3 -3l-3 3l-2 -2l3 -3z"
        ]
        said += f": {chunk['failure']['message']}"
    else:
        y = _offset_y(chunk["offset_frames"], reach)
        top, base = _confidence_y(chunk["confidence"], highest), _CONFIDENCES[1]
        wide = max(1.0, right - left - 1)
        round_mark = f"M{x - 4:.1f} {y:.1f}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z"
        pointed = f"M{x - 5:.1f} {y + 4:.1f}h10l-5 -9z"
        shapes = [
            round_mark if state == "kept" else pointed,
            f"M{left:.1f} {base:.1f}V{top:.1f}h{wide:.1f}V{base:.1f}z",
        ]
        said += (
            f": offset {chunk['offset_frames']:+d} frames, "
            f"confidence {_number(chunk['confidence'])}"
        )
    return {
        "number": chunk["number"],
        "state": state,
        "x": round(left, 1),
        "width": round(max(1.0, right - left), 1),
        "label": said,
        "shapes": shapes,
    }


def _tick(at: float, text: str, *, marked: bool = False) -> dict[str, Any]:
    return {"at": round(at, 1), "text": text, "kind": "bound" if marked else "grid"}


def _times(end: float) -> list[dict[str, Any]]:
    step = next((s for s in _TIME_STEPS if end / s <= _MOST_TIMES), 2 * _TIME_STEPS[-1])
    ticks = [n * step for n in range(math.floor(end / step) + 1)]
    return [{"at": round(_time_x(tick, end), 1), "text": clock(tick)} for tick in ticks]


def _time_x(seconds: float, end: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * seconds / end


def _offset_y(offset: float, reach: float) -> float:
    top, bottom = _OFFSETS
    return (top + bottom) / 2 - (bottom - top) / 2 * offset / reach


def _confidence_y(confidence: float, highest: float) -> float:
    top, bottom = _CONFIDENCES
    return bottom - (bottom - top) * max(0.0, confidence) / highest


def _rounded_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    unit: float = 10.0 ** math.floor(math.log10(value))
    return round(next(unit * step for step in (1, 2, 5, 10) if unit * step >= value * 0.999), 6)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
