"""An upgrade without loss: the version before works on, beside this one, on the database of this one.

The version before is the newest commit whose migrations are all but the last of today's; once there are tags, it is the
last release. It is taken from the repository and runs in processes of its own.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, text

from perdura.cloudevents.build import build
from perdura.cloudevents.codec import encode_binary
from perdura.registry import migrate
from perdura.settings import Settings
from perdura.storage.s3 import S3Store
from tests.stack import bag_tar

pytestmark = pytest.mark.stack

TODAY = Path(__file__).resolve().parents[2]
VERSIONS = "shared/perdura/registry/migrations/versions"
INGEST, PRESERVE, ARCHIVE = (f"org.perdura.{step}.requested.v1" for step in ("ingest", "preserve", "archive"))


def git(*arguments: str) -> bytes:
    """What git says of this repository; skips where there is none."""
    try:
        return subprocess.run(["git", "-C", TODAY, *arguments], check=True, capture_output=True, timeout=60).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no history here to take the version before from: git, or a clone that is not shallow")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the version before."""
    wanted = sorted(path.name for path in (TODAY / VERSIONS).glob("0*.py"))[:-1]
    for commit in git("log", "--format=%H", "-100", "--", VERSIONS).decode().split():
        names = git("ls-tree", "--name-only", commit, f"{VERSIONS}/").decode().split()
        if [name.rpartition("/")[2] for name in names if "/0" in name] == wanted:
            break
    else:
        pytest.skip("no commit in this clone has all migrations but the last")
    tree = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=io.BytesIO(git("archive", commit, "shared", "functions"))) as archive:
        archive.extractall(tree, filter="data")
    return tree


@dataclass
class SideBySide:
    """Two trees, one database, one store, and what was emitted, by type, as it came."""

    environment: dict[str, str]
    engine: Engine
    store: S3Store
    emitted: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def run(self, tree: Path, name: str, request: dict[str, Any] | None = None) -> str:
        """One invocation of a function of `tree`."""
        environment = {**self.environment, "PYTHONPATH": str(tree / "shared")}
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("invoke_function.py"), tree, name],
            input=json.dumps(request), env=environment, cwd="/", capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()

    def step(self, tree: Path, name: str, asked: str) -> None:
        """Let a function of `tree` answer the newest event of a type."""
        assert self.run(tree, name, self.emitted[asked].pop()) == "204"

    def arrive(self, tree: Path, key: str, content: bytes) -> None:
        """Put a bag into the drop zone and tell `ingest` of `tree`."""
        self.store.put("perdura-incoming", key, content)
        data = {"bucket": "perdura-incoming", "key": key}
        headers, body = encode_binary(build(INGEST, data, source="/test", at=datetime.now(UTC), key=key))
        assert self.run(tree, "ingest", {"headers": headers, "body": body.decode()}) == "204"

    def states(self) -> dict[str, int]:
        """How many steps there are by name and state."""
        with self.engine.connect() as connection:
            rows = connection.execute(text("SELECT name || ' ' || state, count(*) FROM step GROUP BY 1"))
            return {str(what): number for what, number in rows}


@pytest.fixture
def side_by_side(postgres_url: str, seaweedfs: Settings) -> Iterator[SideBySide]:
    admin = create_engine(f"{postgres_url}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE upgraded"))
    url = f"{postgres_url}/upgraded"

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            headers = {
                name: value for name, value in self.headers.items() if name.lower().startswith(("ce-", "content-t"))
            }
            both.emitted.setdefault(str(self.headers["ce-type"]), []).append({"headers": headers, "body": body})
            self.send_response(202)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    broker = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=broker.serve_forever, daemon=True).start()
    assert seaweedfs.s3_secret_key is not None
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "K_SINK": f"http://127.0.0.1:{broker.server_port}/",
        "PERDURA_DATABASE_URL": url,
        "PERDURA_S3_ENDPOINT": str(seaweedfs.s3_endpoint),
        "PERDURA_S3_ACCESS_KEY": str(seaweedfs.s3_access_key),
        "PERDURA_S3_SECRET_KEY": seaweedfs.s3_secret_key.get_secret_value(),
    }
    both = SideBySide(environment, create_engine(url), S3Store(seaweedfs))
    yield both
    broker.shutdown()
    broker.server_close()
    both.engine.dispose()
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE upgraded WITH (FORCE)"))
    admin.dispose()


def test_functions_of_the_version_before_and_of_this_one_share_database_store_and_events(
    side_by_side: SideBySide, before: Path
) -> None:
    both = side_by_side
    both.run(before, "migrate")
    both.arrive(before, "first.tar", bag_tar({"letter.txt": b"begun before the upgrade"}))
    both.run(TODAY, "migrate")
    both.step(before, "ingest", INGEST)
    both.step(TODAY, "preserve", PRESERVE)
    both.arrive(before, "second.tar", bag_tar({"letter.txt": b"handed in to the old during the upgrade"}))
    both.step(TODAY, "ingest", INGEST)
    both.step(before, "preserve", PRESERVE)
    both.arrive(TODAY, "third.tar", bag_tar({"letter.txt": b"handed in to the new during the upgrade"}))
    both.step(before, "ingest", INGEST)
    both.step(before, "preserve", PRESERVE)
    assert both.states() == {"ingest completed": 3, "preserve completed": 3, "archive queued": 3}
    assert len(both.emitted[ARCHIVE]) == 3
    with both.engine.connect() as connection:
        assert migrate.current(connection) == migrate.HEAD
        keys = connection.execute(text("SELECT bucket, key FROM package WHERE kind = 'AIP' AND accepted")).all()
    assert len(keys) == 3
    for bucket, key in keys:
        assert both.store.head(bucket, key).size > 0


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
    WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND contype <> 'n'
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


def test_the_newest_migration_only_adds(postgres_url: str) -> None:
    admin = create_engine(f"{postgres_url}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE adding"))
    engine = create_engine(f"{postgres_url}/adding")
    config = Config()
    config.set_main_option("script_location", str(TODAY / "shared/perdura/registry/migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, f"{int(migrate.HEAD) - 1:04d}")
        old = shape(connection)
        command.upgrade(config, "head")
        new = shape(connection)
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE adding WITH (FORCE)"))
    admin.dispose()
    assert len(old.columns) > 100
    assert breaches(old, new) == []


def test_what_a_migration_may_not_do_is_found(database: Engine) -> None:
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
    with database.connect() as connection:
        old = shape(connection)
        for statement in (*forbidden, *allowed):
            attempt = connection.begin_nested()
            connection.execute(text(statement))
            assert bool(breaches(old, shape(connection))) is (statement in forbidden), statement
            attempt.rollback()
