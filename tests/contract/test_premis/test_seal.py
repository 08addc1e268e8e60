"""Sealing: leaves in order, signed heads in the store, crashes, rotation, and no signature over a changed past."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import combinations

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import Engine

from perdura.commands import log as command
from perdura.errors import Broken, StoreUnavailable
from perdura.premis import log, merkle, seal, tiles
from perdura.premis.checkpoint import opened, parsed
from perdura.premis.model import Event
from perdura.settings import Settings
from perdura.storage import s3
from perdura.storage.memory import MemoryStore
from tests.contract.test_premis.test_http import client_of

OLD = base64.b64encode(bytes(range(32))).decode()
NEW = base64.b64encode(bytes(range(1, 33))).decode()


def _settings(keys: str = OLD) -> Settings:
    return Settings(log_origin="test.example/log", log_signing_keys=SecretStr(keys))  # type: ignore[call-arg]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(autouse=True)
def _empty(engine: Engine) -> Iterator[None]:
    yield
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in ("log", "leaf", "checkpoint", "tile", "unsealed", "event", "object", "agent_link", "key"):
            connection.execute(text(f"DELETE FROM premis_{table}"))


def _record(engine: Engine, number: int) -> list[uuid.UUID]:
    events = [Event(id=uuid.uuid4(), type="fixity check", at=datetime.now(UTC)) for _ in range(number)]
    with engine.begin() as connection:
        log.append(connection, events, actor="test")
    return [each.id for each in events]


def test_a_tick_seals_everything_and_a_second_nothing(engine: Engine, store: MemoryStore) -> None:
    events = _record(engine, 5)
    assert seal.tick(engine, store, _settings()) == seal.Sealed(6, 6)
    assert seal.tick(engine, store, _settings()) == seal.Sealed(0, 6)
    with engine.connect() as connection:
        note = seal.newest_note(connection)
        assert note is not None
        keys = [verifier for verifier, _ in seal.verifiers(connection)]
        checkpoint = opened(note, keys)
        leaves = [
            merkle.leaf_hash(leaf)
            for (leaf,) in connection.execute(
                text("SELECT leaf FROM premis_log JOIN premis_leaf USING (sequence) ORDER BY leaf_index")
            )
        ]
        assert checkpoint.root == merkle.root(leaves)
        assert all(each.sealed for each in log.history(connection, events[0]))
    assert store.read(store.head("perdura-log", seal.key_of(6)).ref) == note.encode()
    assert store.read(store.head("perdura-log", "tile/0/000.p/6").ref) == b"".join(leaves)


def test_nothing_recorded_is_nothing_sealed(engine: Engine, store: MemoryStore) -> None:
    assert seal.tick(engine, store, _settings()) == seal.Sealed(0, 0)


def test_each_head_names_the_one_before(engine: Engine, store: MemoryStore) -> None:
    for _ in range(3):
        _record(engine, 300)
        seal.tick(engine, store, _settings())
    with engine.connect() as connection:
        notes = [note for (note,) in connection.execute(text("SELECT note FROM premis_checkpoint ORDER BY size"))]
        texts = [xml for (xml,) in connection.execute(text("SELECT xml FROM premis_log WHERE actor = 'perdura/seal'"))]
    assert len(notes) == 3
    for note in notes[:-1]:
        digest = __import__("hashlib").sha256(note.encode()).hexdigest()
        assert any(digest in each for each in texts)


def test_a_crash_between_store_and_database_is_carried_on(
    engine: Engine, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(engine, 3)
    with monkeypatch.context() as patched:
        patched.setattr(seal, "_note", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            seal.tick(engine, store, _settings())
    _record(engine, 2)
    assert seal.tick(engine, store, _settings()) == seal.Sealed(3, 7)
    with engine.connect() as connection:
        sizes = [size for (size,) in connection.execute(text("SELECT size FROM premis_checkpoint ORDER BY size"))]
    assert sizes == [4, 7]


def test_a_store_that_is_down_delays_the_signature_only(
    engine: Engine, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(engine, 3)

    def down(*_: object, **__: object) -> None:
        raise StoreUnavailable("down")

    with monkeypatch.context() as patched:
        patched.setattr(store, "put", down)
        with pytest.raises(StoreUnavailable):
            seal.tick(engine, store, _settings())
    assert seal.tick(engine, store, _settings()).size == 4


def test_keys_rotate_and_old_heads_stay_verifiable(engine: Engine, store: MemoryStore) -> None:
    for keys in (OLD, f"{NEW} {OLD}", NEW):
        _record(engine, 2)
        seal.tick(engine, store, _settings(keys))
    with engine.connect() as connection:
        keys_known = [verifier for verifier, _ in seal.verifiers(connection)]
        notes = [note for (note,) in connection.execute(text("SELECT note FROM premis_checkpoint ORDER BY size"))]
    assert len(keys_known) == 2
    assert [opened(note, keys_known).size for note in notes] == [3, 6, 9]


def test_a_changed_past_is_never_signed(engine: Engine, store: MemoryStore) -> None:
    _record(engine, 3)
    seal.tick(engine, store, _settings())
    with engine.begin() as connection:
        connection.execute(text("UPDATE premis_tile SET hashes = overlay(hashes placing 'x'::bytea from 1)"))
    _record(engine, 1)
    with pytest.raises(Broken, match="was changed"):
        seal.tick(engine, store, _settings())


def test_without_a_key_leaves_are_kept_and_nothing_is_signed(engine: Engine, store: MemoryStore) -> None:
    _record(engine, 3)
    unsigned = Settings(log_origin="test.example/log")  # type: ignore[call-arg]
    assert seal.tick(engine, store, unsigned) == seal.Sealed(4, 0)


def test_a_second_sealer_does_nothing(engine: Engine, store: MemoryStore) -> None:
    _record(engine, 1)
    with engine.connect() as other:
        other.exec_driver_sql("SELECT pg_advisory_lock(%s)", (seal.LOCK,))
        assert seal.tick(engine, store, _settings()) == seal.Sealed(0, 0)
        other.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (seal.LOCK,))


def test_an_event_that_commits_late_is_sealed_later(engine: Engine, store: MemoryStore) -> None:
    with engine.begin() as slow:
        log.append(slow, [Event(id=uuid.uuid4(), type="x", at=datetime.now(UTC))], actor="test")
        _record(engine, 2)
        assert seal.tick(engine, store, _settings()).size == 3
    assert seal.tick(engine, store, _settings()).size == 5


def test_proofs_of_a_large_tree_need_few_tiles(engine: Engine, store: MemoryStore) -> None:
    _record(engine, 1500)
    size = seal.tick(engine, store, _settings()).size
    with engine.connect() as connection:
        tree = tiles.TiledTree(connection)
        proof = merkle.inclusion_proof(700, size, tree.subtree)
        root = tree.subtree(0, size)
        (leaf,) = connection.execute(text("SELECT hash FROM premis_leaf WHERE leaf_index = 700")).one()
        assert merkle.included(leaf, 700, size, proof, root)


def test_the_log_is_sealed_on_demand(engine: Engine, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "S3Store", lambda _settings: store)
    monkeypatch.setattr(command, "settings", _settings)
    url = engine.url.render_as_string(hide_password=False)

    def sealed() -> Result:
        return CliRunner().invoke(command.log, ["--database-url", url, "seal"])

    assert "Nothing is recorded yet." in sealed().output
    _record(engine, 5)
    note = sealed().output
    with engine.connect() as connection:
        assert opened(note, [each for each, _ in seal.verifiers(connection)]).size == 6
    assert sealed().output == note
    monkeypatch.setattr(command, "settings", lambda: Settings(log_origin="test.example/log"))  # type: ignore[call-arg]
    assert "there is no key to sign with" in sealed().output


def _decoded(texts: list[str]) -> list[bytes]:
    return [base64.b64decode(each) for each in texts]


def test_the_proofs_that_are_served_prove_every_version_and_every_growth(engine: Engine, store: MemoryStore) -> None:
    client = client_of(engine)
    sizes = [0]
    for number in (1, 30, 250):
        events = _record(engine, number)
        sizes.append(seal.tick(engine, store, _settings()).size)
    changed = f"/APP/event/{events[0]}/"
    assert client.put(changed, json={"type": "changed"}).status_code == 200
    assert client.delete(changed).status_code == 200
    unsealed = client.get(f"/log/proof/inclusion?event={events[0]}").get_json()["versions"]
    assert [(each["kind"], each["sealed"]) for each in unsealed] == [
        ("created", True), ("replaced", False), ("deleted", False),
    ]  # fmt: skip
    sizes.append(seal.tick(engine, store, _settings()).size)
    head = parsed(client.get("/log/checkpoint").text)[0]
    assert head.size == sizes[-1]
    for event in (events[0], events[-1]):
        proof = client.get(f"/log/proof/inclusion?event={event}").get_json()
        assert parsed(proof["checkpoint"])[0] == head
        for each in proof["versions"]:
            leaf = merkle.leaf_hash(each["leaf"].encode())
            assert merkle.included(leaf, each["index"], each["size"], _decoded(each["proof"]), head.root)
            assert not merkle.included(leaf, each["index"] - 1, each["size"], _decoded(each["proof"]), head.root)
    for first, last in combinations(sizes, 2):
        told = client.get(f"/log/proof/consistency?from={first}&to={last}").get_json()
        old, new = _decoded([told[name]["root"] for name in ("from", "to")])
        assert merkle.consistent(first, old, last, new, _decoded(told["proof"]))
        assert parsed(told["to"]["checkpoint"])[0].root == new
    leaves = [each["leaf"].encode() for each in client.get("/log/leaves").get_json()]
    assert merkle.root([merkle.leaf_hash(each) for each in leaves]) == head.root
    for wrong in ("from=2&to=1", "from=x", "from=1&to=99999", "from=-1"):
        assert client.get(f"/log/proof/consistency?{wrong}").status_code == 400
    assert client.get(f"/log/proof/inclusion?event={uuid.uuid4()}").status_code == 404
    assert client.get("/log/proof/inclusion?event=nobody").status_code == 400
    assert client.get("/log/checkpoint?size=7").status_code == 404
