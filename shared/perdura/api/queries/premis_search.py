"""Search over the PREMIS events of all Archives, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.rights import visible_archives
from perdura.api.queries.rows import AnyRow
from perdura.premis import query
from perdura.premis.listed import instant
from perdura.premis.model import Event
from perdura.premis.query import Filter, Order, Place
from perdura.premis.tables import Kind
from perdura.registry.tables import Archive


@dataclass(frozen=True, slots=True)
class Found:
    """One event of the result, and the Archives it names that the caller may see, as (id, title)."""

    event: Event
    recorded: datetime
    archives: tuple[tuple[UUID, str], ...]


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A page of events; `last` is the sequence number to go on from, None at the end."""

    items: tuple[Found, ...]
    last: int | None


def page(
    connection: Connection, principal: Principal, matching: Filter, *, limit: int, before: int | None
) -> FoundPage:
    """At most `limit` matching events logged before the one with the sequence number `before`, the newest first.

    What the principal may not see is left out by the `sight` of the filter.
    """
    place = None if before is None else Place((before,))
    found = query.page(connection, matching, order=Order.ADDED, descending=True, limit=limit, place=place)
    shown = [(listed.event, instant(listed.recorded_micro)) for listed in found.events]
    named = _archives(connection, principal, {uuid for event, _ in shown for uuid in _uuids(event)})
    items = tuple(
        Found(event, recorded, tuple((named[uuid].id, named[uuid].title) for uuid in _uuids(event) if uuid in named))
        for event, recorded in shown
    )
    return FoundPage(items, found.events[-1].sequence if found.more else None)


def _uuids(event: Event) -> list[UUID]:
    found = []
    for thing in event.objects:
        try:
            found.append(UUID(thing.value))
        except ValueError:
            continue
    return found


def _archives(connection: Connection, principal: Principal, ids: set[UUID]) -> dict[UUID, AnyRow]:
    if not ids:
        return {}
    statement = select(Archive.id, Archive.title).where(Archive.id.in_(ids), visible_archives(principal))
    return {row.id: row for row in connection.execute(statement)}


def choices(connection: Connection) -> tuple[list[str], list[str]]:
    """Event types and outcomes that occur, for the form."""
    rows = connection.execute(select(Kind.type, Kind.outcomes)).all()
    return sorted({row.type for row in rows}), sorted({outcome for row in rows for outcome in row.outcomes})
