"""PREMIS events: of an Archive, as JSON or as PREMIS 3.0 XML; of the whole log, searched."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api import cursors, presentation
from perdura.api.log_door import sight_of
from perdura.api.models.archives import EventPage, EventQuery, EventSearch, FoundEventPage
from perdura.api.operations import Call, Section
from perdura.api.queries import events, premis_search
from perdura.api.sight import seen
from perdura.premis.query import Filter

section = Section("Events")

PREMIS_XML = "application/xml"


@section.get("/archives/<uuid:archive_id>/events", permission=Permission.READ, media=(PREMIS_XML,))
def list_events(call: Call, archive_id: UUID, query: EventQuery) -> EventPage:
    """PREMIS events of an Archive, oldest first.

    `format=premis`, or `Accept: application/xml`, answers one PREMIS 3.0 document with all of them.
    """
    seen(call, archive_id)
    sight = sight_of(call.principal)
    if query.format == "premis" or _wants_xml(call):
        whole = events.premis_document(archive_id, events.every(call.services.engine, archive_id, sight))
        return Response(whole, mimetype=PREMIS_XML)  # type: ignore[return-value]
    after = cursors.decode_sequence(query.cursor) if query.cursor is not None else 0
    found = events.page(call.connection, archive_id, sight=sight, limit=query.limit + 1, after=after)
    shown = found[: query.limit]
    return EventPage(
        items=[presentation.event(stored) for stored in shown],
        next=cursors.encode_sequence(shown[-1].sequence) if len(found) > query.limit else None,
    )


@section.get("/events", permission=Permission.READ)
def search_events(call: Call, query: EventSearch) -> FoundEventPage:
    """PREMIS events of the whole log, the latest first; those of hidden Archives are left out."""
    matching = Filter(
        exact_type=query.type,
        exact_outcome=query.outcome,
        start=_midnight(query.since) if query.since else None,
        end=_midnight(query.until, days=1) if query.until else None,
        object=query.object,
        agent=query.agent,
        sight=sight_of(call.principal),
    )
    before = cursors.decode_sequence(query.cursor) if query.cursor is not None else None
    found = premis_search.page(call.connection, call.principal, matching, limit=query.limit, before=before)
    return FoundEventPage(
        items=[presentation.found_event(each) for each in found.items],
        next=cursors.encode_sequence(found.last) if found.last is not None else None,
    )


def _midnight(day: date, days: int = 0) -> datetime:
    """The beginning of a day (UTC), or of one after it; the last day there is has none after it."""
    return datetime.combine(min(day, date.max - timedelta(days=days)) + timedelta(days=days), time.min, UTC)


def _wants_xml(call: Call) -> bool:
    best = call.request.accept_mimetypes.best_match(["application/json", PREMIS_XML, "text/xml"])
    return best in {PREMIS_XML, "text/xml"}
