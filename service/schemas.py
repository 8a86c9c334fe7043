"""What a request may say, checked before anything is done with it."""

import uuid
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from werkzeug.datastructures import MultiDict

from service.problems import Malformed

MAX_METADATA_BYTES = 8 * 1024

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,128}$")]
"""What names a session or a request: safe in headers, logs and URLs."""

_IDENTIFIER = TypeAdapter(Identifier)
_JSON_OBJECT = TypeAdapter(dict[str, JsonValue])


def _metadata(value: object) -> object:
    """A JSON object, or the text of one, of at most MAX_METADATA_BYTES."""
    if isinstance(value, dict):
        size = len(_JSON_OBJECT.dump_json(value))
    elif isinstance(value, str):
        size = len(value.encode())
    else:
        return value
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"at most {MAX_METADATA_BYTES} bytes are accepted")
    return _JSON_OBJECT.validate_json(value) if isinstance(value, str) else value


class ScoreFields(BaseModel):
    """What can be said about a recording beside the recording itself; unknown fields are ignored.

    metadata: for the sender's own use; checked and not kept. partial: answer with the part that
    can be measured where the rest cannot. heatmap: draw what in the most suspicious frame speaks
    for manipulation.
    """

    model_config = ConfigDict(frozen=True)

    session_id: Identifier = Field(default_factory=lambda: str(uuid.uuid4()))
    user_consent: bool | None = None
    metadata: Annotated[dict[str, JsonValue], BeforeValidator(_metadata)] | None = None
    partial: bool = False
    heatmap: bool = False


class PathFields(ScoreFields):
    """The same, of a recording that lies on the server already."""

    video_path: Annotated[str, StringConstraints(min_length=1, max_length=4096)]


def form_fields(form: MultiDict[str, str], query: MultiDict[str, str]) -> ScoreFields:
    """The fields of a form; `partial` and `heatmap` may stand in the query. Raises Malformed."""
    wished = {name: query[name] for name in ("partial", "heatmap") if name in query}
    values = wished | form.to_dict()
    try:
        return ScoreFields.model_validate(values)
    except ValidationError as error:
        raise Malformed(_explain(error)) from error


def path_fields(body: bytes) -> PathFields:
    """The fields of a JSON body. Raises Malformed."""
    try:
        return PathFields.model_validate_json(body)
    except ValidationError as error:
        raise Malformed(_explain(error)) from error


def is_identifier(value: str) -> bool:
    try:
        _IDENTIFIER.validate_python(value)
    except ValidationError:
        return False
    return True


def _explain(error: ValidationError) -> str:
    """Which fields are wrong and why, without quoting what they hold."""
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, item["loc"][:1])), item["msg"])))
        for item in error.errors(include_url=False, include_input=False)
    )
