"""Restricting and opening Archives by hand: what a person decides holds, whatever a Source says later.

It is kept as `restricted_by_hand` in the metadata of the Archive; a step that ends leaves the restriction alone then.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.ids import new_id
from perdura.premis import log
from perdura.premis.model import SUCCESS, Event, Identifier, Outcome

_SET = text("""
    WITH mark AS (
        UPDATE step SET output = output - 'closed' WHERE archive_id = :archive AND position = 0 AND output ? 'closed'
    )
    UPDATE archive SET restricted = CAST(:restricted AS boolean), updated_at = clock_timestamp(),
        metadata = metadata || jsonb_build_object('restricted_by_hand', CAST(:restricted AS boolean))
    WHERE id = :archive
        AND (restricted, metadata -> 'restricted_by_hand')
            IS DISTINCT FROM (CAST(:restricted AS boolean), to_jsonb(CAST(:restricted AS boolean)))
""")


def decide(connection: Connection, archive: UUID, *, restricted: bool, reason: str, by: Identifier) -> bool:
    """Restrict an Archive or open it, and say so in the PREMIS log; whether that was not decided before.

    A mark that the rebuild of a registry left (`registry open`) is gone with it.
    """
    given = {"archive": archive, "restricted": restricted}
    if connection.execute(_SET, given).rowcount == 0:
        return False
    what = "Restricted by hand" if restricted else "Opened by hand"
    event = Event(
        id=new_id(),
        type="policy assignment",
        at=datetime.now(UTC),
        details=(f"{what}: {reason}" if reason else what,),
        outcomes=(Outcome(SUCCESS),),
        agents=(by,),
        objects=(Identifier("UUID", str(archive)),),
    )
    log.append(connection, [event], actor="registry")
    return True
