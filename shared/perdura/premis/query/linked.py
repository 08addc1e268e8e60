"""Pages of the events that name an object or an agent."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from perdura.premis.query.filters import Filter, Order, Place
from perdura.premis.query.kinds import Kinds
from perdura.premis.query.sql import CHANGED, COLUMNS, Sql, after, bounds, kind_starts, ordering
from perdura.premis.rows import object_key

COUNTED = 100_000
"""Links of one agent are counted up to here; a page then says that there are more."""

# Not `object = … OR bare = …`, for which the rows themselves would be read: each half is answered from an index.
_NAMED = (
    "FROM (SELECT sequence, kind_id, at, identifier, event_id FROM premis_object WHERE object = %s UNION ALL "
    "SELECT sequence, kind_id, at, identifier, event_id FROM premis_object WHERE bare = %s) l WHERE true"
)

_ALSO = "AND EXISTS (SELECT FROM premis_object o WHERE o.sequence = l.sequence AND"


def count_linked(connection: Connection, matching: Filter, kinds: Kinds | None) -> tuple[int, bool, int | None]:
    """(how many events match, whether there are more, when the log last changed)."""
    sql = Sql(["SELECT count(*),"]).add(CHANGED).add("FROM (SELECT")
    sql.add("DISTINCT sequence" if _by_name(matching) else "1")
    _links(sql, matching, kinds).add("LIMIT %s) c", COUNTED)
    counted, changed = sql.run(connection).one()
    return int(counted), counted >= COUNTED, changed


def linked_page(
    matching: Filter,
    kinds: Kinds | None,
    order: Order,
    descending: bool,
    offset: int,
    limit: int,
    place: Place | None,
) -> tuple[Sql, bool]:
    """(query of the ids of a page, whether it reads backwards)."""
    backwards = descending != (place is not None and place.backwards)
    sql = Sql()
    if order in (Order.DATE, Order.ADDED) and not _by_name(matching):
        sql.add("SELECT event_id")
        after(_links(sql, matching, kinds), order, place, backwards)
    elif order in (Order.DATE, Order.ADDED):
        _named(sql, matching, kinds, order, backwards, place, limit if place else offset + limit)
    else:
        ids, labels, _ = kind_starts(kinds, order, None, backwards) if kinds else ([], [], [])
        sql.add("SELECT event_id FROM (SELECT DISTINCT event_id, at, identifier, sequence,")
        sql.add('q.tag COLLATE "C" AS label FROM (SELECT *')
        _links(sql, matching, kinds).add(
            ") l JOIN unnest(CAST(%s AS bigint[]), CAST(%s AS text[])) AS q(kind, tag)", ids, labels
        )
        sql.add("ON q.kind = l.kind_id) m WHERE true")
        if place is not None:
            names = ", ".join(COLUMNS[order])
            marks = ", ".join(["%s"] * len(place.key))
            sql.add(f"AND ({names}) {'<' if backwards else '>'} ({marks})", *place.key)
    sql.add("ORDER BY").add(ordering(order, backwards))
    sql.add("LIMIT %s OFFSET %s", limit, 0 if place else offset)
    return sql, backwards


def _by_name(matching: Filter) -> bool:
    """Whether events are found by an object's name, which may stand for several objects of one event."""
    return matching.named_object is not None and matching.object is None and matching.agent is None


def _links(sql: Sql, matching: Filter, kinds: Kinds | None) -> Sql:
    """Rows of events that name the agent and the objects: each event once, unless it is found by an object's name."""
    name = object_key(matching.named_object or "")
    if _by_name(matching):
        return _picked(sql.add(_NAMED, name, name), matching, kinds)
    if matching.agent is not None:
        sql.add("FROM premis_agent_link l WHERE agent = %s", object_key(matching.agent))
    else:
        sql.add("FROM premis_object l WHERE object = %s", object_key(matching.object or ""))
    if matching.agent is not None and matching.object is not None:
        sql.add(_ALSO).add("o.object = %s)", object_key(matching.object))
    if matching.named_object is not None:
        sql.add(_ALSO).add("(o.object = %s OR o.bare = %s))", name, name)
    return _picked(sql, matching, kinds)


def _named(
    sql: Sql, matching: Filter, kinds: Kinds | None, order: Order, backwards: bool, place: Place | None, most: int
) -> None:
    """Add the ids of events that have an object of that name: the first `most` of either kind, read in their order."""
    once = f"SELECT DISTINCT ON ({', '.join(COLUMNS[order])})"
    sql.add(once).add("event_id FROM (")
    for number, column in enumerate(("object", "bare")):
        sql.add("UNION ALL" if number else "")
        sql.add("(").add(once).add("event_id, at, identifier, sequence FROM premis_object WHERE").add(column)
        sql.add("= %s", object_key(matching.named_object or ""))
        after(_picked(sql, matching, kinds), order, place, backwards)
        sql.add("ORDER BY").add(ordering(order, backwards)).add("LIMIT %s)", most)
    sql.add(") m")


def _picked(sql: Sql, matching: Filter, kinds: Kinds | None) -> Sql:
    """The conditions on kinds, dates and sight."""
    if kinds is not None and matching.of_kind:
        sql.add("AND kind_id = ANY (CAST(%s AS bigint[]))", kinds.ids)
    return bounds(sql, matching)
