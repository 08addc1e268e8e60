"""A look at one file of a published Archive."""

from __future__ import annotations

from uuid import UUID

from flask import Response

from perdura.api.problems import not_found
from perdura.api.queries import files, published
from perdura.api.resources.packages import file_extent
from perdura.web import door, showing
from perdura.web.holdings import holding, kind_of
from perdura.web.reading import Reading


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
    shown = showing.look(reading.store, file_extent(package, row), kind)
    response = reading.page("access_preview.html", description=description, file=file, shown=shown)
    return showing.allow(response, shown, reading.settings)
