"""How many events match, and on which day a page begins, from the maintained counts (premis.md 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from sqlalchemy.engine import Connection

from perdura.premis.query.filters import Filter, Sight
from perdura.premis.query.sql import CHANGED, Sql, seen


class Located(NamedTuple):
    """How many events match, when the log last changed, and, for a page: matches skipped, the day to begin with."""

    total: int
    changed: int | None
    skipped: int = 0
    day: date | None = None


def located(
    connection: Connection, matching: Filter, ids: Sequence[int] | None, offset: int | None, descending: bool
) -> Located:
    """Found by the counts per day, edges of days by an index range."""
    start, end = matching.start, matching.end
    first = start.astimezone(UTC).date() if start else None
    if start is not None and first is not None and not _midnight(start):
        first += timedelta(days=1) if first < date.max else timedelta()
    last = end.astimezone(UTC).date() if end else None
    whole = (start is None or _midnight(start)) and (end is None or _midnight(end))
    sql = Sql()
    sql.add("WITH d AS (SELECT day, sum(n) AS n FROM (")
    for number, (table, values) in enumerate(_counts(matching.sight)):
        sql.add("UNION ALL" if number else "").add("SELECT day, n FROM").add(table, *values).add("WHERE true")
        if first is not None:
            sql.add("AND day >= %s", first)
        if last is not None:
            sql.add("AND day < %s", last)
        if ids is not None:
            sql.add("AND kind_id = ANY (CAST(%s AS bigint[]))", list(ids))
    sql.add(") c GROUP BY day) SELECT").add(CHANGED).add(", (SELECT coalesce(sum(n), 0) FROM d)")
    if not whole:
        sql.add("+ (SELECT count(*) FROM premis_event WHERE")
        _edges(sql, matching)
        if ids is not None:
            sql.add("AND kind_id = ANY (CAST(%s AS bigint[]))", list(ids))
        seen(sql, matching).add(")")
    if offset is None or not whole:
        found = sql.run(connection).one()
        return Located(int(found[1]), found[0])
    sql.add(", w.upto - w.n, w.day FROM (SELECT day, n, sum(n) OVER (ORDER BY day")
    sql.add("DESC" if descending else "").add(") AS upto FROM d) w WHERE w.upto > %s ORDER BY upto LIMIT 1", offset)
    found = sql.run(connection).first()
    if found is None:
        return located(connection, matching, ids, None, descending)
    return Located(int(found[1]), found[0], int(found[2]), found[3])


def counted(connection: Connection, sight: Sight | None) -> Any:
    """Rows of (type, outcomes, day, number) of the events that a reader may see, from the maintained counts."""
    sql = Sql(["SELECT k.type, k.outcomes, c.day, sum(c.n)::bigint FROM ("])
    for number, (table, values) in enumerate(_counts(sight)):
        sql.add("UNION ALL" if number else "").add("SELECT day, kind_id, n FROM").add(table, *values)
    sql.add(") c JOIN premis_kind k ON k.id = c.kind_id GROUP BY k.type, k.outcomes, c.day HAVING sum(c.n) <> 0")
    return sql.run(connection)


def _counts(sight: Sight | None) -> list[tuple[str, tuple[Any, ...]]]:
    """What holds counts, and the values of its marks; events that are hidden count against them."""
    tables: list[tuple[str, tuple[Any, ...]]] = [("premis_count", ()), ("premis_count_delta", ())]
    if sight is not None:
        hidden = (
            f"SELECT DISTINCT o.sequence, (o.at AT TIME ZONE 'UTC')::date AS day, o.kind_id, -1 AS n {sight.events}"
        )
        tables.append((f"({hidden}) hidden", sight.values))
    return tables


def _edges(sql: Sql, matching: Filter) -> None:
    """The parts of a period that are no whole days."""
    start = matching.start
    end = matching.end
    edges = []
    first_end = None
    if start is not None and not _midnight(start):
        day = start.astimezone(UTC).date()
        first_end = datetime.combine(day, time(), UTC) + timedelta(days=1) if day < date.max else None
        edges.append((start, min(end, first_end) if end and first_end else (end or first_end)))
    if end is not None and not _midnight(end):
        begin = datetime.combine(end.astimezone(UTC).date(), time(), UTC)
        begin = max(begin, start) if start else begin
        if first_end is None or begin >= first_end:
            edges.append((begin, end))
    sql.add("(")
    for number, (low, high) in enumerate(edges):
        sql.add("OR" if number else "").add("(at >= %s", low)
        if high is not None:
            sql.add("AND at < %s", high)
        sql.add(")")
    sql.add(")")


def _midnight(instant: datetime) -> bool:
    return instant.astimezone(UTC).time() == time()
