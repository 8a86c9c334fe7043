"""Segments of an HLS stream in the order in which they come: the playlist is asked again and again
while it grows (RFC 8216, 6.3.4), and what it names is loaded.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import httpx

from service.outgoing import Reader, TooLarge, fetch
from workflows.stream.playlists import (
    MOST_BYTES,
    MasterPlaylist,
    MediaPlaylist,
    NotAPlaylist,
    Segment,
    StreamError,
    StreamUnavailable,
    Variant,
    choose,
    parse,
)
from workflows.stream.segments import Loaded, Reason, SegmentFetcher, SegmentLost

PLAYLIST_S = 10.0
"""Seconds that fetching a playlist may take."""

_FEWEST_REPEATED = 3  # segments that a playlist which begins anew must lie behind


@dataclass(frozen=True, slots=True)
class Source:
    """A media playlist that can be asked for again. variant: by which it was chosen, None where
    there was nothing to choose."""

    url: str
    playlist: MediaPlaylist
    variant: Variant | None


@dataclass(frozen=True, slots=True)
class Arrived:
    """arrived_s: when its last byte was there, on the monotonic clock; discontinuity: whether
    another recording begins with it."""

    loaded: Loaded
    duration_s: float
    discontinuity: bool
    arrived_s: float


@dataclass(frozen=True, slots=True)
class Lost:
    """Segments that are not there, together so long."""

    duration_s: float
    discontinuity: bool
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Over:
    """Nothing follows; see `stream.Ended`."""

    reason: Literal["complete", "stalled", "failed", "stopped"]
    message: str


Item = Arrived | Lost | Over


def open_source(
    client: Reader, url: str, *, min_height: int = 480, max_height: int | None = None
) -> Source:
    """The media playlist at an address, or the one that its master playlist leads to.

    Raises StreamError, OutgoingRefused.
    """
    playlist, url = ask(client, url)
    variant = None
    if isinstance(playlist, MasterPlaylist):
        variant = choose(playlist.variants, min_height, max_height)
        playlist, url = ask(client, variant.url)
    if isinstance(playlist, MasterPlaylist):
        raise NotAPlaylist("a list of variants leads to another one")
    return Source(url, playlist, variant)


def ask(client: Reader, url: str) -> tuple[MasterPlaylist | MediaPlaylist, str]:
    """A playlist, and the address where it is after all redirects. Raises StreamError,
    OutgoingRefused."""
    try:
        answer = fetch(client, url, most_bytes=MOST_BYTES, total_s=PLAYLIST_S)
    except TooLarge:
        raise NotAPlaylist(f"the playlist has more than {MOST_BYTES:,} bytes") from None
    except httpx.TimeoutException:
        raise StreamUnavailable("the server did not send its playlist in time") from None
    except httpx.HTTPError:
        raise StreamUnavailable("the server of the playlist could not be reached") from None
    if not httpx.codes.is_success(answer.status):
        raise StreamUnavailable(f"the server answered {answer.status} for the playlist")
    return parse(answer.body, answer.url), answer.url


class Poller:
    """Everything that a source brings, in order, until it is over.

    back_s: of a live playlist, how much of what is there already is taken; patience_s: how long
    it may stay the same, or away; stop: ends it.
    """

    def __init__(
        self,
        source: Source,
        client: Reader,
        fetcher: SegmentFetcher,
        *,
        back_s: float,
        patience_s: float,
        stop: threading.Event,
    ) -> None:
        self._source = source
        self._client = client
        self._fetcher = fetcher
        self._patience_s = patience_s
        self._stop = stop
        self._back_s = back_s
        self._next: int | None = None
        self._again = False

    def items(self) -> Iterator[Item]:
        """Ends with `Over`. Raises OutgoingRefused, and StreamUnsupported where the playlist has
        become one that cannot be followed."""
        playlist = self._source.playlist
        asked = changed = time.monotonic()
        trouble: StreamError | None = None
        while True:
            news = self._news(playlist)
            for segment in news:
                if self._stop.is_set():
                    yield Over("stopped", "")
                    return
                yield from self._taken(segment, playlist)
            if playlist.ended:
                yield Over("complete", "")
                return
            changed = time.monotonic() if news else changed
            if time.monotonic() - changed > self._patience_s:
                yield _given_up(trouble, self._patience_s)
                return
            wait_s = playlist.target_s if news else playlist.target_s / 2
            if self._stop.wait(max(0.0, asked + wait_s - time.monotonic())):
                yield Over("stopped", "")
                return
            asked = time.monotonic()
            try:
                playlist, trouble = self._asked_again(), None
            except (StreamUnavailable, NotAPlaylist) as error:  # it may be half written
                trouble = error

    def _asked_again(self) -> MediaPlaylist:
        """Raises StreamError, OutgoingRefused."""
        playlist, _ = ask(self._client, self._source.url)
        if isinstance(playlist, MasterPlaylist):
            raise NotAPlaylist("the playlist has become a list of variants")
        return playlist

    def _news(self, playlist: MediaPlaylist) -> list[Segment]:
        """Segments whose turn it is."""
        if not playlist.segments:
            return []
        last = playlist.segments[-1].number
        behind = max(len(playlist.segments), _FEWEST_REPEATED)
        if self._next is None:
            self._next = _first(playlist, self._back_s)
        elif last + behind < self._next:  # who sends it has started anew
            self._next, self._again = playlist.segments[0].number, True
        return [segment for segment in playlist.segments if segment.number >= self._next]

    def _taken(self, segment: Segment, playlist: MediaPlaylist) -> Iterator[Arrived | Lost]:
        late = segment.number - (segment.number if self._next is None else self._next)
        if late > 0:
            # Whatever may have begun in between, nobody knows.
            self._again = True
            yield Lost(
                late * playlist.target_s, False, "late", f"{late} segments were gone too early"
            )
        segment = replace(segment, discontinuity=segment.discontinuity or self._again)
        self._next, self._again = segment.number + 1, False
        try:
            loaded = self._fetcher.load(segment)
        except SegmentLost as lost:
            yield Lost(segment.duration_s, segment.discontinuity, lost.reason, str(lost))
        else:
            yield Arrived(loaded, segment.duration_s, segment.discontinuity, time.monotonic())


def _first(playlist: MediaPlaylist, back_s: float) -> int:
    """Number of the segment to begin with: of a recorded stream the first, of a live one the last
    from which on there are back_s seconds. There is a segment at least."""
    if playlist.ended:
        return playlist.segments[0].number
    seconds = 0.0
    for segment in reversed(playlist.segments):
        seconds += segment.duration_s
        if seconds >= back_s:
            return segment.number
    return playlist.segments[0].number


def _given_up(trouble: StreamError | None, patience_s: float) -> Over:
    if trouble:
        return Over("failed", str(trouble))
    return Over("stalled", f"the playlist has not changed for {patience_s:g} seconds")
