"""DataCite: its JSON (as the REST API and `application/vnd.datacite.datacite+json` give it) and its XML kernel 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lxml import etree

from perdura.sources.markup import content
from perdura.steps.mapping.model import Mapped, items, mapping, text
from perdura.steps.mapping.values import (
    DATE_TYPES,
    contributor,
    creator,
    date,
    identifier,
    language,
    licence,
    related,
    resource_type,
)

KERNEL = "{http://datacite.org/schema/kernel-4}"
_TITLES = {
    "alternativetitle": "alternative-title", "subtitle": "subtitle", "translatedtitle": "translated-title",
    "other": "other",
}  # fmt: skip
_DESCRIPTIONS = {
    "methods": "methods", "seriesinformation": "series-information", "tableofcontents": "table-of-contents",
    "technicalinfo": "technical-info", "other": "other", "abstract": "abstract",
}  # fmt: skip


def datacite_json(told: Any) -> Mapped:
    """DataCite JSON, with or without the envelope of JSON:API."""
    mapped = Mapped("DataCite JSON")
    value = mapping(told)
    value = mapping(mapping(value.get("data")).get("attributes")) or value
    _titles(mapped, [mapping(title) for title in items(value.get("titles"))])
    for entry in map(mapping, items(value.get("creators"))):
        mapped.add("creators", _agent(mapped, entry))
    for entry in map(mapping, items(value.get("contributors"))):
        mapped.add("contributors", contributor(_agent(mapped, entry), entry.get("contributorType")))
    publisher = value.get("publisher")
    mapped.put("publisher", text(mapping(publisher).get("name")) or text(publisher))
    types = mapping(value.get("types"))
    mapped.put("resource_type", resource_type(types.get("resourceType"), types.get("resourceTypeGeneral")))
    for entry in map(mapping, items(value.get("dates"))):
        _dated(mapped, entry.get("date"), entry.get("dateType"), entry.get("dateInformation"))
    mapped.put("publication_date", date(value.get("publicationYear")))
    for entry in map(mapping, items(value.get("descriptions"))):
        _described(mapped, text(entry.get("description")), entry.get("descriptionType"))
    for entry in map(mapping, items(value.get("rightsList"))):
        mapped.add("rights", licence(entry.get("rights") or entry.get("rightsIdentifier"), entry.get("rightsUri")))
    for entry in map(mapping, items(value.get("subjects"))):
        _subject(mapped, entry.get("subject"))
        of = entry.get("valueUri") or entry.get("valueURI") or entry.get("subjectScheme")
        mapped.miss("subjects", of, f"The vocabulary of the subject {text(entry.get('subject'))!r} is not kept.")
    for entry in map(mapping, items(value.get("relatedIdentifiers"))):
        found = related(entry.get("relatedIdentifier"), entry.get("relationType"), entry.get("relatedIdentifierType"))
        mapped.add("related_identifiers", found)
    mapped.add("identifiers", identifier(value.get("doi"), "doi"))
    for entry in map(mapping, [*items(value.get("identifiers")), *items(value.get("alternateIdentifiers"))]):
        found_id = entry.get("identifier") or entry.get("alternateIdentifier")
        mapped.add("identifiers", identifier(found_id, entry.get("identifierType")))
    mapped.add("languages", language(value.get("language")))
    mapped.put("version", text(value.get("version")))
    for name in ("sizes", "formats"):
        for item in items(value.get(name)):
            mapped.add(name, text(item))
    known = {
        "titles", "creators", "contributors", "publisher", "types", "dates", "publicationYear", "descriptions",
        "rightsList", "subjects", "relatedIdentifiers", "doi", "identifiers", "alternateIdentifiers", "language",
        "version", "sizes", "formats", "schemaVersion", "id", "url", "state", "xml", "prefix", "suffix",
    }  # fmt: skip
    mapped.miss_others(value, known)
    return mapped


def _agent(mapped: Mapped, entry: Any) -> dict[str, Any] | None:
    organisation = {"Organizational": True, "Personal": False}.get(str(entry.get("nameType")))
    name = entry.get("name")
    if entry.get("familyName"):
        name = f"{entry['familyName']}, {entry.get('givenName') or ''}"
    orcid = next(
        (
            told.get("nameIdentifier")
            for told in map(mapping, items(entry.get("nameIdentifiers")))
            if str(told.get("nameIdentifierScheme", "")).upper() == "ORCID"
        ),
        None,
    )
    for told in map(mapping, items(entry.get("nameIdentifiers"))):
        if str(told.get("nameIdentifierScheme", "")).upper() != "ORCID":
            mapped.miss("nameIdentifiers", told.get("nameIdentifier"), "Of persons only ORCID iDs are taken.")
    places = [mapping(place).get("name") or text(place) for place in items(entry.get("affiliation"))]
    return creator(name, orcid=orcid, organisation=organisation, affiliations=places, report=mapped)


def _titles(mapped: Mapped, told: Sequence[Mapping[str, Any]]) -> None:
    """The title is the first that is of no other type; where all are of one, the first."""
    written = [entry for entry in told if text(entry.get("title"))]
    main = next((entry for entry in written if not entry.get("titleType")), written[0] if written else None)
    for entry in written:
        if entry is main:
            mapped.put("title", text(entry.get("title")))
            continue
        kind = _TITLES.get(str(entry.get("titleType") or "").lower(), "alternative-title")
        mapped.add("additional_titles", {"title": text(entry.get("title")), "type": {"id": kind}})


def _dated(mapped: Mapped, value: Any, kind: Any, said: Any = None) -> None:
    written, known = date(value), str(kind or "").lower()
    if written is None:
        mapped.miss("dates", value, "It is not a date.")
    elif known == "issued":
        mapped.put("publication_date", written)
    else:
        entry = {"date": written, "type": {"id": known if known in DATE_TYPES else "other"}}
        mapped.add("dates", entry | ({"description": text(said)} if text(said) else {}))


def _described(mapped: Mapped, description: str | None, kind: Any) -> None:
    known = _DESCRIPTIONS.get(str(kind or "abstract").lower(), "other")
    if description is None:
        return
    if known == "abstract" and "description" not in mapped.metadata:
        mapped.put("description", description)
    else:
        mapped.add("additional_descriptions", {"description": description, "type": {"id": known}})


def _subject(mapped: Mapped, value: Any) -> None:
    subject = text(value)
    mapped.add("subjects", {"subject": subject[:500]} if subject else None)


_TAKEN = frozenset(
    {
        "identifier", "titles", "creators", "contributors", "publisher", "publicationYear", "resourceType", "subjects",
        "dates", "language", "alternateIdentifiers", "relatedIdentifiers", "sizes", "formats", "version", "rightsList",
        "descriptions",
    }
)  # fmt: skip
"""Elements of a resource that `datacite_xml` reads; what is in the others is reported."""


def datacite_xml(resource: etree._Element) -> Mapped:
    """A `resource` of kernel 4."""

    def each(group: str, name: str) -> list[etree._Element]:
        """The elements of one group of the resource; what it is related to has some of the same names."""
        return list(resource.iterfind(f"{KERNEL}{group}/{KERNEL}{name}"))

    told: dict[str, Any] = {
        "titles": [{"title": content(e), "titleType": e.get("titleType")} for e in each("titles", "title")],
        "publisher": content(resource.find(f"{KERNEL}publisher")),
        "publicationYear": content(resource.find(f"{KERNEL}publicationYear")),
        "language": content(resource.find(f"{KERNEL}language")),
        "version": content(resource.find(f"{KERNEL}version")),
        "creators": [_agent_of(e, "creatorName") for e in each("creators", "creator")],
        "contributors": [
            {**_agent_of(e, "contributorName"), "contributorType": e.get("contributorType")}
            for e in each("contributors", "contributor")
        ],
        "dates": [
            {"date": content(e), "dateType": e.get("dateType"), "dateInformation": e.get("dateInformation")}
            for e in each("dates", "date")
        ],
        "subjects": [
            {"subject": content(e), "subjectScheme": e.get("subjectScheme"), "valueUri": e.get("valueURI")}
            for e in each("subjects", "subject")
        ],
        "rightsList": [{"rights": content(e), "rightsUri": e.get("rightsURI")} for e in each("rightsList", "rights")],
        "descriptions": [
            {"description": content(e), "descriptionType": e.get("descriptionType")}
            for e in each("descriptions", "description")
        ],
        "relatedIdentifiers": [
            {
                "relatedIdentifier": content(e),
                "relationType": e.get("relationType"),
                "relatedIdentifierType": e.get("relatedIdentifierType"),
            }
            for e in each("relatedIdentifiers", "relatedIdentifier")
        ],
        "alternateIdentifiers": [
            {"alternateIdentifier": content(e), "identifierType": e.get("alternateIdentifierType")}
            for e in each("alternateIdentifiers", "alternateIdentifier")
        ],
        "sizes": [content(e) for e in each("sizes", "size")],
        "formats": [content(e) for e in each("formats", "format")],
    }
    kind = resource.find(f"{KERNEL}resourceType")
    if kind is not None:
        told["types"] = {"resourceType": content(kind), "resourceTypeGeneral": kind.get("resourceTypeGeneral")}
    main = resource.find(f"{KERNEL}identifier")
    if main is not None and main.get("identifierType") == "DOI":
        told["doi"] = content(main)
    mapped = datacite_json(told)
    mapped.form = "DataCite XML"
    for group in resource.iterchildren(f"{KERNEL}*"):
        name = etree.QName(group).localname
        for element in group if name not in _TAKEN else ():
            mapped.miss(name, " ".join(" ".join(element.itertext()).split()))
    return mapped


def _agent_of(element: etree._Element, name: str) -> dict[str, Any]:
    named = element.find(f"{KERNEL}{name}")
    return {
        "name": content(named),
        "nameType": named.get("nameType") if named is not None else None,
        "familyName": content(element.find(f"{KERNEL}familyName")),
        "givenName": content(element.find(f"{KERNEL}givenName")),
        "affiliation": [content(e) for e in element.iter(f"{KERNEL}affiliation")],
        "nameIdentifiers": [
            {"nameIdentifier": content(e), "nameIdentifierScheme": e.get("nameIdentifierScheme")}
            for e in element.iter(f"{KERNEL}nameIdentifier")
        ],
    }
