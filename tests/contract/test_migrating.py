"""Migrations beside functions that work: as long as they take, and never in the way for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, Engine, text

from perdura.database import migrating
from perdura.errors import Retryable
from perdura.registry import migrate
from perdura.settings import Settings

pytestmark = pytest.mark.stack


@pytest.fixture
def behind(owner: Engine) -> Engine:
    """A database that lacks the newest migration, by its own word."""
    with owner.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    return owner


def a_migration(monkeypatch: pytest.MonkeyPatch, run: Callable[[Connection], object]) -> None:
    """Stands for whatever the newest migration does."""
    from alembic import command

    def upgrade(config: object, _revision: str) -> None:
        connection: Connection = config.attributes["connection"]  # type: ignore[attr-defined]
        run(connection)
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{migrate.HEAD}'"))

    monkeypatch.setattr(command, "upgrade", upgrade)


def at(database: Engine) -> str | None:
    with database.connect() as connection:
        return migrate.current(connection)


def test_a_migration_may_take_longer_than_a_statement_of_a_function(
    behind: Engine, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_migration(monkeypatch, lambda connection: connection.execute(text("SELECT pg_sleep(3)")))
    migrate.bring_up(Settings(database_url=owner_url, database_statement_timeout=1))
    assert at(behind) == migrate.HEAD


def test_a_table_in_use_is_waited_for_shortly_and_again(
    behind: Engine, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 0.3)
    a_migration(monkeypatch, lambda connection: connection.execute(text("ALTER TABLE step ADD COLUMN tried int")))
    done = threading.Event()

    def bring_up() -> None:
        migrate.bring_up(Settings(database_url=owner_url), wait=0.5)
        done.set()

    with behind.connect() as user, user.begin():
        user.execute(text("SELECT count(*) FROM step"))
        threading.Thread(target=bring_up, daemon=True).start()
        waits = []
        for _ in range(20):
            begun = time.monotonic()
            with behind.begin() as other:
                other.execute(text("SELECT count(*) FROM step"))
            waits.append(time.monotonic() - begun)
            time.sleep(0.1)
        assert not done.is_set()
        assert max(waits) < 2, "functions go on beside a migration that waits"
    assert done.wait(10)
    assert at(behind) == migrate.HEAD


def test_a_table_that_stays_in_use_leaves_the_schema_as_it_was(
    behind: Engine, owner_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 0.1)
    a_migration(monkeypatch, lambda connection: connection.execute(text("ALTER TABLE step ADD COLUMN tried int")))
    with behind.connect() as user, user.begin():
        user.execute(text("SELECT count(*) FROM step"))
        with pytest.raises(Retryable, match="in use"):
            migrate.bring_up(Settings(database_url=owner_url), patience=1, wait=0.2)
    assert at(behind) == "0000"


def test_migrations_are_made_by_the_owner_past_the_pooler(owner: Engine, owner_url: str) -> None:
    settings = Settings(database_url="postgresql+pg8000://nobody@127.0.0.1:1/none", database_owner_url=owner_url)
    migrate.bring_up(settings)
    made = migrating(settings, 5)
    with made.connect() as connection:
        shown = [connection.execute(text(f"SHOW {name}")).scalar() for name in ("statement_timeout", "lock_timeout")]
    made.dispose()
    assert shown == ["0", "5s"]
