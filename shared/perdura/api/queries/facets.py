"""How many Archives match, by everything a list can be narrowed to.

Exact, from counters, whatever the number of Archives; where a search asks for what no counter knows,
`SAMPLE` matches are counted instead, and the answer says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from sqlalchemy import false, func, select, text, true
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.rights import granted_archives, visible_archives
from perdura.api.queries.criteria import Criteria, conditions
from perdura.api.queries.finding import Selection, only_visible
from perdura.api.queries.rows import AnyRow
from perdura.registry.archive_index import ArchiveIndex

SAMPLE = 1_000
"""Archives that are counted one by one at most."""

FORMATS = 20
"""Formats that are counted, the most frequent first."""

DIMENSIONS: Mapping[str, str] = {
    "state": "states",
    "source": "sources",
    "origin": "origins",
    "step": "steps",
    "cause": "causes",
}
"""Column of the counters → member of the criteria."""


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts by dimension and value; each leaves its own dimension's criterion out of account.

    `total` and `bytes` are of what matches everything. When not `exact`, all are lower bounds.
    """

    total: int
    bytes: int
    exact: bool
    counts: Mapping[str, Sequence[tuple[str, int]]]
    names: Mapping[str, str] = field(default_factory=dict)
    """What the formats are called."""


@dataclass(frozen=True, slots=True)
class Cell:
    """So many Archives that agree in every dimension."""

    values: Mapping[str, str]
    archives: int
    bytes: int


def facets(connection: Connection, principal: Principal, criteria: Criteria) -> Facets:
    """Counts for a list with these criteria, in at most four statements."""
    everything = visible_archives(principal).compare(true())
    wide = replace(criteria, states=(), sources=(), origins=(), causes=())
    if wide.countable:
        cells, exact = _visible(connection, principal, everything=everything)
    else:
        cells, exact = _sampled(connection, principal, wide)
    if criteria.empty and everything:
        formats = _holders(connection)
    else:
        formats = _sampled_formats(connection, principal, criteria)
    found = tally(cells, criteria, exact=exact)
    names = _names(connection, [key for key, _ in formats]) if formats else {}
    return replace(found, counts={**found.counts, "format": formats}, names=names)


def visible_cells(connection: Connection, principal: Principal) -> list[Cell]:
    """All Archives that the principal may see, counted by everything that has few values."""
    return _visible(connection, principal, everything=visible_archives(principal).compare(true()))[0]


def open_restricted(connection: Connection, principal: Principal, limit: int) -> list[UUID]:
    """The newest restricted Archives that are open to the principal."""
    index = ArchiveIndex
    found = _granted(select(index.archive_id), principal)
    return list(
        connection.execute(found.order_by(index.created_at.desc(), index.archive_id.desc()).limit(limit)).scalars()
    )


def _granted(statement: Selection, principal: Principal) -> Selection:
    """A statement on `archive_index` cut down to what is restricted and granted: read from the grants on."""
    granted = granted_archives(principal)
    if granted is None:
        return statement.where(false())
    return statement.where(ArchiveIndex.restricted, ArchiveIndex.archive_id.in_(granted))


def _visible(connection: Connection, principal: Principal, *, everything: bool) -> tuple[list[Cell], bool]:
    cells = _counted(connection, everything=everything)
    if everything:
        return cells, True
    granted, exact = _sampled(connection, principal, Criteria(), restricted=True)
    return cells + granted, exact


def tally(cells: Iterable[Cell], criteria: Criteria, *, exact: bool) -> Facets:
    """Counts by dimension from cells, each without its own criterion."""
    wanted = {
        dimension: frozenset(values)
        for dimension, member in DIMENSIONS.items()
        if dimension != "step" and (values := getattr(criteria, member))
    }
    counters: dict[str, Counter[str]] = {dimension: Counter() for dimension in DIMENSIONS}
    total = size = 0
    for cell in cells:
        missed = [dimension for dimension, values in wanted.items() if cell.values[dimension] not in values]
        if not missed:
            total, size = total + cell.archives, size + cell.bytes
        for dimension, counter in counters.items():
            if cell.values[dimension] and (not missed or missed == [dimension]):
                counter[cell.values[dimension]] += cell.archives
    counts = {
        dimension: [(value, number) for value, number in counter.most_common() if number > 0]
        for dimension, counter in counters.items()
    }
    return Facets(total, size, exact, counts)


_COUNTED = text("""
    SELECT state, source, origin, step, cause, sum(archives)::bigint AS archives, sum(bytes)::bigint AS bytes
    FROM (
        SELECT state, source, origin, step, cause, archives, bytes FROM archive_count
        WHERE NOT restricted OR :everything
        UNION ALL
        SELECT state, source, origin, step, cause, archives, bytes FROM archive_change
        WHERE NOT restricted OR :everything
    ) AS counted
    GROUP BY 1, 2, 3, 4, 5 HAVING sum(archives) > 0
""")


def _counted(connection: Connection, *, everything: bool) -> list[Cell]:
    return [_cell(row) for row in connection.execute(_COUNTED, {"everything": everything})]


def _cell(row: AnyRow) -> Cell:
    return Cell({dimension: getattr(row, dimension) for dimension in DIMENSIONS}, int(row.archives), int(row.bytes))


def _sampled(
    connection: Connection, principal: Principal, criteria: Criteria, *, restricted: bool = False
) -> tuple[list[Cell], bool]:
    index = ArchiveIndex
    found = select(index.state, index.source, index.origin, index.step, index.cause, index.size).where(
        *conditions(criteria)
    )
    matches = _granted(found, principal) if restricted else only_visible(found, principal)
    some = _some(matches, criteria, SAMPLE + 1).subquery()
    columns = [some.c[dimension] for dimension in DIMENSIONS]
    rows = connection.execute(
        select(
            *columns, func.count().label("archives"), func.coalesce(func.sum(some.c.size), 0).label("bytes")
        ).group_by(*columns)
    ).all()
    cells = [_cell(row) for row in rows]
    return cells, sum(cell.archives for cell in cells) <= SAMPLE


def _some(matches: Selection, criteria: Criteria, limit: int) -> Selection:
    """Some of what matches. Of words the newest: frequent ones are found along the index by time, rare by their own.

    How rare words in a row are the planner does not know: any of them.
    """
    if not criteria.text or criteria.phrased:
        return matches.limit(limit)
    return matches.order_by(ArchiveIndex.created_at.desc(), ArchiveIndex.archive_id.desc()).limit(limit)


_HOLDERS = text("""
    SELECT name, sum(count)::bigint AS archives FROM (
        SELECT name, count FROM daily_count WHERE measure = 'holder'
        UNION ALL SELECT name, count FROM daily_change WHERE measure = 'holder'
    ) AS counted GROUP BY name HAVING sum(count) > 0 ORDER BY 2 DESC, 1 LIMIT :limit
""")


def _holders(connection: Connection) -> list[tuple[str, int]]:
    return [(row.name, row.archives) for row in connection.execute(_HOLDERS, {"limit": FORMATS})]


_NAMES = text("""
    SELECT name, max(detail) FROM (
        SELECT name, detail FROM daily_count WHERE measure = 'format' AND name = ANY(:keys)
        UNION ALL SELECT name, detail FROM daily_change WHERE measure = 'format' AND name = ANY(:keys)
    ) AS known GROUP BY name HAVING max(detail) <> ''
""")


def _names(connection: Connection, keys: Sequence[str]) -> dict[str, str]:
    return {row[0]: row[1] for row in connection.execute(_NAMES, {"keys": list(keys)})}


def _sampled_formats(connection: Connection, principal: Principal, criteria: Criteria) -> list[tuple[str, int]]:
    wide = replace(criteria, formats=())
    matches = only_visible(select(ArchiveIndex.formats).where(*conditions(wide)), principal)
    some = _some(matches, criteria, SAMPLE).subquery()
    held = select(func.unnest(some.c.formats).label("name")).subquery()
    rows = connection.execute(
        select(held.c.name, func.count())
        .group_by(held.c.name)
        .order_by(func.count().desc(), held.c.name)
        .limit(FORMATS)
    )
    return [(row[0], row[1]) for row in rows]
