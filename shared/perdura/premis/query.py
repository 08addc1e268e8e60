"""Pages of events: filters, total orders, keyset paging, totals from maintained counts (premis.md 1.8, 4.2).

At most three statements per page, none of which counts or scans the table: the kinds that a filter means (a few
dozen rows), total and place of the page by the counts per day, and the page itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy.engine import Connection

from perdura.premis.log import SELECT, SELECT_BARE, Stored, stored_from
from perdura.premis.rows import object_key

PAGE = 200
FEW = 20_000
"""Up to so many matches are sorted; more are read in the order of an index."""


class Order(StrEnum):
    """What events are ordered by; the identifier is the tie-break of all but the order of logging."""

    DATE = "event_date_time"
    IDENTIFIER = "event_identifier"
    TYPE = "event_type"
    OUTCOME = "event_outcome"
    ADDED = "event_added"


@dataclass(frozen=True, slots=True)
class Filter:
    """What events must match, all of it. `type` and `outcome` are parts of values, the others whole values.

    `start` is inclusive, `end` exclusive. `named_object` also matches the bare name of an ARK.
    """

    type: str | None = None
    outcome: str | None = None
    exact_type: str | None = None
    exact_outcome: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    object: str | None = None
    named_object: str | None = None
    agent: str | None = None

    @property
    def of_kind(self) -> bool:
        """Whether type or outcome matter."""
        return any(each is not None for each in (self.type, self.outcome, self.exact_type, self.exact_outcome))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: after (or before) an event given by its order key."""

    key: tuple[Any, ...]
    backwards: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Events of one page, whether more follow, and how many match in all (at least, when `estimated`)."""

    events: list[Stored]
    more: bool
    total: int
    estimated: bool = False


@dataclass(slots=True)
class _Sql:
    parts: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, text: str, *values: object) -> _Sql:
        self.parts.append(text)
        self.values.extend(values)
        return self

    def run(self, connection: Connection) -> Any:
        return connection.exec_driver_sql(" ".join(self.parts), tuple(self.values))


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds that a filter means: (id, type, first outcome)."""

    rows: tuple[tuple[int, str, str], ...]

    @property
    def ids(self) -> list[int]:
        """Their ids."""
        return [each[0] for each in self.rows]


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
    linked = matching.object is not None or matching.named_object is not None or matching.agent is not None
    if linked:
        total, estimated = _count_linked(connection, matching, kinds)
        ids, backwards = _linked_page(matching, kinds, order, descending, offset, limit + 1, place)
    else:
        wanted = kinds.ids if kinds is not None and matching.of_kind else None
        by_day = order is Order.DATE and place is None and offset > 0
        total, skipped, day = _located(connection, matching, wanted, offset if by_day else None, descending)
        estimated = False
        if offset >= total > 0 and place is None:
            return Page([], False, total)
        ids, backwards = _plain_page(matching, kinds, order, descending, offset - skipped, limit + 1, place, day, total)
    found = [stored_from(each) for each in _fetch(connection, ids, order, backwards, bare)]
    more = len(found) > limit
    found = found[:limit]
    if place is not None and place.backwards:
        found.reverse()
        more = True
    return Page(found, more, total, estimated)


def key_of(event: Stored, order: Order) -> tuple[Any, ...]:
    """The order key of an event, for a Place."""
    if order is Order.DATE:
        return (event.at, event.identifier)
    if order is Order.ADDED:
        return (event.sequence,)
    if order is Order.IDENTIFIER:
        return (event.identifier,)
    label = event.type if order is Order.TYPE else next(iter(event.outcomes), "")
    return (label, event.identifier)


def kinds_of(connection: Connection, matching: Filter) -> Kinds:
    """The kinds whose type and outcomes match; any outcome of an event may match (premis.md 2.3)."""
    found = connection.exec_driver_sql("SELECT id, type, outcomes FROM premis_kind")
    kept = []
    for id_, type_, outcomes in found:
        if matching.type is not None and matching.type not in type_:
            continue
        if matching.exact_type is not None and matching.exact_type != type_:
            continue
        if matching.outcome is not None and not any(matching.outcome in each for each in outcomes):
            continue
        if matching.exact_outcome is not None and matching.exact_outcome not in outcomes:
            continue
        kept.append((id_, type_, outcomes[0] if outcomes else ""))
    return Kinds(tuple(kept))


def total(connection: Connection) -> int:
    """How many events there are."""
    return _located(connection, Filter(), None, None, False)[0]


def _midnight(instant: datetime) -> bool:
    return instant.astimezone(UTC).time() == time()


def _located(
    connection: Connection, matching: Filter, ids: Sequence[int] | None, offset: int | None, descending: bool
) -> tuple[int, int, date | None]:
    """(matches, matches skipped, day to begin with): found by the counts per day, edges of days by an index range."""
    start, end = matching.start, matching.end
    first = start.astimezone(UTC).date() if start else None
    if start is not None and first is not None and not _midnight(start):
        first += timedelta(days=1) if first < date.max else timedelta()
    last = end.astimezone(UTC).date() if end else None
    whole = (start is None or _midnight(start)) and (end is None or _midnight(end))
    sql = _Sql()
    sql.add("WITH d AS (SELECT day, sum(n) AS n FROM (")
    for number, table in enumerate(("premis_count", "premis_count_delta")):
        sql.add("UNION ALL" if number else "").add("SELECT day, n FROM").add(table).add("WHERE true")
        if first is not None:
            sql.add("AND day >= %s", first)
        if last is not None:
            sql.add("AND day < %s", last)
        if ids is not None:
            sql.add("AND kind_id = ANY (CAST(%s AS bigint[]))", list(ids))
    sql.add(") c GROUP BY day) SELECT (SELECT coalesce(sum(n), 0) FROM d)")
    if not whole:
        sql.add("+ (SELECT count(*) FROM premis_event WHERE")
        _edges(sql, matching)
        if ids is not None:
            sql.add("AND kind_id = ANY (CAST(%s AS bigint[]))", list(ids))
        sql.add(")")
    if offset is None or not whole:
        sql.add(", 0, NULL::date")
        found = sql.run(connection).one()
        return int(found[0]), 0, None
    sql.add(", w.upto - w.n, w.day FROM (SELECT day, n, sum(n) OVER (ORDER BY day")
    sql.add("DESC" if descending else "").add(") AS upto FROM d) w WHERE w.upto > %s ORDER BY upto LIMIT 1", offset)
    found = sql.run(connection).first()
    if found is None:
        return _located(connection, matching, ids, None, descending)[0], 0, None
    return int(found[0]), int(found[1]), found[2]


def _edges(sql: _Sql, matching: Filter) -> None:
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


def _bounds(sql: _Sql, matching: Filter, day: date | None = None, descending: bool = False) -> _Sql:
    start, end = matching.start, matching.end
    if day is not None:
        begin = datetime.combine(day, time(), UTC)
        if not descending:
            start = begin
        elif day < date.max:
            end = begin + timedelta(days=1)
    if start is not None:
        sql.add("AND at >= %s", start)
    if end is not None:
        sql.add("AND at < %s", end)
    return sql


_COLUMNS = {
    Order.DATE: ("at", "identifier"),
    Order.ADDED: ("sequence",),
    Order.IDENTIFIER: ("identifier",),
    Order.TYPE: ("label", "identifier"),
    Order.OUTCOME: ("label", "identifier"),
}


def _ordering(order: Order, backwards: bool) -> str:
    return ", ".join(f"{column} {'DESC' if backwards else 'ASC'}" for column in _COLUMNS[order])


def _after(sql: _Sql, order: Order, place: Place | None, backwards: bool) -> _Sql:
    """The keyset condition on plain columns."""
    if place is not None and order not in (Order.TYPE, Order.OUTCOME):
        columns = ", ".join(_COLUMNS[order])
        marks = ", ".join(["%s"] * len(place.key))
        sql.add(f"AND ({columns}) {'<' if backwards else '>'} ({marks})", *place.key)
    return sql


def _fetch(connection: Connection, inner: _Sql, order: Order, backwards: bool, bare: bool) -> Any:
    """Heads of the event ids that `inner` gives, in their order."""
    outer = {
        Order.DATE: ("e.at", "e.identifier"),
        Order.ADDED: ("e.sequence",),
        Order.IDENTIFIER: ("e.identifier",),
        Order.TYPE: ("k.type", "e.identifier"),
        Order.OUTCOME: ("coalesce(k.outcomes[1], '')", "e.identifier"),
    }[order]
    sql = _Sql([SELECT_BARE if bare else SELECT, "JOIN ("], []).add(" ".join(inner.parts), *inner.values)
    direction = "DESC" if backwards else "ASC"
    sql.add(") p ON p.event_id = e.event_id ORDER BY").add(", ".join(f"{each} {direction}" for each in outer))
    return sql.run(connection)


def _plain_page(
    matching: Filter,
    kinds: Kinds | None,
    order: Order,
    descending: bool,
    offset: int,
    limit: int,
    place: Place | None,
    day: date | None,
    matches: int,
) -> tuple[_Sql, bool]:
    """(query of the ids of a page, whether it reads backwards)."""
    backwards = descending != (place is not None and place.backwards)
    if place is not None:
        offset = 0
    sql = _Sql()
    dated = matching.start is not None or matching.end is not None
    if kinds is None:
        sql.add("SELECT event_id FROM premis_event WHERE true")
        _after(_bounds(sql, matching, day, descending), order, place, backwards)
    elif dated and order is not Order.DATE and matches <= FEW:
        return _sorted_page(matching, kinds, order, backwards, offset, limit, place)
    else:
        ids, labels, froms = _kind_starts(kinds, order, place, backwards)
        sql.add(
            "SELECT event_id FROM unnest(CAST(%s AS bigint[]), CAST(%s AS text[]), CAST(%s AS text[]))",
            ids,
            labels,
            froms,
        )
        sql.add("AS q(kind, tag, bound) CROSS JOIN LATERAL (SELECT event_id, at, identifier, sequence,")
        sql.add('q.tag COLLATE "C" AS label FROM premis_event WHERE kind_id = q.kind')
        _after(_bounds(sql, matching, day, descending), order, place, backwards)
        if order in (Order.TYPE, Order.OUTCOME) and place is not None:
            sql.add("AND identifier < q.bound" if backwards else "AND identifier > q.bound")
        inner = order if order in (Order.DATE, Order.ADDED) else Order.IDENTIFIER
        sql.add("ORDER BY").add(_ordering(inner, backwards)).add("LIMIT %s) x", limit + offset)
    sql.add("ORDER BY").add(_ordering(order, backwards)).add("LIMIT %s OFFSET %s", limit, offset)
    return sql, backwards


_LAST = "\U0010ffff"


def _kind_starts(
    kinds: Kinds, order: Order, place: Place | None, backwards: bool
) -> tuple[list[int], list[str], list[str]]:
    """(ids, labels, identifiers to begin after) of the kinds that may hold events of the page."""
    ids, labels, froms = [], [], []
    labelled = order in (Order.TYPE, Order.OUTCOME)
    for id_, type_, outcome in kinds.rows:
        label = type_ if order is Order.TYPE else outcome
        bound = _LAST if backwards else ""
        if labelled and place is not None:
            if label == place.key[0]:
                bound = place.key[1]
            elif (label < place.key[0]) != backwards:
                continue
        ids.append(id_)
        labels.append(label if labelled else "")
        froms.append(bound)
    return ids, labels, froms


def _sorted_page(
    matching: Filter,
    kinds: Kinds,
    order: Order,
    backwards: bool,
    offset: int,
    limit: int,
    place: Place | None,
) -> tuple[_Sql, bool]:
    """A page of few matches: all of them found by their dates, then sorted."""
    ids, labels, _ = _kind_starts(kinds, order, None, backwards)
    sql = _Sql(["WITH m AS MATERIALIZED (SELECT event_id, identifier, sequence, kind_id FROM premis_event WHERE true"])
    _bounds(sql, matching)
    if matching.of_kind:
        sql.add("AND kind_id = ANY (CAST(%s AS bigint[]))", ids)
    sql.add(') SELECT event_id FROM (SELECT m.*, q.tag COLLATE "C" AS label FROM m')
    sql.add(
        "JOIN unnest(CAST(%s AS bigint[]), CAST(%s AS text[])) AS q(kind, tag) ON q.kind = m.kind_id) m WHERE true",
        ids,
        labels,
    )
    if place is not None:
        columns = ", ".join(_COLUMNS[order])
        marks = ", ".join(["%s"] * len(place.key))
        sql.add(f"AND ({columns}) {'<' if backwards else '>'} ({marks})", *place.key)
    sql.add("ORDER BY").add(_ordering(order, backwards)).add("LIMIT %s OFFSET %s", limit, offset)
    return sql, backwards


def _links(sql: _Sql, matching: Filter, kinds: Kinds | None) -> _Sql:
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
    return _bounds(sql, matching)


COUNTED = 100_000
"""Links of one agent are counted up to here; a page then says that there are more."""


def _count_linked(connection: Connection, matching: Filter, kinds: Kinds | None) -> tuple[int, bool]:
    sql = _Sql(
        [
            "SELECT count(*) FROM (SELECT DISTINCT sequence"
            if matching.named_object
            else "SELECT count(*) FROM (SELECT 1"
        ]
    )
    _links(sql, matching, kinds).add("LIMIT %s) c", COUNTED)
    counted = int(sql.run(connection).scalar_one())
    return counted, counted >= COUNTED


def _linked_page(
    matching: Filter,
    kinds: Kinds | None,
    order: Order,
    descending: bool,
    offset: int,
    limit: int,
    place: Place | None,
) -> tuple[_Sql, bool]:
    """(query of the ids of a page, whether it reads backwards)."""
    backwards = descending != (place is not None and place.backwards)
    sql = _Sql()
    if order in (Order.DATE, Order.ADDED) and not matching.named_object:
        sql.add("SELECT event_id")
        _after(_links(sql, matching, kinds), order, place, backwards)
    else:
        ids, labels, _ = _kind_starts(kinds, order, None, backwards) if kinds else ([], [], [])
        sql.add("SELECT event_id FROM (SELECT DISTINCT event_id, at, identifier, sequence,")
        sql.add('q.tag COLLATE "C" AS label FROM (SELECT *')
        _links(sql, matching, kinds).add(
            ") l JOIN unnest(CAST(%s AS bigint[]), CAST(%s AS text[])) AS q(kind, tag)", ids, labels
        )
        sql.add("ON q.kind = l.kind_id) m WHERE true")
        if place is not None:
            names = ", ".join(_COLUMNS[order])
            marks = ", ".join(["%s"] * len(place.key))
            sql.add(f"AND ({names}) {'<' if backwards else '>'} ({marks})", *place.key)
    sql.add("ORDER BY").add(_ordering(order, backwards))
    sql.add("LIMIT %s OFFSET %s", limit, 0 if place else offset)
    return sql, backwards
