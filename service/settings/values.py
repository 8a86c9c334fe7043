"""How values of settings are written, and which can be used. What is raised here is a ValueError
whose message says why one cannot.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from service import outgoing, webhooks
from syncnet_python import calibration as calibrations
from syncnet_python.errors import CalibrationError

_MIN_KEY_LENGTH = 16


def _split(value: object) -> object:
    """A comma-separated list, as environment variables have it, to a tuple of its items."""
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _origin(value: str) -> str:
    if value != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9.-]+(:\d+)?", value):
        raise ValueError(f"{value!r} is not an origin such as https://example.org")
    return value


def _calibration(path: Path) -> Path:
    try:
        calibrations.load(path)
    except CalibrationError as error:
        raise ValueError(f"{error.message}. {error.advice}") from error
    return path


def _webhook_secret(secret: SecretStr) -> SecretStr:
    webhooks.check_secret(secret.get_secret_value())
    return secret


def _api_key(key: SecretStr) -> SecretStr:
    if len(key.get_secret_value()) < _MIN_KEY_LENGTH:
        raise ValueError(f"a key has {_MIN_KEY_LENGTH} characters or more")
    return key


def _database_url(url: SecretStr) -> SecretStr:
    if not re.match(r"postgres(ql)?://", url.get_secret_value()):
        raise ValueError("the address of a database is postgresql://user:password@host/name")
    return url


def _hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    outgoing.check_allow(hosts)
    return hosts


ApiKey = Annotated[SecretStr, AfterValidator(_api_key)]
CalibrationFile = Annotated[Path, AfterValidator(_calibration)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
Hosts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_hosts)]
LogFormat = Annotated[Literal["json", "text"], BeforeValidator(_lower)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
Origins = Annotated[
    tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_split)
]
WebhookSecret = Annotated[SecretStr, AfterValidator(_webhook_secret)]
