"""A copy under suspicion is read again: from the request to the PREMIS event, the fact and the date of verification."""

from __future__ import annotations

import hashlib
import json
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
from perdura.packages import tree_reader
from perdura.ports import TapeJob
from perdura.runtime import environment as environments
from perdura.runtime import function, tape
from tests.contract.test_tape_registry import World
from tests.peers.archivematica import aip

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


def uncompressed(bench: Bench) -> tuple[UUID, UUID, dict[str, bytes]]:
    """An AIP of Archivematica that lies as one object a file, and its files."""
    archive, package = bench.world.aip(b"")
    payload = {"a.txt": b"one", "b/ü c.txt": b"two" * 1000, "d.bin": bytes(range(256)) * 9000}
    members = dict(aip.make("kept", str(package), payload, datetime.now(UTC), {"bag-info.txt": b"x"}).members)
    for path, body in members.items():
        bench.world.store.put("perdura-aips", f"aips/kept-{package}/{path}", body)
    with bench.world.database.begin() as connection:
        connection.execute(
            text("""UPDATE package SET container = 'prefix', key = :key, size = :size, checksums = '{}',
                    version_id = NULL, etag = NULL"""),
            {"key": f"aips/kept-{package}/", "size": sum(map(len, members.values()))},
        )
        for path, body in members.items():
            if path.startswith("data/objects/"):
                connection.execute(
                    text("""INSERT INTO package_file (package_id, path, size, checksums)
                        VALUES (:package, :path, :size, CAST(:checksums AS jsonb))"""),
                    {
                        "package": package, "path": path, "size": len(body),
                        "checksums": json.dumps({"sha256": hashlib.sha256(body).hexdigest()}),
                    },
                )  # fmt: skip
    return archive, package, members


def test_an_aip_of_many_objects_is_compared_file_by_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    _, package, members = uncompressed(bench)
    read, stream, read_into = set(), bench.world.store.stream, bench.world.store.read_into

    def noted_stream(ref: Any, *given: Any) -> Any:
        read.add(ref.key)
        return stream(ref, *given)

    def noted_read(ref: Any, *given: Any) -> Any:
        read.add(ref.key)
        return read_into(ref, *given)

    monkeypatch.setattr(bench.world.store, "stream", noted_stream)
    monkeypatch.setattr(bench.world.store, "read_into", noted_read)
    bench.deliver(bench.asks(package))
    assert bench.step().state == "completed"
    assert read == {f"aips/kept-{package}/{path}" for path in members}
    assert verified(bench, package) is not None
    [event] = bench.world.rows("SELECT xml FROM premis_log")
    size = sum(map(len, members.values()))
    assert f"{size} bytes in {len(members)} files, each with its own digest as expected" in event.xml
    assert bench.told("fixity.failed") == []


@pytest.mark.parametrize("path", ["data/objects/a.txt", "data/README.html", "bagit.txt", "manifest-sha256.txt"])
@pytest.mark.parametrize("change", ["flipped", "gone", "longer"])
def test_whatever_happened_to_one_of_many_objects_is_told(bench: Bench, path: str, change: str) -> None:
    archive, package, members = uncompressed(bench)
    place, body = f"aips/kept-{package}/{path}", members[path]
    if change == "gone":
        bench.world.store.delete(bench.world.store.head("perdura-aips", place).ref)
    else:
        changed = bytes([body[0] ^ 1]) + body[1:] if change == "flipped" else body + b"!"
        bench.world.store.put("perdura-aips", place, changed)
    bench.deliver(bench.asks(package))
    assert (bench.step().state, bench.step().error_code) == ("failed", "fixity-mismatch")
    [told] = bench.told("fixity.failed")
    assert (told["archive"], told["package"], told["location"]) == (str(archive), str(package), "object-store")
    assert told["expected"].keys() == told["found"].keys()
    if path != "bagit.txt" or change != "gone":
        assert {path, "size"} & told["expected"].keys()
    [copy] = bench.world.rows("SELECT state, verified_at FROM copy WHERE location = 'object-store'")
    assert (copy.state, copy.verified_at) == ("damaged", None)


def test_a_file_that_was_changed_with_its_manifest_is_found_by_the_digest_of_the_registry(bench: Bench) -> None:
    _, package, members = uncompressed(bench)
    forged = {**members, "data/objects/a.txt": b"eno"}
    before, after = (hashlib.sha256(each["data/objects/a.txt"]).hexdigest() for each in (members, forged))
    forged["manifest-sha256.txt"] = members["manifest-sha256.txt"].replace(before.encode(), after.encode())
    old, new = (hashlib.sha256(each["manifest-sha256.txt"]).hexdigest() for each in (members, forged))
    forged["tagmanifest-sha256.txt"] = members["tagmanifest-sha256.txt"].replace(old.encode(), new.encode())
    for path, body in forged.items():
        bench.world.store.put("perdura-aips", f"aips/kept-{package}/{path}", body)
    bench.deliver(bench.asks(package))
    [told] = bench.told("fixity.failed")
    assert told["expected"] == {"data/objects/a.txt": f"sha256 {before}"}
    assert told["found"] == {"data/objects/a.txt": f"sha256 {after}"}


def test_many_objects_that_are_all_gone_are_a_missing_copy(bench: Bench) -> None:
    _, package, members = uncompressed(bench)
    for path in members:
        bench.world.store.delete(bench.world.store.head("perdura-aips", f"aips/kept-{package}/{path}").ref)
    bench.deliver(bench.asks(package))
    assert bench.step().error_code == "copy-missing"
    [copy] = bench.world.rows("SELECT state FROM copy WHERE location = 'object-store'")
    assert copy.state == "lost"


def test_a_file_beside_the_many_objects_is_told(bench: Bench) -> None:
    _, package, _ = uncompressed(bench)
    bench.world.store.put("perdura-aips", f"aips/kept-{package}/notes.txt", b"not of this AIP")
    bench.deliver(bench.asks(package))
    [told] = bench.told("fixity.failed")
    assert told["expected"].keys() == {"size"}


def test_a_copy_of_many_objects_that_was_mended_is_held_again(bench: Bench) -> None:
    _, package, members = uncompressed(bench)
    place = f"aips/kept-{package}/data/objects/a.txt"
    bench.world.store.put("perdura-aips", place, b"eno")
    bench.deliver(bench.asks(package))
    bench.world.store.put("perdura-aips", place, members["data/objects/a.txt"])
    data = {"package": str(package)}
    bench.deliver(build(ASKED, data, source="/perdura/archive-cta", at=datetime.now(UTC), key=(package, "again")))
    [copy] = bench.world.rows("SELECT state, verified_at FROM copy WHERE location = 'object-store'")
    assert copy.state == "held"
    assert copy.verified_at is not None


def test_many_objects_are_read_over_many_invocations(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, package, members = uncompressed(bench)
    made = []

    class Short:
        """Time for the lists of the bag and for some of its files."""

        def __init__(self, _: float) -> None:
            made.append(self)
            self.asked = 0

        def near(self) -> bool:
            self.asked += 1
            return self.asked > len(members) + 1

    monkeypatch.setattr(environments, "TimeBudget", Short)
    monkeypatch.setattr(tree_reader, "_BATCH_FILES", 1)
    monkeypatch.setattr(tree_reader, "_PREFIX_CONNECTIONS", 1)
    bench.deliver(bench.asks(package))
    assert bench.step().state == "completed"
    assert len(made) > 2
    assert len(list(bench.world.store.list("perdura-sips", f"{archive}/verification/"))) > 1
