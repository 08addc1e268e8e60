"""A copy under suspicion is read again: from the request to the PREMIS event, the fact and the date of verification."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from perdura.cloudevents.build import build
from perdura.cloudevents.codec import encode_binary
from perdura.cloudevents.message import CloudEvent
from perdura.ids import new_id
from perdura.ports import TapeJob
from perdura.runtime import environment as environments
from perdura.runtime import function, tape
from tests.contract.test_tape_registry import World

pytestmark = pytest.mark.stack
PRESERVE = Path(__file__).parents[2] / "functions" / "preserve" / "main.py"
ASKED, VERIFY = "org.perdura.fixity.requested.v1", "org.perdura.verify.requested.v1"


@dataclass
class Emitter:
    """Takes note of what would be sent to the broker."""

    sent: list[CloudEvent] = field(default_factory=list)

    def after_response(self, response: Response, events: Sequence[CloudEvent]) -> Response:
        self.sent += events
        return response


@dataclass
class Bench:
    """The function `preserve` as it is deployed, every CloudEvent delivered to it twice."""

    world: World
    emitter: Emitter
    client: Client
    heard: list[CloudEvent] = field(default_factory=list)

    def deliver(self, *asked: CloudEvent) -> None:
        """Deliver, and what follows from it, until nothing is left to do."""
        waiting = list(asked)
        while waiting:
            event = waiting.pop(0)
            for _ in range(2):
                headers, body = encode_binary(event)
                with self.client.post("/", headers=headers, data=body) as response:
                    response.get_data()
                assert response.status_code == 204
            told, self.emitter.sent = self.emitter.sent, []
            assert len({each.id for each in told}) == len(told), "the second delivery tells nothing anew"
            self.heard += told
            waiting += [each for each in told if each.type == VERIFY]

    def asks(self, package: UUID, **more: str) -> CloudEvent:
        data: dict[str, Any] = {"package": str(package), **more}
        return build(ASKED, data, source="/perdura/archive-cta", at=datetime.now(UTC), key=(package, "once"))

    def told(self, kind: str) -> list[Any]:
        return [event.data for event in self.heard if event.type == f"org.perdura.{kind}.v1"]

    def step(self) -> Any:
        [row] = self.world.rows("SELECT * FROM step WHERE name = 'verify'")
        return row


@pytest.fixture
def bench(database: Engine, monkeypatch: pytest.MonkeyPatch) -> Bench:
    world, emitter = World(database), Emitter()
    vars(world.environment).update(emitter=emitter)
    monkeypatch.setattr(function, "environment", lambda: world.environment)
    main = runpy.run_path(str(PRESERVE))["FUNCTION"]
    return Bench(world, emitter, Client(Request.application(main.respond)))


def verified(bench: Bench, package: UUID) -> Any:
    rows = bench.world.rows(
        "SELECT verified_at FROM copy WHERE package_id = :id AND location = 'object-store'", id=package
    )
    return rows[0].verified_at if rows else None


def test_a_sound_copy_is_verified_anew(bench: Bench) -> None:
    archive, package = bench.world.aip(b"an AIP" * 1000)
    bench.deliver(bench.asks(package))
    assert (bench.step().state, bench.step().archive_id) == ("completed", archive)
    assert verified(bench, package) is not None
    [event] = bench.world.rows("SELECT xml FROM premis_log")
    assert "fixity check" in event.xml
    assert "Stored copy read again" in event.xml
    assert "6000 bytes; adler32, sha256, sha512 as expected" in event.xml
    assert bench.told("fixity.failed") == []
    [state] = bench.world.rows("SELECT state FROM archive")
    assert state.state == "waiting", "what becomes of the check does not change the state of the Archive"


def test_a_damaged_copy_is_told_to_people(bench: Bench) -> None:
    archive, package = bench.world.aip(b"an AIP" * 1000)
    bench.world.store.put("perdura-aips", f"{package}.tar", b"An AIP" + b"an AIP" * 999)
    with bench.world.database.begin() as connection:
        connection.execute(text("UPDATE package SET version_id = NULL, etag = NULL"))
    bench.deliver(bench.asks(package))
    assert (bench.step().state, bench.step().error_code) == ("failed", "fixity-mismatch")
    assert verified(bench, package) is None
    [told] = bench.told("fixity.failed")
    assert (told["archive"], told["package"], told["location"]) == (str(archive), str(package), "object-store")
    assert told["expected"].keys() == told["found"].keys()
    assert told["expected"] != told["found"]
    assert [each["code"] for each in bench.told("step.failed")] == ["fixity-mismatch"]
    [event] = bench.world.rows("SELECT xml FROM premis_log")
    assert "fail" in event.xml


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "shorter"])
def test_a_copy_that_is_gone_or_shorter_is_told_without_reading(bench: Bench, gone: bool) -> None:
    _, package = bench.world.aip(b"an AIP" * 1000)
    with bench.world.database.begin() as connection:
        changed = "key = 'nowhere.tar', version_id = NULL" if gone else "size = size + 1"
        connection.execute(text(f"UPDATE package SET {changed}"))
    bench.deliver(bench.asks(package))
    assert bench.step().error_code == ("copy-missing" if gone else "fixity-mismatch")
    assert len(bench.told("fixity.failed")) == 1


def test_a_long_copy_is_read_over_many_invocations(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * 256
    _, package = bench.world.aip(content)
    stream, offsets = bench.world.store.stream, []

    def small(ref: Any, offset: int = 0, length: int | None = None, chunk: int = 0) -> Any:
        offsets.append(offset)
        return stream(ref, offset, length, 16384)

    monkeypatch.setattr(bench.world.store, "stream", small)
    monkeypatch.setattr(environments, "TimeBudget", lambda _: SimpleNamespace(near=lambda: True))
    bench.deliver(bench.asks(package))
    assert bench.step().state == "completed"
    assert offsets == [0, 16384, 32768, 49152]


def test_the_copy_on_tape_is_checked_by_a_drill(bench: Bench) -> None:
    archive, package = bench.world.aip(b"on tape", on_tape=True)
    bench.deliver(bench.asks(package, location="tape"))
    [step] = bench.world.rows("SELECT archive_id, name, input FROM step")
    assert (step.archive_id, step.name, step.input) == (archive, "recall", {"drill": True, "package": str(package)})


def test_a_check_of_nothing_is_acknowledged_and_begins_nothing(bench: Bench) -> None:
    _, package = bench.world.aip(b"one")
    bench.deliver(bench.asks(new_id()), bench.asks(package, location="the moon"))
    assert bench.world.rows("SELECT id FROM step") == []


def test_a_source_that_fts_finds_damaged_is_read_again(bench: Bench) -> None:
    """Error table, row SOURCE [5] (fts-cta.md 10.2): from the failed job to the check of our own copy."""
    world = bench.world
    archive, package = world.aip(b"an AIP" * 1000)
    world.waits_for_company(archive, package)
    world.due()
    tape.tick(world.environment)
    [job] = world.tape.states
    world.tape.states[job] = TapeJob(job, "failed", "SOURCE [5] Source and destination checksum do not match")
    world.due()
    told = tape.tick(world.environment)
    [asked] = [event for event in told if event.type == ASKED]
    bench.deliver(asked)
    assert (bench.step().state, bench.step().archive_id) == ("completed", archive)
