"""Logs: one line a record, for machines (JSON) or people, in every process of the service alike.

Nothing that a client sent gets into a line. Our own modules write fixed texts and give values as
`extra`; of what others write, only what cannot quote a request is kept, and of an exception its
type and the places it passed, never its own text.
"""

import json
import logging
import re
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Literal

LogFormat = Literal["json", "text"]

OURS = frozenset(
    {
        "app", "cli", "efficientnet_detector", "frame_extractor", "fusion", "gunicorn_config",
        "service", "syncnet_python", "syncnet_wrapper", "workflows", "__main__",
    }
)  # fmt: skip
"""Packages whose records are printed whole."""

# What gunicorn says of itself; its other lines may quote a request.
_GUNICORN = re.compile(
    r"Starting gunicorn|Listening at|Using worker|Booting worker|Handling signal|Worker exiting"
    r"|Worker \(pid:%s\)|WORKER TIMEOUT|Shutting down|Connection in use|Can't connect to"
    r"|Invalid address|Hang up|Parent changed|Quick shutdown"
)

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def setup(level: str, log_format: LogFormat, stream: IO[str] | None = None) -> None:
    """Send everything that this process logs to `stream` (standard error), uncaught exceptions
    and warnings included. May be called again, with other values."""
    handler = _Handler(stream)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    for former in [kept for kept in root.handlers if isinstance(kept, _Handler)]:
        root.removeHandler(former)
    handler.addFilter(_speaks_up)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    _quiet_dbos()
    # Only in place of Python's own: who has put something else there wants to know.
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _uncaught_in_thread


class _Handler(logging.StreamHandler[IO[str]]):
    """Ours, to be told from those of others."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts (UTC), level, logger, message, and what was given as extra."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "ts": _moment(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": said(record),
            **_extras(record),
        }
        if record.exc_info and record.exc_info[0]:
            fields["exception"] = record.exc_info[0].__name__
            fields["trace"] = _places(record.exc_info[2])
        return json.dumps(fields, default=str, ensure_ascii=True)


class TextFormatter(logging.Formatter):
    """The same for people, on one line but for the places that an exception passed."""

    def format(self, record: logging.LogRecord) -> str:
        line = (
            f"{_moment(record):%Y-%m-%d %H:%M:%S} {record.levelname} {record.name}: {said(record)}"
        )
        line += "".join(f" {name}={value}" for name, value in _extras(record).items())
        if record.exc_info and record.exc_info[0]:
            places = "\n  ".join(_places(record.exc_info[2]))
            line += f" exception={record.exc_info[0].__name__}\n  {places}"
        return line


def said(record: logging.LogRecord) -> str:
    """The message of a record, as far as nobody outside can have put anything into it."""
    package = record.name.partition(".")[0]
    template = str(record.msg)
    if package in OURS:
        return record.getMessage()
    if package == "gunicorn":
        if _GUNICORN.match(template):
            return record.getMessage()
        return re.split(r"\n| from ip=", template, maxsplit=1)[0]
    if package == "dbos":
        # Its own words, up to where it quotes an exception or a statement with its values.
        return re.split(r"[:\n\[]", template, maxsplit=1)[0]
    return template.partition("\n")[0] if record.args else template.partition(":")[0]


def _speaks_up(record: logging.LogRecord) -> bool:
    """The web server is heard from info on, others from warnings on: below, they name addresses
    and paths."""
    package = record.name.partition(".")[0]
    least = logging.INFO if package == "gunicorn" else logging.WARNING
    return package in OURS or record.levelno >= least


def _quiet_dbos() -> None:
    """Let its records pass through ours: it adds a handler of its own where it finds none."""
    dbos = logging.getLogger("dbos")
    for handler in dbos.handlers[:]:
        dbos.removeHandler(handler)
    dbos.addHandler(logging.NullHandler())
    dbos.propagate = True


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _extras(record: logging.LogRecord) -> dict[str, object]:
    """What was given as extra; others' extras are theirs, and left out."""
    if record.name.partition(".")[0] not in OURS:
        return {}
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _places(trace: TracebackType | None) -> list[str]:
    """Where an exception passed, outermost first: file:line function."""
    return [
        f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)
    ]


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger(__name__).critical("ended by an error", exc_info=(kind, error, trace))


def _uncaught_in_thread(given: threading.ExceptHookArgs) -> None:
    if given.exc_type is SystemExit:
        return
    error = given.exc_value or given.exc_type()
    logging.getLogger(__name__).critical(
        "a thread was ended by an error", exc_info=(given.exc_type, error, given.exc_traceback)
    )
