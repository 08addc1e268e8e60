"""Tape in the registry: jobs within their limit, containers, drills, expiry; and the tick that does the duties."""

from __future__ import annotations

import hashlib
import json
import threading
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from perdura.api import gateway, gateway_audit
from perdura.api.queries import tape as queries
from perdura.clients.tape_tokens import mint
from perdura.cloudevents.message import CloudEvent
from perdura.errors import Conflict, NotFound, NotStored, StoreUnavailable
from perdura.ids import new_id
from perdura.outcome import Copy, CopyState
from perdura.packages.tape_container import Container, Member
from perdura.ports import OpenJob, Staging, TapeAccount, TapeCredentials, TapeJob, TapeOrder, TapeRetry
from perdura.premis import log
from perdura.premis.model import FAILURE, SUCCESS, Event, Identifier, Outcome
from perdura.registry import archives, steering, tape_again, tape_containers, tape_duties, tape_wishes, work
from perdura.registry.tape_jobs import RegistryTapeJobs
from perdura.runtime import tape
from perdura.runtime.delivery import StepRunner
from perdura.runtime.environment import Environment
from perdura.runtime.rebuild_history import history
from perdura.settings import Settings
from perdura.steps import archive as archive_step
from perdura.steps import recall
from tests.unit.tape.fakes import NOW, FakeTape, PresigningStore

pytestmark = pytest.mark.stack
SECRET = "s" * 32
CAUSE = CloudEvent("1", "/test", "org.perdura.recall.requested.v1")


class World:
    """A registry, a store and a tape system in memory, as the function `archive-cta` sees them."""

    def __init__(self, database: Engine, **settings: Any) -> None:
        self.database = database
        self.store = PresigningStore()
        self.tape = FakeTape()
        values = {"tape_gateway_url": "http://gateway", "tape_gateway_secret": SECRET, "tape_drill_days": 0} | settings
        self.environment = Environment(Settings(**values))
        vars(self.environment).update(engine=database, store=self.store, tape_of_now=lambda: self.tape)

    def aip(self, content: bytes, *, on_tape: bool = False) -> tuple[UUID, UUID]:
        """An Archive and its AIP; gives back their ids."""
        archive, package = new_id(), new_id()
        written = self.store.put("perdura-aips", f"{package}.tar", content)
        checksums = {
            "sha256": hashlib.sha256(content).hexdigest(), "sha512": hashlib.sha512(content).hexdigest(),
            "adler32": f"{zlib.adler32(content):08x}",
        }  # fmt: skip
        values = {
            "archive": archive, "package": package, "key": f"{package}.tar", "size": len(content),
            "version": written.info.ref.version_id, "etag": written.info.ref.etag, "checksums": json.dumps(checksums),
        }  # fmt: skip
        with self.database.begin() as connection:
            connection.execute(
                text("""INSERT INTO archive (id, state, pipeline, origin)
                    VALUES (:archive, 'waiting', '["ingest", "preserve", "archive", "publish"]', 'deposit')"""),
                values,
            )
            connection.execute(
                text("""INSERT INTO package (id, archive_id, kind, bucket, key, version_id, etag, container, size,
                        checksums, accepted)
                    VALUES (:package, :archive, 'AIP', 'perdura-aips', :key, :version, :etag, 'tar', :size,
                        CAST(:checksums AS jsonb), true)"""),
                values,
            )
            if on_tape:
                self.tape.files[f"{archive}/{package}.tar"] = content
                connection.execute(
                    text("""INSERT INTO copy (package_id, location, uri, size, checksums)
                        VALUES (:package, 'tape', 'davs://tape/x.tar', :size, CAST(:checksums AS jsonb))"""),
                    values,
                )
        return archive, package

    def waits_for_company(self, archive: UUID, package: UUID, since: timedelta = timedelta()) -> None:
        """A step that waits for other small AIPs."""
        checkpoint = {
            "aip": str(package), "path": f"{archive}/{package}.tar", "size": 1, "adler32": "00000001",
            "phase": "group", "round": 1, "job": None, "looks": 0, "complaints": 0, "on_disk_since": None,
        }  # fmt: skip
        with self.database.begin() as connection:
            connection.execute(
                text("""INSERT INTO step (id, archive_id, name, position, state, checkpoint, started_at, poll_at)
                    VALUES (:id, :archive, 'archive', 2, 'waiting', CAST(:checkpoint AS jsonb), :at, :poll)"""),
                {
                    "id": new_id(), "archive": archive, "checkpoint": json.dumps(checkpoint),
                    "at": datetime.now(UTC) - since, "poll": datetime.now(UTC) + timedelta(hours=1),
                },
            )  # fmt: skip

    def rows(self, statement: str, **values: Any) -> list[Any]:
        with self.database.connect() as connection:
            return list(connection.execute(text(statement), values))

    def due(self) -> None:
        """The time of every waiting step has come, and nobody holds it any more."""
        with self.database.begin() as connection:
            connection.execute(
                text("UPDATE step SET poll_at = clock_timestamp(), held_until = NULL WHERE state = 'waiting'")
            )


ACCOUNT = TapeAccount("https://fts.example.org:8446", "/CN=robot")


def order(key: str, account: TapeAccount | None = None) -> TapeOrder:
    return TapeOrder(key, f"{key}.tar", 10, 3, account=account)


def test_a_job_keeps_the_id_it_was_asked_for_under_until_there_is_known_to_be_none(database: Engine) -> None:
    jobs = RegistryTapeJobs(database)
    before, now = (replace(order("a", ACCOUNT), job_id=name) for name in ("as-before", "as-now"))
    first = jobs.admit(before, 0)
    assert first is not None
    assert (first.asked_as, first.asked_ago) == ("as-before", None)
    with database.begin() as connection:
        connection.execute(text("UPDATE tape_job SET asked_at = clock_timestamp() - interval '10 minutes'"))
    for _ in range(2):
        found = jobs.admit(now, 0)
        assert found is not None
        assert found.asked_as == "as-before"
        assert 600 <= (found.asked_ago or 0) < 660, "that it cannot be asked for now is no new question"
    opened = jobs.open_job(["a.tar"])
    assert opened is not None
    assert opened.asked_as == "as-before"
    jobs.asked_anew(now)
    found = jobs.admit(now, 0)
    assert found is not None
    assert found.asked_as == "as-now"
    assert (found.asked_ago or 0) < 60
    jobs.unasked(now)
    found = jobs.admit(before, 0)
    assert found is not None
    assert found.asked_as == "as-before", "it never left"
    jobs.accepted("a", "given", ACCOUNT)
    found = jobs.admit(before, 0)
    assert found is not None
    assert (found.job_id, found.asked_as) == ("given", "given")


def test_a_job_keeps_whom_it_was_first_asked_of_until_it_is_known_never_to_have_left(database: Engine) -> None:
    jobs = RegistryTapeJobs(database)
    other = TapeAccount("https://other.example.org:8446", "/CN=robot")
    first = jobs.admit(order("a", ACCOUNT), 0)
    assert first == OpenJob("a", "a.tar", None, ACCOUNT, asked_before=False)
    assert jobs.admit(order("a", other), 0) == OpenJob("a", "a.tar", None, ACCOUNT, asked_before=True)
    assert jobs.open_job(["a.tar"]) == OpenJob("a", "a.tar", None, ACCOUNT)
    jobs.unasked(order("a"))
    assert jobs.admit(order("a", other), 0) == OpenJob("a", "a.tar", None, other, asked_before=False)
    jobs.accepted("a", "job", other)
    jobs.unasked(order("a"))
    assert jobs.admit(order("a", ACCOUNT), 0) == OpenJob("a", "a.tar", "job", other, True, "job")


def test_only_so_many_jobs_are_admitted_however_many_ask_at_once(database: Engine) -> None:
    jobs = RegistryTapeJobs(database)
    admitted: list[bool] = []

    def ask(number: int) -> None:
        admitted.append(jobs.admit(order(f"k{number}"), 2) is not None)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == 2
    first = next(iter(jobs_in(database)))
    assert jobs.admit(order(first), 2), "a job admitted before is admitted again"
    jobs.seen({first: TapeJob("j", "finished")}, [first])
    assert jobs.admit(order("later"), 2)
    assert not jobs.admit(order("too many"), 2)


def jobs_in(database: Engine) -> list[str]:
    with database.connect() as connection:
        return list(connection.execute(text("SELECT key FROM tape_job ORDER BY key")).scalars())


def test_a_paused_destination_admits_no_job(database: Engine) -> None:
    jobs = RegistryTapeJobs(database)
    with database.begin() as connection:
        tape_wishes.pause(connection, "new drives", "Ada")
    assert not jobs.admit(order("a"), 0)
    assert jobs.paused() == "paused by Ada: new drives"
    with database.begin() as connection:
        tape_wishes.resume(connection)
    assert jobs.admit(order("a"), 0)


def test_what_a_job_did_is_kept(database: Engine) -> None:
    jobs = RegistryTapeJobs(database)
    jobs.admit(order("a"), 0)
    jobs.accepted("a", "job-1", ACCOUNT)
    jobs.accepted("a", "job-2", ACCOUNT)
    seen = TapeJob("job-1", "failed", "DESTINATION [5] wrong", file_state="FAILED", log_file="/var/log/fts3/a")
    jobs.seen({"a": seen}, ["a"])
    with database.connect() as connection:
        row = connection.execute(text("SELECT * FROM tape_job")).one()
    assert (row.job_id, row.state, row.reason) == ("job-1", "failed", "DESTINATION [5] wrong")
    assert (row.file_state, row.log_file) == ("FAILED", "/var/log/fts3/a")
    assert (row.server, row.holder) == (ACCOUNT.server, ACCOUNT.holder)
    assert row.submitted_at is not None
    assert row.ended_at is not None


def test_a_job_that_may_still_be_writing_a_file_is_found(database: Engine) -> None:
    jobs = RegistryTapeJobs(database)
    assert jobs.open_job(["a.tar"]) is None
    jobs.admit(order("a"), 0)
    assert jobs.open_job(["a.tar", "b.tar"]) == OpenJob("a", "a.tar", None, None)
    jobs.accepted("a", "job-1", ACCOUNT)
    jobs.admit(TapeOrder("later", "a.tar", 10, 3), 0)
    assert jobs.open_job(["a.tar"]) == OpenJob("a", "a.tar", "job-1", ACCOUNT, True, "job-1"), (
        "what was answered is surely there"
    )
    jobs.seen({"a": TapeJob("job-1", "cancelled")}, ["a", "later"])
    assert jobs.open_job(["a.tar"]) is None


def test_every_failed_attempt_is_kept_once(database: Engine) -> None:
    jobs = RegistryTapeJobs(database)
    jobs.admit(order("a"), 0)
    first, second = (TapeRetry(n, NOW, f"TRANSFER [110] {n}", "node", f"/log/{n}") for n in (1, 2))
    jobs.tried("a", [first])
    jobs.tried("a", [first, second])
    jobs.tried("a", [])
    with database.connect() as connection:
        rows = connection.execute(text("SELECT * FROM tape_job_retry ORDER BY attempt")).all()
    assert [(row.attempt, row.reason, row.log_file) for row in rows] == [
        (1, "TRANSFER [110] 1", "/log/1"), (2, "TRANSFER [110] 2", "/log/2"),
    ]  # fmt: skip


def test_small_aips_go_to_tape_together_and_come_back_one_by_one(database: Engine) -> None:
    world = World(database, tape_group_below=10**6, tape_group_seconds=3600, tape_poll_seconds=30)
    contents = [b"a" * 1000, b"b" * 700, b"c" * 2000]
    made = [world.aip(content) for content in contents]
    for archive, package in made:
        world.waits_for_company(archive, package, timedelta(hours=2))
    tape.tick(world.environment)
    (row,) = world.rows("SELECT * FROM tape_container")
    assert world.tape.submissions == [f"{row.id}:tape:1"]
    (request,) = world.tape.requests.values()
    world.tape.fetch = lambda _: read(world, request.source_url, str(request.source_token))
    world.tape.tick()
    assert len(world.tape.files[row.path]) == row.size
    world.due()
    tape.tick(world.environment)
    assert {each.state for each in world.rows("SELECT state FROM step WHERE name = 'archive'")} == {"completed"}
    whole = world.tape.files[row.path]
    for (_, package), content in zip(made, contents, strict=True):
        (copy,) = world.rows("SELECT uri FROM copy WHERE package_id = :id AND location = 'tape'", id=package)
        offset, length = (int(part.partition("=")[2]) for part in copy.uri.partition("#")[2].split("&"))
        assert whole[offset : offset + length] == content
    details = world.rows("SELECT xml FROM premis_log WHERE xml LIKE '%in container%'")
    assert len(details) == 3


def read(world: World, url: str, token: str, **headers: str) -> bytes:
    """What the gateway gives FTS."""
    path = url.removeprefix("http://gateway")
    environ = EnvironBuilder(path, headers={"Authorization": f"Bearer {token}", **headers}).get_environ()
    found = gateway.respond(
        Request(environ), world.environment, gateway.find_in(world.database), gateway_audit.Audit(world.database)
    )
    assert found.status_code in (200, 206), found.status_code
    return found.get_data()


def filled(world: World, contents: list[bytes]) -> Container:
    for content in contents:
        world.waits_for_company(*world.aip(content), timedelta(hours=2))
    with world.database.begin() as connection:
        (container,) = tape_containers.fill(connection, largest=10**6, seconds=3600)
    return container


def test_the_gateway_gives_ranges_of_a_container_and_audits_them(database: Engine) -> None:
    world = World(database)
    container = filled(world, [b"x" * 5000, b"y" * 100])
    path = f"/containers/{container.id}.tar"
    token = mint(SECRET, path, ("GET",), int(datetime.now(UTC).timestamp()) + 60, "fts")
    whole = read(world, path, token)
    assert f"{zlib.adler32(whole):08x}" == container.adler32
    assert read(world, path, token, Range="bytes=600-4000") == whole[600:4001]
    events = world.rows("SELECT xml FROM premis_log")
    assert len(events) == 2
    assert f"GET {path}: {container.size} bytes for fts, streamed through the gateway" in events[0].xml


def test_a_damaged_aip_breaks_the_container_off(database: Engine) -> None:
    world = World(database)
    container = filled(world, [b"x" * 5000, b"y" * 100])
    found = gateway.find_in(database)("containers", container.id)
    assert found is not None
    (damaged, _) = container.members
    with world.database.begin() as connection:
        wrong = world.store.put("perdura-aips", f"{damaged.package}.tar", b"z" * 5000).info.ref
        connection.execute(
            text("UPDATE package SET etag = :etag, version_id = :version WHERE id = :id"),
            {"etag": wrong.etag, "version": wrong.version_id, "id": damaged.package},
        )
    found = gateway.find_in(database)("containers", container.id)
    assert found is not None
    given: list[bytes] = []
    with pytest.raises(StoreUnavailable, match="damaged"):
        given.extend(found.chunks(world.store, 0, found.size))
    assert sum(map(len, given)) < container.slots[damaged.package].offset + 5000
    with pytest.raises(StoreUnavailable, match="damaged"):
        list(found.chunks(world.store, 0, found.size))
    (asked,) = world.rows("SELECT event FROM outbox WHERE event ->> 'type' = 'org.perdura.fixity.requested.v1'")
    assert asked.event["data"] == {"package": str(damaged.package), "location": "object-store"}


def test_a_container_that_is_not_full_waits(database: Engine) -> None:
    world = World(database)
    for content in (b"a", b"b"):
        world.waits_for_company(*world.aip(content))
    with database.begin() as connection:
        assert tape_containers.fill(connection, largest=10**6, seconds=3600) == []
        assert len(tape_containers.fill(connection, largest=10**6, seconds=0)) == 1


def test_a_drill_recalls_a_sample_once_a_day(database: Engine) -> None:
    world = World(database, tape_drill_days=30, tape_drill_copies=2)
    for number in range(4):
        world.aip(bytes([number]) * 100, on_tape=True)
    world.aip(b"not on tape")
    assert len(tape.drill(world.environment)) == 2
    assert tape.drill(world.environment) == []
    drills = world.rows("SELECT archive_id, input FROM step WHERE name = 'recall'")
    made = {row.archive_id: row.id for row in world.rows("SELECT id, archive_id FROM package")}
    assert [drill.input for drill in drills] == [
        {"drill": True, "package": str(made[drill.archive_id])} for drill in drills
    ]


def test_a_drill_that_could_not_begin_is_still_due(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(database, tape_drill_days=30)
    world.aip(b"one", on_tape=True)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tape_duties, "begin_drill", killed)
        with pytest.raises(KeyboardInterrupt):
            tape.tick(world.environment)
    assert len(tape.tick(world.environment)) == 1
    assert tape.tick(world.environment) == []


def test_a_recall_that_is_cancelled_while_it_runs_leaves_no_request(database: Engine) -> None:
    world = World(database, tape_poll_seconds=30)
    archive, _ = world.aip(b"on its way", on_tape=True)
    with database.begin() as connection:
        (event,) = archives.recall(connection, archive).events
    step = UUID(event.data["step"])
    stage = world.tape.stage

    def cancelled_meanwhile(paths: Sequence[str], lifetime: int) -> str:
        with database.begin() as connection:
            steering.cancel_errand(connection, archive, step, by="Ada")
        return stage(paths, lifetime)

    world.tape.stage = cancelled_meanwhile  # type: ignore[method-assign]
    world.tape.staged = lambda request: {  # type: ignore[method-assign]
        path: Staging(False) for path in world.tape.stages[request]
    }
    deliver(world, event)
    assert len(world.tape.stages) == 1
    tape.tick(world.environment)
    assert world.tape.stages == {}
    (row,) = world.rows("SELECT state, output FROM step WHERE name = 'recall'")
    assert (row.state, "called_off_at" in row.output["recall"]) == ("cancelled", True)


def test_any_version_on_tape_may_be_recalled_and_no_other(database: Engine) -> None:
    world = World(database)
    archive, used = world.aip(b"in use", on_tape=True)
    older, untaped, foreign = new_id(), new_id(), world.aip(b"another's", on_tape=True)[1]
    with database.begin() as connection:
        connection.execute(
            text("""INSERT INTO package (id, archive_id, kind, bucket, key, container, size, checksums, accepted)
                SELECT id, :archive, 'AIP', 'perdura-aips', CAST(id AS text), 'tar', 3, '{}', false
                FROM unnest(CAST(:ids AS uuid[])) AS id"""),
            {"archive": archive, "ids": [older, untaped]},
        )
        connection.execute(
            text("INSERT INTO copy (package_id, location, uri, size, checksums) VALUES (:id, 'tape', 'x', 3, '{}')"),
            {"id": older},
        )
    with database.begin() as connection:
        archives.recall(connection, archive, package=older)
        with pytest.raises(NotFound):
            archives.recall(connection, archive, package=foreign)
        with pytest.raises(NotFound):
            archives.recall(connection, archive, package=new_id())
        with pytest.raises(Conflict):
            archives.recall(connection, archive, package=untaped)
    assert [row.input for row in world.rows("SELECT input FROM step")] == [{"package": str(older)}]
    with database.connect() as connection:
        started = work.start(connection, world.rows("SELECT id FROM step")[0].id, CAUSE)
        assert started is not None
        assert [copy.package_id for copy in started.archive.copies] == [used, older], "as their packages were made"


def test_a_recall_is_pinned_to_the_aip_in_use_when_it_is_asked_for(database: Engine) -> None:
    world = World(database)
    archive, older = world.aip(b"older", on_tape=True)
    newer = new_id()
    with database.begin() as connection:
        archives.recall(connection, archive)
        connection.execute(text("UPDATE package SET accepted = false WHERE id = :id"), {"id": older})
        connection.execute(
            text("""INSERT INTO package (id, archive_id, kind, bucket, key, container, size, checksums, accepted)
                VALUES (:id, :archive, 'AIP', 'perdura-aips', 'x', 'tar', 3, '{}', true)"""),
            {"id": newer, "archive": archive},
        )
        with pytest.raises(Conflict, match="in use has no copy on tape"):
            archives.recall(connection, archive)
    assert [row.input for row in world.rows("SELECT input FROM step")] == [{"package": str(older)}]


def lost(world: World, archive: UUID, *, drill: bool = True) -> None:
    """A drill finds out that the tape system has lost the copy."""
    with world.database.begin() as connection:
        (event,) = archives.recall(connection, archive, drill=drill).events
    world.tape.staged = lambda request: {  # type: ignore[method-assign]
        path: Staging(False, "the file is lost on tape") for path in world.tape.files
    }
    deliver(world, event)
    del world.tape.staged


def deliver(world: World, event: CloudEvent) -> None:
    run = recall.run if event.type.startswith("org.perdura.recall") else archive_step.run
    StepRunner(tape.NAME, run, tape.NEEDS).deliver(world.environment, event, UUID(event.data["step"]))


def test_a_copy_found_lost_no_longer_counts_and_a_person_may_have_it_made_again_elsewhere(database: Engine) -> None:
    world = World(database, tape_poll_seconds=30, tape_gateway_proxy=True)
    archive, package = world.aip(b"the only other copy", on_tape=True)
    with database.begin() as connection, pytest.raises(Conflict):
        tape_again.archive_again(connection, archive)
    first = world.tape.uri(f"{archive}/{package}.tar")
    with database.begin() as connection:
        connection.execute(text("UPDATE copy SET uri = :uri"), {"uri": first})
    lost(world, archive)
    with database.begin() as connection:
        found = queries.overview(connection)
        assert (found.copies, found.bytes, found.broken) == (0, 0, 1)
        assert tape_duties.begin_drill(connection, count=9, seed="tomorrow") == [], "what is lost is not rehearsed"
        (event,) = tape_again.archive_again(connection, archive).events
        with pytest.raises(Conflict):
            tape_again.archive_again(connection, archive)
    deliver(world, event)
    (request,) = world.tape.requests.values()
    assert request.destination_path == f"{archive}/{package}-2.tar"
    world.tape.fetch = lambda _: read(world, request.source_url, str(request.source_token))
    world.tape.tick()
    world.due()
    tape.tick(world.environment)
    (copy,) = world.rows("SELECT uri, state FROM copy")
    assert (copy.uri, copy.state) == (world.tape.uri(f"{archive}/{package}-2.tar"), "held")
    assert f"{archive}/{package}.tar" in world.tape.files, "nothing at the old place was touched"
    (told,) = world.rows("SELECT xml FROM premis_log WHERE xml LIKE '%lost-on-tape%'")
    assert first in told.xml
    with database.begin() as connection:
        found = queries.overview(connection)
        assert (found.copies, found.broken) == (1, 0)
        with pytest.raises(Conflict):
            tape_again.archive_again(connection, archive)


def test_an_aip_is_not_archived_again_from_a_copy_that_is_not_good(database: Engine) -> None:
    world = World(database)
    archive, package = world.aip(b"lost twice", on_tape=True)
    with database.begin() as connection:
        connection.execute(text("UPDATE copy SET state = 'lost'"))
        connection.execute(
            text("""INSERT INTO copy (package_id, location, uri, size, checksums, state)
                VALUES (:id, 'object-store', 's3://x', 3, '{}', 'damaged')"""),
            {"id": package},
        )
        with pytest.raises(Conflict):
            tape_again.archive_again(connection, archive)


def contained(world: World) -> Container:
    """A container with three AIPs whose copies are held, and one of another container."""
    container = filled(world, [b"a" * 1000, b"b" * 700, b"c" * 300])
    other = filled(world, [b"d" * 500, b"e" * 500]).members[0]
    uri = world.tape.uri(f"containers/{container.id}.tar")
    with world.database.begin() as connection:
        for member in container.members:
            place = f"{uri}#offset={container.slots[member.package].offset}&length={member.size}"
            work.keep(connection, member.archive, (), (Copy(member.package, "tape", place, member.size, {}),))
        elsewhere = Copy(
            other.package, "tape", world.tape.uri("containers/other.tar") + "#offset=0&length=500", 500, {}
        )
        work.keep(connection, other.archive, (), (elsewhere,))
    world.tape.files[f"containers/{container.id}.tar"] = b""
    return container


def placed(container: Container, member: Member) -> Event:
    """The event that said where the copy of an AIP is."""
    uri, offset = FakeTape().uri(f"containers/{container.id}.tar"), container.slots[member.package].offset
    return Event(
        new_id(), "replication", NOW,
        details=(f"copy on tape: {uri}, in container {container.id} at byte {offset}, {member.size} bytes",),
        outcomes=(Outcome(SUCCESS),), objects=(Identifier("UUID", str(member.package), ("source",)),),
    )  # fmt: skip


def test_who_loses_a_container_has_lost_all_its_aips_and_the_log_of_each_says_so(database: Engine) -> None:
    world = World(database, tape_group_below=10**6, tape_group_seconds=3600, tape_poll_seconds=30)
    container = contained(world)
    first, *others = container.members
    lost(world, first.archive)
    members = [member.package for member in container.members]
    states = {row.package_id: row.state for row in world.rows("SELECT package_id, state FROM copy")}
    assert {states.pop(each) for each in members} == {"lost"}
    assert set(states.values()) == {"held"}
    with database.connect() as connection:
        histories = {
            member.archive: [each.event for each in log.events_of(connection, archive_id=member.archive, limit=50)]
            for member in container.members
        }
    told = world.rows("SELECT event FROM outbox WHERE event ->> 'type' = 'org.perdura.fixity.failed.v1'")
    assert {row.event["subject"] for row in told} == {f"archive/{member.archive}" for member in container.members}
    for member in others:
        (event,) = (each for each in histories[member.archive] if each.type == "recovery")
        assert event.outcomes[0].outcome == FAILURE
        assert "lost-on-tape" in event.outcomes[0].notes[0]
        assert str(first.archive) not in event.outcomes[0].notes[0]
        assert {link.value for link in event.objects} == {str(member.package), str(member.archive)}
        found = history([("archive-cta", placed(container, member)), ("archive-cta", event)])
        assert [each.state for each in found.tape] == [CopyState.LOST], "a registry that is rebuilt knows it too"


def test_what_was_lost_with_a_container_before_is_not_told_again(database: Engine) -> None:
    world = World(database, tape_group_below=10**6, tape_group_seconds=3600, tape_poll_seconds=30)
    container = contained(world)
    lost(world, container.members[0].archive)
    before = world.rows("SELECT xml FROM premis_log")
    lost(world, container.members[1].archive)
    after = world.rows("SELECT xml FROM premis_log")
    assert len(after) == len(before) + 1, "that of its own recall"


def test_an_old_loss_says_nothing_of_the_copy_made_since(database: Engine) -> None:
    world = World(database)
    archive, package = world.aip(b"x", on_tape=True)
    before = Copy(package, "tape", "davs://tape/x.tar", 1, {}, state=CopyState.LOST)
    with database.begin() as connection:
        work.keep(connection, archive, (), (replace(before, uri="davs://tape/x-2.tar", state=CopyState.HELD),))
        work.keep(connection, archive, (), (before,))
    assert [row.state for row in world.rows("SELECT state FROM copy")] == ["held"]


def test_the_tick_begins_drills_on_its_own(database: Engine) -> None:
    world = World(database, tape_drill_days=30)
    world.aip(b"one", on_tape=True)
    told = [event.type for event in tape.tick(world.environment)]
    assert told == ["org.perdura.recall.requested.v1"]
    assert tape.tick(world.environment) == []


@pytest.fixture
def restored(database: Engine) -> tuple[World, UUID, str]:
    """A recalled copy in the store whose time is over."""
    world = World(database)
    archive, package = world.aip(b"restored", on_tape=True)
    key = f"recalled/{archive}/{package}.tar"
    world.store.put("perdura-dips", key, b"restored")
    recalled_step(world, archive, package, key, timedelta(days=-1), 1000)
    return world, archive, key


def recalled_step(
    world: World, archive: UUID, package: UUID, key: str, left: timedelta, position: int, **more: Any
) -> None:
    expires = (datetime.now(UTC) + left).isoformat()
    output = {"recall": {"bucket": "perdura-dips", "key": key, "bytes": 8, "expires_at": expires, **more}}
    with world.database.begin() as connection:
        connection.execute(
            text("""INSERT INTO step (id, archive_id, name, position, state, output, checkpoint)
                VALUES (:id, :archive, 'recall', :position, 'completed', CAST(:output AS jsonb),
                    CAST(:checkpoint AS jsonb))"""),
            {
                "id": new_id(), "archive": archive, "position": position, "output": json.dumps(output),
                "checkpoint": json.dumps({"aip": str(package)}),
            },
        )  # fmt: skip


def test_a_recalled_copy_is_removed_when_its_time_is_over_and_the_log_says_so(
    restored: tuple[World, UUID, str],
) -> None:
    world, archive, key = restored
    told = [event.type for event in tape.expire(world.environment)]
    assert told == ["org.perdura.premis.recorded.v1"]
    assert list(world.store.list("perdura-dips", "")) == []
    assert len(list(world.store.list("perdura-aips", ""))) == 1
    (step,) = world.rows("SELECT output FROM step WHERE archive_id = :id", id=archive)
    assert step.output["recall"]["removed_at"]
    (event,) = world.rows("SELECT xml FROM premis_log")
    assert "deletion" in event.xml
    assert key in event.xml
    assert tape.expire(world.environment) == []


def test_a_copy_that_was_recalled_again_stays(restored: tuple[World, UUID, str]) -> None:
    world, archive, key = restored
    package = UUID(key.rpartition("/")[2].removesuffix(".tar"))
    recalled_step(world, archive, package, key, timedelta(days=3), 1001)
    tape.expire(world.environment)
    assert [info.ref.key for info in world.store.list("perdura-dips", "")] == [key]
    assert world.rows("SELECT xml FROM premis_log") == []


def test_a_copy_that_is_recalled_again_at_that_moment_is_not_removed_with_the_one_before(database: Engine) -> None:
    world = World(database)
    archive, package = world.aip(b"restored", on_tape=True)
    key = f"recalled/{archive}/{package}.tar"
    before = world.store.put("perdura-dips", key, b"restored").info.ref
    recalled_step(world, archive, package, key, timedelta(days=-1), 1000, version_id=before.version_id)
    with database.begin() as connection:
        over = tape_duties.recalled_and_over(connection, datetime.now(UTC))
        after = world.store.put("perdura-dips", key, b"restored").info.ref
        assert [(each.ref, each.shared) for each in over] == [(replace(before, etag=None), False)]
    recalled_step(world, archive, package, key, timedelta(days=3), 1001, version_id=after.version_id)
    tape.expire(world.environment)
    assert world.store.read(after) == b"restored"
    with pytest.raises(NotStored):
        world.store.read(before)


def test_credentials_are_looked_at_while_jobs_are_open(database: Engine) -> None:
    world = World(database)
    world.tape.down = True
    tape.renew(world.environment)
    (row,) = world.rows("SELECT credentials FROM tape_destination")
    assert (row.credentials["holder"], row.credentials["error"]) == ("token", None), "FTS is not asked in quiet times"
    world.tape.down = False
    RegistryTapeJobs(database).admit(order("a"), 0)
    tape.renew(world.environment)
    (row,) = world.rows("SELECT credentials FROM tape_destination")
    assert row.credentials["holder"] == "token"
    world.tape.down = True
    tape.renew(world.environment)
    (row,) = world.rows("SELECT credentials FROM tape_destination")
    assert row.credentials["error"] == "fts-unavailable: FTS did not answer"


@pytest.mark.parametrize("days", [3, -1])
def test_days_left_are_told_when_the_credentials_cannot_be_renewed(
    database: Engine, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    world = World(database)
    RegistryTapeJobs(database).admit(order("a"), 0)
    known = TapeCredentials("/CN=robot", datetime.now(UTC) + timedelta(days=days))
    monkeypatch.setattr(world.tape, "credentials", lambda: known)
    world.tape.down = True
    tape.renew(world.environment)
    (row,) = world.rows("SELECT credentials FROM tape_destination")
    assert (row.credentials["holder"], row.credentials["expires_at"]) == ("/CN=robot", known.expires_at.isoformat())
    assert row.credentials["error"] == "fts-unavailable: FTS did not answer"


def test_jobs_open_are_known(database: Engine) -> None:
    jobs = RegistryTapeJobs(database)
    with database.connect() as connection:
        assert not tape_duties.jobs_open(connection)
    jobs.admit(order("a"), 0)
    with database.connect() as connection:
        assert tape_duties.jobs_open(connection)
