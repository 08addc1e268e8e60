"""What people decided of earlier versions of a Resource, and what that means for a later one.

A later Archive begins with the restriction and the embargo that were decided by hand; where the one before it stands
withdrawn it is published by nobody but a person. Whose Source mends a typo does not open again what people shut.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from perdura import __version__
from perdura.ids import new_id
from perdura.premis import log
from perdura.premis.model import SUCCESS, Event, Identifier, Outcome
from perdura.registry import embargo
from perdura.registry.decisions import PUBLISHED_BY_HAND

_BEFORE = """
    FROM archive AS this JOIN archive AS earlier
        ON earlier.resource_id = this.resource_id AND (earlier.created_at, earlier.id) < (this.created_at, this.id)
"""

_DECIDED = text(f"""
    SELECT this.metadata AS own, earlier.metadata AS decided {_BEFORE}
    WHERE this.id = :archive AND (earlier.metadata ?| ARRAY['restricted_by_hand', 'embargo_by_hand']
        OR EXISTS (SELECT FROM package WHERE archive_id = earlier.id AND kind = 'AIP'))
    ORDER BY earlier.created_at DESC, earlier.id DESC LIMIT 1
""")  # noqa: S608 - constants of this module

_BEGIN_WITH = text("""
    UPDATE archive SET restricted = restricted OR CAST(:metadata AS jsonb) ? 'restricted_by_hand',
        metadata = metadata || CAST(:metadata AS jsonb), updated_at = clock_timestamp()
    WHERE id = :archive
""")

_WITHDRAWN = text(f"""
    SELECT withdrawn FROM (
        SELECT earlier.created_at, earlier.id, EXISTS (
            SELECT FROM withdrawal WHERE archive_id = earlier.id AND lifted_at IS NULL
                AND (destination IS NULL OR destination = ANY (:destinations))
        ) OR (placed.withdrawn AND NOT EXISTS (
            SELECT FROM withdrawal WHERE archive_id = earlier.id AND lifted_at IS NOT NULL
        )) AS withdrawn,
            placed.published {_BEFORE}
        CROSS JOIN LATERAL (
            SELECT coalesce(bool_or(state = 'withdrawn'), false) AS withdrawn,
                coalesce(bool_or(state = 'published'), false) AS published
            FROM placement WHERE archive_id = earlier.id AND destination = ANY (:destinations)
        ) AS placed
        WHERE this.id = :archive
    ) AS version WHERE withdrawn OR published
    ORDER BY created_at DESC, id DESC LIMIT 1
""")  # noqa: S608 - constants of this module

_MARK = text("""
    UPDATE archive SET metadata = metadata || CAST(:mark AS jsonb), updated_at = clock_timestamp() WHERE id = :archive
""")


def begin_with(connection: Connection, archive: UUID) -> None:
    """Give an Archive whose Resource has become known what people decided of the version before it.

    What was decided of the Archive itself stays. An Archive that came to nothing is no version before it.
    """
    found = connection.execute(_DECIDED, {"archive": archive}).one_or_none()
    told = inherited(found.own, found.decided, datetime.now(UTC)) if found is not None else {}
    if not told:
        return
    connection.execute(_BEGIN_WITH, {"archive": archive, "metadata": json.dumps(told)})
    what = [f"embargo until {told['embargo_until']}"] if "embargo_until" in told else []
    what += ["restricted"] if "restricted_by_hand" in told else []
    event = Event(
        id=new_id(),
        type="policy assignment",
        at=datetime.now(UTC),
        details=(f"As it was decided by hand of the version before: {', '.join(what)}",),
        outcomes=(Outcome(SUCCESS),),
        agents=(Identifier("software", f"perdura/{__version__} registry", ("executing program",)),),
        objects=(Identifier("UUID", str(archive)),),
    )
    log.append(connection, [event], actor="registry")


def inherited(own: Mapping[str, Any], decided: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
    """What of the metadata of the version before an Archive begins with; nothing that opens it."""
    told: dict[str, Any] = {}
    if decided.get("restricted_by_hand") is True and "restricted_by_hand" not in own:
        told["restricted_by_hand"] = True
    until = embargo.ends(decided, now) if decided.get("embargo_by_hand") else None
    if until is not None and "embargo_by_hand" not in own:
        told |= {"embargo_until": max(until, embargo.ends(own, now) or until).isoformat(), "embargo_by_hand": True}
    return told


def is_withdrawn(connection: Connection, destinations: Collection[str], archive: UUID) -> bool:
    """Whether the version before an Archive stands withdrawn from a destination, one of whose names is given.

    The version before it is the newest one that was published there, or withdrawn.
    """
    values = {"archive": archive, "destinations": sorted(destinations)}
    return connection.execute(_WITHDRAWN, values).scalar_one_or_none() is True


def publish_all_the_same(connection: Connection, archive: UUID) -> None:
    """Let an Archive be published although the version before it was withdrawn; the caller says so in the log."""
    connection.execute(_MARK, {"archive": archive, "mark": json.dumps({PUBLISHED_BY_HAND: True})})
