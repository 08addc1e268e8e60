"""Schedules in the registry: kept, changed by people, due when their time has come."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, TextClause, text
from sqlalchemy.exc import IntegrityError

from perdura.errors import Conflict, NotFound
from perdura.ids import new_id
from perdura.registry.run_states import ScheduleState


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a schedule harvests and how it behaves (the columns of `schedule` that people set)."""

    name: str
    source: str
    way: str
    cron: str
    pipeline: tuple[str, ...]
    base_url: str | None = None
    query: str = ""
    set_name: str | None = None
    follows: str = "updated"
    collection_id: UUID | None = None
    record_limit: int | None = None
    concurrency: int = 4
    overlap_seconds: int = 600
    grace_seconds: int = 300
    failures_at_least: int = 10
    failure_share: float = 0.25


COLUMNS = tuple(Wanted.__dataclass_fields__)
"""The columns that people set."""

_CREATE = (
    f"INSERT INTO schedule (id, owner, owner_name, scopes, done_until, next_at, {', '.join(COLUMNS)}) "  # noqa: S608 - our own
    f"VALUES (:id, :owner, :owner_name, :scopes, :done_until, :next_at, {', '.join(f':{name}' for name in COLUMNS)})"
)


@dataclass(frozen=True, slots=True)
class Owner:
    """The account that made a schedule (None: nobody in particular), its name for people, and its scopes, if any."""

    account: UUID | None
    name: str
    scopes: Sequence[str] | None = None


def create(
    connection: Connection, wanted: Wanted, *, owner: Owner, since: datetime | None, next_at: datetime | None
) -> UUID:
    """Keep a new schedule; its first window begins at `since` (None: at the beginning). Raises Conflict, NotFound."""
    schedule = new_id()
    values = _values({name: getattr(wanted, name) for name in COLUMNS})
    made_by = {"owner": owner.account, "owner_name": owner.name, "scopes": owner.scopes}
    given = {**made_by, "id": schedule, "done_until": since, "next_at": next_at}
    _guarded(connection, _statement(_CREATE), {**values, **given}, wanted.name)
    return schedule


_NARROWED = """scopes = CASE WHEN CAST(:within AS text[]) IS NULL THEN scopes WHEN scopes IS NULL THEN :within
    ELSE ARRAY(SELECT unnest(scopes) INTERSECT SELECT unnest(CAST(:within AS text[])) ORDER BY 1) END"""


def change(
    connection: Connection,
    schedule: UUID,
    values: Mapping[str, Any],
    *,
    next_at: datetime | None,
    scopes: Sequence[str] | None = None,
) -> None:
    """Change some columns of a schedule, which from then on stays within the scopes of who changes it.

    Raises Conflict when the name is taken, NotFound.
    """
    sets = ", ".join([*(f"{name} = :{name}" for name in values if name in COLUMNS), _NARROWED])
    statement = f"UPDATE schedule SET {sets}, next_at = :next_at, updated_at = clock_timestamp() WHERE id = :id"  # noqa: S608 - names of our own columns
    _guarded(
        connection,
        _statement(statement),
        {**_values(values), "id": schedule, "next_at": next_at, "within": scopes},
        str(values.get("name", "")),
    )


def _guarded(connection: Connection, statement: TextClause, values: Mapping[str, Any], name: str) -> None:
    try:
        with connection.begin_nested():
            done = connection.execute(statement, dict(values))
    except IntegrityError as error:
        if "collection" in str(error.orig):
            raise NotFound("There is no such collection.") from error
        raise Conflict(f"There is a schedule called {name!r} already.", code="name-taken") from error
    if done.rowcount != 1:
        raise NotFound("There is no such schedule.")


def _statement(sql: str) -> TextClause:
    return text(sql.replace(":pipeline", "CAST(:pipeline AS jsonb)"))


def _values(values: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(values)
    if "pipeline" in found:
        found["pipeline"] = json.dumps(list(found["pipeline"]))
    return found


_PUT_STATE = text("""
    UPDATE schedule SET state = :state, next_at = :next_at, updated_at = clock_timestamp()
    WHERE id = :id AND state <> 'retired'
""")


def put_state(connection: Connection, schedule: UUID, state: ScheduleState, next_at: datetime | None) -> None:
    """Pause, resume or retire a schedule; raises NotFound for one that is not there or retired."""
    done = connection.execute(_PUT_STATE, {"id": schedule, "state": state, "next_at": next_at})
    if done.rowcount != 1:
        raise NotFound("There is no such schedule, or it is retired.")


OWNER_SHUT = "EXISTS (SELECT FROM account WHERE account.id = schedule.owner AND disabled_at IS NOT NULL)"
"""The condition on `schedule` rows whose account is shut."""

SHUT = "The account that made the schedule is shut. Who resumes it makes it their own."


def find(connection: Connection, schedule: UUID, *, lock: bool = False) -> Row[Any]:
    """The row of a schedule, and whether its `owner_shut`; raises NotFound."""
    row = connection.execute(
        text(f"""
            SELECT schedule.*, {OWNER_SHUT} AS owner_shut FROM schedule
            WHERE id = :id {"FOR UPDATE OF schedule" if lock else ""}
        """),  # noqa: S608 - constants
        {"id": schedule},
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such schedule.")
    return row


_TAKE_OVER = text(f"""
    UPDATE schedule SET owner = :owner, owner_name = :name, scopes = :scopes, updated_at = clock_timestamp()
    WHERE id = :id AND {OWNER_SHUT}
""")  # noqa: S608 - constants


def take_over(connection: Connection, schedule: UUID, owner: Owner) -> None:
    """Make a schedule whose account is shut that of somebody else; any other stays whose it is."""
    given = {"id": schedule, "owner": owner.account, "name": owner.name, "scopes": owner.scopes}
    connection.execute(_TAKE_OVER, given)


_STOP = text(f"""
    UPDATE schedule SET state = 'paused', next_at = NULL, updated_at = clock_timestamp()
    WHERE state = 'active' AND {OWNER_SHUT} RETURNING id
""")  # noqa: S608 - constants


def stop_of_shut_accounts(connection: Connection) -> list[UUID]:
    """Pause the schedules whose account was shut; returns which were active."""
    return list(connection.execute(_STOP).scalars())


_DUE = text("""
    SELECT * FROM schedule WHERE state = 'active' AND next_at <= clock_timestamp()
    ORDER BY next_at LIMIT :limit FOR UPDATE SKIP LOCKED
""")


def due(connection: Connection, limit: int) -> list[Row[Any]]:
    """Lock and return active schedules whose time has come, skipping those another instance holds."""
    return list(connection.execute(_DUE, {"limit": limit}))


def note_next(connection: Connection, schedule: UUID, next_at: datetime | None) -> None:
    """Note when a schedule is due again."""
    connection.execute(
        text("UPDATE schedule SET next_at = :next_at WHERE id = :id"), {"id": schedule, "next_at": next_at}
    )


def reached(connection: Connection, schedule: UUID, done_until: datetime | None) -> None:
    """Move the schedule's cursor: everything before `done_until` is queued. It never moves back."""
    connection.execute(
        text("""
            UPDATE schedule SET done_until = :until WHERE id = :id
            AND CAST(:until AS timestamptz) IS NOT NULL AND (done_until IS NULL OR done_until < :until)
        """),
        {"id": schedule, "until": done_until},
    )
