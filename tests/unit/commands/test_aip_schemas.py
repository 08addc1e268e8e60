"""`perdura aip verify --schemas`: METS and PREMIS against the real schemas, without the network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from lxml import etree

from perdura.packages.schema_check import NoSchemas, Schemas
from tests.shared_data import reference_data
from tests.unit.commands.test_aip_cli import FILES, call, made

NAMES = ("mets-1.12.1.xsd", "premis-v3-0.xsd", "xlink.xsd", "eark-DILCISExtensionMETS.xsd")


@pytest.fixture
def schemas(tmp_path: Path) -> Path:
    folder = tmp_path / "schemas"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(reference_data("mets", name), folder / name)
    return folder


@pytest.mark.parametrize("profile", ["perdura", "eark"])
def test_our_aips_are_schema_valid(tmp_path: Path, schemas: Path, profile: str) -> None:
    target = made(tmp_path, "one", FILES, "--profile", profile)
    result = call("verify", target, "--schemas", schemas, "--json")
    assert (result.exit_code, json.loads(result.output)["faults"]) == (0, [])


def test_what_a_schema_forbids_within_the_metadata_is_told(schemas: Path) -> None:
    checked = Schemas(schemas)
    text = (
        b'<mets:mets xmlns:mets="http://www.loc.gov/METS/" xmlns:premis="http://www.loc.gov/premis/v3">\n'
        b'<mets:amdSec ID="a"><mets:digiprovMD ID="d"><mets:mdWrap MDTYPE="PREMIS:EVENT"><mets:xmlData>'
        b'<premis:event version="3.0"><premis:eventType>x</premis:eventType></premis:event>'
        b"</mets:xmlData></mets:mdWrap></mets:digiprovMD></mets:amdSec>\n<mets:structMap><mets:div/></mets:structMap>"
        b"</mets:mets>"
    )
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(b"nothing of this document")
    (fault, *_) = checked.faults([text])
    assert "eventType" in fault, "what another parser complained of is not told"


def test_the_mets_of_an_archivematica_is_valid_as_a_stream(schemas: Path) -> None:
    text = reference_data("archivematica", "samples", "METS.e342835e-b3ba-4d07-a70d-4bb727ad1a91.xml").read_bytes()
    pieces = [text[start : start + 1000] for start in range(0, len(text), 1000)]
    assert list(Schemas(schemas).faults(pieces)) == []


@pytest.mark.parametrize("names", [(), ("premis-v3-0.xsd",), ("mets-1.12.1.xsd", "eark-mets.xsd")])
def test_a_directory_without_usable_schemas_is_said_in_words(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        shutil.copy(reference_data("mets", name), tmp_path / name)
    with pytest.raises(NoSchemas):
        Schemas(tmp_path)
    aip = made(tmp_path, "one", {"a.txt": b"a"})
    result = call("verify", aip, "--schemas", tmp_path)
    assert result.exit_code == 3
    assert "schema" in result.output


def test_a_damaged_document_is_no_crash(schemas: Path) -> None:
    assert list(Schemas(schemas).faults([b"<mets:mets"]))
