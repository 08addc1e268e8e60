"""Callbacks of a Storage Service, as recorded from a real one, at the function itself (archivematica.md 2.9)."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from perdura.ids import new_id
from perdura.registry.archivematica import SubmissionBook
from perdura.runtime import function
from perdura.runtime.environment import Environment
from perdura.settings import Settings
from perdura.storage.memory import MemoryStore
from tests.contract.delivering import RecordingEmitter
from tests.contract.test_preservation import begun
from tests.shared_data import reference_data

pytestmark = pytest.mark.stack

MAIN = Path(__file__).resolve().parents[2] / "functions/preserve/main.py"
LATER = datetime.now(UTC) + timedelta(hours=5)


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("preserve_main", MAIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def preserve(database: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Client:
    environment = Environment(Settings(database_url=database_url))
    vars(environment).update(engine=database, store=MemoryStore(), emitter=RecordingEmitter())
    monkeypatch.setattr(function, "environment", lambda: environment)
    handle = loaded().handle

    @Request.application
    def application(request: Request) -> Response:
        response: Response = handle(request)
        return response

    return Client(application)


@pytest.fixture
def waiting(database: Engine) -> tuple[SubmissionBook, UUID, UUID]:
    """A submission that is followed, and whose step is not to be looked at for hours; gives (book, step, sip)."""
    book, sip = SubmissionBook(database, limit=3, pause=600), new_id()
    archive, step = begun(database)
    mine = book.queue(archive, step, 10, None)
    book.note(replace(mine, state="followed", instance="one", sip=sip, path=f"{archive}-2"))
    with database.begin() as connection:
        change = text("UPDATE step SET state = 'waiting', poll_at = :later WHERE id = :step")
        connection.execute(change, {"later": LATER, "step": step})
    return book, step, sip


def called(client: Client, package: object, name: object, **changes: object) -> int:
    """Post what a Storage Service posts, with the headers that it sends."""
    event = {
        "specversion": "1.0",
        "type": "org.archivematica.aip.stored",
        "source": "urn:ss",
        "id": str(package),
        "data": {"uuid": str(package), "name": name},
        **changes,
    }
    headers = {"Content-Type": "application/cloudevents+json", "User-Agent": "python-requests/2.32.3"}
    with client.post("/", headers=headers, data=json.dumps(event)) as response:
        return response.status_code


def looked_at(database: Engine, step: UUID) -> datetime:
    with database.connect() as connection:
        found = connection.execute(text("SELECT poll_at FROM step WHERE id = :step"), {"step": step}).scalar_one()
    assert isinstance(found, datetime)
    return found


def test_a_callback_makes_the_next_look_come_at_once(
    preserve: Client, waiting: tuple[SubmissionBook, UUID, UUID], database: Engine
) -> None:
    _, step, sip = waiting
    assert called(preserve, sip, "whatever") == 204
    assert looked_at(database, step) < LATER - timedelta(hours=4)


def test_a_callback_is_known_by_the_name_that_was_sent_as_well(
    preserve: Client, waiting: tuple[SubmissionBook, UUID, UUID], database: Engine
) -> None:
    book, step, _ = waiting
    mine = book.of_step(step)
    assert mine is not None
    assert called(preserve, new_id(), mine.path) == 204
    assert looked_at(database, step) < LATER - timedelta(hours=4)


def test_a_callback_changes_nothing_else_and_may_come_twice_or_late(
    preserve: Client, waiting: tuple[SubmissionBook, UUID, UUID], database: Engine
) -> None:
    book, step, sip = waiting
    before = book.of_step(step)
    assert [called(preserve, sip, "x") for _ in range(3)] == [204] * 3
    assert book.of_step(step) == before
    with database.begin() as connection:
        connection.execute(text("UPDATE step SET state = 'completed', poll_at = NULL WHERE id = :s"), {"s": step})
    assert called(preserve, sip, "x") == 204
    with database.connect() as connection:
        assert connection.execute(text("SELECT state FROM step WHERE id = :s"), {"s": step}).scalar() == "completed"


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("11111111-1111-1111-1111-111111111111", "not-ours"),
        ("no uuid", "x"),
        ("11111111-1111-1111-1111-111111111111", ""),
        ("11111111-1111-1111-1111-111111111111", "x" * 10_000),
        ("11111111-1111-1111-1111-111111111111", {"a": 1}),
        ("11111111-1111-1111-1111-111111111111", None),
    ],
    ids=["unknown", "no uuid", "no name", "long name", "no text", "null"],
)
def test_a_callback_that_is_not_about_us_is_acknowledged_and_has_no_effect(
    preserve: Client, waiting: tuple[SubmissionBook, UUID, UUID], database: Engine, package: str, name: object
) -> None:
    assert called(preserve, package, name) == 204
    assert looked_at(database, waiting[1]) == LATER


def test_a_callback_without_data_is_acknowledged(preserve: Client) -> None:
    assert called(preserve, new_id(), "x", data="text") == 204


def test_the_recorded_callbacks_are_understood(preserve: Client) -> None:
    for line in reference_data("archivematica", "callbacks.jsonl").read_text().splitlines():
        recorded = json.loads(line)
        if "aip.stored" not in recorded["body"]:
            continue
        headers = {"Content-Type": recorded["headers"].get("Content-Type", "application/cloudevents+json")}
        with preserve.post("/", headers=headers, data=recorded["body"]) as response:
            assert response.status_code == 204
