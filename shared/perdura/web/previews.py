"""A look at one file without saving it: images, text, PDF, and what lies in a WARC. Works without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from uuid import UUID

from flask import Response

from perdura.api.headers import content_security_policy
from perdura.api.problems import not_found
from perdura.api.queries import files, published
from perdura.api.queries.rows import AnyRow
from perdura.packages.warc_listing import listing
from perdura.storage.store import ObjectRef
from perdura.web import door
from perdura.web.holdings import holding, kind_of
from perdura.web.reading import Reading

TEXT_SHOWN = 256 * 2**10
"""Bytes of a text that are shown; the rest is in the file."""


def show(reading: Reading, archive_id: UUID, path: str) -> Response:
    """The page that shows one file of an Archive."""
    _, description = door.content(reading, archive_id, f"files/{path}")
    package = published.aip(reading.connection, archive_id)
    row = files.one(reading.connection, package.id, path) if package is not None else None
    if package is None or row is None:
        raise not_found("file")
    file = holding(row, description.url)
    kind = kind_of(file.path, file.media_type)
    if kind is None or file.url is None:
        raise not_found("preview")
    response = reading.page(
        "access_preview.html",
        description=description,
        file=file,
        kind=kind,
        text=_text(reading, package, row) if kind == "text" else None,
        cut=row.size > TEXT_SHOWN,
        records=list(islice(listing(_bytes(reading, package, row)), 500)) if kind == "warc" else (),
    )
    if kind == "pdf":
        policy = content_security_policy(reading.settings)
        response.headers["Content-Security-Policy"] = f"{policy}; frame-src 'self'"
    return response


def _bytes(reading: Reading, package: AnyRow, row: AnyRow, length: int | None = None) -> Iterator[memoryview]:
    ref = ObjectRef(package.bucket, package.key, package.version_id, package.etag)
    size = row.size if length is None else min(length, row.size)
    return reading.store.stream(ref, row.offset, size) if size else iter(())


def _text(reading: Reading, package: AnyRow, row: AnyRow) -> str:
    data = b"".join(bytes(chunk) for chunk in _bytes(reading, package, row, TEXT_SHOWN))
    return data.decode("utf-8", "replace")
