"""Metadata of Sources as metadata of records, and the report of what found no place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from perdura.steps.mapping import dates, people
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
    assert dates.date(written) == date


@pytest.mark.parametrize(
    ("orcid", "valid"),
    [
        ("0000-0002-1825-0097", True), ("https://orcid.org/0000-0002-1694-233X", True), ("0000-0002-1825-0098", False),
        ("0000-0000-0000-0001", False), (None, False),
    ],
)  # fmt: skip
def test_only_orcid_ids_that_can_be_ones_are_kept(orcid: Any, valid: bool) -> None:
    assert (people.orcid_of(orcid) is not None) is valid


def test_names_with_a_comma_are_people_and_others_organisations() -> None:
    assert people.person("Carberry, Josiah") == {
        "type": "personal", "family_name": "Carberry", "given_name": "Josiah",
    }  # fmt: skip
    assert people.person("ATLAS collaboration")["type"] == "organizational"
    assert people.person("Josiah Carberry", organisation=False)["family_name"] == "Carberry"


def test_what_has_no_place_is_reported_and_nothing_is_dropped_in_silence() -> None:
    record = {"metadata": {
        "title": "T", "creators": [{"person_or_org": {"type": "personal", "family_name": "A", "identifiers": [
            {"scheme": "orcid", "identifier": "0000-0002-1825-0098"}, {"scheme": "gnd", "identifier": "1"}]}}],
        "imprint": {"pages": "3"}, "dates": [{"date": "soon", "type": {"id": "other"}}],
    }}  # fmt: skip
    mapped = read("metadata.json", json.dumps(record).encode())
    assert mapped is not None
    left = {entry.path: (entry.value, entry.reason) for entry in mapped.report(mapped.metadata)}
    assert left["metadata.imprint.pages"] == ("3", "There is no place for it in the record.")
    assert "It is no valid ORCID" in left["metadata.creators.person_or_org.identifiers.0"][1]
    assert "1" in left["metadata.creators.person_or_org.identifiers.1"][0]
    assert left["metadata.dates.date"] == ("soon", "It is not a date.")


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
    assert [(entry.path, entry.value) for entry in mapped.report(metadata)] == [("999.a", "shelf 3"), ("005", "")]


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
    assert [entry.path for entry in mapped.report(mapped.metadata)] == ["container.type"]


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
    assert [entry.value for entry in mapped.report(mapped.metadata)] == ["running-title", "house-style"]


RELATED = b"""<resource xmlns="http://datacite.org/schema/kernel-4">
<identifier identifierType="DOI">10.1234/a</identifier>
<creators><creator><creatorName>Carberry, Josiah</creatorName></creator></creators>
<titles><title titleType="TranslatedTitle" xml:lang="de">Der Titel</title><title>The title</title></titles>
<publisher>CERN</publisher><publicationYear>2024</publicationYear>
<resourceType resourceTypeGeneral="Dataset">Dataset</resourceType>
<relatedItems><relatedItem relatedItemType="JournalArticle" relationType="IsCitedBy">
<relatedItemIdentifier relatedItemIdentifierType="DOI">10.1234/other</relatedItemIdentifier>
<creators><creator><creatorName>Else, Someone</creatorName></creator></creators>
<titles><title>A journal</title></titles>
<contributors><contributor contributorType="Editor">
<contributorName>Editor, An</contributorName></contributor></contributors>
</relatedItem></relatedItems></resource>"""


def test_people_and_titles_of_related_items_are_not_those_of_the_record() -> None:
    mapped = read("datacite.xml", RELATED)
    assert mapped is not None
    metadata = mapped.metadata
    assert [who["person_or_org"]["family_name"] for who in metadata["creators"]] == ["Carberry"]
    assert "contributors" not in metadata
    assert metadata["title"] == "The title"
    assert metadata["additional_titles"] == [
        {"title": "Der Titel", "type": {"id": "translated-title"}, "lang": {"id": "deu"}}
    ]
    assert metadata["related_identifiers"] == [
        {
            "scheme": "doi", "identifier": "10.1234/other", "relation_type": {"id": "iscitedby"},
            "resource_type": {"id": "publication-article"},
        }
    ]  # fmt: skip
    left = " ".join(entry.value for entry in mapped.report(metadata))
    assert all(value in left for value in ("Else, Someone", "A journal", "Editor, An"))


def mapped_of(told: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """What becomes of a document of JSON: metadata, and reasons by the values that are left out."""
    mapped = read("metadata.json", json.dumps(told).encode())
    assert mapped is not None
    return mapped.metadata, {entry.value: entry.reason for entry in mapped.report(mapped.metadata)}


def test_what_datacite_tells_and_a_record_holds_is_mapped_and_the_rest_is_told() -> None:
    metadata, left = mapped_of({
        "titles": [{"title": "Data"}], "types": {"resourceTypeGeneral": "Dataset"}, "version": 2, "language": "Klingon",
        "publicationYear": "soon", "subjects": [{"subject": "beams", "subjectScheme": "LCSH"}],
        "creators": [{"name": "CERN", "nameType": "Organizational", "nameIdentifiers": [
            {"nameIdentifier": "https://isni.org/isni/0000000121032683", "nameIdentifierScheme": "ISNI"}]}],
        "dates": [{"date": "2020/2019", "dateType": "Created", "dateInformation": "the first half"}],
        "relatedIdentifiers": [{"relatedIdentifier": "10.1234/y", "relationType": "IsHeirOf"}],
        "fundingReferences": [{"funderName": "EC", "awardNumber": "101", "awardTitle": "Beams"}],
        "geoLocations": [{"geoLocationPlace": "Meyrin", "geoLocationPoint": {"pointLatitude": 46.2}}],
    })  # fmt: skip
    assert metadata["version"] == "2"
    assert metadata["creators"][0]["person_or_org"]["identifiers"] == [
        {"scheme": "isni", "identifier": "0000000121032683"}
    ]
    assert metadata["dates"] == [{"date": "2020", "type": {"id": "created"}, "description": "the first half"}]
    assert metadata["funding"] == [{"funder": {"name": "EC"}, "award": {"title": {"en": "Beams"}, "number": "101"}}]
    assert metadata["locations"]["features"] == [{"place": "Meyrin", "description": "Point: pointLatitude 46.2"}]
    assert left == {
        "Klingon": "It is no code of a language.",
        "soon": "It is not a date.",
        "LCSH": "There is no place for it in the record.",
        "2020/2019": "As a date the record has 2020.",
        "IsHeirOf": "No such relation is known everywhere; it became references.",
    }


def test_further_fields_of_marc_are_kept() -> None:
    fields = [
        ("245", "a", "T"), ("520", "a", "One abstract"), ("520", "a", "Another"), ("260", "b", "CERN"),
        ("260", "b", "ESA"), ("260", "c", "2001"), ("260", "c", "2003"), ("980", "a", "THESIS"), ("980", "a", "REPORT"),
    ]  # fmt: skip
    inner = "".join(f'<datafield tag="{tag}"><subfield code="{c}">{v}</subfield></datafield>' for tag, c, v in fields)
    who = '<datafield tag="100"><subfield code="a">A, B</subfield><subfield code="e">Researcher</subfield></datafield>'
    mapped = read("m.xml", f'<record xmlns="http://www.loc.gov/MARC21/slim">{inner}{who}</record>'.encode())
    assert mapped is not None
    metadata = mapped.metadata
    assert metadata["description"] == "One abstract"
    assert [entry["description"] for entry in metadata["additional_descriptions"]] == ["Another", "Publisher: ESA"]
    assert (metadata["publication_date"], metadata["dates"][0]["date"]) == ("2001", "2003")
    assert metadata["creators"][0]["role"] == {"id": "researcher"}
    assert [(entry.value, entry.reason) for entry in mapped.report(metadata)] == [
        ("REPORT", "The record has another value for it.")
    ]


def test_further_elements_of_dublin_core_are_kept() -> None:
    told = [("title", "T"), ("date", "2001"), ("date", "2003"), ("publisher", "CERN"), ("publisher", "ESA"),
            ("type", "dataset"), ("type", "image"), ("language", "Old Norse")]  # fmt: skip
    inner = "".join(f"<d:{name}>{value}</d:{name}>" for name, value in told)
    mapped = read("dc.xml", f'<dc xmlns:d="http://purl.org/dc/elements/1.1/">{inner}</dc>'.encode())
    assert mapped is not None
    metadata = mapped.metadata
    assert (metadata["publication_date"], metadata["dates"][0]["date"]) == ("2001", "2003")
    assert metadata["additional_descriptions"][0]["description"] == "Publisher: ESA"
    assert [entry.value for entry in mapped.report(metadata)] == ["image", "Old Norse"]


def test_roles_and_types_of_an_inveniordm_are_kept_or_told() -> None:
    who = {"person_or_org": {"type": "personal", "family_name": "A"}, "role": {"id": "editor"},
           "affiliations": [{"id": "01ggx4157", "name": "CERN"}]}  # fmt: skip
    metadata, left = mapped_of({"metadata": {
        "title": "T", "resource_type": {"id": "publication-blogpost"}, "creators": [who],
        "subjects": [{"id": "http://id.example/1", "subject": "beams"}],
    }})  # fmt: skip
    assert metadata["creators"][0]["role"] == {"id": "editor"}
    assert set(left) == {"publication-blogpost", "01ggx4157", "http://id.example/1"}


def test_what_a_richer_document_overrules_is_told_unless_it_says_the_same() -> None:
    who = {"person_or_org": {"type": "personal", "family_name": "Carberry", "given_name": "Josiah"}}
    told = {"title": "Beams", "publication_date": "2024-03-05", "resource_type": {"id": "dataset"}, "creators": [who]}
    rich = read("metadata.json", json.dumps({"metadata": told}).encode())
    poor = read(
        "dc.xml",
        b"""<dc xmlns:d="http://purl.org/dc/elements/1.1/"><d:title>Beams.</d:title>
        <d:creator>Carberry, Josiah</d:creator><d:creator>Else, Someone</d:creator><d:date>2024</d:date>
        <d:publisher>CERN</d:publisher><d:subject>physics</d:subject></dc>""",
    )
    assert rich is not None
    assert poor is not None
    both = merged([poor, rich])
    assert (both.form, both.metadata["publisher"]) == ("InvenioRDM JSON", "CERN")
    assert both.metadata["subjects"] == [{"subject": "physics"}]
    assert [(entry.path, entry.value) for entry in both.report(both.metadata)] == [
        ("Dublin Core: creator.1", "Else, Someone")
    ]


def test_of_several_records_in_one_document_the_first_describes_and_the_others_are_told() -> None:
    inner = '<dc xmlns="http://purl.org/dc/elements/1.1/"><title>{}</title><creator>{}</creator></dc>'
    told = f"<list>{inner.format('One', 'A, B')}{inner.format('Two', 'C, D')}</list>"
    mapped = read("dc.xml", told.encode())
    assert mapped is not None
    assert [who["person_or_org"]["family_name"] for who in mapped.metadata["creators"]] == ["A"]
    assert [entry.path for entry in mapped.report(mapped.metadata)] == ["further records"]


def test_a_document_of_too_many_values_is_not_read() -> None:
    told = {"metadata": {"title": "T", "resource_type": {"id": "dataset"}, "x": [1] * 200_001}}
    assert read("metadata.json", json.dumps(told).encode()) is None
