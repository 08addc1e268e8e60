"""The driver of Archivematica against the fake: every outcome by name, no second transfer, no endless wait."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr

from perdura.clients.archivematica import dashboard
from perdura.clients.archivematica.dashboard import Dashboard
from perdura.clients.archivematica.exchange import Exchange
from perdura.errors import Broken
from perdura.fleet import ArchivematicaUnavailable, Stage, Submission, Unit, UnitState
from perdura.outcome import Outcome, StepState
from perdura.settings import Settings
from perdura.steps import preserve, preserve_archivematica_source
from perdura.steps.preserve_archivematica_decisions import Patience, on_unit
from perdura.steps.preserve_outsized import KEY as JOB
from perdura.storage.memory import MemoryStore
from perdura.storage.store import ObjectRef
from tests.peers.archivematica import aip, server
from tests.peers.archivematica.clock import BEGIN, SteppedClock
from tests.peers.archivematica.driver import FINAL, Case, Driver, instance, zipped_bag
from tests.peers.archivematica.pipeline import DELETE, EICAR, EXTRACT, Pipeline, Plan, Stored
from tests.peers.archivematica.server import FakeArchivematica
from tests.shared_data import reference_data

SAMPLES = Path(__file__).parent / "archivematica/samples"
CANARY = "e342835e-b3ba-4d07-a70d-4bb727ad1a91"


class Scene:
    """One or more fakes, a store and a driver."""

    def __init__(
        self, *names: str, version: str = "1.17.0", noise: float = 0.0, slots: int = 2, **more: object
    ) -> None:
        self.store, self.clock = MemoryStore(), SteppedClock()
        self.pipelines: dict[str, Pipeline] = {}
        self.fakes: dict[str, FakeArchivematica] = {}
        for number, name in enumerate(names or ("one",)):
            pipeline = Pipeline(
                self.store,
                self.clock,
                slots=slots,
                source=(f"sips-{name}", "in/"),
                aips=(f"aips-{name}", "aip"),
                callback=self._called_back,
            )
            self.pipelines[name] = pipeline
            self.fakes[name] = FakeArchivematica(pipeline, version=version, noise=noise, seed=number)
        clients = {name: instance(fake, name, **more) for name, fake in self.fakes.items()}
        self.driver = Driver(self.store, self.clock, clients)

    @property
    def pipeline(self) -> Pipeline:
        return next(iter(self.pipelines.values()))

    def _called_back(self, package: str, name: str) -> None:
        for case in self.driver.cases.values():
            submission = self.driver.book.of_step(case.view.step.id)
            known = submission is not None and (str(submission.sip) == package or submission.name == name)
            if known and case.state is StepState.WAITING:
                case.due = self.clock.now()

    def preserve(self, plan: Plan | None = None, *, hours: float = 30, number: int = 1, **step_input: object) -> Case:
        case = self.driver.add(number, **step_input)
        for pipeline in self.pipelines.values():
            pipeline.plans[str(case.view.id)] = plan or Plan()
        self.driver.run(hours * 3600, tick=5)
        return case

    def mirror(self, folder: Path) -> None:
        """Have the fake see a directory as its transfer source, whenever it is asked what is there."""
        places = self.fakes["one"].service.places
        original = places._browsed

        def browse(*given: Any) -> Any:
            for path in folder.rglob("*"):
                if path.is_file():
                    self.store.put("sips-one", f"in/{path.relative_to(folder)}", path.read_bytes())
            return original(*given)

        places._browsed = browse  # type: ignore[method-assign]

    def started(self) -> Counter[str]:
        return Counter(unit.name for pipeline in self.pipelines.values() for unit in pipeline.started)


def test_an_aip_is_taken_over_as_it_is_with_its_history() -> None:
    scene = Scene()
    case = scene.preserve(hours=1)
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED
    (package,) = case.outcome.packages
    assert package.container == "tar.gz"
    stored = scene.pipeline.stored[str(package.id)]
    assert scene.store.read(scene.store.head(package.bucket, package.key).ref) == stored.made.data
    assert str(case.view.id) in package.key
    events = list(scene.driver.events.values())
    assert {"ingestion", "virus check", "format identification", "compression"} <= {event.type for event in events}
    about = {link.value for event in events for link in event.objects}
    assert {str(package.id), str(case.view.id)} <= about
    assert case.outcome.copies[0].checksums["sha512"]
    paths = {file.path for _, files in case.outcome.files for file in files}
    assert "data/objects/b/ü c.txt" in paths


@pytest.mark.parametrize(("place", "plan"), [("stay", "ok"), ("copy", "ok"), ("stay", "unpacked")])
def test_an_aip_that_is_taken_over_is_locked_like_one_that_was_written_here(place: str, plan: str) -> None:
    scene = Scene(aip_place=place)
    scene.driver.settings = scene.driver.settings.model_copy(update={"aip_retention_days": 30})
    case = scene.preserve(Plan(store=plan), hours=1)
    assert case.outcome is not None
    (package,) = case.outcome.packages
    assert package.retain_until is not None
    assert package.retain_until > scene.clock.now() + timedelta(days=29)
    held = list(scene.store.list(package.bucket, package.key))
    assert len(held) > 1 or package.version_id == scene.store.head(package.bucket, package.key).ref.version_id
    for info in held:
        with pytest.raises(Broken):
            scene.store.delete(scene.store.head(package.bucket, info.ref.key).ref)


def test_an_aip_that_its_store_does_not_lock_is_taken_over_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryStore, "retain", lambda *_: False)
    scene = Scene()
    scene.driver.settings = scene.driver.settings.model_copy(update={"aip_retention_days": 30})
    case = scene.preserve(hours=1)
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED_WITH_WARNINGS
    assert [finding.code for finding in case.outcome.findings] == ["not-retained"]
    assert case.outcome.packages[0].retain_until is None


def test_the_copy_in_the_transfer_source_is_gone_and_the_units_are_hidden_afterwards() -> None:
    scene = Scene()
    scene.preserve(hours=1)
    assert list(scene.store.list("sips-one", "")) == []
    assert all(unit.hidden for unit in scene.pipeline.units.values())


def test_an_aip_is_copied_through_the_storage_service_when_its_bucket_is_not_ours() -> None:
    scene = Scene(aip_bucket=None)
    case = scene.preserve(hours=1)
    assert case.outcome is not None
    (package,) = case.outcome.packages
    assert package.bucket == "perdura-aips"
    assert scene.store.read(scene.store.head(package.bucket, package.key).ref)


def test_an_uncompressed_aip_is_taken_over_as_the_objects_it_is() -> None:
    scene = Scene()
    case = scene.preserve(Plan(store="unpacked"), hours=1)
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED, case.outcome.message
    (package,) = case.outcome.packages
    made = scene.pipeline.stored[str(package.id)].made
    assert package.container == "prefix"
    assert package.size == sum(len(body) for body in made.members.values())
    for path, body in made.members.items():
        assert scene.store.read(scene.store.head(package.bucket, package.key + path).ref) == body
    assert case.outcome.copies[0].uri == f"s3://{package.bucket}/{package.key}"
    assert {"ingestion", "virus check"} <= {event.type for event in scene.driver.events.values()}


def test_an_uncompressed_aip_comes_as_a_tar_when_its_bucket_is_not_ours() -> None:
    scene = Scene(aip_bucket=None)
    case = scene.preserve(Plan(store="unpacked"), hours=1)
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED, case.outcome.message
    (package,) = case.outcome.packages
    assert (package.bucket, package.container) == ("perdura-aips", "tar")


@pytest.mark.parametrize("change", ["flipped", "gone"])
def test_an_uncompressed_aip_with_a_damaged_object_is_refused(change: str) -> None:
    scene = Scene()
    case = scene.driver.add(1)
    scene.pipeline.default_plan = Plan(store="unpacked", callback="never")

    def damage() -> None:
        for info in list(scene.store.list("aips-one", "")):
            if info.ref.key.endswith("a.txt") and case.state not in FINAL:
                scene.store.put("aips-one", info.ref.key, b"file 2") if change == "flipped" else scene.store.delete(
                    info.ref
                )

    scene.driver.run(3600, tick=1, between=damage)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.FAILED, "aip-bag-invalid")


def with_dip(prepare: Callable[[Scene], object] = lambda _: None, hours: float = 3) -> tuple[Scene, Case]:
    scene = Scene()
    scene.pipeline.with_dip = True
    prepare(scene)
    return scene, scene.preserve(hours=hours)


def test_a_dip_is_taken_over_beside_its_aip() -> None:
    scene, case = with_dip()
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED
    _, dip = case.outcome.packages
    assert str(dip.kind) == "DIP"
    data = scene.store.read(scene.store.head(dip.bucket, dip.key).ref)
    assert dip.checksums["sha256"] == hashlib.sha256(data).hexdigest() == case.outcome.copies[1].checksums["sha256"]
    (event,) = [event for event in case.outcome.events if event.objects[0].value == str(dip.id)]
    assert (event.type, event.outcomes[0].outcome) == ("validation", "success")


def drop_mets(members: dict[str, bytes]) -> None:
    del members[next(path for path in members if path.startswith("METS."))]


def _damage_mets(members: dict[str, bytes]) -> None:
    path = next(path for path in members if path.startswith("METS."))
    members[path] = members[path][:-40]


def _empty_mets(members: dict[str, bytes]) -> None:
    members[next(path for path in members if path.startswith("METS."))] = b'<mets xmlns="http://www.loc.gov/METS/"/>'


def _drop_objects(members: dict[str, bytes]) -> None:
    for path in [path for path in members if path.startswith("objects/")]:
        del members[path]


@pytest.mark.parametrize(
    "prepare",
    [
        lambda scene: setattr(scene.pipeline, "change_dip", drop_mets),
        lambda scene: setattr(scene.pipeline, "change_dip", _damage_mets),
        lambda scene: setattr(scene.pipeline, "change_dip", _empty_mets),
        lambda scene: setattr(scene.pipeline, "change_dip", _drop_objects),
        lambda scene: setattr(scene.pipeline, "change_dip", lambda members: members.update({"../up": b"x"})),
        lambda scene: setattr(scene.fakes["one"], "change_stream", lambda data: data[: len(data) // 2]),
        lambda scene: setattr(scene.fakes["one"], "change_stream", lambda data: data + b"behind the end"),
        lambda scene: setattr(scene.fakes["one"], "change_stream", lambda data: b"<html>" + data[6:]),
        lambda scene: setattr(scene.fakes["one"], "change_stream", lambda _: b""),
        lambda scene: setattr(scene.pipeline, "dip_status", "FAIL"),
    ],
    ids=["no METS", "broken METS", "empty METS", "empty", "escaping", "cut", "longer", "no tar", "nothing", "status"],
)
def test_a_dip_that_is_not_what_it_must_be_is_refused_by_name_and_its_aip_is_taken(
    prepare: Callable[[Scene], object],
) -> None:
    _, case = with_dip(prepare)
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED_WITH_WARNINGS
    assert [str(package.kind) for package in case.outcome.packages] == ["AIP"]
    assert [finding.code for finding in case.outcome.findings] == ["dip-not-taken"]
    outcomes = [event.outcomes[0].outcome for event in case.outcome.events if event.type == "validation"]
    assert outcomes == ["success", "fail"]


def test_a_dip_of_another_size_than_was_declared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    original = server.tarred
    monkeypatch.setattr(server, "tarred", lambda record: original(replace(record, made=_longer(record.made))))
    _, case = with_dip()
    assert case.outcome is not None
    assert "bytes; the Storage Service says" in case.outcome.findings[0].message


def _longer(made: aip.Made) -> aip.Made:
    return replace(made, members={**made.members, "objects/more.txt": b"more"})


def test_a_dip_that_reads_back_otherwise_is_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.pipeline.with_dip = True
    stream = scene.store.stream

    def rotten(ref: ObjectRef, *given: Any, **more: Any) -> Iterator[memoryview]:
        for chunk in stream(ref, *given, **more):
            yield memoryview(bytes(chunk)[:-1] + b"!") if ref.bucket == "perdura-dips" else chunk

    monkeypatch.setattr(scene.store, "stream", rotten)
    case = scene.preserve(hours=3)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, "stored-differs")


def test_an_aip_does_not_wait_for_ever_for_a_dip_that_cannot_be_had() -> None:
    _, case = with_dip(lambda scene: scene.fakes["one"].gone.add("DIP"))
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED_WITH_WARNINGS
    assert [finding.code for finding in case.outcome.findings] == ["dip-not-taken"]


def test_a_dip_that_comes_after_a_while_is_waited_for() -> None:
    scene = Scene()
    scene.pipeline.with_dip = True
    scene.fakes["one"].gone.add("DIP")
    case = scene.preserve(hours=0.02)
    assert case.state is StepState.WAITING
    scene.fakes["one"].gone.clear()
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED


def test_a_dip_that_people_deleted_is_not_missed() -> None:
    _, case = with_dip(lambda scene: setattr(scene.pipeline, "dip_status", "DELETED"))
    assert case.state is StepState.COMPLETED


def test_sips_are_placed_into_a_mounted_directory_where_that_is_the_source(tmp_path: Path) -> None:
    scene = Scene(source_bucket=None, source_prefix="", source_directory=tmp_path)
    scene.mirror(tmp_path)
    case = scene.driver.add(1)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("plan", "state", "code"),
    [
        (Plan(transfer="failed"), StepState.FAILED, "archivematica-failed"),
        (Plan(transfer="rejected"), StepState.FAILED, "archivematica-rejected"),
        (Plan(transfer="user-input"), StepState.BLOCKED, "decision-overdue"),
        (Plan(transfer="wedge"), StepState.BLOCKED, "archivematica-stuck"),
        (Plan(copying="lost"), StepState.BLOCKED, "archivematica-lost"),
        (Plan(ingest="failed"), StepState.FAILED, "not-compliant"),
        (Plan(ingest="stuck"), StepState.BLOCKED, "archivematica-stuck"),
        (Plan(store="flip"), StepState.FAILED, "aip-checksum"),
        (Plan(store="missing"), StepState.BLOCKED, "aip-missing"),
        (Plan(store="fail"), StepState.FAILED, "aip-not-stored"),
        (Plan(store="short"), StepState.FAILED, "file-lost"),
        (Plan(post="reset"), StepState.BLOCKED, "archivematica-unaccounted"),
        (Plan(post="html"), StepState.BLOCKED, "archivematica-unaccounted"),
        (Plan(post="error"), StepState.COMPLETED, None),
        (Plan(post="reset-created"), StepState.COMPLETED, None),
        (Plan(post="error-created"), StepState.COMPLETED, None),
        (Plan(post="html-created"), StepState.COMPLETED, None),
        (Plan(post="truncated-created"), StepState.COMPLETED, None),
        (Plan(transfer="decided"), StepState.COMPLETED, None),
        (Plan(transfer="slow"), StepState.COMPLETED, None),
        (Plan(store="pending"), StepState.COMPLETED, None),
        (Plan(callback="never"), StepState.COMPLETED, None),
        (Plan(callback="twice"), StepState.COMPLETED, None),
        (Plan(callback="late"), StepState.COMPLETED, None),
        (Plan(normalisation="failed"), StepState.COMPLETED_WITH_WARNINGS, None),
    ],
    ids=str,
)
def test_each_fault_ends_in_one_aip_or_by_its_name(plan: Plan, state: StepState, code: str | None) -> None:
    scene = Scene()
    case = scene.preserve(plan, hours=100)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (state, code)
    assert all(count == 1 for count in scene.started().values())
    if state is StepState.FAILED:
        assert case.outcome.message
    if plan.normalisation == "failed":
        assert [finding.path for finding in case.outcome.findings] == ["file_0008.bmp"]


def test_a_large_premis_of_the_producer_does_not_keep_an_aip_from_being_taken_over() -> None:
    scene = Scene()
    case = scene.preserve(hours=1, files={"a.txt": b"a", "metadata/premis.xml": bytes(5 * 2**20)})
    assert case.state is StepState.COMPLETED


def test_an_idempotent_dashboard_is_simply_asked_again_after_a_lost_answer() -> None:
    scene = Scene(version="1.19.0")
    case = scene.preserve(Plan(post="reset"), hours=1)
    assert case.state is StepState.COMPLETED
    assert sum(scene.started().values()) == 1


def test_a_failed_job_becomes_an_event_with_the_file_that_failed() -> None:
    scene = Scene()
    case = scene.preserve(Plan(transfer="failed"), hours=1)
    assert case.outcome is not None
    (event,) = case.outcome.events
    assert event.outcomes[0].notes == ("file_0001.csv: exit code 1",)


def test_a_decision_is_shown_with_a_link_while_it_is_waited_for() -> None:
    scene = Scene()
    case = scene.preserve(Plan(transfer="user-input"), hours=0.1)
    assert case.state is StepState.WAITING
    assert case.outcome is not None
    (finding,) = case.outcome.findings
    assert finding.code == "decision-needed"
    assert "file format identification" in finding.message
    assert "http://dashboard/transfer/" in finding.message


@pytest.mark.parametrize(
    ("plan", "words"),
    [(Plan(transfer="wedge"), "been at"), (Plan(ingest="stuck"), "been at"), (Plan(copying="lost"), "said nothing")],
    ids=str,
)
def test_a_pipeline_that_stands_still_is_shown_long_before_a_person_is_asked(plan: Plan, words: str) -> None:
    scene = Scene()
    case = scene.preserve(plan, hours=0.1)
    assert case.state is StepState.WAITING
    assert case.outcome is not None
    (finding,) = case.outcome.findings
    assert (finding.code, finding.severity) == ("archivematica-quiet", "warning")
    assert words in finding.message
    assert "a person will be asked in" in finding.message
    assert case.outcome.output["archivematica"]["waiting_for"] == "archivematica-quiet"
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.BLOCKED


def test_a_large_package_that_is_slow_is_not_called_quiet_too_early() -> None:
    submission = Submission(UUID(int=1), UUID(int=2), UUID(int=3), "n", 10**12, None, BEGIN, state="followed")
    submission = replace(submission, transfer=UUID(int=4), status="PROCESSING", microservice="x", moved_at=BEGIN)
    patience = Patience(seconds=3600, bytes_per_second=10**6, decision=1)
    unit = Unit(UnitState.PROCESSING, "x")
    decided = [on_unit(submission, unit, BEGIN + timedelta(hours=hours), patience) for hours in (60, 80, 290)]
    assert [each.code for each in decided] == ["in-archivematica", "archivematica-quiet", "archivematica-stuck"]


def test_a_virus_found_in_archivematica_fails_the_step_by_its_name() -> None:
    scene = Scene()
    case = scene.driver.add(1, {"eicar.com": EICAR})
    scene.driver.run(3600, tick=5)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.FAILED, "infected")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"configuration": "nosuch"}, "no-such-configuration"),
        ({"configuration": "automated", "source_prefix": "elsewhere/"}, "transfer-source"),
    ],
)
def test_what_would_wedge_or_vanish_is_never_sent(change: dict[str, object], code: str) -> None:
    scene = Scene(**change)
    case = scene.preserve(hours=1)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, code)
    assert sum(scene.started().values()) == 0


@pytest.mark.parametrize(
    ("question", "choice"),
    [
        ("bb194013-597c-4e4a-8493-b36d190f8717", "7065d256-2f47-4b7d-baec-2c4699626121"),
        ("bb194013-597c-4e4a-8493-b36d190f8717", "1b04ec43-055c-43b7-9543-bd03c6a778ba"),
        ("2d32235c-02d4-4686-88a6-96f4d6c7b1c3", "433f4e6b-1ef4-49f8-b1e4-49693791a806"),
    ],
)
def test_nothing_is_sent_to_a_configuration_by_which_no_aip_comes_about(question: str, choice: str) -> None:
    scene = Scene()
    scene.pipeline.choices[question] = choice
    case = scene.preserve(hours=1)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, "configuration-without-aip")
    assert sum(scene.started().values()) == 0


def with_a_zip(*choices: tuple[str, str]) -> tuple[Scene, Case]:
    """A package that holds a zip, under a configuration with these choices."""
    scene = Scene()
    scene.pipeline.choices |= dict(choices)
    case = scene.driver.add(1, {"data.zip": zipped_bag({"in.txt": b"x"}), "r.txt": b"r"})
    scene.driver.run(3600, tick=5)
    return scene, case


def test_nothing_is_sent_to_a_configuration_that_deletes_the_packages_it_extracts() -> None:
    scene, case = with_a_zip(EXTRACT, DELETE)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, "configuration-drops-files")
    assert sum(scene.started().values()) == 0


def test_a_configuration_that_deletes_packages_would_lose_what_was_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preserve_archivematica_source, "_DROPS_PACKAGES", {"never": "asked"})
    _, case = with_a_zip(EXTRACT, DELETE)
    assert case.outcome is not None
    assert case.outcome.error_code == "file-lost"


def test_extracted_packages_are_kept_beside_what_they_hold() -> None:
    _, case = with_a_zip(EXTRACT)
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED, case.outcome.message
    paths = {file.path for _, files in case.outcome.files for file in files}
    assert {"data/objects/data.zip", "data/objects/r.txt"} <= paths
    assert any(path.endswith("/in.txt") for path in paths)


def test_the_choices_of_a_configuration_are_read_as_archivematica_shows_them() -> None:
    sample = reference_data("archivematica", "samples", "s3storeProcessingMCP.xml")
    reply = httpx.Response(200, content=sample.read_bytes())
    exchange = Exchange("http://dashboard", "u", SecretStr("k"), transport=httpx.MockTransport(lambda _: reply))
    choices = Dashboard(exchange).choices("s3store")
    assert choices["bb194013-597c-4e4a-8493-b36d190f8717"] == "61cfa825-120e-4b17-83e6-51a42b67d969"
    assert len(choices) > 25


@pytest.mark.parametrize("body", [b"", b"<html>", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a'])
def test_a_configuration_that_cannot_be_read_is_asked_for_again(body: bytes) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    with pytest.raises(ArchivematicaUnavailable):
        Dashboard(Exchange("http://dashboard", "u", SecretStr("k"), transport=transport)).choices("s3store")


def test_a_package_without_payload_is_never_sent() -> None:
    scene = Scene()
    case = scene.driver.add(1, {})
    empty = scene.driver.add(2, {"": b""})
    del scene.driver.cases[empty.view.id]
    data = zipped_bag({})
    (sip,) = case.view.packages
    info = scene.store.put(sip.bucket, sip.key, data).info
    case.view = replace(
        case.view, packages=(replace(sip, size=len(data), etag=info.ref.etag, version_id=info.ref.version_id),)
    )
    scene.driver.run(3600, tick=5)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.FAILED, "empty-payload")
    assert sum(scene.started().values()) == 0


def test_no_more_than_an_instance_may_have_is_in_flight_and_the_emptiest_is_chosen() -> None:
    scene = Scene("one", "two", slots=1, packages=3)
    for number in range(20):
        scene.driver.add(number)
    most = 0

    def watch() -> None:
        nonlocal most
        for name in scene.fakes:
            mine = [row for row in scene.driver.book.rows.values() if row.instance == name and row.in_flight]
            most = max(most, len(mine))

    scene.driver.run(3600, tick=2, between=watch)
    assert most == 3
    assert Counter(len(pipeline.started) for pipeline in scene.pipelines.values()) == Counter({10: 2})


def test_a_package_larger_than_any_instance_may_have_is_refused_at_once() -> None:
    scene = Scene(bytes=100)
    case = scene.preserve(hours=1)
    assert case.outcome is not None
    assert case.outcome.error_code == "too-large-for-archivematica"


def test_a_package_that_only_a_drained_instance_could_take_holds_up_no_other() -> None:
    scene = Scene("big", "small")
    scene.driver.instances = {
        "big": instance(scene.fakes["big"], "big"),
        "small": instance(scene.fakes["small"], "small", bytes=2000),
    }
    scene.driver.use(scene.driver.book)
    scene.driver.book.modes["big"] = "draining"
    huge = scene.driver.add(1, {"h.bin": random.Random(1).randbytes(50_000)})
    scene.driver.run(30, tick=5)
    small = [scene.driver.add(number) for number in range(2, 8)]
    scene.driver.run(1800, tick=5)
    assert {case.state for case in small} == {StepState.COMPLETED}
    assert huge.state is StepState.WAITING
    scene.driver.book.modes["big"] = "active"
    scene.driver.run(1800, tick=5)
    assert huge.state is StepState.COMPLETED


def test_nothing_new_goes_to_an_instance_that_does_not_answer() -> None:
    scene = Scene("one", "two")
    scene.fakes["one"].down = True
    for number in range(6):
        scene.driver.add(number)
    scene.driver.run(3600, tick=5)
    assert all(case.state is StepState.COMPLETED for case in scene.driver.cases.values())
    assert len(scene.pipelines["two"].started) == 6


def test_an_instance_that_fails_again_and_again_is_paused_and_tried_later() -> None:
    scene = Scene("one", "two")
    scene.pipelines["one"].default_plan = Plan(copying="lost")
    for number in range(12):
        scene.driver.add(number)
    scene.driver.run(40 * 3600, tick=20)
    lost = [case for case in scene.driver.cases.values() if case.state is StepState.BLOCKED]
    assert 0 < len(lost) <= 7
    assert scene.driver.book.paused_until or scene.driver.book.failures["one"]


def test_trying_again_goes_on_with_what_lives_instead_of_sending_it_twice() -> None:
    scene = Scene()
    case = scene.preserve(Plan(transfer="user-input"), hours=100)
    assert case.state is StepState.BLOCKED
    (unit,) = scene.pipeline.started
    scene.driver.retry(case)
    scene.driver.run(60, tick=5)
    scene.pipeline.decide(unit)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert len(scene.pipeline.started) == 1


def test_trying_again_after_a_lost_transfer_uses_a_new_name() -> None:
    scene = Scene()
    case = scene.preserve(Plan(copying="lost"), hours=100)
    assert case.state is StepState.BLOCKED
    scene.driver.retry(case)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert [unit.name for unit in scene.pipeline.started] == [str(case.view.id), f"{case.view.id}-2"]


def test_patience_grows_with_size_and_with_what_is_ahead() -> None:
    patience = Patience(seconds=100, bytes_per_second=10, decision=1)
    small = Submission(UUID(int=1), UUID(int=2), UUID(int=3), "n", 1000, None, BEGIN)
    assert patience.silence(small) == 200
    assert patience.silence(replace(small, size=10_000)) == 1100
    assert patience.silence(replace(small, ahead=3, ahead_bytes=5000)) == 1000


def test_secrets_and_tracebacks_of_the_storage_service_are_never_told() -> None:
    from pydantic import SecretStr

    from perdura.clients.archivematica.exchange import Exchange
    from perdura.fleet import ArchivematicaUnavailable

    page = json.dumps({"error_message": "x" * 999, "traceback": "File /secret"})
    exchange = Exchange(
        "http://ss", "u", SecretStr("hidden"), transport=httpx.MockTransport(lambda _: httpx.Response(500, text=page))
    )
    with pytest.raises(ArchivematicaUnavailable) as caught:
        exchange.ask("GET", "/api/v2/file/")
    assert "secret" not in caught.value.message
    assert "hidden" not in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha512"])
def test_an_archivematica_with_another_checksum_algorithm_is_no_reason_to_find_files_lost(
    algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aip, "ALGORITHM", algorithm)
    scene = Scene()
    case = scene.preserve(hours=1)
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED, case.outcome.message
    files = {file.path: file.checksums for _, files in case.outcome.files for file in files}
    assert {"sha256", algorithm} <= files["data/objects/a.txt"].keys()
    short = Scene()
    case = short.preserve(Plan(store="short"), hours=1)
    assert case.outcome is not None
    assert case.outcome.error_code == "file-lost"


@pytest.mark.skipif(shutil.which("7z") is None, reason="7z is not installed")
@pytest.mark.parametrize("flipped", [False, True])
def test_a_recorded_7z_aip_is_verified_inside_and_out(flipped: bool) -> None:
    scene = Scene()
    scene.driver.settings = Settings(seven_zip=shutil.which("7z"))
    case = scene.driver.add(1, {"hello.txt": b"hello\n"})
    data = (SAMPLES / f"canary-{CANARY}.7z").read_bytes()
    pointer = (SAMPLES / f"pointer.{CANARY}.xml").read_bytes()
    if flipped:
        data = data[:500] + bytes([data[500] ^ 1]) + data[501:]
    outcome = _taken(scene, case, data, pointer)
    if flipped:
        assert outcome.error_code == "aip-checksum"
        return
    assert outcome.state is StepState.COMPLETED
    assert outcome.findings == ()
    types = Counter(event.type for event in outcome.told_events)
    assert types["compression"] == 1
    assert types["ingestion"] >= 1


@pytest.mark.parametrize("pointer", ["kept", "lost", "without digest"])
def test_a_7z_that_cannot_be_opened_is_taken_only_when_its_pointer_file_can_be_compared(pointer: str) -> None:
    scene = Scene()
    scene.driver.settings = Settings(seven_zip=None)
    case = scene.driver.add(1, {"hello.txt": b"hello\n"})
    text = (SAMPLES / f"pointer.{CANARY}.xml").read_bytes()
    if pointer != "kept":
        text = b"" if pointer == "lost" else text.replace(b"fixity>", b"fixities>")
    members = {f"data/METS.{CANARY}.xml": (SAMPLES / f"METS.{CANARY}.xml").read_bytes()}
    outcome = _taken(scene, case, (SAMPLES / f"canary-{CANARY}.7z").read_bytes(), text, members)
    if pointer == "kept":
        assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
        assert [finding.code for finding in outcome.findings] == ["inside-not-verified"]
    else:
        assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "aip-not-compared")


def _taken(scene: Scene, case: Case, data: bytes, pointer: bytes, members: dict[str, bytes] | None = None) -> Outcome:
    from perdura.steps.preserve_takeover import take_over

    key = f"aip/canary-{CANARY}.7z"
    scene.store.put("aips-one", key, data)
    made = aip.Made(f"canary-{CANARY}.7z", data, pointer, members or {})
    scene.pipeline.stored[CANARY] = Stored(CANARY, "AIP", "UPLOADED", f"/{key}", BEGIN, made)
    submission = Submission(UUID(int=1), case.view.id, case.view.step.id, "canary", 1, None, BEGIN, sip=UUID(CANARY))
    return take_over(case.view, submission, scene.driver.instances["one"], scene.driver.ports(case.view))


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha512"])
def test_an_aip_that_stays_closed_is_compared_by_the_algorithm_of_its_mets(algorithm: str, lost: bool) -> None:
    scene = Scene()
    scene.driver.settings = Settings(seven_zip=None)
    case = scene.driver.add(1, {"hello.txt": b"other\n" if lost else b"hello\n"})
    theirs, ours = (hashlib.new(name, b"hello\n").hexdigest() for name in ("sha256", algorithm))
    text = (SAMPLES / f"METS.{CANARY}.xml").read_text("utf-8").replace(theirs, ours)
    mets = text.replace("Algorithm>sha256<", f"Algorithm>{algorithm}<").encode()
    pointer = (SAMPLES / f"pointer.{CANARY}.xml").read_bytes()
    data = (SAMPLES / f"canary-{CANARY}.7z").read_bytes()
    outcome = _taken(scene, case, data, pointer, {f"data/METS.{CANARY}.xml": mets})
    assert outcome.error_code == ("file-lost" if lost else None)
    assert outcome.state is (StepState.FAILED if lost else StepState.COMPLETED_WITH_WARNINGS)


@pytest.mark.chaos
@pytest.mark.timeout(500)
def test_a_thousand_packages_with_random_faults_each_end_in_one_aip_or_by_name() -> None:
    """Three instances, broken answers, restarts, dying workers: no duplicate, no endless wait (archivematica.md 11)."""
    chance = random.Random(7)
    scene = Scene("one", "two", "three", noise=0.03, slots=3)
    scene.fakes["three"].version = "1.19.0"
    scene.driver.instances["two"] = instance(scene.fakes["two"], "two", aip_bucket=None)  # type: ignore[index]
    scene.driver.deaths = 0.004
    plans = {}
    for number in range(1000):
        case = scene.driver.add(number)
        plan = plans[case.view.id] = any_plan(chance)
        for pipeline in scene.pipelines.values():
            pipeline.plans[str(case.view.id)] = plan

    def weather() -> None:
        for fake in scene.fakes.values():
            dice = chance.random()
            if dice < 0.001 or (dice < 0.01 and any(u.state == "wedged" for u in fake.pipeline.units.values())):
                fake.pipeline.restart()
            fake.down = dice > 0.998 if not fake.down else dice > 0.1

    scene.driver.run(400 * 3600, tick=20, between=weather)
    cases = scene.driver.cases.values()
    assert all(case.state in FINAL for case in cases)
    assert all(count == 1 for count in scene.started().values())
    done = [case for case in cases if case.state in {StepState.COMPLETED, StepState.COMPLETED_WITH_WARNINGS}]
    assert len({case.outcome.packages[0].id for case in done if case.outcome}) == len(done)
    assert max(aips_of(scene).values()) == 1
    flawed = [row.archive for row in scene.driver.book.rows.values() if row.state == "flawed"]
    assert {plans[each].store for each in flawed} == _WRONG.keys()
    assert all(aips_of(scene)[str(case.view.id)] == 1 for case in done)
    assert all(case.outcome and case.outcome.error_code and case.outcome.message for case in cases if case not in done)
    harmless = [case for case in cases if plans[case.view.id] == Plan(callback=plans[case.view.id].callback)]
    assert sum(case in done for case in harmless) >= 0.97 * len(harmless)
    assert sum(case.died for case in cases) > 0
    assert len(done) > 700


def aips_of(scene: Scene) -> Counter[str]:
    """AIPs in all Storage Services by the Archive that their names begin with, whatever became of their steps."""
    stored = (each for pipeline in scene.pipelines.values() for each in pipeline.stored.values())
    return Counter(each.made.name[:36] for each in stored if each.kind == "AIP")


_WRONG = {"flip": 2, "fail": 1.5, "short": 1.5}
"""What is wrong with an AIP itself, and how often."""


def any_plan(chance: random.Random) -> Plan:
    def one(*weighted: tuple[str, float]) -> str:
        return chance.choices([name for name, _ in weighted], [weight for _, weight in weighted])[0]

    posts = ("error", "error-created", "reset", "reset-created", "html", "html-created", "truncated-created", "pending")
    return Plan(
        post=one(("ok", 80), *((name, 3) for name in posts)),
        copying=one(("ok", 97), ("lost", 3)),
        transfer=one(
            ("ok", 89), ("user-input", 2), ("decided", 3), ("rejected", 2), ("failed", 2), ("slow", 2), ("wedge", 0.3)
        ),
        ingest=one(("ok", 96), ("failed", 2), ("user-input", 1), ("stuck", 0.5)),
        store=one(("ok", 84), ("unpacked", 3), ("closed", 3), *_WRONG.items(), ("missing", 2), ("pending", 3)),
        callback=one(("once", 1), ("never", 1), ("late", 1), ("twice", 1)),
        normalisation=one(("ok", 95), ("failed", 5)),
    )


def test_a_key_that_stays_pending_is_asked_about_only_as_long_as_silence_is_normal() -> None:
    scene = Scene(version="1.19.0")
    case = scene.preserve(Plan(post="pending"), hours=30)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, "archivematica-unaccounted")
    assert scene.driver.book.paused_until == {}
    scene.driver.retry(case)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert [unit.name for unit in scene.pipeline.started] == [f"{case.view.id}-2"]


def test_an_instance_that_takes_no_transfers_is_asked_once_a_round_and_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dashboard, "REFUSED_WITHIN", -1.0)  # the fake's half a minute passes on its own clock
    scene = Scene(version="1.19.0")
    cases = [scene.driver.add(number) for number in range(4)]
    for case in cases:
        scene.pipeline.plans[str(case.view.id)] = Plan(post="reset")
    scene.driver.tick()
    fake = scene.fakes["one"]
    fake.server_down = True
    scene.clock.step(60)
    fake.requests.clear()
    scene.driver.tick()
    assert [method for method, _ in fake.requests].count("POST") == 1
    scene.driver.run(30 * 3600, tick=20)
    assert {case.outcome.error_code for case in cases if case.outcome} == {"archivematica-unaccounted"}
    assert scene.pipeline.started == []


@pytest.mark.parametrize("call", ["status", "jobs"])
def test_a_unit_that_cannot_be_asked_about_holds_up_no_other_and_ends_by_name(call: str) -> None:
    scene = Scene()
    bad = scene.driver.add(1)
    scene.pipeline.plans[str(bad.view.id)] = Plan(transfer="failed") if call == "jobs" else Plan()
    scene.driver.tick()
    (unit,) = scene.pipeline.started
    scene.fakes["one"].cannot_tell.add(f"/{call}/{unit.id}")
    others = [scene.driver.add(number) for number in range(2, 8)]
    scene.driver.run(600, tick=5)
    assert all(case.state is StepState.COMPLETED for case in others)
    assert scene.driver.book.reachable == {"one": True}
    scene.driver.run(30 * 3600, tick=20)
    assert bad.outcome is not None
    told = (bad.state, bad.outcome.error_code)
    if call == "jobs":
        assert told == (StepState.FAILED, "archivematica-failed")
    else:
        assert told == (StepState.BLOCKED, "archivematica-unavailable")


def test_what_waits_when_the_last_archivematica_is_removed_ends_by_name() -> None:
    scene = Scene(packages=1)
    sent, queued = scene.driver.add(1), scene.driver.add(2)
    scene.pipeline.plans[str(sent.view.id)] = Plan(transfer="slow")
    scene.driver.run(10, tick=5)
    scene.driver.instances = {}
    scene.driver.fleet = replace(scene.driver.fleet, instances={})
    scene.driver.run(60, tick=5)
    assert queued.outcome is not None
    assert (queued.state, queued.outcome.error_code) == (StepState.BLOCKED, "no-archivematica")
    assert sent.state is StepState.WAITING
    scene.driver.run(30 * 3600, tick=20)
    assert sent.outcome is not None
    assert (sent.state, sent.outcome.error_code) == (StepState.BLOCKED, "no-such-archivematica")


def test_a_step_handed_to_a_job_is_looked_at_when_no_archivematica_is_left() -> None:
    scene = Scene()
    job, case = scene.driver.add(1), scene.driver.add(2)
    scene.driver.run(4, tick=2)
    view = replace(job.view, step=replace(job.view.step, checkpoint={JOB: {}}))
    scene.driver.fleet = replace(scene.driver.fleet, instances={})
    polled = preserve.poll([view, case.view], scene.driver.ports(view))
    assert [(each.id, outcome.state) for each, outcome in polled] == [
        (job.view.id, StepState.QUEUED),
        (case.view.id, StepState.WAITING),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "COMPLETE", "sip_uuid": "no id"},
        {"status": "COMPLETE", "sip_uuid": ["x"]},
        {"status": "DREAMING"},
        ["COMPLETE"],
    ],
    ids=str,
)
def test_a_status_that_makes_no_sense_is_no_answer(answer: object) -> None:
    exchange = Exchange(
        "http://dashboard",
        "u",
        SecretStr("k"),
        transport=httpx.MockTransport(lambda _: httpx.Response(200, json=answer)),
    )
    with pytest.raises(ArchivematicaUnavailable):
        Dashboard(exchange).status(Stage.TRANSFER, UUID(int=1))


@pytest.mark.parametrize(
    "job", [{}, {"uuid": "no id"}, {"uuid": str(UUID(int=1)), "tasks": ["x"]}, {"uuid": str(UUID(int=1)), "tasks": 1}]
)
def test_a_list_of_jobs_that_makes_no_sense_is_no_answer(job: dict[str, object]) -> None:
    answer = [{"status": "FAILED", "name": "n", **job}]
    exchange = Exchange(
        "http://dashboard",
        "u",
        SecretStr("k"),
        transport=httpx.MockTransport(lambda _: httpx.Response(200, json=answer)),
    )
    with pytest.raises(ArchivematicaUnavailable):
        Dashboard(exchange).failed_jobs(UUID(int=1))


def test_an_instance_whose_checks_refuse_everything_is_paused_and_its_packages_go_elsewhere() -> None:
    scene = Scene("one", "two", "three")
    scene.pipelines["one"].configurations = ["default"]
    cases = [scene.driver.add(number) for number in range(30)]
    scene.driver.run(120, tick=5)
    assert "one" in scene.driver.book.paused_until
    scene.driver.run(3600, tick=5)
    assert all(case.state is StepState.COMPLETED for case in cases)
    assert scene.pipelines["one"].started == []
    assert list(scene.store.list("sips-one", "")) == []
    assert sum("one" in row.refused for row in scene.driver.book.rows.values()) < 10


def test_a_package_that_every_instance_refuses_ends_by_the_reason_of_the_last() -> None:
    scene = Scene("one", "two")
    for pipeline in scene.pipelines.values():
        pipeline.configurations = ["default"]
    case = scene.preserve(hours=1)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, "no-such-configuration")
    row = scene.driver.book.of_step(case.view.step.id)
    assert row is not None
    assert (row.state, sorted(row.refused)) == ("closed", ["one", "two"])


def test_a_configuration_that_somebody_wished_for_pauses_no_instance_that_does_not_have_it() -> None:
    scene = Scene("one", "two")
    scene.pipelines["two"].configurations += ["special"]
    cases = [scene.driver.add(number, configuration="special") for number in range(12)]
    scene.driver.run(3600, tick=5)
    assert all(case.state is StepState.COMPLETED for case in cases)
    assert scene.driver.book.paused_until == {}
    assert {unit.configuration for unit in scene.pipelines["two"].started} == {"special"}


def test_a_package_that_was_to_go_to_one_instance_goes_to_no_other() -> None:
    scene = Scene("one", "two")
    scene.pipelines["one"].configurations = ["default"]
    case = scene.driver.add(1, instance="one")
    scene.driver.run(600, tick=5)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, "no-such-configuration")
    assert sum(scene.started().values()) == 0


@pytest.mark.parametrize("broken", [Plan(transfer="virus"), Plan(store="flip"), Plan(transfer="failed")], ids=str)
def test_an_instance_that_fails_every_package_alike_is_paused_until_one_comes_out_well(broken: Plan) -> None:
    scene = Scene("one", "two")
    scene.pipelines["one"].default_plan = broken
    cases = [scene.driver.add(number) for number in range(60)]
    scene.driver.run(3600, tick=5)
    failed = [case for case in cases if case.state is StepState.FAILED]
    assert 5 <= len(failed) <= 20
    assert sum(case.state is StepState.COMPLETED for case in cases) == len(cases) - len(failed)
    assert "one" in scene.driver.book.paused_until
    scene.pipelines["one"].default_plan = Plan()
    scene.clock.step(3600)
    more = [scene.driver.add(number) for number in range(100, 120)]
    scene.driver.run(3600, tick=5)
    assert all(case.state is StepState.COMPLETED for case in more)
    assert "one" not in scene.driver.book.paused_until


def test_packages_that_are_bad_each_in_its_way_and_single_infected_ones_pause_nothing() -> None:
    scene = Scene()
    bad = [Plan(transfer="virus"), Plan(transfer="failed"), Plan(ingest="failed"), Plan(store="flip")]
    for number in range(24):
        case = scene.driver.add(number)
        scene.pipeline.plans[str(case.view.id)] = bad[number % 4] if number < 12 else Plan()
    infected = scene.driver.add(50)
    scene.pipeline.plans[str(infected.view.id)] = Plan(transfer="virus")
    paused = []
    scene.driver.run(3600, tick=5, between=lambda: paused.extend(scene.driver.book.paused_until))
    assert infected.state is StepState.FAILED
    assert paused == []
