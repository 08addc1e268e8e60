"""A look at one file of a published Archive."""

from __future__ import annotations

from uuid import UUID

from flask import Response

from perdura.api.extents import file_extent
from perdura.api.problems import not_found
from perdura.packages import aip_payload
from perdura.web import door, showing
from perdura.web.holdings import holding, kind_of
from perdura.web.reading import Reading


def show(reading: Reading, archive_id: UUID, path: str) -> Response:
    """The page that shows one file of an Archive."""
    opened, row = door.file(reading, archive_id, path)
    name = aip_payload.names([row.path]).get(row.path, row.path)
    file = holding(row, opened.description.url, name)
    kind = kind_of(row.path, row.media_type)
    if kind is None or file.url is None:
        raise not_found("preview")
    shown = showing.look(reading.store, file_extent(opened.package, row), kind)
    response = reading.page("access_preview.html", description=opened.description, file=file, shown=shown)
    return showing.allow(response, shown, reading.settings)
