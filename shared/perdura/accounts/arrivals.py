"""Whose an object of the store is already: it became an Archive, or is part of one, whose files are not for everybody.

Who names such an object would have its bytes in an Archive of their own. So it does not exist for whom the files of
that Archive are not open to (`perdura.accounts.rights`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from sqlalchemy import ColumnElement, not_, or_, select
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.rights import hides, trusted_archives
from perdura.database import AnyRow
from perdura.registry import embargo
from perdura.registry.deposits import Arrival, arrival_id
from perdura.registry.tables import Archive, Resource

AT_ONCE = 10_000
"""Objects that are looked for by one statement."""


def withheld(connection: Connection, principal: Principal, arrivals: Sequence[Arrival], sources: Sequence[str]) -> bool:
    """Whether any of the objects belongs to an Archive whose files are not open to the principal.

    It was handed in or announced where it lies, or lies below a prefix that one of `sources` harvested.
    """
    if not hides(principal):
        return False
    ids = [arrival_id(each) for each in arrivals]
    for first in range(0, len(ids), AT_ONCE):
        if _shut(connection, principal, Archive.id.in_(ids[first : first + AT_ONCE])):
            return True
    addresses = {f"s3://{each.bucket}/{quote(each.key)}" for each in arrivals}
    harvested = Archive.resource_id.in_(select(Resource.id).where(Resource.source.in_(sources)))
    prefixes = tuple(str(row.metadata.get("url")) for row in _shut(connection, principal, harvested))
    return any(address.startswith(prefixes) for address in addresses)


def _shut(connection: Connection, principal: Principal, wanted: ColumnElement[bool]) -> Sequence[AnyRow]:
    """Those of the wanted Archives that are restricted or under embargo, and not open to the principal all the same."""
    kept = or_(Archive.restricted, Archive.metadata_.has_key("embargo_until"))
    statement = select(Archive.restricted, Archive.metadata_.label("metadata"))
    rows = connection.execute(statement.where(wanted, kept, not_(trusted_archives(principal)))).all()
    now = datetime.now(UTC)
    return [row for row in rows if row.restricted or embargo.ends(row.metadata, now) is not None]
