"""The engine a3m: what the program is given, what becomes of what it leaves behind, and what is told of the scan."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from perdura.clients.a3m import A3mFailed, make_aip
from perdura.errors import Broken, Rejected
from perdura.outcome import Outcome, Package, PackageKind, StepState
from perdura.ports import Scan, VirusScanner
from perdura.settings import Settings
from perdura.steps.preserve import run
from perdura.storage.memory import MemoryStore
from perdura.storage.timed import TimeUp
from tests.contract.test_a3m.program import install
from tests.peers.archivematica.clock import SteppedClock
from tests.peers.archivematica.driver import Driver
from tests.processes import ended
from tests.unit.preserve.fakes import EICAR, FakeScanner

FILES = {"hello.txt": b"hello\n", "folder/größe & 1.csv": b"a,b\n1,2\n"}


class SayingScanner(FakeScanner):
    """Says one thing of files that hold a word, and finds nothing in others."""

    def __init__(self, word: bytes, scan: Scan) -> None:
        super().__init__()
        self._word, self._said = word, scan

    def scan(self, chunks: Iterator[bytes], size: int) -> Scan:
        return self._said if self._word in b"".join(chunks) else Scan("clean", "nothing found")


class World:
    """A deposit that a3m is to preserve, with a program that behaves somehow."""

    def __init__(self, folder: Path, behaviour: str = "well", files: dict[str, bytes] | None = None) -> None:
        self.folder, self.store = folder, MemoryStore()
        self.program = install(folder, behaviour)
        self._driver = Driver(self.store, SteppedClock(), {})
        self.case = self._driver.add(1, files or FILES, engine="a3m")
        self.hurried = False

    def run(self, scanner: VirusScanner | None = None, **settings: Any) -> Outcome:
        """One invocation; a checkpoint is there for the next."""
        chosen = Settings(**{"a3m": str(self.program), "virus_scan": "preferred", **settings})
        ports = replace(self._driver.ports(self.case.view), fleet=None, settings=chosen, scanner=scanner)
        outcome = run(self.case.view, replace(ports, deadline=self))
        if outcome.checkpoint is not None:
            step = replace(self.case.view.step, checkpoint=json.loads(json.dumps(dict(outcome.checkpoint))))
            self.case.view = replace(self.case.view, step=step)
        return outcome

    def add_in_version(self, files: dict[str, bytes], **changes: str) -> None:
        """Ask for a new version of an AIP that has these files too."""
        additions = []
        for path, body in files.items():
            self.store.put("perdura-sips", f"added/{path}", body)
            told = {"path": path, "bucket": "perdura-sips", "key": f"added/{path}", "size": len(body)}
            additions.append({**told, "sha256": hashlib.sha256(body).hexdigest(), **changes})
        view = self.case.view
        step = replace(view.step, input={**view.step.input, "reason": "more", "additions": additions})
        before = Package(UUID(int=7), PackageKind.AIP, "perdura-aips", "before.tar", "tar", 1)
        self.case.view = replace(view, step=step, packages=(*view.packages, before))

    def replace_in_sip(self, change: dict[str, bytes | None]) -> None:
        """Give members of the stored SIP other bytes, or leave them out; its manifests stay."""
        sip = self.case.view.packages[0]
        stored = io.BytesIO(self.store.read(self.store.head(sip.bucket, sip.key).ref, 0, sip.size))
        made = io.BytesIO()
        with zipfile.ZipFile(stored) as before, zipfile.ZipFile(made, "w") as after:
            for name in before.namelist():
                body = change.get(name, before.read(name))
                if body is not None:
                    after.writestr(name, body)
        info = self.store.put(sip.bucket, sip.key, made.getvalue()).info
        changed = replace(sip, size=info.size, etag=info.ref.etag, version_id=info.ref.version_id)
        self.case.view = replace(self.case.view, packages=(changed,))

    def near(self) -> bool:
        """When hurried, the time of an invocation is up as soon as the AIP lies in the store."""
        return self.hurried and any(self.store.list("perdura-aips", ""))

    @property
    def given(self) -> Any:
        """What the program was given; None when it was not started."""
        file = self.folder / "given.json"
        return json.loads(file.read_text()) if file.exists() else None


def checks(outcome: Outcome) -> list[tuple[str, str]]:
    return [
        (event.outcomes[0].outcome, event.outcomes[0].notes[0])
        for event in outcome.events
        if event.type == "virus check"
    ]


def test_a_new_version_is_made_of_the_payload_and_the_additions(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add_in_version({"hello.txt": b"corrected\n", "new/one.csv": b"1\n"})
    outcome = world.run(FakeScanner())
    assert outcome.state is StepState.COMPLETED, outcome.message
    objects = {path: bytes.fromhex(body) for path, body in world.given["files"].items() if path.startswith("objects/")}
    assert objects == {
        "objects/hello.txt": b"corrected\n",
        "objects/new/one.csv": b"1\n",
        **{f"objects/{path}": body for path, body in FILES.items() if path != "hello.txt"},
    }
    document = world.given["files"]["metadata/submissionDocumentation/perdura-version.txt"]
    assert f"Predecessor-AIP: urn:uuid:{UUID(int=7)}\nVersion-Reason: more\n" in bytes.fromhex(document).decode()
    (event,) = [event for event in outcome.events if event.type == "modification"]
    assert event.outcomes[0].notes == ("hello.txt added", "new/one.csv added")
    assert checks(outcome)[0][0] == "success"


def test_an_addition_that_is_not_what_was_announced_is_not_handed_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add_in_version({"new.csv": b"1\n"}, sha256="0" * 64)
    outcome = world.run()
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "fixity-mismatch")
    assert world.given is None


def test_an_addition_whose_bytes_are_gone_is_told_by_name(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add_in_version({"new.csv": b"1\n"}, key="gone")
    with pytest.raises(Rejected) as error:
        world.run()
    assert error.value.code == "addition-missing"
    assert world.given is None


def test_an_infected_addition_is_not_handed_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.add_in_version({"new.csv": EICAR})
    outcome = world.run(FakeScanner())
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "infected")
    assert world.given is None


def test_the_program_gets_the_payload_its_checksums_and_the_tag_files(tmp_path: Path) -> None:
    world = World(tmp_path)
    outcome = world.run(FakeScanner())
    assert outcome.state is StepState.COMPLETED, outcome.message
    files = {path: bytes.fromhex(body) for path, body in world.given["files"].items()}
    assert {path: body for path, body in files.items() if path.startswith("objects/")} == {
        f"objects/{path}": body for path, body in FILES.items()
    }
    assert set(files) - {f"objects/{path}" for path in FILES} == {
        "metadata/checksum.sha256",
        "metadata/submissionDocumentation/bagit.txt",
        "metadata/submissionDocumentation/manifest-sha256.txt",
    }
    lines = files["metadata/checksum.sha256"].decode().splitlines()
    assert "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03  ../objects/hello.txt" in lines
    assert len(lines) == len(FILES)


def test_the_program_runs_in_an_environment_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERDURA_S3_SECRET_KEY", "secret")
    world = World(tmp_path)
    world.run()
    given = world.given
    assert "secret" not in given["environment"].values()
    assert given["environment"]["PATH"].startswith(f"{tmp_path}:")
    assert {"tmp", "currentlyProcessing", "rejected", "failed", "completed"} <= set(given["folders"])
    assert given["arguments"][1:4] == ["--name", str(world.case.view.id), "--no-input"]
    assert not Path(given["environment"]["HOME"]).exists()


def test_the_aip_is_kept_byte_for_byte_with_its_history(tmp_path: Path) -> None:
    world = World(tmp_path)
    outcome = world.run(FakeScanner())
    (package,) = outcome.packages
    assert (package.container, world.store.head(package.bucket, package.key).size) == ("tar.gz", package.size)
    assert {f"data/objects/{path}" for path in FILES} <= {file.path for _, files in outcome.files for file in files}
    assert {"ingestion", "fixity check"} <= {event.type for event in outcome.told_events}
    assert [event.type for event in outcome.events] == ["virus check", "validation", "accession"]


@pytest.mark.parametrize("policy", ["required", "preferred"])
def test_what_was_scanned_is_told(tmp_path: Path, policy: str) -> None:
    world = World(tmp_path)
    outcome = world.run(FakeScanner(), virus_scan=policy)
    assert checks(outcome) == [("success", "4 of 4 files scanned, nothing found")]
    check = outcome.events[0]
    assert {str(world.case.view.id), str(world.case.view.packages[0].id)} <= {link.value for link in check.objects}
    assert FakeScanner().engine in {link.value for link in check.agents}


@pytest.mark.parametrize("policy", ["required", "preferred"])
def test_malware_is_told_and_the_program_not_started(tmp_path: Path, policy: str) -> None:
    world = World(tmp_path, files={**FILES, "bad.com": EICAR, "worse.com": EICAR + b" "})
    outcome = world.run(FakeScanner(), virus_scan=policy)
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "infected")
    assert {finding.path for finding in outcome.findings} == {"data/bad.com", "data/worse.com"}
    assert checks(outcome) == [("fail", "data/bad.com: Eicar-Test-File")]
    assert world.given is None


@pytest.mark.parametrize("scanner", [None, FakeScanner(trusted=False)])
def test_a_required_scan_that_cannot_be_had_blocks(tmp_path: Path, scanner: VirusScanner | None) -> None:
    world = World(tmp_path)
    outcome = world.run(scanner, virus_scan="required")
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "virus-scan-unavailable")
    assert world.given is None


def test_a_scanner_that_fails_blocks_where_a_scan_is_required(tmp_path: Path) -> None:
    world, scanner = World(tmp_path), SayingScanner(b"a,b", Scan("error", "clamd died"))
    outcome = world.run(scanner, virus_scan="required")
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "virus-scan-unavailable")
    assert outcome.message == "a virus scan is required, but the scanner failed: clamd died"
    assert world.given is None


def test_a_scanner_that_fails_is_told_where_a_scan_is_only_preferred(tmp_path: Path) -> None:
    outcome = World(tmp_path).run(SayingScanner(b"a,b", Scan("error", "clamd died")))
    assert outcome.state is StepState.COMPLETED
    assert checks(outcome) == [
        ("success", "3 of 4 files scanned, nothing found"),
        ("warning", "not scanned: error: clamd died"),
    ]
    assert any(link.value.endswith("#data/folder/gr%C3%B6%C3%9Fe%20%26%201.csv") for link in outcome.events[1].objects)


def test_what_a_required_scan_could_not_look_into_is_a_warning(tmp_path: Path) -> None:
    scanner = SayingScanner(b"a,b", Scan("not-scanned", "Heuristics.Encrypted.Zip"))
    outcome = World(tmp_path).run(scanner, virus_scan="required")
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
    assert [(finding.code, finding.path) for finding in outcome.findings] == [
        ("not-scanned", "data/folder/größe & 1.csv")
    ]
    assert ("warning", "not scanned: not-scanned: Heuristics.Encrypted.Zip") in checks(outcome)


def test_what_was_not_scanned_is_still_known_when_a_later_invocation_ends_the_step(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.hurried = True
    begun = world.run(SayingScanner(b"a,b", Scan("not-scanned", "encrypted")), virus_scan="required")
    assert begun.state is StepState.QUEUED
    assert len(checks(begun)) == 2
    assert world.run(virus_scan="required").state is StepState.QUEUED
    world.hurried = False
    outcome = world.run(virus_scan="required")
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
    assert [finding.code for finding in outcome.findings] == ["not-scanned"]
    assert checks(outcome) == []


@pytest.mark.parametrize(("policy", "why"), [("preferred", "no virus scanner is configured"), ("off", "switched off")])
def test_no_scan_is_said_and_never_a_pass(tmp_path: Path, policy: str, why: str) -> None:
    (told,) = checks(World(tmp_path).run(virus_scan=policy))
    assert told[0] == "warning"
    assert why in told[1]


@pytest.mark.parametrize("change", [{"bag/data/hello.txt": b"other\n"}, {"bag/data/hello.txt": None}])
def test_bytes_that_were_not_accepted_are_not_handed_over(tmp_path: Path, change: dict[str, bytes | None]) -> None:
    world = World(tmp_path)
    world.replace_in_sip(change)
    outcome = world.run()
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "fixity-mismatch")
    assert [(event.type, event.outcomes[0].outcome) for event in outcome.events] == [("fixity check", "fail")]
    assert world.given is None


def test_a_program_that_refuses_fails_the_step_with_its_last_words(tmp_path: Path) -> None:
    outcome = World(tmp_path, "refusing").run(FakeScanner())
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "a3m-failed")
    assert outcome.message is not None
    assert outcome.message.startswith("a3m ended with 1: ")
    assert outcome.message.endswith("[31m Unable to process the ? package")
    assert outcome.message.isprintable()
    assert len(outcome.message) < 500
    assert [result for result, _ in checks(outcome)] == ["success"]


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("nothing", "a3m stored 0 packages instead of one: done"),
        ("two", "a3m stored 2 packages instead of one"),
        ("link", "what a3m stored as its package is no file"),
        ("folder", "what a3m stored as its package is no file"),
    ],
)
def test_anything_but_one_package_is_a_failure(tmp_path: Path, behaviour: str, said: str) -> None:
    world = World(tmp_path, behaviour)
    outcome = world.run()
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "a3m-failed")
    assert said in (outcome.message or "")
    assert not list(world.store.list("perdura-aips", ""))


@pytest.mark.parametrize("behaviour", ["losing", "flipping", "garbage"])
def test_a_package_that_is_not_what_it_must_be_is_not_registered(tmp_path: Path, behaviour: str) -> None:
    outcome = World(tmp_path, behaviour).run()
    assert outcome.state is StepState.FAILED
    assert not outcome.packages
    assert "Traceback" not in (outcome.message or "")


def test_a_package_without_a_uuid_in_its_name_needs_a_person(tmp_path: Path) -> None:
    with pytest.raises(Broken) as caught:
        World(tmp_path, "nameless").run()
    assert caught.value.code == "a3m-name"


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(TimeUp):
        World(tmp_path, "slow").run(invocation_seconds=3)
    assert ended(int((tmp_path / "child").read_text()))


def test_children_that_outlive_the_program_are_ended(tmp_path: Path) -> None:
    begun = time.monotonic()
    assert World(tmp_path, "leaving").run().state is StepState.COMPLETED
    assert time.monotonic() - begun < 60
    assert ended(int((tmp_path / "child").read_text()))


def test_a_program_that_is_not_there_needs_a_person(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.program.unlink()
    with pytest.raises(Broken) as caught:
        world.run()
    assert caught.value.code == "no-a3m"
    with pytest.raises(Broken) as caught:
        world.run(a3m=None)
    assert caught.value.code == "no-a3m"


def test_a_package_that_is_too_large_for_the_disk_is_not_unpacked(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.raises(Broken) as caught:
        world.run(scratch_bytes=100)
    assert caught.value.code == "scratch-too-small"
    assert world.given is None


def test_a_bag_is_refused_by_the_program_as_by_the_real_one(tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    bag.mkdir()
    (bag / "bagit.txt").write_text("BagIt-Version: 1.0\n")
    with pytest.raises(A3mFailed, match="Bags not supported yet!"):
        make_aip(install(tmp_path), bag, tmp_path, "name", 60)
