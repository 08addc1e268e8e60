"""Whose an object of the store is already: it became an Archive, or is part of one, whose files are not for everybody.

Who names such an object would have its bytes in an Archive of their own. So it does not exist for whom the files of
that Archive are not open to (`perdura.accounts.rights`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from sqlalchemy import Select, func, literal, not_, or_, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.rights import hides, trusted_archives
from perdura.database import AnyRow
from perdura.registry import embargo
from perdura.registry.deposits import Arrival, arrival_id, earlier_id
from perdura.registry.tables import Archive, Resource
from perdura.registry.taken_over import TakenOver

AT_ONCE = 10_000
"""Objects that are looked for by one statement."""


def withheld(
    connection: Connection, principal: Principal, arrivals: Sequence[Arrival], sources: Sequence[str]
) -> frozenset[Arrival]:
    """Those of the objects that belong to an Archive whose files are not open to the principal.

    They were handed in or announced where they lie, taken over by an import, or lie below a prefix that one of
    `sources` harvested.
    """
    if not hides(principal):
        return frozenset()
    found: set[Arrival] = set()
    for first in range(0, len(arrivals), AT_ONCE):
        some = arrivals[first : first + AT_ONCE]
        became = {name(each): each for name in (earlier_id, arrival_id) for each in some}
        shut = _shut(connection, principal, select(*_TOLD).where(Archive.id.in_(became)))
        found |= {became[row.id] for row in shut}
        found |= _taken_over(connection, principal, some)
    harvested = Archive.resource_id.in_(select(Resource.id).where(Resource.source.in_(sources)))
    shut = _shut(connection, principal, select(*_TOLD).where(harvested))
    prefixes = tuple(str(row.metadata.get("url")) for row in shut)
    found |= {each for each in arrivals if f"s3://{each.bucket}/{quote(each.key)}".startswith(prefixes)}
    return frozenset(found)


def _taken_over(connection: Connection, principal: Principal, arrivals: Sequence[Arrival]) -> set[Arrival]:
    """Those that an import took over, alone or with everything below a prefix."""
    places: dict[tuple[str, str], list[Arrival]] = {}
    for arrival in arrivals:
        for key in (arrival.key, *_prefixes(arrival.key)):
            places.setdefault((arrival.bucket, key), []).append(arrival)
    buckets, keys = ([place[part] for place in places] for part in (0, 1))
    listed = postgresql.ARRAY(postgresql.TEXT)
    named = func.unnest(literal(buckets, listed), literal(keys, listed)).table_valued("bucket", "key").render_derived()
    taken = select(*_TOLD, TakenOver.bucket, TakenOver.key, TakenOver.etag).join_from(
        TakenOver, named, (TakenOver.bucket == named.c.bucket) & (TakenOver.key == named.c.key)
    )
    rows = _shut(connection, principal, taken.join(Archive, Archive.id == TakenOver.archive_id))
    return {
        arrival
        for row in rows
        for arrival in places[row.bucket, row.key]
        if row.etag is None or row.etag == arrival.etag
    }


def _prefixes(key: str) -> Iterator[str]:
    """`a/` and `a/b/` for `a/b/c`."""
    return (key[: at + 1] for at, letter in enumerate(key) if letter == "/")


_TOLD = (Archive.id, Archive.restricted, Archive.metadata_.label("metadata"))


def _shut(connection: Connection, principal: Principal, wanted: Select[Any]) -> Sequence[AnyRow]:
    """Those of the wanted Archives that are restricted or under embargo, and not open to the principal all the same."""
    kept = or_(Archive.restricted, Archive.metadata_.has_key("embargo_until"))
    rows = connection.execute(wanted.where(kept, not_(trusted_archives(principal)))).all()
    now = datetime.now(UTC)
    return [row for row in rows if row.restricted or embargo.ends(row.metadata, now) is not None]
