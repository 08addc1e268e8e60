"""Finding Archives: pages by keyset, at the same cost at any depth, over the rows of `archive_index`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import Select, func, select, tuple_, union_all
from sqlalchemy.engine import Connection, Engine

from perdura.accounts.principals import Principal
from perdura.accounts.rights import visible_where
from perdura.api.queries.criteria import Criteria, conditions
from perdura.api.queries.rows import AnyRow
from perdura.registry.archive_index import ArchiveIndex
from perdura.registry.tables import Archive

Selection: TypeAlias = Select[*tuple[Any, ...]]

After = tuple[datetime, UUID]
"""The sort key of the last Archive of the page before."""


def page(
    connection: Connection, principal: Principal, criteria: Criteria, *, limit: int, after: After | None = None
) -> Sequence[AnyRow]:
    """At most `limit` Archives, newest first, after the one with the sort key `after`."""
    misjudged = bool(criteria.steps or criteria.formats) or criteria.phrased
    if misjudged and (few := _few(connection, principal, criteria, limit, after)) is not None:
        return few
    return connection.execute(_with_titles(_newest(principal, criteria, limit, after))).all()


FEW = 5_000


def _few(
    connection: Connection, principal: Principal, criteria: Criteria, limit: int, after: After | None
) -> Sequence[AnyRow] | None:
    """The page, when at most `FEW` match: all of them are fetched, whatever the planner thinks; else None.

    Its statistics of arrays, and of words in a row (a date, say), make it look for rare ones along an index by time,
    through all Archives.
    """
    matching = _matching(principal, criteria)
    if after is not None:
        matching = matching.where(tuple_(ArchiveIndex.created_at, ArchiveIndex.archive_id) < after)
    some = matching.limit(FEW + 1).cte("some").prefix_with("MATERIALIZED", dialect="postgresql")
    counted = select(some, func.count().over().label("matches")).subquery()
    chosen = select(counted).order_by(counted.c.created_at.desc(), counted.c.archive_id.desc()).limit(max(1, limit))
    rows = connection.execute(_with_titles(chosen)).all()
    return rows if not rows or rows[0].matches <= FEW else None


def _with_titles(newest: Selection) -> Selection:
    chosen = newest.subquery("chosen")
    return (
        select(Archive.title, Archive.updated_at, chosen, chosen.c.archive_id.label("id"))
        .join_from(chosen, Archive, Archive.id == chosen.c.archive_id)
        .order_by(chosen.c.created_at.desc(), chosen.c.archive_id.desc())
    )


def _newest(principal: Principal, criteria: Criteria, limit: int, after: After | None) -> Selection:
    """The newest index rows. Several states are looked for one by one: each has its newest first in an index."""
    if len(criteria.states) <= 1:
        return _ordered(_matching(principal, criteria), limit, after)
    each = [
        _ordered(_matching(principal, replace(criteria, states=(state,))), limit, after).subquery()
        for state in criteria.states
    ]
    together = union_all(*(select(part) for part in each)).subquery()
    return select(together).order_by(together.c.created_at.desc(), together.c.archive_id.desc()).limit(limit)


def _ordered(statement: Selection, limit: int, after: After | None) -> Selection:
    if after is not None:
        statement = statement.where(tuple_(ArchiveIndex.created_at, ArchiveIndex.archive_id) < after)
    return statement.order_by(ArchiveIndex.created_at.desc(), ArchiveIndex.archive_id.desc()).limit(limit)


def _matching(principal: Principal, criteria: Criteria) -> Selection:
    index = ArchiveIndex
    statement: Selection = select(
        index.archive_id, index.created_at, index.state, index.restricted, index.origin, index.source, index.recid,
        index.size, index.step, index.cause,
    ).where(*conditions(criteria))  # fmt: skip
    return only_visible(statement, principal)


def only_visible(statement: Selection, principal: Principal) -> Selection:
    """A statement on `archive_index` cut down to what the principal may see."""
    return statement.where(visible_where(principal, ArchiveIndex.restricted, ArchiveIndex.archive_id))


def every(engine: Engine, principal: Principal, criteria: Criteria, *, at_once: int = 1000) -> Iterator[AnyRow]:
    """All matching Archives, newest first, a page at a time; no connection is held while they are sent."""
    after: After | None = None
    while True:
        with engine.connect() as connection:
            rows = page(connection, principal, criteria, limit=at_once, after=after)
        yield from rows
        if len(rows) < at_once:
            return
        after = (rows[-1].created_at, rows[-1].archive_id)
