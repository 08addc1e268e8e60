"""What a cancelled archive or recall leaves at the tape system is called off there, and how it ended is recorded."""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, event, text

from perdura.clients.fts_answers import FtsUnavailable
from perdura.clients.tape import tape_system
from perdura.errors import Conflict, NotFound
from perdura.ids import new_id
from perdura.local.tape.fts.daemon import Pace
from perdura.local.tape.http import Request, Response, Server
from perdura.local.tape.library import Model
from perdura.local.tape.server import TapeServer
from perdura.packages.tape_container import Container
from perdura.ports import Residency, TapeJob, TapeOrder, TapeRequest
from perdura.registry import archives, steering, tape_again, tape_containers
from perdura.registry.tape_jobs import RegistryTapeJobs
from perdura.runtime import tape
from perdura.settings import Settings
from tests.contract.test_tape_registry import World

pytestmark = pytest.mark.stack
CONTENT = b"minutes of the meeting"


class Left(World):
    """An Archive whose AIP is on its way to tape."""

    def __init__(self, database: Engine, **settings: Any) -> None:
        super().__init__(database, **settings)
        self.archive, self.package = self.aip(CONTENT)
        self.path = f"{self.archive}/{self.package}.tar"
        self.key = f"{self.package}:tape:1.1"
        self.jobs = RegistryTapeJobs(database)

    @property
    def adler32(self) -> str:
        return str(self.rows("SELECT checksums ->> 'adler32' AS sum FROM package ORDER BY created_at")[0].sum)

    def under_way(self, *, answered: bool = True) -> str:
        """A step that waits for its job; gives back the job's id."""
        order = TapeOrder(self.key, self.path, len(CONTENT), 3, self.archive, account=self.tape.account())
        self.jobs.admit(order, 0)
        job = self.environment.tape.submit(  # type: ignore[union-attr]
            TapeRequest(self.key, "http://source/x.tar", self.path, len(CONTENT), self.adler32, {}, None, False)
        )
        if answered:
            self.jobs.accepted(self.key, job, self.environment.tape.account())  # type: ignore[union-attr]
        self.waits(self.archive, self.package, {"path": self.path, "job": job if answered else None, "phase": "job"})
        return job

    def waits(self, archive: UUID, package: UUID, checkpoint: dict[str, Any], position: int = 2) -> None:
        common = {
            "aip": str(package), "size": len(CONTENT), "adler32": self.adler32, "round": 1, "looks": 0,
            "complaints": 0, "on_disk_since": None,
        }  # fmt: skip
        with self.database.begin() as connection:
            connection.execute(
                text("""INSERT INTO step (id, archive_id, name, position, state, checkpoint, poll_at)
                    VALUES (:id, :archive, 'archive', :position, 'waiting', CAST(:checkpoint AS jsonb),
                        clock_timestamp() + interval '1 hour')"""),
                {
                    "id": new_id(), "archive": archive, "position": position,
                    "checkpoint": json.dumps(common | checkpoint),
                },
            )  # fmt: skip

    def next_version(self, content: bytes) -> UUID:
        """The Archive is preserved again, and its new AIP is on its way to tape as well; gives back its id."""
        adler32, package = f"{zlib.adler32(content):08x}", new_id()
        with self.database.begin() as connection:
            connection.execute(text("UPDATE package SET accepted = false"))
            connection.execute(
                text("""INSERT INTO package (id, archive_id, kind, bucket, key, container, size, checksums, accepted)
                    VALUES (:package, :archive, 'AIP', 'perdura-aips', :key, 'tar', :size,
                        jsonb_build_object('adler32', CAST(:adler32 AS text)), true)"""),
                {
                    "package": package, "archive": self.archive, "key": f"{package}.tar", "size": len(content),
                    "adler32": adler32,
                },
            )  # fmt: skip
            connection.execute(text("UPDATE archive SET state = 'waiting'"))
        key, path = f"{package}:tape:1.1", f"{self.archive}/{package}.tar"
        self.jobs.admit(TapeOrder(key, path, len(content), 3, self.archive), 0)
        checkpoint = {"path": path, "job": None, "phase": "submit", "size": len(content), "adler32": adler32}
        self.waits(self.archive, package, checkpoint, position=4)
        with self.database.begin() as connection:
            connection.execute(text("UPDATE tape_job SET intended_at = clock_timestamp() - interval '16 minutes'"))
        return package

    def cancel(self, archive: UUID | None = None) -> None:
        with self.database.begin() as connection:
            steering.cancel(connection, archive or self.archive, by="Ada")

    def tick(self) -> list[str]:
        return [event.type for event in tape.tick(self.environment)]

    def events(self) -> list[str]:
        return [row.xml for row in self.rows("SELECT xml FROM premis_log ORDER BY sequence")]

    @property
    def noted(self) -> Any:
        (row,) = self.rows("SELECT state, ended_at, cancelled_by, job_id FROM tape_job")
        return row


@pytest.fixture
def left(database: Engine) -> Left:
    return Left(database)


def test_the_job_of_a_cancelled_archive_is_cancelled_at_fts_and_its_end_recorded(left: Left) -> None:
    job = left.under_way()
    assert left.tick() == [], "a job that is waited for is left alone"
    left.cancel()
    assert left.tick() == ["org.perdura.premis.recorded.v1"]
    assert left.tape.states[job].state == "cancelled"
    assert (left.noted.state, left.noted.cancelled_by) == ("cancelled", "Ada")
    assert left.noted.ended_at is not None
    (event,) = left.events()
    assert "called off by Ada" in event
    assert "FTS says: cancelled (Job canceled by the user); no file is at the destination" in event
    assert "fail" in event
    assert str(left.package) in event
    assert left.tick() == []
    assert len(left.events()) == 1


def test_a_look_that_finds_one_job_done_takes_at_most_twelve_statements(left: Left) -> None:
    job = left.under_way()
    left.tick()  # with the duties of every hour
    left.tape.states[job] = TapeJob(job, "finished")
    left.tape.places[left.path] = Residency(left.path, False, True, len(CONTENT), left.adler32)
    left.due()
    statements: list[str] = []
    event.listen(left.database, "before_cursor_execute", lambda *given: statements.append(given[2].strip()[:60]))
    assert "org.perdura.aip.archived.v1" in left.tick()
    assert len(statements) <= 11, statements  # one more notes what the broker took


def test_cancelling_does_not_wait_for_fts_which_is_asked_until_it_answers(left: Left) -> None:
    job = left.under_way()
    left.tape.down = True
    left.cancel()
    assert left.rows("SELECT state FROM archive")[0].state == "cancelled"
    assert left.tick() == left.tick() == []
    assert left.noted.ended_at is None
    left.tape.down = False
    assert left.tick() == ["org.perdura.premis.recorded.v1"]
    assert left.tape.states[job].state == "cancelled"


def test_an_fts_that_never_answers_is_given_up_in_the_end_and_the_log_says_so(left: Left) -> None:
    left.under_way()
    left.tape.down = True
    left.cancel()
    with left.database.begin() as connection:
        connection.execute(text("UPDATE step SET finished_at = clock_timestamp() - interval '1 year'"))
    assert left.tick() == ["org.perdura.premis.recorded.v1"]
    assert "how it ended is not known; FTS did not answer" in left.events()[0]
    assert left.noted.ended_at is not None


def test_a_copy_that_reached_tape_before_counts(left: Left) -> None:
    job = left.under_way()
    left.tape.states[job] = TapeJob(job, "finished")
    left.tape.places[left.path] = Residency(left.path, False, True, len(CONTENT), left.adler32)
    left.cancel()
    assert left.tick() == ["org.perdura.aip.archived.v1", "org.perdura.premis.recorded.v1"]
    (copy,) = left.rows("SELECT location, uri, verified_at FROM copy")
    assert (copy.location, copy.uri) == ("tape", f"davs://tape.example.org/perdura/{left.path}")
    assert len(left.events()) == 3
    assert "counts as a copy" in left.events()[0]


@pytest.mark.parametrize("state", ["finished", "cancelled", "active"])
def test_a_job_that_fts_fails_to_cancel_is_looked_at_all_the_same(left: Left, state: str) -> None:
    job = left.under_way()
    left.tape.states[job] = TapeJob(job, state)
    left.tape.places[left.path] = Residency(left.path, False, True, len(CONTENT), left.adler32)

    def cancel(*_: Any) -> None:
        raise FtsUnavailable("FTS answered 500", code="fts-internal-error")

    left.tape.cancel = cancel  # type: ignore[method-assign]
    left.cancel()
    over = ["org.perdura.aip.archived.v1", "org.perdura.premis.recorded.v1"]
    assert left.tick() == ([] if state == "active" else over)
    assert len(left.rows("SELECT location FROM copy")) == (0 if state == "active" else 1)


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (Residency("", True, False, len(CONTENT), None), "and may still reach tape"),
        (Residency("", False, True, 3, "00000001"), "a file is on tape"),
    ],
)
def test_what_is_at_the_destination_is_told_and_only_the_right_file_counts(
    left: Left, there: Residency, words: str
) -> None:
    left.under_way()
    left.tape.places[left.path] = there
    left.cancel()
    left.tick()
    (event,) = left.events()
    assert words in event
    assert left.rows("SELECT * FROM copy") == []


def test_a_job_whose_answer_was_lost_is_called_off_once_no_worker_can_be_asking(left: Left) -> None:
    job = left.under_way(answered=False)
    left.cancel()
    assert left.tick() == [], "a worker may still be asking for it"
    with left.database.begin() as connection:
        connection.execute(text("UPDATE tape_job SET intended_at = clock_timestamp() - interval '16 minutes'"))
    assert left.tick() == ["org.perdura.premis.recorded.v1"]
    assert left.tape.states[job].state == "cancelled"
    assert left.noted.job_id == job


def test_a_job_whose_answer_was_lost_is_called_off_although_fts_has_us_in_another_vo_since(left: Left) -> None:
    job = left.under_way(answered=False)
    left.cancel()
    with left.database.begin() as connection:
        earlier = "UPDATE tape_job SET intended_at = clock_timestamp() - interval '16 minutes', asked_as = :job"
        connection.execute(text(earlier), {"job": job})
    left.tape.vo = "archives"
    assert left.tick() == ["org.perdura.premis.recorded.v1"]
    assert left.tape.states[job].state == "cancelled"
    assert left.noted.job_id == job


def test_a_job_whose_answer_was_lost_is_not_gone_because_another_fts_does_not_know_it(left: Left) -> None:
    job = left.under_way(answered=False)
    with left.database.begin() as connection:
        connection.execute(text("UPDATE tape_job SET intended_at = clock_timestamp() - interval '16 minutes'"))
    left.tape.server = "https://other.example.org:8446"
    del left.tape.states[job]
    left.cancel()
    assert left.tick() == []
    assert (left.noted.state, left.noted.ended_at) == ("elsewhere", None)


def test_a_job_that_fts_was_asked_for_under_another_name_is_no_lost_one(left: Left) -> None:
    job = left.under_way()
    with left.database.begin() as connection:
        connection.execute(text("UPDATE tape_job SET holder = '/CN=before'"))
    del left.tape.states[job]
    left.cancel()
    assert left.tick() == []
    assert left.noted.state == "elsewhere"


def test_a_skipped_step_leaves_no_job_and_a_retried_one_keeps_it(left: Left) -> None:
    job = left.under_way()
    with left.database.begin() as connection:
        connection.execute(text("UPDATE step SET state = 'failed'"))
        connection.execute(text("UPDATE archive SET state = 'failed'"))
        archives.retry(connection, left.archive)
    assert left.tick() == []
    assert left.tape.states[job].state == "active", "the retry follows it"
    with left.database.begin() as connection:
        connection.execute(text("UPDATE step SET state = 'failed' WHERE state <> 'failed'"))
        steering.skip(connection, left.archive, by="Ben")
    assert left.tick() == ["org.perdura.premis.recorded.v1"]
    assert "called off by Ben" in left.events()[0]


def test_the_job_of_a_version_is_called_off_however_the_next_version_goes(left: Left) -> None:
    """Each job is judged, and told of, by the step of its own AIP."""
    job = left.under_way()
    left.tape.down = True
    left.cancel()
    assert left.tick() == []
    second = left.next_version(b"the second version, of another length")
    assert left.tick() == []
    left.tape.down = False
    left.tape.places[left.path] = Residency(left.path, False, True, len(CONTENT), left.adler32)
    assert left.tick() == ["org.perdura.aip.archived.v1", "org.perdura.premis.recorded.v1"]
    assert left.tape.states[job].state == "cancelled"
    assert left.rows("SELECT package_id FROM copy")[0].package_id == left.package
    later = f"{second}:tape:1.1"
    assert left.rows("SELECT ended_at FROM tape_job WHERE key = :key", key=later)[0].ended_at is None
    left.cancel()
    left.tick()
    assert left.rows("SELECT ended_at FROM tape_job WHERE key = :key", key=later)[0].ended_at is not None
    events = left.events()
    assert len(events) == 4
    assert [str(second) in each for each in events] == [False, False, False, True]


def test_a_copy_of_a_version_counts_by_its_own_checksum_when_the_next_is_cancelled_too(left: Left) -> None:
    left.under_way()
    with left.database.begin() as connection:
        connection.execute(text("UPDATE package SET checksums = checksums - 'adler32'"))
    left.tape.down = True
    left.cancel()
    left.next_version(b"the second version, of another length")
    left.cancel()
    left.tape.down = False
    left.tape.places[left.path] = Residency(left.path, False, True, len(CONTENT), f"{zlib.adler32(CONTENT):08x}")
    left.tick()
    assert [row.package_id for row in left.rows("SELECT package_id FROM copy")] == [left.package]
    assert len(left.events()) == 4


def test_the_job_of_a_copy_made_again_is_called_off_with_its_own_step(left: Left) -> None:
    with left.database.begin() as connection:
        copy = {"package": left.package, "archive": left.archive, "step": new_id(), "size": len(CONTENT)}
        connection.execute(
            text("""INSERT INTO step (id, archive_id, name, position, state)
                VALUES (:step, :archive, 'archive', 2, 'completed')"""),
            copy,
        )
        connection.execute(
            text("""INSERT INTO copy (package_id, location, uri, size, checksums, state)
                VALUES (:package, 'tape', 'davs://tape/x.tar', :size, '{}', 'lost')"""),
            copy,
        )
        tape_again.archive_again(connection, left.archive)
        (step,) = connection.execute(text("SELECT id FROM step WHERE input ? 'copy'")).scalars()
    key, path = f"{left.package}:tape-2:1.1", f"{left.archive}/{left.package}-2.tar"
    order = TapeOrder(key, path, len(CONTENT), 3, left.archive, account=left.tape.account())
    left.jobs.admit(order, 0)
    job = left.tape.submit(TapeRequest(key, "http://s/x", path, len(CONTENT), left.adler32, {}, None, False))
    left.jobs.accepted(key, job, left.tape.account())
    assert left.tick() == []
    assert left.tape.states[job].state == "active"
    with left.database.begin() as connection:
        steering.cancel_errand(connection, left.archive, step, by="Ada")
    left.tick()
    assert left.tape.states[job].state == "cancelled"


def test_the_job_of_a_container_goes_on_while_one_of_its_aips_is_waited_for(left: Left) -> None:
    other, package = left.aip(b"another small one")
    for archive, aip in ((left.archive, left.package), (other, package)):
        left.waits_for_company(archive, aip, timedelta(hours=1))
    with left.database.begin() as connection:
        (container,) = tape_containers.fill(connection, largest=10**6, seconds=60)
    job = asked(left, container)
    left.cancel()
    assert left.tick() == []
    assert left.tape.states[job].state == "active"
    left.cancel(other)
    assert left.tick() == ["org.perdura.premis.recorded.v1"] * 2
    assert left.tape.states[job].state == "cancelled"
    assert {aip for aip in (str(left.package), str(package)) if any(aip in event for event in left.events())} == {
        str(left.package), str(package),
    }  # fmt: skip


def asked(left: Left, container: Container) -> str:
    """The job of a container."""
    key, path = f"{container.id}:tape:1", f"containers/{container.id}.tar"
    left.jobs.admit(TapeOrder(key, path, container.size, 3, None, container.id), 0)
    job = left.tape.submit(TapeRequest(key, "http://s/x", path, container.size, container.adler32, {}, None, False))
    left.jobs.accepted(key, job, left.tape.account())
    return job


def recalling(left: Left) -> tuple[UUID, str]:
    """A recall that waits for its file; gives back its step and the stage request."""
    with left.database.begin() as connection:
        connection.execute(
            text("""INSERT INTO copy (package_id, location, uri, size, checksums)
                VALUES (:package, 'tape', :uri, :size, '{}')"""),
            {"package": left.package, "uri": left.tape.uri(left.path), "size": len(CONTENT)},
        )
    request = left.tape.stage([left.path], 60)
    upload = left.store.uploads.begin("perdura-dips", f"recalled/{left.path}").id
    checkpoint = {
        "aip": str(left.package), "path": left.path, "request": request, "round": 1, "looks": 2, "since": None,
        "broken": 0, "reading": {"offset": 8, "states": {}, "upload": upload, "again": False},
    }  # fmt: skip
    step = new_id()
    with left.database.begin() as connection:
        connection.execute(
            text("""INSERT INTO step (id, archive_id, name, position, state, checkpoint, poll_at)
                VALUES (:id, :archive, 'recall', 1000, 'waiting', CAST(:checkpoint AS jsonb), clock_timestamp())"""),
            {"id": step, "archive": left.archive, "checkpoint": json.dumps(checkpoint)},
        )
    return step, request


def test_a_cancelled_recall_leaves_no_request_and_no_unfinished_upload(left: Left) -> None:
    step, request = recalling(left)
    with left.database.begin() as connection:
        steering.cancel_errand(connection, left.archive, step, by="Ada")
    left.tape.down = True
    assert left.tick() == []
    left.tape.down = False
    assert left.tick() == ["org.perdura.premis.recorded.v1"]
    assert request not in left.tape.stages
    assert left.tape.released == [left.path]
    assert left.store.uploads._parts == {}
    (event,) = left.events()
    assert f"called off by Ada; stage request {request}; nothing is left of it" in event
    assert left.tick() == []
    assert left.rows("SELECT state FROM archive")[0].state == "waiting", "the Archive itself goes on"


def test_only_what_is_under_way_beside_the_pipeline_is_cancelled_by_its_step(left: Left) -> None:
    left.under_way()
    (own,) = left.rows("SELECT id FROM step")
    step, _ = recalling(left)
    other, _ = left.aip(b"other")
    with left.database.begin() as connection:
        with pytest.raises(Conflict, match="cancel the Archive"):
            steering.cancel_errand(connection, left.archive, own.id, by="Ada")
        with pytest.raises(NotFound):
            steering.cancel_errand(connection, other, step, by="Ada")
        steering.cancel_errand(connection, left.archive, step, by="Ada")
        with pytest.raises(Conflict, match="the step is cancelled"):
            steering.cancel_errand(connection, left.archive, step, by="Ada")


@pytest.fixture
def library(tmp_path: Path) -> Iterator[TapeServer]:
    """An emulated FTS and tape endpoint whose drives are slow."""
    server = TapeServer(
        tmp_path / "tape", token="secret", model=Model(mount=60, seek=1, keep=0.0, rate=0),
        pace=Pace(monitor=0.01, retry_unit=0.0001),
    )  # fmt: skip
    server.start()
    yield server
    server.stop()


def test_the_emulated_fts_is_asked_to_cancel_and_says_how_it_ended(database: Engine, library: TapeServer) -> None:
    held = Server(0, lambda asked: slow(asked))
    held.start()
    left = Left(database)
    values = {"tape_fts_url": library.fts_url, "tape_endpoint_url": library.endpoint_url, "tape_token": "secret"}
    system = tape_system(Settings(**values))
    assert system is not None
    vars(left.environment)["tape_of_now"] = lambda: system
    try:
        left.jobs.admit(TapeOrder(left.key, left.path, len(CONTENT), 3, left.archive), 0)
        job = system.submit(
            TapeRequest(left.key, f"{held.url}/x.tar", left.path, len(CONTENT), left.adler32, {}, None, False)
        )
        left.jobs.accepted(left.key, job, system.account())
        left.waits(left.archive, left.package, {"path": left.path, "job": job, "phase": "job"})
        left.cancel()
        deadline = time.monotonic() + 10
        while left.noted.ended_at is None and time.monotonic() < deadline:
            tape.tick(left.environment)
        answer = httpx.get(f"{library.fts_url}/jobs/{job}", headers={"Authorization": "Bearer secret"}).json()
        assert (answer["job_state"], answer["cancel_job"]) == ("CANCELED", True)
        assert re.search("FTS says: cancelled", left.events()[0])
    finally:
        system.close()
        held.stop()


def slow(asked: Request) -> Response:
    time.sleep(0.5)
    return Response(200, CONTENT)
