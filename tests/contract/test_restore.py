"""A backup is restored only into a database that is proved empty; whatever else is there stays."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, inspect, text

import perdura
from perdura.cli import main
from perdura.commands import emptied, keeping
from perdura.settings import Settings

pytestmark = pytest.mark.stack

ID = "01a2209a-854c-70c4-8d5a-5f0f6d9b9640"
ROWS = {
    "account": f"(id, kind, issuer, subject, name) VALUES ('{ID}', 'person', 'i', 's', 'Ada')",
    "collection": f"(id, name) VALUES ('{ID}', 'Letters')",
    "schedule": "(id, name, source, way, cron, pipeline, owner_name) "
    f"VALUES ('{ID}', 'nightly', 'zenodo', 'oai-pmh', '0 3 * * *', '[]', 'Ada')",
    "credential": f"(owner, source, key_id, ciphertext) VALUES ('{ID}', 'zenodo', 'k', decode('00', 'hex'))",
    "subscription": f"(id, owner, way, address, secret, kinds) VALUES ('{ID}', 'Ada', 'webhook', 'a', 's', '{{}}')",
    "pipeline": "(name, steps) VALUES ('ours', '[]')",
    "tape_destination": "(location, paused_by, pause_reason) VALUES ('tape', 'Ada', 'cleaning')",
}
OTHERS = {
    "invoice": "CREATE TABLE invoice (id int)",
    "premis_report": "CREATE TABLE premis_report (id int)",
    "invoice_view": "CREATE VIEW invoice_view AS SELECT 1 AS one",
    "invoice_number": "CREATE SEQUENCE invoice_number",
    "Invoice; x": 'CREATE TABLE "Invoice; x" (id int) PARTITION BY LIST (id)',
}
OWN_NOTES = (
    "INSERT INTO heartbeat (duty, done_at) VALUES ('sweep', now())",
    "INSERT INTO store_capability (endpoint, found) VALUES ('http://store', '{}')",
    "INSERT INTO tape_destination (location, credentials_at) VALUES ('tape', now())",
)


@pytest.fixture
def restore(owner_url: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Result]:
    """What `perdura restore` says of a backup for this database, as its owner; no store answers."""
    given = {"database_url": database_url, "database_owner_url": owner_url, "s3_endpoint": "http://127.0.0.1:9"}
    monkeypatch.setattr(keeping, "stack_settings", lambda _root: Settings.model_validate(given))
    return lambda: CliRunner().invoke(main, ["restore", str(tmp_path)])


def run(database: Engine, statement: str) -> None:
    with database.begin() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize("table", ROWS)
def test_what_a_person_made_is_never_dropped(owner: Engine, restore: Callable[[], Result], table: str) -> None:
    run(owner, f"INSERT INTO {table} {ROWS[table]}")
    done = restore()
    assert done.exit_code == 1
    assert re.search(rf"not empty \({table}\)", done.output), done.output
    with owner.connect() as connection:
        assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() >= 1


@pytest.mark.parametrize("name", OTHERS)
def test_tables_of_another_application_are_never_dropped(
    owner: Engine, restore: Callable[[], Result], name: str
) -> None:
    run(owner, OTHERS[name])
    done = restore()
    assert done.exit_code == 1
    assert "not Perdura's" in done.output
    assert name in done.output
    with owner.connect() as connection:
        there = connection.execute(text("SELECT relname FROM pg_class WHERE relname = :name"), {"name": name})
        assert there.scalar_one() == name


@pytest.mark.parametrize("notes", [(), OWN_NOTES])
def test_what_migrations_made_and_functions_noted_by_themselves_makes_room(
    owner: Engine, notes: tuple[str, ...]
) -> None:
    for statement in notes:
        run(owner, statement)
    emptied.empty(owner)
    assert inspect(owner).get_table_names() == []
    emptied.empty(owner)


def test_every_table_of_ours_is_known() -> None:
    declared = re.compile(r'^    __tablename__ = "(\w+)"', re.MULTILINE)
    sources = Path(perdura.__file__).parent.rglob("*.py")
    assert {name for path in sources for name in declared.findall(path.read_text())} == emptied.OUR_TABLES
