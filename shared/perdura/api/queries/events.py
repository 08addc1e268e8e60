"""PREMIS events of Archives, out of the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from sqlalchemy.engine import Connection, Engine

from perdura.premis import log
from perdura.premis.log import Stored
from perdura.premis.model import Event, Identifier
from perdura.premis.xml import document_pieces, object_element

_PAGE = 200


def page(connection: Connection, archive_id: UUID, *, limit: int, after: int = 0) -> Sequence[Stored]:
    """At most `limit` events that name the Archive, in the order of logging, after a sequence number."""
    return log.events_of(connection, archive_id=archive_id, limit=limit, after=after)


def every(engine: Engine, archive_id: UUID) -> Iterator[Event]:
    """All events that name the Archive, in the order of logging; no connection is held while they are sent."""
    after = 0
    while True:
        with engine.connect() as connection:
            found = page(connection, archive_id, limit=_PAGE, after=after)
        yield from (stored.event for stored in found)
        if len(found) < _PAGE:
            return
        after = found[-1].sequence


def premis_document(archive_id: UUID, events: Iterator[Event]) -> Iterator[bytes]:
    """One PREMIS 3.0 document in pieces: the Archive as an intellectual entity, and these events."""
    return document_pieces([object_element([Identifier("UUID", str(archive_id))])], events)
