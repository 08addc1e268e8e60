"""The landing page of a published Archive, its machine-readable forms, and its bytes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import Response

from perdura.api.content import disposition, serve, span_of
from perdura.api.problems import Problem, not_found
from perdura.api.queries import events, files, published
from perdura.api.queries.rows import AnyRow
from perdura.api.resources.packages import file_extent, package_extent
from perdura.packages import zip_stream
from perdura.registry import embargo
from perdura.storage.store import ObjectRef
from perdura.web import door, file_list, schema_org, signposting
from perdura.web.description import Description
from perdura.web.holdings import OBJECTS, Holding, holding
from perdura.web.reading import Reading

FILES_LINKED = 10_000
"""Files named in one link set or JSON document."""
ZIPPED_FILES = 100_000

_FORMS = ("text/html", "application/json", "application/ld+json", "application/vnd.datacite.datacite+json")


def show(reading: Reading, archive_id: UUID) -> Response:
    """The landing page; a client that asks for another form of it gets that one."""
    wanted = reading.request.accept_mimetypes.best_match(_FORMS, default="text/html")
    if wanted != "text/html":
        form = {_FORMS[1]: as_json, _FORMS[2]: as_json_ld, _FORMS[3]: as_datacite}[wanted]
        response = form(reading, archive_id)
        response.vary.add("Accept")
        return response
    row, description = door.known(reading, archive_id)
    package = published.aip(reading.connection, archive_id)
    found, more = _holdings(reading, description, package, file_list.SHOWN)
    shut = embargo.ends(row.metadata, datetime.now(UTC))
    count, size = files.totals(reading.connection, package.id, OBJECTS) if package is not None else (0, 0)
    response = reading.page(
        "landing.html",
        description=description,
        package=package,
        holdings=found,
        more=more,
        count=count,
        size=size,
        versions=[reading.describe(other) for other in published.versions(reading.connection, row.resource_id)],
        embargo=shut,
        json_ld=schema_org.embedded(schema_org.json_ld(description, found)),
    )
    response.headers["Link"] = signposting.header(description, found, complete=not more)
    response.vary.add("Accept")
    return response


def _holdings(
    reading: Reading, description: Description, package: AnyRow | None, limit: int
) -> tuple[list[Holding], bool]:
    """Files of the payload, and whether there are more of them."""
    if package is None:
        return [], False
    rows = files.page(reading.connection, package.id, limit=limit + 1, prefix=OBJECTS)
    return [holding(row, description.url) for row in rows[:limit]], len(rows) > limit


def _form(reading: Reading, archive_id: UUID) -> tuple[Description, list[Holding]]:
    _, description = door.known(reading, archive_id)
    package = published.aip(reading.connection, archive_id)
    return description, _holdings(reading, description, package, FILES_LINKED)[0]


def as_json(reading: Reading, archive_id: UUID) -> Response:
    """What is known of the Archive, with its files, as plain JSON."""
    description, found = _form(reading, archive_id)
    value = {
        "id": str(description.id),
        "title": description.title,
        "url": description.url,
        "citation": description.citation,
        "creators": list(description.creators),
        "date": description.date,
        "publisher": description.publisher,
        "description": description.description,
        "version": description.version,
        "doi": description.doi,
        "licences": list(description.licences),
        "source": {"name": description.source, "recid": description.recid, "url": description.source_url},
        "published": description.published_at.isoformat(),
        "files": [
            {
                "path": entry.path,
                "size": entry.size,
                "checksums": dict(entry.checksums),
                "format": {"name": entry.format_name, "puid": entry.puid, "media_type": entry.media_type},
                "url": entry.url,
            }
            for entry in found
        ],
        "links": {name: f"{description.url}/{name}" for name in ("aip", "files.zip", "premis.xml", "linkset.json")},
    }
    return _json(reading, value, "application/json")


def as_json_ld(reading: Reading, archive_id: UUID) -> Response:
    """schema.org metadata."""
    return _json(reading, schema_org.json_ld(*_form(reading, archive_id)), "application/ld+json")


def as_datacite(reading: Reading, archive_id: UUID) -> Response:
    """DataCite metadata."""
    value = schema_org.datacite(*_form(reading, archive_id))
    return _json(reading, value, "application/vnd.datacite.datacite+json")


def as_linkset(reading: Reading, archive_id: UUID) -> Response:
    """All Signposting links."""
    return _json(reading, signposting.linkset(*_form(reading, archive_id)), signposting.LINKSET)


def as_premis(reading: Reading, archive_id: UUID) -> Response:
    """What happened to the Archive, as PREMIS 3.0 XML."""
    _, description = door.known(reading, archive_id)
    body = events.premis_document(archive_id, events.every(reading.connection, archive_id))
    response = Response(body, mimetype="application/xml")
    response.headers["Link"] = signposting.back_link(description.url)
    return response


def _json(reading: Reading, value: dict[str, Any], media_type: str) -> Response:
    response = Response(json.dumps(value, ensure_ascii=False), mimetype=media_type)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.add_etag()
    response.make_conditional(reading.request)
    return response


def list_files(reading: Reading, archive_id: UUID) -> Response:
    """The files of an Archive with too many for its landing page, a page of them at a time."""
    row, description = door.known(reading, archive_id)
    package = published.aip(reading.connection, archive_id)
    found = file_list.read(
        reading.connection,
        package,
        reading.request.args,
        lambda row, _: holding(row, description.url),
        f"{description.url}/files",
        prefix=OBJECTS,
    )
    shut = embargo.ends(row.metadata, datetime.now(UTC))
    return reading.page("access_files.html", description=description, list=found, holdings=found.holdings, embargo=shut)


def file(reading: Reading, archive_id: UUID, path: str) -> Response:
    """One file, by range out of the AIP; `?view=1` shows what is harmless to show."""
    _, description = door.content(reading, archive_id, f"files/{path}")
    package = published.aip(reading.connection, archive_id)
    row = files.one(reading.connection, package.id, path) if package is not None else None
    if package is None or row is None:
        raise not_found("file")
    response = serve(
        reading.request, reading.store, file_extent(package, row), view=reading.request.args.get("view") == "1"
    )
    response.headers["Link"] = signposting.back_link(description.url)
    return response


def aip(reading: Reading, archive_id: UUID) -> Response:
    """The whole AIP, by range if wanted."""
    _, description = door.content(reading, archive_id, "aip")
    package = published.aip(reading.connection, archive_id)
    if package is None:
        raise not_found("package")
    response = serve(reading.request, reading.store, package_extent(package))
    response.headers["Link"] = signposting.back_link(description.url)
    return response


def zipped(reading: Reading, archive_id: UUID) -> Response:
    """All files as one zip, made while it is sent; its length is exact and a range of it can be had."""
    _, description = door.content(reading, archive_id, "files.zip")
    package = published.aip(reading.connection, archive_id)
    if package is None:
        raise not_found("package")
    rows = files.page(reading.connection, package.id, limit=ZIPPED_FILES + 1, prefix=OBJECTS)
    if len(rows) > ZIPPED_FILES or any(row.offset is None for row in rows):
        raise Problem(409, "These files cannot be had as a zip; take the whole package.", "not-zippable")
    entries = [_zip_entry(reading, description, package, row) for row in rows]
    whole = zip_stream.length(entries)
    tag = f"zip-{package.checksums.get('sha256', package.id)}"
    response = Response(mimetype="application/zip")
    response.headers["Content-Disposition"] = disposition("attachment", f"{archive_id}.zip")
    response.headers["Accept-Ranges"] = "bytes"
    response.set_etag(tag)
    span = span_of(reading.request, whole, tag, None)
    if span is False:
        return Response(status=416, headers={"Content-Range": f"bytes */{whole}"})
    start, stop = span if isinstance(span, tuple) else (0, whole)
    if isinstance(span, tuple):
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{whole}"
    response.content_length = stop - start
    if reading.request.method != "HEAD":
        response.response = zip_stream.window(zip_stream.stream(entries, package.created_at), start, stop)
        response.direct_passthrough = True
    return response


def _zip_entry(reading: Reading, description: Description, package: AnyRow, row: AnyRow) -> zip_stream.Entry:
    ref = ObjectRef(package.bucket, package.key, package.version_id, package.etag)
    store, offset, size = reading.store, row.offset, row.size
    name = f"{description.id}/{holding(row, description.url).path}"
    return zip_stream.Entry(name, size, lambda: store.stream(ref, offset, size) if size else ())
