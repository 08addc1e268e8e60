"""Pages of events: filters, total orders, keyset paging, totals from maintained counts (premis.md 1.8, 4.2).

At most three statements per page, none of which counts or scans the table: the kinds that a filter means (a few
dozen rows), total and place of the page by the counts per day, and the page itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from perdura.premis.listed import SELECT, SELECT_BARE, Listed
from perdura.premis.query.filters import PAGE, Filter, Order, Place
from perdura.premis.query.kinds import kinds_of
from perdura.premis.query.linked import count_linked, linked_page
from perdura.premis.query.plain import plain_page
from perdura.premis.query.sql import Sql
from perdura.premis.query.totals import located


@dataclass(frozen=True, slots=True)
class Page:
    """Events of one page, whether more follow, and how many match in all (at least, when `estimated`).

    `changed` is when the log last changed, in microseconds since 1970, if that was looked at.
    """

    events: list[Listed]
    more: bool
    total: int
    estimated: bool = False
    changed: int | None = None


def page(
    connection: Connection,
    matching: Filter,
    *,
    order: Order = Order.DATE,
    descending: bool = False,
    offset: int = 0,
    limit: int = PAGE,
    place: Place | None = None,
    bare: bool = False,
) -> Page:
    """The `limit` events from `offset` (or from `place`, which needs no counting to find).

    With `bare` they come without their XML.
    """
    kinds = None
    if matching.of_kind or order is not Order.DATE or matching.named_object is not None:
        kinds = kinds_of(connection, matching)
        if not kinds.rows:
            return Page([], False, 0)
    if matching.linked:
        total, estimated, changed = count_linked(connection, matching, kinds)
        ids, backwards = linked_page(matching, kinds, order, descending, offset, limit + 1, place)
    else:
        wanted = kinds.ids if kinds is not None and matching.of_kind else None
        by_day = order is Order.DATE and place is None and offset > 0
        total, changed, skipped, day = located(connection, matching, wanted, offset if by_day else None, descending)
        estimated = False
        if offset >= total > 0 and place is None:
            return Page([], False, total, changed=changed)
        ids, backwards = plain_page(matching, kinds, order, descending, offset - skipped, limit + 1, place, day, total)
    found = [Listed._make(each) for each in _fetch(connection, ids, order, backwards, bare)]
    more = len(found) > limit
    found = found[:limit]
    if place is not None and place.backwards:
        found.reverse()
        more = True
    return Page(found, more, total, estimated, changed)


def key_of(event: Listed, order: Order) -> tuple[Any, ...]:
    """The order key of an event, for a Place."""
    if order is Order.DATE:
        return (event.at, event.identifier)
    if order is Order.ADDED:
        return (event.sequence,)
    if order is Order.IDENTIFIER:
        return (event.identifier,)
    label = event.type if order is Order.TYPE else event.outcome
    return (label, event.identifier)


def _fetch(connection: Connection, inner: Sql, order: Order, backwards: bool, bare: bool) -> Any:
    """Heads of the event ids that `inner` gives, in their order."""
    outer = {
        Order.DATE: ("e.at", "e.identifier"),
        Order.ADDED: ("e.sequence",),
        Order.IDENTIFIER: ("e.identifier",),
        Order.TYPE: ("k.type", "e.identifier"),
        Order.OUTCOME: ("coalesce(k.outcomes[1], '')", "e.identifier"),
    }[order]
    sql = Sql([SELECT_BARE if bare else SELECT, "JOIN ("], []).put(inner)
    direction = "DESC" if backwards else "ASC"
    sql.add(") p ON p.event_id = e.event_id ORDER BY").add(", ".join(f"{each} {direction}" for each in outer))
    return sql.run(connection)
