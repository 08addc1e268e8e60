"""Which notifications the facts of the system lead to: each becomes an errand of its Archive, once.

`sip.accepted` tells that work has begun (I), `aip.archived` that an AIP is safe (P), or `aip.created` where no tape is
planned; `archive.completed` catches what those missed. `step.failed` tells of a failure (F), unless an AIP exists and
only its publication failed. `archive.withdrawn` tells of a deletion (D) where the person who withdrew it said so: what
is preserved stays, and no machine tells of a deletion by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.clients.destinations import access_configuration
from perdura.cloudevents.message import CloudEvent
from perdura.ids import derived_id
from perdura.registry import archives
from perdura.runtime.environment import Environment
from perdura.settings import Settings

FACTS = {
    "org.perdura.sip.accepted.v1": "I",
    "org.perdura.aip.created.v1": "P",
    "org.perdura.aip.archived.v1": "P",
    "org.perdura.archive.completed.v1": "P",
    "org.perdura.step.failed.v1": "F",
    "org.perdura.archive.withdrawn.v1": "D",
}
_OF_PRESERVATION = frozenset({"harvest", "ingest", "preserve", "archive"})
"""Steps whose failure means that the material is not safe."""

_ABOUT = text("""
    SELECT archive.pipeline, resource.source,
           (SELECT id FROM package WHERE archive_id = archive.id AND kind = 'AIP' AND accepted
            ORDER BY created_at DESC LIMIT 1) AS aip,
           ARRAY(SELECT collection.name FROM collection_member JOIN collection ON collection.id = collection_id
                 WHERE collection_member.archive_id = archive.id) AS collections
    FROM archive LEFT JOIN resource ON resource.id = archive.resource_id WHERE archive.id = :archive
""")

_TOLD = text("""
    SELECT input ->> 'at' FROM step WHERE archive_id = :archive AND name = 'notify' AND input @> CAST(:told AS jsonb)
    ORDER BY position DESC LIMIT 1
""")


def plan(environment: Environment, event: CloudEvent) -> Sequence[CloudEvent]:
    """Ask for the notifications that a fact leads to; the same fact again leads to nothing more."""
    status = FACTS.get(event.type)
    data = event.data if isinstance(event.data, Mapping) else {}
    if status is None or not access_configuration(environment.settings.access).notification:
        return ()
    if status == "F" and data.get("name") not in _OF_PRESERVATION:
        return ()
    if status == "D" and data.get("tell_source") is not True:
        return ()
    archive = UUID(str(data["archive"]))
    at = event.time or datetime.now(UTC)
    with environment.engine.begin() as connection:
        about = connection.execute(_ABOUT, {"archive": archive}).one_or_none()
        if about is None:
            return ()
        if event.type == "org.perdura.aip.created.v1" and "archive" in about.pipeline:
            return ()
        cause, reason = _why(status, event.id, data, about.aip)
        return tell(connection, environment.settings, archive, status, at, cause=cause, reason=reason)


def _why(status: str, event: str, data: Mapping[str, Any], aip: UUID | None) -> tuple[str, str | None]:
    """What makes this fact another one than the last of its status, and the words that go with it.

    Every AIP has a proof of its own; each failed step and each withdrawal is told of.
    """
    match status:
        case "F":
            return str(data.get("step")), f"{data.get('code')}: {data.get('message')}"[:500]
        case "D":
            return event, str(data["reason"])
        case "P":
            return str(aip or ""), None
        case _:
            return "", None


def tell(
    connection: Connection,
    settings: Settings,
    archive: UUID,
    status: str,
    at: datetime | None,
    *,
    cause: str = "",
    only: str | None = None,
    reason: str | None = None,
) -> Sequence[CloudEvent]:
    """Ask for one errand `notify` for everybody who is to be told; `only` names one of them.

    The same Archive, status and `cause` are told once: give a new cause to send again. Without `at` it is the time that
    was told last, so that who knows it recognises it. Runs in the caller's transaction.
    """
    about = connection.execute(_ABOUT, {"archive": archive}).one_or_none()
    if about is None:
        return ()
    configuration = access_configuration(settings.access)
    events: list[CloudEvent] = []
    for entry in configuration.notifications(about.source, about.collections, status):
        if only is not None and entry.id != only:
            continue
        told: dict[str, Any] = {"notification": entry.id, "status": status}
        values = {"archive": archive, "told": json.dumps(told)}
        last = connection.execute(_TOLD, values).scalar() if at is None else None
        told["at"] = last or (at or datetime.now(UTC)).isoformat()
        if reason:
            told["reason"] = reason
        step = derived_id("notify", archive, status, entry.id, cause)
        events += archives.errand(connection, archive, "notify", json.dumps(told), step).events
    return events
