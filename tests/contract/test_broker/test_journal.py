"""Events survive: one suite over the journal in PostgreSQL, alone and under a broker that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pg8000.native
import pytest
import yaml
from sqlalchemy import create_engine, make_url, text

from perdura.errors import DatabaseUnavailable
from perdura.local.broker import dispatcher
from perdura.local.broker.delivery import Response
from perdura.local.broker.envelope import Envelope
from perdura.local.broker.journal import Entry, Stage
from perdura.local.broker.postgres import BROKER_ROLE, PostgresJournal, connection_arguments, prepare
from tests.contract.test_broker.harness import (
    Broker,
    Received,
    Subscribers,
    a_broker,
    a_trigger,
    broker,
    event_headers,
    subscribers,
    until,
)

pytestmark = pytest.mark.stack

COMMAND = (sys.executable, "-c", "from perdura.local.broker.cli import broker; broker()")


@pytest.fixture
def broker_database(postgres_url: str) -> Iterator[str]:
    """URL of an empty database."""
    name = f"broker_{os.urandom(6).hex()}"
    admin = create_engine(f"{postgres_url}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield f"{postgres_url}/{name}"
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def rows(url: str) -> list[Any]:
    connection = pg8000.native.Connection(**connection_arguments(url))
    try:
        return list(connection.run("SELECT trigger, stage, attempts, owner FROM broker.entry ORDER BY id"))
    finally:
        connection.close()


def an_entry(journal: PostgresJournal, **attributes: str) -> Entry:
    event = Envelope(
        {"id": "1", "note": "é\\u0000\ud7ff"} | attributes, b"\0\xff", frozenset({"n"}), {"knative-x": "1"}
    )
    return Entry(journal.new_id(), "ns/t", event)


@contextlib.asynccontextmanager
async def journal(url: str) -> AsyncIterator[PostgresJournal]:
    opened = PostgresJournal(url)
    await opened.start()
    try:
        yield opened
    finally:
        await opened.close()


def test_what_is_left_is_adopted_whole(broker_database: str) -> None:
    async def run() -> tuple[Entry, list[Entry], list[Entry]]:
        async with journal(broker_database) as first:
            kept, finished = an_entry(first), an_entry(first)
            await first.add([kept, finished])
            kept.attempts, kept.reason, kept.due = 2, "status 503", 0.0
            first.update(kept)
            await first.finish(finished)
            async with journal(broker_database) as second:
                while_alive = await second.adopt(["ns/t"], 10)
        async with journal(broker_database) as third:
            assert await third.adopt(["ns/other"], 10) == []
            return kept, while_alive, await third.adopt(["ns/t"], 10)

    kept, while_alive, adopted = asyncio.run(run())
    assert while_alive == []
    assert adopted == [kept]


def test_a_broker_with_a_role_to_itself_works_in_a_schema_that_the_owner_made(broker_database: str) -> None:
    admin = create_engine(broker_database, isolation_level="AUTOCOMMIT")
    own = make_url(broker_database).set(username=BROKER_ROLE).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP ROLE IF EXISTS {BROKER_ROLE}"))
        prepare(broker_database)
        assert connection.execute(text("SELECT to_regclass('broker.entry')")).scalar() is None
        connection.execute(text(f"CREATE ROLE {BROKER_ROLE} LOGIN"))
    try:
        with pytest.raises(DatabaseUnavailable, match="permission denied"):
            asyncio.run(PostgresJournal(own).start())
        prepare(broker_database)
        prepare(broker_database)

        async def run() -> list[Entry]:
            async with journal(own) as first:
                entry = an_entry(first)
                await first.add([entry])
                first.update(entry)
            async with journal(own) as second:
                adopted = await second.adopt(["ns/t"], 10)
                await second.finish(adopted[0])
                return adopted

        assert len(asyncio.run(run())) == 1
        assert rows(broker_database) == []
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP OWNED BY {BROKER_ROLE}"))
            connection.execute(text(f"DROP ROLE {BROKER_ROLE}"))
        admin.dispose()


def test_replies_replace_their_cause(broker_database: str) -> None:
    async def run() -> None:
        async with journal(broker_database) as opened:
            cause, reply = an_entry(opened), an_entry(opened, id="2")
            await opened.add([cause])
            await opened.finish(cause, [reply])
            assert len(rows(broker_database)) == 1
            await opened.finish(reply)

    asyncio.run(run())
    assert rows(broker_database) == []


def test_the_dead_are_counted_and_stay(broker_database: str) -> None:
    async def run() -> int:
        async with journal(broker_database) as opened:
            entry = an_entry(opened)
            await opened.add([entry])
            entry.stage = Stage.DEAD
            opened.update(entry)
        async with journal(broker_database) as again:
            assert await again.adopt(["ns/t"], 10) == []
            return await again.count_dead()

    assert asyncio.run(run()) == 1


def test_the_dead_can_be_delivered_again(broker_database: str) -> None:
    async def run() -> list[Received]:
        async with subscribers() as peers:
            uri = peers.answer("/fn", Response(500))
            manifests = [a_broker(), a_trigger("fn", uri, delivery={"retry": 0})]
            async with broker(manifests, journal=PostgresJournal(broker_database)) as running:
                await running.post("/ns/br", event_headers(id="poison"), b"{}")
                await until(lambda: [row[1] for row in rows(broker_database)] == ["dead"])
                peers.scripts.clear()
                command = [*COMMAND, "dead", "--replay"]
                environment = os.environ | {"PERDURA_DATABASE_URL": broker_database}
                listed = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE)
                output = (await listed.communicate())[0].decode()
                assert output == "ns/fn\tt\tpoison\tstatus 500\n1 will be delivered again\n"
                await until(lambda: rows(broker_database) == [])
            return peers.of("/fn")

    assert [request.headers["ce-id"] for request in asyncio.run(run())] == ["poison", "poison"]


def test_two_adopters_share(broker_database: str) -> None:
    async def run() -> list[list[Entry]]:
        async with journal(broker_database) as writer:
            await writer.add([an_entry(writer) for _ in range(200)], leave=True)
        async with journal(broker_database) as one, journal(broker_database) as two:
            return list(await asyncio.gather(one.adopt(["ns/t"], 150), two.adopt(["ns/t"], 150)))

    shares = asyncio.run(run())
    ids = [entry.id for share in shares for entry in share]
    assert len(set(ids)) == len(ids) == 200


def test_a_lost_connection_is_made_again(broker_database: str) -> None:
    async def run() -> None:
        async with journal(broker_database) as opened:
            entry = an_entry(opened)
            await opened.add([entry])
            killer = pg8000.native.Connection(**connection_arguments(broker_database))
            killer.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'perdura-broker' AND datname = current_database()"
            )
            with pytest.raises(DatabaseUnavailable):
                await opened.add([an_entry(opened)])
            await opened.finish(entry)
            await opened.add([an_entry(opened)])
            held = killer.run("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid > 0")
            killer.close()
            assert held == [[1]]

    asyncio.run(run())
    assert len(rows(broker_database)) == 1


def test_no_database() -> None:
    with pytest.raises(DatabaseUnavailable):
        asyncio.run(PostgresJournal("postgresql+pg8000://nobody@127.0.0.1:9/none").start())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql+pg8000://u:p%40w@h:1/d",
            {"user": "u", "password": "p@w", "database": "d", "host": "h", "port": 1},
        ),
        (
            "postgresql+pg8000://u@/d?unix_sock=/run/s",
            {"user": "u", "password": None, "database": "d", "unix_sock": "/run/s"},
        ),
    ],
)
def test_database_urls(url: str, expected: dict[str, Any]) -> None:
    assert connection_arguments(url) == expected


def test_what_overflows_waits_in_the_database(broker_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "HELD_LIMIT", 4)

    async def run() -> int:
        async with subscribers() as peers:
            uri = peers.answer("/fn", Response(204), delay=0.01)
            manifests = [a_broker(), a_trigger("fn", uri)]
            async with broker(manifests, journal=PostgresJournal(broker_database)) as running:
                posts = (running.post("/ns/br", event_headers(id=str(n)), b"{}") for n in range(30))
                await asyncio.gather(*posts)
                await until(lambda: len(peers.of("/fn")) == 30)
                await until(lambda: rows(broker_database) == [])
                return len({request.headers["ce-id"] for request in peers.of("/fn")})

    assert asyncio.run(run()) == 30


@contextlib.asynccontextmanager
async def broker_process(
    folder: Path, database: str, manifests: list[dict[str, Any]]
) -> AsyncIterator[tuple[Any, Broker]]:
    """The command as a process of its own."""
    from perdura.local.broker.exchange import Client

    file = folder / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(manifests))
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("serve", "--manifests", str(file)),
        env=os.environ | {"PERDURA_DATABASE_URL": database},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    client = Client()
    try:
        yield process, Broker(line.partition("listening on ")[2].partition(",")[0], client)
    finally:
        await client.aclose()
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_broker_loses_nothing(broker_database: str, tmp_path: Path, number: signal.Signals) -> None:
    async def run() -> tuple[Subscribers, int]:
        async with subscribers() as peers:
            peers.answer("/fn", Response(503))
            manifests = [
                a_broker(),
                a_trigger("fn", peers.url + "/fn", delivery={"retry": 20, "backoffDelay": "PT0.3S"}),
                a_trigger("stuck", peers.answer("/stuck", Response(204), delay=60)),
            ]
            async with broker_process(tmp_path, broker_database, manifests) as (process, running):
                for event in range(10):
                    answer = await running.post("/ns/br", event_headers(id=str(event)), b"{}")
                    assert answer.status == 202
                await until(lambda: len(peers.of("/fn")) >= 10)
                process.send_signal(number)
                async with asyncio.timeout(5):
                    await process.wait()
            left = rows(broker_database)
            assert len(left) == 20
            peers.scripts.clear()
            before = len(peers.of("/fn"))
            async with broker_process(tmp_path, broker_database, manifests):
                await until(lambda: rows(broker_database) == [])
            later = peers.of("/fn")[before:]
            assert sorted(int(request.headers["ce-id"]) for request in later) == list(range(10))
            return peers, int(process.returncode)

    _, code = asyncio.run(run())
    assert code == (-9 if number is signal.SIGKILL else 0)


def test_an_unreachable_database_is_told_to_the_producer(broker_database: str, postgres_url: str) -> None:
    async def run() -> list[int]:
        async with subscribers() as peers:
            manifests = [a_broker(), a_trigger("fn", peers.url + "/fn")]
            async with broker(manifests, journal=PostgresJournal(broker_database)) as running:
                admin = create_engine(f"{postgres_url}/postgres", isolation_level="AUTOCOMMIT")
                name = broker_database.rpartition("/")[2]
                with admin.connect() as connection:
                    connection.execute(text(f"ALTER DATABASE {name} CONNECTION LIMIT 0"))
                    connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
                    connection.execute(
                        text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
                        {"name": name},
                    )
                    first = await running.post("/ns/br", event_headers(), b"{}")
                    connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
                    connection.execute(text(f"ALTER DATABASE {name} CONNECTION LIMIT -1"))
                admin.dispose()
                second = await running.post("/ns/br", event_headers(id="2"), b"{}")
                await until(lambda: len(peers.of("/fn")) == 1)
                assert json.loads(peers.of("/fn")[0].body) == {}
                return [first.status, second.status]

    assert asyncio.run(run()) == [503, 202]
