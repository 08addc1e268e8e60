"""The bag of a new version, as an engine gets it that takes bags as a whole."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import bagit
import pytest

from perdura.errors import Rejected
from perdura.outcome import ArchiveView, Package, PackageKind
from perdura.packages.limits import LIMITS
from perdura.steps.preserve_renewed import renewal_of, renewed
from perdura.steps.preserve_submission import open_submission
from perdura.storage.memory import MemoryStore
from tests.unit.preserve.submissions import ARCHIVE, FILES, bag, deposit, tarred, zipped

BEFORE = UUID("0190a1b2-0000-7000-8000-0000000000aa")
ADDED = b"added\n"
PERCENT = {**FILES, "data/100%25 sure.txt": b"%", "data/line\nend.txt": b"\n"}


def version(store: MemoryStore, container: bytes, kind: str = "zip", **changes: Any) -> ArchiveView:
    """An Archive of whose AIP a new version is wanted that has one file more."""
    store.put("perdura-sips", "added", ADDED)
    addition = {
        "path": "results/added.txt",
        "bucket": "perdura-sips",
        "key": "added",
        "size": len(ADDED),
        "sha256": hashlib.sha256(ADDED).hexdigest(),
        **changes,
    }
    archive = deposit(store, container, kind)
    before = Package(BEFORE, PackageKind.AIP, "perdura-aips", f"{ARCHIVE}/{ARCHIVE}.tar", "tar", 1)
    step = replace(archive.step, input={"reason": "more\nof it", "additions": [addition]})
    return replace(archive, packages=(*archive.packages, before), step=step)


def made(store: MemoryStore, archive: ArchiveView) -> bytes:
    renewal, sip = renewal_of(archive), archive.package(PackageKind.SIP)
    assert renewal is not None
    assert sip is not None
    return b"".join(bytes(chunk) for chunk in renewed(open_submission(store, sip, LIMITS), renewal, "base", 7, store))


def opened(data: bytes, folder: Path) -> bagit.Bag:
    with tarfile.open(fileobj=io.BytesIO(data)) as packed:
        packed.extractall(folder, filter="data")
    return bagit.Bag(str(folder / "base"))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_it_is_a_valid_bag_of_the_submission_and_the_additions(kind: str, tmp_path: Path) -> None:
    store = MemoryStore()
    files = bag(PERCENT)
    data = made(store, version(store, zipped(files) if kind == "zip" else tarred(files, "w:gz"), kind))
    found = opened(data, tmp_path)
    found.validate()
    payload = {f"data/{path.relative_to(tmp_path / 'base' / 'data')}": path for path in _files(tmp_path / "base/data")}
    assert {path: file.read_bytes() for path, file in payload.items()} == {**PERCENT, "data/results/added.txt": ADDED}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_it_names_the_aip_that_the_new_one_follows_and_what_is_new(tmp_path: Path) -> None:
    store = MemoryStore()
    info = opened(made(store, version(store, zipped(bag()), derived_from="readme.txt")), tmp_path).info
    assert info["Predecessor-AIP"] == f"urn:uuid:{BEFORE}"
    assert info["Version-Reason"] == "more of it"
    assert info["Version-Change"] == "results/added.txt made from readme.txt"
    assert str(ARCHIVE) in info["Internal-Sender-Identifier"]


def test_an_addition_takes_the_place_of_a_file_of_its_path(tmp_path: Path) -> None:
    store = MemoryStore()
    opened(made(store, version(store, zipped(bag()), path="readme.txt")), tmp_path).validate()
    assert (tmp_path / "base/data/readme.txt").read_bytes() == ADDED


def test_a_version_of_other_metadata_is_the_submission_with_its_predecessor_named(tmp_path: Path) -> None:
    store = MemoryStore()
    archive = version(store, zipped(bag()))
    archive = replace(archive, step=replace(archive.step, input={"reason": "title changed"}))
    found = opened(made(store, archive), tmp_path)
    found.validate()
    assert set(found.payload_files()) == set(FILES)
    assert found.info["Predecessor-AIP"] == f"urn:uuid:{BEFORE}"


def test_the_first_aip_is_made_of_the_submission_as_it_is() -> None:
    assert renewal_of(deposit(MemoryStore(), zipped(bag()))) is None


def test_the_same_version_is_always_the_same_bytes() -> None:
    store = MemoryStore()
    archive = version(store, zipped(bag()))
    assert made(store, archive) == made(store, archive)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sha256": "0" * 64}, "fixity-mismatch"),
        ({"size": 3}, "size-mismatch"),
        ({"size": 300}, "size-mismatch"),
        ({"key": "gone"}, "addition-missing"),
        ({"path": "readme.txt/below"}, "file-and-folder"),
        ({"path": "results"}, "file-and-folder"),
        ({"derived_from": "nothing.txt"}, "no-such-source"),
        ({"derived_from": "results/added.txt"}, "no-such-source"),
    ],
)
def test_an_addition_that_does_not_fit_makes_no_bag(changes: dict[str, Any], code: str) -> None:
    store = MemoryStore()
    with pytest.raises(Rejected) as error:
        made(store, version(store, zipped(bag()), **changes))
    assert error.value.code == code


def test_a_file_that_is_not_what_the_submission_says_makes_no_bag() -> None:
    store = MemoryStore()
    files = bag()
    files["data/readme.txt"] = b"other"
    with pytest.raises(Rejected) as error:
        made(store, version(store, zipped(files)))
    assert error.value.code == "fixity-mismatch"
