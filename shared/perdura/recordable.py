"""Text that strangers wrote, fit for a database and for JSON: what neither can hold becomes U+FFFD.

PostgreSQL has no NUL in its texts, UTF-8 no half of a surrogate pair; JSON from elsewhere may hold both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

Value = TypeVar("Value")

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""The characters that neither can hold."""


def storable(value: str) -> bool:
    """Whether a text can be recorded as it is."""
    return UNSTORABLE.search(value) is None


def text(value: str) -> str:
    """The text without what cannot be recorded."""
    return value if value.isascii() and "\x00" not in value else UNSTORABLE.sub("\ufffd", value)


def recordable(value: Value) -> Value:
    """The value with every text in it made recordable; the very same one where nothing had to be changed."""
    return cast("Value", _recordable(value))


def _recordable(value: Any) -> Any:
    if isinstance(value, str):
        return text(value) if type(value) is str else value
    if isinstance(value, Mapping):
        pairs = [(key, item, _recordable(key), _recordable(item)) for key, item in value.items()]
        same = all(new is key and made is item for key, item, new, made in pairs)
        return value if same else {new: made for _, _, new, made in pairs}
    if isinstance(value, list | tuple):
        items = [_recordable(item) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return items if isinstance(value, list) else tuple(items)
    if is_dataclass(value) and not isinstance(value, type):
        old = {each.name: getattr(value, each.name) for each in fields(value)}
        changed = {name: new for name, item in old.items() if (new := _recordable(item)) is not item}
        return replace(value, **changed) if changed else value
    return value
