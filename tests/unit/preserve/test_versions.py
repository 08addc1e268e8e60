"""A new version of an AIP: what it adds, what it refers to, what it leaves alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from uuid import UUID

import pytest
from lxml import etree

from perdura.clients.characterise import ToolCharacteriser
from perdura.errors import Rejected
from perdura.outcome import ArchiveView, Outcome, Package, PackageKind, StepState
from perdura.steps.preserve import run
from perdura.storage.memory import MemoryStore
from tests.unit.preserve.fakes import FakeIdentifier, derived, ports
from tests.unit.preserve.submissions import ARCHIVE, FILES, bag, deposit, unpacked, zipped
from tests.unit.preserve.test_standards import schema

BEFORE = UUID("0190a1b2-0000-7000-8000-0000000000aa")
MIGRATED = b"migrated\n"


def again(
    store: MemoryStore,
    sha256: str | None = None,
    path: str = "results/table.ods",
    tools: tuple[ToolCharacteriser, ...] = (),
    **changes: str,
) -> tuple[ArchiveView, Outcome]:
    archive = deposit(store, zipped(bag(FILES)))
    store.put("perdura-sips", "added", MIGRATED)
    addition = {
        "path": path,
        "bucket": "perdura-sips",
        "key": "added",
        "size": len(MIGRATED),
        "sha256": sha256 or hashlib.sha256(MIGRATED).hexdigest(),
        "derived_from": "results/table 1.csv",
        **changes,
    }
    before = Package(BEFORE, PackageKind.AIP, "perdura-aips", f"{ARCHIVE}/{ARCHIVE}.tar", "tar", 1)
    archive = replace(
        archive,
        packages=(*archive.packages, before),
        step=replace(archive.step, input={"reason": "format at risk", "additions": [addition]}),
    )
    return archive, run(archive, replace(ports(store, identifier=FakeIdentifier()), characterisers=tools))


def test_a_new_version_lies_beside_the_older_and_refers_to_it() -> None:
    store = MemoryStore()
    archive, outcome = again(store)
    assert outcome.state is StepState.COMPLETED
    (package,) = outcome.packages
    assert package.key == f"{archive.id}/{derived('aip')}.tar"
    files = unpacked(store.read(store.head(package.bucket, package.key).ref))
    assert files["data/objects/results/table.ods"] == MIGRATED
    assert files["data/objects/results/table 1.csv"] == FILES["data/results/table 1.csv"]
    mets = etree.fromstring(files["data/metadata/METS.xml"])
    schema().assertValid(mets)
    related = [each.text for each in mets.iter("{*}relatedObjectIdentifierValue")]
    assert str(BEFORE) in related
    source = str(derived("file/data/objects/results/table 1.csv"))
    assert source in related
    event = next(event for event in outcome.events if event.type == "migration")
    assert event.details == (f"new version of AIP {BEFORE}: format at risk",)
    assert event.outcomes[0].notes == ("results/table.ods made from results/table 1.csv",)


def test_an_added_file_is_characterised_like_any_other() -> None:
    store = MemoryStore()
    tool = ToolCharacteriser("count", "wc -c {file}", frozenset({"ods"}))
    _, outcome = again(store, tools=(tool,))
    (package,) = outcome.packages
    files = unpacked(store.read(store.head(package.bucket, package.key).ref))
    assert b"data/results/table.ods" in files["data/metadata/characterisation/count.jsonl"]


def test_a_file_of_the_same_path_replaces_the_submitted_one() -> None:
    store = MemoryStore()
    _, outcome = again(store, path="readme.txt")
    (package,) = outcome.packages
    files = unpacked(store.read(store.head(package.bucket, package.key).ref))
    assert files["data/objects/readme.txt"] == MIGRATED


def test_other_bytes_than_announced_make_no_version() -> None:
    _, outcome = again(MemoryStore(), sha256="0" * 64)
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "fixity-mismatch")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"key": "gone"}, "addition-missing"),
        ({"path": "readme.txt/below"}, "file-and-folder"),
        ({"path": "results"}, "file-and-folder"),
        ({"derived_from": "nothing.txt"}, "no-such-source"),
    ],
)
def test_an_addition_that_does_not_fit_makes_no_version(changes: dict[str, str], code: str) -> None:
    store = MemoryStore()
    with pytest.raises(Rejected) as error:
        again(store, **changes)  # type: ignore[arg-type]
    assert error.value.code == code
    assert list(store.list("perdura-aips", "")) == []
