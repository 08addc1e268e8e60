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
from perdura.outcome import UNDER_WAY
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
    return _ask(connection, archive, package, STORE, step)


def _ask(connection: Connection, archive: UUID, package: UUID, location: str, step: UUID) -> Begun:
    """Ask for the check of a copy that is there."""
    name, how = ("recall", {"drill": True}) if location == TAPE else ("verify", {})
    return archives.errand(connection, archive, name, json.dumps({"package": str(package), **how}), step)


_CHECKED_NOW = text("""
    SELECT id, name FROM step WHERE archive_id = :archive AND state = ANY(:under_way)
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
    archives.lock(connection, archive)
    aip = archives.held_aip(connection, archive, package)
    if aip is None:
        raise NotFound("The Archive has no AIP.")
    wanted = locations or (LOCATIONS if aip.on_tape else (STORE,))
    if TAPE in wanted and not aip.on_tape:
        raise Conflict("This AIP has no copy on tape to be checked.", code="no-tape-copy")
    rows = connection.execute(
        _CHECKED_NOW, {"archive": archive, "package": str(aip.id), "under_way": list(UNDER_WAY)}
    ).all()
    under_way = {TAPE if row.name == "recall" else STORE: row.id for row in reversed(rows)}
    checks: list[Check] = []
    events: list[CloudEvent] = []
    for location in LOCATIONS:
        if location in wanted:
            step = under_way.get(location) or new_id()
            if location not in under_way:
                events += _ask(connection, archive, aip.id, location, step).events
            checks.append(Check(step, aip.id, location))
    return checks, events
