"""Tampering: every change of a single row is found and named, in the database and in an exported log."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import Engine

from perdura.commands.log import log as command
from perdura.premis import bundle, cli, log, restoring, seal
from perdura.premis.checkpoint import Signer
from perdura.premis.model import Detail, Event, Identifier, Outcome, Term
from perdura.premis.verify import Report
from perdura.premis.verify_stored import verify_database
from perdura.premis.xml import canonical, event_from, events_in, parse
from perdura.settings import Settings
from perdura.storage.memory import MemoryStore
from tests.contract.test_premis.conftest import database
from tests.contract.test_premis.test_http import OPEN, client_of, entry

SEED = bytes(range(32))
SETTINGS = Settings(  # type: ignore[call-arg]
    log_origin="test.example/log", log_signing_keys=SecretStr(base64.b64encode(SEED).decode())
)
SCRIPT = Path(__file__).resolve().parents[3] / "docs" / "verify_log.py"
SENT = b"""<event xmlns="info:lc/xmlns/premis-v2"><eventIdentifier><eventIdentifierType>TEMP</eventIdentifierType>
<eventIdentifierValue>TEMP</eventIdentifierValue></eventIdentifier><!-- kept --><eventType>ingestion</eventType>
<eventDateTime>UNKNOWN/OPEN</eventDateTime></event>"""


def _event(number: int) -> Event:
    return Event(
        id=uuid.uuid4(),
        type=Term("fixity check", value_uri="http://id.loc.gov/vocabulary/preservation/eventType/fix"),
        at=datetime(2026, 1, 1, number % 24, tzinfo=UTC),
        details=(Detail("d", ('<x:y xmlns:x="urn:x"/>',)),),
        outcomes=(Outcome("success", ("note",)), Outcome("warning")),
        objects=(Identifier("local", f"object {number % 3}"), Identifier("local", "shared", ("source",))),
        agents=(Identifier("local", "agent"),),
    )


@pytest.fixture(scope="module")
def sealed(engine: Engine) -> MemoryStore:
    store = MemoryStore()
    for _ in range(3):
        with engine.begin() as connection:
            log.append(connection, [_event(number) for number in range(24)], actor="test")
            (element,) = events_in(parse(SENT))
            log.append(connection, [event_from(element)], actor="test", sent=[canonical(element)])
            first = log.events_of(connection, "object 1", limit=3)
            log.delete(connection, first[1], actor="test")
            changed = log.find(connection, first[2].event_id)
            assert changed is not None
            log.replace(connection, changed, changed.event, actor="test")
        seal.tick(engine, store, SETTINGS)
    with engine.begin() as connection:
        log.append(connection, [_event(1)], actor="test")
    return store


@pytest.fixture
def tampered(engine: Engine, sealed: MemoryStore) -> Iterator[Callable[[str], Report]]:
    """Runs a statement as somebody who can get around the triggers, verifies, and takes it back."""
    connection = engine.connect()
    transaction = connection.begin()

    def change(statement: str) -> Report:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        done = connection.execute(text(statement))
        assert done.rowcount == 1, statement
        return verify_database(connection)

    yield change
    transaction.rollback()
    connection.close()


def test_an_untouched_log_is_sound(engine: Engine, sealed: MemoryStore) -> None:
    with engine.connect() as connection:
        report = verify_database(connection)
    assert report.findings == []
    assert report.checkpoints == 3
    assert report.waiting == 1
    assert "1 recorded event(s) are not sealed yet" in report.sentence


_ONE = "(SELECT sequence FROM premis_leaf WHERE leaf_index = 40)"
_HEAD = "(SELECT event_id FROM premis_event WHERE objects <> '' ORDER BY event_id LIMIT 1)"
_MUTATIONS = [
    f"UPDATE premis_log SET xml = replace(xml, 'success', 'fail') WHERE sequence = {_ONE}",
    f"UPDATE premis_log SET leaf = leaf || ' '::bytea WHERE sequence = {_ONE}",
    f"UPDATE premis_log SET actor = 'other' WHERE sequence = {_ONE}",
    f"UPDATE premis_log SET kind = 'deleted' WHERE sequence = {_ONE}",
    f"UPDATE premis_log SET version = 7 WHERE sequence = {_ONE}",
    f"UPDATE premis_log SET premis_version = '2.3' WHERE sequence = {_ONE}",
    f"UPDATE premis_log SET event_id = gen_random_uuid() WHERE sequence = {_ONE}",
    f"UPDATE premis_log SET sequence = 999999 WHERE sequence = {_ONE}",
    f"UPDATE premis_log SET recorded_at = recorded_at - interval '1 second' WHERE sequence = {_ONE}",
    f"DELETE FROM premis_log WHERE sequence = {_ONE}",
    "INSERT INTO premis_log SELECT 999999, recorded_at, gen_random_uuid(), 1, 'created', actor, premis_version, xml, "
    f"leaf FROM premis_log WHERE sequence = {_ONE}",
    "DELETE FROM premis_leaf WHERE leaf_index = 40",
    "UPDATE premis_leaf SET hash = sha256('x') WHERE leaf_index = 40",
    "UPDATE premis_leaf SET sequence = 999999 WHERE leaf_index = 40",
    "UPDATE premis_leaf SET recorded_at = now() WHERE leaf_index = 40",
    "UPDATE premis_leaf SET leaf_index = 999999 WHERE leaf_index = 40",
    "DELETE FROM premis_checkpoint WHERE size = (SELECT min(size) FROM premis_checkpoint)",
    "UPDATE premis_checkpoint SET note = replace(note, 'test', 'best') "
    "WHERE size = (SELECT min(size) FROM premis_checkpoint)",
    "UPDATE premis_checkpoint SET size = size + 1 WHERE size = (SELECT max(size) FROM premis_checkpoint)",
    "DELETE FROM premis_checkpoint WHERE size = (SELECT max(size) FROM premis_checkpoint)",
    "UPDATE premis_checkpoint SET root = sha256('x') WHERE size = (SELECT max(size) FROM premis_checkpoint)",
    "DELETE FROM premis_key",
    "DELETE FROM premis_unsealed",
    "UPDATE premis_unsealed SET sequence = 999999",
    f"DELETE FROM premis_event WHERE event_id = {_HEAD}",
    f"UPDATE premis_event SET xml = replace(xml, 'success', 'fail') WHERE event_id = {_HEAD}",
    f"UPDATE premis_event SET at = at - interval '1 day' WHERE event_id = {_HEAD}",
    f"UPDATE premis_event SET recorded_at = recorded_at - interval '1 day' WHERE event_id = {_HEAD}",
    f"UPDATE premis_event SET changed_at = changed_at - interval '1 day' WHERE event_id = {_HEAD}",
    f"UPDATE premis_event SET kind_id = kind_id + 1 WHERE event_id = {_HEAD}",
    f"UPDATE premis_event SET version = version + 1 WHERE event_id = {_HEAD}",
    f"UPDATE premis_event SET identifier = gen_random_uuid()::text WHERE event_id = {_HEAD}",
    f"UPDATE premis_event SET sequence = 999999 WHERE event_id = {_HEAD}",
    f"UPDATE premis_event SET log_sequence = 999999 WHERE event_id = {_HEAD}",
    f"UPDATE premis_event SET objects = 'x' WHERE event_id = {_HEAD}",
    f"UPDATE premis_event SET premis_version = '3.0' WHERE event_id = {_HEAD}",
    f"UPDATE premis_event SET event_id = gen_random_uuid() WHERE event_id = {_HEAD}",
    f"DELETE FROM premis_object WHERE event_id = {_HEAD} AND object = 'shared'",
    f"UPDATE premis_object SET object = 'other' WHERE event_id = {_HEAD} AND object = 'shared'",
    f"UPDATE premis_object SET at = now() WHERE event_id = {_HEAD} AND object = 'shared'",
    f"UPDATE premis_object SET bare = 'other' WHERE event_id = {_HEAD} AND object = 'shared'",
    "INSERT INTO premis_object SELECT 'more', sequence, bare, kind_id, at, identifier, event_id FROM premis_object "
    f"WHERE event_id = {_HEAD} AND object = 'shared'",
    f"DELETE FROM premis_agent_link WHERE event_id = {_HEAD}",
    "UPDATE premis_kind SET type = 'other' WHERE type = 'ingestion'",
    "UPDATE premis_kind SET outcomes = ARRAY['other'] WHERE type = 'ingestion'",
    "UPDATE premis_count SET n = n + 1 WHERE (day, kind_id) = (SELECT day, kind_id FROM premis_count LIMIT 1)",
    "UPDATE premis_tile SET hashes = overlay(hashes placing 'x'::bytea from 1) WHERE level = 0 AND tile_index = 0",
]


@pytest.mark.parametrize("mutation", _MUTATIONS)
def test_every_change_of_one_row_is_found(tampered: Callable[[str], Report], mutation: str) -> None:
    report = tampered(mutation)
    assert not report.sound, mutation
    assert report.sentence.startswith("NOT SOUND")


def test_the_changed_event_is_named(engine: Engine, tampered: Callable[[str], Report]) -> None:
    with engine.connect() as connection:
        (event_id,) = connection.execute(text(f"SELECT event_id FROM premis_log WHERE sequence = {_ONE}")).one()
    report = tampered(f"UPDATE premis_log SET xml = replace(xml, 'success', 'fail') WHERE sequence = {_ONE}")
    assert any(str(event_id) in finding and "XML was changed" in finding for finding in report.findings)


def test_a_checkpoint_kept_elsewhere_finds_a_rewritten_history(
    engine: Engine, sealed: MemoryStore, tampered: Callable[[str], Report]
) -> None:
    tampered("DELETE FROM premis_checkpoint WHERE size = (SELECT max(size) FROM premis_checkpoint)")
    notes = [sealed.read(info.ref).decode() for info in sealed.list("perdura-log", "checkpoint/0")]
    with engine.connect() as connection:
        report = verify_database(connection, notes=notes)
    assert report.sound
    head = Signer.of("test.example/log", SEED)
    forged = notes[0].split("\n")
    forged[2] = base64.b64encode(bytes(32)).decode()
    body = "\n".join(forged[:3]) + "\n"
    with engine.connect() as connection:
        report = verify_database(connection, notes=[body + "\n" + head.sign(body)])
    assert any("two histories" in finding or "another root" in finding for finding in report.findings)


def test_an_event_that_is_added_later_with_an_earlier_time_is_named(another: Engine, tmp_path: Path) -> None:
    store, late = MemoryStore(), _event(1)
    with another.begin() as connection:
        log.append(connection, [_event(number) for number in range(3)], actor="test")
    seal.tick(another, store, SETTINGS)
    with another.begin() as connection:
        log.append(connection, [_event(2)], actor="test", recorded_at=datetime.now(UTC) - timedelta(hours=1))
    seal.tick(another, store, SETTINGS)
    with another.begin() as connection:
        assert verify_database(connection).findings == []
        log.append(connection, [late], actor="test", recorded_at=datetime.now(UTC) - timedelta(days=3))
    seal.tick(another, store, SETTINGS)
    with another.connect() as connection:
        report = verify_database(connection)
        bundle.write(connection, tmp_path / "bundle")
    assert [str(late.id) in each and "back-dated" in each for each in report.findings] == [True]
    assert not bundle.verify(tmp_path / "bundle").sound
    done = _script(tmp_path / "bundle")
    assert done.returncode == 1
    assert f"event {late.id} version 1" in done.stderr
    assert "back-dated" in done.stderr


def test_a_tile_that_is_gone_is_named(another: Engine) -> None:
    with another.begin() as connection:
        log.append(connection, [_event(number) for number in range(300)], actor="test")
    seal.tick(another, MemoryStore(), SETTINGS)
    with another.connect() as connection:
        assert verify_database(connection).findings == []
        connection.execute(text("DELETE FROM premis_tile WHERE level = 1"))
        assert "tile 1/0 is missing" in verify_database(connection).findings


@pytest.mark.parametrize("zone", ["UTC", "America/Chicago", "Asia/Kolkata"])
def test_a_log_of_whatever_was_sent_is_sound_and_can_be_made_again(
    another: Engine, postgres: str, tmp_path: Path, zone: str
) -> None:
    client = client_of(another, OPEN.model_copy(update={"premis_zone": zone}))
    dates = ("2024-03-05T16:39:49", "2024-03-05", "2024", "2011-01-25/2011-01-26", "2019-11-03T01:30:00", "OPEN",
             "2011/2012", "1850-01-01T00:00:00", "20110125T163949")  # fmt: skip
    inner = (
        "<p:eventOutcomeInformation><p:eventOutcomeDetail><p:eventOutcomeDetailExtension><k:x xmlns:k='urn:k' k:y='1'/>"
        "</p:eventOutcomeDetailExtension></p:eventOutcomeDetail></p:eventOutcomeInformation>"
    )
    for date in dates:
        for namespace in ("info:lc/xmlns/premis-v2", "http://www.loc.gov/premis/v3"):
            made = client.post("/APP/event/", data=entry(date=date, namespace=namespace, inner=inner))
            assert made.status_code == 201, (date, made.text)
    assert client.put(made.headers["Location"], json={"type": "changed"}).status_code == 200
    store = MemoryStore()
    seal.tick(another, store, SETTINGS)
    with another.connect() as connection:
        assert verify_database(connection).findings == []
    lines = tmp_path / "log.ndjson"
    lines.write_bytes(client.get("/log/export.ndjson").data)
    with database(postgres) as imported, database(postgres) as restored:
        with restored.begin() as connection:
            restoring.restore(connection, store, SETTINGS.bucket_log)
        url = imported.url.render_as_string(hide_password=False)
        assert CliRunner().invoke(command, ["--database-url", url, "import", str(lines)]).exit_code == 0
        for copy in (imported, restored):
            assert _said(copy) == _said(another)
            with copy.connect() as connection:
                assert verify_database(connection).findings == []


def _said(engine: Engine) -> list[tuple[str, datetime, str]]:
    with engine.connect() as connection:
        past = "SELECT identifier, at, xml FROM premis_event WHERE at < now() - interval '1 hour'"
        found = connection.execute(text(past)).all()
        return sorted((identifier, at, canonical(parse(xml.encode()))) for identifier, at, xml in found)


def test_leaves_that_nothing_signed_are_not_called_covered(another: Engine) -> None:
    with another.begin() as connection:
        log.append(connection, [_event(number) for number in range(3)], actor="test")
    seal.tick(another, MemoryStore(), Settings(log_origin="test.example/log"))  # type: ignore[call-arg]
    with another.connect() as connection:
        report = verify_database(connection)
    assert (report.findings, report.covered, report.leaves) == ([], 0, 4)
    assert "4 more are in the tree, and no checkpoint covers them yet" in report.sentence


@pytest.fixture
def exported(engine: Engine, sealed: MemoryStore, tmp_path: Path) -> Path:
    with engine.connect() as connection:
        bundle.write(connection, tmp_path / "bundle")
    return tmp_path / "bundle"


def _script(folder: Path, *keys: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", SCRIPT, folder, *keys], capture_output=True, text=True, check=False)


def _edit(folder: Path, change: Callable[[list[str]], list[str]]) -> None:
    path = folder / "leaves.ndjson"
    path.write_text("".join(change(path.read_text("utf-8").splitlines(keepends=True))), "utf-8")


def test_an_exported_log_is_sound_without_us(exported: Path) -> None:
    assert bundle.verify(exported).findings == []
    done = _script(exported)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Sound: ")
    key = Signer.of("test.example/log", SEED).verifier.text
    assert _script(exported, key).returncode == 0
    assert _script(exported, Signer.of("test.example/log", bytes(32)).verifier.text).returncode == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [*lines[:10], *lines[11:]],
        lambda lines: [*lines[:10], lines[11], lines[10], *lines[12:]],
        lambda lines: [*lines[:10], lines[10].replace("success", "failure"), *lines[11:]],
        lambda lines: [lines[0].replace("2026-01-01T00:00:00.000000Z", "2025-01-01T00:00:00.000000Z"), *lines[1:]],
        lambda lines: lines[:-1],
        lambda lines: [*lines, lines[0]],
    ],
)
def test_a_changed_export_is_found_by_both(exported: Path, change: Callable[[list[str]], list[str]]) -> None:
    _edit(exported, change)
    assert not bundle.verify(exported).sound
    done = _script(exported)
    assert done.returncode == 1
    assert done.stdout.startswith("NOT SOUND")


def test_the_script_says_when_there_is_nothing_to_verify(tmp_path: Path) -> None:
    assert _script(tmp_path).returncode == 2


def test_the_command(engine: Engine, sealed: MemoryStore, tmp_path: Path) -> None:
    url = engine.url.render_as_string(hide_password=False)
    runner = CliRunner()
    verified = runner.invoke(cli.log, ["--database-url", url, "verify", "--json"])
    assert verified.exit_code == 0, verified.output
    assert json.loads(verified.output)["sound"] is True
    folder = tmp_path / "export"
    assert runner.invoke(cli.log, ["--database-url", url, "export", str(folder)]).exit_code == 0
    assert "Sound" in runner.invoke(cli.log, ["--database-url", url, "verify", "--offline", str(folder)]).output
    _edit(folder, lambda lines: lines[1:])
    assert runner.invoke(cli.log, ["--database-url", url, "verify", "--offline", str(folder)]).exit_code == 1
    keys = runner.invoke(cli.log, ["--database-url", url, "keys"])
    assert "test.example/log+" in keys.output


@pytest.mark.parametrize(
    "odd", ["a\x07b", " a ", "a\rb", "\u2028a", "a\ufffeb", "\n", "\x00x", "\udc80", "\x85a", "\x01 "]
)
def test_an_event_of_our_own_with_odd_names_is_sound_and_found_by_them(engine: Engine, odd: str) -> None:
    own = Event(
        id=uuid.uuid4(),
        type=odd,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        details=(odd,),
        outcomes=(Outcome(odd, (odd,)),),
        agents=(Identifier(odd, odd, (odd,)),),
        objects=(Identifier(odd, f"s3://bucket/{odd}"), Identifier("local", odd)),
    )
    with engine.connect() as connection, connection.begin() as transaction:
        log.append(connection, [own], actor="test")
        assert [each for each in verify_database(connection).findings if str(own.id) in each] == []
        assert own.id in [each.event_id for each in log.events_of(connection, f"s3://bucket/{odd}")]
        transaction.rollback()
