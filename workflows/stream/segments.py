"""Segments of an HLS stream as whole bytes: fetched by our own client, decrypted, and with what
must stand before them.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal, TypeVar

import httpx
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from service.outgoing import Fetched, Reader, TooLarge, fetch
from workflows.stream.playlists import Init, Key, Place, Segment

Reason = Literal["missing", "failed", "too_large", "late"]
"""Why a segment is not there: the playlist or its server says so; it could not be fetched or
decrypted; it is too large; or it was gone, or thrown away, before its turn came."""

K = TypeVar("K")

_KEY_BYTES = 16
_KEPT = 4  # keys and initialisation sections that are remembered
_KEY_ANSWER_BYTES = 1024
_INIT_BYTES = 1024 * 1024
_AGAIN = 2  # tries where the server or the network fails


class SegmentLost(Exception):
    """A segment cannot be had; the stream goes on without it."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Loaded:
    """data: of one segment, in the clear; init: what makes it, or several of it, a file when it
    stands before, empty for MPEG-TS."""

    data: bytes
    init: bytes


class SegmentFetcher:
    """Loads segments one after the other, and remembers the last keys and initialisation sections.

    most_bytes: of one segment as sent; total_s: that one request may take.
    """

    def __init__(self, client: Reader, *, most_bytes: int, total_s: float) -> None:
        self._client = client
        self._most_bytes = most_bytes
        self._total_s = total_s
        self._keys: OrderedDict[str, bytes] = OrderedDict()
        self._inits: OrderedDict[Init, bytes] = OrderedDict()

    def load(self, segment: Segment) -> Loaded:
        """Raises SegmentLost, and OutgoingRefused where it leads to what may not be reached."""
        if segment.missing:
            raise SegmentLost("missing", "the playlist says that the segment is missing")
        init = self._init(segment.init) if segment.init else b""
        data = self._get(segment.place, self._most_bytes)
        if segment.key:
            iv = segment.key.iv or segment.number.to_bytes(_KEY_BYTES, "big")
            data = decrypt(data, self._key(segment.key), iv)
        return Loaded(data, init)

    def _init(self, init: Init) -> bytes:
        if (known := self._inits.get(init)) is not None:
            return known
        data = self._get(init.place, _INIT_BYTES)
        if init.key and init.key.iv:
            data = decrypt(data, self._key(init.key), init.key.iv)
        return _remember(self._inits, init, data)

    def _key(self, key: Key) -> bytes:
        if (known := self._keys.get(key.url)) is not None:
            return known
        data = self._get(Place(key.url), _KEY_ANSWER_BYTES)
        if len(data) != _KEY_BYTES:
            raise SegmentLost("failed", "the key does not have 16 bytes")
        return _remember(self._keys, key.url, data)

    def _get(self, place: Place, most_bytes: int) -> bytes:
        """Raises SegmentLost, OutgoingRefused."""
        lost = SegmentLost("failed", "the segment could not be fetched")
        for _ in range(_AGAIN):
            try:
                answer = fetch(
                    self._client,
                    place.url,
                    most_bytes=most_bytes,
                    total_s=self._total_s,
                    part=place.part,
                )
            except TooLarge as error:
                raise SegmentLost("too_large", str(error)) from None
            except httpx.TimeoutException:
                raise SegmentLost("failed", "the segment did not come in time") from None
            except httpx.HTTPError:
                continue
            if answer.body:
                return answer.body
            lost = _refused(answer)
            if lost.reason == "missing":
                break
        raise lost


def decrypt(data: bytes, key: bytes, iv: bytes) -> bytes:
    """AES-128 in CBC mode with PKCS #7 padding. Raises SegmentLost for what was not so encrypted.

    RFC 8216, 4.3.2.4.
    """
    try:
        opened = Cipher(AES128(key), CBC(iv)).decryptor()
        unpadded = PKCS7(AES128.block_size).unpadder()
        padded = opened.update(data) + opened.finalize()
        return unpadded.update(padded) + unpadded.finalize()
    except ValueError:
        raise SegmentLost("failed", "the segment cannot be decrypted with its key") from None


def _refused(answer: Fetched) -> SegmentLost:
    if httpx.codes.is_success(answer.status):
        return SegmentLost("missing", "the segment is empty")
    gone = httpx.codes.is_client_error(answer.status)
    return SegmentLost("missing" if gone else "failed", f"the server answered {answer.status}")


def _remember(known: OrderedDict[K, bytes], name: K, data: bytes) -> bytes:
    known[name] = data
    if len(known) > _KEPT:
        known.popitem(last=False)
    return data
