"""Audits: a stored AIP that nobody has read for long is read again without anybody asking."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from perdura.cloudevents.message import CloudEvent
from perdura.registry.audits import begin_audits
from perdura.runtime import relay
from perdura.runtime.environment import Environment
from perdura.settings import Settings

pytestmark = pytest.mark.stack

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
UNREAD = timedelta(days=180)


def stored(database: Engine, verified: datetime | None, location: str = "object-store", state: str = "held") -> UUID:
    """An AIP with one copy."""
    row = {"id": uuid4(), "archive": uuid4(), "verified": verified, "location": location, "state": state}
    with database.begin() as connection:
        connection.execute(text("INSERT INTO archive (id, origin, pipeline) VALUES (:archive, 'deposit', '[]')"), row)
        connection.execute(
            text("""
                INSERT INTO package (id, archive_id, kind, bucket, key, container, size, checksums, accepted)
                VALUES (:id, :archive, 'AIP', 'aips', 'a', 'tar', 1, '{}', true)
            """),
            row,
        )
        connection.execute(
            text("""
                INSERT INTO copy (package_id, location, uri, size, checksums, verified_at, state)
                VALUES (:id, :location, 'a', 1, '{}', :verified, :state)
            """),
            row,
        )
    return UUID(str(row["id"]))


def asked(database: Engine, now: datetime = NOW, at_once: int = 4) -> Sequence[CloudEvent]:
    with database.begin() as connection:
        return begin_audits(connection, now, UNREAD, at_once)


def checked(database: Engine) -> set[str]:
    """The packages that checks were begun of."""
    with database.connect() as connection:
        return set(connection.execute(text("SELECT input ->> 'package' FROM step WHERE name = 'verify'")).scalars())


def end(database: Engine, state: str, now: datetime = NOW) -> None:
    """What is open ends so; the clock of the database is that of the test."""
    with database.begin() as connection:
        values = {"state": state, "now": now}
        connection.execute(text("UPDATE step SET state = :state, created_at = :now WHERE state = 'queued'"), values)


def test_the_longest_unread_is_next_and_one_never_read_before_it(database: Engine) -> None:
    old, older, never = (stored(database, NOW - timedelta(days=days)) for days in (181, 500, 9000))
    with database.begin() as connection:
        connection.execute(text("UPDATE copy SET verified_at = NULL WHERE package_id = :id"), {"id": never})
    stored(database, NOW - timedelta(days=179))
    begun: set[str] = set()
    for package in (never, older, old):
        [event] = asked(database, at_once=1)
        assert event.type == "org.perdura.verify.requested.v1"
        before, begun = begun, checked(database)
        assert begun - before == {str(package)}
        assert asked(database, at_once=1) == [], "it is under way"
        with database.begin() as connection:
            connection.execute(
                text("UPDATE copy SET verified_at = :now WHERE package_id = :id"), {"now": NOW, "id": package}
            )
        end(database, "completed")
    assert asked(database) == []
    assert len(checked(database)) == 3


def test_no_more_are_open_at_once_than_are_wanted(database: Engine) -> None:
    for _ in range(6):
        stored(database, None)
    assert len(asked(database)) == 4
    assert asked(database) == []
    end(database, "completed")
    assert len(asked(database)) == 2, "whoever was asked is not asked again"


@pytest.mark.parametrize(
    ("location", "state"), [("tape", "held"), ("object-store", "damaged"), ("object-store", "lost")]
)
def test_copies_on_tape_and_those_known_to_be_broken_are_left(database: Engine, location: str, state: str) -> None:
    stored(database, None, location, state)
    assert asked(database) == []


@pytest.mark.parametrize("state", ["blocked", "failed", "cancelled"])
def test_a_check_that_came_to_nothing_is_made_again_after_the_same_time(database: Engine, state: str) -> None:
    stored(database, None)
    assert len(asked(database)) == 1
    end(database, state)
    assert asked(database, NOW + timedelta(days=1)) == []
    assert asked(database, NOW + UNREAD - timedelta(seconds=1)) == []
    assert len(asked(database, NOW + UNREAD + timedelta(days=1))) == 1


@pytest.mark.parametrize(("days", "begun"), [(180, 1), (0, 0)])
def test_the_relay_begins_audits_unless_told_not_to(
    database: Engine, database_url: str, days: float, begun: int
) -> None:
    stored(database, None)
    environment = Environment(Settings(database_url=database_url, audit_days=days))
    assert len(relay.audit(environment)) == begun
    assert "audit" in {duty.name for duty in relay.duties_of(environment.settings)}


def test_looking_for_what_is_due_reads_the_index_alone(database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = connection.execute(
            text("""EXPLAIN SELECT package_id FROM copy WHERE location = 'object-store' AND state = 'held'
                    AND coalesce(verified_at, '-infinity'::timestamptz) < now()
                    ORDER BY coalesce(verified_at, '-infinity'::timestamptz) LIMIT 4""")
        ).scalars()
        assert "ix_copy_audit" in "".join(plan)
