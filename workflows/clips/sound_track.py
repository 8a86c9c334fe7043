"""The sound of a recording alone: as a WAV file, and how loud it is from moment to moment."""

import errno
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from syncnet_python.errors import Undecodable
from syncnet_python.placed_sound import PlacedSound
from syncnet_python.results import SAMPLE_RATE
from syncnet_python.windows import DAY
from workflows.clips.media_info import info
from workflows.clips.sources import decoded, opened, packets, sound_stream

LEVEL_S: Final = 0.01
"""Seconds that each level is of."""

QUIETEST_DB: Final = -120.0
"""The level of digital silence; quieter than any sample of 16 bits."""

_FULL_SCALE: Final = 32_768.0
_WAV_BYTES: Final = (1 << 32) - 1024
"""What the header of a WAV file can count."""


def samples(path: Path, rate: int, channels: int) -> Iterator[NDArray[np.int16]]:
    """The first sound of a recording, decoded alone, piece by piece: (n, channels) int16.

    It begins with the first picture, where there is one: what is heard before is left out, and
    where the sound begins later, silence comes first. Raises OSError, NotAVideo, NoAudio,
    TooLong, Undecodable.
    """
    picture = info(path).first("picture")
    begin_s = picture.start_s if picture else None
    with opened(path) as container:
        layout = "mono" if channels == 1 else "stereo"
        sound = PlacedSound(rate, layout, longest_s=DAY.duration_s)
        early: int | None = None  # samples before the first picture, < 0: after it
        for packet in packets(container, sound_stream(container)):
            for frame in decoded(packet):
                if not isinstance(frame, AudioFrame):
                    continue
                found = sound.add(frame)
                if early is None and sound.start is not None:
                    early = 0 if begin_s is None else round((begin_s - sound.start) * rate)
                    if early < 0:
                        yield sound.silence(-early)
                if early is not None and early > 0:
                    found, early = found[early:], max(0, early - len(found))
                yield found
        if early is None:
            raise Undecodable("nothing of the sound can be decoded")
        yield sound.finish()[max(0, early) :]


def extract(path: Path, target: Path, rate: int = SAMPLE_RATE, channels: int = 1) -> float:
    """Write `samples` as a WAV file of 16 bits, whole or not at all, and return its seconds.

    Raises as `samples`, and OSError where it is longer than a WAV file can be.
    """
    partial = target.with_name(f".{target.name}.partial")
    count = 0
    try:
        with wave.open(str(partial), "wb") as file:
            file.setparams((channels, 2, rate, 0, "NONE", ""))
            for piece in samples(path, rate, channels):
                count += len(piece)
                if count * channels * 2 > _WAV_BYTES:
                    raise OSError(errno.EFBIG, "a WAV file holds at most 4 GB", str(target))
                file.writeframes(piece.astype("<i2").tobytes())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return count / rate


def levels(path: Path) -> NDArray[np.float32]:
    """How loud each `LEVEL_S` is, from the first picture on: (n,) float32, decibels of the root
    mean square below full scale, `QUIETEST_DB` to 0. Raises as `samples`."""
    length, rest = round(SAMPLE_RATE * LEVEL_S), np.zeros(0, np.int16)
    found: list[NDArray[np.float32]] = []
    for piece in samples(path, SAMPLE_RATE, 1):
        rest = np.concatenate([rest, piece[:, 0]])
        whole = len(rest) // length * length
        found.append(_decibels(rest[:whole].reshape(-1, length)))
        rest = rest[whole:]
    if len(rest):
        found.append(_decibels(rest[None]))
    return np.concatenate(found)


def _decibels(rows: NDArray[np.int16]) -> NDArray[np.float32]:
    power = np.square(rows / _FULL_SCALE).mean(axis=1)
    decibels = 10 * np.log10(np.maximum(power, 1e-20))
    return np.asarray(np.maximum(decibels, QUIETEST_DB), np.float32)
