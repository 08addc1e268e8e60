"""Runs of schedules in the registry: their batches, their items, and what became of each.

An item is started, settled and counted by guarded updates, so that any number of instances may work on one run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from perdura.errors import Conflict, NotFound
from perdura.registry.run_states import OPEN_RUNS, ItemState, RunState
from perdura.registry.schedules import OWNER_SHUT, SHUT


@dataclass(frozen=True, slots=True)
class Batch:
    """A slice of a run: a window of time, and of record ids within one second (`None`: open)."""

    number: int
    starts: datetime | None
    ends: datetime
    first_id: str | None = None
    last_id: str | None = None


@dataclass(frozen=True, slots=True)
class NewItem:
    """A listed record that joins a run, in the state that was decided for it."""

    recid: str
    revision: str
    title: str | None
    state: ItemState
    archive_id: UUID | None = None


_BEGIN = text("""
    WITH run AS (
        INSERT INTO harvest_run (id, schedule_id, target) SELECT :run, :schedule, :ends
        ON CONFLICT (schedule_id) WHERE state IN ('listing', 'running', 'paused') DO NOTHING RETURNING id
    ), first AS (
        INSERT INTO harvest_batch (run_id, number, starts, ends) SELECT id, 0, :starts, :ends FROM run
    ), left_over AS (
        SELECT run_id, recid FROM harvest_item JOIN harvest_run AS earlier ON earlier.id = run_id
        WHERE earlier.schedule_id = :schedule AND harvest_item.state = 'queued'
          AND earlier.state IN ('completed', 'completed_with_failures') AND EXISTS (SELECT FROM run)
    ), carried AS (
        UPDATE harvest_item SET run_id = :run, batch = 0, updated_at = clock_timestamp()
        FROM left_over WHERE harvest_item.run_id = left_over.run_id AND harvest_item.recid = left_over.recid
    )
    SELECT id FROM run
""")


def begin(connection: Connection, run: UUID, schedule: UUID, starts: datetime | None, ends: datetime) -> bool:
    """Begin a run with one batch; records that an earlier run of the schedule left over for its limit join it.

    False when the schedule has a run that is still open.
    """
    values = {"run": run, "schedule": schedule, "starts": starts, "ends": ends}
    return connection.execute(_BEGIN, values).one_or_none() is not None


def find(connection: Connection, run: UUID, *, lock: bool = False) -> Row[Any]:
    """A run with its schedule's columns (the schedule's id and state as `schedule_id`, `schedule_state`; `owner_shut`).

    Raises NotFound.
    """
    row = connection.execute(
        text(f"""
            SELECT harvest_run.*, schedule.source, schedule.base_url, schedule.way, schedule.query, schedule.set_name,
                schedule.follows, schedule.pipeline, schedule.collection_id, schedule.record_limit,
                schedule.concurrency, schedule.failures_at_least, schedule.failure_share, schedule.owner,
                schedule.scopes, schedule.done_until, schedule.name AS schedule_name, schedule.state AS schedule_state,
                {OWNER_SHUT} AS owner_shut
            FROM harvest_run JOIN schedule ON schedule.id = harvest_run.schedule_id
            WHERE harvest_run.id = :run {"FOR UPDATE OF harvest_run" if lock else ""}
        """),  # noqa: S608 - a constant
        {"run": run},
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such run.")
    return row


_STOP = text(f"""
    UPDATE harvest_run SET state = 'paused', reason = :reason, updated_at = clock_timestamp()
    FROM schedule WHERE schedule.id = schedule_id AND harvest_run.state IN ('listing', 'running') AND {OWNER_SHUT}
    RETURNING harvest_run.id
""")  # noqa: S608 - a constant


def stop_of_shut_accounts(connection: Connection) -> list[UUID]:
    """Pause the runs of schedules whose account was shut: nothing more is begun; returns which."""
    return list(connection.execute(_STOP, {"reason": SHUT}).scalars())


def working(connection: Connection) -> list[UUID]:
    """Runs that list or harvest."""
    return list(
        connection.execute(text("SELECT id FROM harvest_run WHERE state IN ('listing', 'running') ORDER BY id"))
        .scalars()
        .all()
    )


_TO_LIST = text("""
    UPDATE harvest_run SET look_at = clock_timestamp() + interval '15 minutes'
    WHERE id IN (SELECT id FROM harvest_run WHERE state = 'listing' AND look_at <= clock_timestamp()
                 ORDER BY look_at LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING id, look_at
""")


def to_list(connection: Connection, limit: int) -> list[tuple[UUID, datetime]]:
    """Runs whose listing has to be asked for (again), and until when that is now somebody's work."""
    return [(row.id, row.look_at) for row in connection.execute(_TO_LIST, {"limit": limit})]


def look_again(connection: Connection, run: UUID, reason: str | None, seconds: float) -> None:
    """Note why a listing could not go on, and in how many seconds it is asked for again."""
    connection.execute(
        text("""
            UPDATE harvest_run SET reason = :reason, updated_at = clock_timestamp(),
                look_at = clock_timestamp() + interval '1 second' * :seconds WHERE id = :run AND state = 'listing'
        """),
        {"run": run, "reason": reason, "seconds": seconds},
    )


_PUT_STATE = text("""
    UPDATE harvest_run SET state = :state, reason = :reason, updated_at = clock_timestamp(),
        look_at = clock_timestamp(),
        listed_at = CASE WHEN CAST(:listed AS boolean) THEN clock_timestamp() ELSE listed_at END,
        finished_at = CASE WHEN CAST(:final AS boolean) THEN clock_timestamp() END,
        forgiven = coalesce(CAST(:forgiven AS integer), forgiven)
    WHERE id = :run AND state = ANY(:expected)
""")


def put_state(
    connection: Connection,
    run: UUID,
    state: RunState,
    *,
    expected: Iterable[RunState],
    reason: str | None = None,
    listed: bool = False,
    forgiven: int | None = None,
) -> None:
    """Move a run, if it is in one of the expected states; raises Conflict when it is not."""
    values = {"run": run, "state": state, "reason": reason, "listed": listed, "final": state not in OPEN_RUNS}
    values["forgiven"] = forgiven
    done = connection.execute(_PUT_STATE, {**values, "expected": [str(each) for each in expected]})
    if done.rowcount != 1:
        raise Conflict(f"The run is in a state from which it cannot become {state}.", code="run-state")


# ------------------------------------------------------------------------------------------------------- batches


def pending(connection: Connection, run: UUID) -> list[Batch]:
    """Batches that are still to be listed."""
    rows = connection.execute(
        text("""
            SELECT number, starts, ends, first_id, last_id FROM harvest_batch
            WHERE run_id = :run AND listed_at IS NULL ORDER BY number
        """),
        {"run": run},
    )
    return [Batch(row.number, row.starts, row.ends, row.first_id, row.last_id) for row in rows]


_DIVIDE = text("""
    WITH gone AS (DELETE FROM harvest_batch WHERE run_id = :run AND number = :number),
    highest AS (SELECT coalesce(max(number), 0) AS number FROM harvest_batch WHERE run_id = :run)
    INSERT INTO harvest_batch (run_id, number, starts, ends, first_id, last_id)
    SELECT :run, highest.number + part.n, starts, ends, first_id, last_id
    FROM jsonb_to_recordset(CAST(:parts AS jsonb)) AS part (n int, starts timestamptz, ends timestamptz,
        first_id text, last_id text), highest
""")


def divide(connection: Connection, run: UUID, batch: Batch, parts: Sequence[Batch]) -> None:
    """Put smaller batches in the place of one that is too large."""
    rows = [
        {
            "n": number,
            "starts": part.starts.isoformat() if part.starts else None,
            "ends": part.ends.isoformat(),
            "first_id": part.first_id,
            "last_id": part.last_id,
        }
        for number, part in enumerate(parts, 1)
    ]
    connection.execute(_DIVIDE, {"run": run, "number": batch.number, "parts": json.dumps(rows)})


def note_page(
    connection: Connection,
    run: UUID,
    batch: int,
    pages: int,
    total: int | None,
    *,
    reached: datetime | None = None,
    listed: bool = False,
) -> None:
    """Note how far a batch is listed: all of it, or everything before `reached`, where the next look begins."""
    connection.execute(
        text("""
            UPDATE harvest_batch SET pages = :pages, total = greatest(total, :total),
                starts = coalesce(CAST(:reached AS timestamptz), starts),
                listed_at = CASE WHEN CAST(:listed AS boolean) THEN clock_timestamp() END
            WHERE run_id = :run AND number = :batch
        """),
        {"run": run, "batch": batch, "pages": pages, "total": total, "reached": reached, "listed": listed},
    )


# --------------------------------------------------------------------------------------------------------- items

_ADD = text("""
    INSERT INTO harvest_item (run_id, recid, batch, source, revision, title, state, archive_id)
    SELECT :run, recid, :batch, :source, revision, title, state, archive_id
    FROM ROWS FROM (jsonb_to_recordset(CAST(:items AS jsonb))
        AS (recid text, revision text, title text, state text, archive_id uuid)) WITH ORDINALITY
        AS i (recid, revision, title, state, archive_id, n) ORDER BY n
    ON CONFLICT (run_id, recid) DO UPDATE SET revision = excluded.revision, title = excluded.title,
        updated_at = clock_timestamp()
    WHERE harvest_item.state = 'queued'
""")


def add(connection: Connection, run: UUID, batch: int, source: str, items: Sequence[NewItem]) -> None:
    """Add listed records to a run; one that is there already and not begun takes the newer revision."""
    rows = [{**asdict(item), "archive_id": str(item.archive_id) if item.archive_id else None} for item in items]
    connection.execute(_ADD, {"run": run, "batch": batch, "source": source, "items": json.dumps(rows)})


@dataclass(frozen=True, slots=True)
class Seen:
    """What the registry knows of a record: revisions last harvested, the revision in work, and the Archive."""

    revision: str | None = None
    listed: str | None = None
    in_work: str | None = None
    archive: UUID | None = None


_SEEN = text("""
    SELECT recid, revision, listed, archive_id, NULL AS in_work FROM harvested
    WHERE source = :source AND recid = ANY(:recids)
    UNION ALL
    SELECT recid, NULL, NULL, NULL, revision FROM harvest_item
    WHERE source = :source AND recid = ANY(:recids) AND state IN ('queued', 'running')
""")


def seen(connection: Connection, source: str, recids: Sequence[str]) -> Mapping[str, Seen]:
    """What is known of these records of a source."""
    found: dict[str, Seen] = {}
    for row in connection.execute(_SEEN, {"source": source, "recids": list(recids)}):
        before = found.get(row.recid, Seen())
        if row.in_work is not None:
            found[row.recid] = Seen(before.revision, before.listed, row.in_work, before.archive)
        else:
            found[row.recid] = Seen(row.revision, row.listed, before.in_work, row.archive_id)
    return found


def counts(connection: Connection, run: UUID) -> Mapping[ItemState, int]:
    """Items of a run by state."""
    rows = connection.execute(
        text("SELECT state, count(*) AS number FROM harvest_item WHERE run_id = :run GROUP BY state"), {"run": run}
    )
    return {ItemState(row.state): row.number for row in rows}


_TAKE = text("""
    SELECT recid, revision, title, archive_id,
        (SELECT fingerprint FROM harvested WHERE harvested.source = harvest_item.source
         AND harvested.recid = harvest_item.recid) AS fingerprint
    FROM harvest_item WHERE run_id = :run AND state = 'queued' ORDER BY position LIMIT :limit
    FOR UPDATE SKIP LOCKED
""")


def take(connection: Connection, run: UUID, limit: int) -> list[Row[Any]]:
    """Lock the next queued items of a run, oldest first."""
    return list(connection.execute(_TAKE, {"run": run, "limit": limit})) if limit else []


def started(connection: Connection, run: UUID, archives: Mapping[str, UUID]) -> None:
    """Note that items (by record id) are being harvested into their Archives."""
    connection.execute(
        text("""
            UPDATE harvest_item SET state = 'running', archive_id = (CAST(:archives AS jsonb) ->> recid)::uuid,
                error_code = NULL, message = NULL, updated_at = clock_timestamp()
            WHERE run_id = :run AND recid IN (SELECT jsonb_object_keys(CAST(:archives AS jsonb)))
        """),
        {"run": run, "archives": json.dumps({recid: str(archive) for recid, archive in archives.items()})},
    )


_SETTLE = text("""
    WITH settled AS (
        UPDATE harvest_item SET state = :state, error_code = :code, message = :message, updated_at = clock_timestamp()
        WHERE archive_id = :archive AND state <> 'cancelled' RETURNING run_id, source, recid, revision
    ), known AS (
        INSERT INTO harvested (source, recid, revision, listed, fingerprint, archive_id)
        SELECT DISTINCT ON (source, recid) source, recid, CAST(:revision AS text), listed, :fingerprint,
            CAST(:archive AS uuid)
        FROM (
            SELECT source, recid, revision AS listed FROM settled
            UNION ALL SELECT CAST(:source AS text), CAST(:recid AS text), NULL
        ) AS names (source, recid, listed)
        WHERE CAST(:fingerprint AS text) IS NOT NULL ORDER BY source, recid, listed NULLS LAST
        ON CONFLICT (source, recid) DO UPDATE SET revision = excluded.revision,
            listed = coalesce(excluded.listed, harvested.listed), fingerprint = excluded.fingerprint,
            archive_id = CASE WHEN CAST(:renewed AS boolean) THEN excluded.archive_id ELSE harvested.archive_id END,
            harvested_at = clock_timestamp()
    )
    SELECT run_id FROM settled
""")


def settle(
    connection: Connection,
    archive: UUID,
    state: ItemState,
    *,
    code: str | None = None,
    message: str | None = None,
    harvested: tuple[str, str, str | None, str] | None = None,
) -> list[UUID]:
    """Note what became of the item that an Archive harvests, and what the record is known by from now on.

    `harvested` is (source, recid, revision, fingerprint). Returns the runs that may have to move.
    """
    source, recid, revision, fingerprint = harvested or (None, None, None, None)
    rows = connection.execute(
        _SETTLE,
        {
            "archive": archive,
            "state": state,
            "code": code,
            "message": message,
            "source": source,
            "recid": recid,
            "revision": revision,
            "fingerprint": fingerprint,
            "renewed": state is ItemState.DONE,
        },
    )
    return [row.run_id for row in rows]


_ASTRAY = text("""
    UPDATE harvest_item SET updated_at = clock_timestamp(), error_code = last.error_code, message = last.error_message,
        state = CASE last.state WHEN 'completed' THEN 'done' WHEN 'completed_with_warnings' THEN 'done'
            WHEN 'cancelled' THEN 'cancelled' ELSE 'failed' END
    FROM (
        SELECT DISTINCT ON (step.archive_id) step.archive_id, step.state, step.error_code, step.error_message
        FROM step JOIN harvest_item AS item ON item.archive_id = step.archive_id
        WHERE item.run_id = :run AND item.state = 'running' AND step.name = 'harvest'
        ORDER BY step.archive_id, step.attempt DESC
    ) AS last
    WHERE harvest_item.run_id = :run AND harvest_item.state = 'running' AND harvest_item.archive_id = last.archive_id
      AND last.state IN ('completed', 'completed_with_warnings', 'failed', 'blocked', 'cancelled')
""")


def gather_astray(connection: Connection, run: UUID) -> int:
    """Settle items whose harvest ended in another way than by its own function (a person cancelled the step)."""
    return connection.execute(_ASTRAY, {"run": run}).rowcount


def put_items(connection: Connection, run: UUID, before: ItemState, after: ItemState) -> int:
    """Move all items of a run that are in one state into another; returns how many."""
    done = connection.execute(
        text("""
            UPDATE harvest_item SET state = :after, updated_at = clock_timestamp()
            WHERE run_id = :run AND state = :before
        """),
        {"run": run, "before": before, "after": after},
    )
    return done.rowcount
