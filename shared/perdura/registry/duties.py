"""Recurring duties: done by whichever instance finds them due, and by only one of them (heartbeats, watchdog)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from perdura.cloudevents.build import build, from_carried
from perdura.cloudevents.catalogue import request_type
from perdura.cloudevents.message import CloudEvent
from perdura.registry import inbox, outbox

_DUE = text("""
    INSERT INTO heartbeat (duty, done_at)
    SELECT duty, clock_timestamp() FROM unnest(CAST(:duties AS text[])) AS duty
    ON CONFLICT (duty) DO UPDATE SET done_at = clock_timestamp()
    WHERE heartbeat.done_at < clock_timestamp() - CAST(CAST(:intervals AS jsonb) ->> heartbeat.duty AS interval)
    RETURNING duty
""")


def due(connection: Connection, intervals: Mapping[str, timedelta]) -> set[str]:
    """Those duties whose interval has passed since anybody did them; they count as done from now on."""
    seconds = {duty: f"{interval.total_seconds()} seconds" for duty, interval in intervals.items()}
    rows = connection.execute(_DUE, {"duties": list(intervals), "intervals": json.dumps(seconds)})
    return {row.duty for row in rows}


POLLED = frozenset({"archive", "preserve"})
"""Steps whose function polls them in bulk at its own ticks (ADR 3)."""

_STUCK = text("""
    WITH due AS MATERIALIZED (
        SELECT id FROM step WHERE poll_at <= clock_timestamp() AND (state IN ('queued', 'running')
            OR (state = 'waiting' AND name <> ALL(CAST(:polled AS text[]))))
        ORDER BY poll_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), claims AS MATERIALIZED (
        SELECT id, pg_try_advisory_xact_lock(hashtextextended(:key || id, 0)) AS free FROM due
    )
    UPDATE step SET poll_at = clock_timestamp()
        + least(interval '5 minutes', interval '10 seconds' * power(2, least(deliveries, 8)))
    FROM claims WHERE step.id = claims.id
    RETURNING step.id, archive_id, name, attempt, deliveries, cause, poll_at, free
""")


def ask_again(connection: Connection, source: str, limit: int = 100) -> list[CloudEvent]:
    """Ask again for steps whose request was lost, given up by the broker, or whose worker died (the watchdog).

    Waiting steps that no tick polls in bulk are asked for again when their time has come.

    A step whose claim is held is being worked on, for hours where a Job does it: it is not asked for. Asking would be
    harmless, for the claim sends the second worker away, but the broker would give that request up as a dead letter.
    """
    now = datetime.now(UTC)
    stuck = connection.execute(_STUCK, {"limit": limit, "polled": sorted(POLLED), "key": inbox.STEP})
    events = [
        build(
            request_type(row.name),
            {"archive": row.archive_id, "step": row.id, "attempt": row.attempt},
            source=source,
            at=now,
            archive=row.archive_id,
            cause=from_carried(row.cause) if row.cause else None,
            key=("again", row.id, row.poll_at),
        )
        for row in stuck
        if row.free
    ]
    if events:
        outbox.write(connection, events)
    return events
