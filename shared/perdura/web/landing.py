"""The landing page of a published Archive, its machine-readable forms, and its bytes."""

from __future__ import annotations

import json
from functools import partial
from typing import Any
from uuid import UUID

from flask import Response

from perdura.accounts.principals import ANONYMOUS
from perdura.api.content import serve
from perdura.api.extents import file_extent, package_extent
from perdura.api.log_door import sight_of
from perdura.api.queries import events, offers, published
from perdura.api.queries.rows import AnyRow
from perdura.web import door, file_list, public_history, schema_org, signposting
from perdura.web.description import Description
from perdura.web.holdings import Holding, holding
from perdura.web.reading import Reading

FILES_LINKED = 10_000
"""Files named in one link set or JSON document."""

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
    offer = offers.find(reading.connection, archive_id)
    damaged = _is_damaged(reading, offer)
    found, more = _holdings(reading, description, file_list.SHOWN, damaged=damaged)
    response = reading.page(
        "landing.html",
        description=description,
        offer=offer,
        damaged=damaged,
        holdings=found,
        more=more,
        versions=[reading.describe(other) for other in published.versions(reading.connection, row.resource_id)],
        embargo=description.embargo,
        json_ld=schema_org.embedded(schema_org.json_ld(description, found)),
    )
    response.headers["Link"] = signposting.header(description, found, complete=not more)
    response.vary.add("Accept")
    return response


def _is_damaged(reading: Reading, offer: AnyRow | None) -> bool:
    """Whether nothing that is offered can be had, because the copy that it is read from was found damaged or lost."""
    return offer is not None and published.is_damaged(reading.connection, offer.id)


def _holdings(reading: Reading, description: Description, limit: int, *, damaged: bool) -> tuple[list[Holding], bool]:
    """Files that are offered, and whether there are more of them; what is `damaged` has no address."""
    rows = offers.page(reading.connection, description.id, limit=limit + 1)
    return [holding(row, description.url, row.name, shut=damaged) for row in rows[:limit]], len(rows) > limit


def _form(reading: Reading, archive_id: UUID) -> tuple[Description, list[Holding]]:
    _, description = door.known(reading, archive_id)
    damaged = _is_damaged(reading, offers.find(reading.connection, archive_id))
    return description, _holdings(reading, description, FILES_LINKED, damaged=damaged)[0]


def as_json(reading: Reading, archive_id: UUID) -> Response:
    """What is known of the Archive, with its files, as plain JSON; `damaged` says that none of them can be had."""
    description, found = _form(reading, archive_id)
    offer = offers.find(reading.connection, archive_id)
    damaged = _is_damaged(reading, offer)
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
        "embargo": description.embargo.isoformat() if description.embargo else None,
        "damaged": damaged,
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
        "links": {name: f"{description.url}/{name}" for name in _ways(None if damaged else offer)},
    }
    return _json(reading, description, value, "application/json")


def _ways(offer: AnyRow | None) -> list[str]:
    """What else there is of an Archive, by the end of its address."""
    whole = ["aip"] if offer is not None and offer.content == "aip" else []
    together = ["files.zip"] if offer is not None and offer.files else []
    return [*whole, *together, "premis.xml", "linkset.json"]


def as_json_ld(reading: Reading, archive_id: UUID) -> Response:
    """schema.org metadata."""
    description, found = _form(reading, archive_id)
    return _json(reading, description, schema_org.json_ld(description, found), "application/ld+json")


def as_datacite(reading: Reading, archive_id: UUID) -> Response:
    """DataCite metadata."""
    description, found = _form(reading, archive_id)
    value = schema_org.datacite(description, found)
    return _json(reading, description, value, "application/vnd.datacite.datacite+json")


def as_linkset(reading: Reading, archive_id: UUID) -> Response:
    """All Signposting links."""
    description, found = _form(reading, archive_id)
    return _json(reading, description, signposting.linkset(description, found), signposting.LINKSET)


def as_premis(reading: Reading, archive_id: UUID) -> Response:
    """What happened to the Archive, as far as strangers may know it, as PREMIS 3.0 XML."""
    _, description = door.known(reading, archive_id)
    package = published.aip(reading.connection, archive_id)
    known = {str(archive_id), *([str(package.id)] if package is not None else ())}
    seen = events.every(reading.connection.engine, archive_id, sight_of(ANONYMOUS))
    told = public_history.public(seen, known)
    body = b"".join(events.premis_document(archive_id, told))
    response = Response(body, mimetype="application/xml")
    response.headers["Link"] = signposting.of_metadata(description)
    return response


def _json(reading: Reading, description: Description, value: dict[str, Any], media_type: str) -> Response:
    response = Response(json.dumps(value, ensure_ascii=False), mimetype=media_type)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Access-Control-Allow-Origin"] = "*"
    if media_type != signposting.LINKSET:
        response.headers["Link"] = signposting.of_metadata(description)
    response.add_etag()
    response.make_conditional(reading.request)
    return response


def list_files(reading: Reading, archive_id: UUID) -> Response:
    """The files of an Archive with too many for its landing page, a page of them at a time."""
    _, description = door.known(reading, archive_id)
    damaged = _is_damaged(reading, offers.find(reading.connection, archive_id))
    found = file_list.read(
        partial(offers.page, reading.connection, archive_id),
        reading.request.args,
        lambda row: holding(row, description.url, row.name, shut=damaged),
        f"{description.url}/files",
    )
    shown = {"list": found, "holdings": found.holdings, "embargo": description.embargo, "damaged": damaged}
    return reading.page("access_files.html", description=description, **shown)


def file(reading: Reading, archive_id: UUID, path: str) -> Response:
    """One file, by range out of the AIP; `?view=1` shows what is harmless to show."""
    opened, row = door.file(reading, archive_id, path)
    view = reading.request.args.get("view") == "1"
    response = serve(reading.request, reading.store, file_extent(opened.package, row), view=view)
    response.headers["Link"] = signposting.of_item(opened.description)
    return response


def aip(reading: Reading, archive_id: UUID) -> Response:
    """The whole AIP, by range if wanted."""
    opened = door.content(reading, archive_id, "aip")
    response = serve(reading.request, reading.store, package_extent(opened.package))
    response.headers["Link"] = signposting.of_item(opened.description)
    return response
