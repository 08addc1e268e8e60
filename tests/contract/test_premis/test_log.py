"""The log: one statement per append, safe among concurrent writers, append-only for everyone."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import inspect, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import ProgrammingError

from perdura.metadata import Base
from perdura.premis import log, schema, tables
from perdura.premis.model import Event, Identifier, Outcome

NOW = datetime(2026, 3, 5, 16, 39, 49, tzinfo=UTC)


def an_event(**changes: object) -> Event:
    values: dict[str, object] = {
        "id": uuid.uuid4(),
        "type": "fixity check",
        "at": NOW,
        "agents": (Identifier("local", "checker", ("executing program",)),),
        "objects": (Identifier("ARK", "ark:/67531/coda1", ("source",)),),
    }
    return Event(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def statements(engine: Engine) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    sqlalchemy_event.listen(engine, "before_cursor_execute", note)
    yield seen
    sqlalchemy_event.remove(engine, "before_cursor_execute", note)


def test_any_number_of_events_is_one_statement(engine: Engine, statements: list[str]) -> None:
    with engine.begin() as connection:
        log.append(connection, [an_event() for _ in range(500)], actor="test")
    assert len(statements) == 1


def test_no_events_are_no_statement(engine: Engine, statements: list[str]) -> None:
    with engine.begin() as connection:
        log.append(connection, [], actor="test")
    assert statements == []


def test_an_event_comes_back_as_it_was(engine: Engine) -> None:
    archive = uuid.uuid4()
    event = an_event(
        details=("first", "second"),
        outcomes=(Outcome("success", ("one", "two")), Outcome("warning")),
        objects=(Identifier("UUID", str(archive), ("source", "target")), Identifier("local", "s3://b/k")),
    )
    with engine.begin() as connection:
        log.append(connection, [event], actor="test")
        (stored,) = log.events_of(connection, archive_id=archive)
    assert stored.event == Event(
        **{name: getattr(event, name) for name in Event.__dataclass_fields__}
        | {"identifier": str(event.id), "date_text": event.date, "attributes": (("version", "3.0"),)}
    )
    assert stored.sealed is False
    assert stored.objects == f"{archive}, s3://b/k"


def test_text_that_no_database_can_hold_is_no_obstacle(engine: Engine) -> None:
    event = an_event(type="a\0b", details=("nul \0, surrogate \udc80",), objects=(Identifier("local", "x\udc80"),))
    with engine.begin() as connection:
        log.append(connection, [event], actor="test")
        stored = log.find(connection, event.id)
    assert stored is not None
    assert stored.type == "a\ufffdb"
    assert stored.objects == "x\ufffd"


def test_a_duplicate_is_refused_and_stores_nothing(engine: Engine) -> None:
    first, second = an_event(), an_event()
    with engine.begin() as connection:
        log.append(connection, [first], actor="test")
    with pytest.raises(log.DuplicateEvent) as refused, engine.begin() as connection:
        log.append(connection, [second, an_event(id=first.id)], actor="test")
    assert refused.value.identifiers == (str(first.id),)
    with engine.connect() as connection:
        assert log.find(connection, second.id) is None


def test_a_batch_may_not_name_one_identifier_twice(engine: Engine) -> None:
    event = an_event()
    with pytest.raises(log.DuplicateEvent), engine.begin() as connection:
        log.append(connection, [event, event], actor="test")


def test_one_identifier_many_writers_one_winner(engine: Engine) -> None:
    event = an_event(objects=(Identifier("local", "brand new object"),), type=f"new type {uuid.uuid4()}")
    gate = threading.Barrier(8)
    outcomes: list[str] = []

    def write() -> None:
        gate.wait()
        try:
            with engine.begin() as connection:
                log.append(connection, [event], actor="test")
            outcomes.append("stored")
        except log.DuplicateEvent:
            outcomes.append("duplicate")

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["duplicate"] * 7 + ["stored"]


def test_first_events_of_one_new_object_do_not_lose_their_links(engine: Engine) -> None:
    name = f"object {uuid.uuid4()}"
    events = [
        an_event(objects=(Identifier("local", name),), type=f"type {number % 3} of {name}") for number in range(24)
    ]
    gate = threading.Barrier(8)
    failures: list[Exception] = []

    def write(mine: list[Event]) -> None:
        gate.wait()
        try:
            for event in mine:
                with engine.begin() as connection:
                    log.append(connection, [event], actor="test")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(events[number::8],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with engine.connect() as connection:
        found = log.events_of(connection, name)
        pages = [log.events_of(connection, name, limit=10)]
        while pages[-1]:
            pages.append(log.events_of(connection, name, limit=10, after=pages[-1][-1].sequence))
    assert {each.event_id for each in found} == {each.id for each in events}
    assert [each.event_id for page in pages for each in page] == [each.event_id for each in found]


def test_superseded_versions_stay(engine: Engine) -> None:
    event = an_event(objects=(Identifier("local", f"old {uuid.uuid4()}"),))
    new_object = f"new {uuid.uuid4()}"
    with engine.begin() as connection:
        log.append(connection, [event], actor="first")
        stored = log.find(connection, event.id)
        assert stored is not None
        log.replace(
            connection, stored, an_event(id=event.id, objects=(Identifier("local", new_object),)), actor="second"
        )
        current = log.find(connection, event.id)
        assert current is not None
        assert log.events_of(connection, event.objects[0].value) == []
        assert [each.event_id for each in log.events_of(connection, new_object)] == [event.id]
        assert current.sequence == stored.sequence
        log.delete(connection, current, actor="third")
        assert log.find(connection, event.id) is None
        assert log.events_of(connection, new_object) == []
        versions = log.history(connection, event.id)
    assert [(each.number, each.kind, each.actor) for each in versions] == [
        (1, "created", "first"),
        (2, "replaced", "second"),
        (3, "deleted", "third"),
    ]
    with engine.begin() as connection:
        log.append(connection, [event], actor="again")


def test_of_two_changes_of_one_version_one_wins(engine: Engine) -> None:
    event = an_event()
    with engine.begin() as connection:
        log.append(connection, [event], actor="test")
        stored = log.find(connection, event.id)
        assert stored is not None
        log.replace(connection, stored, an_event(id=event.id, type="other"), actor="test")
        with pytest.raises(log.ChangedMeanwhile):
            log.delete(connection, stored, actor="test")


@pytest.mark.parametrize("role", ["owner", schema.APPLICATION_ROLE])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE premis_log SET actor = 'somebody else'",
        "DELETE FROM premis_log",
        "TRUNCATE premis_log",
        "UPDATE premis_leaf SET leaf_index = leaf_index + 1000000",
        "DELETE FROM premis_checkpoint",
        "TRUNCATE premis_leaf",
    ],
)
def test_nobody_changes_the_log(engine: Engine, role: str, change: str) -> None:
    with engine.begin() as connection:
        log.append(connection, [an_event()], actor="test")
        connection.execute(
            text(
                "INSERT INTO premis_leaf SELECT coalesce(max(leaf_index), 0) + 1, coalesce(max(sequence), 0) + 1, "
                "now(), :hash FROM premis_leaf"
            ),
            {"hash": bytes(32)},
        )
        connection.execute(
            text(
                "INSERT INTO premis_checkpoint SELECT coalesce(max(size), 0) + 1, :hash, '', now() "
                "FROM premis_checkpoint"
            ),
            {"hash": bytes(32)},
        )
    with engine.connect() as connection:
        if role != "owner":
            connection.execute(text(f"SET LOCAL ROLE {role}"))
        with pytest.raises(ProgrammingError, match="42501"):
            connection.execute(text(change))


def test_the_application_role_can_do_its_work(engine: Engine) -> None:
    event = an_event()
    with engine.begin() as connection:
        connection.execute(text(f"SET LOCAL ROLE {schema.APPLICATION_ROLE}"))
        log.append(connection, [event], actor="test")
        stored = log.find(connection, event.id)
        assert stored is not None
        log.replace(connection, stored, an_event(id=event.id), actor="test")
        schema.create_partitions(connection, 6)
        connection.execute(text("SELECT premis_fold_counts(1000)"))


def test_creating_again_changes_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        schema.create(connection)


def test_partitions_cover_the_coming_months(engine: Engine) -> None:
    with engine.begin() as connection:
        schema.create_partitions(connection, 3)
    with engine.connect() as connection:
        names = {
            name
            for (name,) in connection.execute(
                text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'premis_log'::regclass")
            )
        }
    month = datetime.now(UTC).replace(day=1)
    for _ in range(4):
        assert f"premis_log_{month:%Y_%m}" in names
        month = (month + timedelta(days=32)).replace(day=1)


def test_tables_are_as_declared(engine: Engine) -> None:
    declared = {
        mapper.local_table.name: {column.name for column in mapper.local_table.columns}
        for mapper in Base.registry.mappers
        if mapper.class_.__module__ == tables.__name__
    }
    inspector = inspect(engine)
    for name, columns in declared.items():
        assert {column["name"] for column in inspector.get_columns(name)} == columns, name
