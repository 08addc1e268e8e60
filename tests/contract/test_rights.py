"""The rights that functions have in the database: enough to work, and no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from perdura.premis.schema import APPLICATION_ROLE
from perdura.registry import migrate, rights

pytestmark = pytest.mark.stack

HELD = text("""
    SELECT table_name,
           string_agg(privilege_type, ', ' ORDER BY position(privilege_type IN 'SELECT INSERT UPDATE DELETE')) AS rights
    FROM information_schema.table_privileges
    WHERE grantee = :role AND table_schema = current_schema() GROUP BY table_name
""")

TABLES = text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")


def test_every_table_has_the_rights_that_are_written_down(database: Engine) -> None:
    with database.connect() as connection:
        held = {row.table_name: row.rights for row in connection.execute(HELD, {"role": APPLICATION_ROLE})}
        tables = [name for name in connection.execute(TABLES).scalars() if not name.startswith(rights.LOG)]
    expected = {name: rights.rights_on(name).partition(", UPDATE (")[0] for name in tables}
    assert {name: held.get(name) for name in tables} == expected


def test_views_can_be_read(database: Engine) -> None:
    views = text("SELECT viewname FROM pg_views WHERE schemaname = current_schema()")
    with database.connect() as connection:
        held = {row.table_name: row.rights for row in connection.execute(HELD, {"role": APPLICATION_ROLE})}
        found = list(connection.execute(views).scalars())
    assert found
    assert {held.get(view) for view in found} == {"SELECT"}


def test_what_is_written_down_is_of_tables_that_there_are(database: Engine) -> None:
    with database.connect() as connection:
        tables = set(connection.execute(TABLES).scalars())
    assert {*rights.REMOVABLE, *rights.ADDED_TO, *rights.COLUMNS, *rights.READ} <= tables


@pytest.mark.parametrize("table", ["archive", "step", "package", "copy", "package_file", "audit_entry", "deposit"])
def test_no_function_can_remove_what_is_kept(database: Engine, table: str) -> None:
    with database.connect() as connection:
        connection.execute(text(f"SET LOCAL ROLE {APPLICATION_ROLE}"))
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}", f"DROP TABLE {table}"):
            with pytest.raises(ProgrammingError, match="42501"), connection.begin_nested():
                connection.execute(text(statement))


def test_a_role_that_is_made_after_the_tables_gets_its_rights_at_the_next_start(owner: Engine) -> None:
    with owner.begin() as connection:
        connection.execute(text(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {APPLICATION_ROLE}"))
    migrate.upgrade(owner)
    with owner.connect() as connection:
        connection.execute(text(f"SET LOCAL ROLE {APPLICATION_ROLE}"))
        connection.execute(text("SELECT count(*) FROM archive"))
        connection.execute(text("SELECT count(*) FROM premis_log"))


def test_the_roles_that_the_manual_makes_can_be_made(owner: Engine) -> None:
    manual = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
    [block] = re.findall(r"```sql\n(.*?)```", manual.read_text(), re.DOTALL)
    statements = [line.partition(";")[0].strip() for line in block.splitlines() if line.strip()]
    with owner.connect() as connection:
        for statement in statements:
            name = statement.split()[2]
            if (
                statement.startswith("CREATE ROLE")
                and connection.execute(text(f"SELECT to_regrole('{name}')")).scalar()
            ):
                continue
            if not statement.startswith("CREATE DATABASE"):
                connection.execute(text(statement))
        connection.rollback()
    assert sum("tcp_keepalives" in statement for statement in statements) == 3
