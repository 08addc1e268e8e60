"""PREMIS events of an Archive, as JSON or as PREMIS 3.0 XML."""

from __future__ import annotations

from uuid import UUID

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api import cursors, presentation
from perdura.api.models.archives import EventPage, EventQuery
from perdura.api.operations import Call, Section
from perdura.api.problems import not_found
from perdura.api.queries import archives, events

section = Section("Events")

PREMIS_XML = "application/xml"


@section.get("/archives/<uuid:archive_id>/events", permission=Permission.READ, media=(PREMIS_XML,))
def list_events(call: Call, archive_id: UUID, query: EventQuery) -> EventPage:
    """PREMIS events of an Archive, oldest first.

    `format=premis`, or `Accept: application/xml`, answers one PREMIS 3.0 document with all of them.
    """
    if archives.find(call.connection, call.principal, archive_id) is None:
        raise not_found("Archive")
    if query.format == "premis" or _wants_xml(call):
        whole = events.premis_document(archive_id, events.every(call.connection, archive_id))
        return Response(whole, mimetype=PREMIS_XML)  # type: ignore[return-value]
    after = cursors.decode_sequence(query.cursor) if query.cursor is not None else 0
    found = events.page(call.connection, archive_id, limit=query.limit + 1, after=after)
    shown = found[: query.limit]
    return EventPage(
        items=[presentation.event(stored) for stored in shown],
        next=cursors.encode_sequence(shown[-1].sequence) if len(found) > query.limit else None,
    )


def _wants_xml(call: Call) -> bool:
    best = call.request.accept_mimetypes.best_match(["application/json", PREMIS_XML, "text/xml"])
    return best in {PREMIS_XML, "text/xml"}
