"""Pages of all events, or of those of some kinds, read in the order of an index."""

from __future__ import annotations

from datetime import date

from perdura.premis.query.filters import Filter, Order, Place
from perdura.premis.query.kinds import Kinds
from perdura.premis.query.sql import COLUMNS, Sql, after, bounds, kind_starts, ordering

FEW = 20_000
"""Up to so many matches are sorted; more are read in the order of an index."""

MERGED = 16
"""Up to so many kinds are merged in their order; of more, each gives as many as the page and all before it need."""


def plain_page(
    matching: Filter,
    kinds: Kinds | None,
    order: Order,
    descending: bool,
    offset: int,
    limit: int,
    place: Place | None,
    day: date | None,
    matches: int,
) -> tuple[Sql, bool]:
    """(query of the ids of a page, whether it reads backwards)."""
    backwards = descending != (place is not None and place.backwards)
    if place is not None:
        offset = 0
    sql = Sql()
    dated = matching.start is not None or matching.end is not None
    if kinds is None:
        sql.add("SELECT event_id FROM premis_event WHERE true")
        after(bounds(sql, matching, day, descending), order, place, backwards)
    elif dated and order is not Order.DATE and matches <= FEW:
        return _sorted_page(matching, kinds, order, backwards, offset, limit, place)
    else:
        _of_kinds(sql, matching, kinds, order, backwards, limit + offset, place, day)
    sql.add("ORDER BY").add(ordering(order, backwards)).add("LIMIT %s OFFSET %s", limit, offset)
    return sql, backwards


def _of_kinds(
    sql: Sql,
    matching: Filter,
    kinds: Kinds,
    order: Order,
    backwards: bool,
    most: int,
    place: Place | None,
    day: date | None,
) -> None:
    """Add the first `most` events of each kind, in their order, as x."""
    ids, labels, froms = kind_starts(kinds, order, place, backwards)
    inner = order if order in (Order.DATE, Order.ADDED) else Order.IDENTIFIER

    def add(kind: Sql, label: Sql, bound: Sql) -> None:
        sql.add("(SELECT event_id, at, identifier, sequence,").put(label).add('COLLATE "C" AS label')
        sql.add("FROM premis_event WHERE kind_id =").put(kind)
        after(bounds(sql, matching, day, backwards), order, place, backwards)
        if order in (Order.TYPE, Order.OUTCOME) and place is not None:
            sql.add("AND identifier").add("<" if backwards else ">").put(bound)
        sql.add("ORDER BY").add(ordering(inner, backwards)).add("LIMIT %s)", most)

    if 0 < len(ids) <= MERGED:
        sql.add("SELECT event_id FROM (")
        for number, (kind, label, bound) in enumerate(zip(ids, labels, froms, strict=True)):
            sql.add("UNION ALL" if number else "")
            add(Sql(["%s"], [kind]), Sql(["CAST(%s AS text)"], [label]), Sql(["%s"], [bound]))
        sql.add(") x")
        return
    sql.add(
        "SELECT event_id FROM unnest(CAST(%s AS bigint[]), CAST(%s AS text[]), CAST(%s AS text[]))", ids, labels, froms
    )
    sql.add("AS q(kind, tag, bound) CROSS JOIN LATERAL")
    add(Sql(["q.kind"]), Sql(["q.tag"]), Sql(["q.bound"]))
    sql.add("x")


def _sorted_page(
    matching: Filter,
    kinds: Kinds,
    order: Order,
    backwards: bool,
    offset: int,
    limit: int,
    place: Place | None,
) -> tuple[Sql, bool]:
    """A page of few matches: all of them found by their dates, then sorted."""
    ids, labels, _ = kind_starts(kinds, order, None, backwards)
    sql = Sql(["WITH m AS MATERIALIZED (SELECT event_id, identifier, sequence, kind_id FROM premis_event WHERE true"])
    bounds(sql, matching)
    if matching.of_kind:
        sql.add("AND kind_id = ANY (CAST(%s AS bigint[]))", ids)
    sql.add(') SELECT event_id FROM (SELECT m.*, q.tag COLLATE "C" AS label FROM m')
    sql.add(
        "JOIN unnest(CAST(%s AS bigint[]), CAST(%s AS text[])) AS q(kind, tag) ON q.kind = m.kind_id) m WHERE true",
        ids,
        labels,
    )
    if place is not None:
        columns = ", ".join(COLUMNS[order])
        marks = ", ".join(["%s"] * len(place.key))
        sql.add(f"AND ({columns}) {'<' if backwards else '>'} ({marks})", *place.key)
    sql.add("ORDER BY").add(ordering(order, backwards)).add("LIMIT %s OFFSET %s", limit, offset)
    return sql, backwards
