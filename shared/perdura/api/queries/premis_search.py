"""Search over the PREMIS events of all Archives, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, any_, literal, select
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Permission, Principal
from perdura.api.queries.rows import AnyRow
from perdura.premis import log
from perdura.premis.model import Event
from perdura.premis.rows import object_key
from perdura.premis.tables import Head, Kind, ObjectLink
from perdura.registry.tables import Archive


@dataclass(frozen=True, slots=True)
class Criteria:
    """Which events are wanted; an empty criterion lets all through."""

    type: str | None = None
    outcome: str | None = None
    object: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One event of the result, and the Archives it names that the caller may see, as (id, title)."""

    sequence: int
    event: Event
    archives: tuple[tuple[UUID, str], ...]


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A page of events; `last` is the sequence number to go on from, None at the end."""

    items: tuple[Found, ...]
    last: int | None


def page(
    connection: Connection, principal: Principal, criteria: Criteria, *, limit: int, before: int | None
) -> FoundPage:
    """At most `limit` events logged before the one with the sequence number `before`, the newest first.

    Events of Archives that the caller may not see are left out after the page is read, so it may be shorter.
    """
    conditions: list[ColumnElement[bool]] = []
    if criteria.type is not None:
        conditions.append(Kind.type == criteria.type)
    if criteria.outcome is not None:
        conditions.append(literal(criteria.outcome) == any_(Kind.outcomes))
    if criteria.object is not None:
        key = object_key(criteria.object)
        conditions.append(Head.sequence.in_(select(ObjectLink.sequence).where(ObjectLink.object == key)))
    if before is not None:
        conditions.append(Head.sequence < before)
    rows = connection.execute(
        select(Head.sequence, Head.xml, Head.premis_version)
        .join(Kind, Kind.id == Head.kind_id)
        .where(*conditions)
        .order_by(Head.sequence.desc())
        .limit(limit + 1)
    ).all()
    shown = [(row.sequence, log.read(row.xml, row.premis_version)) for row in rows[:limit]]
    named = _archives(connection, {uuid for _, event in shown for uuid in _uuids(event)})
    all_seen = principal.may(Permission.READ_RESTRICTED)
    items = []
    for sequence, event in shown:
        archives = [named[uuid] for uuid in _uuids(event) if uuid in named]
        if all_seen or not any(archive.restricted for archive in archives):
            items.append(Found(sequence, event, tuple((archive.id, archive.title) for archive in archives)))
    return FoundPage(tuple(items), shown[-1][0] if len(rows) > limit else None)


def _uuids(event: Event) -> list[UUID]:
    found = []
    for thing in event.objects:
        try:
            found.append(UUID(thing.value))
        except ValueError:
            continue
    return found


def _archives(connection: Connection, ids: set[UUID]) -> dict[UUID, AnyRow]:
    if not ids:
        return {}
    rows = connection.execute(select(Archive.id, Archive.title, Archive.restricted).where(Archive.id.in_(ids)))
    return {row.id: row for row in rows}


def choices(connection: Connection) -> tuple[list[str], list[str]]:
    """Event types and outcomes that occur, for the form."""
    rows = connection.execute(select(Kind.type, Kind.outcomes)).all()
    return sorted({row.type for row in rows}), sorted({outcome for row in rows for outcome in row.outcomes})
