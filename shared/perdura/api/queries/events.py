"""PREMIS events of Archives, out of the log.

Of a reader's `sight` (`perdura.api.log_door.sight_of`) the same holds as in the search of the whole log: an event that
names an Archive hidden from them does not exist for them, also among those of an Archive that they see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from sqlalchemy.engine import Connection, Engine

from perdura.premis import log
from perdura.premis.log import Stored
from perdura.premis.model import Event, Identifier
from perdura.premis.query import Sight, unseen
from perdura.premis.xml import document_pieces, object_element

_PAGE = 200


def page(
    connection: Connection, archive_id: UUID, *, sight: Sight | None, limit: int, after: int = 0
) -> Sequence[Stored]:
    """At most `limit` events that name the Archive, in the order of logging, after a sequence number."""
    shown: list[Stored] = []
    while len(shown) < limit:
        found = log.events_of(connection, archive_id=archive_id, limit=limit, after=after)
        shown += _open(connection, archive_id, sight, found)
        if len(found) < limit:
            break
        after = found[-1].sequence
    return shown[:limit]


def every(engine: Engine, archive_id: UUID, sight: Sight | None) -> Iterator[Event]:
    """All events that name the Archive, in the order of logging; no connection is held while they are sent."""
    after = 0
    while True:
        with engine.connect() as connection:
            found = page(connection, archive_id, sight=sight, limit=_PAGE, after=after)
        yield from (stored.event for stored in found)
        if len(found) < _PAGE:
            return
        after = found[-1].sequence


def _open(connection: Connection, archive_id: UUID, sight: Sight | None, found: Sequence[Stored]) -> Sequence[Stored]:
    if sight is None:
        return found
    named = [set(stored.objects.lower().split(", ")) - {str(archive_id)} for stored in found]
    hidden = {str(each) for each in unseen(connection, sight, set[str]().union(*named))}
    return [stored for stored, names in zip(found, named, strict=True) if hidden.isdisjoint(names)]


def premis_document(archive_id: UUID, events: Iterator[Event]) -> Iterator[bytes]:
    """One PREMIS 3.0 document in pieces: the Archive as an intellectual entity, and these events."""
    return document_pieces([object_element([Identifier("UUID", str(archive_id))])], events)
