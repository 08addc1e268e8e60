"""Metadata of Sources as metadata of records, and the report of what found no place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perdura.steps.mapping import values
from perdura.steps.mapping.choose import merged, read
from perdura.steps.mapping.model import Mapped


@pytest.mark.parametrize(
    ("written", "date"),
    [
        ("2024", "2024"), (2024, "2024"), ("2024-3", "2024-03"), ("2024-03-05T10:00:00Z", "2024-03-05"),
        ("1970-9", "1970-09"), ("1939/1945", "1939/1945"), ("12 Mar 2003", "2003-03-12"), ("2023-04-31", "2023-04"),
        ("2023-02-29", "2023-02"), ("2024-02-29", "2024-02-29"), ("c1999.", "1999"), ("2024-13", "2024"),
        ("never", None), (None, None), ("", None),
    ],
)  # fmt: skip
def test_dates_become_edtf_of_level_0(written: Any, date: str | None) -> None:
    assert values.date(written) == date


@pytest.mark.parametrize(
    ("orcid", "valid"),
    [
        ("0000-0002-1825-0097", True), ("https://orcid.org/0000-0002-1694-233X", True), ("0000-0002-1825-0098", False),
        ("0000-0000-0000-0001", False), (None, False),
    ],
)  # fmt: skip
def test_only_orcid_ids_that_can_be_ones_are_kept(orcid: Any, valid: bool) -> None:
    assert (values.orcid_of(orcid) is not None) is valid


def test_names_with_a_comma_are_people_and_others_organisations() -> None:
    assert values.person("Carberry, Josiah") == {
        "type": "personal", "family_name": "Carberry", "given_name": "Josiah",
    }  # fmt: skip
    assert values.person("ATLAS collaboration")["type"] == "organizational"
    assert values.person("Josiah Carberry", organisation=False)["family_name"] == "Carberry"


def test_what_has_no_place_is_reported_and_nothing_is_dropped_in_silence() -> None:
    record = {"metadata": {
        "title": "T", "creators": [{"person_or_org": {"type": "personal", "family_name": "A", "identifiers": [
            {"scheme": "orcid", "identifier": "0000-0002-1825-0098"}, {"scheme": "gnd", "identifier": "1"}]}}],
        "imprint": {"pages": "3"}, "dates": [{"date": "soon", "type": {"id": "other"}}],
    }}  # fmt: skip
    mapped = read("metadata.json", json.dumps(record).encode())
    assert mapped is not None
    assert {entry.path for entry in mapped.unmapped} == {
        "metadata.imprint", "orcid", "metadata.creators.0.identifiers", "dates",
    }  # fmt: skip


MARC = b"""<collection xmlns="http://www.loc.gov/MARC21/slim"><record>
<controlfield tag="005">20150925091440.0</controlfield>
<datafield tag="245" ind1=" " ind2=" "><subfield code="a">Beams</subfield>
<subfield code="b">and more</subfield></datafield>
<datafield tag="100" ind1=" " ind2=" "><subfield code="a">Carberry, J</subfield>
<subfield code="u">CERN</subfield></datafield>
<datafield tag="041" ind1=" " ind2=" "><subfield code="a">eng</subfield></datafield>
<datafield tag="024" ind1="7" ind2=" "><subfield code="2">DOI</subfield>
<subfield code="a">10.1234/x</subfield></datafield>
<datafield tag="980" ind1=" " ind2=" "><subfield code="a">THESIS</subfield></datafield>
<datafield tag="999" ind1=" " ind2=" "><subfield code="a">shelf 3</subfield></datafield>
</record></collection>"""


def test_marcxml() -> None:
    mapped = read("metadata.xml", MARC)
    assert mapped is not None
    metadata = mapped.metadata
    assert metadata["title"] == "Beams: and more"
    assert metadata["creators"][0]["affiliations"] == [{"name": "CERN"}]
    assert metadata["identifiers"] == [{"scheme": "doi", "identifier": "10.1234/x"}]
    assert metadata["resource_type"] == {"id": "publication-dissertation"}
    assert [(entry.path, entry.value) for entry in mapped.unmapped] == [("999", "shelf 3")]


def test_datacite_json_and_its_related_things() -> None:
    told = {
        "titles": [{"title": "Data"}, {"title": "Daten"}], "types": {"resourceTypeGeneral": "Dataset"},
        "creators": [{"name": "Carberry, Josiah", "nameType": "Personal"}], "publisher": "CERN",
        "publicationYear": 2024,
        "relatedIdentifiers": [{"relatedIdentifier": "10.1234/y", "relationType": "IsSupplementTo",
                                "relatedIdentifierType": "DOI"}],
        "descriptions": [{"description": "What it is", "descriptionType": "Abstract"}],
        "container": {"type": "Series"},
    }  # fmt: skip
    mapped = read("datacite.json", json.dumps(told).encode())
    assert mapped is not None
    assert mapped.metadata["additional_titles"][0]["title"] == "Daten"
    assert mapped.metadata["related_identifiers"] == [
        {"scheme": "doi", "identifier": "10.1234/y", "relation_type": {"id": "issupplementto"}}
    ]
    assert [entry.path for entry in mapped.unmapped] == ["container"]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"{}", b"<x", b"<x/>", b'{"metadata": 3}', b"[" * 100_000, b"\xff\xfe"]
)
@pytest.mark.parametrize("name", ["metadata.json", "metadata.xml"])
def test_documents_that_are_none_are_passed_over(name: str, data: bytes) -> None:
    assert read(name, data) is None


def test_entities_are_never_read() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "b">]><dc xmlns:d="http://purl.org/dc/elements/1.1/"><d:title>&a;</d:title></dc>'
    assert read("dc.xml", bomb) is None


def test_gaps_of_the_richest_form_are_filled_from_others() -> None:
    rich, poor = Mapped("MARCXML", {"title": "Rich"}), Mapped("registry", {"title": "Poor", "publisher": "CERN"})
    assert merged([poor, rich]).metadata == {"title": "Rich", "publisher": "CERN"}
