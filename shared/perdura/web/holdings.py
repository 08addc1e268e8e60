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

    @property
    def preview(self) -> str | None:
        """The page that shows the file, where its form can be shown."""
        if self.url is None or kind_of(self.path, self.media_type) is None:
            return None
        return self.url.replace("/files/", "/view/", 1)


_TEXTS = frozenset({"application/json", "application/xml", "application/ld+json", "application/yaml"})
_IMAGES = frozenset({"image/avif", "image/gif", "image/jpeg", "image/png", "image/webp"})
_TEXT_NAMES = (".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".log", ".py", ".yaml", ".yml", ".toml", ".ini", ".tex")


def kind_of(path: str, told: str | None) -> str | None:
    """How a file of that name and media type can be shown: `image`, `text`, `pdf` or `warc`; None when it cannot."""
    media_type, name = (told or "").split(";")[0].strip().lower(), path.lower()
    if name.endswith((".warc", ".warc.gz")) or media_type == "application/warc":
        return "warc"
    if media_type in _IMAGES:
        return "image"
    if media_type == "application/pdf":
        return "pdf"
    plain = media_type in ("text/html", "application/xhtml+xml", "image/svg+xml")
    if (
        media_type.startswith("text/")
        or media_type in _TEXTS
        or plain
        or (not media_type and name.endswith(_TEXT_NAMES))
    ):
        return "text"
    return None


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
