"""The schema stays one that the version before can work with."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, text

from tests.contract.version_before import TODAY, version_before

pytestmark = pytest.mark.stack

COLUMNS = """
    SELECT c.table_name || '.' || c.column_name, c.udt_name, c.is_nullable = 'NO',
        c.is_nullable = 'YES' OR c.column_default IS NOT NULL OR c.is_identity = 'YES' OR c.is_generated = 'ALWAYS'
    FROM information_schema.columns AS c WHERE c.table_schema = 'public'
"""
FUNCTIONS = """
    SELECT p.oid::regprocedure::text || ' ' || pg_get_function_result(p.oid) FROM pg_proc AS p
    WHERE p.pronamespace = 'public'::regnamespace
"""
CONSTRAINTS = """
    SELECT conrelid::regclass::text || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND contype NOT IN ('n', 't')
    UNION SELECT indrelid::regclass::text || ' ' || indexrelid::regclass::text || ' ' || pg_get_indexdef(indexrelid)
    FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
    WHERE indisunique AND relnamespace = 'public'::regnamespace
"""


@dataclass(frozen=True)
class Shape:
    """What statements of a version rely on: columns, functions, and what is forbidden."""

    columns: dict[str, tuple[str, bool, bool]]
    functions: frozenset[str]
    constraints: frozenset[str]

    @property
    def tables(self) -> set[str]:
        """Names of the tables."""
        return {column.partition(".")[0] for column in self.columns}


def shape(connection: Connection) -> Shape:
    columns = {name: (kind, needed, free) for name, kind, needed, free in connection.execute(text(COLUMNS))}
    functions = frozenset(connection.execute(text(FUNCTIONS)).scalars())
    return Shape(columns, functions, frozenset(connection.execute(text(CONSTRAINTS)).scalars()))


def breaches(old: Shape, new: Shape) -> list[str]:
    """What statements written for `old` would stumble over in `new`."""
    found = [f"function {name} is gone" for name in old.functions - new.functions]
    for name, (kind, needed, _) in old.columns.items():
        if name not in new.columns:
            found.append(f"column {name} is gone")
        elif new.columns[name][0] != kind:
            found.append(f"column {name} was {kind}, is {new.columns[name][0]}")
        elif new.columns[name][1] and not needed:
            found.append(f"column {name} may no longer be null")
    for name in set(new.columns) - set(old.columns):
        if name.partition(".")[0] in old.tables and not new.columns[name][2]:
            found.append(f"column {name} is needed and has no default")
    return found + [
        f"new constraint: {each}" for each in new.constraints - old.constraints if each.split()[0] in old.tables
    ]


def test_migrations_since_the_version_before_only_add(postgres_url: str) -> None:
    before = version_before()
    admin = create_engine(f"{postgres_url}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE adding"))
    engine = create_engine(f"{postgres_url}/adding")
    config = Config()
    config.set_main_option("script_location", str(TODAY / "shared/perdura/registry/migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, before.migration)
        old = shape(connection)
        command.upgrade(config, "head")
        new = shape(connection)
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE adding WITH (FORCE)"))
    admin.dispose()
    assert len(old.columns) > 100
    assert breaches(old, new) == []


def test_what_a_migration_may_not_do_is_found(owner: Engine) -> None:
    forbidden = (
        "ALTER TABLE step DROP COLUMN progress",
        "ALTER TABLE step RENAME COLUMN progress TO done",
        "ALTER TABLE step ALTER COLUMN progress SET NOT NULL",
        "ALTER TABLE step ADD COLUMN owner text NOT NULL",
        "ALTER TABLE step ALTER COLUMN deliveries TYPE bigint",
        "ALTER TABLE step ADD CONSTRAINT few CHECK (attempt < 10)",
        "CREATE UNIQUE INDEX one ON step (archive_id)",
        "ALTER TABLE outbox RENAME TO sent",
    )
    allowed = (
        "ALTER TABLE step ADD COLUMN owner text",
        "CREATE TABLE more (a int NOT NULL)",
        "CREATE INDEX i ON step (name)",
    )
    with owner.connect() as connection:
        old = shape(connection)
        for statement in (*forbidden, *allowed):
            attempt = connection.begin_nested()
            connection.execute(text(statement))
            assert bool(breaches(old, shape(connection))) is (statement in forbidden), statement
            attempt.rollback()
