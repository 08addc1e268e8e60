"""An AIP is what the standards say it is, as told by software that is not ours."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path
from urllib.parse import unquote
from uuid import UUID

import bagit
import pytest
from lxml import etree

from perdura.outcome import ArchiveView
from perdura.packages.package import Verdict
from perdura.packages.sources import LocalFile
from perdura.packages.verify import verify
from perdura.premis.model import Event, Identifier
from perdura.premis.model import Outcome as EventOutcome
from perdura.steps.preserve import run
from perdura.steps.preserve_events import tool_agent
from perdura.storage.memory import MemoryStore
from tests.shared_data import reference_data
from tests.unit.preserve.fakes import NOW, FakeIdentifier, FakeScanner, ports
from tests.unit.preserve.submissions import ARCHIVE, FILES, SIP, bag, deposit, stored, unpacked, zipped

METS = "{http://www.loc.gov/METS/}"
PREMIS = "{http://www.loc.gov/premis/v3}"
XLINK = "{http://www.w3.org/1999/xlink}"

AWKWARD = {
    **FILES,
    "data/meta/sip.json": b'{"recid": "1", "source": "local"}',
    "data/a:b/c?d#e.txt": b"1",
    "data/" + "long/" * 60 + "name.txt": b"2",
    "data/control\x01\tcharacter": b"3",
    "data/results/deeper/x": b"4",
    "data/results-beside": b"5",
    "data/\"quoted\" 'name'": b"6",
}
EARLIER = Event(
    UUID("0190a1b2-0000-7000-8000-00000000000e"),
    "validation",
    NOW,
    ("BagIt validation",),
    (EventOutcome("success", ("a & b",)),),
    (Identifier("software", "perdura/0.1.0 ingest", ("executing program",)),),
    (Identifier("UUID", str(ARCHIVE)), Identifier("UUID", str(SIP))),
)


class _Local(etree.Resolver):  # type: ignore[misc]
    def resolve(self, url, _public_id, context):  # type: ignore[no-untyped-def]
        if url.startswith("http"):
            return self.resolve_filename(str(reference_data("mets", url.rsplit("/", 1)[1])), context)
        return None


@cache
def schema() -> etree.XMLSchema:
    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(_Local())
    return etree.XMLSchema(etree.parse(str(reference_data("mets", "mets-premis3-driver.xsd")), parser))


def made(files: dict[str, bytes] = AWKWARD, *, archive: ArchiveView | None = None) -> bytes:
    store = MemoryStore()
    deposited = deposit(store, zipped(bag(files)))
    extras = {"earlier_events": (EARLIER,)}
    run(archive or deposited, ports(store, identifier=FakeIdentifier(), scanner=FakeScanner(), extras=extras))
    return stored(store)


@pytest.fixture(scope="module")
def aip() -> bytes:
    return made()


@pytest.fixture(scope="module")
def mets(aip: bytes) -> etree._Element:
    return etree.fromstring(unpacked(aip)["data/metadata/METS.xml"])


def test_mets_and_premis_are_schema_valid(mets: etree._Element) -> None:
    schema().assertValid(mets)


def test_an_aip_without_payload_is_schema_valid() -> None:
    schema().assertValid(etree.fromstring(unpacked(made({}))["data/metadata/METS.xml"]))


def test_every_reference_in_the_mets_resolves(mets: etree._Element) -> None:
    ids = [element.get("ID") for element in mets.iter() if element.get("ID")]
    assert len(ids) == len(set(ids))
    for attribute in ("ADMID", "DMDID", "FILEID"):
        for element in mets.iter():
            for reference in (element.get(attribute) or "").split():
                assert reference in ids


def test_every_premis_link_resolves(mets: etree._Element) -> None:
    objects = {each.text for each in mets.iter(f"{PREMIS}objectIdentifierValue")} | {str(SIP)}
    events = {each.text for each in mets.iter(f"{PREMIS}eventIdentifierValue")}
    agents = {each.text for each in mets.iter(f"{PREMIS}agentIdentifierValue")}
    for links, targets in (("Object", objects), ("Event", events), ("Agent", agents)):
        for link in mets.iter(f"{PREMIS}linking{links}IdentifierValue"):
            assert link.text in targets
    for link in mets.iter(f"{PREMIS}relatedObjectIdentifierValue"):
        assert link.text in objects


def test_the_mets_lists_exactly_the_files_of_the_manifest_but_itself(aip: bytes, mets: etree._Element) -> None:
    manifest = dict(
        reversed(line.split("  ", 1))  # type: ignore[misc]
        for line in unpacked(aip)["manifest-sha256.txt"].decode().splitlines()
    )
    del manifest["data/metadata/METS.xml"]
    listed = {}
    for file in mets.iter(f"{METS}file"):
        path = "data/" + unquote(file[0].get(f"{XLINK}href")).removeprefix("./")
        listed[path] = file.get("CHECKSUM")
    assert listed == manifest


def test_the_structure_shows_every_file_once_at_its_place(mets: etree._Element) -> None:
    hrefs = {file.get("ID"): unquote(file[0].get(f"{XLINK}href")) for file in mets.iter(f"{METS}file")}
    seen = []
    for pointer in mets.iter(f"{METS}fptr"):
        labels = [div.get("LABEL") for div in pointer.iterancestors(f"{METS}div")][::-1]
        path = hrefs[pointer.get("FILEID")].removeprefix("./")
        assert "/".join(labels[1:]) == path.replace("\x01", "\\u{1}")
        seen.append(path)
    assert len(seen) == len(set(seen)) == len(hrefs)
    siblings = [tuple(div.get("LABEL") for div in parent) for parent in mets.iter(f"{METS}div")]
    assert all(len(labels) == len(set(labels)) for labels in siblings)


def test_the_story_begins_before_this_step(mets: etree._Element) -> None:
    kinds = [each.text for each in mets.iter(f"{PREMIS}eventType")]
    assert kinds[0] == "validation"
    assert kinds[-1] == "creation"


def test_it_says_what_was_not_done(mets: etree._Element) -> None:
    notes = " ".join(each.text or "" for each in mets.iter(f"{METS}note"))
    assert "not done" in notes
    assert "normalisation" in notes


def test_bagit_accepts_it(aip: bytes, tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(aip)) as archive:
        archive.extractall(tmp_path, filter="data")
    package = bagit.Bag(str(tmp_path / str(ARCHIVE)))
    assert package.validate(processes=1)
    assert package.info["External-Description"] == "A study"
    assert package.info["Bagging-Date"] == "2026-11-24"


def test_tar_and_sha512sum_are_enough(aip: bytes, tmp_path: Path) -> None:
    if shutil.which("tar") is None or shutil.which("sha512sum") is None:
        pytest.skip("tar or sha512sum is not installed")
    (tmp_path / "aip.tar").write_bytes(aip)
    subprocess.run(["tar", "-xf", "aip.tar"], cwd=tmp_path, check=True)
    for name in ("manifest", "tagmanifest"):
        subprocess.run(
            ["sha512sum", "--quiet", "--strict", "-c", f"{name}-sha512.txt"], cwd=tmp_path / str(ARCHIVE), check=True
        )


def test_our_own_verifier_accepts_it(aip: bytes, tmp_path: Path) -> None:
    (tmp_path / "aip.tar").write_bytes(aip)
    with LocalFile(tmp_path / "aip.tar") as source:
        report = verify(source)
    assert report.verdict in {Verdict.VALID, Verdict.WARNINGS}
    assert {finding.code for finding in report.findings} <= {"name-control", "name-not-portable"}


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("ClamAV 1.4.6/27830/Mon Nov 23 09:30:12 2026", "1.4.6/27830/Mon Nov 23 09:30:12 2026"),
        ("fake 1.0 (signatures of 2026)", "1.0 (signatures of 2026)"),
        ("MediaInfoLib - v23.04", "23.04"),
        ("7z", None),
    ],
)
def test_a_tool_is_an_agent_with_its_version(name: str, version: str | None) -> None:
    agent = tool_agent(name)
    assert (agent.name, agent.version) == (name, version)


def test_agents_in_the_mets_have_versions(mets: etree._Element) -> None:
    assert "1.0 (signatures of 2026)" in {each.text for each in mets.iter(f"{PREMIS}agentVersion")}
