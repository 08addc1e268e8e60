"""Static files of the pages: addressed with a digest of their content, so that browsers may keep them for a year.

They lie below `/assets/`: `/static/` never reaches a function, the Flask of functions-framework answers it itself.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from flask import Request, Response

from perdura.api.problems import method_not_allowed, not_found

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
_FOLDER = "assets"


@cache
def _content(name: str) -> bytes | None:
    if "/" in name or name.startswith(".") or name.rpartition(".")[2] not in _TYPES:
        return None
    entry = files("perdura.web") / _FOLDER / name
    return entry.read_bytes() if entry.is_file() else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


@cache
def address(name: str) -> str:
    """The address of a static file; raises KeyError for one that is not there."""
    content = _content(name)
    if content is None:
        raise KeyError(name)
    return f"/assets/{name}?v={_digest(content)}"


def respond(request: Request, services: object = None) -> Response:  # noqa: ARG001
    """The answer to a request below `/assets/`."""
    if request.method not in {"GET", "HEAD"}:
        raise method_not_allowed(("GET", "HEAD"))
    name = request.path.removeprefix("/assets/")
    content = _content(name)
    if content is None:
        raise not_found("file")
    response = Response(content, content_type=_TYPES[name.rpartition(".")[2]])
    current = request.args.get("v") == _digest(content)
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if current else "no-cache"
    response.set_etag(_digest(content))
    response.make_conditional(request)
    return response
