"""One picture that shows what was measured: faces, mouths, and how the figures run. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from syncnet_python.results import ArtifactResult, SyncResult
from syncnet_python.scale import Scale
from workflows.inspection import drawing
from workflows.inspection.drawing import BLACK, BLUE, GREY, ORANGE, RED, SKY, Chart, Image, Ink

WIDTH = 1600
FRAMES = 4
"""Frames with face boxes in a row."""
MOUTHS = 16
"""Mouth crops in a row."""
MOUTH_SIZE = (WIDTH - 2 * 24 - (MOUTHS - 1) * 6) // MOUTHS

_MARGIN, _GAP = 24, 24
_HEAD, _LINE, _CAPTION, _CHART = 92, 24, 26, 310

PHOTO_WIDTH = (WIDTH - 2 * _MARGIN - (FRAMES - 1) * _GAP) // FRAMES
PHOTO_HEIGHT = 300
"""Pixels that a frame has on the sheet at most."""

Timed = tuple[float, Image]
"""Seconds from the first frame, and a picture, (height, width, 3) uint8 BGR."""


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What a sheet shows. Seconds count from the recording's first analysed frame.

    title: of the recording; frames: with boxes drawn in, at most `PHOTO_WIDTH` by `PHOTO_HEIGHT`;
    mouths: of the face that speaks, square
    pictures of `MOUTH_SIZE`; start_s: presentation time of the first analysed frame, at which
    `sync` and `artifact` count from; times, confidences: (n,) of every frame of the face that
    speaks; artifact: None where it could not be measured, for the reason in `no_artifact`.
    """

    title: str
    frames: Sequence[Timed]
    mouths: Sequence[Timed]
    start_s: float
    duration_s: float
    times: NDArray[np.float64]
    confidences: NDArray[np.float64]
    sync: SyncResult
    scale: Scale
    artifact: ArtifactResult | None
    no_artifact: str = ""


def draw(found: Findings) -> Image:
    """The sheet: (height, `WIDTH`, 3) uint8 BGR."""
    tallest = max(picture.shape[0] for _, picture in found.frames)
    head = _HEAD + (_LINE if found.sync.doubts else 0)
    mouths = head + _CAPTION + tallest + _CAPTION + 8
    charts = mouths + _CAPTION + MOUTH_SIZE + _CAPTION + _GAP
    sheet: Image = np.full((charts + 2 * _CHART + _GAP + _MARGIN, WIDTH, 3), 255, np.uint8)
    _heading(sheet, found)
    _row(sheet, "Faces", head, found.frames, PHOTO_WIDTH, _GAP)
    _row(sheet, "Mouth of the face that speaks", mouths, found.mouths, MOUTH_SIZE, 6)
    half = (WIDTH - 2 * _MARGIN - _GAP) // 2
    for number, panel in enumerate((_curve, _confidence, _timeline, _artifacts)):
        left = _MARGIN + number % 2 * (half + _GAP)
        top = charts + number // 2 * (_CHART + _GAP)
        panel(sheet, (left, top, left + half, top + _CHART), found)
    return sheet


def _heading(sheet: Image, found: Findings) -> None:
    sync = found.sync
    drawing.words(sheet, found.title, (_MARGIN, 36), BLACK, height=17)
    said = [
        f"offset {sync.offset_frames:+d} frames ({sync.lag_ms:+d} ms), {sync.subframe_offset:+.1f} "
        "to a tenth",
        f"confidence {sync.confidence:.3f}",
        f"min distance {sync.min_dist:.3f}",
        f"{sync.network}, {sync.protocol}",
    ]
    if found.artifact:
        said.insert(3, f"face untouched {found.artifact.score:.2f}")
    drawing.words(sheet, "   |   ".join(said), (_MARGIN, 66), GREY, height=11)
    if sync.doubts:
        doubts = "Not to be relied on: " + ", ".join(sync.doubts)
        drawing.words(sheet, doubts, (_MARGIN, 66 + _LINE), RED, height=11)


def _row(
    sheet: Image, title: str, top: int, pictures: Sequence[Timed], width: int, gap: int
) -> None:
    """Pictures side by side below their title, with their times below."""
    drawing.words(sheet, title, (_MARGIN, top + 16), BLACK, height=11)
    top += _CAPTION
    for number, (time, picture) in enumerate(pictures):
        rows, columns = picture.shape[:2]
        left = _MARGIN + number * (width + gap) + (width - columns) // 2
        sheet[top : top + rows, left : left + columns] = picture
        at = (left + columns / 2, top + rows + 16)
        drawing.words(sheet, f"{time:.2f} s", at, GREY, height=9, align=0.5)


def _curve(sheet: Image, area: tuple[int, int, int, int], found: Findings) -> None:
    curve, sync = found.sync.curve, found.sync
    offsets, distances = curve.offsets, curve.distances
    axes = drawing.chart(
        sheet,
        area,
        "Offset curve",
        ("offset, frames (> 0: the sound leads)", "mean distance"),
        (offsets[0], offsets[-1]),
        _room(distances, 0.18),
    )
    axes.name("median", float(np.median(distances)), ORANGE)
    axes.line(offsets, distances, BLUE)
    axes.upright(sync.offset_frames, RED)
    axes.dots([sync.offset_frames], [sync.min_dist], [RED], 6)
    said = f"{sync.offset_frames:+d} frames, {sync.min_dist:.3f}"
    right = sync.offset_frames > sum(offsets) / len(offsets)
    beside = -0.4 if right else 0.4
    axes.note(said, sync.offset_frames + beside, axes.y[0], RED, align=1.0 if right else 0.0)


def _confidence(sheet: Image, area: tuple[int, int, int, int], found: Findings) -> None:
    middle, high = found.scale.confidence_levels
    values = found.confidences[~np.isnan(found.confidences)]
    axes = _over_time(
        sheet,
        area,
        "Confidence of each frame, at the offset found",
        "median less own distance",
        _room([*values, 0.0, high], 0.08),
        found,
    )
    axes.level(0.0, GREY)
    axes.name("HIGH", high, ORANGE, lower=0.0)
    axes.name("MEDIUM", middle, ORANGE, lower=1.2)
    axes.line(found.times, found.confidences, BLUE)


def _timeline(sheet: Image, area: tuple[int, int, int, int], found: Findings) -> None:
    moments, sync = found.sync.timeline, found.sync
    times = np.array([moment.time_s for moment in moments]) - found.start_s
    low, middle, high = (
        np.array([np.nan if v is None else v for v in values], np.float64)
        for values in (
            [m.low for m in moments],
            [m.offset for m in moments],
            [m.high for m in moments],
        )
    )
    known = [*low[~np.isnan(low)], *high[~np.isnan(high)]]
    seen = [*known, sync.offset_frames - 3.0, sync.offset_frames + 3.0]
    title = "Offset over time"
    if known:
        title += ", with its 95% band"
    else:
        title += ": too little to say" + (", but for a jump" if sync.changes else "")
    axes = _over_time(sheet, area, title, "frames", _room(seen, 0.08), found)
    axes.band(times, low, high, SKY)
    axes.name("all of it", sync.subframe_offset, ORANGE)
    axes.line(times, middle, BLUE)
    axes.dots(times, middle, [BLUE] * len(times))
    line = 0.09 * (axes.y[1] - axes.y[0])
    for number, change in enumerate(sync.changes):
        at = change.time_s - found.start_s
        axes.upright(at, RED)
        right = at > sum(axes.x) / 2
        said = f"{change.before:+.1f} to {change.after:+.1f}"
        axes.note(said, at, axes.y[0] + number % 4 * line, RED, align=1.05 if right else -0.05)


def _artifacts(sheet: Image, area: tuple[int, int, int, int], found: Findings) -> None:
    title = "Probability that the face is untouched"
    label = "frame by frame"
    if found.artifact is None:
        title, label = f"{title}: not measured", ""
    axes = _over_time(sheet, area, title, label, (0.0, 1.0), found)
    if found.artifact:
        scores = found.artifact.frame_scores
        times = np.array(found.artifact.frame_times) - found.start_s
        axes.level(0.5, GREY)
        axes.name("mean", found.artifact.score, ORANGE)
        axes.line(times, scores, GREY, 1)
        axes.dots(times, scores, [_dark(score) for score in scores], 5)
    else:
        middle = (sum(axes.x) / 2, 0.5)
        axes.note(found.no_artifact, *middle, GREY, align=0.5)


def _over_time(
    sheet: Image,
    area: tuple[int, int, int, int],
    title: str,
    label: str,
    y: tuple[float, float],
    found: Findings,
) -> Chart:
    return drawing.chart(sheet, area, title, ("seconds", label), (0.0, found.duration_s), y)


def _dark(share: float) -> Ink:
    """`drawing.shade` for a white ground."""
    blue, green, red = drawing.shade(share)
    return blue, green * 7 // 10, red * 8 // 10


def _room(values: Sequence[float], share: float) -> tuple[float, float]:
    """From the lowest to the highest, with a share of that added at either end."""
    low, high = float(min(values)), float(max(values))
    more = share * (high - low) or 0.5
    return low - more, high + more


def png(sheet: Image) -> bytes:
    """The sheet as a PNG file."""
    return bytes(cv2.imencode(".png", sheet)[1])
