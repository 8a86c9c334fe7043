"""What a decoding process may say, and the recording that it makes.

It has passed through a stranger's file, so it is checked here like any outside input.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from syncnet_python import errors
from syncnet_python.errors import DecoderCrashed, RecordingError
from syncnet_python.frames import Look, picture_bytes
from syncnet_python.limits import Limits
from syncnet_python.media import Decoded, Recording
from syncnet_python.results import SAMPLES_PER_FRAME, VideoInfo

_MESSAGE_LENGTH = 200


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


_Count = Annotated[int, Field(ge=0, lt=1 << 31)]
_Positive = Annotated[int, Field(ge=1, lt=1 << 31)]


class _Look(_Strict):
    format: Literal["yuv420p", "yuvj420p"]
    colorspace: Annotated[int, Field(ge=0, le=255)]
    color_range: Annotated[int, Field(ge=0, le=2)]


class _Info(_Strict):
    duration_s: float
    width: _Positive
    height: _Positive
    fps: float
    codec: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")]
    frames_used: _Positive


class _Done(_Strict):
    """What `decoding_process.describe` tells of a recording."""

    kind: Literal["done"]
    size: tuple[_Positive, _Positive]
    turns: Annotated[int, Field(ge=0, le=3)]
    looks: list[_Look]
    pictures: list[_Count]
    steps: list[_Count]
    samples: _Count
    times: list[float]
    info: _Info
    scale: Annotated[float, Field(gt=0)]


class _Refused(_Strict):
    """An error by its class's name."""

    kind: Literal["refused"]
    error: str
    message: str

    def restored(self) -> RecordingError:
        kind = getattr(errors, self.error, None)
        if not (isinstance(kind, type) and issubclass(kind, RecordingError)):
            return DecoderCrashed("the decoder failed in an unknown way")
        shown = (c if c.isprintable() else "?" for c in self.message[:_MESSAGE_LENGTH])
        return kind("".join(shown))


_Answer: TypeAdapter[_Done | _Refused] = TypeAdapter(
    Annotated[_Done | _Refused, Field(discriminator="kind")]
)


def recording(answer: bytes, memory: memoryview, limits: Limits) -> Recording:
    """The recording that an answer describes, over the pictures and the sound in `memory`.

    Raises RecordingError: what the answer tells, and DecoderCrashed where it makes no sense.
    """
    try:
        said = _Answer.validate_json(answer)
    except ValidationError:
        raise _nonsense() from None
    if isinstance(said, _Refused):
        raise said.restored()
    return _over(memory, said, limits)


def _over(memory: memoryview, done: _Done, limits: Limits) -> Recording:
    count, each = len(done.pictures), picture_bytes(*done.size)
    end = count * each
    fits = (
        len(memory) == end + done.samples * np.dtype(np.int16).itemsize
        and 0 < len(done.steps) == len(done.times) == done.info.frames_used <= limits.steps
        and done.samples <= limits.steps * SAMPLES_PER_FRAME
        and max(done.steps) < count
        and max(done.pictures) < len(done.looks)
    )
    if not fits:
        raise _nonsense()
    looks = [Look(**dict(look)) for look in done.looks]
    decoded = Decoded(
        looks=[looks[number] for number in done.pictures],
        size=done.size,
        turns=done.turns,
        steps=done.steps,
        audio=np.frombuffer(memory[end:], np.int16).copy(),
        times=np.asarray(done.times, np.float64),
        info=VideoInfo(**dict(done.info)),
        scale=done.scale,
    )
    return decoded.with_pictures([memory[i * each : (i + 1) * each] for i in range(count)])


def _nonsense() -> DecoderCrashed:
    return DecoderCrashed("the decoder's answer about the recording makes no sense")
