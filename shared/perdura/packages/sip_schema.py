"""Fields that sip.json may have, and of which kind they are (cern-oais-platform.md 2, 21).

A field that is not in these tables is refused unless it is an object: extensions go into one object of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Kind = tuple[type | None, ...]
_TEXT: Kind = (str,)
_MAYBE_TEXT: Kind = (str, None)
_INT: Kind = (int,)
_NUMBER: Kind = (int, float)

TOP_FIELDS: Mapping[str, tuple[bool, Kind]] = {
    "$schema": (False, _TEXT),
    "created_by": (True, _TEXT),
    "audit": (True, (list,)),
    "source": (True, _MAYBE_TEXT),
    "recid": (False, _MAYBE_TEXT),
    "resource_id": (False, _MAYBE_TEXT),
    "metadataFile_upstream": (False, _MAYBE_TEXT),
    "contentFiles": (False, (list,)),
    "files": (False, (list,)),
    "sip_creation_timestamp": (True, _INT),
    "usr-meta": (False, (dict, None)),
    "source_details": (False, (dict, None)),
    "author": (False, _MAYBE_TEXT),
}
"""Name -> (required, kinds); None stands for null."""

ENTRY_FIELDS: Mapping[str, tuple[bool, Kind]] = {
    "origin": (False, (dict, None)),
    "size": (False, (int, str, None)),
    "bagpath": (False, _TEXT),
    "metadata": (False, (bool,)),
    "downloaded": (True, (bool,)),
    "checksum": (False, (list, str)),
    "rawstat": (False, (dict,)),
    "date": (False, (*_NUMBER, str, None)),
    "creator": (False, _MAYBE_TEXT),
}


def check_fields(
    value: Mapping[str, Any],
    fields: Mapping[str, tuple[bool, Kind]],
    place: str,
    fault: Callable[[str, str], None],
) -> None:
    """Report missing and unknown fields and those of the wrong kind; `place` is put before each name."""
    for name, (required, kinds) in fields.items():
        if name not in value:
            if required:
                fault(place + name, "required")
        elif not _is(value[name], kinds):
            fault(place + name, "of the wrong kind")
    for name, found in value.items():
        if name not in fields and not isinstance(found, dict):
            fault(f"{place}{name[:80]}", "unknown")


def _is(value: Any, kinds: Kind) -> bool:
    if value is None:
        return None in kinds
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, tuple(kind for kind in kinds if kind is not None))
