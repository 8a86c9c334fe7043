"""Settings as they are written: in the environment, in a file `.env`, or in JSON between processes
of ours.

Values come from the environment, then from a file `.env` in the working directory, then from the
defaults in the table.
"""

import json
import sys
from typing import Any

from pydantic import ValidationError

from service.settings.table import Settings


class SettingsError(Exception):
    """A setting cannot be used. The message is one line that names the setting and the reason."""


_SECRETS = {
    name.upper()
    for name, field in Settings.model_fields.items()
    if "SecretStr" in str(field.annotation)
}


def load(**given: Any) -> Settings:
    """Read the environment and `.env`; what is given by name comes first. Raises SettingsError."""
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("settings: " + "; ".join(_reasons(error))) from error


def as_json(settings: Settings) -> str:
    """In one line, with its secrets in clear: for the standard input of a process of ours."""
    return json.dumps(settings.model_dump(mode="json") | settings.secrets())


def from_json(text: str) -> Settings:
    """What `as_json` wrote, whatever the environment says."""
    return Settings.model_validate_json(text)


def load_or_exit() -> Settings:
    """Read the settings, or end the process with one line that says which is wrong and why."""
    try:
        return load()
    except SettingsError as error:
        sys.exit(str(error))


def _reasons(error: ValidationError) -> list[str]:
    reasons = []
    for item in error.errors(include_url=False):
        message = item["msg"].removeprefix("Value error, ")
        name = str(item["loc"][0]).upper() if item["loc"] else ""
        given = "" if name in _SECRETS else f"={item['input']}"
        reasons.append(f"{name}{given}: {message}" if name else message)
    return reasons
