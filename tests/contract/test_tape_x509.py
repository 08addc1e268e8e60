"""The whole way with certificates: robot → FTS with a delegated proxy → AIP gateway → tape, all over TLS."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, urlencode

import httpx
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from functions_framework import create_app
from werkzeug.test import EnvironBuilder, run_wsgi_app

from perdura.api.gateway import Access, Held
from perdura.cli import main
from perdura.clients.fts import FtsClient
from perdura.clients.fts_answers import FtsRefused
from perdura.clients.fts_delegation import ProxyDelegator
from perdura.clients.tape import FtsTape, client_tls, tape_system
from perdura.clients.tape_checks import check_offline, check_online
from perdura.local.tape import clock
from perdura.local.tape.fts.daemon import Pace
from perdura.local.tape.http import Request, Response, Server, tls_context
from perdura.local.tape.library import Model
from perdura.local.tape.server import TapeServer
from perdura.outcome import ArchiveView, Outcome, StepState
from perdura.runtime.environment import Environment
from perdura.settings import Settings
from perdura.steps import archive as step
from perdura.steps.archive_transfer import whole
from perdura.storage.store import ObjectRef
from tests.contract.test_tape_system import transports
from tests.unit.tape.fakes import AIP, ARCHIVE, NOW, FakeTapeJobs, PresigningStore, aip, archive, ports
from tests.unit.tape.pki import Pair, ending, expired, robot, rsa_key, tls_directory

QUICK = Model(mount=0.01, seek=0.001, keep=0.0, rate=0)
DN = "/DC=ch/DC=test/OU=Users/CN=000001/CN=Robot: Perdura"
DATA = os.urandom(200_000)
MAIN = Path(__file__).resolve().parents[2] / "functions" / "aip-gateway" / "main.py"


class Noted:
    """An audit that is kept in a list."""

    def __init__(self, audited: list[Access]) -> None:
        self.audited, self.told = audited, []

    def __call__(self, access: Access) -> None:
        self.audited.append(access)


@dataclass
class Gateway:
    """The gateway behind a TLS front end that forwards client certificates, as an ingress would."""

    store: PresigningStore
    settings: Settings
    held: Held
    audited: list[Access]

    def serve(self, directory: Path) -> Server:
        server = Server(0, self.answer, tls_context(str(directory)))
        server.start()
        return server

    def answer(self, asked: Request) -> Response:
        headers = {name: value for name, value in asked.headers.items() if name != "x-client-cert"}
        if asked.peer.chain:
            pem = b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in asked.peer.chain)
            headers["x-client-cert"] = quote(pem)
        query = urlencode([(k, v) for k, values in asked.query.items() for v in values])
        environ = EnvironBuilder(
            asked.path, method=asked.method, headers=headers, query_string=query, data=asked.content()
        ).get_environ()
        with (
            patch("perdura.api.gateway.find_in", lambda _: self.find),
            patch("perdura.api.gateway_audit.Audit", lambda _: Noted(self.audited)),
        ):
            parts, status, found = run_wsgi_app(self.function, environ)
            body = b"" if asked.method == "HEAD" else b"".join(parts)
        return Response(int(status.partition(" ")[0]), body, dict(found))

    @cached_property
    def function(self) -> Any:
        """The deployable itself, under functions-framework."""
        services = SimpleNamespace(
            settings=self.settings,
            store=self.store,
            engine=None,
            emitter=SimpleNamespace(after_response=lambda r, _: r),
        )
        with patch("perdura.runtime.environment.environment", lambda: services):
            return create_app("handle", str(MAIN), "http")

    def find(self, _kind: str, package: Any) -> Held | None:
        return self.held if package == self.held.package else None


@dataclass
class World:
    """Everything that is needed for one AIP to reach tape."""

    tape: FtsTape
    view: ArchiveView
    ports: Any
    gateway: Gateway
    server: TapeServer

    def archive(self) -> Outcome:
        outcome = self.run()
        end = time.monotonic() + 15
        while outcome.state is StepState.WAITING and time.monotonic() < end:
            time.sleep(0.05)
            outcome = self.poll()
        return outcome

    def run(self) -> Outcome:
        return self._took(step.run(self.view, self.ports))

    def poll(self) -> Outcome:
        ((_, outcome),) = step.poll([self.view], self.ports)
        return self._took(outcome)

    def _took(self, outcome: Outcome) -> Outcome:
        self.view = replace(self.view, step=replace(self.view.step, checkpoint=outcome.checkpoint or {}))
        return outcome

    def with_tape_of(self, environment: Environment) -> Any:
        """The next invocation of a process: with the tape system that its environment gives it now."""
        tape = environment.tape
        self.ports = replace(self.ports, tape=tape)
        return tape

    def until(self, seen: Callable[[], bool]) -> None:
        end = time.monotonic() + 10
        while not seen():
            assert time.monotonic() < end
            time.sleep(0.02)

    def state(self, job: str) -> str:
        """State of the file of a job, as FTS has it."""
        return str(self.server.ledger.files(job)[0]["file_state"])

    def archives_again(self) -> None:
        """The library takes up again what it did not archive."""
        library = self.server.library
        with library._condition:
            library._archives += [entry.path for entry in library.catalogue.to_archive()]
            library._condition.notify()


# The package leaves its certificate files open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(params=transports())
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    pki = tmp_path / "pki"
    pki.mkdir()
    tls_directory(pki)
    certificate, key = robot().write(pki, "robot")
    server = TapeServer(
        tmp_path / "tape", token=None, tls_directory=pki, model=QUICK, pace=Pace(monitor=0.01), api=(3, 13, 4)
    )
    server.start()
    store = PresigningStore()
    package = aip(store, DATA)
    values: dict[str, Any] = {
        "tape_transport": request.param,
        "tape_fts_url": server.fts_url,
        "tape_endpoint_url": server.endpoint_url,
        "tape_certificate": certificate,
        "tape_key": key,
        "tape_ca": str(pki / "ca.pem"),
        "tape_gateway_secret": "s" * 32,
        "tape_gateway_dns": DN,
        "tape_gateway_certificate_header": "X-Client-Cert",
        "tape_gateway_proxy": True,
    }
    ref = ObjectRef(package.bucket, package.key, package.version_id, package.etag)
    held = Held(AIP, ARCHIVE, ref, package.size, package.checksums["adler32"], NOW)
    gateway = Gateway(store, Settings(**values), held, [])
    front = gateway.serve(pki)
    values["tape_gateway_url"] = front.url
    tape = tape_system(Settings(**values))
    assert tape is not None
    yield World(tape, archive(package), ports(tape, store, **values), gateway, server)
    clock.set_offset(0)
    tape.close()
    front.stop()
    server.stop()


def test_an_aip_reaches_tape_with_a_delegated_proxy(world: World) -> None:
    outcome = world.archive()
    assert outcome.state is StepState.COMPLETED, outcome
    assert outcome.copies[0].uri.startswith("davs://localhost:")
    reads = [access for access in world.gateway.audited if access.method == "GET" and access.status == 200]
    assert [(access.who, access.bytes) for access in reads] == [(DN, len(DATA))]
    macaroons = [access for access in world.gateway.audited if access.method == "POST"]
    assert {(access.who, access.status) for access in macaroons} == {(DN, 200)}


def test_an_aip_that_is_damaged_in_the_store_is_found_out_by_copies_that_are_damaged_again(world: World) -> None:
    """The gateway tells what is registered, FTS compares nothing at the source: only the copies differ."""
    damaged = bytes([DATA[0] ^ 1]) + DATA[1:]
    world.gateway.held = replace(world.gateway.held, parts=lambda store, start, end: iter([damaged[start:end]]))
    outcomes = [world.run()]
    end = time.monotonic() + 15
    while outcomes[-1].state is StepState.WAITING:
        assert time.monotonic() < end
        time.sleep(0.05)
        outcomes.append(world.poll())
    assert (outcomes[-1].state, outcomes[-1].error_code) == (StepState.BLOCKED, "copy-damaged")
    assert "our own copy in the object store" in (outcomes[-1].message or "")
    asked = [fact.data for outcome in outcomes for fact in outcome.facts]
    check = {"package": str(AIP), "location": "object-store"}
    assert asked == [check, check], "after the second damaged copy, and at the end"
    assert all(fact.type == "org.perdura.fixity.requested.v1" for o in outcomes for fact in o.facts)


def test_a_wrong_checksum_at_the_source_stops_before_a_byte_moves(world: World) -> None:
    world.gateway.held = replace(world.gateway.held, adler32="00000001")
    outcome = world.archive()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "source-damaged")
    assert not [access for access in world.gateway.audited if access.method == "GET"]


def test_a_proxy_is_renewed_before_it_ends(world: World) -> None:
    identity = world.tape.fts.identity()
    assert (identity.dn, identity.method) == (DN, "certificate")
    found = world.tape.renew()
    assert found.holder == DN
    assert found.expires_at is not None
    assert found.proxy_expires_at is not None
    assert world.tape.renew().proxy_expires_at == found.proxy_expires_at
    world.server.ledger.keep_note("proxy", DN, {"expires": time.time() + 600})
    renewed = world.tape.renew().proxy_expires_at
    assert renewed is not None
    assert renewed >= found.proxy_expires_at


def test_the_checks_see_that_everything_works_and_what_does_not(world: World) -> None:
    settings = world.ports.settings
    found = [*check_offline(settings), *check_online(settings)]
    assert {check.subject: check.verdict for check in found} == {
        "tape certificate": "ok", "FTS": "ok", "FTS delegation": "ok", "tape endpoint": "ok",
    }, found  # fmt: skip
    assert DN in found[1].found
    world.server.ledger.keep_note("banned-dn", DN, {"by": "somebody"})
    banned = list(check_online(settings))
    assert (banned[0].verdict, banned[0].subject) == ("failure", "FTS")
    lost = settings.model_copy(update={"tape_ca": "/nowhere/ca.pem"})
    assert "failure" in {check.verdict for check in check_offline(lost)}


def named_in(monkeypatch: pytest.MonkeyPatch, settings: Settings, **changes: str) -> None:
    """The environment names this tape system, as an operator's would."""
    for field in ("tape_fts_url", "tape_endpoint_url", "tape_certificate", "tape_key", "tape_ca", "tape_transport"):
        monkeypatch.setenv(f"PERDURA_{field.upper()}", changes.get(field, str(getattr(settings, field))))


def doctor(home: Path) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit status of the doctor, and what it found of each subject of tape."""
    done = CliRunner().invoke(main, ["--home", str(home), "doctor", "--json"])
    subjects = {"tape", "tape certificate", "tape key", "tape authorities", "tape system", "tape endpoint"}
    found = {line["subject"]: line for line in json.loads(done.output)}
    return done.exit_code, {name: found[name] for name in found if name in subjects or name.startswith("FTS")}


def test_the_doctor_looks_at_a_tape_system_that_is_named(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor(tmp_path / "home")[1]["tape"]["found"] == "the local tape library"
    named_in(monkeypatch, world.ports.settings)
    found = doctor(tmp_path / "home")[1]
    assert {name: line["level"] for name, line in found.items()} == {
        "tape certificate": "ok", "FTS": "ok", "FTS delegation": "ok", "tape endpoint": "ok",
    }, found  # fmt: skip
    assert f"{DN}, RSA 2048, 39" in found["tape certificate"]["found"]
    assert f"knows us as {DN} by certificate" in found["FTS"]["found"]


def test_the_doctor_says_what_is_wrong_with_a_tape_system_and_what_to_do(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = world.ports.settings
    certificate, key = expired().write(tmp_path, "old")
    Path(key).chmod(0o644)
    named_in(monkeypatch, settings, tape_certificate=certificate, tape_key=key)
    status, found = doctor(tmp_path / "home")
    assert status == 1
    assert found["tape certificate"]["level"] == "failure"
    assert "import a new one under the same name" in found["tape certificate"]["remedy"]
    assert (found["tape key"]["level"], found["tape key"]["remedy"]) == ("warning", "chmod 600")
    named_in(monkeypatch, settings, tape_ca="/nowhere/ca.pem")
    found = doctor(tmp_path / "home")[1]
    assert found["tape authorities"]["level"] == "failure"
    world.server.ledger.keep_note("banned-dn", DN, {"by": "somebody"})
    named_in(monkeypatch, settings)
    found = doctor(tmp_path / "home")[1]
    assert found["FTS"]["level"] == "failure"
    assert "banned" in found["FTS"]["found"]


def test_a_certificate_that_expires_on_the_way_loses_no_job(world: World) -> None:
    """What was asked for goes on at FTS; here everything waits and says why, and goes on with a new certificate.

    The same process, as its tick keeps it: only the files are others.
    """
    environment = Environment(world.ports.settings)
    directory = Path(environment.settings.tape_certificate).parent
    first = world.with_tape_of(environment)
    world.server.faults.path.write_text('[{"effect": "never-archived", "match": ""}]')
    outcome = world.run()
    expired().write(directory, "robot")
    assert world.with_tape_of(environment) is not first
    checkpoint = world.view.step.checkpoint
    waiting = world.poll()
    assert waiting.state is StepState.WAITING
    assert waiting.output["tape"]["waiting_for"] == "tape-certificate-expired"
    assert f"the robot certificate {DN} expired on" in waiting.findings[0].message
    assert waiting.checkpoint == checkpoint == outcome.checkpoint
    new = step.run(archive(world.view.packages[0]), world.ports)
    assert new.output["tape"]["waiting_for"] == "tape-certificate-expired"
    robot().write(directory, "robot")
    renewed = world.with_tape_of(environment)
    assert world.with_tape_of(environment) is renewed, "made once for each certificate"
    world.server.faults.path.unlink()
    world.archives_again()
    assert world.archive().state is StepState.COMPLETED
    assert len(world.server.ledger.jobs(None, unfinished=False)) == 1


def test_in_the_last_hour_of_a_certificate_new_aips_wait_and_jobs_are_followed(world: World) -> None:
    """No proxy of it lasts long enough for FTS to take a job (419)."""
    environment = Environment(world.ports.settings)
    directory = Path(environment.settings.tape_certificate).parent
    world.server.faults.replace([{"effect": "never-archived", "match": ""}])
    world.run()
    ending().write(directory, "robot")
    world.with_tape_of(environment)
    waiting = world.poll()
    assert waiting.output["tape"]["waiting_for"] in ("active", "archiving"), waiting.output
    new = archive(world.view.packages[0])
    world.ports = replace(world.ports, tape_jobs=FakeTapeJobs())
    for outcome in (step.run(new, world.ports), *(each for _, each in step.poll([submitting(new)], world.ports))):
        assert outcome.state is StepState.WAITING
        assert outcome.output["tape"]["waiting_for"] == "tape-certificate-expired"
        assert f"the robot certificate {DN} ends on" in outcome.findings[0].message
    assert len(world.server.ledger.jobs(None, unfinished=False)) == 1
    assert world.ports.tape_jobs.asked_as == {}, "nothing was asked for"
    robot().write(directory, "robot")
    world.with_tape_of(environment)
    ((_, outcome),) = step.poll([submitting(new)], world.ports)
    assert outcome.output["tape"]["waiting_for"] == "submitted"


def submitting(view: ArchiveView) -> ArchiveView:
    """An Archive whose round is announced."""
    aip = view.packages[0]
    checkpoint = whole(view, aip, aip.checksums["adler32"], "submit").checkpoint()
    return replace(view, step=replace(view.step, checkpoint=checkpoint))


def test_an_fts_for_which_every_proxy_is_over_is_waited_for(world: World) -> None:
    """Its clock is days ahead: it asks for a delegation again and again."""
    clock.set_offset(3 * 86400)
    outcomes = [world.run(), *(each for _, each in step.poll([submitting(world.view)], world.ports))]
    assert {outcome.state for outcome in outcomes} == {StepState.WAITING}
    assert {outcome.output["tape"]["waiting_for"] for outcome in outcomes} == {"fts-delegation-needed"}
    assert f"a new proxy of the robot certificate {DN}" in outcomes[0].findings[0].message
    clock.set_offset(0)
    assert world.archive().state is StepState.COMPLETED


def test_a_certificate_whose_key_is_still_to_come_changes_nothing_yet(world: World) -> None:
    environment = Environment(world.ports.settings)
    first = world.with_tape_of(environment)
    certificate, key = Path(environment.settings.tape_certificate), Path(environment.settings.tape_key)
    other = Pair(robot("Robot: Other").certificate, rsa_key(9))
    right = key.read_bytes()
    other.write(key.parent, "other")
    key.write_bytes((key.parent / "other.key").read_bytes())
    assert world.with_tape_of(environment) is first
    key.write_bytes(right)
    certificate.write_bytes(robot("Robot: Other").pem)
    second = world.with_tape_of(environment)
    assert second is not first
    assert second.credentials().holder.endswith("/CN=Robot: Other")
    assert second.account().holder.endswith("/CN=Robot: Other"), "FTS is asked anew who we are"


def test_a_proxy_that_ends_soon_is_replaced_at_submission(world: World) -> None:
    """419 of FTS: delegated anew, the same job asked for again."""
    world.tape.fts.renew()
    world.server.ledger.keep_note("proxy", DN, {"expires": time.time() + 600})
    assert world.archive().state is StepState.COMPLETED
    ends = world.tape.fts.renew()
    assert ends is not None
    assert ends.timestamp() > time.time() + 36 * 3600


def short_proxy(world: World, lifetime: timedelta) -> None:
    """FTS holds a proxy that ends soon, as after missed renewals."""
    settings, holder = world.ports.settings, world.tape._robot
    assert holder is not None
    client = FtsClient(settings.tape_fts_url, tls=client_tls(settings))
    ProxyDelegator(holder, lifetime).delegate(client, client.identity())
    client.close()


def test_a_proxy_that_ends_before_the_copy_fails_it_and_the_next_round_has_a_new_one(world: World) -> None:
    world.server.faults.replace([{"effect": "freeze", "match": "", "times": 1}])
    job = str((world.run().checkpoint or {})["job"])
    short_proxy(world, timedelta(hours=2))
    clock.set_offset(3 * 3600)
    world.server.daemon.thaw(job)
    world.until(lambda: world.state(job) == "FAILED")
    assert world.server.ledger.files(job)[0]["reason"].endswith("proxy expired")
    outcome = world.poll()
    assert outcome.output["tape"]["waiting_for"] == "proxy-expired"
    assert [(event.type, event.outcomes[0].outcome) for event in outcome.events] == [("replication", "fail")]
    submitted = world.poll()
    assert submitted.output["tape"]["waiting_for"] == "submitted", "FTS asked for a delegation (419) and got one"
    assert world.archive().state is StepState.COMPLETED
    reads = [access for access in world.gateway.audited if access.method == "GET" and access.status == 200]
    assert len(reads) == 1


def test_a_proxy_that_ends_while_the_file_goes_to_tape_stops_fts_looking_until_it_is_renewed(world: World) -> None:
    world.server.faults.replace([{"effect": "never-archived", "match": ""}])
    job = str((world.run().checkpoint or {})["job"])
    world.until(lambda: world.state(job) == "ARCHIVING")
    short_proxy(world, timedelta(hours=2))
    clock.set_offset(3 * 3600)
    time.sleep(0.3)  # a look that began while there was a proxy is over
    world.server.faults.path.unlink()
    world.archives_again()
    world.until(lambda: bool(world.server.library.catalogue.residency().get("TAPE")))
    time.sleep(0.3)
    assert world.state(job) == "ARCHIVING", "FTS has no proxy to look with"
    assert world.poll().output["tape"]["waiting_for"] == "archiving"
    renewed = world.tape.renew().proxy_expires_at
    assert renewed is not None
    assert renewed.timestamp() > clock.now()
    assert world.archive().state is StepState.COMPLETED
    assert len(world.server.ledger.jobs(None, unfinished=False)) == 1


def test_a_robot_does_not_lead_the_server(world: World) -> None:
    settings = world.ports.settings
    client = httpx.Client(verify=client_tls(settings), base_url=settings.tape_fts_url)
    assert client.get("/whoami").json()["user_dn"] == DN
    assert client.put("/control/clock", json={"offset": 5}).status_code == 401
    client.close()


def test_without_credentials_nothing_is_asked(world: World) -> None:
    settings = world.ports.settings.model_copy(update={"tape_certificate": None, "tape_key": None})
    stranger = tape_system(settings)
    assert stranger is not None
    with pytest.raises(FtsRefused) as refused:
        stranger.fts.identity()
    assert refused.value.code == "fts-not-authenticated"
    stranger.close()
