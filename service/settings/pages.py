"""The table of settings as it is printed: `.env.example` and docs/settings.md."""

from pydantic.fields import FieldInfo

from service.settings.table import Settings


def _default(field: FieldInfo) -> str:
    """A default as it would be written in the environment; empty for a setting that is off."""
    value = field.default
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def env_example() -> str:
    """The text of `.env.example`: every setting with its meaning and default."""
    lines = [
        "# Every setting with its default. Copy to .env and change what you need.",
        "# Printed by: python -m service.settings env",
    ]
    for name, field in Settings.model_fields.items():
        lines += ["", f"# {field.description}", f"{name.upper()}={_default(field)}"]
    return "\n".join(lines) + "\n"


def docs_page() -> str:
    """The text of docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Set them in the environment, or in a file `.env` in the folder where the service is",
        "started; the environment wins.",
        "A value that cannot be used stops the service at start with one line that says why.",
        "This page is printed by `python -m service.settings docs`.",
        "",
        "| Setting | Default | Meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = _default(field)
        shown = f"`{default}`" if default else "not set"
        lines.append(f"| `{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines) + "\n"
