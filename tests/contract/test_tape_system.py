"""One suite over every tape system: the fake of step tests, and FTS with the local tape library behind it."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from perdura.clients import bounded
from perdura.clients.tape import tape_system
from perdura.clients.tape_checks import check_online
from perdura.errors import NotStored, UpstreamUnavailable
from perdura.local.tape.fts.daemon import Pace
from perdura.local.tape.fts.identity import Identity
from perdura.local.tape.http import Request, Response, Server
from perdura.local.tape.library import Model
from perdura.local.tape.server import TapeServer
from perdura.ports import TapeJob, TapeRequest, TapeSystem
from perdura.settings import Settings
from tests.unit.tape.fakes import FakeTape

QUICK = Model(mount=0.01, seek=0.001, keep=0.0, rate=0)
PACE = Pace(monitor=0.01, retry_unit=0.0001)


@dataclass
class Surroundings:
    """A tape system, a server of source files, and a way to let time pass."""

    tape: TapeSystem
    sources: dict[str, bytes]
    source_url: str
    settle: Callable[[str], TapeJob]
    faults: Path | None = None
    server: TapeServer | None = None

    def request(self, name: str, data: bytes, key: str | None = None) -> TapeRequest:
        self.sources[f"/{name}"] = data
        return TapeRequest(
            job_key=key or name,
            source_url=f"{self.source_url}/{name}?X-Amz-Signature=secret",
            destination_path=f"dir/{name}",
            size=len(data),
            adler32=f"{zlib.adler32(data):08x}",
            metadata={"aip": name},
        )

    def inject(self, *rules: dict[str, object]) -> None:
        """Put fault rules in force."""
        assert self.faults is not None
        self.faults.write_text(json.dumps(rules))


def source_server(sources: dict[str, bytes]) -> Server:
    """Serves files by GET only, as presigned URLs do."""

    def answer(asked: Request) -> Response:
        if asked.method != "GET":
            return Response(403)
        data = sources.get(asked.path)
        if data is None:
            return Response(404)
        if asked.headers.get("range") == "bytes=0-0":
            return Response(206, data[:1], {"Content-Range": f"bytes 0-0/{len(data)}"})
        return Response(200, data)

    server = Server(0, answer)
    server.start()
    return server


def until_final(tape: TapeSystem, job: str, seconds: float = 10) -> TapeJob:
    """Look until the job is over."""
    end = time.monotonic() + seconds
    while (state := tape.jobs([job])[job]).state in ("active", "archiving"):
        assert time.monotonic() < end, state
        time.sleep(0.01)
    return state


def transports() -> list[Any]:
    """Both ways to speak to FTS; the package is an extra (`make test-peers` runs this suite with it)."""
    missing = find_spec("fts3") is None
    return ["own", pytest.param("fts3", marks=pytest.mark.skipif(missing, reason="fts3 is not installed"))]


Emulators = Callable[[str], Surroundings]


@pytest.fixture(scope="module")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    """The emulated tape system by transport, each started when first wanted."""
    with ExitStack() as stack:

        @cache
        def emulated(transport: str) -> Surroundings:
            return stack.enter_context(emulated_system(tmp_path_factory.mktemp("tape"), transport))

        yield emulated


@contextmanager
def emulated_system(state: Path, transport: str) -> Iterator[Surroundings]:
    server = TapeServer(state, token="secret", model=QUICK, pace=PACE)
    server.start()
    sources: dict[str, bytes] = {}
    source = source_server(sources)
    tape = tape_system(
        Settings(
            tape_fts_url=server.fts_url,
            tape_endpoint_url=server.endpoint_url,
            tape_token="secret",
            tape_transport=transport,
        )
    )
    assert tape is not None
    yield Surroundings(
        tape, sources, f"{source.url}", lambda job: until_final(tape, job), state / "faults.json", server
    )
    tape.close()
    source.stop()
    server.stop()


@pytest.fixture(params=transports())
def emulator(request: pytest.FixtureRequest, emulators: Emulators) -> Iterator[Surroundings]:
    """The emulated system, without the faults that a test before put in force."""
    emulated = emulators(request.param)
    yield emulated
    assert emulated.faults is not None
    emulated.faults.unlink(missing_ok=True)


@pytest.fixture(params=["fake", *transports()])
def system(request: pytest.FixtureRequest, emulators: Emulators) -> Iterator[Surroundings]:
    if request.param != "fake":
        emulated = emulators(request.param)
        yield emulated
        assert emulated.faults is not None
        emulated.faults.unlink(missing_ok=True)
        return
    sources: dict[str, bytes] = {}
    fake = FakeTape(fetch=lambda url: sources[url.removeprefix("http://sources").partition("?")[0]])

    def settle(job: str) -> TapeJob:
        fake.tick()
        return fake.jobs([job])[job]

    yield Surroundings(fake, sources, "http://sources", settle)


@pytest.mark.parametrize("effect", ["http", "unavailable"])
def test_one_file_that_cannot_be_told_of_does_not_hide_the_others(emulator: Surroundings, effect: str) -> None:
    bad, *others = names = [f"dir/{effect}-{number}" for number in range(3)]
    for name in names:
        emulator.settle(emulator.tape.submit(emulator.request(name.removeprefix("dir/"), b"content")))
    emulator.inject({"effect": effect, "match": bad, "status": 500})
    found = emulator.tape.residency(names)
    assert (found[bad].error, found[bad].size) == ("UNAVAILABLE", None)
    assert [(found[path].on_tape, found[path].size) for path in others] == [(True, 7), (True, 7)]


def test_a_file_reaches_tape(system: Surroundings) -> None:
    data = os.urandom(100_000)
    request = system.request("one.tar", data)
    job = system.tape.submit(request)
    assert system.settle(job).state == "finished"
    found = system.tape.residency(["dir/one.tar"])["dir/one.tar"]
    assert (found.on_tape, found.size, found.adler32) == (True, len(data), request.adler32)


def test_the_same_key_is_the_same_job(system: Surroundings) -> None:
    request = system.request("two.tar", b"two")
    assert system.tape.submit(request) == system.tape.submit(request)


def test_unknown_jobs_and_files_are_said_to_be_unknown(system: Surroundings) -> None:
    job = system.tape.submit(system.request("three.tar", b"three"))
    unknown = "11111111-2222-4333-8444-555555555555"
    states = system.tape.jobs([job, unknown])
    assert states[unknown].state == "unknown"
    assert states[job].state in ("active", "archiving", "finished")
    found = system.tape.residency(["dir/nothing.tar"])["dir/nothing.tar"]
    assert not found.on_disk
    assert not found.on_tape
    assert found.error


def test_a_file_comes_back_from_tape(system: Surroundings) -> None:
    data = os.urandom(300_000)
    system.settle(system.tape.submit(system.request("four.tar", data)))
    request = system.tape.stage(["dir/four.tar", "dir/none.tar"], 3600)
    end = time.monotonic() + 10
    while not (progress := system.tape.staged(request))["dir/four.tar"].on_disk:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert progress["dir/none.tar"].error
    assert b"".join(system.tape.read("dir/four.tar")) == data
    assert b"".join(system.tape.read("dir/four.tar", 1000, 5000)) == data[1000:6000]
    system.tape.release(request, ["dir/four.tar"])


def test_a_stage_request_never_made_is_not_known(system: Surroundings) -> None:
    with pytest.raises(NotStored):
        system.tape.staged("never")


def test_a_cancelled_job_says_who_cancelled_it(system: Surroundings) -> None:
    if system.faults is not None:
        system.inject({"effect": "never-archived", "match": "five.tar"})
    job = system.tape.submit(system.request("five.tar", b"five"))
    system.tape.cancel([job, "11111111-2222-4333-8444-555555555555"])
    state = system.tape.jobs([job])[job]
    assert state.state == "cancelled"
    assert state.reason == "Job canceled by the user"


def test_another_priority_is_taken(system: Surroundings) -> None:
    if system.faults is not None:
        system.inject({"effect": "never-archived", "match": "prior.tar"})
    job = system.tape.submit(system.request("prior.tar", b"prior"))
    system.tape.set_priority([job], 5)
    assert system.tape.jobs([job])[job].state in ("active", "archiving")
    if system.server is not None:
        assert (system.server.ledger.job(job) or {})["priority"] == 5


def test_credentials_are_described(system: Surroundings) -> None:
    assert system.tape.renew().holder == "token"


def test_an_answer_lost_after_submission_makes_no_second_job(emulator: Surroundings) -> None:
    emulator.inject({"effect": "reset-after", "match": "POST /jobs", "times": 1})
    job = emulator.tape.submit(emulator.request("six.tar", b"six"))
    assert emulator.settle(job).state == "finished"
    assert emulator.tape.submit(emulator.request("six.tar", b"six")) == job


@pytest.mark.parametrize("fault", [{"effect": "reset-after", "match": "POST /jobs", "times": 1}, None])
def test_a_job_that_fts_takes_after_it_moved_us_to_another_vo_is_followed(
    emulator: Surroundings, fault: dict[str, object] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its answer, and without; asked again FTS only says that it has it (409), and not under which id."""
    assert emulator.server is not None
    who, name = emulator.server.service.who, f"moved-{bool(fault)}.tar"
    before = emulator.tape.job_id(name)  # type: ignore[attr-defined]

    def moved(asked: Request) -> Identity | Response:
        found = who(asked)
        return replace(found, vos=(name,)) if isinstance(found, Identity) else found

    monkeypatch.setattr(emulator.server.service, "who", moved)
    emulator.inject(*([fault] if fault else []))
    job = emulator.tape.submit(emulator.request(name, b"moved"))
    assert job != before
    assert emulator.settle(job).state == "finished"
    monkeypatch.undo()
    assert emulator.tape.submit(emulator.request("between.tar", b"between")) != job
    monkeypatch.setattr(emulator.server.service, "who", moved)
    assert emulator.tape.submit(emulator.request(name, b"moved")) == job
    monkeypatch.undo()
    emulator.tape.fts.forget_identity()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("rule", "state", "words"),
    [
        (
            {"effect": "archive-error", "text": "no tapes left"},
            "failed",
            "ARCHIVING [42] [Tape REST API] no tapes left",
        ),
        ({"effect": "corrupt"}, "failed", "DESTINATION [5] User-defined and destination ADLER32 checksum do not match"),
        ({"effect": "write-failure"}, "failed", "No space left on device"),
        (
            {"effect": "transfer-failure", "text": "SOURCE Result HTTP 403 : Permission refused", "errno": 13},
            "failed",
            "SOURCE [13]",
        ),
    ],
)
def test_failures_keep_the_tape_systems_own_words(
    emulator: Surroundings, rule: dict[str, object], state: str, words: str
) -> None:
    name = f"fail-{rule['effect']}.tar"
    emulator.inject({**rule, "match": name})
    found = emulator.settle(emulator.tape.submit(emulator.request(name, b"some data")))
    assert found.state == state
    assert words in str(found.reason)


def test_the_destination_is_never_overwritten(emulator: Surroundings) -> None:
    first = emulator.request("seven.tar", b"the first")
    emulator.settle(emulator.tape.submit(first))
    second = emulator.request("seven.tar", b"the second", key="seven again")
    found = emulator.settle(emulator.tape.submit(second))
    assert found.state == "failed"
    assert str(found.reason).startswith("DESTINATION [17] Destination file exists")
    assert found.at_destination is not None
    assert (found.at_destination.size, found.at_destination.adler32) == (9, first.adler32)
    assert found.at_destination.on_tape


def test_a_transfer_that_times_out_is_tried_again(emulator: Surroundings) -> None:
    text = "TRANSFER TRANSFER ERROR: Copy failed (3rd pull). Last attempt: Connection timed out"
    emulator.inject({"effect": "transfer-failure", "match": "eight.tar", "errno": 110, "text": text, "times": 2})
    assert emulator.settle(emulator.tape.submit(emulator.request("eight.tar", b"eight"))).state == "finished"


def test_the_attempts_of_fts_that_failed_are_told(emulator: Surroundings) -> None:
    text = "TRANSFER TRANSFER ERROR: Copy failed (3rd pull). Last attempt: Connection timed out"
    emulator.inject({"effect": "transfer-failure", "match": "ten.tar", "errno": 110, "text": text, "times": 2})
    job = emulator.settle(emulator.tape.submit(emulator.request("ten.tar", b"ten")))
    assert (job.state, job.file_state, job.retries) == ("finished", "FINISHED", 2)
    failed = emulator.tape.retries(job)
    assert [(each.attempt, each.reason.partition(" [")[0]) for each in failed] == [(1, "TRANSFER"), (2, "TRANSFER")]
    assert all(each.log_file and each.log_file.startswith("/var/log/fts3/transfers/") for each in failed)
    assert job.log_file
    assert job.log_file.startswith("/var/log/fts3/transfers/")
    account = emulator.tape.account()
    assert (account.server, account.holder) == (emulator.server.fts_url if emulator.server else "", "perdura")


def test_the_library_remembers_after_a_restart(tmp_path: Path) -> None:
    sources = {"/nine.tar": os.urandom(50_000)}
    source = source_server(sources)
    states = []
    for run in range(2):
        server = TapeServer(tmp_path, token="secret", model=QUICK, pace=PACE)
        server.start()
        settings = Settings(tape_fts_url=server.fts_url, tape_endpoint_url=server.endpoint_url, tape_token="secret")
        tape = tape_system(settings)
        assert tape is not None
        if run == 0:
            around = Surroundings(tape, sources, source.url, lambda job: TapeJob(job, ""))
            job = tape.submit(around.request("nine.tar", sources["/nine.tar"]))
            until_final(tape, job)
        states.append((tape.jobs([job])[job].state, tape.residency(["dir/nine.tar"])["dir/nine.tar"].on_tape))
        tape.close()
        server.stop()
    source.stop()
    assert states == [("finished", True), ("finished", True)]


@pytest.mark.parametrize("transport", transports())
def test_an_fts_whose_answers_have_no_bounds_does_not_answer(transport: str) -> None:
    server = Server(0, lambda _: Response(200, b" " * (bounded.MOST + 1)))
    server.start()
    named = {"tape_fts_url": server.url, "tape_endpoint_url": server.url, "tape_token": "secret"}
    tape = tape_system(Settings(**named, tape_transport=transport))
    assert tape is not None
    try:
        with pytest.raises(UpstreamUnavailable, match="did not answer"):
            tape.jobs(["11111111-2222-4333-8444-555555555555"])
    finally:
        tape.close()
        server.stop()


@pytest.mark.parametrize("api", [(3, 13, 4), (3, 14, 0)])
def test_an_fts_that_takes_no_tokens_for_tape_is_found_out_before_any_aip_is_refused(
    tmp_path: Path, api: tuple[int, int, int]
) -> None:
    server = TapeServer(tmp_path, token="t", api=api)
    server.start()
    try:
        settings = Settings(tape_fts_url=server.fts_url, tape_endpoint_url=server.endpoint_url, tape_token="t")
        found = {check.subject: check for check in check_online(settings)}
        assert found["FTS"].verdict == ("failure" if api < (3, 14, 0) else "ok"), found
        assert ".".join(map(str, api)) in found["FTS"].found
    finally:
        server.stop()
