"""What a request may say: everything that is allowed passes, everything else is Malformed."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers, MultiDict

from service import schemas
from service.request_errors import Malformed
from service.schemas import MAX_METADATA_BYTES, ScoreFields, is_identifier

ALLOWED = re.compile(r"[A-Za-z0-9._-]{1,128}")
NONE: MultiDict[str, str] = MultiDict()


def form_fields(form: MultiDict[str, str], query: MultiDict[str, str] = NONE) -> ScoreFields:
    """As a request with that form and that query would have them."""
    wishes = schemas.query(query).model_dump(include={"partial", "heatmap"}, exclude_none=True)
    return schemas.form_fields(form, wishes, ScoreFields)


def path_fields(body: bytes) -> schemas.PathFields:
    return schemas.path_fields(body, {})


@given(st.text(max_size=140) | st.from_regex(ALLOWED, fullmatch=True))
def test_an_identifier_is_what_the_pattern_says(text: str) -> None:
    assert is_identifier(text) == bool(ALLOWED.fullmatch(text))


@given(st.text(max_size=140) | st.from_regex(ALLOWED, fullmatch=True))
def test_a_session_is_an_identifier_or_malformed(text: str) -> None:
    if ALLOWED.fullmatch(text):
        assert form_fields(MultiDict({"session_id": text}), NONE).session_id == text
    else:
        with pytest.raises(Malformed, match=r"^session_id: "):
            form_fields(MultiDict({"session_id": text}), NONE)


objects = st.dictionaries(
    st.text(max_size=10),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=10), st.lists),
    max_size=5,
)


@pytest.mark.slow
@given(objects)
def test_metadata_is_any_json_object_that_is_small_enough(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    if len(text) <= MAX_METADATA_BYTES:
        assert form_fields(MultiDict({"metadata": text}), NONE).metadata == value


@given(st.text(max_size=50))
def test_no_text_as_metadata_breaks_anything(text: str) -> None:
    try:
        fields = form_fields(MultiDict({"metadata": text}), NONE)
    except Malformed:
        return
    assert isinstance(fields.metadata, dict)


def test_metadata_is_measured_in_bytes() -> None:
    fits = json.dumps({"k": "ü" * 4000}, ensure_ascii=False)
    large = json.dumps({"k": "ü" * 4100}, ensure_ascii=False)
    assert len(large) < MAX_METADATA_BYTES < len(large.encode())
    assert form_fields(MultiDict({"metadata": fits}), NONE).metadata
    with pytest.raises(Malformed, match="at most 8192 bytes"):
        form_fields(MultiDict({"metadata": large}), NONE)
    body = {"video_path": "a", "metadata": json.loads(large)}
    with pytest.raises(Malformed, match="at most 8192 bytes"):
        path_fields(json.dumps(body).encode())


@given(st.binary(max_size=60))
def test_no_body_breaks_anything(body: bytes) -> None:
    with pytest.raises(Malformed):
        path_fields(body)


def test_fields_of_a_path() -> None:
    fields = path_fields(b'{"video_path": "a/b.webm", "session_id": "s", "unknown": 1}')
    assert (fields.video_path, fields.session_id, fields.user_consent) == ("a/b.webm", "s", None)


def test_the_form_comes_before_the_query() -> None:
    query = MultiDict({"partial": "true"})
    assert form_fields(NONE, query).partial
    assert not form_fields(MultiDict({"partial": "false"}), query).partial
    assert not form_fields(NONE, NONE).partial


@pytest.mark.parametrize("name", ["partial", "heatmap"])
def test_wishes_may_stand_in_form_query_and_body(name: str) -> None:
    for text, wanted in (("true", True), ("1", True), ("false", False)):
        assert getattr(form_fields(MultiDict({name: text}), NONE), name) is wanted
        assert getattr(form_fields(NONE, MultiDict({name: text})), name) is wanted
    assert (
        getattr(form_fields(MultiDict({name: "false"}), MultiDict({name: "true"})), name) is False
    )
    assert getattr(path_fields(json.dumps({"video_path": "a", name: True}).encode()), name) is True
    assert getattr(path_fields(b'{"video_path": "a"}'), name) is False
    with pytest.raises(Malformed, match=rf"^{name}: "):
        form_fields(NONE, MultiDict({name: "perhaps"}))


@given(st.sampled_from(["session_id", "user_consent", "metadata", "video_path", "x"]), st.text())
def test_nothing_else_is_taken_from_the_query(name: str, text: str) -> None:
    fields = form_fields(MultiDict({"session_id": "s"}), MultiDict({name: text}))
    assert fields == form_fields(MultiDict({"session_id": "s"}), NONE)


def test_what_is_wrong_is_named_and_not_quoted() -> None:
    with pytest.raises(Malformed) as caught:
        form_fields(MultiDict({"session_id": "a secret", "user_consent": "hidden"}), NONE)
    assert "session_id: " in str(caught.value)
    assert "user_consent: " in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_what_is_wrong_is_told_in_plain_words() -> None:
    said = {
        "session_id": "must be 1 to 128 characters of A-Z a-z 0-9 . _ -",
        "user_consent": "must be true or false",
        "metadata": "is not JSON",
        "webhook_url": "must not be empty",
    }
    form = {"session_id": "a b", "user_consent": "perhaps", "metadata": "{", "webhook_url": ""}
    with pytest.raises(Malformed) as caught:
        form_fields(MultiDict(form))
    assert str(caught.value) == "; ".join(f"{name}: {words}" for name, words in said.items())
    with pytest.raises(Malformed, match=r"^video_path: is missing$"):
        path_fields(b"{}")
    with pytest.raises(Malformed, match=r"^The body is not a JSON object\.$"):
        path_fields(b"[]")


@pytest.mark.parametrize(
    ("prefer", "wished"),
    [
        ("respond-async", True),
        ("Respond-Async; q=1", True),
        ("wait=10, respond-async", True),
        ("return=minimal", False),
        ("not-respond-async", False),
        ("", False),
    ],
)
def test_a_preference_is_found_among_others(prefer: str, wished: bool) -> None:
    assert schemas.headers(Headers({"Prefer": prefer})).respond_async is wished


@given(st.text(max_size=300))
def test_an_idempotency_key_is_plain_text(key: str) -> None:
    headers = Headers()
    headers._list.append(("Idempotency-Key", key))  # as a server hands it on, unchecked
    if re.fullmatch(r"[ -~]{1,255}", key):
        assert schemas.headers(headers).idempotency_key == key
    else:
        with pytest.raises(Malformed, match=r"^Idempotency-Key: "):
            schemas.headers(headers)


def test_the_same_said_in_another_way_is_the_same() -> None:
    one = form_fields(MultiDict({"metadata": '{"a": 1, "b": [2]}', "partial": "1"}))
    other = form_fields(MultiDict({"metadata": '{"b":[2],"a":1}'}), MultiDict({"partial": "true"}))
    assert one.session_id != other.session_id
    assert schemas.canonical(one) == schemas.canonical(other)
    named = form_fields(MultiDict({"session_id": one.session_id}))
    assert schemas.canonical(named) != schemas.canonical(form_fields(NONE))
