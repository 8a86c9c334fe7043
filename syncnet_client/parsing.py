"""From JSON to the dataclasses of `syncnet_client.answers`, by their type hints.

What is not named there is ignored, so that a newer service can say more; what is named and missing,
or of another kind, is an `UnexpectedAnswer`.
"""

import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from syncnet_client.errors import UnexpectedAnswer

T = TypeVar("T")

RAW = "raw"
"""The field that holds the whole JSON object."""


def parse(kind: type[T], text: bytes | str) -> T:
    """A dataclass out of the text of a JSON object. Raises UnexpectedAnswer."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UnexpectedAnswer(f"No {kind.__name__} was answered, but no JSON at all.") from error
    return build(kind, value)


def build(kind: type[T], value: object) -> T:
    """The same out of what the text says."""
    built: T = _read(kind, value, kind.__name__)
    return built


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(hint: Any, value: Any, where: str) -> Any:
    """The value as the hint has it. where: its place in the answer, for messages."""
    if hint is Any:
        return value
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (one,) = (kind for kind in inner if kind is not type(None))
        return None if value is None else _read(one, value, where)
    if origin is Literal:
        return _of_kind(str, value, where)
    if origin is tuple:
        return _tuple(inner, _of_kind(list, value, where), where)
    if origin is Mapping:
        entries = _of_kind(dict, value, where)
        return {name: _read(inner[1], one, f"{where}.{name}") for name, one in entries.items()}
    if is_dataclass(hint):
        return _dataclass(hint, _of_kind(dict, value, where), where)
    if hint is datetime:
        return _moment(_of_kind(str, value, where), where)
    if hint is float and type(value) is int:
        return float(value)
    return _of_kind(hint, value, where)


def _of_kind(kind: type, value: Any, where: str) -> Any:
    # JSON's true is no number, though Python's is.
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise UnexpectedAnswer(f"{where} of the answer is no {kind.__name__}.")
    return value


def _tuple(inner: tuple[Any, ...], values: list[Any], where: str) -> tuple[Any, ...]:
    """Of one kind and any length, or of these kinds."""
    kinds = [inner[0]] * len(values) if inner[-1] is Ellipsis else list(inner)
    if len(kinds) != len(values):
        raise UnexpectedAnswer(f"{where} of the answer has not {len(kinds)} entries.")
    return tuple(
        _read(kind, one, f"{where}[{i}]")
        for i, (kind, one) in enumerate(zip(kinds, values, strict=True))
    )


def _dataclass(kind: Any, value: dict[str, Any], where: str) -> Any:
    given: dict[str, Any] = {}
    hints = _hints(kind)
    for field in fields(kind):
        name = field.name
        if name == RAW:
            given[name] = value
        elif name in value:
            given[name] = _read(hints[name], value[name], f"{where}.{name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise UnexpectedAnswer(f"{where}.{name} is missing in the answer.")
    return kind(**given)


def _moment(text: str, where: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise UnexpectedAnswer(f"{where} of the answer is no time.") from error
