"""What the web process and the process that follows a stream say to each other: lines of JSON.

The latter has handled what strangers send, so what it says is parsed and checked like any outside
input.
"""

import dataclasses
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from workflows.stream import events

MAX_LINE = 256 * 1024
"""Characters of one event, at most; an alert over a hundred windows has about 40,000."""


class Wanted(BaseModel):
    """How a stream is to be followed; its fields are those of `StreamOptions`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    window_s: float = 10.0
    stride_s: float = 2.0
    buffer_s: float = 30.0
    band_frames: float = 3.0
    alert_after: int = 3


class Order(BaseModel):
    """To the process, once. settings: as `service.settings.as_json` writes them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: str
    wanted: Wanted


class Broken(BaseModel):
    """The stream cannot be followed, or not any further: nothing comes after it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: Literal["error"] = "error"
    code: str = Field(pattern=r"^[a-z_]{1,64}$")
    message: str
    advice: str


_KINDS: dict[str, TypeAdapter[Any]] = {
    name: TypeAdapter(kind) for kind, name in events.NAMES.items()
}
_FIELDS = {
    name: {field.name for field in dataclasses.fields(kind)} for kind, name in events.NAMES.items()
}
LAST = ("ended", "error")
"""Nothing follows one of these."""


def parse(line: str) -> tuple[str, str]:
    """The name of an event and its fields as JSON. Raises ValueError for anything else."""
    said = json.loads(line)
    if not isinstance(said, dict):
        raise ValueError("an event is an object")
    name = said.pop("event", None)
    if name == "error":
        return name, Broken(**said).model_dump_json(exclude={"event"})
    adapter = _KINDS.get(name) if isinstance(name, str) else None
    if adapter is None or set(said) != _FIELDS[name]:
        raise ValueError("there is no such event")
    try:
        value = adapter.validate_python(said)
    except ValidationError as error:
        raise ValueError("the fields are those of no event") from error
    return name, adapter.dump_json(value).decode()
