"""Whether what an event names may be seen by a reader."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy.engine import Connection

from perdura.premis.query.filters import Sight


def hides(connection: Connection, sight: Sight | None, names: Iterable[str]) -> bool:
    """Whether any of these objects is hidden from the reader."""
    return bool(unseen(connection, sight, names))


def unseen(connection: Connection, sight: Sight | None, names: Iterable[str]) -> set[UUID]:
    """Those of these objects that are hidden from the reader."""
    ids = {UUID(each) for each in names if len(each) == 36 and _is_uuid(each)} if sight is not None else set()
    if sight is None or not ids:
        return set()
    found = connection.exec_driver_sql(
        f"SELECT h.id FROM ({sight.hidden}) AS h(id) WHERE h.id = ANY (CAST(%s AS uuid[]))",  # noqa: S608
        (*sight.values, [str(each) for each in ids]),
    )
    return {id_ for (id_,) in found}


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
