"""Fixity checks that are asked for: a copy of an AIP is read again and compared, beside the pipeline of its Archive."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.cloudevents.message import CloudEvent
from perdura.errors import Conflict, NotFound
from perdura.ids import new_id
from perdura.registry import archives
from perdura.registry.archives import Begun

STORE = "object-store"
"""The location of the copy that a package itself is."""
TAPE = "tape"
LOCATIONS = (STORE, TAPE)


@dataclass(frozen=True, slots=True)
class Check:
    """The step that checks one copy."""

    step: UUID
    package: UUID
    location: str


def check_copy(connection: Connection, package: UUID, *, on_tape: bool, step: UUID) -> Begun:
    """Ask for a copy of an AIP to be read again and compared: the stored one, or by a drill the one on tape.

    A `step` of that id that was asked for before is left alone. Raises NotFound for what is no AIP, Conflict when it
    has no copy on tape.
    """
    archive = connection.execute(
        text("SELECT archive_id FROM package WHERE id = :package AND kind = 'AIP'"), {"package": package}
    ).scalar_one_or_none()
    if archive is None:
        raise NotFound("There is no such AIP.")
    if on_tape:
        return archives.recall(connection, archive, package=package, drill=True, step=step)
    return archives.errand(connection, archive, "verify", json.dumps({"package": str(package)}), step)


_HELD = text("""
    SELECT id, EXISTS (SELECT FROM copy WHERE package_id = package.id AND location = :tape) AS on_tape
    FROM package WHERE archive_id = :archive AND kind = 'AIP' AND id = coalesce(CAST(:package AS uuid), id)
    ORDER BY accepted DESC, created_at DESC, id DESC LIMIT 1
""")

_UNDER_WAY = text("""
    SELECT id, name FROM step WHERE archive_id = :archive AND state IN ('queued', 'running', 'waiting')
        AND input ->> 'package' = :package AND (name = 'verify' OR name = 'recall' AND input @> '{"drill": true}')
    ORDER BY created_at
""")


def check_copies(
    connection: Connection, archive: UUID, *, package: UUID | None = None, locations: Collection[str] = ()
) -> tuple[list[Check], list[CloudEvent]]:
    """Ask for copies of an Archive's AIP to be checked: all there are, or those at `locations`.

    `package` is the version of the AIP, that in use without it. A copy that is being checked is not checked twice: its
    step is given back. Raises NotFound without such an AIP, Conflict when it has no copy where one is asked for.
    """
    connection.execute(text("SELECT FROM archive WHERE id = :archive FOR UPDATE"), {"archive": archive})
    aip = connection.execute(_HELD, {"archive": archive, "package": package, "tape": TAPE}).one_or_none()
    if aip is None:
        raise NotFound("The Archive has no such version." if package else "The Archive has no AIP.")
    wanted = locations or (LOCATIONS if aip.on_tape else (STORE,))
    if TAPE in wanted and not aip.on_tape:
        raise Conflict("This AIP has no copy on tape to be checked.", code="no-tape-copy")
    rows = connection.execute(_UNDER_WAY, {"archive": archive, "package": str(aip.id)}).all()
    under_way = {TAPE if row.name == "recall" else STORE: row.id for row in reversed(rows)}
    checks: list[Check] = []
    events: list[CloudEvent] = []
    for location in LOCATIONS:
        if location in wanted:
            step = under_way.get(location) or new_id()
            if location not in under_way:
                events += check_copy(connection, aip.id, on_tape=location == TAPE, step=step).events
            checks.append(Check(step, aip.id, location))
    return checks, events
