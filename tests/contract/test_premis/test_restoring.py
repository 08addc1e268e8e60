"""The log from its bucket: everything comes back and verifies; what was tampered with is refused."""

from __future__ import annotations

import base64
import gzip
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import Engine

from perdura.errors import Broken
from perdura.premis import log, restoring, seal
from perdura.premis.checkpoint import signers
from perdura.premis.importing import from_element, record
from perdura.premis.model import Event, Identifier, Outcome
from perdura.premis.verify_stored import verify_database
from perdura.premis.xml import parse
from perdura.settings import Settings
from perdura.storage.memory import MemoryStore

KEY = base64.b64encode(bytes(range(32))).decode()
FOREIGN = b"""<event xmlns="http://www.loc.gov/premis/v3" version="3.0"><eventIdentifier>
<eventIdentifierType>local</eventIdentifierType><eventIdentifierValue>no uuid at all</eventIdentifierValue>
</eventIdentifier><eventType>ingestion</eventType><eventDateTime>OPEN</eventDateTime></event>"""
TABLES = ("log", "leaf", "checkpoint", "tile", "unsealed", "event", "object", "agent_link", "key", "count",
          "count_delta", "kind")  # fmt: skip
SHOWN = {
    "event": "SELECT * FROM premis_event ORDER BY event_id",
    "object": "SELECT * FROM premis_object ORDER BY object, sequence",
    "agent": "SELECT * FROM premis_agent_link ORDER BY agent, sequence",
    "log": "SELECT * FROM premis_log ORDER BY sequence",
    "leaf": "SELECT * FROM premis_leaf ORDER BY leaf_index",
    "tile": "SELECT * FROM premis_tile ORDER BY level, tile_index",
    "checkpoint": "SELECT size, root, note FROM premis_checkpoint ORDER BY size",
    "kind": "SELECT * FROM premis_kind ORDER BY id",
}


@pytest.fixture
def settings() -> Settings:
    return Settings(log_origin="test.example/log", log_signing_keys=SecretStr(KEY))  # type: ignore[call-arg]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(autouse=True)
def _empty(engine: Engine) -> Iterator[None]:
    yield
    destroy(engine)


def destroy(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in TABLES:
            connection.execute(text(f"DELETE FROM premis_{table}"))
        connection.execute(text("ALTER SEQUENCE premis_sequence RESTART"))


def add(engine: Engine, number: int) -> list[Event]:
    events = [
        Event(
            id=uuid.uuid4(), type="fixity check", at=datetime.now(UTC), details=(f"number {n}",),
            outcomes=(Outcome("success", ("ok",)),), agents=(Identifier("software", "test"),),
            objects=(Identifier("ARK", f"ark:/67531/coda{n}"), Identifier("UUID", "x" * 600)),
        )
        for n in range(number)
    ]  # fmt: skip
    with engine.begin() as connection:
        log.append(connection, events, actor="test")
    return events


def everything(engine: Engine) -> dict[str, Any]:
    with engine.connect() as connection:
        return {name: [tuple(row) for row in connection.execute(text(query))] for name, query in SHOWN.items()}


def restore(engine: Engine, store: MemoryStore, settings: Settings) -> restoring.Restored:
    trusted = [key.verifier for key in signers(settings.log_origin, KEY)]
    with engine.begin() as connection:
        return restoring.restore(connection, store, settings.bucket_log, trusted)


def sound(engine: Engine) -> bool:
    with engine.connect() as connection:
        report = verify_database(connection)
    assert not report.findings
    return report.sound


def test_a_destroyed_log_comes_back_as_it_was(engine: Engine, store: MemoryStore, settings: Settings) -> None:
    events = add(engine, 300)
    seal.tick(engine, store, settings)
    with engine.begin() as connection:
        stored = log.find(connection, events[0].id)
        assert stored is not None
        changed = Event(id=events[0].id, type="validation", at=datetime.now(UTC), outcomes=(Outcome("failure"),))
        log.replace(connection, stored, changed, actor="someone")
        stored = log.find(connection, events[1].id)
        assert stored is not None
        log.delete(connection, stored, actor="someone")
    record(engine, [from_element(parse(FOREIGN), origin="elsewhere")], actor="elsewhere")
    seal.tick(engine, store, settings)
    add(engine, 5000)
    seal.tick(engine, store, settings)
    before = everything(engine)
    destroy(engine)
    done = restore(engine, store, settings)
    assert (done.leaves, done.checkpoints, done.unproved, done.found_keys) == (len(before["leaf"]), 3, 0, [])
    assert everything(engine) == before
    assert sound(engine)
    add(engine, 3)
    assert seal.tick(engine, store, settings).added == 4
    assert sound(engine)


def test_an_older_dump_is_completed_and_sealing_goes_on(engine: Engine, store: MemoryStore, settings: Settings) -> None:
    add(engine, 10)
    seal.tick(engine, store, settings)
    waiting = add(engine, 4)
    with engine.connect() as connection:
        dump = {
            name: [dict(row._mapping) for row in connection.execute(text(f"SELECT * FROM premis_{name}"))]
            for name in TABLES
        }
    seal.tick(engine, store, settings)
    add(engine, 7)
    seal.tick(engine, store, settings)
    before = everything(engine)
    destroy(engine)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for name, rows in dump.items():
            for row in rows:
                columns = ", ".join(row)
                into = text(
                    f"INSERT INTO premis_{name} ({columns}) OVERRIDING SYSTEM VALUE "
                    f"VALUES ({', '.join(f':{each}' for each in row)})"
                )
                connection.execute(into, row)
    with pytest.raises(Broken, match="leaves were lost"):
        seal.tick(engine, store, settings)
    done = restore(engine, store, settings)
    assert done.leaves == len(before["leaf"]) - len(dump["leaf"])
    assert everything(engine) == before
    assert {str(each.id) for each in waiting} <= {str(row[0]) for row in before["event"]}
    assert sound(engine)
    assert restore(engine, store, settings).leaves == 0


def test_changed_leaves_and_lost_leaves_are_refused(engine: Engine, store: MemoryStore, settings: Settings) -> None:
    add(engine, 5)
    seal.tick(engine, store, settings)
    (info,) = store.list(settings.bucket_log, "leaves/")
    good = store.read(info.ref)
    destroy(engine)
    store.put(settings.bucket_log, info.ref.key, gzip.compress(gzip.decompress(good).replace(b"number 3", b"number 4")))
    with pytest.raises(Broken, match="its XML was changed"):
        restore(engine, store, settings)
    store.put(settings.bucket_log, info.ref.key, gzip.compress(gzip.decompress(good).replace(b'\\"test', b'\\"tess')))
    with pytest.raises(Broken, match="not those that the signed head"):
        restore(engine, store, settings)
    store.put(settings.bucket_log, info.ref.key, gzip.compress(b"\n".join(gzip.decompress(good).split(b"\n")[:3])))
    with pytest.raises(Broken, match="leaves are lost"):
        restore(engine, store, settings)
    store.put(settings.bucket_log, info.ref.key, b"rubbish")
    with pytest.raises(Broken, match="cannot be read"):
        restore(engine, store, settings)


def test_a_log_from_before_leaves_were_published_is_published_whole(
    engine: Engine, store: MemoryStore, settings: Settings
) -> None:
    add(engine, 4100)
    seal.tick(engine, store, settings)
    for info in list(store.list(settings.bucket_log, "leaves/")):
        store.delete(store.head(settings.bucket_log, info.ref.key).ref)
    add(engine, 5)
    seal.tick(engine, store, settings)
    before = everything(engine)
    destroy(engine)
    assert restore(engine, store, settings).leaves == len(before["leaf"])
    assert everything(engine) == before


def test_a_head_of_an_unknown_key_is_refused_and_a_found_key_is_told(
    engine: Engine, store: MemoryStore, settings: Settings
) -> None:
    add(engine, 2)
    seal.tick(engine, store, settings)
    destroy(engine)
    with engine.begin() as connection:
        assert len(restoring.restore(connection, store, settings.bucket_log).found_keys) == 1
        connection.rollback()
    for info in list(store.list(settings.bucket_log, "keys/")):
        store.delete(store.head(settings.bucket_log, info.ref.key).ref)
    with engine.connect() as connection, pytest.raises(Broken, match="--key"):
        restoring.restore(connection, store, settings.bucket_log)


def test_nothing_is_put_back_while_the_log_is_being_sealed(engine: Engine, store: MemoryStore) -> None:
    with engine.connect() as sealing, engine.begin() as connection:
        sealing.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (seal.LOCK,))
        with pytest.raises(Broken, match="is being sealed"):
            restoring.restore(connection, store, "perdura-log")
