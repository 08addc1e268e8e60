"""The payload files of a package as readers of the access pages and people of the registry see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from perdura.api import presentation
from perdura.api.queries.rows import AnyRow


@dataclass(frozen=True, slots=True)
class Holding:
    """One file: `path` as it is shown, `stored` as it lies in the package; `url` None when it cannot be read alone.

    `preview` is the page that shows it, where its form can be shown.
    """

    path: str
    stored: str
    size: int
    checksums: Mapping[str, str]
    format_name: str | None
    puid: str | None
    media_type: str | None
    url: str | None
    preview: str | None = None


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


def holding(row: AnyRow, archive_url: str, name: str, *, shut: bool = False) -> Holding:
    """A row of `package_file` as a reader of the access pages sees it, who knows it by that name.

    Without addresses while it is `shut`.
    """
    url = f"{archive_url}/files/{quote(row.path, safe='/')}" if row.offset is not None and not shut else None
    return _holding(row, name, url, f"{archive_url}/view")


def in_package(row: AnyRow, package: AnyRow, *, shut: bool) -> Holding:
    """The same with its whole path, as the API gives it; without addresses while it is `shut`."""
    url = presentation.file(row, package, shut=shut).links.get("content")
    return _holding(row, row.path, url, f"/archives/{package.archive_id}/packages/{package.id}/view")


def _holding(row: AnyRow, path: str, url: str | None, views: str) -> Holding:
    shown = url is not None and kind_of(path, row.media_type) is not None
    return Holding(
        path=path,
        stored=row.path,
        size=row.size,
        checksums=row.checksums,
        format_name=row.format_name,
        puid=row.format_key,
        media_type=row.media_type,
        url=url,
        preview=f"{views}/{quote(row.path, safe='/')}" if shown else None,
    )
