"""The profile `eark`, told by the schemas; `tests/peers/test_commons_ip.py` asks an E-ARK validator."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import bagit
import pytest
from lxml import etree

from perdura.errors import Rejected
from perdura.packages.mets_objects import FileObject
from perdura.steps.preserve import run
from perdura.steps.preserve_document import FileObjects
from perdura.storage.memory import MemoryStore
from tests.shared_data import reference_data
from tests.unit.preserve.fakes import FakeIdentifier, derived, ports
from tests.unit.preserve.submissions import ARCHIVE, FILES, bag, deposit, stored, unpacked, zipped
from tests.unit.preserve.test_standards import AWKWARD, EARLIER

ROOT = f"data/urn-uuid-{derived('aip')}/"
METS = "{http://www.loc.gov/METS/}"
HREF = "{http://www.w3.org/1999/xlink}href"


def made(files: dict[str, bytes], profile: str = "eark") -> bytes:
    store = MemoryStore()
    archive = deposit(store, zipped(bag(files)))
    archive = replace(archive, step=replace(archive.step, input={"profile": profile}), restricted=True)
    run(archive, ports(store, identifier=FakeIdentifier(), extras={"earlier_events": (EARLIER,)}))
    return stored(store)


@pytest.fixture(scope="module", params=[dict(FILES), AWKWARD], ids=["plain", "awkward"])
def aip(request: pytest.FixtureRequest) -> bytes:
    return made(request.param)


class _Local(etree.Resolver):  # type: ignore[misc]
    def resolve(self, url, _public_id, context):  # type: ignore[no-untyped-def]
        name = url.rsplit("/", 1)[-1]
        if name == "xlink.xsd":
            return self.resolve_filename(str(reference_data("mets", "xlink.xsd")), context)
        if name == "mets.xsd":
            return self.resolve_filename(str(reference_data("mets", "mets-1.12.1.xsd")), context)
        return None


def schema(*parts: str) -> etree.XMLSchema:
    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(_Local())
    return etree.XMLSchema(etree.parse(str(reference_data("mets", *parts)), parser))


def test_the_payload_keeps_its_names(aip: bytes) -> None:
    members = unpacked(aip)
    for path, body in FILES.items():
        assert members[f"{ROOT}representations/rep1/data/{path.removeprefix('data/')}"] == body
    assert f"{ROOT}documentation/submission/bagit.txt" in members


@pytest.mark.parametrize("place", ["", "representations/rep1/"])
def test_premis_is_schema_valid(aip: bytes, place: str) -> None:
    premis = etree.fromstring(unpacked(aip)[f"{ROOT}{place}metadata/preservation/premis.xml"])
    schema("premis-v3-0.xsd").assertValid(premis)


@pytest.mark.parametrize("path", ["METS.xml", "representations/rep1/METS.xml"])
def test_mets_refers_to_what_is_there(aip: bytes, path: str) -> None:
    members = unpacked(aip)
    mets = etree.fromstring(members[ROOT + path])
    base = (ROOT + path).removesuffix("METS.xml")
    described = [*mets.iter(f"{METS}mdRef"), *mets.iter(f"{METS}file")]
    assert described
    for element in described:
        reference = element.get(HREF) or element[0].get(HREF)
        body = members[base + unquote(reference).removeprefix("./")]
        assert int(element.get("SIZE")) == len(body)
        assert element.get("CHECKSUM") == hashlib.sha256(body).hexdigest()


def test_every_file_of_the_package_is_referenced(aip: bytes) -> None:
    members = {path for path in unpacked(aip) if path.startswith(ROOT)} - {f"{ROOT}METS.xml"}
    listed = set()
    for path in ("METS.xml", "representations/rep1/METS.xml"):
        base = (ROOT + path).removesuffix("METS.xml")
        mets = etree.fromstring(unpacked(aip)[ROOT + path])
        listed |= {base + unquote(each.get(HREF)).removeprefix("./") for each in mets.iter() if each.get(HREF)}
    assert listed == members


def test_mets_is_schema_valid(aip: bytes) -> None:
    mets = schema("mets-1.12.1.xsd")
    for path in ("METS.xml", "representations/rep1/METS.xml"):
        document = etree.fromstring(unpacked(aip)[ROOT + path])
        for element in document.iter():
            for name in [name for name in element.attrib if name.startswith("{https://DILCIS.eu/")]:
                del element.attrib[name]
        mets.assertValid(document)


def test_the_bag_around_it_is_valid(aip: bytes, tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(aip)) as archive:
        archive.extractall(tmp_path, filter="data")
    assert bagit.Bag(str(tmp_path / str(ARCHIVE))).validate()


def test_unknown_profile() -> None:
    with pytest.raises(Rejected, match="no AIP profile"):
        made(dict(FILES), "other")


def test_no_more_than_a_few_of_the_files_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    held = most = 0
    given = FileObjects.__getitem__

    class Counted(FileObject):
        def __del__(self) -> None:
            nonlocal held
            held -= 1

    def counted(files: FileObjects, place: int) -> FileObject:
        nonlocal held, most
        file = given(files, place)
        held += 1
        most = max(most, held)
        return Counted(**{name: getattr(file, name) for name in FileObject.__slots__})

    monkeypatch.setattr(FileObjects, "__getitem__", counted)
    made({f"data/{number:03}.txt": b"x" for number in range(200)})
    assert held == 0
    assert 0 < most <= 3
