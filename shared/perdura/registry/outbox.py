"""The outbox: CloudEvents written in the transaction of their cause, emitted after it (architecture §3.5)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.cloudevents.build import from_json, to_json
from perdura.cloudevents.message import CloudEvent

GRACE = timedelta(seconds=5)
"""How long the function that wrote an event has for emitting it itself before the relay takes it over."""

_MAX_BACKOFF = timedelta(minutes=5)

_WRITE = text("""
    WITH finished AS (
        INSERT INTO inbox (consumer, source, id)
        SELECT :consumer, :source, :id WHERE CAST(:consumer AS text) IS NOT NULL
    )
    INSERT INTO outbox (id, event, next_at)
    SELECT (event ->> 'id')::uuid, event, clock_timestamp() + CAST(:grace AS interval)
    FROM jsonb_array_elements(CAST(:events AS jsonb)) WITH ORDINALITY AS e (event, n) ORDER BY n
    ON CONFLICT (id) DO NOTHING
""")


def write(
    connection: Connection, events: Sequence[CloudEvent], *, finished: tuple[str, CloudEvent] | None = None
) -> None:
    """Write events to the outbox and, in the same statement, mark the (consumer, event) that caused them finished.

    An event whose id is already there is not written again: ids derive from causes, so it is the same event.
    Raises IntegrityError when the cause was finished by another worker in the meantime.
    """
    consumer, cause = finished if finished else (None, None)
    connection.execute(
        _WRITE,
        {
            "consumer": consumer,
            "source": cause.source if cause else None,
            "id": cause.id if cause else None,
            "grace": GRACE,
            "events": json.dumps([to_json(event) for event in events]),
        },
    )


def delivered(connection: Connection, ids: Sequence[str]) -> None:
    """Mark events as accepted by the broker."""
    connection.execute(
        text("UPDATE outbox SET delivered_at = clock_timestamp() WHERE id = ANY(CAST(:ids AS uuid[]))"),
        {"ids": [UUID(event_id) for event_id in ids]},
    )


def due(connection: Connection, limit: int) -> list[CloudEvent]:
    """Lock and return events whose time has come, oldest first, skipping those that another relay works on."""
    rows = connection.execute(
        text("""
            SELECT event FROM outbox WHERE delivered_at IS NULL AND next_at <= clock_timestamp()
            ORDER BY next_at LIMIT :limit FOR UPDATE SKIP LOCKED
        """),
        {"limit": limit},
    )
    return [from_json(row.event) for row in rows]


def postpone(connection: Connection, event_id: str, error: str) -> None:
    """Note that the broker did not take an event and when to try again: 1 s, doubled each time, at most 5 minutes."""
    connection.execute(
        text("""
            UPDATE outbox SET attempts = attempts + 1, last_error = :error,
                next_at = clock_timestamp()
                    + least(CAST(:most AS interval), interval '1 second' * power(2, least(attempts, 16)))
            WHERE id = CAST(:id AS uuid)
        """),
        {"id": event_id, "error": error[:500], "most": _MAX_BACKOFF},
    )


def prune(connection: Connection, older_than: timedelta) -> None:
    """Forget delivered events and finished inbox rows after a time no redelivery can exceed."""
    connection.execute(
        text("DELETE FROM outbox WHERE delivered_at < clock_timestamp() - CAST(:age AS interval)"), {"age": older_than}
    )
    connection.execute(
        text("DELETE FROM inbox WHERE finished_at < clock_timestamp() - CAST(:age AS interval)"), {"age": older_than}
    )
