"""Turns: with as many Archives in work as may be, others wait; a full queue slows intake, and fails nothing.

Whose turn it is: people's deposits before batches (lanes), in a lane the share that waited longest since its last turn,
in a share who came first. A share is a Collection, else a Source, else a way in. What has waited for an hour moves up a
lane, so that no lane starves.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.cloudevents.build import build, from_carried
from perdura.cloudevents.catalogue import request_type
from perdura.cloudevents.message import CloudEvent
from perdura.registry import outbox

WAITS = "waits-its-turn"
MOST = 100
"""Turns that are given at once."""

# Counted up to the limit and no further. What waits for a turn has no time to be asked for again, and is not counted.
_IN_WORK = """
    SELECT count(*) FROM (SELECT FROM step WHERE state IN ('queued', 'running') AND poll_at IS NOT NULL
                          AND position < 1000 AND id <> :step LIMIT :limit) AS step
"""

_HOLD = text(f"""
    WITH held AS (
        UPDATE step SET poll_at = NULL, error_code = '{WAITS}', updated_at = clock_timestamp(),
            error_message = 'Enough Archives are being worked on: it waits for its turn.'
        WHERE id = :step AND state = 'queued' AND position = 0 AND attempt = 1 AND deliveries = 0
            AND NOT output ? 'turn' AND ({_IN_WORK}) >= :limit
        RETURNING id, archive_id, input
    ), queued AS (
        INSERT INTO turn (step_id, lane, share)
        SELECT held.id,
            CASE WHEN archive.origin = 'announcement' OR EXISTS (SELECT FROM harvest_item AS item
                 WHERE item.archive_id = archive.id) THEN 1 ELSE 0 END,
            left(coalesce((SELECT 'collection ' || min(collection_id::text) FROM collection_member AS member
                           WHERE member.archive_id = archive.id),
                          'source ' || (held.input ->> 'source'), 'origin ' || archive.origin), 200)
        FROM held JOIN archive ON archive.id = held.archive_id
        ON CONFLICT (step_id) DO NOTHING
    )
    SELECT id FROM held UNION ALL SELECT step_id FROM turn WHERE step_id = :step
""")  # noqa: S608 - constants of this module

_GIVE = text(f"""
    WITH RECURSIVE room AS MATERIALIZED (
        SELECT least(CASE WHEN :limit = 0 THEN :most ELSE greatest(0, :limit - ({_IN_WORK})) END, :most) AS n
    ), shares AS (
        (SELECT lane, share FROM turn ORDER BY lane, share LIMIT 1)
        UNION ALL
        SELECT next.lane, next.share FROM shares CROSS JOIN LATERAL (
            SELECT lane, share FROM turn WHERE (lane, share) > (shares.lane, shares.share) ORDER BY lane, share LIMIT 1
        ) AS next
    ), ranked AS (
        SELECT first.step_id, first.asked_at, shares.share,
            greatest(0, shares.lane - floor(extract(epoch FROM now() - first.asked_at) / 3600)) AS lane,
            row_number() OVER (PARTITION BY shares.share ORDER BY shares.lane, first.asked_at) AS place
        FROM shares CROSS JOIN LATERAL (
            SELECT step_id, asked_at FROM turn WHERE turn.lane = shares.lane AND turn.share = shares.share
            ORDER BY asked_at LIMIT :most
        ) AS first
    ), chosen AS (
        SELECT step_id, ranked.share FROM ranked LEFT JOIN turn_share ON turn_share.share = ranked.share
        ORDER BY lane, place, given_at NULLS FIRST, asked_at LIMIT (SELECT n FROM room)
    ), taken AS (
        DELETE FROM turn USING chosen WHERE turn.step_id = chosen.step_id RETURNING turn.step_id, turn.share
    ), noted AS (
        INSERT INTO turn_share (share) SELECT DISTINCT share FROM taken
        ON CONFLICT (share) DO UPDATE SET given_at = clock_timestamp()
    )
    UPDATE step SET error_code = NULL, error_message = NULL, output = output || '{{"turn": true}}',
        poll_at = clock_timestamp() + interval '1 minute', updated_at = clock_timestamp(),
        progress_at = clock_timestamp()
    FROM taken WHERE step.id = taken.step_id AND step.state = 'queued'
    RETURNING step.id, step.archive_id, step.name, step.attempt, step.cause
""")  # noqa: S608 - constants of this module

_NOBODY = UUID(int=0)


def hold(connection: Connection, step: UUID, limit: int) -> bool:
    """Let a first step wait for its turn if `limit` others are in work; whether it waits, now or from before."""
    return connection.execute(_HOLD, {"step": step, "limit": limit}).first() is not None


def give(connection: Connection, limit: int, source: str) -> list[CloudEvent]:
    """Ask for those steps whose turn it is; all there are, some at a time, where there is no limit (0)."""
    rows = connection.execute(_GIVE, {"limit": limit, "most": MOST, "step": _NOBODY}).all()
    events = [
        build(
            request_type(row.name),
            {"archive": row.archive_id, "step": row.id, "attempt": row.attempt},
            source=source,
            at=datetime.now(UTC),
            archive=row.archive_id,
            cause=from_carried(row.cause) if row.cause else None,
            key=("turn", row.id),
        )
        for row in rows
    ]
    if events:
        outbox.write(connection, events)
    return events
