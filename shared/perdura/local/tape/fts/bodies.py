"""JSON bodies of requests to the FTS emulator, refused in FTS's own words (fts-cta.md 2.7)."""

from __future__ import annotations

import json
from typing import Any

from perdura.local.tape.fts.problems import Refused
from perdura.local.tape.fts.submission import Row
from perdura.local.tape.http import Request

_BAD = "Badly formatted JSON request"


def json_value(asked: Request, limit: int = 16 << 20) -> Any:
    """What the body says, whatever its kind. Raises Refused when it is no JSON, BodyTooLarge beyond `limit` bytes."""
    try:
        return json.loads(asked.content(limit))
    except ValueError as error:
        raise Refused(400, _BAD) from error


def json_object(asked: Request) -> Row:
    """The body as an object. Raises Refused when it is none, BodyTooLarge when it is too long."""
    document = json_value(asked)
    if not isinstance(document, dict):
        raise Refused(400, _BAD)
    return document
