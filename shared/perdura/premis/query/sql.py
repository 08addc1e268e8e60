"""The SQL that pages are put together from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from perdura.premis.query.filters import Filter, Order, Place
from perdura.premis.query.kinds import Kinds

LAST = "\U0010ffff"
"""What is greater than any identifier."""

CHANGED = (
    "(extract(epoch FROM greatest((SELECT recorded_at FROM premis_leaf ORDER BY leaf_index DESC LIMIT 1), "
    "(SELECT recorded_at FROM premis_unsealed WHERE sequence > coalesce((SELECT sequence FROM premis_leaf "
    "ORDER BY leaf_index DESC LIMIT 1), 0) ORDER BY sequence DESC LIMIT 1))) * 1000000)::bigint"
)
"""When the log last changed, in microseconds since 1970: by its newest leaf, and by what was recorded after that."""

COLUMNS = {
    Order.DATE: ("at", "identifier"),
    Order.ADDED: ("sequence",),
    Order.IDENTIFIER: ("identifier",),
    Order.TYPE: ("label", "identifier"),
    Order.OUTCOME: ("label", "identifier"),
}
"""The columns of each order."""


@dataclass(slots=True)
class Sql:
    """A statement that grows: its text in parts, and its values."""

    parts: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, text: str, *values: object) -> Sql:
        """Add a part and the values of its marks."""
        self.parts.append(text)
        self.values.extend(values)
        return self

    def put(self, other: Sql) -> Sql:
        """Add what another one says."""
        return self.add(" ".join(other.parts), *other.values)

    def run(self, connection: Connection) -> Any:
        """Run it."""
        return connection.exec_driver_sql(" ".join(self.parts), tuple(self.values))


def bounds(sql: Sql, matching: Filter, day: date | None = None, descending: bool = False) -> Sql:
    """The conditions on dates and on what may be seen; with `day`, the page begins at that day."""
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
    return seen(sql, matching)


def seen(sql: Sql, matching: Filter) -> Sql:
    """The condition that leaves out what the reader may not see."""
    if matching.sight is not None:
        sql.add(f"AND sequence NOT IN (SELECT o.sequence {matching.sight.events})", *matching.sight.values)
    return sql


def ordering(order: Order, backwards: bool) -> str:
    """The ORDER BY of an order."""
    return ", ".join(f"{column} {'DESC' if backwards else 'ASC'}" for column in COLUMNS[order])


def after(sql: Sql, order: Order, place: Place | None, backwards: bool) -> Sql:
    """The keyset condition on plain columns."""
    if place is not None and order not in (Order.TYPE, Order.OUTCOME):
        columns = ", ".join(COLUMNS[order])
        marks = ", ".join(["%s"] * len(place.key))
        sql.add(f"AND ({columns}) {'<' if backwards else '>'} ({marks})", *place.key)
    return sql


def kind_starts(
    kinds: Kinds, order: Order, place: Place | None, backwards: bool
) -> tuple[list[int], list[str], list[str]]:
    """(ids, labels, identifiers to begin after) of the kinds that may hold events of the page."""
    ids, labels, froms = [], [], []
    labelled = order in (Order.TYPE, Order.OUTCOME)
    for id_, type_, outcome in kinds.rows:
        label = type_ if order is Order.TYPE else outcome
        bound = LAST if backwards else ""
        if labelled and place is not None:
            if label == place.key[0]:
                bound = place.key[1]
            elif (label < place.key[0]) != backwards:
                continue
        ids.append(id_)
        labels.append(label if labelled else "")
        froms.append(bound)
    return ids, labels, froms
