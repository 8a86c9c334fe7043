"""HLS playlists (RFC 8216): what is in them, and which variant to follow. Nothing here fetches.

The text is taken apart by the m3u8 package, of which only the parser is used; what it finds is
outside input and checked here.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import m3u8

from syncnet_python.errors import SyncNetError

MOST_BYTES = 2 * 1024 * 1024
"""Of a playlist: a day in segments of six seconds takes one."""

LONGEST_S = 60.0
"""Seconds that a segment may announce: more than that is never sent live."""

_READ = frozenset(
    {"#EXTINF"}
    | {
        f"#EXT-X-{name}"
        for name in (
            *("BYTERANGE", "DISCONTINUITY", "ENDLIST", "GAP", "I-FRAMES-ONLY", "KEY", "MAP"),
            *("MEDIA", "MEDIA-SEQUENCE", "STREAM-INF", "TARGETDURATION"),
        )
    }
)
"""Tags that are looked at; what is wrong in others is no reason to refuse a playlist."""

_MOST_KEYS = 8_000  # the parser compares each with all others
_IV_BYTES = 16


class StreamError(SyncNetError):
    """The stream cannot be followed."""

    code = "stream"


class StreamUnavailable(StreamError):
    code = "stream_unavailable"
    advice = "Check the address, and that the stream is being sent."


class NotAPlaylist(StreamError):
    code = "not_a_playlist"
    advice = "Give the address of an HLS playlist, which usually ends in .m3u8."


class StreamUnsupported(StreamError):
    code = "stream_unsupported"
    advice = (
        "Give a stream of MPEG-TS or fMP4 segments that hold picture and sound together, in the "
        "clear or encrypted with AES-128."
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where bytes are. part: first byte and number of bytes, None for all."""

    url: str
    part: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """AES-128 in CBC mode. url: of the key's 16 bytes; iv: 16 bytes, None where the segment's
    number takes its place."""

    url: str
    iv: bytes | None


@dataclass(frozen=True, slots=True)
class Init:
    """What must stand before a segment of fMP4 for it to be a file. key: where it is encrypted."""

    place: Place
    key: Key | None


@dataclass(frozen=True, slots=True)
class Segment:
    """number: its media sequence number; discontinuity: whether another recording begins with it;
    missing: whether the playlist itself says that it is not there."""

    number: int
    place: Place
    duration_s: float
    discontinuity: bool
    missing: bool
    key: Key | None
    init: Init | None


@dataclass(frozen=True, slots=True)
class MediaPlaylist:
    """Segments in order, consecutive numbers. target_s: the longest segment's duration; ended:
    whether no more will come."""

    segments: tuple[Segment, ...]
    target_s: float
    ended: bool


@dataclass(frozen=True, slots=True)
class Variant:
    """One rendering of a stream. width, height: pixels, None where the playlist does not say;
    sound: whether there is any in its own segments; picture: likewise."""

    url: str
    bandwidth: int
    width: int | None
    height: int | None
    sound: bool
    picture: bool


@dataclass(frozen=True, slots=True)
class MasterPlaylist:
    variants: tuple[Variant, ...]


def parse(body: bytes, url: str) -> MasterPlaylist | MediaPlaylist:
    """What a playlist says. url: where it came from, which its addresses are relative to.

    Raises NotAPlaylist, StreamUnsupported.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise NotAPlaylist("what is at the address is no text") from None
    if not text.startswith("#EXTM3U"):
        raise NotAPlaylist("what is at the address is no HLS playlist")
    if len(body) > MOST_BYTES or text.count("#EXT-X-KEY") > _MOST_KEYS:
        raise NotAPlaylist("the playlist is too long")
    if "{$" in text and "#EXT-X-DEFINE" in text:
        raise StreamUnsupported("the playlist uses variables")
    try:
        said = m3u8.parse(text, custom_tags_parser=_tag)
        return _master(said, url) if said["is_variant"] else _media(said, url)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise NotAPlaylist("the playlist is damaged") from error


def choose(
    variants: Sequence[Variant], min_height: int = 480, max_height: int | None = None
) -> Variant:
    """The variant to follow: the lowest with at least min_height lines, else the highest; none
    with more than max_height lines where there is another. Of equals, the one of least bandwidth.
    Where no heights are known, the first, which is what a player would begin with.

    Raises StreamUnsupported where no variant has picture and sound.
    """
    whole = [variant for variant in variants if variant.picture and variant.sound]
    if not whole:
        apart = any(variant.picture for variant in variants)
        raise StreamUnsupported(
            "the stream sends picture and sound apart" if apart else "the stream has no picture"
        )
    known = [(v.height, v.bandwidth, v) for v in whole if v.height is not None]
    if not known:
        return whole[0]
    known.sort(key=lambda of: of[:2])
    allowed = [of for of in known if max_height is None or of[0] <= max_height] or known[:1]
    enough = [of for of in allowed if of[0] >= min_height]
    if enough:
        return enough[0][2]
    tallest = allowed[-1][0]
    return next(variant for height, _, variant in allowed if height == tallest)


def _tag(line: str, _: int, data: dict[str, Any], state: dict[str, Any]) -> bool:
    """Called by the parser for every tag before it reads it: whether it is to leave it alone.
    Notes which key applies to each EXT-X-MAP, which the parser does not."""
    if line.startswith("#EXT-X-MAP"):
        data.setdefault("init_keys", []).append(state["current_key"])
    return line.partition(":")[0] not in _READ


def _master(said: Mapping[str, Any], url: str) -> MasterPlaylist:
    apart = {
        (media["group_id"])
        for media in said["media"]
        if media.get("type") == "AUDIO" and media.get("uri")
    }
    muxed = {
        media["group_id"]
        for media in said["media"]
        if media.get("type") == "AUDIO" and not media.get("uri")
    }
    variants = []
    for playlist in said["playlists"]:
        info = playlist["stream_info"]
        size = re.fullmatch(r"(\d{1,5})x(\d{1,5})", info.get("resolution", ""))
        codecs = info.get("codecs", "")
        group = info.get("audio")
        variants.append(
            Variant(
                url=_address(url, playlist["uri"]),
                bandwidth=info.get("bandwidth", 0),
                width=int(size[1]) if size else None,
                height=int(size[2]) if size else None,
                sound=group not in apart or group in muxed,
                picture=size is not None or not codecs or not _only_sound(codecs),
            )
        )
    if not variants:
        raise NotAPlaylist("the playlist names no stream")
    return MasterPlaylist(tuple(variants))


def _only_sound(codecs: str) -> bool:
    """Whether a CODECS attribute names nothing that is seen."""
    sounds = ("mp4a", "ac-3", "ec-3", "opus", "fLaC", "mp3")
    return all(codec.strip().startswith(sounds) for codec in codecs.split(","))


def _media(said: Mapping[str, Any], url: str) -> MediaPlaylist:
    if said["is_i_frames_only"]:
        raise StreamUnsupported("the playlist holds single pictures only")
    found = [segment for segment in said["segments"] if "uri" in segment]
    durations = [float(segment["duration"]) for segment in found]
    if not all(math.isfinite(d) and 0 <= d <= LONGEST_S for d in durations):
        raise StreamUnsupported(f"the stream has segments of more than {LONGEST_S:g} seconds")
    target = float(said.get("targetduration") or max(durations, default=0.0))
    inits = _inits(said, url)
    ends: dict[str, int] = {}  # where a part without a place of its own begins
    first = said["media_sequence"] or 0
    if not 0 <= first < 1 << 63:
        raise NotAPlaylist("the playlist's numbers are out of range")
    return MediaPlaylist(
        segments=tuple(
            Segment(
                number=number,
                place=_place(url, segment["uri"], segment.get("byterange"), ends),
                duration_s=duration,
                discontinuity=bool(segment["discontinuity"]),
                missing=bool(segment["gap_tag"]),
                key=_key(segment.get("key"), url),
                init=inits[id(told)] if (told := segment.get("init_section")) else None,
            )
            for number, (segment, duration) in enumerate(zip(found, durations, strict=True), first)
        ),
        target_s=min(max(target, 0.1), LONGEST_S),
        ended=bool(said["is_endlist"]),
    )


def _inits(said: Mapping[str, Any], url: str) -> dict[int, Init]:
    """Every EXT-X-MAP, by the identity of what the parser made of it."""
    keys: Iterable[Any] = said.get("init_keys", ())
    inits = {}
    for told, told_key in zip(said["segment_map"], keys, strict=True):
        key = _key(told_key, url)
        if key and key.iv is None:
            raise StreamUnsupported("an initialisation section is encrypted without an IV")
        inits[id(told)] = Init(_place(url, told["uri"], told.get("byterange"), {}), key)
    return inits


def _key(told: Mapping[str, str] | None, url: str) -> Key | None:
    """Raises StreamUnsupported for every other encryption, by its name."""
    method = told.get("method", "") if told else "NONE"
    if told is None or method == "NONE":
        return None
    form = told.get("keyformat", "identity")
    if method != "AES-128" or form != "identity":
        name = method if method != "AES-128" else form
        shown = re.sub(r"[^\w.:-]", "?", name[:60], flags=re.ASCII)
        raise StreamUnsupported(f"the stream is encrypted with {shown or 'no known method'}")
    iv = None
    if "iv" in told:
        digits = told["iv"].removeprefix("0x").removeprefix("0X")
        iv = int(digits, 16).to_bytes(_IV_BYTES, "big")
    return Key(_address(url, told["uri"]), iv)


def _place(url: str, uri: str, byterange: str | None, ends: dict[str, int]) -> Place:
    address = _address(url, uri)
    if byterange is None:
        return Place(address)
    length, _, offset = byterange.strip().partition("@")
    first, count = int(offset) if offset else ends[address], int(length)
    if not (0 <= first < 1 << 53 and 0 < count < 1 << 53):
        raise ValueError("a part of nothing")
    ends[address] = first + count
    return Place(address, (first, count))


def _address(url: str, uri: str) -> str:
    return urljoin(url, uri.strip())
