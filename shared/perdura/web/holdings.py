"""The payload files of a published Archive as readers see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

OBJECTS = "data/objects/"
"""Folder of an AIP that holds what was deposited; METS and PREMIS lie beside it (architecture §5)."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One file: `path` as readers know it, `stored` as it lies in the AIP; `url` None when it cannot be read alone."""

    path: str
    stored: str
    size: int
    checksums: Mapping[str, str]
    format_name: str | None
    puid: str | None
    media_type: str | None
    url: str | None


def shown_path(stored: str) -> str:
    """The path without the folders that every AIP has."""
    for folder in (OBJECTS, "data/"):
        if stored.startswith(folder):
            return stored.removeprefix(folder)
    return stored


def holding(row: Any, archive_url: str) -> Holding:
    """A row of `package_file` as a reader sees it."""
    return Holding(
        path=shown_path(row.path),
        stored=row.path,
        size=row.size,
        checksums=row.checksums,
        format_name=row.format_name,
        puid=row.format_key,
        media_type=row.media_type,
        url=f"{archive_url}/files/{quote(row.path, safe='/')}" if row.offset is not None else None,
    )
