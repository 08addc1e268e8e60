"""From the names an upstream uses to paths in a bag: safe, distinct, and as near to the original as can be.

The original name is never lost: it stays in the plan and in `sip.json` (harvesting.md 6.14, cern-oais-platform.md
20.5).
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

SEGMENT_BYTES = 240
"""Longest name of one file or folder: file systems allow 255 bytes, a suffix must still fit."""

PATH_BYTES = 850
"""Longest path below `data/content/`: an object key has 1024 bytes, our prefix takes its share."""


@dataclass(frozen=True, slots=True)
class Name:
    """A path below `data/content/`, and why it differs from the original (None when it does not)."""

    path: str
    reason: str | None = None


def safe_path(key: str) -> Name:
    """The path for one upstream name.

    Folders are kept. Control characters, backslashes and white space at the end of a segment become `_`; empty
    segments, `.` and `..` cannot climb; what is too long is cut and marked with a digest of the original.
    """
    segments = []
    for raw in key.split("/"):
        if raw in ("", "."):
            continue
        segment = "_" if raw == ".." else "".join("_" if _unsafe(char) else char for char in raw)
        if segment != segment.rstrip():
            bare = segment.rstrip()
            segment = bare + "_" * (len(segment) - len(bare))
        segments.append(_shortened(segment, SEGMENT_BYTES))
    path = "/".join(segments) or "_"
    if len(path.encode()) > PATH_BYTES:
        path = _shortened(segments[-1], PATH_BYTES)
    return Name(path, None if path == key else "the original name is not safe as a path")


def distinct_paths(keys: Sequence[str]) -> list[Name]:
    """Paths for many names, no two of them equal on any file system (case and Unicode form do not count).

    A name whose path is taken gets the first free number before its extension; a file named like the folder of
    another gets one too. The order of the names decides who keeps the plain path: the same plan, the same paths.
    """
    wanted = [safe_path(key) for key in keys]
    folders = {_folded(parent) for name in wanted for parent in _parents(name.path)}
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    given = []
    for name in wanted:
        path = name.path
        folded = place = _folded(path)
        while place in taken or place in folders:
            numbers[folded] = numbers.get(folded, 1) + 1
            path = _numbered(name.path, numbers[folded])
            place = _folded(path)
        taken.add(place)
        reason = name.reason if path == name.path else "another file has the same name"
        given.append(Name(path, reason))
    return given


def _unsafe(char: str) -> bool:
    return char == "\\" or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")


def _shortened(segment: str, limit: int) -> str:
    data = segment.encode()
    if len(data) <= limit:
        return segment
    mark = "~" + hashlib.sha256(data).hexdigest()[:8]
    stem, dot, extension = segment.rpartition(".")
    if not stem or len(extension.encode()) > 16:
        stem, dot, extension = segment, "", ""
    room = limit - len((mark + dot + extension).encode())
    return stem.encode()[:room].decode(errors="ignore") + mark + dot + extension


def _numbered(path: str, number: int) -> str:
    folder, slash, name = path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    return f"{folder}{slash}{stem}_{number}{dot}{extension}"


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]
