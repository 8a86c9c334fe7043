"""The interface for people: the OpenAPI document as one page, which needs no script."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matches {}",
    "default": "{} unless said otherwise",
}


def render(document: Mapping[str, Any]) -> str:
    """The text of the page. document: what `service.openapi.document` makes."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"coded": coded, "kind": kind, "limits": limits, "pretty": pretty}
    operations = [
        {"method": method.upper(), "path": path, **described}
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    ]
    return environment.get_template("docs.html").render(
        info=document["info"],
        operations=operations,
        schemas=dict(sorted(document["components"]["schemas"].items())),
    )


def coded(text: str) -> Markup:
    """A sentence with what stands between `backticks` as code."""
    pieces = text.split("`")
    return Markup().join(
        Markup("<code>{}</code>").format(piece) if number % 2 else escape(piece)
        for number, piece in enumerate(pieces)
    )


def kind(schema: Mapping[str, Any]) -> Markup:
    """What a value is, in a few words; models lead to where they are described."""
    match schema:
        case {"$ref": str(target)}:
            name = target.rpartition("/")[2]
            return Markup('<a href="#{0}">{0}</a>').format(name)
        case {"anyOf": list(some)} | {"oneOf": list(some)}:
            return Markup(" or ").join(kind(one) for one in some)
        case {"const": value}:
            return Markup("<code>{}</code>").format(json.dumps(value))
        case {"enum": list(values)}:
            return Markup(" or ").join(
                Markup("<code>{}</code>").format(json.dumps(value)) for value in values
            )
        case {"type": "array", "items": dict(items)}:
            return Markup("list of {}").format(kind(items))
        case {"type": "array", "prefixItems": list(items)}:
            return Markup("list of {}").format(Markup(", ").join(kind(item) for item in items))
        case {"type": "object", "additionalProperties": dict(values)}:
            return Markup("object of {}").format(kind(values))
        case {"type": "string", "format": str(form)}:
            return escape(form)
        case {"type": str(plain)}:
            return escape(plain)
    return escape("anything")


def limits(schema: Mapping[str, Any]) -> str:
    """What else a value has to be, as a sentence; empty where nothing is said of it."""
    said = [words.format(_plain(schema[name])) for name, words in _LIMITS.items() if name in schema]
    sentence = ", ".join(said)
    return sentence and f"{sentence[0].upper()}{sentence[1:]}."


def pretty(value: Any) -> str:
    """Indented JSON, with a list of plain values on one line."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return re.sub(r"\[[^][{}]+\]", lambda found: "[" + " ".join(found[0][1:-1].split()) + "]", text)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
