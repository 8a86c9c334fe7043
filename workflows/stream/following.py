"""A live or recorded HLS stream, window by window: does the voice still belong to the lips?

`follow` is a generator: it fetches, decodes and scores, and says what it finds as it finds it.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

from service.outgoing import Reader
from syncnet_python import media
from syncnet_python.errors import RecordingError
from syncnet_python.media import Recording
from syncnet_python.results import SyncResult
from workflows.stream.ahead import Ahead
from workflows.stream.alerts import Band
from workflows.stream.arrivals import Arrived, Item, Lost, Poller, Source, open_source
from workflows.stream.events import (
    NAMES,
    Alert,
    Discontinuity,
    Ended,
    Event,
    Failure,
    Gap,
    Opened,
    WindowResult,
    as_json,
)
from workflows.stream.segments import SegmentFetcher
from workflows.stream.windows import Part, StreamWindows

__all__ = [
    "NAMES",
    "Alert",
    "Discontinuity",
    "Ended",
    "Event",
    "Failure",
    "Gap",
    "Opened",
    "Score",
    "StreamOptions",
    "WindowResult",
    "as_json",
    "follow",
]

Score = Callable[[Recording], SyncResult]
"""Scores one window; `window_scoring.WindowScorer` is one. Raises RecordingError where the window
has no figures, and whatever else, which then ends the stream."""

_WAITING_BYTES = 128 * 1024 * 1024
"""Of segments that wait to be scored."""


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How a stream is followed. Raises ValueError for what makes no sense.

    window_s: seconds that one answer looks at, 2-30; stride_s: from one answer to the next;
    buffer_s: seconds of segments that may wait to be scored; of a live stream the oldest are
    dropped where there are more, a recorded one is not fetched any faster.
    min_height, max_height: of the variants, the lowest is taken that has min_height lines, and
    none with more than max_height.
    band_frames: |offset| up to which all is well; alert_after: windows in a row that must lie
    outside, or inside again, before that is told.
    patience_s: how long a live playlist may stay the same, or away, before the stream has ended.
    segment_bytes, segment_s: the largest segment, and the longest time that fetching one may take.
    kept_pixels: larger frames are scaled down to about so many, as in `limits.Limits`; None, which
    the published networks' figures need, keeps them. Scaling costs more than it saves, so 480 lines
    are kept as they are.
    """

    window_s: float = 10.0
    stride_s: float = 2.0
    buffer_s: float = 30.0
    min_height: int = 480
    max_height: int | None = None
    band_frames: float = 3.0
    alert_after: int = 3
    patience_s: float = 60.0
    segment_bytes: int = 32 * 1024 * 1024
    segment_s: float = 20.0
    kept_pixels: int | None = 854 * 480

    def __post_init__(self) -> None:
        wrong = {
            "a window has 2 to 30 seconds": not 2 <= self.window_s <= 30,
            "the stride is above 0 and not longer than a window": not (
                0 < self.stride_s <= self.window_s
            ),
            "the buffer holds a window at least": self.buffer_s < self.window_s,
            "an alert takes one window at least": self.alert_after < 1,
            "the band is 0 or more frames": not self.band_frames >= 0,
            "heights are above 0, the largest not below": self.min_height < 1
            or (self.max_height is not None and self.max_height < 1),
            "times and sizes are above 0": min(self.patience_s, self.segment_bytes, self.segment_s)
            <= 0,
        }
        for rule, broken in wrong.items():
            if broken:
                raise ValueError(rule)


def follow(
    url: str,
    score: Score,
    *,
    client: Reader,
    read: media.Read,
    options: StreamOptions | None = None,
    stop: threading.Event | None = None,
) -> Generator[Event, None, None]:
    """Everything that is found out about a stream, as it is found out; `Opened` first, `Ended`
    last. Close the iterator, or set `stop` from any thread, to end early; `stop` is set in any
    case once the iterator has ended.

    url: of a master or media playlist; client: `service.outgoing.reader(allow)`, which decides
    what may be reached; read: decodes segments, strangers' by `isolation.Decoder().read`.
    Raises StreamError (see `playlists`) where the stream cannot be followed at all, OutgoingRefused
    where it, or what it leads to, may not be reached, AnalysisFailed, ModelError,
    CalibrationMismatch.
    """
    options, stop = options or StreamOptions(), stop or threading.Event()
    source = open_source(client, url, min_height=options.min_height, max_height=options.max_height)
    yield _opened(source)
    fetcher = SegmentFetcher(client, most_bytes=options.segment_bytes, total_s=options.segment_s)
    poller = Poller(
        source,
        client,
        fetcher,
        back_s=options.window_s,
        patience_s=options.patience_s,
        stop=stop,
    )
    ahead = Ahead(
        poller,
        live=not source.playlist.ended,
        most_s=options.buffer_s,
        most_bytes=_WAITING_BYTES,
        stop=stop,
    )
    windows = StreamWindows(options.window_s, options.stride_s, read, options.kept_pixels)
    with windows, ahead:
        yield from _Following(options, score, windows).events(ahead)


class _Following:
    """Turns what arrives into events."""

    def __init__(self, options: StreamOptions, score: Score, windows: StreamWindows) -> None:
        self._score = score
        self._windows = windows
        self._band = Band(options.band_frames, options.alert_after)
        self._count = 0
        self._anew = False  # a segment with which another recording began is lost

    def events(self, items: Iterable[Item]) -> Iterator[Event]:
        for item in items:
            if isinstance(item, Arrived):
                yield from self._arrived(item)
            elif isinstance(item, Lost):
                yield self._lost(item)
            else:
                if item.reason != "stopped":
                    yield from self._answers(self._windows.finish())
                yield Ended(item.reason, item.message, self._count, round(self._windows.end_s, 3))

    def _arrived(self, item: Arrived) -> Iterator[Event]:
        windows = self._windows
        if windows.begins_anew(item) or (self._anew and windows.end_s > 0):
            yield from self._answers(windows.finish())
            windows.restart()
            yield Discontinuity(round(windows.end_s, 3))
        elif windows.hole():
            yield from self._answers(windows.finish())
            windows.restart()
        self._anew = False
        yield from self._answers(windows.add(item))

    def _lost(self, item: Lost) -> Gap:
        self._anew = self._anew or item.discontinuity
        start_s = self._windows.end_s
        self._windows.lose(item)
        return Gap(round(start_s, 3), round(self._windows.end_s, 3), item.reason, item.message)

    def _answers(self, parts: Iterator[Part]) -> Iterator[Event]:
        for part in parts:
            window = self._answer(part)
            self._count += 1
            yield window
            if alert := self._band.feed(window):
                yield alert

    def _answer(self, part: Part) -> WindowResult:
        found: SyncResult | None = None
        error: RecordingError | None = None
        if isinstance(part.recording, RecordingError):
            error = part.recording
        else:
            try:
                found = self._score(part.recording)
            except RecordingError as why:
                error = why
        return WindowResult(
            number=self._count,
            start_s=round(part.start_s, 3),
            end_s=round(part.end_s, 3),
            offset_frames=found.offset_frames if found else None,
            lag_ms=found.lag_ms if found else None,
            confidence=found.confidence if found else None,
            min_dist=found.min_dist if found else None,
            score=found.score if found else None,
            doubts=found.doubts if found else (),
            missing_s=round(part.missing_s, 3),
            latency_ms=round((time.monotonic() - part.arrived_s) * 1000, 1),
            error=Failure(error.code, error.message, error.advice) if error else None,
        )


def _opened(source: Source) -> Opened:
    variant = source.variant
    return Opened(
        live=not source.playlist.ended,
        width=variant.width if variant else None,
        height=variant.height if variant else None,
    )
