from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import replace

import pytest

from perdura.clients.pronom import PronomIdentifier
from perdura.errors import Broken, Rejected, Retryable, UpstreamUnavailable
from perdura.outcome import ArchiveView, Outcome, StepState
from perdura.packages.aip_index import decode
from perdura.ports import Scan
from perdura.premis.model import Event
from perdura.steps.preserve import run
from perdura.storage.memory import MemoryStore
from perdura.storage.timed import TimeUp
from tests.unit.preserve.fakes import (
    EICAR,
    NOW,
    FakeBatchIdentifier,
    FakeIdentifier,
    FakeScanner,
    SpentDeadline,
    ports,
)
from tests.unit.preserve.submissions import (
    ARCHIVE,
    FILES,
    SIP,
    bag,
    deposit,
    deposit_prefix,
    stored,
    tarred,
    unpacked,
    zipped,
)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def events_of(outcome: Outcome, kind: str) -> list[Event]:
    return [event for event in outcome.events if event.type == kind]


def absent(store: MemoryStore) -> bool:
    return not list(store.list("perdura-aips", ""))


@pytest.mark.parametrize("container", ["zip", "deflated", "tar", "tar.gz", "prefix"])
def test_every_container_gives_the_same_payload(store: MemoryStore, container: str) -> None:
    files = bag()
    archive = {
        "zip": lambda: deposit(store, zipped(files)),
        "deflated": lambda: deposit(store, zipped(files, zipfile.ZIP_DEFLATED)),
        "tar": lambda: deposit(store, tarred(files), "tar"),
        "tar.gz": lambda: deposit(store, tarred(files, "w:gz"), "tar.gz"),
        "prefix": lambda: deposit_prefix(store, files),
    }[container]()
    outcome = run(archive, ports(store))
    assert outcome.state is StepState.COMPLETED
    members = unpacked(stored(store))
    for path, body in FILES.items():
        assert members["data/objects/" + path.removeprefix("data/")] == body
    for path in ("bagit.txt", "bag-info.txt", "manifest-md5.txt"):
        assert members[f"data/metadata/submission/{path}"] == files[path]


def test_sip_json_belongs_to_the_submission(store: MemoryStore) -> None:
    files = bag({**FILES, "data/meta/sip.json": b'{"recid": "1"}'})
    run(deposit(store, zipped(files)), ports(store))
    members = unpacked(stored(store))
    assert members["data/metadata/submission/data/meta/sip.json"] == b'{"recid": "1"}'
    assert "data/objects/meta/sip.json" not in members


def test_the_result_names_the_package_its_copy_and_its_files(store: MemoryStore) -> None:
    outcome = run(deposit(store, zipped(bag())), ports(store, identifier=FakeIdentifier()))
    (package,), (copy,), (fact,) = outcome.packages, outcome.copies, outcome.facts
    data = stored(store)
    assert (package.bucket, package.key, package.container) == ("perdura-aips", f"{ARCHIVE}/{ARCHIVE}.tar", "tar")
    assert package.size == len(data)
    assert package.checksums["sha256"] == hashlib.sha256(data).hexdigest()
    assert package.checksums["sha512"] == hashlib.sha512(data).hexdigest()
    assert (copy.package_id, copy.location, copy.verified_at) == (package.id, "object-store", NOW)
    assert fact.type == "org.perdura.aip.created.v1"
    assert fact.data["package"]["id"] == str(package.id)
    ((package_id, files),) = outcome.files
    assert package_id == package.id
    for file in files:
        assert file.offset is not None
        body = data[file.offset : file.offset + file.size]
        assert hashlib.sha256(body).hexdigest() == file.checksums["sha256"]
    readme = next(file for file in files if file.path == "data/objects/readme.txt")
    assert (readme.format_key, readme.media_type) == ("x-fmt/111", "text/plain")


def test_the_index_finds_every_member_by_range(store: MemoryStore) -> None:
    outcome = run(deposit(store, zipped(bag())), ports(store, identifier=FakeIdentifier()))
    data, members = stored(store), unpacked(stored(store))
    header, entries = decode(stored(store, ".index.jsonl").splitlines())
    assert outcome.packages[0].index_key == f"{ARCHIVE}/{ARCHIVE}.index.jsonl"
    assert header.checksums == outcome.packages[0].checksums
    assert (header.size, header.base, header.members) == (len(data), str(ARCHIVE), len(members))
    found = {entry.member.path: entry for entry in entries}
    assert found.keys() == members.keys()
    for path, entry in found.items():
        start = entry.member.offset
        assert data[start : start + entry.member.size] == members[path]
    assert found["data/objects/readme.txt"].format_key == "x-fmt/111"


def test_the_same_attempt_writes_the_same_bytes(store: MemoryStore) -> None:
    archive = deposit(store, zipped(bag()))
    first, index = (run(archive, ports(store)), stored(store, ".index.jsonl"))
    data = stored(store)
    second = run(archive, ports(store))
    assert stored(store) == data
    assert stored(store, ".index.jsonl") == index
    assert first.packages[0].id == second.packages[0].id
    assert [event.id for event in first.events] == [event.id for event in second.events]


def test_large_files_stream_through_both_tools(store: MemoryStore) -> None:
    body = os.urandom(5 << 20)
    identifier = FakeIdentifier()
    archive = deposit(store, zipped(bag({"data/big.bin": body, "data/bad.bin": body + EICAR})))
    outcome = run(archive, ports(store, identifier=identifier, scanner=FakeScanner()))
    assert identifier.sizes["big.bin"] == len(body)
    assert outcome.state is StepState.FAILED
    assert [finding.path for finding in outcome.findings] == ["data/bad.bin"]


def test_small_files_are_identified_in_batches(store: MemoryStore) -> None:
    identifier = FakeBatchIdentifier()
    files = {f"data/{number}.txt": b"x" for number in range(600)}
    outcome = run(deposit(store, zipped(bag(files))), ports(store, identifier=identifier))
    assert sum(identifier.batches) == len(files) + 3
    assert max(identifier.batches) <= 256
    (event,) = events_of(outcome, "format identification")
    assert event.outcomes[0].notes == ("603 of 603 files identified",)


def test_a_changed_byte_fails_the_step_and_names_the_file(store: MemoryStore) -> None:
    files = {**bag(algorithms=("md5", "sha512")), "data/readme.txt": b"Read me!\n"}
    outcome = run(deposit(store, zipped(files)), ports(store))
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "fixity-mismatch")
    assert {finding.path for finding in outcome.findings} == {"data/readme.txt"}
    assert len(outcome.findings) == 2
    assert "data/readme.txt" in (outcome.message or "")
    (event,) = outcome.events
    assert (event.type, event.outcomes[0].outcome) == ("fixity check", "fail")
    assert str(SIP) in {link.value for link in event.objects}
    assert absent(store)


def test_a_missing_file_fails_the_step(store: MemoryStore) -> None:
    files = bag()
    del files["data/readme.txt"]
    outcome = run(deposit(store, zipped(files)), ports(store))
    assert [finding.code for finding in outcome.findings] == ["file-missing"]
    assert absent(store)


def test_names_that_differ_in_normalisation_only_are_matched_as_in_validation(store: MemoryStore) -> None:
    files = bag({"data/größe.txt": b"x"})
    body = files.pop("data/größe.txt")
    files["data/gro\u0308ße.txt"] = body
    assert run(deposit(store, zipped(files)), ports(store)).state is StepState.COMPLETED


def test_an_infected_file_quarantines_the_sip(store: MemoryStore) -> None:
    archive = deposit(store, zipped(bag({**FILES, "data/x/eicar.com": EICAR})))
    outcome = run(archive, ports(store, scanner=FakeScanner()))
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "infected")
    assert [finding.path for finding in outcome.findings] == ["data/x/eicar.com"]
    (event,) = outcome.events
    assert (event.type, event.outcomes[0].outcome) == ("virus check", "fail")
    assert absent(store)


def test_a_clean_scan_passes(store: MemoryStore) -> None:
    outcome = run(deposit(store, zipped(bag())), ports(store, virus_scan="required", scanner=FakeScanner()))
    (event,) = events_of(outcome, "virus check")
    assert event.outcomes[0].outcome == "success"
    assert "ClamAV 1.4.6/27830" in event.details[0]


@pytest.mark.parametrize(("policy", "reason"), [("preferred", "no virus scanner is configured"), ("off", "policy")])
def test_no_scan_is_said_and_never_a_pass(store: MemoryStore, policy: str, reason: str) -> None:
    outcome = run(deposit(store, zipped(bag())), ports(store, virus_scan=policy))
    assert outcome.state is StepState.COMPLETED
    (event,) = events_of(outcome, "virus check")
    assert event.outcomes[0].outcome == "warning"
    assert reason in event.outcomes[0].notes[0]


def test_off_does_not_scan(store: MemoryStore) -> None:
    archive = deposit(store, zipped(bag({"data/eicar.com": EICAR})))
    assert run(archive, ports(store, virus_scan="off", scanner=FakeScanner())).state is StepState.COMPLETED


def test_a_database_of_test_signatures_passes_nothing(store: MemoryStore) -> None:
    scanner = FakeScanner(trusted=False)
    outcome = run(deposit(store, zipped(bag())), ports(store, scanner=scanner))
    (event,) = events_of(outcome, "virus check")
    assert event.outcomes[0].outcome == "warning"
    assert any(note.startswith("not passed") for note in event.outcomes[0].notes)


class DeadScanner(FakeScanner):
    @property
    def engine(self) -> str:
        raise UpstreamUnavailable("clamd does not answer")

    @engine.setter
    def engine(self, value: str) -> None: ...


@pytest.mark.parametrize("scanner", [None, DeadScanner(), FakeScanner(trusted=False)])
def test_a_required_scan_that_cannot_be_had_blocks(store: MemoryStore, scanner: FakeScanner | None) -> None:
    outcome = run(deposit(store, zipped(bag())), ports(store, virus_scan="required", scanner=scanner))
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "virus-scan-unavailable")
    assert absent(store)


def test_a_scanner_that_fails_on_the_way(store: MemoryStore) -> None:
    archive = deposit(store, zipped(bag()))
    scanner = FakeScanner(verdict=Scan("error", "clamd does not answer"))
    assert run(archive, ports(store, virus_scan="required", scanner=scanner)).state is StepState.BLOCKED
    outcome = run(archive, ports(store, scanner=scanner))
    assert outcome.state is StepState.COMPLETED
    assert [event.outcomes[0].outcome for event in events_of(outcome, "virus check")] == ["warning"]


def test_what_a_required_scan_could_not_look_into_is_a_warning(store: MemoryStore) -> None:
    scanner = FakeScanner(verdict=Scan("not-scanned", "Heuristics.Encrypted.Zip"))
    outcome = run(deposit(store, zipped(bag())), ports(store, virus_scan="required", scanner=scanner))
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
    assert {finding.code for finding in outcome.findings} == {"not-scanned"}


def test_unknown_formats_have_an_event_of_their_own_and_do_not_warn(store: MemoryStore) -> None:
    outcome = run(deposit(store, zipped(bag())), ports(store, identifier=FakeIdentifier()))
    assert outcome.state is StepState.COMPLETED
    known, unknown = events_of(outcome, "format identification")
    assert (known.outcomes[0].outcome, unknown.outcomes[0].outcome) == ("success", "warning")
    assert len(unknown.objects) == 2 + 2


def test_the_acts_in_their_order(store: MemoryStore) -> None:
    outcome = run(deposit(store, zipped(bag())), ports(store, identifier=FakeIdentifier(), scanner=FakeScanner()))
    kinds = list(dict.fromkeys(event.type for event in outcome.events))
    assert kinds == [
        "fixity check",
        "message digest calculation",
        "format identification",
        "virus check",
        "creation",
    ]
    assert outcome.events[-1].type == "fixity check"
    assert outcome.events[-1].at == NOW


def test_no_sip(store: MemoryStore) -> None:
    archive = deposit(store, zipped(bag()))
    with pytest.raises(Rejected, match="no accepted"):
        run(replace(archive, packages=()), ports(store))


def test_no_time_of_creation(store: MemoryStore) -> None:
    archive = deposit(store, zipped(bag()))
    with pytest.raises(Broken):
        run(replace(archive, created_at=None, step=replace(archive.step, created_at=None)), ports(store))


def test_too_little_time_leaves_nothing_behind(store: MemoryStore) -> None:
    with pytest.raises(Broken, match="PERDURA_INVOCATION_SECONDS"):
        run(deposit(store, zipped(bag())), ports(store, deadline=SpentDeadline()))
    assert absent(store)


class LyingStore(MemoryStore):
    """Gives back other bytes than it took."""

    def stream(self, ref, offset=0, length=None, chunk=1 << 20):  # type: ignore[no-untyped-def]
        for piece in super().stream(ref, offset, length, chunk):
            if ref.bucket == "perdura-aips":
                changed = bytearray(piece)
                changed[len(changed) // 2] ^= 1
                yield memoryview(changed)
            else:
                yield piece


def test_an_aip_that_reads_back_differently_is_not_accepted() -> None:
    store = LyingStore()
    with pytest.raises(Retryable, match="other bytes"):
        run(deposit(store, zipped(bag())), ports(store))


@pytest.mark.parametrize("size", [1, 1 << 20, (1 << 20) + 1])
def test_an_identifier_that_breaks_fails_the_run(store: MemoryStore, size: int) -> None:
    class Breaking(FakeIdentifier):
        def identify(self, name, chunks, size):  # type: ignore[no-untyped-def]
            raise Broken("signatures are missing")

    archive: ArchiveView = deposit(store, zipped(bag({"data/x": bytes(size)})))
    with pytest.raises(Broken, match="signatures"):
        run(archive, ports(store, identifier=Breaking()))
    assert absent(store)


def test_pronom(store: MemoryStore) -> None:
    png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(20) + b"IEND\xaeB`\x82"
    outcome = run(deposit(store, zipped(bag({"data/a.png": png}))), ports(store, identifier=PronomIdentifier()))
    found = {file.path: file.format_key for file in outcome.files[0][1]}
    assert found["data/metadata/submission/bagit.txt"] == "x-fmt/111"
    assert found["data/objects/a.png"] in {"fmt/11", "fmt/12", "fmt/13", None}


class _TimeFor:
    """Time for so many chunks."""

    def __init__(self, looks: int) -> None:
        self._looks = looks

    def near(self) -> bool:
        self._looks -= 1
        return self._looks < 0


@pytest.mark.parametrize("looks", [0, 1, 5, 12])
def test_a_single_file_that_is_too_long_is_cut_and_nothing_is_told_of_it(looks: int) -> None:
    store = MemoryStore()
    archive = deposit(store, zipped(bag({"data/large.bin": bytes(12 << 20)})))
    with pytest.raises(TimeUp) as caught:
        run(archive, ports(store, deadline=_TimeFor(looks)))
    assert caught.value.code == "invocation-too-short"
