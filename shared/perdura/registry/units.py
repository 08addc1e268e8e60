"""Work units: parts of a step that other invocations do at the same time, each with its own checkpoint (ADR 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.cloudevents.build import build
from perdura.cloudevents.catalogue import request_type
from perdura.cloudevents.message import CloudEvent
from perdura.errors import Conflict
from perdura.outcome import ArchiveView, UnitOutcome, WorkUnit
from perdura.registry import outbox, work


@dataclass(frozen=True, slots=True)
class StartedUnit:
    """A unit that may be worked on now, with the Archive and the step it belongs to."""

    archive: ArchiveView
    key: str
    checkpoint: Mapping[str, Any]
    attempts: int
    failing_for: float = 0.0
    """Seconds since it first failed since it last got on."""


_PUT = text("""
    INSERT INTO work_unit (step_id, key, checkpoint, run_at)
    SELECT :step, key, checkpoint, clock_timestamp() + interval '5 minutes'
    FROM jsonb_to_recordset(CAST(:units AS jsonb)) AS u (key text, checkpoint jsonb)
    ON CONFLICT (step_id, key) DO UPDATE SET state = 'queued', checkpoint = excluded.checkpoint, result = NULL,
        attempts = 0, failing_since = NULL, run_at = excluded.run_at, updated_at = clock_timestamp()
""")


def put(connection: Connection, step: UUID, units: Sequence[WorkUnit]) -> None:
    """Have these units done for a step; one that was there begins anew."""
    listed = [{"key": unit.key, "checkpoint": dict(unit.checkpoint)} for unit in units]
    connection.execute(_PUT, {"step": step, "units": json.dumps(listed)})


_START = text(f"""
    UPDATE work_unit SET state = 'running', attempts = attempts + 1, updated_at = clock_timestamp(),
        run_at = clock_timestamp() + interval '15 minutes'
    FROM step JOIN archive ON archive.id = step.archive_id
    WHERE work_unit.step_id = :step AND work_unit.key = :key AND work_unit.state IN ('queued', 'running')
        AND step.id = work_unit.step_id AND step.state IN ('queued', 'running', 'waiting')
    RETURNING work_unit.checkpoint AS unit_checkpoint, work_unit.attempts AS unit_attempts,
        coalesce(extract(epoch FROM clock_timestamp() - failing_since), 0)::float8 AS failing_for, {work.VIEW}
""")  # noqa: S608 - a constant of this module


def start(connection: Connection, step: UUID, key: str) -> StartedUnit | None:
    """Put a unit to `running` and return what it needs; None when it is not to be done (any more)."""
    row = connection.execute(_START, {"step": step, "key": key}).one_or_none()
    if row is None:
        return None
    return StartedUnit(work.archive_of(row), key, row.unit_checkpoint, row.unit_attempts, row.failing_for)


# The step's row is locked first, so that of two units that end together the second sees that it is the last.
_CLOSE = text("""
    WITH held AS MATERIALIZED (SELECT id FROM step WHERE id = :step FOR UPDATE)
    UPDATE work_unit SET state = :state, checkpoint = CAST(:checkpoint AS jsonb), result = CAST(:result AS jsonb),
        attempts = CASE WHEN :state = 'queued' THEN 0 ELSE attempts END, failing_since = NULL,
        run_at = clock_timestamp() + interval '5 minutes', updated_at = clock_timestamp()
    FROM held WHERE step_id = held.id AND key = :key AND state = 'running'
""")

_LEFT = text("""
    UPDATE step SET progress = jsonb_build_object('what', CAST(:what AS text), 'total', CAST(:total AS bigint),
        'done', (SELECT coalesce(sum((result ->> 'done')::bigint), 0) FROM work_unit WHERE step_id = :step)),
        progress_at = CASE WHEN :got_on THEN clock_timestamp() ELSE progress_at END
    WHERE id = :step AND state IN ('queued', 'running', 'waiting')
    RETURNING (SELECT count(*) FROM work_unit WHERE step_id = :step AND state IN ('queued', 'running')) AS left
""")


def close(
    connection: Connection, started: StartedUnit, outcome: UnitOutcome, *, function: str, finished: CloudEvent
) -> list[CloudEvent]:
    """Record what a unit did; give back the request that goes on with it, or with the step after the last one.

    Raises Conflict when the unit is no longer being worked on.
    """
    step = started.archive.step
    closed = connection.execute(
        _CLOSE,
        {
            "step": step.id,
            "key": started.key,
            "state": "completed" if outcome.done else "queued",
            "checkpoint": json.dumps(dict(outcome.checkpoint)),
            "result": json.dumps(dict(outcome.result)),
        },
    )
    if closed.rowcount != 1:
        raise Conflict("The unit is no longer being worked on.")
    got_on = outcome.done or dict(outcome.checkpoint) != dict(started.checkpoint)
    left = _progress(connection, step.id, outcome.what, outcome.total, got_on=got_on)
    wanted: dict[str, Any] = {"archive": started.archive.id, "step": step.id, "attempt": step.attempt}
    if not outcome.done:
        wanted["unit"] = started.key
    elif left:
        wanted = {}
    events = (
        [
            build(
                request_type(step.name),
                wanted,
                source=f"/perdura/{function}",
                at=datetime.now(UTC),
                archive=started.archive.id,
                cause=finished,
                key=(step.id, started.key, started.attempts),
            )
        ]
        if wanted
        else []
    )
    outbox.write(connection, events, finished=(function, finished))
    return events


def _progress(connection: Connection, step: UUID, what: str, total: int | None, *, got_on: bool) -> int:
    row = connection.execute(_LEFT, {"step": step, "what": what, "total": total, "got_on": got_on}).one_or_none()
    return 1 if row is None else int(row.left)


_NOTE = text("""
    UPDATE work_unit SET result = jsonb_build_object('done', CAST(:done AS bigint))
    WHERE step_id = :step AND key = :key AND state = 'running'
""")


def note_progress(connection: Connection, step: UUID, key: str, what: str, done: int, total: int | None) -> None:
    """Show how far a unit is, and by that how far its step is: `total` is the step's."""
    connection.execute(_NOTE, {"step": step, "key": key, "done": done})
    _progress(connection, step, what, total, got_on=False)


def postpone(connection: Connection, step: UUID, key: str, after: float) -> None:
    """Have a unit that could not be finished done again later."""
    connection.execute(
        text("""
            UPDATE work_unit SET state = 'queued', run_at = clock_timestamp() + interval '1 second' * :after,
                failing_since = coalesce(failing_since, clock_timestamp())
            WHERE step_id = :step AND key = :key AND state = 'running'
        """),
        {"step": step, "key": key, "after": after},
    )
