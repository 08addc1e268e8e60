"""Rights that a submission's own descriptions state come through to the AIP, whichever profile it has."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from lxml import etree

from perdura.outcome import Outcome, StepState
from perdura.steps.preserve import run
from perdura.storage.memory import MemoryStore
from tests.unit.preserve.fakes import ports
from tests.unit.preserve.submissions import FILES, bag, deposit, stored, tarred, unpacked, zipped
from tests.unit.preserve.test_standards import PREMIS

BY = "https://creativecommons.org/licenses/by/4.0/legalcode"
DATACITE = {
    "titles": [{"title": "A study"}],
    "types": {"resourceTypeGeneral": "Dataset"},
    "dates": [{"date": "2030-05-01", "dateType": "Available"}, {"date": "2031-01-01", "dateType": "Valid"}],
    "rightsList": [{"rights": "CC BY 4.0", "rightsUri": BY, "rightsIdentifier": "cc-by-4.0"}],
}
DATACITE_XML = f"""<?xml version="1.0"?><resource xmlns="http://datacite.org/schema/kernel-4">
  <dates><date dateType="Available">2030-05-01</date><date dateType="Created">2031-01-01</date></dates>
  <rightsList><rights rightsURI="{BY}" xml:lang="en">CC BY 4.0</rights></rightsList></resource>""".encode()
INVENIORDM = {
    "access": {"record": "public", "files": "restricted", "embargo": {"active": True, "until": "2030-05-01"}},
    "metadata": {"rights": [{"id": "cc-by-4.0", "title": {"en": "CC BY 4.0"}, "props": {"url": BY}}]},
}
ZENODO = {
    "metadata": {"license": {"id": "CC BY 4.0"}, "access_right": "embargoed", "embargo_date": "2030-05-01"},
}
OAI = b"<OAI-PMH><record><metadata>" + DATACITE_XML.partition(b"?>")[2] + b"</metadata></record></OAI-PMH>"


def preserved(files: dict[str, bytes], profile: str = "perdura", tar: bool = False, **changes: Any) -> Any:
    """The outcome, and the PREMIS elements by name."""
    store = MemoryStore()
    archive = deposit(store, tarred(files, "w:gz"), "tar.gz") if tar else deposit(store, zipped(files))
    step = replace(archive.step, input={"profile": profile})
    outcome = run(replace(archive, step=step, **changes), ports(store))
    aip = unpacked(stored(store))
    name = "data/metadata/METS.xml" if profile == "perdura" else "/metadata/preservation/premis.xml"
    (document,) = [body for path, body in aip.items() if path.endswith(name) and "/representations/" not in path]
    root = etree.fromstring(document)
    return outcome, lambda name: [element.text or "" for element in root.iter(f"{PREMIS}{name}")]


def payload(path: str, body: bytes) -> dict[str, bytes]:
    return bag({**FILES, path: body}) if path.startswith("data/") else {**bag(), path: body}


def findings(outcome: Outcome) -> list[str]:
    return [finding.code for finding in outcome.findings]


@pytest.mark.parametrize("profile", ["perdura", "eark"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("metadata/datacite.json", json.dumps(DATACITE).encode()),
        ("data/metadata/datacite.json", json.dumps({"data": {"attributes": DATACITE}}).encode()),
        ("datacite.xml", DATACITE_XML),
        ("metadata/datacite.xml", DATACITE_XML),
        ("data/meta/datacite.xml", DATACITE_XML),
        ("data/meta/metadata-datacite.datacite-json.json", json.dumps(DATACITE).encode()),
        ("data/meta/metadata-oai_datacite.xml", OAI),
        ("data/meta/metadata.json", json.dumps(INVENIORDM).encode()),
        ("data/meta/metadata-cds-rdm-1.json", json.dumps(INVENIORDM).encode()),
        ("data/meta/metadata.json", json.dumps(ZENODO).encode()),
    ],
)
def test_licence_and_embargo_of_a_description_are_stated(profile: str, path: str, body: bytes) -> None:
    outcome, texts = preserved(payload(path, body), profile)
    assert outcome.state is StepState.COMPLETED
    assert texts("licenseTerms") == ["CC BY 4.0"]
    assert texts("licenseDocumentationIdentifierValue") == ([] if body == json.dumps(ZENODO).encode() else [BY])
    assert texts("endDate") == ["2030-05-01"]
    assert texts("restriction") == ["embargoed"]


def test_a_description_within_a_compressed_tar_is_read_as_it_goes_by() -> None:
    _, texts = preserved(payload("data/meta/datacite.xml", DATACITE_XML), tar=True)
    assert texts("licenseTerms") == ["CC BY 4.0"]


def test_field_540_of_marc_and_rights_of_dublin_core() -> None:
    marc = b"""<record xmlns="http://www.loc.gov/MARC21/slim"><datafield tag="540" ind1=" " ind2=" ">
      <subfield code="a">CC0</subfield><subfield code="u">https://example.org/zero</subfield></datafield></record>"""
    core = b'<dc xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:rights>Ask the institute</dc:rights></dc>'
    files = bag({**FILES, "data/meta/metadata-cds-1.xml": marc, "data/meta/metadata-oai_dc.xml": core})
    _, texts = preserved(files)
    assert sorted(texts("licenseTerms")) == ["Ask the institute", "CC0"]


def test_several_descriptions_of_one_licence_state_it_once() -> None:
    files = bag({**FILES, "data/meta/metadata.json": json.dumps(INVENIORDM).encode()})
    files["metadata/datacite.xml"] = DATACITE_XML.replace(b"CC BY 4.0", b"Attribution 4.0")
    _, texts = preserved(files, metadata={"licence": ["cc-by-4.0"], "embargo_until": "2030-05-01"})
    assert len(texts("licenseTerms")) == 1
    assert texts("endDate") == ["2030-05-01"]


def test_what_a_harvest_noted_is_stated_where_no_description_tells_more() -> None:
    metadata = {"licence": ["cc-by-4.0", None], "embargo_until": "2030-05-01"}
    _, texts = preserved(bag(), metadata=metadata)
    assert (texts("licenseTerms"), texts("endDate")) == (["cc-by-4.0"], ["2030-05-01"])


@pytest.mark.parametrize(("date", "end"), [("2020-01-01", []), ("2030", ["2030-01-01"]), ("soon", []), (7, [])])
def test_only_a_day_after_the_deposit_is_an_embargo(date: object, end: list[str]) -> None:
    told = {"rightsList": [], "dates": [{"date": date, "dateType": "Available"}]}
    _, texts = preserved(payload("metadata/datacite.json", json.dumps(told).encode()))
    assert texts("endDate") == end


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE r [<!ENTITY a "secret">]><resource xmlns="http://datacite.org/schema/kernel-4">'
        b"<rightsList><rights>&a;</rights></rightsList></resource>",
        b'<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><resource><rights>&a;</rights></resource>',
        b"<resource",
        DATACITE_XML + b"<!--" + b" " * (5 << 20) + b"-->",
    ],
)
def test_hostile_xml_is_kept_and_warned_of(body: bytes) -> None:
    outcome, texts = preserved({**bag(), "metadata/datacite.xml": body})
    assert (outcome.state, findings(outcome)) == (StepState.COMPLETED_WITH_WARNINGS, ["rights-not-read"])
    assert texts("licenseTerms") == []


@pytest.mark.parametrize("body", [b"{", b"[" * 200_000, b"\xff\xfe", b"{}" + b" " * (5 << 20)])
def test_hostile_json_is_kept_and_warned_of(body: bytes) -> None:
    outcome, texts = preserved({**bag(), "metadata/datacite.json": body})
    assert (outcome.state, findings(outcome)) == (StepState.COMPLETED_WITH_WARNINGS, ["rights-not-read"])
    assert texts("licenseTerms") == []


@pytest.mark.parametrize(
    "told",
    [
        [],
        7,
        {"data": [], "rightsList": {"rights": []}, "dates": "x", "metadata": 1, "access": {"embargo": [1]}},
        {"rightsList": [[["CC"]], None, 1, {"rights": {"a": 1}, "rightsUri": []}], "dates": [{"dateType": []}]},
        {"metadata": {"rights": [{"title": {"en": 1}, "props": []}], "license": {"id": []}}, "access": 1},
    ],
)
def test_json_of_another_form_states_nothing(told: object) -> None:
    outcome, texts = preserved(payload("metadata/datacite.json", json.dumps(told).encode()))
    assert outcome.state is StepState.COMPLETED
    assert texts("rightsBasis") == []


def test_no_more_is_stated_than_somebody_could_read() -> None:
    told = {"rightsList": [{"rights": f"{number} \x00 <&> " + "x" * 12_000} for number in range(150)]}
    _, texts = preserved(payload("metadata/datacite.json", json.dumps(told).encode()))
    assert len(texts("licenseTerms")) == 100
    assert max(map(len, texts("licenseTerms"))) < 10_100
