"""The pages, what they are made of, and `avsync.js`. Open to anybody: they hold texts and programs,
and ask for everything else as any client does.
"""

from functools import cache
from pathlib import Path

from flask import Blueprint, Response, current_app
from werkzeug.exceptions import NotFound

from service import openapi
from service.page import assets, docs
from service.page.assets import Asset
from service.settings import Settings

blueprint = Blueprint("page", __name__)

_HERE = Path(__file__).resolve().parent
STATIC = _HERE / "static"
PACKAGE = _HERE / "avsync"

POLICY = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "connect", "worker", "manifest")),
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        *(f"{what} 'none'" for what in ("base-uri", "form-action", "frame-ancestors")),
    )
)
"""What a page may load and do. Scripts are told it as well: a worker obeys the policy that its own
script came with."""

DEVICES = "camera=(self), microphone=(self)"


@blueprint.get("/")
def index() -> Response:
    return _file(STATIC, "index.html")


@blueprint.get("/history")
def history() -> Response:
    return _file(STATIC, "history.html")


@blueprint.get("/docs")
def interface() -> Response:
    settings: Settings = current_app.extensions["settings"]
    return _docs(settings.anonymous_allowed).response()


@blueprint.get("/static/<path:name>")
def static(name: str) -> Response:
    return _file(STATIC, name)


@blueprint.get("/avsync.js")
def script() -> Response:
    return _file(PACKAGE, "avsync.js")


@blueprint.get("/avsync.d.ts")
def types() -> Response:
    return _file(PACKAGE, "avsync.d.ts")


@blueprint.after_request
def _protect(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Permissions-Policy"] = DEVICES
    return response


def _file(folder: Path, name: str) -> Response:
    """Raises NotFound for a name that is no file of the folder, wherever it may lead."""
    if name not in assets.names(folder):
        raise NotFound("There is no such page or file.")
    return assets.read(folder / name).response()


@cache
def _docs(anonymous: bool) -> Asset:
    page = docs.render(openapi.document(anonymous=anonymous))
    return assets.made(page.encode(), "text/html")
