"""JSON that people can read and compare line by line: one line for each member, and for each item of a list.

`json.dumps(indent=…)` leaves C for Python, which costs more for a record of a thousand files than their digests do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_ENCODE = json.JSONEncoder(ensure_ascii=False).encode


def legible(value: Mapping[str, Any]) -> str:
    """The object as JSON; lone surrogates stay as they are."""
    return "{\n" + ",\n".join(f"{_ENCODE(name)}: {_member(item)}" for name, item in value.items()) + "\n}\n"


def written(value: Mapping[str, Any]) -> bytes:
    """The object as JSON in UTF-8.

    What is no text of Unicode (a name on a disk may be of any bytes) is escaped, so that the document stays one that
    every reader takes, and the name can be made again of it.
    """
    return legible(value).encode("utf-8", "backslashreplace")


def _member(value: Any) -> str:
    if isinstance(value, list) and len(value) > 1:
        return "[\n  " + ",\n  ".join(map(_ENCODE, value)) + "\n ]"
    return _ENCODE(value)
