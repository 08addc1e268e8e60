"""The dissemination package on demand: the files of a published Archive as one zip, made while it is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from flask import Response

from perdura.api.content import disposition, precondition, span_of
from perdura.api.problems import Problem
from perdura.api.queries import files, offers
from perdura.api.queries.rows import AnyRow
from perdura.clients.destinations import ACCESS_PAGES
from perdura.ids import derived_id
from perdura.packages import aip_payload, zip_stream
from perdura.steps.dip import made_event, premis_document
from perdura.storage.runs import Runs
from perdura.storage.store import ObjectRef, Store
from perdura.web import door, signposting
from perdura.web.reading import Reading

MOST_FILES = 100_000


def zipped(reading: Reading, archive_id: UUID) -> Response:
    """All files as one zip, `premis.xml` beside their folder. Its length is exact and a range of it can be had.

    409 for more files than it may hold.
    """
    opened = door.content(reading, archive_id, "files.zip")
    extents = _extents(reading, opened, archive_id)
    if not extents or len(extents) > MOST_FILES or any(extent.offset is None for extent in extents):
        raise Problem(409, "These files cannot be had as a zip; take the whole package.", "not-zippable")
    entries = _entries(reading.store, opened.package, f"{archive_id}/", extents)
    tag = _tag(opened.package, entries)
    premis = _premis(opened, tag, len(extents))
    entries.insert(0, zip_stream.Entry("premis.xml", len(premis), lambda start: (premis[start:],)))
    whole = zip_stream.length(entries)
    tag = f"{tag}-{hashlib.sha256(premis).hexdigest()[:16]}"
    response = Response(mimetype="application/zip")
    response.headers["Content-Disposition"] = disposition("attachment", f"{archive_id}.zip")
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Link"] = signposting.of_item(opened.description)
    response.set_etag(tag)
    if (status := precondition(reading.request, tag, None)) is not None:
        response.status_code = status
        return response
    span = span_of(reading.request, whole, tag, None)
    if span is False:
        return Response(status=416, headers={"Content-Range": f"bytes */{whole}"})
    start, stop = span if isinstance(span, tuple) else (0, whole)
    if isinstance(span, tuple):
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{whole}"
    response.content_length = stop - start
    if reading.request.method != "HEAD":
        chunks = zip_stream.stream(entries, opened.package.created_at)
        response.response = zip_stream.window(chunks, start, stop)
        response.direct_passthrough = True
    return response


class Extent(NamedTuple):
    """Where a file lies in the AIP, and what it is called in the zip."""

    name: str
    offset: int
    size: int


def _extents(reading: Reading, opened: door.Opened, archive_id: UUID) -> Sequence[Extent | AnyRow]:
    """What is offered; for whoever holds a pass the whole payload. In the order in which the bytes lie in the AIP."""
    connection, limit = reading.connection, MOST_FILES + 1
    if not opened.by_pass:
        return offers.extents(connection, archive_id, limit=limit)
    rows = files.page(connection, opened.package.id, limit=limit)
    payload = aip_payload.names(row.path for row in rows)
    found = [Extent(payload[row.path], row.offset, row.size) for row in rows if row.path in payload]
    return sorted(found, key=lambda extent: extent.offset or 0)


def _entries(store: Store, package: AnyRow, root: str, extents: Sequence[Extent | AnyRow]) -> list[zip_stream.Entry]:
    """The entries below the folder `root`; neighbours in the AIP are read in one stream."""
    ref = ObjectRef(package.bucket, package.key, package.version_id, package.etag)
    reader = Runs(store, ref, [(extent.offset, extent.size) for extent in extents])

    def entry(name: str, offset: int, size: int) -> zip_stream.Entry:
        return zip_stream.Entry(root + name, size, lambda start: reader.read(offset + start, size - start))

    return [entry(extent.name, extent.offset, extent.size) for extent in extents]


def _premis(opened: door.Opened, tag: str, files: int) -> bytes:
    """What the zip was made of, and since when it can be had: the same for the same files."""
    aip = UUID(str(opened.package.id))
    identity = derived_id("dip", aip, ACCESS_PAGES, tag)
    at = opened.package.created_at if opened.by_pass else opened.description.published_at
    made = made_event(derived_id("premis/dip", identity, at), identity, aip, ACCESS_PAGES, files, at)
    return premis_document(identity, aip, made)


def _tag(package: AnyRow, entries: Sequence[zip_stream.Entry]) -> str:
    """What changes with the bytes of the zip: those of the AIP, and which of its files are called what."""
    names = hashlib.sha256("\0".join(entry.path for entry in entries).encode())
    return f"zip-{package.checksums.get('sha256', package.id)}-{names.hexdigest()[:32]}"
