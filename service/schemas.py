"""What a request may say, checked before anything is done with it.

The same models describe the requests in /openapi.json.
"""

import json
import re
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails
from werkzeug.datastructures import Headers, MultiDict

from service.addresses import MAX_URL_LENGTH
from service.jobs.records import Shown
from service.request_errors import Malformed
from syncnet_python.results import Decision, Risk

MAX_FIELDS_BYTES = 64 * 1024
"""What a request may hold beside the recording, in bytes."""

MAX_METADATA_BYTES = 8 * 1024

IDENTIFIER_PATTERN = r"^[A-Za-z0-9._-]{1,128}$"
CURSOR_PATTERN = r"^[A-Za-z0-9_-]{32}$"

Identifier = Annotated[str, StringConstraints(pattern=IDENTIFIER_PATTERN)]
"""What names a session or a request: safe in headers, logs and URLs."""

Url = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL_LENGTH)]

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

    They are the parts of a form; `partial` and `heatmap` may stand in the query.
    """

    model_config = ConfigDict(frozen=True)

    session_id: Identifier = Field(
        default_factory=lambda: str(uuid.uuid4()),
        description="Repeated in the answer; made up where it is absent.",
    )
    user_consent: bool | None = Field(
        default=None, description="Whether the person recorded agrees to the analysis."
    )
    metadata: Annotated[dict[str, JsonValue] | None, BeforeValidator(_metadata)] = Field(
        default=None, description="For the sender's own use: checked and not kept."
    )
    partial: bool = Field(
        default=False,
        description="Answer with the part that can be measured where the rest cannot.",
    )
    heatmap: bool = Field(
        default=False,
        description="Draw what in the most suspicious frame speaks for manipulation.",
    )
    webhook_url: Url | None = Field(
        default=None, description="Address that is called when the job has ended."
    )


class UploadForm(ScoreFields):
    """A recording that is uploaded, and what is said about it."""

    video: Annotated[bytes, WithJsonSchema({"type": "string", "format": "binary"})] = Field(
        description="WebM, MP4, MOV, AVI, MKV or MPEG. Its content counts, its name does not."
    )


def _within(low: int, high: int) -> AfterValidator:
    """A number outside is brought to the nearer bound."""
    return AfterValidator(lambda value: min(max(value, low), high))


class AnalyzeFields(ScoreFields):
    """What clients of FCN-SyncNet's own web service say about a recording.

    Their three settings are checked and repeated in the answer; they change nothing, for the
    whole recording is always measured.
    """

    partial: bool = Field(
        default=True, description="Answer where lip-sync can be measured, whatever of the face can."
    )
    window_size: Annotated[int, _within(5, 100)] = Field(
        default=25, description="Frames, brought within 5 and 100; changes nothing."
    )
    stride: Annotated[int, _within(1, 50)] = Field(
        default=5, description="Frames, brought within 1 and 50; changes nothing."
    )
    buffer_size: Annotated[int, _within(10, 500)] = Field(
        default=100, description="Frames, brought within 10 and 500; changes nothing."
    )


class AnalyzeForm(AnalyzeFields, UploadForm):
    """A recording that is uploaded by such a client."""


class StreamFields(BaseModel):
    """A stream that is to be followed, and how; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True)

    url: Url = Field(description="Of an HLS playlist, by http or https.")
    window_s: float = Field(
        default=10, ge=2, le=30, description="Seconds that one answer looks at."
    )
    stride_s: float = Field(
        default=2, ge=0.5, le=30, description="Seconds from one answer to the next; a window's."
    )
    buffer_s: float = Field(
        default=30, ge=2, le=120, description="Seconds that may wait to be scored; a window's."
    )
    band_frames: float = Field(
        default=3, ge=0, le=15, description="|offset_frames| up to which all is well."
    )
    alert_after: int = Field(
        default=3, ge=1, le=100, description="Windows in a row outside before there is an alert."
    )


class AnalyzeStreamFields(BaseModel):
    """What clients of FCN-SyncNet's own web service say about a stream."""

    model_config = ConfigDict(frozen=True)

    url: Url = Field(description="Of an HLS playlist, by http or https.")
    window_size: Annotated[int, _within(5, 100)] = Field(
        default=25, description="Frames, brought within 5 and 100; changes nothing."
    )
    stride: Annotated[int, _within(1, 50)] = Field(
        default=5, description="Frames, brought within 1 and 50; changes nothing."
    )
    buffer_size: Annotated[int, _within(10, 500)] = Field(
        default=100, description="Frames, brought within 10 and 500; changes nothing."
    )


class PathFields(ScoreFields):
    """A recording that lies on the server already, below VIDEO_ROOT, and what is said about it."""

    video_path: Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class ScoreQuery(BaseModel):
    """What may be wished for in the query."""

    model_config = ConfigDict(frozen=True)

    partial: bool | None = Field(default=None, description="As the field of the same name.")
    heatmap: bool | None = Field(default=None, description="As the field of the same name.")
    respond_async: bool = Field(
        default=False, alias="async", description="As `Prefer: respond-async`."
    )


class WaitingHeaders(BaseModel):
    """What whoever waits for the answer may wish for in the headers."""

    model_config = ConfigDict(frozen=True)

    idempotency_key: Annotated[str, StringConstraints(pattern=r"^[ -~]{1,255}$")] | None = Field(
        default=None,
        alias="Idempotency-Key",
        description="The same key and the same request is the same job, however often it is sent.",
    )


def _in_utc(moment: datetime) -> datetime:
    """A time without a zone is one in UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _iso_8601(value: object) -> object:
    """Numbers alone would be taken for seconds of some epoch."""
    if isinstance(value, str) and not re.match(r"\d{4}-\d{2}-\d{2}", value):
        raise ValueError("must be a time in ISO 8601, such as 2026-11-21T10:00:00Z")
    return value


Moment = Annotated[datetime, BeforeValidator(_iso_8601), AfterValidator(_in_utc)]


class TokenFields(BaseModel):
    """What an upload token is to be good for; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True)

    ttl_seconds: int = Field(default=900, ge=60, le=86400, description="Seconds that it is good.")
    uploads: int = Field(
        default=1,
        ge=1,
        le=100,
        description="Recordings that may be sent with it; a resend is none.",
    )
    session_id: Identifier | None = Field(
        default=None, description="Session of all that is sent with it; any where it is absent."
    )


class HistoryQuery(BaseModel):
    """Which of the jobs of before are wanted: all that agree with everything that is said."""

    model_config = ConfigDict(frozen=True)

    session_id: Identifier | None = Field(default=None, description="Their session.")
    risk: Risk | None = Field(default=None, description="Their risk level.")
    decision: Decision | None = Field(default=None, description="What was decided.")
    state: Shown | None = Field(default=None, description="How far they are.")
    since: Moment | None = Field(
        default=None,
        description="Sent at this time or later (ISO 8601; UTC where no zone is named).",
    )
    until: Moment | None = Field(default=None, description="Sent before this time.")
    limit: int = Field(default=20, ge=1, le=100, description="How many at most.")
    cursor: Annotated[str, StringConstraints(pattern=CURSOR_PATTERN)] | None = Field(
        default=None, description="`next` of the page before, with the same other parameters."
    )


class LastEvent(BaseModel):
    """Where events that broke off go on."""

    model_config = ConfigDict(frozen=True)

    number: Annotated[str, StringConstraints(pattern=r"^[0-9]{0,9}$")] = Field(
        default="", alias="Last-Event-ID", description="Number of the last event that was told."
    )


class ScoreHeaders(WaitingHeaders):
    """What may be wished for in the headers."""

    prefer: str | None = Field(
        default=None,
        alias="Prefer",
        description="`respond-async` to be answered before the recording is scored.",
    )
    webhook_url: Url | None = Field(
        default=None, alias="Webhook-Url", description="As the field `webhook_url`."
    )

    @property
    def respond_async(self) -> bool:
        wishes = (self.prefer or "").lower().split(",")
        return any(wish.partition(";")[0].strip() == "respond-async" for wish in wishes)


Model = TypeVar("Model", bound=BaseModel)
Fields = TypeVar("Fields", bound=ScoreFields)


def headers(sent: Headers) -> ScoreHeaders:
    """What the headers wish for. Raises Malformed."""
    return _checked(ScoreHeaders, _given(ScoreHeaders, sent))


def last_event(sent: Headers) -> int:
    """The number after which events are wanted. Raises Malformed."""
    return int(_checked(LastEvent, _given(LastEvent, sent)).number or 0)


def query(sent: MultiDict[str, str]) -> ScoreQuery:
    """What the query wishes for. Raises Malformed."""
    return _checked(ScoreQuery, _given(ScoreQuery, sent))


def history(sent: MultiDict[str, str]) -> HistoryQuery:
    """Which jobs of before the query wants. Raises Malformed."""
    return _checked(HistoryQuery, _given(HistoryQuery, sent))


def form_fields(form: MultiDict[str, str], wishes: dict[str, Any], model: type[Fields]) -> Fields:
    """The fields of a form; it comes before what was wished for elsewhere. Raises Malformed."""
    return _checked(model, wishes | form.to_dict())


def path_fields(body: bytes, wishes: dict[str, Any]) -> PathFields:
    """The fields of a JSON body, which comes before what was wished for elsewhere.
    Raises Malformed."""
    return _checked(PathFields, wishes | _object(body))


def json_fields(body: bytes, model: type[Model]) -> Model:
    """The fields of a JSON body. Raises Malformed."""
    return _checked(model, _object(body))


def is_identifier(value: str) -> bool:
    try:
        _IDENTIFIER.validate_python(value)
    except ValidationError:
        return False
    return True


def canonical(fields: ScoreFields) -> bytes:
    """What was said, the same bytes whenever the same was said."""
    said = fields.model_dump(mode="json", exclude_unset=True, exclude_defaults=True)
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def _object(body: bytes) -> dict[str, JsonValue]:
    try:
        return _JSON_OBJECT.validate_json(body)
    except ValidationError:
        raise Malformed("The body is not a JSON object.") from None


def _given(model: type[BaseModel], sent: Headers | MultiDict[str, str]) -> dict[str, str]:
    names = [field.alias or name for name, field in model.model_fields.items()]
    return {name: sent[name] for name in names if name in sent}


def _checked(model: type[Model], values: dict[str, Any]) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise Malformed(_explain(error)) from error


# pydantic's own words, where they would not tell a sender what to do.
_WORDS = {
    "missing": "is missing",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_type": "must be text",
    "json_invalid": "is not JSON",
    "json_type": "is not JSON",
    "dict_type": "must be a JSON object",
    "string_too_short": "must not be empty",
}


def _explain(error: ValidationError) -> str:
    """Which fields are wrong and why, without quoting what they hold."""
    said: dict[str, str] = {}
    for item in error.errors(include_url=False, include_input=False):
        said.setdefault(str(item["loc"][0]) if item["loc"] else "", _words(item))
    return "; ".join(f"{name}: {words}" if name else words for name, words in said.items())


def _words(item: ErrorDetails) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "string_pattern_mismatch":
        if context["pattern"] == IDENTIFIER_PATTERN:
            return "must be 1 to 128 characters of A-Z a-z 0-9 . _ -"
        if context["pattern"] == CURSOR_PATTERN:
            return "must be what another answer named as next"
        if context["pattern"].startswith("^[0-9]"):
            return "must be a number of at most nine digits"
        return "must be 1 to 255 printable ASCII characters"
    if kind == "string_too_long":
        return f"must have at most {context['max_length']} characters"
    if kind == "value_error":
        return str(context["error"])
    return _WORDS.get(kind, item["msg"])
