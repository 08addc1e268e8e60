"""Pages of the events that name an object or an agent."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from perdura.premis.query.filters import Filter, Order, Place
from perdura.premis.query.kinds import Kinds
from perdura.premis.query.sql import COLUMNS, Sql, after, bounds, kind_starts, ordering
from perdura.premis.rows import object_key

COUNTED = 100_000
"""Links of one agent are counted up to here; a page then says that there are more."""


def count_linked(connection: Connection, matching: Filter, kinds: Kinds | None) -> tuple[int, bool]:
    """(how many events match, whether there are more)."""
    sql = Sql(
        [
            "SELECT count(*) FROM (SELECT DISTINCT sequence"
            if matching.named_object
            else "SELECT count(*) FROM (SELECT 1"
        ]
    )
    _links(sql, matching, kinds).add("LIMIT %s) c", COUNTED)
    counted = int(sql.run(connection).scalar_one())
    return counted, counted >= COUNTED


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
    if order in (Order.DATE, Order.ADDED) and not matching.named_object:
        sql.add("SELECT event_id")
        after(_links(sql, matching, kinds), order, place, backwards)
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


def _links(sql: Sql, matching: Filter, kinds: Kinds | None) -> Sql:
    """Rows of events that name the object or the agent, each event once."""
    if matching.agent is not None:
        sql.add("FROM premis_agent_link l WHERE agent = %s", object_key(matching.agent))
        if (named := matching.object or matching.named_object) is not None:
            sql.add(
                "AND EXISTS (SELECT 1 FROM premis_object o WHERE o.sequence = l.sequence AND o.object = %s)",
                object_key(named),
            )
    elif matching.object is not None:
        sql.add("FROM premis_object WHERE object = %s", object_key(matching.object))
    else:
        key = object_key(matching.named_object or "")
        sql.add("FROM premis_object WHERE (object = %s OR bare = %s)", key, key)
    if kinds is not None and matching.of_kind:
        sql.add("AND kind_id = ANY (CAST(%s AS bigint[]))", kinds.ids)
    return bounds(sql, matching)
