"""Identifies formats against PRONOM with Siegfried, through pygfried (embedded-services.md §6, archivematica.md 8.3).

pygfried carries a runtime that does not survive `fork`, so it is imported at first use, inside the worker.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from perdura.ports import Identification

_WHOLE = 64 << 20
"""Files up to this size in bytes are identified from all of their bytes."""

_END = 1 << 20
"""Of larger files, so many bytes at the beginning and at the end."""

_MEMORY = "/dev/shm"  # noqa: S108 - only directories of our own are made in it
_NAME_LIMIT = 200
_UNUSUAL = re.compile("[^A-Za-z0-9._-]")
_BY_NAME = "match on extension only"
_EMPTY = Identification(None, None, None, None, False, "empty file")


class PronomIdentifier:
    """`FormatIdentifier` with the signatures that come with pygfried."""

    @cached_property
    def tool(self) -> str:
        """Siegfried's version and the names of its signature files."""
        with tempfile.TemporaryDirectory(prefix="perdura-format-") as directory:
            probe = Path(directory, "probe.txt")
            probe.write_bytes(b"probe\n")
            result = _pygfried().identify(str(probe), detailed=True)
        signatures = "; ".join(each["details"] for each in result["identifiers"])
        return f"Siegfried {result['siegfried']} ({signatures})"

    def identify(self, name: str, chunks: Iterator[bytes], size: int) -> Identification:
        """Identify one file; of one above 64 MiB only the first and the last MiB are looked at, which is noted."""
        with tempfile.TemporaryDirectory(prefix="perdura-format-") as directory:
            path = Path(directory, _safe(0, name))
            whole = size <= _WHOLE
            with path.open("wb") as file:
                position = 0
                for chunk in chunks:
                    end = position + len(chunk)
                    if whole or position < _END or end > size - _END:
                        file.seek(position)
                        file.write(chunk)
                    position = end
                file.truncate(size)
            found = self._identify([str(path)])[0]
        if whole:
            return found
        basis = f"{found.basis}; from the first and last MiB".removeprefix("; ")
        return Identification(found.name, found.version, found.key, found.media_type, found.tentative, basis)

    def identify_many(self, files: Sequence[tuple[str, bytes]]) -> Sequence[Identification]:
        """Identify files given as (name, content) in one call, in their order."""
        with tempfile.TemporaryDirectory(prefix="perdura-format-", dir=_memory_directory()) as directory:
            paths = []
            for number, (name, content) in enumerate(files):
                path = f"{directory}/{_safe(number, name)}"
                with open(path, "wb", buffering=0) as file:
                    file.write(content)
                paths.append(path)
            return self._identify(paths)

    def _identify(self, paths: Sequence[str]) -> list[Identification]:
        result = _pygfried().identify_many(list(paths), workers=2)
        by_name = {file["filename"]: file for file in result["files"]}
        return [_identification(by_name[path]) for path in paths]


def _memory_directory() -> str | None:
    """Where small files may lie for a moment without touching a disk, if this system has such a place."""
    return _MEMORY if os.access(_MEMORY, os.W_OK) else None


def _pygfried() -> ModuleType:
    import pygfried  # its runtime must not exist before the worker forks

    module: ModuleType = pygfried
    return module


def _safe(number: int, name: str) -> str:
    """A file name of our own that keeps the end of `name`: its extension speaks for the format."""
    return f"{number}-{_UNUSUAL.sub('_', name[-_NAME_LIMIT:])}"


def _identification(file: Mapping[str, Any]) -> Identification:
    if file["errors"] == "empty source":
        return _EMPTY
    match: Mapping[str, Any] = file["matches"][0] if file["matches"] else {}
    warning = match.get("warning", "")
    if match.get("id", "UNKNOWN") == "UNKNOWN":
        return Identification(None, None, None, None, False, warning or file["errors"])
    basis = "; ".join(part for part in (match["basis"], warning) if part)
    return Identification(
        match["format"] or None,
        match["version"] or None,
        match["id"],
        match["mime"] or None,
        warning == _BY_NAME,
        basis,
    )
