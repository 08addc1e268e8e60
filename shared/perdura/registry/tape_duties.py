"""Recurring duties of tape: restore drills by chance, the end of recalled copies, and the state of our credentials."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.cloudevents.message import CloudEvent
from perdura.ids import derived_id
from perdura.ports import TapeCredentials
from perdura.recordable import recordable
from perdura.registry import archives
from perdura.registry.tape_tables import LOCATION
from perdura.storage.store import ObjectRef

_SAMPLE = text("""
    SELECT archive_id, package_id FROM copy JOIN package ON package.id = copy.package_id
    WHERE location = :location AND copy.state = 'held'
    ORDER BY sha256(convert_to(:seed || ':' || package_id, 'UTF8')) LIMIT :count
""")


def begin_drill(connection: Connection, *, count: int, seed: str) -> list[CloudEvent]:
    """Ask for a rehearsed recall of `count` copies on tape, chosen by chance.

    The same `seed` (the day) chooses the same copies and asks for them once, however often it is tried.
    """
    rows = connection.execute(_SAMPLE, {"location": LOCATION, "seed": seed, "count": count})
    events: list[CloudEvent] = []
    for row in rows.all():
        step = derived_id("drill", row.package_id, seed)
        events += archives.recall(connection, row.archive_id, package=row.package_id, drill=True, step=step).events
    return events


@dataclass(frozen=True, slots=True)
class Restored:
    """A copy that a recall left in the store and whose time is over. `shared`: a later recall keeps the object."""

    step: UUID
    archive: UUID
    aip: UUID | None
    ref: ObjectRef
    size: int
    expired_at: datetime
    shared: bool


_OVER = text("""
    SELECT step.id, step.archive_id, CAST(checkpoint ->> 'aip' AS uuid) AS aip, output -> 'recall' AS recall,
        EXISTS (SELECT FROM step AS later WHERE later.archive_id = step.archive_id AND later.name = 'recall'
                AND later.id <> step.id AND later.output #>> '{recall,key}' = step.output #>> '{recall,key}'
                AND coalesce(later.output #>> '{recall,version_id}' = step.output #>> '{recall,version_id}', true)
                AND later.output #>> '{recall,removed_at}' IS NULL
                AND later.output #>> '{recall,expires_at}' > step.output #>> '{recall,expires_at}') AS shared
    FROM step WHERE name = 'recall' AND state = 'completed' AND output #>> '{recall,expires_at}' < :now
        AND output #>> '{recall,removed_at}' IS NULL
    ORDER BY output #>> '{recall,expires_at}' LIMIT :limit FOR UPDATE OF step SKIP LOCKED
""")


def recalled_and_over(connection: Connection, now: datetime, limit: int = 100) -> list[Restored]:
    """Lock and give back recalled copies whose time is over, the oldest first."""
    found = connection.execute(_OVER, {"now": now.isoformat(), "limit": limit})
    return [
        Restored(
            step=row.id,
            archive=row.archive_id,
            aip=row.aip,
            ref=ObjectRef(row.recall["bucket"], row.recall["key"], row.recall.get("version_id")),
            size=row.recall["bytes"],
            expired_at=datetime.fromisoformat(row.recall["expires_at"]),
            shared=row.shared,
        )
        for row in found
    ]


def removed(connection: Connection, steps: Sequence[UUID], now: datetime) -> None:
    """Note in the output of recalls that their copies are gone."""
    connection.execute(
        text("""
            UPDATE step SET output = jsonb_set(output, '{recall,removed_at}', to_jsonb(CAST(:now AS text))),
                updated_at = clock_timestamp()
            WHERE id = ANY(:steps)
        """),
        {"now": now.isoformat(), "steps": list(steps)},
    )


def jobs_open(connection: Connection) -> bool:
    """Whether any job is in flight."""
    return bool(connection.execute(text("SELECT EXISTS (SELECT FROM tape_job WHERE ended_at IS NULL)")).scalar_one())


def note_credentials(connection: Connection, found: TapeCredentials, error: str | None, now: datetime) -> None:
    """Keep what is known of our credentials, for the API and the metrics; `error`: why they could not be renewed."""
    ends, proxy = found.expires_at, found.proxy_expires_at
    document: dict[str, Any] = {
        "error": recordable(error),
        "holder": found.holder,
        "expires_at": ends.isoformat() if ends else None,
        "proxy_expires_at": proxy.isoformat() if proxy else None,
    }
    connection.execute(
        text("""
            INSERT INTO tape_destination (location, credentials, credentials_at)
            VALUES (:at, CAST(:credentials AS jsonb), :now)
            ON CONFLICT (location) DO UPDATE SET credentials = excluded.credentials,
                credentials_at = excluded.credentials_at
        """),
        {"at": LOCATION, "credentials": json.dumps(document), "now": now},
    )
