"""Metadata of Sources as metadata of records, and the report of what found no place."""

from __future__ import annotations

import json
from collections.abc import Iterator
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


EVERYTHING: dict[str, dict[str, Any]] = {
    "InvenioRDM JSON": {"metadata": {
        "title": "T", "description": "D", "publisher": "P", "version": "1", "copyright": "C", "sizes": ["1"],
        "formats": ["f"], "publication_date": "2024", "resource_type": {"id": "dataset"},
        "creators": [{"person_or_org": {
            "type": "personal", "family_name": "A", "given_name": "B", "name": "A, B",
            "identifiers": [{"scheme": "orcid", "identifier": "0000-0002-1825-0097"}]},
            "affiliations": [{"name": "X"}]}],
        "contributors": [{"person_or_org": {"type": "organizational", "name": "O"}, "role": {"id": "editor"}}],
        "rights": [{"id": "cc", "title": {"en": "CC"}, "link": "https://x", "props": {"url": "https://x"}}],
        "languages": [{"id": "eng"}], "subjects": [{"subject": "s"}],
        "identifiers": [{"scheme": "doi", "identifier": "10.1234/a"}],
        "related_identifiers": [{"identifier": "10.1234/b", "scheme": "doi", "relation_type": {"id": "cites"},
                                 "resource_type": {"id": "dataset"}}],
        "dates": [{"date": "2024", "type": {"id": "created"}, "description": "d"}],
        "additional_titles": [{"title": "t", "type": {"id": "subtitle"}}],
        "additional_descriptions": [{"description": "d", "type": {"id": "methods"}}],
        "funding": [{"funder": {"name": "F"}, "award": {"title": {"en": "A"}, "number": "1"}}],
        "references": [{"reference": "r"}]}, "custom_fields": {"a:b": 1}},
    "Zenodo JSON": {"metadata": {
        "title": "T", "description": "D", "version": "1", "imprint_publisher": "P", "publication_date": "2024",
        "resource_type": {"type": "publication", "subtype": "article"}, "license": {"id": "cc"}, "language": "eng",
        "creators": [{"name": "A, B", "orcid": "0000-0002-1825-0097", "affiliation": "X"}],
        "contributors": [{"name": "C, D", "type": "Editor", "affiliation": "X"}], "keywords": ["k"], "notes": "n",
        "related_identifiers": [{"identifier": "10.1234/b", "scheme": "doi", "relation": "cites"}],
        "references": ["r"], "grants": [{"funder": {"name": "F"}, "title": "t", "code": "1"}], "doi": "10.1234/a"}},
    "DataCite JSON": {
        "titles": [{"title": "T"}, {"title": "U"}], "types": {"resourceType": "x", "resourceTypeGeneral": "Dataset"},
        "creators": [{"name": "A, B", "nameType": "Personal", "givenName": "B", "familyName": "A", "affiliation": ["X"],
                      "nameIdentifiers": [{"nameIdentifier": "0000-0002-1825-0097", "nameIdentifierScheme": "ORCID"}]}],
        "contributors": [{"name": "O", "nameType": "Organizational", "contributorType": "Editor"}],
        "publisher": {"name": "P"}, "dates": [{"date": "2024", "dateType": "Created"}], "publicationYear": 2024,
        "descriptions": [{"description": "D", "descriptionType": "Abstract"}], "subjects": [{"subject": "s"}],
        "rightsList": [{"rights": "CC", "rightsUri": "https://x", "rightsIdentifier": "cc"}], "doi": "10.1234/a",
        "relatedIdentifiers": [{"relatedIdentifier": "10.1234/b", "relatedIdentifierType": "DOI",
                                "relationType": "Cites"}],
        "identifiers": [{"identifier": "i", "identifierType": "x"}], "language": "en", "version": "1", "sizes": ["1"],
        "formats": ["f"]},
    "CERN Open Data JSON": {"metadata": {
        "title": "T", "abstract": {"description": "D"}, "publisher": "P", "date_published": "2024",
        "type": {"primary": "Dataset", "secondary": ["Derived"]}, "authors": [{"name": "A, B", "orcid": "x"}],
        "collaboration": {"name": "C"}, "date_created": ["2011"], "keywords": ["k"], "license": {"attribution": "CC0"},
        "doi": "10.1234/a", "distribution": {"formats": ["root"]}, "collision_information": {}}},
    "Indico JSON": {"count": 1, "results": [{
        "title": "T", "description": "D", "startDate": {"date": "2024-01-01"}, "endDate": {"date": "2024-01-02"},
        "creationDate": {"date": "2023-01-01"}, "creator": {"fullName": "A, B", "affiliation": "X"},
        "chairs": [{"last_name": "A", "first_name": "B", "affiliation": "X"}], "keywords": ["k"], "location": "L",
        "roomFullname": "R", "address": "A", "url": "https://x", "contributions": [{"title": "c"}]}]},
    "RO-Crate": {"@graph": [
        {"@id": "ro-crate-metadata.json", "about": {"@id": "./"}},
        {"@id": "./", "@type": "Dataset", "name": "N", "description": "D", "datePublished": "2024", "version": "1",
         "author": [{"@id": "#a"}], "creator": "#a", "publisher": {"@id": "#o"}, "license": {"@id": "https://x"},
         "keywords": "a,b", "identifier": {"@id": "10.1234/a"}, "inLanguage": "en"},
        {"@id": "#a", "@type": "Person", "name": "A, B", "givenName": "B", "familyName": "A",
         "affiliation": {"@id": "#o"}},
        {"@id": "#o", "@type": "Organization", "name": "O"}]},
    "sip.json": {"source": "cds", "recid": "1", "sip_creation_timestamp": 1700000000, "contentFiles": [],
                 "usr-meta": {"a": 1}, "perdura": {"title": "T", "url": "https://x"}},
}  # fmt: skip
HOSTILE: list[Any] = [
    None,
    [],
    {},
    [[]],
    [{}],
    [None],
    {"id": []},
    {"a": {}},
    10**18,
    -1,
    1.5,
    float("nan"),
    True,
    "",
    "x",
]


def spoilt(value: Any) -> Iterator[Any]:
    """The document with one part of it replaced, once for every part and every hostile value."""
    yield from HOSTILE
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in members:
        for other in spoilt(inner):
            copied = value.copy()
            copied[name] = other
            yield copied


def texts(value: Any) -> Iterator[Any]:
    """Every leaf of a value."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)
    else:
        yield value


@pytest.mark.parametrize("form", EVERYTHING)
def test_a_hostile_document_is_read_as_far_as_it_can_be(form: str) -> None:
    """Nothing in it stops the publication, and only texts get into the record."""
    whole = read("metadata.json", json.dumps(EVERYTHING[form]).encode())
    assert whole is not None
    assert whole.form == form
    for document in spoilt(EVERYTHING[form]):
        mapped = read("metadata.json", json.dumps(document).encode())
        wrong = [leaf for leaf in texts(mapped.metadata) if not isinstance(leaf, str)] if mapped else []
        assert not wrong, (document, wrong)


def test_text_that_no_server_can_take_is_mended() -> None:
    mapped = read("metadata.json", b'{"metadata": {"title": "a\\u0000b\\ud800", "resource_type": {"id": "dataset"}}}')
    assert mapped is not None
    assert mapped.metadata["title"] == "a\ufffdb\ufffd"


def test_types_that_not_every_instance_knows_are_reported() -> None:
    mapped = read("metadata.json", json.dumps({"metadata": {
        "resource_type": {"id": "dataset"}, "title": "T",
        "additional_titles": [{"title": "kept", "type": {"id": "running-title"}}],
        "additional_descriptions": [{"description": "kept too", "type": {"id": "house-style"}}],
    }}).encode())  # fmt: skip
    assert mapped is not None
    assert mapped.metadata["additional_titles"] == [{"title": "kept", "type": {"id": "alternative-title"}}]
    assert mapped.metadata["additional_descriptions"] == [{"description": "kept too", "type": {"id": "other"}}]
    assert [entry.value for entry in mapped.unmapped] == ["running-title", "house-style"]


RELATED = """<resource xmlns="http://datacite.org/schema/kernel-4">
  <identifier identifierType="DOI">10.1234/own</identifier>
  <creators><creator><creatorName nameType="Personal">Carberry, Josiah</creatorName>
    <nameIdentifier nameIdentifierScheme="ISNI">0000000121032683</nameIdentifier></creator></creators>
  <titles><title titleType="Subtitle">A part</title><title>The whole</title>
    <title titleType="TranslatedTitle">Das Ganze</title></titles>
  <publisher>Archive</publisher><publicationYear>2024</publicationYear>
  <resourceType resourceTypeGeneral="Dataset">Data</resourceType>
  <subjects><subject subjectScheme="LCSH">Optics</subject></subjects>
  <dates><date dateType="Collected" dateInformation="in the field">2020-05-01</date></dates>
  <relatedItems><relatedItem relatedItemType="Journal" relationType="IsPublishedIn">
    <creators><creator><creatorName>Another, Author</creatorName></creator></creators>
    <titles><title>Journal of Others</title></titles><volume>7</volume>
    <contributors><contributor contributorType="Editor"><contributorName>Editor, Some</contributorName></contributor>
    </contributors></relatedItem></relatedItems>
  <fundingReferences><fundingReference><funderName>A Fund</funderName></fundingReference></fundingReferences>
</resource>"""


def test_people_and_titles_of_a_related_item_are_not_those_of_the_record() -> None:
    mapped = read("datacite.xml", RELATED.encode())
    assert mapped is not None
    told = mapped.metadata
    assert [entry["person_or_org"]["family_name"] for entry in told["creators"]] == ["Carberry"]
    assert "contributors" not in told
    assert told["title"] == "The whole"
    assert [(entry["title"], entry["type"]["id"]) for entry in told["additional_titles"]] == [
        ("A part", "subtitle"),
        ("Das Ganze", "translated-title"),
    ]
    assert told["dates"] == [{"date": "2020-05-01", "type": {"id": "collected"}, "description": "in the field"}]
    missed = {each.path: each.value for each in mapped.unmapped}
    assert missed["relatedItems"] == "Another, Author Journal of Others 7 Editor, Some"
    assert missed["fundingReferences"] == "A Fund"
    assert (missed["nameIdentifiers"], missed["subjects"]) == ("0000000121032683", "LCSH")
