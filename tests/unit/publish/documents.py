"""Documents of every form that is mapped, with anything in them that their forms have a place for, and more."""

from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from hypothesis import strategies as st

from tests.unit.publish.test_mapping import EVERYTHING

WORDS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20) | st.sampled_from(
    ["Dataset", "2024", "2024-03-05", "2019/2020", "soon", "eng", "Old Norse", "10.1234/x", "https://example.org/a",
     "Editor", "Cites", "Smith, Jane", "CERN", "0000 0001 2103 2683", "0000-0002-1825-0097", "a b c", "x" * 600]
)  # fmt: skip
VALUES = WORDS | st.integers(0, 3000) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
ANYTHING = (
    VALUES | st.lists(VALUES, max_size=3) | st.dictionaries(WORDS, VALUES | st.lists(VALUES, max_size=2), max_size=2)
)


@st.composite
def grown(draw: st.DrawFn, value: Any) -> Any:
    """A value like the one given: members left out and added, entries repeated, texts changed."""
    if isinstance(value, dict):
        kept = {name: draw(grown(inner)) for name, inner in value.items() if draw(st.integers(0, 9))}
        return {**draw(st.dictionaries(WORDS.map("x{}".format), ANYTHING, max_size=1)), **kept}
    if isinstance(value, list):
        return [draw(grown(inner)) for inner in value for _ in range(draw(st.integers(1, 2)))]
    return draw(st.just(value) | VALUES) if draw(st.integers(0, 2)) else value


def json_documents() -> st.SearchStrategy[tuple[str, bytes]]:
    """Name and bytes of a document in one of the forms of JSON."""
    templates = st.sampled_from(list(EVERYTHING.values()))
    return templates.flatmap(grown).map(lambda told: ("metadata.json", json.dumps(told).encode()))


TAGS = ["245", "246", "242", "100", "700", "110", "710", "260", "269", "520", "500", "505", "024", "037", "041", "650",
        "540", "980", "250", "300", "506", "773", "856", "999"]  # fmt: skip


@st.composite
def marc_documents(draw: st.DrawFn) -> tuple[str, bytes]:
    """Name and bytes of a MARC record."""
    told = ['<record xmlns="http://www.loc.gov/MARC21/slim"><controlfield tag="005">20150925091440.0</controlfield>']
    for tag in draw(st.lists(st.sampled_from(TAGS), min_size=1, max_size=12)):
        subfields = draw(st.lists(st.tuples(st.sampled_from("abcdefgu029x"), WORDS), max_size=4))
        inner = "".join(f'<subfield code="{code}">{escape(value)}</subfield>' for code, value in subfields)
        told.append(f'<datafield tag="{tag}" ind1=" " ind2=" ">{inner}</datafield>')
    return "metadata.xml", f"{''.join(told)}</record>".encode()


ELEMENTS = ["title", "creator", "subject", "description", "publisher", "contributor", "date", "type", "format",
            "identifier", "source", "language", "relation", "coverage", "rights"]  # fmt: skip


@st.composite
def dublin_core_documents(draw: st.DrawFn) -> tuple[str, bytes]:
    """Name and bytes of Dublin Core in XML."""
    elements = draw(st.lists(st.tuples(st.sampled_from(ELEMENTS), WORDS, st.none() | WORDS), max_size=12))
    told = [f"<d:title>{escape(draw(WORDS))}</d:title>", f"<t:audience>{escape(draw(WORDS))}</t:audience>"]
    for name, value, tongue in elements:
        attribute = f" xml:lang={quoteattr(tongue)}" if tongue else ""
        told.append(f"<d:{name}{attribute}>{escape(value)}</d:{name}>")
    spaces = 'xmlns:d="http://purl.org/dc/elements/1.1/" xmlns:t="http://purl.org/dc/terms/"'
    return "dc.xml", f"<dc {spaces}>{''.join(told)}</dc>".encode()


DATACITE = {
    "identifier": {"@identifierType": "DOI", "#": "10.1234/a"},
    "creators": {"creator": [{"creatorName": {"@nameType": "Personal", "#": "A, B"}, "givenName": "B",
                              "familyName": "A", "nameIdentifier": {"@nameIdentifierScheme": "ORCID", "@schemeURI": "https://orcid.org",
                                                 "#": "0000-0002-1825-0097"}, "affiliation": "X"}]},
    "titles": {"title": [{"@titleType": "TranslatedTitle", "@lang": "de", "#": "Der Titel"}, "The title"]},
    "publisher": "P", "publicationYear": "2024", "language": "en", "version": "2",
    "resourceType": {"@resourceTypeGeneral": "Dataset", "#": "Table"},
    "subjects": {"subject": [{"@subjectScheme": "DDC", "#": "500"}]},
    "contributors": {"contributor": [{"@contributorType": "Editor", "contributorName": "O"}]},
    "dates": {"date": [{"@dateType": "Created", "@dateInformation": "i", "#": "2024"}]},
    "alternateIdentifiers": {"alternateIdentifier": [{"@alternateIdentifierType": "x", "#": "i"}]},
    "relatedIdentifiers": {"relatedIdentifier": [{"@relatedIdentifierType": "DOI", "@relationType": "Cites",
                                                  "#": "10.1234/b"}]},
    "sizes": {"size": ["1"]}, "formats": {"format": ["f"]},
    "rightsList": {"rights": [{"@rightsURI": "https://example.org/cc", "@rightsIdentifier": "cc", "#": "CC"}]},
    "descriptions": {"description": [{"@descriptionType": "Abstract", "@lang": "en", "#": "D"}]},
    "geoLocations": {"geoLocation": [{"geoLocationPlace": "Geneva", "geoLocationPoint": {"pointLongitude": "6.1",
                                                                                        "pointLatitude": "46.2"}}]},
    "fundingReferences": {"fundingReference": [{"funderName": "F", "awardNumber": {"@awardURI": "https://example.org/1",
                                                                                  "#": "1"}, "awardTitle": "A"}]},
    "relatedItems": {"relatedItem": [{
        "@relatedItemType": "Journal", "@relationType": "IsPublishedIn",
        "relatedItemIdentifier": {"@relatedItemIdentifierType": "ISSN", "#": "1234-5679"},
        "titles": {"title": ["A journal"]}, "volume": "3",
        "creators": {"creator": [{"creatorName": "Someone Else"}]}}]},
}  # fmt: skip


def _xml(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(_xml(name, inner) for inner in value)
    if not isinstance(value, dict):
        return f"<{name}>{escape(str(value))}</{name}>"
    attributes = "".join(
        f" {'xml:lang' if key == '@lang' else key[1:]}={quoteattr(str(told))}"
        for key, told in value.items()
        if key[0] == "@" and isinstance(told, str)
    )
    inner = "".join(_xml(key, told) for key, told in value.items() if key[0] not in "@#x")
    text = value.get("#", "") if not inner else ""
    return f"<{name}{attributes}>{inner}{escape(str(text))}</{name}>"


def datacite_documents() -> st.SearchStrategy[tuple[str, bytes]]:
    """Name and bytes of a DataCite document in XML."""
    return grown(DATACITE).map(lambda told: ("datacite.xml", datacite_xml(told)))


def datacite_xml(told: Any) -> bytes:
    """A DataCite document of kernel 4: `@name` are attributes, `#` is the text of an element that has some."""
    return (
        _xml("resource", told).replace("<resource", '<resource xmlns="http://datacite.org/schema/kernel-4"', 1).encode()
    )


DOCUMENTS = json_documents() | marc_documents() | dublin_core_documents() | datacite_documents()
